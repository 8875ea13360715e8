"""The shift of two samples: published values, and the laws of a rank test."""

from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from shadowproxy.judge.kayenta import mann_whitney
from shadowproxy.judge.kayenta.mann_whitney import Shift, shift

samples = st.lists(st.integers(-50, 50).map(float), min_size=2, max_size=25)
wild = st.lists(st.floats(-1e308, 1e308), min_size=1, max_size=10)


def test_the_published_interval_of_four_against_four() -> None:
    """[10, 20, 30, 40] against [1, 2, 3, 4]: 6 to 39, estimate 22.5 (STATISTICS C14)."""
    assert shift([10, 20, 30, 40], [1, 2, 3, 4], 0.95) == Shift(6, 39, 22.5)


def test_seven_of_ten_a_hundred_times_as_large() -> None:
    """spinnaker#6278, as Kayenta printed it there: the lower end is next to nothing, so the jump passes."""
    found = shift([100.0] * 7 + [1.0] * 3, [1.0] * 10, 0.98)
    assert found is not None
    assert found.low == pytest.approx(6.825022991538781e-5, rel=1e-13)
    assert found.high == 99.0
    assert found.estimate == 98.99992904170193


def test_the_search_stops_where_it_always_did() -> None:
    """The place on a step where it stops is part of the answer: pinned, in a case that other rules of the search end elsewhere in."""
    experiment, control = [1.5, 7.5, 0.0, 14.0, 13.0], [6.5, 9.5, 0.0, 7.0, 4.0, 3.5, 9.0]
    found = shift(experiment, control, 0.98)
    assert found is not None
    assert (found.low, found.high) == pytest.approx((-7.999958093632795, 10.499928142574358), rel=1e-9)
    assert found.estimate == 2.25


def test_a_shift_is_defined_or_none() -> None:
    """Two constants have no ranks to speak of, nor have differences that vanish beside the shift; those beyond a float have no bounds."""
    assert shift([1.0, 1.0], [2.0], 0.98) is None
    assert shift([1e308, 1.0], [-1e308, 1.0], 0.98) is None
    assert shift([0.0, 1e-128], [1.0], 0.98) is None
    assert shift([1.0, 2.0], [1.0], 0.98) is not None


@given(samples, samples)
def test_ranks_agree_with_scipy(x: list[float], y: list[float]) -> None:
    """The sum of ranks is U plus m(m+1)/2; standardised, its p-value is scipy's asymptotic one."""
    total, _ = mann_whitney.rank_sum(x, y)
    found = stats.mannwhitneyu(x, y, method="asymptotic", use_continuity=True) if len({*x, *y}) > 1 else None
    if found is not None:
        assert total - len(x) * (len(x) + 1) / 2 == pytest.approx(float(found.statistic))
        z = mann_whitney.standardised(x, y, 0.0)
        assert min(1.0, 2 * float(stats.norm.sf(abs(z)))) == pytest.approx(float(found.pvalue), abs=1e-12)


@given(samples, samples)
def test_swapping_the_samples_turns_the_shift_round(x: list[float], y: list[float]) -> None:
    """Up to where on a step the search stopped: the step's width is a difference between differences, which are whole here."""
    forth, back = shift(x, y, 0.98), shift(y, x, 0.98)
    assert (forth is None) == (back is None)
    if forth is not None and back is not None:
        assert forth.low == pytest.approx(-back.high, abs=1.01)
        assert forth.low <= forth.high + 1e-3


@given(samples, samples, st.integers(-1000, 1000))
def test_what_is_added_to_a_sample_is_added_to_the_shift(x: list[float], y: list[float], by: int) -> None:
    """The interval moves along."""
    plain, moved = shift(x, y, 0.98), shift([value + by for value in x], y, 0.98)
    assume(plain is not None)
    assert plain is not None
    assert moved is not None
    assert moved.low - by == pytest.approx(plain.low, abs=1.01)
    assert moved.high - by == pytest.approx(plain.high, abs=1.01)


@given(wild, wild)
def test_whatever_the_numbers_a_shift_is_finite(x: list[float], y: list[float]) -> None:
    """Or there is none."""
    found = shift(x, y, 0.98)
    assert found is None or all(map(isfinite, (found.low, found.high, found.estimate)))
