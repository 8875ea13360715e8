"""Calls of tagged traces that had lost their tag, as workers report them, and which service is to blame.

Whoever lost the tag first within a trace is to blame: what it called did not learn that it serves a test, so its
calls have no tag either. They are consequences, and shown as such. That holds only where a call without its tag was let pass
(`lost_tags: report`): one that was tagged again told its callee, and whoever loses the tag after that does so by itself.

Workers report at different moments, so who was first is known by the time of the calls and not by the order of
reports. Traces are forgotten whole, the one that was heard of longest ago first: nobody is blamed on half a trace.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.dataplane.messages import Message

RECORDS_LIMIT: Final = 5000
"""Calls that are remembered: some megabytes."""

TRACE_LIMIT: Final = 200
"""Calls of one trace that are remembered; further ones are only counted."""

NAMES_LIMIT: Final = 1000
"""Different (service, listener, host) that are counted apart. Services and hosts are named by callers, who may make names up."""

OTHERS: Final = "(others)"
"""Who is counted together once there are NAMES_LIMIT."""

PASSED: Final = "report"
"""The action by which a call went on without its tag."""

KEYS: Final = ("time", "service", "trace", "tenant", "listener", "method", "host", "path", "action")

Record = dict[str, Any]


@dataclass(slots=True)
class _Trace:
    """What is remembered of one trace: its calls, and the first of them that went on without its tag."""

    records: list[Record] = field(default_factory=list)
    first: Record | None = None

    def add(self, record: Record) -> None:
        self.records.append(record)
        if record["action"] == PASSED and (self.first is None or record["time"] < self.first["time"]):
            self.first = record

    def culprit(self, record: Record) -> str:
        """Who is to blame for a call of this trace."""
        first = self.first
        is_later = first is not None and record["time"] > first["time"]
        return str(first["service"]) if first is not None and is_later else str(record["service"])


class Leaks:
    """The lost tags of one instance since control started.

    Args:
        redact: takes secrets out of a path; it is shown and kept in no other form.
    """

    def __init__(self, redact: Callable[[str], str] = str) -> None:
        self.redact = redact
        self.calls: Counter[tuple[str, str, str]] = Counter()
        """Calls that lost their tag, by service, listener and host."""
        self.actions: Counter[tuple[str, str, str]] = Counter()
        """The same, by service, listener and what became of them."""
        self.dropped = 0
        """Calls that workers have counted and not described."""
        self._traces: OrderedDict[str, _Trace] = OrderedDict()
        self._kept = 0

    def __len__(self) -> int:
        return self._kept

    def __repr__(self) -> str:
        return f"<Leaks total={self.total} kept={self._kept}>"

    @property
    def total(self) -> int:
        """Calls that lost their tag, described or not."""
        return self.calls.total() + self.dropped

    def add(self, tally: Message) -> None:
        """Take the lost tags out of a worker's tally.

        Raises:
            KeyError: a record misses something.
        """
        for told in tally.get("leaks", ()):
            record = {name: told[name] for name in KEYS}
            record["path"] = self.redact(record["path"])
            service, listener, host, action = (record[name] for name in ("service", "listener", "host", "action"))
            _count(self.calls, (service, listener, host), (OTHERS, listener, OTHERS))
            _count(self.actions, (service, listener, action), (OTHERS, listener, action))
            self._keep(record)
        self.dropped += tally.get("leaks_dropped", 0)

    def follow(self, redact: Callable[[str], str]) -> None:
        """Redact by other rules from now on, what is kept already too."""
        self.redact = redact
        for trace in self._traces.values():
            for record in trace.records:
                record["path"] = redact(record["path"])

    def find(self, *, service: str = "", trace: str = "", since: float = 0.0, limit: int = 100) -> list[Record]:
        """The calls that are remembered, the newest first, each with its `culprit` and whether it is a consequence.

        Args:
            service: only calls of this service, and those that it is to blame for; empty for all.
            trace: only calls of this trace; empty for all.
            since: only calls at this time or later, in seconds since 1970.
            limit: how many.
        """
        found = []
        for one in [self._traces[trace]] if trace in self._traces else [] if trace else self._traces.values():
            for record in one.records:
                culprit = one.culprit(record)
                if record["time"] >= since and service in {"", record["service"], culprit}:
                    found.append({**record, "culprit": culprit, "is_consequence": culprit != record["service"]})
        found.sort(key=lambda record: record["time"], reverse=True)
        return found[:limit]

    def blamed(self) -> list[Record]:
        """Who is to blame for the calls that are remembered: per service how many it lost itself, and how many others after it."""
        own: Counter[str] = Counter()
        after: Counter[str] = Counter()
        for trace in self._traces.values():
            for record in trace.records:
                culprit = trace.culprit(record)
                (own if culprit == record["service"] else after)[culprit] += 1
        return [{"service": name, "calls": own[name], "consequences": after[name]} for name, _ in (own + after).most_common()]

    def _keep(self, record: Record) -> None:
        trace = self._traces.setdefault(record["trace"], _Trace())
        self._traces.move_to_end(record["trace"])
        if len(trace.records) >= TRACE_LIMIT:
            return
        trace.add(record)
        self._kept += 1
        while self._kept > RECORDS_LIMIT:
            _, gone = self._traces.popitem(last=False)
            self._kept -= len(gone.records)


def _count(counter: Counter[tuple[str, str, str]], known: tuple[str, str, str], otherwise: tuple[str, str, str]) -> None:
    counter[known if known in counter or len(counter) < NAMES_LIMIT else otherwise] += 1
