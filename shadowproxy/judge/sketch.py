"""Quantiles out of log-bucket counts (STATISTICS C12).

A sketch is a mapping from a `logbuckets` bucket to how many durations fell in it. Three
rules hold for everything here:

* sketches add: merging is the sum of equal buckets, in any order and grouping;
* a quantile is within ``logbuckets.ACCURACY`` (relative) of the sample at its rank;
* a count at or below a bucket's edge is exact, because no bucket straddles its own edge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy import logbuckets

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Sketch = dict[int, int]
"""Bucket to count; buckets that nothing fell in are absent."""

QUANTILES: Final = (0.5, 0.9, 0.99, 0.999)
"""What reports show of a latency distribution."""


def merge(sketches: Iterable[Mapping[int, int]]) -> Sketch:
    """The sketch of everything that any of `sketches` counted."""
    merged: Sketch = {}
    for sketch in sketches:
        add(merged, sketch)
    return merged


def add(into: Sketch, sketch: Mapping[int, int]) -> None:
    """Count into `into` what `sketch` counted."""
    for bucket, count in sketch.items():
        into[bucket] = into.get(bucket, 0) + count


def total(sketch: Mapping[int, int]) -> int:
    """How many durations were counted."""
    return sum(sketch.values())


def quantile(sketch: Mapping[int, int], q: float) -> float | None:
    """The duration, in nanoseconds, that a share `q` in [0, 1] of the samples does not exceed.

    The rank is ``floor(q * (n - 1))`` of the sorted samples (the lower quantile); the value
    returned is within `logbuckets.ACCURACY` of that sample. None when nothing was counted.

    Raises:
        ValueError: `q` is outside [0, 1].
    """
    return quantiles(sketch, (q,))[0]


def quantiles(sketch: Mapping[int, int], qs: Sequence[float]) -> list[float | None]:
    """`quantile` for each of `qs`, in their order, sorting the buckets once.

    Raises:
        ValueError: one of `qs` is outside [0, 1].
    """
    for q in qs:
        if not 0.0 <= q <= 1.0:
            raise ValueError(f"a quantile must be from 0 to 1, not {q}")
    count = total(sketch)
    if not count:
        return [None for _ in qs]
    ordered = sorted(bucket for bucket, n in sketch.items() if n)
    found: list[float | None] = [None] * len(qs)
    wanted = sorted(range(len(qs)), key=qs.__getitem__)
    below = 0
    at = 0
    for index in wanted:
        rank = int(qs[index] * (count - 1))
        while below + sketch[ordered[at]] <= rank:
            below += sketch[ordered[at]]
            at += 1
        found[index] = logbuckets.representative(ordered[at])
    return found


def approximate_sum(sketch: Mapping[int, int]) -> float:
    """The sum of all samples in nanoseconds, within `logbuckets.ACCURACY`."""
    return sum(logbuckets.representative(bucket) * count for bucket, count in sketch.items())


def cumulative(sketch: Mapping[int, int], buckets: Sequence[int]) -> list[int]:
    """How many samples are in each of `buckets` (ascending) or one below it; exact."""
    counts: list[int] = []
    ordered = sorted(sketch)
    at = 0
    below = 0
    for limit in buckets:
        while at < len(ordered) and ordered[at] <= limit:
            below += sketch[ordered[at]]
            at += 1
        counts.append(below)
    return counts


def edge_ns(bucket: int) -> int:
    """The greatest whole number of nanoseconds that falls in `bucket` or below it.

    It is found by asking `logbuckets.bucket` itself, so that a histogram bounded by it
    counts exactly what the bucket counts, whatever the rounding of the logarithm.
    """
    edge = max(1, int(logbuckets.upper_edge(bucket)))
    while logbuckets.bucket(edge) > bucket:
        edge -= 1
    while logbuckets.bucket(edge + 1) <= bucket:
        edge += 1
    return edge


def nearest_bucket(duration_ns: float) -> int:
    """The bucket whose upper edge is nearest to `duration_ns` on the logarithmic scale."""
    above = logbuckets.bucket(max(1, round(duration_ns)))
    nearest = above
    if abs(logbuckets.upper_edge(above - 1) - duration_ns) < abs(logbuckets.upper_edge(above) - duration_ns):
        nearest = above - 1
    return nearest
