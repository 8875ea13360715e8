"""Quantile intervals and the A/B test of quantiles: published values, coverage under peeking, and buckets that only cost width."""

from __future__ import annotations

import random
from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy import logbuckets
from shadowproxy.judge import quantiles, sketch
from shadowproxy.judge.quantiles import Interval, from_sketch, from_values

durations = st.lists(st.integers(1, 10**12), min_size=1, max_size=200)
counts = st.dictionaries(st.integers(0, 1400), st.integers(0, 10**9), max_size=20)
shares = st.sampled_from([0.001, 0.1, 0.5, 0.9, 0.99, 0.999])


def counted(values: list[int]) -> sketch.Sketch:
    """The sketch of `values`."""
    return sketch.merge({logbuckets.bucket(value): 1} for value in values)


def test_the_test_of_two_medians_has_the_published_values() -> None:
    """1..1000 against the same shifted by 70 and by 85 (STATISTICS C14), to 1e-5."""
    live = from_values(range(1, 1001))
    shifted = {shift: from_values([value + shift for value in range(1, 1001)]) for shift in (70, 85)}
    assert quantiles.p_value_equal(live, shifted[70], 0.5, t_opt=100) == pytest.approx(0.814704, abs=1e-5)
    assert quantiles.p_value_equal(live, shifted[85], 0.5, t_opt=100) == pytest.approx(0.0838055, abs=1e-5)
    assert quantiles.p_value_equal(shifted[85], live, 0.5, t_opt=100) == pytest.approx(0.0838055, abs=1e-5)
    assert quantiles.p_value_equal(live, live, 0.5) == 1


def test_an_interval_ends_at_the_order_statistics_of_its_radii() -> None:
    """Of 1..1000 at the median: ranks 500 -/+ the boundary at v = 250, which is 1000 times the published kind."""
    found = quantiles.interval(from_values(range(1, 1001)), 0.5, t_opt=1000)
    assert found == Interval(453, 548)
    assert 500 in found
    assert 300 not in found


def test_few_values_say_nothing() -> None:
    """An end that nothing supports is None, or zero for durations, which are not negative."""
    assert quantiles.interval(from_values([3.0, 4.0]), 0.5) == Interval(None, None)
    assert quantiles.interval(from_sketch({100: 2}), 0.5) == Interval(0.0, None)
    assert quantiles.interval(from_sketch({}), 0.5) == Interval(0.0, None)
    assert quantiles.difference(from_sketch({}), from_sketch({}), 0.5) == Interval(None, None)
    assert quantiles.ratio(from_sketch({}), from_sketch({}), 0.5) == Interval(0.0, None)
    assert quantiles.log_e_equal(from_sketch({}), from_sketch({5: 10**6}), 0.5) == 0
    assert 7.0 in Interval(None, None)


def test_a_slower_arm_is_seen_in_difference_and_ratio() -> None:
    """Live at 10 ms, shadow at 20: the intervals hold 10 ms and 2, and neither 0 nor 1."""
    live = from_sketch({logbuckets.bucket(10_000_000): 2000})
    shadow = from_sketch({logbuckets.bucket(20_000_000): 2000})
    apart, times = quantiles.difference(live, shadow, 0.5), quantiles.ratio(live, shadow, 0.5)
    assert 1e7 in apart
    assert 0 not in apart
    assert 2 in times
    assert 1 not in times
    assert times.high is not None
    assert times.high < 2.1
    assert quantiles.p_value_equal(live, shadow, 0.5) < 1e-6


def test_the_least_value_is_no_bound_until_it_is_one() -> None:
    """That the median is under the least of 4 values has probability 1/16: an end there would miss too often. Of 40 it has not."""
    assert quantiles.interval(from_values(range(4)), 0.5, t_opt=10).low is None
    assert quantiles.interval(from_values(range(40)), 0.5, t_opt=10).low is not None


def test_each_arm_has_half_of_alpha() -> None:
    """Difference and ratio are of the ends of two intervals, each at alpha / 2."""
    rng = random.Random(12)
    live, shadow = from_values(rng.expovariate(1) for _ in range(900)), from_values(rng.expovariate(0.8) for _ in range(500))
    arms = quantiles.interval(live, 0.5, 0.05), quantiles.interval(shadow, 0.5, 0.05)
    ends = [end for arm in arms for end in (arm.low, arm.high) if end is not None]
    assert len(ends) == 4
    assert quantiles.difference(live, shadow, 0.5, 0.1) == Interval(ends[2] - ends[1], ends[3] - ends[0])
    assert quantiles.ratio(live, shadow, 0.5, 0.1) == Interval(ends[2] / ends[1], ends[3] / ends[0])


