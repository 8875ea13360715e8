"""Pairs are counted in arrival order, and the counters always add up."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.tally import MirrorTally, Pair, RouteTally, add
from shadowproxy.logbuckets import bucket

ENDS = st.sampled_from([200, 404, 503, outcome.RESET, outcome.TIMEOUT, outcome.REFUSED])


def _tally() -> MirrorTally:
    return MirrorTally("all/shadow", memoryview(bytearray(16)).cast("Q"), 1)


def _open(tally: MirrorTally, deadline_ns: int = 10**9) -> Pair:
    tally.words[tally.word] += 1
    return tally.open(deadline_ns)


@given(st.permutations([(number, side) for number in range(4) for side in ("live", "shadow")]))
def test_any_order_of_completion_admits_in_arrival_order(order: list[tuple[int, str]]) -> None:
    """Pair i is counted only when all before it are: completion order would see fast failures first."""
    tally = _tally()
    pairs = [_open(tally) for _ in range(4)]
    done: set[tuple[int, str]] = set()
    for number, side in order:
        pair = pairs[number]
        (pair.live_ended if side == "live" else pair.shadow_ended)(200 + number, 1, 1, 0)
        done.add((number, side))
        complete = 0
        while {(complete, "live"), (complete, "shadow")} <= done:
            complete += 1
        assert tally.matrix == {(200 + n) * 1000 + 200 + n: 1 for n in range(complete)}
        assert len(tally.ring) == 4 - complete


class Law(RuleBasedStateMachine):
    """Any operations in any order: eligible == sum(fates) + pending, and a report takes nothing away from the sum."""

    def __init__(self) -> None:
        super().__init__()
        self.tally = _tally()
        self.open: list[Pair] = []
        self.now_ns = 0
        self.reported: dict[str, int] = {}

    def _pick(self, at: int) -> Pair:
        return self.open[at % len(self.open)]

    @rule(wait_ns=st.integers(0, 50))
    def offer(self, wait_ns: int) -> None:
        """A copy is made."""
        self.open.append(_open(self.tally, self.now_ns + wait_ns))

    @rule(fate=st.sampled_from([outcome.NOT_SAMPLED, outcome.METHOD, outcome.SHED_BREAKER]))
    def leave_out(self, fate: int) -> None:
        """A request is eligible and not copied."""
        self.tally.words[self.tally.word] += 1
        self.tally.fates[fate] += 1

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 99), ended=ENDS, digest=st.sampled_from([None, 1, 2]))
    def end_live(self, at: int, ended: int, digest: int | None) -> None:
        """Once a pair."""
        pair = self._pick(at)
        if not pair.done & 1:
            pair.live_ended(ended, 1, 2, digest)

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 99), ended=ENDS, digest=st.sampled_from([None, 1, 2]))
    def end_shadow(self, at: int, ended: int, digest: int | None) -> None:
        """Once a pair."""
        pair = self._pick(at)
        if not pair.done & 2:
            pair.shadow_ended(ended, 1, 2, digest)

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 99), fate=st.sampled_from([outcome.CLIENT_LEFT, outcome.SHED_LAG, outcome.KILLED]))
    def exclude(self, at: int, fate: int) -> None:
        """As often as one likes: the first reason counts."""
        self._pick(at).exclude(fate)

    @rule(spent_ns=st.integers(0, 100))
    def expire(self, spent_ns: int) -> None:
        """The head of the line has a deadline; nothing that is past it stays."""
        self.now_ns += spent_ns
        late = self.tally.expire(self.now_ns)
        assert all(pair.shadow_outcome == outcome.TIMEOUT for pair in late)
        assert not self.tally.ring or self.tally.ring[0].deadline_ns > self.now_ns or self.tally.ring[0].fate != -1

    @rule()
    def report(self) -> None:
        """Deltas."""
        report = self.tally.report()
        for name, count in report["fates"].items():
            self.reported[name] = self.reported.get(name, 0) + count
        assert sum(report["matrix"].values()) == sum(report["bodies"].values())
        compared = sum(count for name, count in report["fates"].items() if name == "paired" or name.startswith("failed_"))
        assert compared == sum(report["matrix"].values())
        assert sum(report["shadow_last"].values()) == report["fates"].get("paired", 0)

    @invariant()
    def counters_add_up(self) -> None:
        """At every moment (P2)."""
        eligible = self.tally.words[self.tally.word]
        assert eligible == sum(self.reported.values()) + sum(self.tally.fates) + self.tally.pending


TestLaw = Law.TestCase


def _pair(live: int, shadow: int, live_digest: int | None = 1, shadow_digest: int | None = 1) -> dict[str, Any]:
    tally = _tally()
    pair = _open(tally)
    pair.shadow_ended(shadow, 3, 4, shadow_digest)
    pair.live_ended(live, 1, 2, live_digest)
    return tally.report()


def test_two_answers_are_a_pair() -> None:
    """Both latencies, the cell of the matrix, and whether the bodies were equal."""
    report = _pair(200, 503)
    assert report["fates"] == {"paired": 1}
    assert report["matrix"] == {"200,503": 1}
    assert report["bodies"] == {"equal": 1, "different": 0, "unknown": 0}
    assert (report["live_first"], report["live_last"], report["shadow_first"], report["shadow_last"]) == ({1: 1}, {2: 1}, {3: 1}, {4: 1})
    assert _pair(200, 200, 1, 2)["bodies"]["different"] == 1
    assert _pair(200, 200, 1, None)["bodies"]["unknown"] == 1


def test_a_failed_leg_is_compared_and_has_no_latency() -> None:
    """A refusal's microseconds are no latency of the version."""
    report = _pair(200, outcome.REFUSED)
    assert report["fates"] == {"failed_refused": 1}
    assert report["matrix"] == {"200,refused": 1}
    assert report["shadow_last"] == {}
    assert report["live_last"] == {2: 1}
    assert _pair(outcome.RESET, 200)["live_last"] == {}


