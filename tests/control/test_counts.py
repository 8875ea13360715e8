"""Totals over workers: they only grow, and the conservation law holds at every read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shadowproxy.control.counts import Account, Counts

KEYS = ("a/s", "b/s")
SLOTS = {"a/s": 1, "b/s": 2}


@dataclass
class Model:
    """A worker that counts as the data plane does: words at once, fates later, reports now and then."""

    account: Account
    words: list[int] = field(default_factory=lambda: [0] * 4)
    eligible: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))
    fates: dict[str, dict[str, int]] = field(default_factory=lambda: {key: {} for key in KEYS})
    pending: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KEYS, 0))

    def tally(self) -> dict[str, Any]:
        """What it has to report; the deltas begin anew."""
        mirrors = {key: {"eligible": self.eligible[key], "pending": self.pending[key], "fates": self.fates[key]} for key in KEYS}
        self.eligible = dict.fromkeys(KEYS, 0)
        self.fates = {key: {} for key in KEYS}
        return {"type": "tally", "mirrors": mirrors}


class Conservation(RuleBasedStateMachine):
    """Requests, reports and deaths in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self.counts.declare(["a", "b"], list(KEYS))
        self.workers: list[Model] = []
        self.true_eligible = dict.fromkeys(KEYS, 0)
        self.seen: dict[tuple[str, str], int] = {}

    @rule(slot=st.integers(0, 2))
    def start(self, slot: int) -> None:
        """A worker joins."""
        self.workers.append(Model(self.counts.open(slot)))

    @rule(at=st.integers(0, 9), key=st.sampled_from(KEYS))
    def arrive(self, at: int, key: str) -> None:
        """A worker counts an eligible request."""
        if self.workers:
            worker = self.workers[at % len(self.workers)]
            worker.words[SLOTS[key]] += 1
            worker.eligible[key] += 1
            worker.pending[key] += 1
            self.true_eligible[key] += 1

    @rule(at=st.integers(0, 9), key=st.sampled_from(KEYS), fate=st.sampled_from(["paired", "not_sampled", "failed_reset"]))
    def resolve(self, at: int, key: str, fate: str) -> None:
        """A pending request gets its fate."""
        if self.workers and (worker := self.workers[at % len(self.workers)]).pending[key]:
            worker.pending[key] -= 1
            worker.fates[key][fate] = worker.fates[key].get(fate, 0) + 1

    @rule(at=st.integers(0, 9))
    def report(self, at: int) -> None:
        """A worker reports."""
        if self.workers:
            worker = self.workers[at % len(self.workers)]
            self.counts.add(worker.account, worker.tally())

    @rule(at=st.integers(0, 9))
    def die(self, at: int) -> None:
        """A worker is killed, with whatever it had not reported."""
        if self.workers:
            worker = self.workers.pop(at % len(self.workers))
            self.counts.close(worker.account, worker.words, SLOTS)
            if not self.workers:
                for key in KEYS:
                    assert self.counts.mirrors[key].eligible == self.true_eligible[key]

    @invariant()
    def conserved(self) -> None:
        """The law, at every read."""
        for key in KEYS:
            assert self.counts.is_conserved(key)
            assert self.counts.mirrors[key].eligible <= self.true_eligible[key]

    @invariant()
    def never_backwards(self) -> None:
        """Totals only grow."""
        now = {(key, fate): count for key in KEYS for fate, count in self.counts.mirrors[key].fates.items()}
        now |= {(key, "eligible"): self.counts.mirrors[key].eligible for key in KEYS}
        for name, count in self.seen.items():
            assert now[name] >= count
        self.seen = now


TestConservation = Conservation.TestCase


def full_tally() -> dict[str, Any]:
    """A tally with something of everything."""
    return {
        "type": "tally",
        "routes": {"a": {"responses": {"200": 2, "reset": 1}, "first": {"700": 3}, "last": {"710": 3}, "received": 10, "sent": 20}},
        "mirrors": {
            "a/s": {
                "eligible": 4, "pending": 1, "fates": {"paired": 3}, "matrix": {"200,200": 2, "200,reset": 1}, "bodies": {"equal": 2, "different": 1},
                "live_first": {"1": 1}, "live_last": {"2": 1}, "shadow_first": {"3": 1}, "shadow_last": {"4": 1}, "holdout_last": {"5": 1},
                "range": 0.5, "breaker": "open", "in_flight": 2, "held": 9,
            }
        },
        "refusals": {"no_route": 1},
        "fleets": {"live": {"http://h:1": {"outstanding": 1, "idle": 2, "open": 3, "connects": 4, "failures": {"reset": 5}, "is_ejected": True, "ended": 9, "errors": 5}}},
        "clients": {"accepted": 5, "open": 2, "requests": 6, "turned_away": 1},
        "process": {"cpu_seconds": 1.5, "rss_bytes": 100, "lag_ns": {"10": 1}, "errors": 1},
        "access_dropped": 3,
    }  # fmt: skip


