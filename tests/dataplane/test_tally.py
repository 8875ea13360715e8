"""Pairs are counted in arrival order, and the counters always add up."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.tally import RATIO_STEP, MirrorTally, Pair, RouteTally, add
from shadowproxy.logbuckets import bucket

ENDS = st.sampled_from([200, 404, 503, outcome.RESET, outcome.TIMEOUT, outcome.REFUSED])


def _tally() -> MirrorTally:
    return MirrorTally("all/shadow", memoryview(bytearray(16)).cast("Q"), 1)


def _open(tally: MirrorTally, deadline_ns: int = 10**9) -> Pair:
    tally.words[tally.word] += 1
    return tally.open(0, deadline_ns)


@given(st.permutations([(number, side) for number in range(4) for side in ("live", "shadow")]))
def test_any_order_of_completion_admits_in_arrival_order(order: list[tuple[int, str]]) -> None:
    """Pair i is counted only when all before it are: completion order would see fast failures first."""
    tally = _tally()
    pairs = [_open(tally) for _ in range(4)]
    done: set[tuple[int, str]] = set()
    for number, side in order:
        pair = pairs[number]
        (pair.live_ended if side == "live" else pair.shadow_ended)(200 + number, 1, 1, 1, 0)
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
            pair.live_ended(ended, 1, 2, 7, digest)

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 99), ended=ENDS, digest=st.sampled_from([None, 1, 2]))
    def end_shadow(self, at: int, ended: int, digest: int | None) -> None:
        """Once a pair."""
        pair = self._pick(at)
        if not pair.done & 2:
            pair.shadow_ended(ended, 1, 2, 7, digest)

    @precondition(lambda self: self.open)
    @rule(at=st.integers(0, 99), fate=st.sampled_from([outcome.CLIENT_LEFT, outcome.SHED_LAG, outcome.KILLED]))
    def exclude(self, at: int, fate: int) -> None:
        """As often as one likes: the first reason counts."""
        self._pick(at).exclude(fate)

    @rule(spent_ns=st.integers(0, 100))
    def expire(self, spent_ns: int) -> None:
        """The head of the line has a deadline; nothing that is past it stays."""
        self.now_ns += spent_ns
        self.tally.expire(self.now_ns)
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
    pair.shadow_ended(shadow, 3, 4, 4000, shadow_digest)
    pair.live_ended(live, 1, 2, 2000, live_digest)
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
    """What has not ended has timed out, on either side alike; those behind go on."""
    tally = _tally()
    slow, stuck, fine = _open(tally, 5), _open(tally, 5), _open(tally, 99)
    slow.live_ended(200, 1, 1, 1, 1)
    fine.live_ended(200, 1, 1, 1, 1)
    fine.shadow_ended(200, 1, 1, 1, 1)
    tally.expire(4)
    assert len(tally.ring) == 3
    tally.expire(5)
    assert (slow.shadow_outcome, stuck.live_outcome, stuck.shadow_outcome) == (outcome.TIMEOUT,) * 3
    report = tally.report()
    assert report["fates"] == {"failed_timeout": 2, "paired": 1}
    assert report["matrix"] == {"200,timeout": 1, "timeout,timeout": 1, "200,200": 1}
    assert not tally.ring


def _ended(pair: Pair, live: tuple[int, int], shadow: tuple[int, int]) -> None:
    """End both legs of a pair: outcome and nanoseconds of each."""
    pair.live_ended(live[0], 1, 1, live[1], 1)
    pair.shadow_ended(shadow[0], 1, 1, shadow[1], 1)


def _configured(*, is_arm: bool = False, has_arm: bool = False, thresholds_ns: tuple[int, ...] = (), resolution_ns: int = 0) -> MirrorTally:
    tally = _tally()
    tally.configure(resolution_ns=resolution_ns, thresholds_ns=thresholds_ns, timeout_ns=0, is_arm=is_arm, has_arm=has_arm)
    return tally


@given(st.lists(st.tuples(st.integers(0, 10**10), st.integers(0, 10**10)), max_size=20), st.integers(0, 10**6))
def test_ratios_are_sums_of_logarithms(durations: list[tuple[int, int]], resolution_ns: int) -> None:
    """Of the shadow's duration over live's with the resolution added; the buckets hold every one of them."""
    tally = _configured(resolution_ns=resolution_ns)
    for live_ns, shadow_ns in durations:
        _ended(_open(tally), (200, live_ns), (404, shadow_ns))
    expected = [math.log((shadow_ns or 1) / ((live_ns + resolution_ns) or 1)) for live_ns, shadow_ns in durations]
    ratio = tally.report()["ratio"]
    assert ratio["n"] == len(durations)
    assert ratio["s1"] == pytest.approx(math.fsum(expected), abs=1e-6)
    assert ratio["s2"] == pytest.approx(math.fsum(d * d for d in expected), abs=1e-6)
    for index, count in ratio["buckets"].items():
        assert count == sum(math.ceil(d / RATIO_STEP) == index for d in expected) or count > 0
    assert sum(ratio["buckets"].values()) == len(durations)
    assert tally.report()["ratio"] == {"n": 0, "s1": 0.0, "s2": 0.0, "buckets": {}}


def test_what_the_proxy_may_have_slowed_down_is_not_timed() -> None:
    """Its outcomes count; its durations say nothing of the versions."""
    mirror, arm = _configured(has_arm=True, thresholds_ns=(3,)), _configured(is_arm=True, thresholds_ns=(3,))
    first, second = _linked(mirror, arm)
    first.is_untimed = True
    _ended(first, (200, 5), (200, 2))
    _ended(second, (200, 5), (503, 2))
    report = mirror.report()
    assert (report["matrix"], report["ratio"]["n"], report["slo"]) == ({"200,200": 1}, 0, {"3": [0, 0]})
    assert (report["versus"]["matrix"], report["versus"]["n"], report["versus"]["slo"]) == ({"503,200": 1}, 0, {"3": [0, 0]})


@pytest.mark.parametrize(("live", "shadow"), [(500, 200), (200, 503), (outcome.RESET, 200), (200, outcome.TIMEOUT)])
def test_a_failed_leg_has_no_ratio(live: int, shadow: int) -> None:
    """On either side alike: what is exchangeable stays so."""
    tally = _configured()
    _ended(_open(tally), (live, 5), (shadow, 7))
    assert tally.report()["ratio"]["n"] == 0


def test_crossings_are_counted_where_one_leg_alone_is_late() -> None:
    """However it ended: a timeout has crossed every threshold below it."""
    tally = _configured(thresholds_ns=(10, 100))
    for live, shadow in (((200, 5), (200, 50)), ((200, 50), (outcome.TIMEOUT, 500)), ((200, 500), (200, 5)), ((200, 10), (200, 10))):
        _ended(_open(tally), live, shadow)
    assert tally.report()["slo"] == {"10": [1, 1], "100": [1, 1]}
    assert tally.report()["slo"] == {"10": [0, 0], "100": [0, 0]}


def test_other_thresholds_are_counted_from_zero() -> None:
    """A reload that changes them does not count old crossings under new names."""
    tally = _configured(thresholds_ns=(10,))
    _ended(_open(tally), (200, 5), (200, 50))
    tally.configure(resolution_ns=0, thresholds_ns=(20, 30), timeout_ns=0, is_arm=False, has_arm=False)
    assert tally.report()["slo"] == {"20": [0, 0], "30": [0, 0]}


def _linked(mirror: MirrorTally, arm: MirrorTally) -> tuple[Pair, Pair]:
    """The pairs of one request with a shadow and with the control arm."""
    first, second = _open(mirror), _open(arm)
    second.is_arm = True
    first.partner, second.partner = second, first
    return first, second


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_the_shadow_is_compared_with_the_control_arm_in_order_of_arrival(first_order: list[int], second_order: list[int]) -> None:
    """A request counts when its pairs with both are admitted, whichever is last; each once."""
    mirror, arm = _configured(has_arm=True), _configured(is_arm=True)
    requests = [_linked(mirror, arm) for _ in range(4)]
    ended: dict[str, set[int]] = {"mirror": set(), "arm": set()}
    assert mirror.versus is not None
    for of_mirror, of_arm in zip(first_order, second_order, strict=True):
        for name, number, place in (("mirror", of_mirror, 0), ("arm", of_arm, 1)):
            _ended(requests[number][place], (200, 100), (200 + number if place == 0 else 300 + number, 100))
            ended[name].add(number)
            whole = 0
            while all(whole in numbers for numbers in ended.values()):
                whole += 1
            assert mirror.versus.matrix == {(300 + n) * 1000 + 200 + n: 1 for n in range(whole)}
    assert all(pair.partner is None for pairs in requests for pair in pairs), "no cycles are left for the collector"
    report = mirror.report()["versus"]
    assert (report["n"], report["s1"], sum(report["matrix"].values())) == (4, 0.0, 4)
    back = arm.report()["back"]
    assert (back["n"], back["s1"]) == (4, 0.0)


def test_what_one_arm_lacks_is_compared_with_neither() -> None:
    """A pair that is given up lets go of its partner."""
    mirror, arm = _configured(has_arm=True), _configured(is_arm=True)
    first, second = _linked(mirror, arm)
    second.exclude(outcome.SHED_LAG)
    assert (first.partner, second.partner) == (None, None)
    _ended(first, (200, 1), (200, 1))
    assert mirror.report()["versus"]["matrix"] == {}


def test_an_answer_after_the_deadline_changes_nothing() -> None:
    """The pair was counted as a timeout; the control arm's, which is admitted later, is compared with that."""
    mirror, arm = _configured(has_arm=True), _configured(is_arm=True)
    first, second = _linked(mirror, arm)
    first.live_ended(200, 1, 1, 5, 1)
    mirror.expire(10**9)
    first.shadow_ended(200, 1, 1, 9, 1)
    _ended(second, (200, 5), (200, 5))
    assert mirror.report()["versus"]["matrix"] == {"200,timeout": 1}


@pytest.mark.parametrize("first", ["live", "exclusion"])
def test_what_we_left_out_is_told_by_live_s_latency(first: str) -> None:
    """Whether the copy was given up before live ended or after; a client that left is not our doing."""
    tally = _tally()
    for fate in (outcome.SHED_LAG, outcome.CLIENT_LEFT):
        pair = _open(tally)
        if first == "exclusion":
            pair.exclude(fate)
        pair.live_ended(200, 1, 17, 5, 1)
        pair.exclude(fate)
    assert tally.report()["shed_last"] == {17: 1}


def test_the_age_of_the_head_of_line_is_told() -> None:
    """How far the evidence lags behind."""
    tally = _tally()
    assert tally.report(500)["lag_ns"] == 0
    tally.words[tally.word] += 1
    tally.open(200, 10**9)
    assert tally.report(500)["lag_ns"] == 300


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
