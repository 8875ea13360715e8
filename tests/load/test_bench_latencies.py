"""Quantiles and medians."""

from __future__ import annotations

from math import isnan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from load.bench.latencies import Latencies, median


def of(*microseconds: int) -> Latencies:
    """Latencies of whole microseconds, with a rest that is cut off."""
    made = Latencies()
    for each in microseconds:
        made.add(each * 1000 + 999)
    return made


def test_a_quantile_is_the_least_value_that_enough_do_not_exceed() -> None:
    """No interpolation: p99 of 100 values is the 99th, p99.9 of them the largest."""
    hundred = of(*range(1, 101))
    assert [hundred.quantile_us(q) for q in (0.5, 0.99, 0.999, 1.0)] == [50, 99, 100, 100]


def test_nothing_has_no_quantile() -> None:
    """An empty sample is not zero latency."""
    assert isnan(Latencies().quantile_us(0.5))


@given(st.lists(st.integers(0, 5000), min_size=1), st.lists(st.integers(0, 5000), min_size=1), st.floats(0.0, 1.0))
def test_merging_is_like_having_seen_all(left: list[int], right: list[int], share: float) -> None:
    """Rounds can be merged in any order without changing a quantile."""
    merged = of(*left)
    merged.merge(of(*right))
    assert merged.total == len(left) + len(right)
    assert merged.quantile_us(share) == of(*right, *left).quantile_us(share)


def test_median_of_odd_and_even_counts() -> None:
    """The middle, or the mean of the two in the middle; of nothing there is none."""
    assert median([3.0, 1.0, 2.0]) == 2.0
    assert median([4.0, 1.0, 2.0, 3.0]) == 2.5
    with pytest.raises(ValueError, match="nothing"):
        median([])
