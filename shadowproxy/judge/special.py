"""Special functions in log space: beta, the regularised incomplete beta, and the normal distribution.

Evidence is the logarithm of a probability ratio, and it grows with the number of pairs: after a long run the
numbers themselves are far outside what a float holds, while their logarithms are small. So everything here
takes ordinary numbers and returns logarithms, finite where the mathematics is. The test suite compares each
function with scipy; docs/decisions has the reason why scipy is not used at run time.
"""

from __future__ import annotations

from math import erfc, exp, expm1, fsum, inf, lgamma, log, log1p, pi, sqrt
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable

LN_2: Final = log(2.0)
_HALF_LN_2PI: Final = 0.5 * log(2.0 * pi)
_SQRT_HALF: Final = sqrt(0.5)

_STIRLING_FROM: Final = 10.0
"""Above this the Stirling series is exact to 1e-14, and `lgamma` loses digits to cancellation."""

_STIRLING: Final = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188, -691 / 360360, 1 / 156)
"""Coefficients of 1/x, 1/x**3, ... in ln gamma(x) less its leading terms (DLMF 5.11.1)."""

_QUADRATURE_FROM: Final = 40.0
"""Where both parameters exceed this, a fixed quadrature replaces the continued fraction, which takes time ~ sqrt(a + b)."""

_NATS: Final = 42.0
"""The part of a tail left out by the quadrature is below exp(-42) of it."""

_TINY: Final = 1e-300
_EPSILON: Final = 4e-16
_TERMS: Final = 20_000


def log_sum_exp(values: Iterable[float]) -> float:
    """The logarithm of the sum of `exp(value)`; -inf for no values. Never overflows."""
    listed = list(values)
    top = max(listed, default=-inf)
    if top in (-inf, inf):
        return top
    return top + log(fsum(exp(value - top) for value in listed))


def log1m_exp(value: float) -> float:
    """The logarithm of `1 - exp(value)` for `value` <= 0, accurate at both ends; -inf at 0."""
    if value >= 0.0:
        return -inf
    return log(-expm1(value)) if value > -LN_2 else log1p(-exp(value))


def _stirling_rest(x: float) -> float:
    """Ln gamma(x) less ``(x - 1/2) ln x - x + ln(2 pi)/2``, for x >= 10."""
    inverse = 1.0 / x
    square = inverse * inverse
    total = 0.0
    for coefficient in reversed(_STIRLING):
        total = total * square + coefficient
    return total * inverse


def log_beta(a: float, b: float) -> float:
    """The logarithm of the beta function B(a, b).

    Args:
        a: positive.
        b: positive.

    Raises:
        ValueError: a parameter is not positive.
    """
    if a <= 0.0 or b <= 0.0:
        raise ValueError(f"the parameters of a beta function must be positive, not {a} and {b}")
    small, large = (a, b) if a <= b else (b, a)
    if large < _STIRLING_FROM:
        return lgamma(small) + lgamma(large) - lgamma(small + large)
    total = small + large
    rest = _stirling_rest(large) - _stirling_rest(total)
    if small >= _STIRLING_FROM:
        return (
            _HALF_LN_2PI
            - 0.5 * log(large)
            - (small - 0.5) * log1p(large / small)
            - large * log1p(small / large)
            + _stirling_rest(small)
            + rest
        )
    # gamma(large) / gamma(large + small), by the series of each.
    return lgamma(small) + rest - (large - 0.5) * log1p(small / large) - small * log(total) + small


def log_betainc(a: float, b: float, x: float) -> float:
    """The logarithm of the regularised incomplete beta function I_x(a, b): that a Beta(a, b) variable is at most `x`.

    Args:
        a: positive.
        b: positive.
        x: from 0 to 1.

    Returns:
        A number <= 0, to about 1e-12 relative to the function; -inf at x = 0.

    Raises:
        ValueError: a parameter is out of its range.
    """
    _check(a, b, x)
    if x in (0.0, 1.0):
        return -inf if x == 0.0 else 0.0
    if x * (a + b + 2.0) < a + 1.0:
        return _log_lower_tail(a, b, x)
    return log1m_exp(_log_lower_tail(b, a, 1.0 - x))


def log_betainc_complement(a: float, b: float, x: float) -> float:
    """The logarithm of 1 - I_x(a, b): that a Beta(a, b) variable exceeds `x`. Accurate where that is tiny.

    Raises:
        ValueError: a parameter is out of its range.
    """
    _check(a, b, x)
    if x in (0.0, 1.0):
        return 0.0 if x == 0.0 else -inf
    if x * (a + b + 2.0) < a + 1.0:
        return log1m_exp(_log_lower_tail(a, b, x))
    return _log_lower_tail(b, a, 1.0 - x)


def _check(a: float, b: float, x: float) -> None:
    if a <= 0.0 or b <= 0.0:
        raise ValueError(f"the parameters of a beta distribution must be positive, not {a} and {b}")
    if not 0.0 <= x <= 1.0:
        raise ValueError(f"the incomplete beta function is of a share from 0 to 1, not {x}")


