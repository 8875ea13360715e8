"""Special functions in log space, with scipy as the oracle."""

from __future__ import annotations

from math import exp, inf, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special as scipy_special
from scipy import stats

from shadowproxy.judge import special

shapes = st.floats(-2, 6).map(lambda power: float(10**power))
shares = st.floats(0.0, 1.0, allow_subnormal=False)  # scipy loses four digits there
LEAST = 1e-290
"""Below this scipy's plain functions lose digits, and then everything."""


@given(shapes, shapes)
def test_log_beta_is_scipys(a: float, b: float) -> None:
    """The logarithm of the beta function, over eight decades of both parameters."""
    assert special.log_beta(a, b) == pytest.approx(scipy_special.betaln(a, b), rel=1e-11, abs=1e-8)
    assert special.log_beta(a, b) == special.log_beta(b, a)


@given(shapes, shapes, shares)
def test_both_tails_are_scipys(a: float, b: float, x: float) -> None:
    """Either tail of the incomplete beta function, to nine digits, wherever scipy has digits at all."""
    for found, wanted in (
        (special.log_betainc(a, b, x), scipy_special.betainc(a, b, x)),
        (special.log_betainc_complement(a, b, x), scipy_special.betaincc(a, b, x)),
    ):
        assert found <= 0.0
        if wanted > LEAST:
            assert exp(found) == pytest.approx(wanted, rel=1e-6 if wanted < 1e-30 else 1e-9, abs=LEAST)


@given(shapes, shapes, st.floats(-6, 6))
def test_the_middle_of_the_distribution_is_scipys(a: float, b: float, deviations: float) -> None:
    """Within six standard deviations of the mean: where series converge slowly, and where evidence lives."""
    x = a / (a + b) + deviations * (a * b / (a + b + 1)) ** 0.5 / (a + b)
    if 0.0 < x < 1.0:
        assert exp(special.log_betainc(a, b, x)) == pytest.approx(scipy_special.betainc(a, b, x), rel=1e-8, abs=1e-300)


@given(shapes, shapes, st.floats(1e-6, 1.0 - 1e-6))
def test_the_density_is_scipys(a: float, b: float, x: float) -> None:
    """The logarithm of the density of the beta distribution."""
    assert special.log_beta_density(a, b, x) == pytest.approx(float(stats.beta.logpdf(x, a, b)), rel=1e-9, abs=1e-7)


@given(shapes, shapes, shares, shares)
def test_the_tails_add_to_one_and_are_monotone(a: float, b: float, x: float, y: float) -> None:
    """A distribution function rises from 0 to 1, and what is not below is above."""
    assert exp(special.log_betainc(a, b, x)) + exp(special.log_betainc_complement(a, b, x)) == pytest.approx(1.0, abs=1e-9)
    low, high = sorted((x, y))
    assert special.log_betainc(a, b, low) <= special.log_betainc(a, b, high) + 1e-9


@pytest.mark.parametrize(
    ("a", "b", "x", "wanted"),
    [
        # Where double precision of the function itself gives out; computed with 50 digits.
        (1066.0332997533947, 18.026716598720167, 0.5, -665.4371558239682),
        (4491523.08142102, 9555807.868538698, 0.319742098867109, -0.6930923279126434),
        (50.0, 60.0, 0.3, -7.976581066771999),
    ],
)
def test_where_scipy_loses_digits_ours_keep_them(a: float, b: float, x: float, wanted: float) -> None:
    """Far tails and great parameters, against arithmetic with fifty digits."""
    assert special.log_betainc(a, b, x) == pytest.approx(wanted, abs=1e-11 * abs(wanted) + 1e-10)


