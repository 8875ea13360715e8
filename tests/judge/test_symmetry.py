"""The symmetry test of log ratios: reference values, laws, intervals, signs."""

from __future__ import annotations

from math import ceil, cosh, exp, inf, isfinite, log, sqrt

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import integrate

from shadowproxy.judge import symmetry
from shadowproxy.judge.symmetry import RHO, LogRatio, log_e_above, log_e_below, log_e_two_sided

ratios = st.lists(st.floats(-5, 5), min_size=1, max_size=60)
centres = st.floats(-3, 3)


def summed(values: list[float]) -> LogRatio:
    """The sums of some log ratios."""
    return LogRatio(len(values), sum(values), sum(value * value for value in values))


@pytest.mark.parametrize(("s1", "log_e", "bound"), [(30, 3.4833328, 0.00153564), (50, 12.2499505, 0.02181737)])
def test_reference_values(s1: float, log_e: float, bound: float) -> None:
    """The vectors of STATISTICS C4 for 1,000 pairs with a sum of squares of 90."""
    sums = LogRatio(1000, s1, 90)
    assert log_e_above(sums, 0.0, 1.2640507905) == pytest.approx(log_e, abs=1e-6)
    assert symmetry.lower_bound(sums, 0.05, 1.2640507905) == pytest.approx(bound, abs=1e-8)


def test_reference_values_of_the_mixture() -> None:
    """The published unit tests of C14: parameter, value and bound of the normal mixture, one- and two-sided."""
    one, two = symmetry.rho_for(100, 0.05), symmetry.rho_for(100, 0.05, two_sided=True)
    assert two == pytest.approx(12.60056, abs=1e-5)
    assert pytest.approx(1.26405, abs=1e-5) == RHO
    assert log_e_two_sided(LogRatio(1000, 10, 100), 0.0, two) == pytest.approx(-0.6510052, abs=1e-6)
    assert log_e_above(LogRatio(1000, 10, 100), 0.0, one) == pytest.approx(-0.06502391, abs=1e-6)
    # The bound is where the mixture reaches 1/alpha.
    assert log_e_two_sided(LogRatio(1000, 30.35209, 100), 0.0, two) == pytest.approx(log(20), abs=1e-5)
    assert log_e_above(LogRatio(1000, 27.66071, 100), 0.0, one) == pytest.approx(log(20), abs=1e-5)


@pytest.mark.parametrize(("total", "squares"), [(1.0, 2.0), (-3.0, 5.0), (0.0, 0.5)])
def test_it_is_the_mixture_that_it_says(total: float, squares: float) -> None:
    """exp(s S - s^2 V / 2), mixed over normal s, or over half-normal s on one side."""

    def mixed(s: float) -> float:
        return exp(s * total - s * s * squares / 2 - s * s * RHO / 2) * sqrt(RHO / (2 * 3.141592653589793))

    assert exp(log_e_two_sided(LogRatio(100, total, squares))) == pytest.approx(integrate.quad(mixed, -30, 30)[0], rel=1e-6)
    assert exp(log_e_above(LogRatio(100, total, squares), 0.0)) == pytest.approx(2 * integrate.quad(mixed, 0, 30)[0], rel=1e-6)


@given(st.floats(0.0, 8.0), st.floats(-30.0, 30.0))
def test_a_symmetric_ratio_cannot_be_expected_to_win(d: float, s: float) -> None:
    """The heart of it: exp(s d - s^2 d^2 / 2) over d and -d is cosh(sd) exp(-(sd)^2 / 2), which is at most one."""
    assume(abs(s * d) < 25)
    assert cosh(s * d) * exp(-((s * d) ** 2) / 2) <= 1.0 + 1e-12


@given(st.floats(1e-3, 20.0), st.floats(0.0, 20.0), st.floats(0.0, 30.0))
def test_a_centre_below_the_margin_wins_nothing_either(spread: float, below: float, s: float) -> None:
    """The null is composite: symmetric about -below, betting upwards (s >= 0) on the margin 0 has a mean of at most one."""
    # The mean over the two points -below ± spread; all symmetric laws are mixtures of such.
    up, down = s * (-below + spread), s * (-below - spread)
    assert 0.5 * exp(up - up * up / 2) + 0.5 * exp(down - down * down / 2) <= 1.0 + 1e-9


@given(ratios, st.floats(0.001, 4.0), centres)
def test_one_more_symmetric_pair_is_a_supermartingale(values: list[float], spread: float, m: float) -> None:
    """From any state, a next pair symmetric about the margin leaves the mean of the evidence where it was, or lowers it."""
    for test in (log_e_above, log_e_below, log_e_two_sided):
        now = test(summed(values), m)
        then = [test(summed([*values, m + step]), m) for step in (spread, -spread)]
        assert 0.5 * sum(exp(value - now) for value in then) <= 1.0 + 1e-6


@given(ratios, ratios, ratios)
def test_sums_add(one: list[float], two: list[float], three: list[float]) -> None:
    """Workers merge in any order and grouping."""
    merged = summed(one) + (summed(two) + summed(three))
    again = (summed(three) + summed(one)) + summed(two)
    whole = summed(one + two + three)
    for found in (merged, again):
        assert found.n == whole.n
        assert found.s1 == pytest.approx(whole.s1, abs=1e-9)
        assert found.s2 == pytest.approx(whole.s2, abs=1e-9)


@given(ratios, centres)
def test_the_directions_mirror_each_other(values: list[float], m: float) -> None:
    """Exchanging the arms exchanges "slower" and "not slower"; the two-sided test knows no sides."""
    there, back = summed(values), summed([-value for value in values])
    assert log_e_above(there, m) == pytest.approx(log_e_below(back, -m), abs=1e-9)
    assert log_e_two_sided(there, m) == pytest.approx(log_e_two_sided(back, -m), abs=1e-9)
    assert exp(log_e_two_sided(there, m)) == pytest.approx((exp(log_e_above(there, m)) + exp(log_e_below(there, m))) / 2, rel=1e-6)