def log_beta_density(a: float, b: float, x: float) -> float:
    """The logarithm of the density of a Beta(a, b) variable at `x`, for 0 < x < 1.

    Accurate for parameters of 1e9 too: near the mean, where terms of that size cancel, what remains of them is
    computed and not subtracted.

    Raises:
        ValueError: a parameter is out of its range.
    """
    _check(a, b, x)
    if x in (0.0, 1.0):
        raise ValueError(f"the density is of a share between 0 and 1, not {x}")
    if a < _STIRLING_FROM or b < _STIRLING_FROM:
        return (a - 1.0) * log(x) + (b - 1.0) * log1p(-x) - log_beta(a, b)
    total = a + b
    shift = x * total - a
    near = abs(shift) < 0.5 * min(a, b)
    entropy = a * log1p(shift / a) + b * log1p(-shift / b) if near else a * (log(x) + log(total / a)) + b * (log1p(-x) + log(total / b))
    rest = _stirling_rest(a) + _stirling_rest(b) - _stirling_rest(total)
    return entropy + 0.5 * (log(a) + log(b) - log(total)) - _HALF_LN_2PI - rest - log(x) - log1p(-x)


def _log_lower_tail(a: float, b: float, x: float) -> float:
    """Ln I_x(a, b) for x not right of about the mean."""
    density = log_beta_density(a, b, x)
    if a > _QUADRATURE_FROM and b > _QUADRATURE_FROM:
        return min(0.0, density + _log_tail_by_quadrature(a, b, x))
    return min(0.0, density + log(x) + log1p(-x) - log(a) + log(_continued_fraction(a, b, x)))


def _continued_fraction(a: float, b: float, x: float) -> float:
    """The continued fraction of DLMF 8.17.22, by the modified Lentz method. It is 1 at x = 0."""
    c = 1.0
    d = 1.0 - (a + b) * x / (a + 1.0)
    d = 1.0 / (d if abs(d) > _TINY else _TINY)
    result = d
    for m in range(1, _TERMS):
        even = m * (b - m) * x / ((a + 2 * m - 1.0) * (a + 2 * m))
        d = 1.0 + even * d
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = 1.0 + even / c
        c = c if abs(c) > _TINY else _TINY
        result *= d * c
        odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1.0))
        d = 1.0 + odd * d
        d = 1.0 / (d if abs(d) > _TINY else _TINY)
        c = 1.0 + odd / c
        c = c if abs(c) > _TINY else _TINY
        step = d * c
        result *= step
        if abs(step - 1.0) <= _EPSILON:
            break
    return result


# Abscissae and weights of the 16-point Gauss-Legendre rule on [-1, 1] (the positive half; it is symmetric).
_GAUSS: Final = (
    (0.0950125098376374, 0.1894506104550685),
    (0.2816035507792589, 0.1826034150449236),
    (0.4580167776572274, 0.1691565193950025),
    (0.6178762444026438, 0.1495959888165767),
    (0.7554044083550030, 0.1246289712555339),
    (0.8656312023878318, 0.0951585116824928),
    (0.9445750230732326, 0.0622535239386479),
    (0.9894009349916499, 0.0271524594117541),
)
_PANELS: Final = 4


def _log_tail_by_quadrature(a: float, b: float, x: float) -> float:
    """Ln of the integral over t in (0, x) of density(t) / density(x), for x not right of about the mean and a, b > 1.

    The logarithm of the density is concave, so the integrand falls ever faster on the way from x to 0, at once or, where x
    is between mode and mean, after a rise of next to nothing. It is integrated down to where it is below exp(-42).
    The way is measured in shares of x, which may itself be next to nothing.
    """
    up, down, odds = a - 1.0, b - 1.0, x / (1.0 - x)

    def fall(share: float) -> float:
        """Ln density(x - share * x) - ln density(x)."""
        return up * log1p(-share) + down * log1p(share * odds)

    # Were the fall a parabola, this would solve it: stretch it until it is enough, or all of x.
    slope, curvature = up - down * odds, up + down * odds * odds
    reach = 2.0 * _NATS / (slope + sqrt(slope * slope + 2.0 * curvature * _NATS))
    while reach < 1.0 and fall(reach) > -_NATS:
        reach *= 1.25
    width = min(reach, 1.0) / _PANELS
    total = 0.0
    for panel in range(_PANELS):
        centre = (panel + 0.5) * width
        for abscissa, weight in _GAUSS:
            offset = abscissa * width * 0.5
            total += weight * (exp(fall(centre - offset)) + exp(fall(centre + offset)))
    return log(x) + log(total * width * 0.5)


def log_ndtr(x: float) -> float:
    """The logarithm of the standard normal distribution function, accurate in both tails."""
    if x > 0.0:
        return log1p(-0.5 * erfc(x * _SQRT_HALF))
    if x > -25.0:
        return log(0.5 * erfc(-x * _SQRT_HALF))
    # Asymptotic series (DLMF 7.12.1): at x = -25 the first term left out is 2e-12.
    inverse = 1.0 / (x * x)
    series = 1.0 - inverse * (1.0 - 3.0 * inverse * (1.0 - 5.0 * inverse * (1.0 - 7.0 * inverse)))
    return -0.5 * x * x - log(-x) - _HALF_LN_2PI + log(series)