@given(durations, shares)
def test_buckets_only_widen_an_interval(values: list[int], p: float) -> None:
    """The interval from the sketch holds that of the values themselves, and ends within a bucket of it."""
    exact, bucketed = quantiles.interval(from_values(values), p, t_opt=20), quantiles.interval(from_sketch(counted(values)), p, t_opt=20)
    if exact.low is not None:
        assert bucketed.low is not None
        assert exact.low / logbuckets.GAMMA * (1 - 1e-9) <= bucketed.low <= exact.low
    if exact.high is None:
        assert bucketed.high is None
    else:
        assert bucketed.high is not None
        assert exact.high * (1 - 1e-9) <= bucketed.high <= exact.high * logbuckets.GAMMA * (1 + 1e-9)


@given(durations, durations, shares)
def test_buckets_only_lower_the_evidence(live: list[int], shadow: list[int], p: float) -> None:
    """Sketches never accuse more than the values do."""
    exact = quantiles.log_e_equal(from_values(live), from_values(shadow), p, t_opt=20)
    assert quantiles.log_e_equal(from_sketch(counted(live)), from_sketch(counted(shadow)), p, t_opt=20) <= exact + 1e-9


@given(counts, counts, shares)
def test_whatever_was_counted_the_answer_is_finite_and_in_order(live: sketch.Sketch, shadow: sketch.Sketch, p: float) -> None:
    """Up to 1e9 in a bucket, buckets to 24 minutes, quantiles to p99.9."""
    arms = from_sketch(live), from_sketch(shadow)
    for found in (quantiles.interval(arms[0], p), quantiles.difference(*arms, p), quantiles.ratio(*arms, p)):
        assert all(end is None or isfinite(end) for end in (found.low, found.high))
        assert found.low is None or found.high is None or found.low <= found.high
    assert isfinite(quantiles.log_e_equal(*arms, p))
    assert 0 <= quantiles.p_value_equal(*arms, p) <= 1


@pytest.mark.parametrize(("p", "alpha", "t_opt"), [(0, 0.05, 1), (1, 0.05, 1), (0.5, 0, 1), (0.5, 1, 1), (0.5, 0.05, 0)])
def test_parameters_out_of_range_are_refused(p: float, alpha: float, t_opt: float) -> None:
    """With the numbers in the message."""
    with pytest.raises(ValueError, match=str(p)):
        quantiles.interval(from_values([1.0]), p, alpha, t_opt)


def test_an_interval_that_is_read_all_the_time_misses_seldom() -> None:
    """60 runs of 600 exponential values, read after every 50th: at most alpha of the runs ever miss the median, or p90."""
    rng = random.Random(5)
    misses = {0.5: 0, 0.9: 0}
    quantile = {0.5: 0.6931471805599453, 0.9: 2.302585092994046}
    for _ in range(60):
        values: list[float] = []
        missed = dict.fromkeys(misses, False)
        for _ in range(12):
            values += [rng.expovariate(1) for _ in range(50)]
            for p, truth in quantile.items():
                missed[p] = missed[p] or truth not in quantiles.interval(from_values(values), p, alpha=0.1, t_opt=300)
        for p in misses:
            misses[p] += missed[p]
    assert misses[0.5] <= 6
    assert misses[0.9] <= 6


def test_equal_arms_that_are_compared_all_the_time_are_seldom_told_apart() -> None:
    """30 runs of A/A, read ten times each at alpha .1: at most the share that alpha allows."""
    rng = random.Random(6)
    alarms = 0
    for _ in range(30):
        live: list[int] = []
        shadow: list[int] = []
        is_alarm = False
        for _ in range(10):
            live += [int(rng.lognormvariate(16, 1)) for _ in range(40)]
            shadow += [int(rng.lognormvariate(16, 1)) for _ in range(40)]
            is_alarm = is_alarm or quantiles.p_value_equal(from_sketch(counted(live)), from_sketch(counted(shadow)), 0.5, 200) <= 0.1
        alarms += is_alarm
    assert alarms <= 3
