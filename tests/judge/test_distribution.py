"""Bands around whole distributions: the published constants, valid under peeking, and every kind of difference seen."""

from __future__ import annotations

import random
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from shadowproxy import logbuckets
from shadowproxy.judge import distribution, sketch
from shadowproxy.judge.quantiles import from_sketch, from_values

durations = st.lists(st.integers(1, 10**12), min_size=1, max_size=200)
counts = st.dictionaries(st.integers(0, 1400), st.integers(0, 10**9), max_size=20)


def counted(values: list[int]) -> sketch.Sketch:
    """The sketch of `values`."""
    return sketch.merge({logbuckets.bucket(value): 1} for value in values)


@pytest.mark.parametrize(("alpha", "constant"), [(0.05, 8.12272), (0.025, 8.62265), (0.01, 9.28354)])
def test_the_constants_are_the_published_ones(alpha: float, constant: float) -> None:
    """Solved numerically (STATISTICS C5), to 1e-5; a band with it fails with just that probability."""
    assert distribution.constant(alpha) == pytest.approx(constant, abs=1e-5)
    assert distribution.error(distribution.constant(alpha)) == pytest.approx(alpha, rel=1e-6)


def test_the_radius_is_the_published_one() -> None:
    """As in confseq's unit test: 1,000 values, tight from 100 on; before that it says nothing."""
    assert distribution.radius(1000, 0.05, 100) == pytest.approx(0.08204769, abs=1e-6)
    assert distribution.radius(99, 0.05, 100) == 1
    with pytest.raises(ValueError, match=r"1\.5"):
        distribution.radius(1000, 1.5)


@given(durations, durations)
def test_the_distance_is_that_of_kolmogorov_and_smirnov(live: list[int], shadow: list[int]) -> None:
    """Of values it is the largest between their curves, either way; of sketches it is never larger."""
    exact = from_values(live), from_values(shadow)
    bucketed = from_sketch(counted(live)), from_sketch(counted(shadow))
    apart = [sum(x <= at for x in live) / len(live) - sum(x <= at for x in shadow) / len(shadow) for at in {*live, *shadow}]
    assert distribution.compare(*exact).distance == pytest.approx(max(abs(distance) for distance in apart))
    assert distribution.slower(*exact).distance == pytest.approx(max(0.0, *apart))
    assert distribution.compare(*bucketed).distance <= distribution.compare(*exact).distance + 1e-12
    assert distribution.slower(*bucketed).distance <= distribution.slower(*exact).distance + 1e-12


def test_the_distance_agrees_with_scipy() -> None:
    """Both statistics of 70 against 50 values; scipy's "greater" is the first curve above the second."""
    rng = random.Random(4)
    live, shadow = [rng.gauss(0, 1) for _ in range(70)], [rng.gauss(0.3, 2) for _ in range(50)]
    arms = from_values(live), from_values(shadow)
    assert distribution.compare(*arms).distance == pytest.approx(float(stats.ks_2samp(live, shadow).statistic))
    assert distribution.slower(*arms).distance == pytest.approx(float(stats.ks_2samp(live, shadow, alternative="greater").statistic))


@given(counts, counts)
def test_whatever_was_counted_the_answer_is_finite(live: sketch.Sketch, shadow: sketch.Sketch) -> None:
    """And the p-value and the threshold agree about what is different."""
    found = distribution.compare(from_sketch(live), from_sketch(shadow))
    assert isfinite(found.distance)
    assert isfinite(found.threshold)
    assert 0 <= found.p_value <= 1
    if found.p_value < 0.05 * (1 - 1e-6):
        assert found.is_different
    if found.p_value > 0.05 * (1 + 1e-6):
        assert not found.is_different


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.001])
def test_each_arm_has_half_of_alpha(alpha: float) -> None:
    """A distance at the sum of two radii of alpha / 2 has the p-value alpha."""
    live, shadow = from_sketch({100: 1500}), from_sketch({100: 700})
    found = distribution.compare(live, shadow, alpha)
    assert found.threshold == distribution.radius(1500, alpha / 2) + distribution.radius(700, alpha / 2)
    # Two steps whose distance is as near the threshold as 1,500 values can come.
    above = round(1500 * found.threshold) + 1
    apart = distribution.compare(from_sketch({100: 1500 - above, 101: above}), shadow, alpha)
    assert apart.is_different
    assert apart.p_value == pytest.approx(alpha, rel=0.2)
    assert apart.p_value < alpha


def test_a_band_holds_the_curve() -> None:
    """Every step has its share between its ends, in order; nothing counted is an empty band."""
    steps = distribution.band(from_sketch({100: 300, 120: 500, 150: 200}), 0.05)
    assert [step.share for step in steps] == [0.3, 0.8, 1.0]
    assert all(0 <= step.low <= step.share <= step.high <= 1 for step in steps)
    assert steps[0].value == pytest.approx(logbuckets.upper_edge(100))
    assert distribution.band(from_sketch({}), 0.05) == []
    assert distribution.compare(from_sketch({}), from_sketch({})).p_value == 1


def lognormal(rng: random.Random, n: int, centre: float, spread: float) -> sketch.Sketch:
    """`n` durations around exp(`centre`) nanoseconds."""
    return counted([int(rng.lognormvariate(centre, spread)) for _ in range(n)])


def test_a_change_of_spread_alone_is_seen() -> None:
    """Same median, twice the spread: different, and slower as well, for there is more in the upper tail."""
    rng = random.Random(1)
    live, shadow = from_sketch(lognormal(rng, 4000, 16, 0.5)), from_sketch(lognormal(rng, 4000, 16, 1.0))
    assert distribution.compare(live, shadow).is_different
    assert distribution.slower(live, shadow).is_different


def test_a_faster_shadow_is_different_but_not_slower() -> None:
    """The one-sided test asks one thing only."""
    rng = random.Random(2)
    live, shadow = from_sketch(lognormal(rng, 4000, 16, 0.5)), from_sketch(lognormal(rng, 4000, 15.5, 0.5))
    assert distribution.compare(live, shadow).is_different
    assert not distribution.slower(live, shadow).is_different
    assert distribution.slower(shadow, live).is_different
    at = distribution.compare(live, shadow).at
    assert at is not None
    assert 5e6 < at < 1.2e7


def test_equal_arms_that_are_compared_all_the_time_are_seldom_told_apart() -> None:
    """60 runs of A/A, read ten times each at alpha .1: the band is wide enough for many more looks than that."""
    rng = random.Random(3)
    alarms = 0
    for _ in range(60):
        live: sketch.Sketch = {}
        shadow: sketch.Sketch = {}
        is_alarm = False
        for _ in range(10):
            sketch.add(live, lognormal(rng, 50, 16, 1))
            sketch.add(shadow, lognormal(rng, 50, 16, 1))
            is_alarm = is_alarm or distribution.compare(from_sketch(live), from_sketch(shadow), 0.1).is_different
        alarms += is_alarm
    assert alarms <= 6
