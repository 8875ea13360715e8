"""The latency buckets: every duration in exactly one, and its representative within the stated accuracy."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.logbuckets import ACCURACY, bucket, lower_edge, representative, upper_edge

DURATIONS = st.integers(min_value=1, max_value=10**13)


@given(DURATIONS)
def test_the_representative_is_within_the_accuracy(value_ns: int) -> None:
    """A quantile is off by at most 1 % of itself, from a nanosecond to hours."""
    assert abs(representative(bucket(value_ns)) - value_ns) <= ACCURACY * value_ns * (1 + 1e-9)


@given(DURATIONS)
def test_a_value_lies_between_the_edges_of_its_bucket(value_ns: int) -> None:
    """Exclusive lower edge, inclusive upper edge, to the rounding of doubles."""
    index = bucket(value_ns)
    assert lower_edge(index) * (1 - 1e-12) <= value_ns <= upper_edge(index) * (1 + 1e-12)


@given(DURATIONS, DURATIONS)
def test_buckets_keep_the_order(one: int, other: int) -> None:
    """A longer duration is never in a lower bucket."""
    low, high = sorted((one, other))
    assert bucket(low) <= bucket(high)


@given(st.integers(min_value=0, max_value=1500))
def test_buckets_touch(index: int) -> None:
    """One bucket begins where the one below it ends."""
    assert lower_edge(index + 1) == pytest.approx(upper_edge(index), rel=1e-12)
    assert lower_edge(index) < representative(index) < upper_edge(index)


@pytest.mark.parametrize("value_ns", [1, 0, -5])
def test_nothing_is_shorter_than_a_nanosecond(value_ns: int) -> None:
    """A clock that stands still, or steps back, counts as one nanosecond."""
    assert bucket(value_ns) == 0


def test_buckets_never_move() -> None:
    """These indices are on the wire and in stored counts: a change would mix old and new."""
    assert [bucket(10**power) for power in (3, 6, 9)] == [346, 691, 1037]