def test_everything_in_a_tally_is_counted_twice_when_it_comes_twice() -> None:
    """Deltas add, gauges replace."""
    counts = Counts()
    account = counts.open(0)
    for _ in range(2):
        counts.add(account, full_tally())
    assert counts.routes["a"].responses == {"200": 4, "reset": 2}
    assert counts.routes["a"].last == {710: 6}
    assert counts.routes["a"].sent_bytes == 40
    mirror = counts.mirrors["a/s"]
    assert mirror.matrix == {("200", "200"): 4, ("200", "reset"): 2}
    assert mirror.latency["shadow_last"] == {4: 2}
    assert mirror.bodies == {"equal": 4, "different": 2}
    assert counts.pending("a/s") == 1
    assert next(counts.mirror_accounts("a/s")).range == 0.5
    assert counts.endpoints()["live", "http://h:1"].open == 3
    assert (counts.endpoint_ended["live", "http://h:1"], counts.endpoint_errors["live", "http://h:1"]) == (18, 10)
    assert counts.connects["live", "http://h:1"] == 8
    assert counts.endpoint_failures["live", "http://h:1", "reset"] == 10
    assert counts.clients["requests"] == 12
    assert account.open_clients == 2
    assert counts.refusals["no_route"] == 2
    assert counts.access_dropped == 6
    assert counts.cpu_seconds(0) == 1.5


def test_cpu_time_goes_on_over_incarnations() -> None:
    """A slot's CPU time never goes back when its worker is replaced."""
    counts = Counts()
    first = counts.open(0)
    counts.add(first, {"process": {"cpu_seconds": 2.0}})
    counts.close(first, [0], {})
    second = counts.open(0)
    counts.add(second, {"process": {"cpu_seconds": 0.5}})
    assert counts.cpu_seconds(0) == 2.5


def test_a_mirror_that_nobody_has_used_shows_as_zero() -> None:
    """What is configured is readable before the first request."""
    counts = Counts()
    counts.declare(["r"], ["r/m"])
    assert counts.mirrors["r/m"].eligible == 0
    assert counts.is_conserved("r/m")


def test_stalls_are_counted_by_slot() -> None:
    """A hold-up is remembered with its length."""
    counts = Counts()
    account = counts.open(3)
    counts.add_stall(account, 1.25)
    assert (counts.processes[3].stalls, counts.processes[3].stalled_seconds) == (1, 1.25)


class TaggedWrites(RuleBasedStateMachine):
    """Tagged writes, their rows, reports and deaths in any order: a row may become durable after its worker has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.counts = Counts()
        self.rows = 0
        self.account = self.counts.open(0)
        self.unreported = {"seen": 0, "sunk": 0, "refused": 0}
        self.pending = 0
        self.owed: list[Account] = []

    @rule()
    def write(self) -> None:
        """A worker sees a tagged write, and sends its row."""
        self.unreported["seen"] += 1
        self.pending += 1
        self.owed.append(self.account)

    @rule(fate=st.sampled_from(["sunk", "refused"]))
    def resolve(self, fate: str) -> None:
        """A write meets its fate."""
        if self.pending:
            self.pending -= 1
            self.unreported[fate] += 1

    @rule(at=st.integers(0, 9))
    def commit(self, at: int) -> None:
        """A row becomes durable."""
        if self.owed:
            account = self.owed.pop(at % len(self.owed))
            self.rows += 1
            self.counts.add_recorded(account, {"r": 1})

    @rule()
    def report(self) -> None:
        """The worker reports."""
        self.counts.add(self.account, {"type": "tally", "tests": {"r": {**self.unreported, "pending": self.pending}}})
        self.unreported = dict.fromkeys(self.unreported, 0)

    @rule(is_clean=st.booleans())
    def end(self, is_clean: bool) -> None:
        """The worker ends, with a last report or without; another takes its place."""
        if is_clean:
            self.report()
        self.counts.close(self.account, [], {})
        self.account = self.counts.open(0)
        self.unreported = dict.fromkeys(self.unreported, 0)
        self.pending = 0

    @invariant()
    def the_law_holds(self) -> None:
        """For each route seen == sunk + partitioned + refused + passed + lost + pending, always."""
        for route in self.counts.writes:
            assert self.counts.is_write_law_kept(route)

    def teardown(self) -> None:
        """After the last report no row is there that was not seen."""
        self.report()
        assert self.counts.writes["r"].seen >= self.rows


TestTaggedWrites = TaggedWrites.TestCase
