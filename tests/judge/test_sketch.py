"""Quantiles of log-bucket counts: accurate, mergeable, exact at edges."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy import logbuckets
from shadowproxy.judge import sketch

durations = st.lists(st.integers(1, 10**12), min_size=1, max_size=300)
sketches = st.dictionaries(st.integers(0, 1400), st.integers(1, 1000), max_size=30)


def counted(values: list[int]) -> sketch.Sketch:
    """The sketch of `values`."""
    found: sketch.Sketch = {}
    for value in values:
        bucket = logbuckets.bucket(value)
        found[bucket] = found.get(bucket, 0) + 1
    return found


@given(durations, st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 1.0]))
def test_a_quantile_is_within_the_accuracy_of_its_sample(values: list[int], q: float) -> None:
    """|q̂ - q| <= alpha q for the lower quantile, at every rank (STATISTICS C12)."""
    exact = sorted(values)[int(q * (len(values) - 1))]
    estimate = sketch.quantile(counted(values), q)
    assert estimate is not None
    assert abs(estimate - exact) <= logbuckets.ACCURACY * exact * (1 + 1e-9)


@given(sketches, sketches, sketches)
def test_merging_is_associative_and_commutative(a: sketch.Sketch, b: sketch.Sketch, c: sketch.Sketch) -> None:
    """Workers, minutes and hosts merge in any order and grouping."""
    left = sketch.merge([sketch.merge([a, b]), c])
    assert left == sketch.merge([a, sketch.merge([b, c])])
    assert left == sketch.merge([c, b, a])
    assert sketch.total(left) == sketch.total(a) + sketch.total(b) + sketch.total(c)


@given(durations, durations)
def test_merging_equals_counting_together(a: list[int], b: list[int]) -> None:
    """Nothing is lost by counting apart."""
    assert sketch.merge([counted(a), counted(b)]) == counted(a + b)


@given(durations, st.lists(st.integers(0, 1400), min_size=1, max_size=10).map(sorted))
def test_counts_at_edges_are_exact(values: list[int], buckets: list[int]) -> None:
    """What a histogram says of its bounds is the truth, not an estimate."""
    expected = [sum(value <= sketch.edge_ns(bucket) for value in values) for bucket in buckets]
    assert sketch.cumulative(counted(values), buckets) == expected


@given(st.integers(0, 1500))
def test_an_edge_is_the_last_nanosecond_of_its_bucket(bucket: int) -> None:
    """The edge falls in the bucket or below, and one nanosecond more does not."""
    edge = sketch.edge_ns(bucket)
    assert logbuckets.bucket(edge) <= bucket < logbuckets.bucket(edge + 1)


@given(durations)
def test_the_sum_is_within_the_accuracy(values: list[int]) -> None:
    """The approximate sum is as good as each of its parts."""
    assert abs(sketch.approximate_sum(counted(values)) - sum(values)) <= logbuckets.ACCURACY * sum(values) * (1 + 1e-9)


@given(st.floats(1e3, 1e11))
def test_the_nearest_bucket_is_within_half_a_bucket(duration_ns: float) -> None:
    """A bound stands for a boundary with at most one per cent of difference."""
    assert abs(logbuckets.upper_edge(sketch.nearest_bucket(duration_ns)) / duration_ns - 1) <= logbuckets.ACCURACY * 1.05


def test_several_quantiles_come_in_the_order_asked() -> None:
    """The order of the answer is the order of the question."""
    values = counted(list(range(1, 1001)))
    assert sketch.quantiles(values, (0.99, 0.5)) == [sketch.quantile(values, 0.99), sketch.quantile(values, 0.5)]


def test_nothing_counted_has_no_quantile() -> None:
    """An empty sketch answers None; buckets of zero count as absent."""
    assert sketch.quantiles({}, (0.5, 0.9)) == [None, None]
    assert sketch.quantile({5: 0}, 0.5) is None
    assert sketch.quantile({5: 0, 9: 1}, 0.0) == logbuckets.representative(9)


@pytest.mark.parametrize("q", [-0.1, 1.1])
def test_a_quantile_outside_its_range_is_refused(q: float) -> None:
    """A share is from 0 to 1."""
    with pytest.raises(ValueError, match="from 0 to 1"):
        sketch.quantile({1: 1}, q)