def test_a_head_of_line_past_its_deadline_is_resolved() -> None:
    """An unfinished shadow timed out; an unfinished live excludes the pair; those behind go on."""
    tally = _tally()
    slow, stuck, fine = _open(tally, 5), _open(tally, 5), _open(tally, 99)
    slow.live_ended(200, 1, 1, 1)
    fine.live_ended(200, 1, 1, 1)
    fine.shadow_ended(200, 1, 1, 1)
    assert tally.expire(4) == []
    assert tally.expire(5) == [slow, stuck]
    assert tally.report()["fates"] == {"failed_timeout": 1, "live_unfinished": 1, "paired": 1}
    assert not tally.ring


def test_things_show_themselves() -> None:
    """Key, both outcomes, fate; eligible and pending."""
    tally = _tally()
    pair = _open(tally)
    assert repr(pair) == "Pair(all/shadow, live=0, shadow=0, open)"
    assert repr(tally) == "MirrorTally(all/shadow, eligible=1, pending=1)"
    pair.exclude(outcome.KILLED)
    assert repr(pair) == "Pair(all/shadow, live=0, shadow=0, killed)"


def test_a_route_counts_what_its_clients_were_answered() -> None:
    """Latencies of whole answers only; a report begins anew."""
    tally = RouteTally()
    tally.answered(200, 1, 2)
    tally.answered(outcome.RESET, 1, 2)
    tally.received += 3
    assert tally.report() == {"responses": {"200": 1, "reset": 1}, "first": {1: 1}, "last": {2: 1}, "received": 3, "sent": 0}
    assert tally.report() == {"responses": {}, "first": {}, "last": {}, "received": 0, "sent": 0}


def test_durations_are_counted_in_log_buckets() -> None:
    """One a duration."""
    buckets: dict[int, int] = {}
    add(buckets, 1000)
    add(buckets, 1000)
    assert buckets == {bucket(1000): 2}
