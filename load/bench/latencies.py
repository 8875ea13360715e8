"""Latencies as whole microseconds with their counts: exact enough, and mergeable over rounds."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from math import ceil
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(slots=True)
class Latencies:
    """How often each latency was seen."""

    counts: Counter[int] = field(default_factory=Counter)

    def add(self, nanoseconds: int) -> None:
        """One more."""
        self.counts[nanoseconds // 1000] += 1

    def merge(self, other: Latencies) -> None:
        """All of another's."""
        self.counts.update(other.counts)

    @property
    def total(self) -> int:
        """How many."""
        return self.counts.total()

    def quantile_us(self, share: float) -> float:
        """The smallest latency in microseconds that at least `share` of all do not exceed; NaN of none."""
        wanted = max(1, ceil(share * self.total))
        seen = 0
        for latency in sorted(self.counts):
            seen += self.counts[latency]
            if seen >= wanted:
                return float(latency)
        return float("nan")


def median(values: Iterable[float]) -> float:
    """The middle value, or the mean of the two in the middle.

    Raises:
        ValueError: there are no values.
    """
    ordered = sorted(values)
    if not ordered:
        raise ValueError("no median of nothing")
    middle = len(ordered) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
