"""What all workers have counted since control started, dead ones included.

Workers report deltas; here they become totals that only grow. For every mirror and at
every read

    eligible == sum(fates) + pending

because each tally is one consistent snapshot of its worker, and because the account of a
worker is closed when it ends: its shared word says how many requests really were
eligible, and whatever of them has no fate becomes `lost`.

Tagged writes have the same law, by route: seen == sunk + partitioned + refused + passed + lost + pending. What a worker
had written down and not reported when it ended is known from its rows in the ledger, and is `lost` too: its row is
there, but nobody can say how it went.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.dataplane.outcome import LOST
from shadowproxy.judge import sketch
from shadowproxy.sinks.ledger_query import FATES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from shadowproxy.dataplane.messages import Message
    from shadowproxy.judge.sketch import Sketch

LATENCIES: Final = ("live_first", "live_last", "shadow_first", "shadow_last", "holdout_last")
"""The sketches that a mirror keeps, by the names they have in a tally."""


@dataclass(slots=True)
class RouteTotals:
    """Everything counted on one route."""

    responses: Counter[str] = field(default_factory=Counter)
    first: Sketch = field(default_factory=dict)
    last: Sketch = field(default_factory=dict)
    received_bytes: int = 0
    sent_bytes: int = 0


@dataclass(slots=True)
class MirrorTotals:
    """Everything counted on one mirror. `pending` is of living workers only and is kept with them."""

    eligible: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    matrix: Counter[tuple[str, str]] = field(default_factory=Counter)
    bodies: Counter[str] = field(default_factory=Counter)
    latency: dict[str, Sketch] = field(default_factory=lambda: {name: {} for name in LATENCIES})


@dataclass(slots=True)
class WriteTotals:
    """Tagged writes of one route. `answers` are those of sinks and partitions, by outcome."""

    seen: int = 0
    fates: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class WriteAccount:
    """Tagged writes of one route as one worker has reported them. `recorded` are its rows that the ledger has made durable."""

    seen: int = 0
    resolved: int = 0
    pending: int = 0
    recorded: int = 0

    @property
    def known(self) -> int:
        """How many there have been at least: a row that is there was seen, reported or not."""
        return max(self.seen, self.recorded)


@dataclass(slots=True)
class MirrorAccount:
    """One mirror as one living worker has reported it."""

    eligible: int = 0
    resolved: int = 0
    pending: int = 0
    range: float = 1.0
    breaker: str = "closed"
    in_flight: int = 0
    held_bytes: int = 0


@dataclass(slots=True)
class Endpoint:
    """Gauges of one upstream endpoint, summed over workers."""

    outstanding: int = 0
    idle: int = 0
    open: int = 0
    ejected_workers: int = 0


@dataclass(slots=True, eq=False)
class Account:
    """One living worker: what must be known to close its account, and its gauges. `reports` counts its tallies."""

    slot: int
    reports: int = 0
    mirrors: dict[str, MirrorAccount] = field(default_factory=dict)
    endpoints: dict[tuple[str, str], Endpoint] = field(default_factory=dict)
    writes: dict[str, WriteAccount] = field(default_factory=dict)
    is_closed: bool = False
    open_clients: int = 0
    rss_bytes: int = 0
    cpu_seconds: float = 0.0


@dataclass(slots=True)
class ProcessTotals:
    """One worker slot over all its incarnations."""

    ended_cpu_seconds: float = 0.0
    lag: Sketch = field(default_factory=dict)
    errors: int = 0
    stalls: int = 0
    stalled_seconds: float = 0.0


class Counts:
    """Totals over workers and their incarnations. Pure bookkeeping: no I/O, no clock."""

    def __init__(self) -> None:
        self.routes: dict[str, RouteTotals] = {}
        self.mirrors: dict[str, MirrorTotals] = {}
        self.writes: dict[str, WriteTotals] = {}
        self.refusals: Counter[str] = Counter()
        self.connects: Counter[tuple[str, str]] = Counter()
        self.late: Counter[tuple[str, str]] = Counter()
        self.endpoint_failures: Counter[tuple[str, str, str]] = Counter()
        self.endpoint_ended: Counter[tuple[str, str]] = Counter()
        self.endpoint_errors: Counter[tuple[str, str]] = Counter()
        self.clients: Counter[str] = Counter()
        self.processes: dict[int, ProcessTotals] = {}
        self.access_dropped = 0
        self._accounts: list[Account] = []

    def __repr__(self) -> str:
        return f"<Counts routes={len(self.routes)} mirrors={len(self.mirrors)} workers={len(self._accounts)}>"

    @property
    def accounts(self) -> Sequence[Account]:
        """The living workers."""
        return self._accounts

    def declare(self, routes: Sequence[str], mirrors: Sequence[str]) -> None:
        """Make `routes` and `mirrors` readable, as zeros, before anything was counted on them."""
        for route in routes:
            self.routes.setdefault(route, RouteTotals())
        for key in mirrors:
            self.mirrors.setdefault(key, MirrorTotals())

    def open(self, slot: int) -> Account:
        """The account of a worker that starts in `slot`."""
        account = Account(slot)
        self._accounts.append(account)
        self.processes.setdefault(slot, ProcessTotals())
        return account

    def add(self, account: Account, tally: Message) -> None:
        """Count one tally (dataplane.messages) of a living worker."""
        account.reports += 1
        for name, counted in tally.get("routes", {}).items():
            self._add_route(name, counted)
        for key, counted in tally.get("mirrors", {}).items():
            self._add_mirror(account, key, counted)
        for name, counted in tally.get("tests", {}).items():
            self._add_writes(account, name, counted)
        self.refusals.update(tally.get("refusals", {}))
        if "fleets" in tally:
            self._add_fleets(account, tally["fleets"])
        clients = tally.get("clients", {})
        account.open_clients = clients.get("open", account.open_clients)
        for name in ("accepted", "requests", "turned_away"):
            self.clients[name] += clients.get(name, 0)
        self._add_process(account, tally.get("process", {}))
        self.access_dropped += tally.get("access_dropped", 0)

    def add_stall(self, account: Account, seconds: float) -> None:
        """Count one hold-up of a worker's event loop."""
        process = self.processes[account.slot]
        process.stalls += 1
        process.stalled_seconds += seconds

    def add_recorded(self, account: Account, routes: Mapping[str, int]) -> None:
        """Rows of a worker have become durable, so many by route; the worker may have ended meanwhile."""
        for name, count in routes.items():
            writes = account.writes.setdefault(name, WriteAccount())
            before = writes.known
            writes.recorded += count
            if account.is_closed:
                self._lose(name, writes.known - before, writes.known - before)

    def close(self, account: Account, words: Sequence[int], slots: Mapping[str, int]) -> int:
        """End the account of a worker that has ended and whose last tally has been added.

        Args:
            account: what `open` returned for it.
            words: its shared words as it left them.
            slots: the word of each mirror that it may have counted.

        Returns:
            How many eligible requests were lost with it.
        """
        lost = 0
        for key in {*slots, *account.mirrors}:
            mirror = account.mirrors.get(key) or MirrorAccount()
            counted = words[slots[key]] if key in slots else 0
            eligible = max(counted, mirror.eligible)
            without_fate = eligible - mirror.resolved
            if eligible or without_fate:
                totals = self.mirrors.setdefault(key, MirrorTotals())
                totals.eligible += eligible - mirror.eligible
                if without_fate > 0:
                    totals.fates[LOST] += without_fate
                    lost += without_fate
        for name, writes in account.writes.items():
            self._lose(name, writes.known - writes.seen, writes.known - writes.resolved)
        account.is_closed = True
        self.processes[account.slot].ended_cpu_seconds += account.cpu_seconds
        self._accounts.remove(account)
        return lost

    def pending(self, key: str) -> int:
        """Requests of the mirror `key` whose fate is not yet known."""
        return sum(account.mirrors[key].pending for account in self._accounts if key in account.mirrors)

    def is_conserved(self, key: str) -> bool:
        """Whether eligible == sum(fates) + pending holds for the mirror `key`."""
        totals = self.mirrors[key]
        return totals.eligible == totals.fates.total() + self.pending(key)

    def pending_writes(self, route: str) -> int:
        """Tagged writes of `route` whose fate is not yet known."""
        return sum(account.writes[route].pending for account in self._accounts if route in account.writes)

    def is_write_law_kept(self, route: str) -> bool:
        """Whether seen == sum(fates) + pending holds for the tagged writes of `route`."""
        totals = self.writes[route]
        return totals.seen == totals.fates.total() + self.pending_writes(route)

    def mirror_accounts(self, key: str) -> Iterator[MirrorAccount]:
        """The mirror `key` as each living worker sees it."""
        for account in self._accounts:
            if key in account.mirrors:
                yield account.mirrors[key]

    def endpoints(self) -> dict[tuple[str, str], Endpoint]:
        """Gauges by (fleet, endpoint), summed over living workers."""
        summed: dict[tuple[str, str], Endpoint] = {}
        for account in self._accounts:
            for place, seen in account.endpoints.items():
                total = summed.setdefault(place, Endpoint())
                total.outstanding += seen.outstanding
                total.idle += seen.idle
                total.open += seen.open
                total.ejected_workers += seen.ejected_workers
        return summed

    def cpu_seconds(self, slot: int) -> float:
        """CPU time of all incarnations of `slot`."""
        return self.processes[slot].ended_cpu_seconds + sum(account.cpu_seconds for account in self._accounts if account.slot == slot)

    def _add_route(self, name: str, counted: Mapping[str, Any]) -> None:
        totals = self.routes.setdefault(name, RouteTotals())
        totals.responses.update(counted.get("responses", {}))
        _add_sketch(totals.first, counted.get("first"))
        _add_sketch(totals.last, counted.get("last"))
        totals.received_bytes += counted.get("received", 0)
        totals.sent_bytes += counted.get("sent", 0)

    def _add_writes(self, account: Account, name: str, counted: Mapping[str, Any]) -> None:
        totals = self.writes.setdefault(name, WriteTotals())
        writes = account.writes.setdefault(name, WriteAccount())
        fates = {fate: counted[fate] for fate in FATES if counted.get(fate)}
        totals.seen += counted.get("seen", 0)
        totals.fates.update(fates)
        totals.answers.update(counted.get("answers", {}))
        writes.seen += counted.get("seen", 0)
        writes.resolved += sum(fates.values())
        writes.pending = counted.get("pending", writes.pending)

    def _lose(self, name: str, seen: int, lost: int) -> None:
        """So many more tagged writes of a route have been seen, and so many will have no fate any more."""
        if seen or lost > 0:
            totals = self.writes.setdefault(name, WriteTotals())
            totals.seen += seen
            totals.fates[LOST] += max(lost, 0)

    def _add_mirror(self, account: Account, key: str, counted: Mapping[str, Any]) -> None:
        totals = self.mirrors.setdefault(key, MirrorTotals())
        mirror = account.mirrors.setdefault(key, MirrorAccount())
        eligible = counted.get("eligible", 0)
        fates: Mapping[str, int] = counted.get("fates", {})
        totals.eligible += eligible
        totals.fates.update(fates)
        mirror.eligible += eligible
        mirror.resolved += sum(fates.values())
        mirror.pending = counted.get("pending", mirror.pending)
        mirror.range = counted.get("range", mirror.range)
        mirror.breaker = counted.get("breaker", mirror.breaker)
        mirror.in_flight = counted.get("in_flight", mirror.in_flight)
        mirror.held_bytes = counted.get("held", mirror.held_bytes)
        for pair, count in counted.get("matrix", {}).items():
            live, _, shadow = pair.partition(",")
            totals.matrix[live, shadow] += count
        totals.bodies.update(counted.get("bodies", {}))
        for name in LATENCIES:
            _add_sketch(totals.latency[name], counted.get(name))

    def _add_fleets(self, account: Account, fleets: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> None:
        account.endpoints = {}
        for fleet, endpoints in fleets.items():
            for address, counted in endpoints.items():
                account.endpoints[fleet, address] = Endpoint(
                    outstanding=counted.get("outstanding", 0),
                    idle=counted.get("idle", 0),
                    open=counted.get("open", 0),
                    ejected_workers=1 if counted.get("is_ejected") else 0,
                )
                self.connects[fleet, address] += counted.get("connects", 0)
                self.late[fleet, address] += counted.get("late", 0)
                self.endpoint_ended[fleet, address] += counted.get("ended", 0)
                self.endpoint_errors[fleet, address] += counted.get("errors", 0)
                for outcome, count in counted.get("failures", {}).items():
                    self.endpoint_failures[fleet, address, outcome] += count

    def _add_process(self, account: Account, counted: Mapping[str, Any]) -> None:
        account.cpu_seconds = max(account.cpu_seconds, counted.get("cpu_seconds", 0.0))
        account.rss_bytes = counted.get("rss_bytes", account.rss_bytes)
        process = self.processes[account.slot]
        _add_sketch(process.lag, counted.get("lag_ns"))
        process.errors += counted.get("errors", 0)


def _add_sketch(into: Sketch, counted: Mapping[str, int] | None) -> None:
    """Add buckets as a tally writes them: decimal text to count."""
    if counted:
        sketch.add(into, {int(bucket): count for bucket, count in counted.items()})