@pytest.mark.parametrize(("a", "b"), [(0.5, 1e6), (1e6, 0.5), (1e9, 1e9), (1e9, 0.5), (0.5, 1e9), (1e9, 1e9 + 1e5), (3e8, 1e9)])
def test_extreme_counts_are_finite(a: float, b: float) -> None:
    """A million failures on one side, or a thousand million pairs on both, still have a logarithm."""
    for found in (special.log_beta(a, b), special.log_betainc(a, b, 0.5), special.log_betainc_complement(a, b, 0.5)):
        assert isfinite(found)
    assert special.log_betainc(1e9, 1e9, 0.5) == pytest.approx(log(0.5), abs=1e-9)


@given(st.floats(-1e4, 40.0))
def test_the_normal_distribution_function_is_scipys(x: float) -> None:
    """The logarithm in both tails, far beyond where the function itself is 0 or 1."""
    assert special.log_ndtr(x) == pytest.approx(float(scipy_special.log_ndtr(x)), rel=1e-12, abs=1e-300)


@given(st.lists(st.floats(-2000, 2000), max_size=20))
def test_sums_in_log_space_are_scipys(values: list[float]) -> None:
    """The logarithm of a sum of exponentials, without computing one that overflows."""
    wanted = float(scipy_special.logsumexp(values)) if values else -inf
    assert special.log_sum_exp(values) == pytest.approx(wanted, rel=1e-12, abs=1e-12)


def test_sums_of_nothing_and_of_everything() -> None:
    """The sum of no terms is 0, and so is that of terms of 0; an infinite term makes it infinite."""
    assert special.log_sum_exp([]) == special.log_sum_exp([-inf, -inf]) == -inf
    assert special.log_sum_exp([0.0, inf]) == inf


@given(st.floats(-700, -1e-12))
def test_the_complement_of_an_exponential_is_accurate_at_both_ends(value: float) -> None:
    """1 - exp(v) where v is near 0, and where exp(v) is."""
    assert exp(special.log1m_exp(value)) == pytest.approx(-scipy_special.expm1(value), rel=1e-12)
    assert special.log1m_exp(0.0) == -inf


@pytest.mark.parametrize("x", [5e-324, 1e-310, 1e-200, 1e-17, 1 - 1e-16])
@pytest.mark.parametrize(("a", "b"), [(1e6, 1e6), (100.0, 100.0), (1e9, 50.0), (0.5, 1e6), (1e6, 0.5), (0.01, 0.01)])
def test_the_smallest_shares_have_a_tail(a: float, b: float, x: float) -> None:
    """Nothing underflows on the way, and nothing goes on for ever: x**a leads, where x is next to nothing."""
    found = special.log_betainc(a, b, x)
    assert isfinite(found)
    if x < 1e-150:
        assert found == pytest.approx(a * log(x) - log(a) - special.log_beta(a, b), rel=1e-9)
    assert isfinite(special.log_betainc_complement(a, b, x)) or x < 1e-15


def test_the_ends_of_the_range_are_exact() -> None:
    """Nothing is below 0 and everything below 1."""
    assert special.log_betainc(2, 3, 0.0) == special.log_betainc_complement(2, 3, 1.0) == -inf
    assert special.log_betainc(2, 3, 1.0) == special.log_betainc_complement(2, 3, 0.0) == 0.0


@pytest.mark.parametrize(("a", "b", "x"), [(0.0, 1.0, 0.5), (1.0, -1.0, 0.5), (1.0, 1.0, -0.1), (1.0, 1.0, 1.1)])
def test_arguments_out_of_range_are_refused(a: float, b: float, x: float) -> None:
    """Parameters are positive and shares from 0 to 1; whatever is asked."""
    for function in (special.log_betainc, special.log_betainc_complement, special.log_beta_density):
        with pytest.raises(ValueError, match="beta"):
            function(a, b, x)


def test_a_beta_function_of_nothing_is_refused() -> None:
    """Its parameters are positive; and a density is not asked for at the very ends."""
    with pytest.raises(ValueError, match="positive, not 0"):
        special.log_beta(0, 1)
    with pytest.raises(ValueError, match="between 0 and 1, not 0"):
        special.log_beta_density(1, 1, 0.0)