@given(ratios, st.sampled_from([0.001, 0.05, 0.3]))
def test_the_interval_holds_the_mean_and_nothing_refuted(values: list[float], alpha: float) -> None:
    """The ends are refuted, everything beyond them up to the end of the scale too, and a surer interval is wider."""
    sums = summed(values)
    low, high = symmetry.interval(sums, alpha)
    mean = sums.mean
    assert mean is not None
    assert low <= mean <= high
    rho = symmetry.rho_for(symmetry.VARIANCE_SUM, alpha, two_sided=True)
    for end, farthest in ((low, -symmetry.FARTHEST), (high, symmetry.FARTHEST)):
        if isfinite(end):
            beyond = [end + (farthest - end) * step / 20 for step in range(21)]
            assert all(log_e_two_sided(sums, m, rho) >= log(1 / alpha) - 1e-6 for m in beyond)
    wider = symmetry.interval(sums, alpha / 10, rho)
    again = symmetry.interval(sums, alpha, rho)
    assert wider[0] <= again[0]
    assert wider[1] >= again[1]


@given(ratios)
def test_one_sided_bounds_mirror_each_other(values: list[float]) -> None:
    """The bound from above is the bound from below of the exchanged arms."""
    there, back = summed(values), summed([-value for value in values])
    assert symmetry.upper_bound(there, 0.05) == pytest.approx(-symmetry.lower_bound(back, 0.05))
    mean = there.mean
    assert mean is not None
    assert symmetry.lower_bound(there, 0.05) <= mean


def test_a_handful_of_pairs_bounds_nothing() -> None:
    """Far centres are refuted only when there are pairs enough: until then there is no interval, rather than a wrong one."""
    assert symmetry.interval(LogRatio(), 0.05) == (-inf, inf)
    assert symmetry.interval(LogRatio(10, 0.01, 0.1), 0.05) == (-inf, inf)
    assert symmetry.lower_bound(LogRatio(), 0.05) == -inf
    assert symmetry.upper_bound(LogRatio(3, 0.01, 0.1), 0.05) == inf
    low, high = symmetry.interval(LogRatio(40, 0.04, 3.2), 0.05)
    assert -0.4 < low < 0.001 < high < 0.4


@pytest.mark.parametrize("sums", [LogRatio(10**9, 0.0, 8e7), LogRatio(10**9, 1e9, 1e9), LogRatio(10**9, 2e10, 4e11), LogRatio(1, 0.0, 0.0)])
def test_extreme_sums_are_finite(sums: LogRatio) -> None:
    """A thousand million pairs, all alike or far from it, have evidence that is a number."""
    for m in (-1.0, 0.0, log(1.01), 20.0):
        assert isfinite(log_e_above(sums, m))
        assert isfinite(log_e_below(sums, m))


@given(st.integers(1, 10**9), st.floats(-20, 20))
def test_rounding_makes_no_evidence(n: int, d: float) -> None:
    """Equal ratios about themselves: the squares cancel to nothing, never below, and nothing is shown."""
    sums = LogRatio(n, n * d, n * d * d)
    assert log_e_two_sided(sums, d) < 0.1
    total, squares = sums.about(d / 2)
    assert squares >= total * total / n


def test_no_pairs_are_no_evidence() -> None:
    """An e-process begins at 1, and there is no mean of nothing."""
    for test in (log_e_above, log_e_below, log_e_two_sided):
        assert test(LogRatio(), 0.3) == pytest.approx(0.0, abs=1e-12)
    assert LogRatio().mean is None
    assert LogRatio(4, 2.0, 3.0).mean == 0.5
    assert LogRatio(4, 2.0, 3.0).scaled(2.5) == LogRatio(10, 5.0, 7.5)


def bucketed(values: list[float]) -> dict[int, int]:
    """The histogram of some log ratios, as workers make it."""
    found: dict[int, int] = {}
    for value in values:
        bucket = ceil(value / symmetry.BUCKET_WIDTH)
        found[bucket] = found.get(bucket, 0) + 1
    return found


@given(ratios, centres)
def test_signs_never_overstate(values: list[float], m: float) -> None:
    """From buckets, at most as many are above as are; with the doubt on the other side, at least as many."""
    above = sum(value > m for value in values)
    low, rest = symmetry.signs(bucketed(values), m)
    high, _ = symmetry.signs(bucketed(values), m, is_doubt_above=True)
    assert low <= above <= high
    assert low + rest == len(values)


def test_signs_are_exact_at_an_edge() -> None:
    """A margin on an edge cuts no bucket: (0, 0.005] is above 0, and what is equal to the margin is not above it."""
    assert symmetry.signs({0: 5, 1: 3, -7: 1, 400: 2}, 0.0) == (5, 6)
    assert symmetry.signs({2: 1}, 0.0099) == (0, 1)
    assert symmetry.signs({2: 1}, 0.0099, is_doubt_above=True) == (1, 0)


def test_arguments_out_of_range_are_refused() -> None:
    """A mixture is tuned to a positive sum of squares; alpha is a probability."""
    with pytest.raises(ValueError, match=r"v_opt 8 at alpha 0\.6"):
        symmetry.rho_for(8, 0.6)
    with pytest.raises(ValueError, match="v_opt 0 at"):
        symmetry.rho_for(0, 0.05)
    for bound in (symmetry.interval, symmetry.lower_bound, symmetry.upper_bound):
        with pytest.raises(ValueError, match="between 0 and 1, not 1"):
            bound(LogRatio(1, 1, 1), 1)
