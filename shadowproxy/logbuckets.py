"""The latency buckets that workers count in and the judge reads (STATISTICS C12).

A value v in nanoseconds falls in bucket ``k = ceil(ln v / ln GAMMA)``: it holds
(GAMMA**(k-1), GAMMA**k], and its representative ``2 * GAMMA**k / (1 + GAMMA)`` is within
ACCURACY of every value in it. Counts of equal buckets add, so sketches of workers,
minutes and hosts merge without loss.
"""

from __future__ import annotations

from math import ceil, exp, log
from typing import Final

ACCURACY: Final = 0.01
"""Relative error of a representative, hence of every quantile."""

GAMMA: Final = (1 + ACCURACY) / (1 - ACCURACY)
LN_GAMMA: Final = log(GAMMA)
BUCKETS_PER_NEPER: Final = 1.0 / LN_GAMMA
"""Multiply ln(v) by this and round up to get the bucket."""

_MIDDLE: Final = 2.0 / (1.0 + GAMMA)


def bucket(value_ns: int) -> int:
    """The bucket of a duration in nanoseconds; anything under 1 ns counts as 1 ns (bucket 0)."""
    return ceil(log(value_ns) * BUCKETS_PER_NEPER) if value_ns > 1 else 0


def lower_edge(index: int) -> float:
    """The greatest value, in nanoseconds, that is *not* in bucket `index` (exclusive lower edge)."""
    return exp((index - 1) * LN_GAMMA)


def upper_edge(index: int) -> float:
    """The greatest value, in nanoseconds, that is in bucket `index` (inclusive upper edge)."""
    return exp(index * LN_GAMMA)


def representative(index: int) -> float:
    """The value, in nanoseconds, that stands for bucket `index`: within ACCURACY of each value in it."""
    return exp(index * LN_GAMMA) * _MIDDLE
