"""Bounds of the steady state come from what was, and one odd value moves none."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.declare import Percent, Seconds
from shadowproxy.config.experiment import Steady
from shadowproxy.experiments.steady import (
    HOUR_S,
    POINTS,
    WEEK_S,
    WEEKS,
    Baseline,
    Bounds,
    baseline_of,
    bounds_of,
    narrowed,
    objections,
    recent_window,
    seasonal_baseline,
    seasonal_windows,
)

VALUES = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50)


def test_a_baseline_is_not_moved_by_one_absurd_value() -> None:
    """Median and scaled median absolute deviation; what is no number is left out."""
    series = [(0.0, 10.0), (1.0, 11.0), (2.0, 9.0), (3.0, 1e9), (4.0, 10.0), (5.0, nan), (6.0, inf)]
    assert baseline_of(series) == Baseline(10.0, 1.4826, 5)
    assert baseline_of([(0.0, nan)]) is None
    assert baseline_of([]) is None


def test_bounds_are_the_stricter_of_what_is_given() -> None:
    """Above, below, and so many percent around the baseline, also of a negative one."""
    hundred = Baseline(100.0, 1.0, 9)
    assert bounds_of(Steady(probe="p", above=1.0), None) == Bounds(1.0, None)
    assert bounds_of(Steady(probe="p", below=1.0, within=Percent(10.0)), None) == Bounds(None, 1.0)
    assert bounds_of(Steady(probe="p", within=Percent(10.0)), hundred) == Bounds(90.0, 110.0, hundred)
    assert bounds_of(Steady(probe="p", within=Percent(10.0), above=95.0, below=200.0), hundred) == Bounds(95.0, 110.0, hundred)
    below_zero = bounds_of(Steady(probe="p", within=Percent(10.0)), Baseline(-100.0, 1.0, 9))
    assert (below_zero.low, below_zero.high) == (-110.0, -90.0)


def test_a_value_is_well_within_its_bounds() -> None:
    """Bounds belong to what is well; of an unknown value nobody can say."""
    bounds = Bounds(1.0, 2.0)
    assert [bounds.is_well(value) for value in (0.9, 1.0, 2.0, 2.1, None)] == [False, True, True, False, None]
    assert Bounds().is_well(1e9) is True
    assert [str(each) for each in (bounds, Bounds(1.0), Bounds(None, 2.0), Bounds())] == [
        "from 1 to 2",
        "at least 1",
        "at most 2",
        "anything",
    ]
    assert bounds.to_plain() == {"baseline": None, "low": 1.0, "high": 2.0}


def test_two_demands_on_one_probe_both_hold() -> None:
    """A probe that two steady states ask for is bounded by both."""
    assert narrowed(Bounds(1.0, 9.0), Bounds(None, 5.0)) == Bounds(1.0, 5.0)
    assert narrowed(Bounds(), Bounds(2.0)) == Bounds(2.0)


def test_a_seasonal_baseline_looks_at_the_same_hour_of_past_weeks() -> None:
    """Four hours, each a whole number of weeks ago, in at most POINTS steps."""
    now = 1_800_000_000.0
    windows = seasonal_windows(now)
    assert len(windows) == WEEKS
    for week, window in enumerate(windows, 1):
        assert (window.start + window.end) / 2 == now - week * WEEK_S
        assert window.end - window.start == HOUR_S
        assert (window.end - window.start) / window.step <= POINTS
    recent = recent_window(Steady(probe="p", baseline=Seconds(10.0)), now)
    assert (recent.start, recent.end, recent.step) == (now - 10.0, now, 1.0)


def test_a_week_that_was_odd_or_is_not_known_moves_nothing() -> None:
    """The median of weeks: a holiday among them is ignored, and weeks without values are left out."""
    normal = [(0.0, 100.0), (1.0, 101.0), (2.0, 99.0)]
    holiday = [(0.0, 3.0)]
    found = seasonal_baseline([normal, holiday, normal, []])
    assert found is not None
    assert (found.value, found.points) == (100.0, 7)
    assert seasonal_baseline([[], []]) is None


@pytest.mark.parametrize(
    ("steady", "baseline", "value", "said"),
    [
        (Steady(probe="p", above=5.0), None, 6.0, []),
        (Steady(probe="p", above=5.0), None, 4.0, ["probe p is 4, and must be at least 5"]),
        (Steady(probe="p", above=5.0), None, None, ["probe p has no value: it gave none"]),
        (Steady(probe="p", within=Percent(5.0)), None, 4.0, ["probe p has no baseline: no value of it is known from before"]),
        (Steady(probe="p", within=Percent(5.0)), Baseline(100.0, 1.0, 9), 104.0, []),
        (Steady(probe="p", within=Percent(5.0)), Baseline(100.0, 1.0, 9), 106.0, ["probe p is 106, and must be from 95 to 105"]),
        (
            Steady(probe="p", within=Percent(5.0)), Baseline(0.0, 0.0, 9), 0.0,
            ["probe p has a baseline of 0, of which 5 percent are nothing: give above or below"],
        ),
        (
            Steady(probe="p", within=Percent(5.0)), Baseline(100.0, 20.0, 9), 100.0,
            ["probe p varies by 20 percent when all is well, and may by 5: no steady state"],
        ),
        (Steady(probe="p", within=Percent(5.0)), Baseline(100.0, 20.0, 3), 100.0, []),
    ],
)  # fmt: skip
def test_what_speaks_against_a_beginning_is_said(steady: Steady, baseline: Baseline | None, value: float | None, said: list[str]) -> None:
    """Not well, not known, or not steady in the first place: a sentence each."""
    assert objections(steady, bounds_of(steady, baseline), value) == said


@given(VALUES, st.floats(0.1, 100.0))
def test_a_baseline_is_within_its_own_bounds(values: list[float], within: float) -> None:
    """Whatever was seen: the median is well, and lies among the values."""
    baseline = baseline_of((0.0, value) for value in values)
    assert baseline is not None
    assert min(values) <= baseline.value <= max(values)
    assert bounds_of(Steady(probe="p", within=Percent(within)), baseline).is_well(baseline.value)
    assert baseline.spread >= 0
