"""The timer wheel against the simplest model: a dictionary of deadlines. Times that have passed are in test_regressions_deadlines.py."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shadowproxy.dataplane.deadlines import TICK_NS, Deadlines

THINGS = 4
START = 1000 * TICK_NS


class Thing:
    """Something that can time out, and perhaps sets a new deadline when it does."""

    def __init__(self) -> None:
        self.deadline_ns = 0
        self.watched_tick = 0
        self.expired_at: list[int] = []
        self.wheel: Deadlines | None = None
        self.again_ns = 0

    def on_deadline(self, now_ns: int) -> None:
        """Remember, and go on where told."""
        assert self.deadline_ns == 0
        self.expired_at.append(now_ns)
        if self.wheel is not None and self.again_ns:
            self.wheel.set(self, now_ns + self.again_ns)


class WheelAndModel(RuleBasedStateMachine):
    """Any order of setting, moving, clearing, dropping and advancing: what expires, expires once, and at most a tick late."""

    def __init__(self) -> None:
        super().__init__()
        self.now_ns = START
        self.wheel = Deadlines(self.now_ns)
        self.things = [Thing() for _ in range(THINGS)]
        self.model: dict[int, int] = {}

    @rule(which=st.integers(0, THINGS - 1), wait_ns=st.integers(0, 20 * TICK_NS))
    def set(self, which: int, wait_ns: int) -> None:
        """A deadline, earlier or later than the last."""
        self.wheel.set(self.things[which], self.now_ns + wait_ns)
        self.model[which] = self.now_ns + wait_ns

    @rule(which=st.integers(0, THINGS - 1), wait_ns=st.integers(1, 20 * TICK_NS))
    def put_off(self, which: int, wait_ns: int) -> None:
        """Moving a deadline later is one attribute write."""
        if which in self.model:
            self.model[which] = max(self.model[which], self.now_ns + wait_ns)
            self.things[which].deadline_ns = self.model[which]

    @rule(which=st.integers(0, THINGS - 1))
    def clear(self, which: int) -> None:
        """No deadline for now; the wheel finds out by itself."""
        self.things[which].deadline_ns = 0
        self.model.pop(which, None)

    @rule(which=st.integers(0, THINGS - 1))
    def drop(self, which: int) -> None:
        """The thing is going away."""
        self.wheel.drop(self.things[which])
        self.model.pop(which, None)

    @rule(spent_ns=st.integers(0, 40 * TICK_NS))
    def advance(self, spent_ns: int) -> None:
        """A tick, however late it comes."""
        self.now_ns += spent_ns
        self.wheel.advance(self.now_ns)
        for which, thing in enumerate(self.things):
            expired, thing.expired_at = thing.expired_at, []
            assert len(expired) <= 1
            if expired:
                assert self.model.pop(which) <= self.now_ns
        assert all(deadline_ns > self.now_ns - 2 * TICK_NS for deadline_ns in self.model.values())

    @invariant()
    def nothing_is_forgotten(self) -> None:
        """What has a deadline is watched."""
        assert all(self.things[which].watched_tick for which in self.model)
        assert len(self.wheel) <= THINGS


TestWheelAndModel = WheelAndModel.TestCase


@given(st.integers(TICK_NS, 10 * TICK_NS), st.integers(1, 100))
def test_what_sets_a_new_deadline_expires_again(again_ns: int, ticks: int) -> None:
    """As an idle check does."""
    wheel, thing = Deadlines(START), Thing()
    thing.wheel, thing.again_ns = wheel, again_ns
    wheel.set(thing, START + again_ns)
    for tick in range(ticks):
        wheel.advance(START + tick * TICK_NS)
    most = ticks * TICK_NS // again_ns
    assert most // 3 <= len(thing.expired_at) <= most


def test_a_wheel_shows_what_it_watches() -> None:
    """And is empty when everything was dropped."""
    wheel, thing = Deadlines(START), Thing()
    wheel.set(thing, START + TICK_NS)
    assert repr(wheel) == "Deadlines(at=1000, watched=1)"
    wheel.drop(thing)
    wheel.drop(thing)
    assert len(wheel) == 0
