"""Whole distributions of two unpaired arms, at every quantile and every moment (STATISTICS C5).

`radius` is a Dvoretzky-Kiefer-Wolfowitz band that holds for all sample sizes together (Howard
and Ramdas 2022, theorem 2): sup |F̂ - F| stays within it at every moment, with probability
1 - alpha. Two bands that have moved apart somewhere are a sequential Kolmogorov-Smirnov test
(Lindon, Ham, Tingley, Bojinov, arXiv 2205.14762); looking only where the shadow's curve is the
lower one, it tests whether the shadow is stochastically slower.

With bucketed values distances are taken at edges, where the curves are exact. Between edges
they could only be larger, so evidence can only be lost.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import exp, inf, log, sqrt
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.boundaries import crossing, least

if TYPE_CHECKING:
    from shadowproxy.judge.quantiles import Sample

A: Final = 0.85
"""Steepness of the band: it must exceed 1/sqrt(2), which the law of the iterated logarithm forbids."""

T_MIN: Final = 100
"""Values of an arm from which its band says anything."""


@dataclass(frozen=True, slots=True)
class Step:
    """The curve at one value: at most `value` are between `low` and `high` of the distribution; `share` were seen."""

    value: float
    share: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Distance:
    """The largest distance between two curves, in [0, 1], and what it is worth.

    `at` is the value where it was found (None when the arms share no cell with values);
    `threshold` is what it must exceed; `p_value` may be read at any moment.
    """

    distance: float
    at: float | None
    threshold: float
    p_value: float

    @property
    def is_different(self) -> bool:
        """Whether the distance is one that equal distributions reach with probability alpha at most."""
        return self.distance > self.threshold


@cache
def constant(alpha: float) -> float:
    """C(alpha): the constant of a band that ever fails with probability `alpha`, in (0, 1).

    Raises:
        ValueError: `alpha` is out of range.

    """
    if not 0 < alpha < 1:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    high = 5.0
    while error(high) > alpha:
        high *= 2
    return crossing(lambda c: alpha - error(c), _LEAST_C, high)


_LEAST_C: Final = 1e-3


def error(c: float) -> float:
    """The probability, at most, that a band with constant `c` ever fails: the best of the epochs' growths."""
    widest = crossing(lambda eta: sqrt(eta / 2) + sqrt(2 * (eta - 1) / c) - A, 1.0, 2 * A * A)

    def bound(eta: float) -> float:
        gamma = 2 / eta * (A - sqrt(2 * (eta - 1) / c)) ** 2
        return 4 * exp(-gamma * c) * (1 + 1 / ((gamma - 1) * log(eta))) if gamma > 1 and eta > 1 else inf

    return bound(least(bound, 1.0, widest))


def radius(t: float, alpha: float, t_min: float = T_MIN) -> float:
    """How far the curve of `t` values is from the distribution at most; 1.0 says nothing.

    Args:
        t: number of values seen.
        alpha: probability that the band ever fails, in (0, 1).
        t_min: number of values from which it is meant to say something, 1 or more.

    """
    return 1.0 if t < t_min else min(1.0, _radius(t, constant(alpha), t_min))


def _radius(t: float, c: float, t_min: float) -> float:
    return A * sqrt((log(1 + log(t / t_min)) + c) / t)


def band(sample: Sample, alpha: float, t_min: float = T_MIN) -> list[Step]:
    """The curve with its band, at the upper edge of each cell that holds values."""
    width = radius(sample.count, alpha, t_min)
    steps = []
    for high, below in zip(sample.highs, sample.below, strict=True):
        share = below / sample.count
        steps.append(Step(high, share, max(0.0, share - width), min(1.0, share + width)))
    return steps


def compare(live: Sample, shadow: Sample, alpha: float = 0.05, t_min: float = T_MIN) -> Distance:
    """Whether the two arms' distributions differ, in whatever way: shift, spread or tail."""
    return _distance(live, shadow, alpha, t_min, is_one_sided=False)


def slower(live: Sample, shadow: Sample, alpha: float = 0.05, t_min: float = T_MIN) -> Distance:
    """Whether somewhere a smaller share of the shadow's values than of live's is that small.

    Against the hypothesis that the shadow is stochastically no slower than live.
    """
    return _distance(live, shadow, alpha, t_min, is_one_sided=True)


def _distance(live: Sample, shadow: Sample, alpha: float, t_min: float, *, is_one_sided: bool) -> Distance:
    if not live.count or not shadow.count:
        return Distance(0.0, None, 2.0, 1.0)
    largest, at = 0.0, None
    edges = {**dict(zip(shadow.keys, shadow.highs, strict=True)), **dict(zip(live.keys, live.highs, strict=True))}
    for key, edge in sorted(edges.items()):
        apart = live.shares(key)[1] - shadow.shares(key)[1]
        if not is_one_sided:
            apart = abs(apart)
        if apart > largest:
            largest, at = apart, edge
    threshold = radius(live.count, alpha / 2, t_min) + radius(shadow.count, alpha / 2, t_min)
    return Distance(largest, at, threshold, _p_value(largest, live.count, shadow.count, t_min))


def _p_value(distance: float, n: int, m: int, t_min: float) -> float:
    """The least alpha at which `distance` exceeds the two bands: half of it is each band's error."""
    if min(n, m) < t_min:
        return 1.0

    def spare(c: float) -> float:
        return min(1.0, _radius(n, c, t_min)) + min(1.0, _radius(m, c, t_min)) - distance

    if spare(_LEAST_C) >= 0:
        return 1.0
    highest = 4.0 * (n + m)
    return min(1.0, 2 * error(crossing(spare, _LEAST_C, highest) if spare(highest) >= 0 else highest))
