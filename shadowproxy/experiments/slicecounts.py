"""What the two slices of a run were answered: counts out of a worker's report, totals, windows of the last seconds, points of a chart.

An answer that we made up (`injected`) is no answer of the service: it is neither among the errors nor among the latencies, and is
counted apart. A client that left first is no error either, and nothing that can be compared.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from math import floor
from typing import TYPE_CHECKING, Any, Final

from shadowproxy import logbuckets
from shadowproxy.judge.pairs import is_error
from shadowproxy.judge.sketch import Sketch, add, quantile

if TYPE_CHECKING:
    from collections.abc import Mapping

GONE: Final = "client_gone"
"""The outcome of a request whose client left: nobody knows how it would have ended."""

SLOTS: Final = 50
"""Of a window: it forgets in steps of a fiftieth of its length."""

POINTS: Final = 600
"""Of a chart: two for each pixel of a small one."""

FINEST_S: Final = 0.1
"""Seconds of a point at first: the first minute is shown in full."""

NANO: Final = 1e-9


@dataclass(slots=True)
class Counts:
    """What one slice was answered.

    Attributes:
        requests: that ended, however they did.
        answered: of them, those that can be compared: neither made up by us nor left by their client.
        errors: of those, 5xx and failures.
        injected: answers that we made up.
        injected_errors: of those, 5xx and failures.
        last: latency to the last byte of whole answers, as a sketch of nanoseconds.

    """

    requests: int = 0
    answered: int = 0
    errors: int = 0
    injected: int = 0
    injected_errors: int = 0
    last: Sketch = field(default_factory=dict)

    def add(self, other: Counts) -> None:
        """Count what `other` counted."""
        self.requests += other.requests
        self.answered += other.answered
        self.errors += other.errors
        self.injected += other.injected
        self.injected_errors += other.injected_errors
        if other.last:
            add(self.last, other.last)

    def subtract(self, other: Counts) -> None:
        """Forget what `other` counted, which was added before."""
        self.requests -= other.requests
        self.answered -= other.answered
        self.errors -= other.errors
        self.injected -= other.injected
        self.injected_errors -= other.injected_errors
        for bucket, count in other.last.items():
            left = self.last[bucket] - count
            if left:
                self.last[bucket] = left
            else:
                del self.last[bucket]

    @property
    def error_rate(self) -> float | None:
        """Share of errors among the answers that can be compared, from 0 to 1; None without any."""
        return self.errors / self.answered if self.answered else None

    def latency(self, q: float) -> float | None:
        """The `q` quantile of the latency in seconds, within 1 %; None without any."""
        found = quantile(self.last, q)
        return None if found is None else found * NANO

    def above(self, bucket: int) -> int:
        """How many whole answers took longer than what is in `bucket`."""
        return sum(count for one, count in self.last.items() if one > bucket)

    def to_plain(self) -> dict[str, Any]:
        """As run documents have it: rates from 0 to 1, latencies in seconds."""
        return {
            "requests": self.requests,
            "errors": self.errors,
            "error_rate": self.error_rate,
            "injected": self.injected,
            "p50": self.latency(0.5),
            "p99": self.latency(0.99),
            "buckets": {str(bucket): self.last[bucket] for bucket in sorted(self.last)},
        }


def counts_of(arm: Mapping[str, Any] | None) -> Counts:
    """Read an `Arm` of a worker's report (dataplane/messages.py); None, or what is missing in it, is nothing."""
    if not arm:
        return Counts()
    responses, injected = arm.get("responses", {}), arm.get("injected", {})
    return Counts(
        requests=int(arm.get("requests", 0)),
        answered=sum(count for outcome, count in responses.items() if outcome != GONE),
        errors=sum(count for outcome, count in responses.items() if is_error(outcome)),
        injected=sum(injected.values()),
        injected_errors=sum(count for outcome, count in injected.items() if is_error(outcome)),
        last={int(bucket): count for bucket, count in arm.get("last", {}).items()},
    )


@dataclass(slots=True)
class Slices:
    """The slice with the fault, and the control slice."""

    fault: Counts = field(default_factory=Counts)
    control: Counts = field(default_factory=Counts)

    def add(self, other: Slices) -> None:
        """Count what `other` counted."""
        self.fault.add(other.fault)
        self.control.add(other.control)


class Window:
    """The slices in the last so many seconds, or in the whole run.

    Memory is that of SLOTS sums, whatever the traffic and however often workers report.

    Attributes:
        seconds: its length; 0 for the whole run.
        slices: what is in it.

    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.slices = Slices()
        self._slots: deque[tuple[int, Slices]] = deque()
        self._slot_s = seconds / SLOTS

    def __repr__(self) -> str:
        return f"Window({self.seconds:g} s, {self.slices.fault.answered} and {self.slices.control.answered} answers)"

    def add(self, now: float, tick: Slices) -> None:
        """Count a tick at `now`, in seconds, never before the last; forget what is too old."""
        self.slices.add(tick)
        if not self.seconds:
            return
        slot = floor(now / self._slot_s)
        if self._slots and self._slots[-1][0] == slot:
            self._slots[-1][1].add(tick)
        else:
            own = Slices()
            own.add(tick)
            self._slots.append((slot, own))
        while self._slots[0][0] <= slot - SLOTS:
            _, old = self._slots.popleft()
            self.slices.fault.subtract(old.fault)
            self.slices.control.subtract(old.control)

    def clear(self) -> None:
        """Begin anew."""
        self.slices = Slices()
        self._slots.clear()


@dataclass(slots=True)
class Point:
    """One span of a chart."""

    index: int
    percent: float
    slices: Slices
    tails: tuple[float | None, float | None] | None = None
    """The p99 of either slice, once asked for; a point that has not changed is not computed again."""


class Series:
    """How a run went, in at most POINTS points: when there would be more, each two neighbours become one."""

    def __init__(self) -> None:
        self.span = FINEST_S
        self._points: list[Point] = []

    def __len__(self) -> int:
        return len(self._points)

    def add(self, now: float, tick: Slices, percent: float) -> None:
        """Count a tick at `now`, in seconds, never before the last; `percent` of the units have the fault."""
        index = floor(now / self.span)
        last = self._points[-1] if self._points else None
        if last is None or last.index < index:
            last = Point(index, percent, Slices())
            self._points.append(last)
        last.slices.add(tick)
        last.percent = percent
        last.tails = None
        while len(self._points) > POINTS:
            self._halve()

    def _halve(self) -> None:
        self.span *= 2
        merged: list[Point] = []
        for point in self._points:
            point.index //= 2
            if merged and merged[-1].index == point.index:
                merged[-1].slices.add(point.slices)
                merged[-1].percent = point.percent
                merged[-1].tails = None
            else:
                merged.append(point)
        self._points = merged

    def to_plain(self) -> list[list[float | int | None]]:
        """[begin in seconds, fault requests, fault errors, control requests, control errors, percent, fault p99, control p99] a point."""
        rows: list[list[float | int | None]] = []
        for point in self._points:
            fault, control = point.slices.fault, point.slices.control
            if point.tails is None:
                point.tails = fault.latency(0.99), control.latency(0.99)
            begin = round(point.index * self.span, 6)
            rows.append([begin, fault.requests, fault.errors, control.requests, control.errors, point.percent, *point.tails])
        return rows


def bucket_of(seconds: float) -> int:
    """The latency bucket of a duration."""
    return logbuckets.bucket(max(1, round(seconds / NANO)))
