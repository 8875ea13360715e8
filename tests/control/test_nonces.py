"""Nonces: each passport works once, whatever clock, skew and memory do."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shadowproxy.control.nonces import Nonces, Use, first_second

NOW = 1_800_000_000.0


class Clock:
    """A wall clock that goes where it is told."""

    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        """Unix seconds."""
        return self.now


def remembering(limit: int = 100) -> tuple[Nonces, Clock]:
    """A memory with a clock of its own."""
    clock = Clock()
    return Nonces(limit, clock), clock


def test_a_passport_works_once() -> None:
    """The second use is a replay, for as long as the passport would be accepted."""
    nonces, clock = remembering()
    expires = int(NOW) + 60
    assert nonces.use("k1", "n", expires, 5.0) is Use.FRESH
    for later in (0.0, 1.0, 59.0, 60.0, 65.0):
        clock.now = NOW + later
        assert nonces.use("k1", "n", expires, 5.0) is Use.REPLAYED
    assert nonces.uses == {Use.FRESH: 1, Use.REPLAYED: 5, Use.EXPIRED: 0, Use.FULL: 0}


def test_a_nonce_belongs_to_its_key() -> None:
    """Two keys may use one nonce; key and nonce cannot be cut differently."""
    nonces, _ = remembering()
    expires = int(NOW) + 60
    assert nonces.use("k1", "n", expires, 5.0) is Use.FRESH
    assert nonces.use("k2", "n", expires, 5.0) is Use.FRESH
    assert nonces.use("k", "1n", expires, 5.0) is Use.FRESH
    assert nonces.use("k1", "n", expires + 1, 5.0) is Use.REPLAYED


def test_what_has_expired_is_forgotten_and_stays_refused() -> None:
    """Memory is given back, and a passport from then is refused without it."""
    nonces, clock = remembering()
    for number in range(50):
        assert nonces.use("k1", f"n{number}", int(NOW) + number, 5.0) is Use.FRESH
    clock.now = NOW + 5 + 25.5
    assert nonces.use("k1", "other", int(clock.now), 5.0) is Use.FRESH
    assert len(nonces) == 50 - 26 + 1
    for number in range(50):
        assert nonces.use("k1", f"n{number}", int(NOW) + number, 5.0) is (Use.EXPIRED if number < 26 else Use.REPLAYED)


def test_a_clock_that_goes_back_opens_nothing() -> None:
    """What was forgotten while the clock was ahead is refused after it was put right, though it would be valid again."""
    nonces, clock = remembering()
    expires = int(NOW) + 60
    assert nonces.use("k1", "n", expires, 5.0) is Use.FRESH
    clock.now = NOW + 3600
    assert nonces.use("k1", "later", int(clock.now) + 60, 5.0) is Use.FRESH
    assert len(nonces) == 1
    clock.now = NOW + 1
    assert nonces.use("k1", "n", expires, 5.0) is Use.EXPIRED
    assert nonces.use("k1", "unseen", expires, 5.0) is Use.EXPIRED
    assert nonces.use("k1", "later", int(NOW) + 3660, 5.0) is Use.REPLAYED


def test_a_larger_skew_opens_nothing() -> None:
    """What was forgotten under a smaller tolerance is not taken for new under a larger one."""
    nonces, clock = remembering()
    expires = int(NOW) + 60
    assert nonces.use("k1", "n", expires, 0.0) is Use.FRESH
    clock.now = NOW + 70
    assert nonces.use("k1", "other", expires + 60, 0.0) is Use.FRESH
    assert nonces.use("k1", "n", expires, 60.0) is Use.EXPIRED


def test_over_its_limit_nothing_is_fresh() -> None:
    """Fail closed, with a reason of its own, and known ones stay known; room comes with time."""
    nonces, clock = remembering(limit=2)
    for number, expected in enumerate((Use.FRESH, Use.FRESH, Use.FULL, Use.FULL)):
        assert nonces.use("k1", f"n{number}", int(NOW) + 10 + number, 0.0) is expected
    assert nonces.use("k1", "n0", int(NOW) + 10, 0.0) is Use.REPLAYED
    assert len(nonces) == 2
    clock.now = NOW + 11
    assert nonces.use("k1", "n2", int(NOW) + 12, 0.0) is Use.FRESH


def test_workers_are_answered_in_their_order() -> None:
    """A replay within one message is one, too; uses have names."""
    nonces, _ = remembering()
    expires = int(NOW) + 60
    asked = [["k1", "a", expires], ["k1", "a", expires], ["k1", "b", expires], ["k1", "c", int(NOW) - 6]]
    assert nonces.answer(asked, 5.0) == ["fresh", "replayed", "fresh", "expired"]
    assert nonces.answer([], 5.0) == []


@pytest.mark.parametrize("asked", [[["k1", "a"]], [["k1", "a", "soon"]], [["k1", "a", None]], [7], 7, [["k1", "a", 1, 2]]])
def test_what_cannot_be_read_is_not_answered(asked: object) -> None:
    """The worker's message is at fault: nobody is told that anything is fresh."""
    nonces, _ = remembering()
    with pytest.raises((TypeError, ValueError)):
        nonces.answer(asked, 5.0)  # type: ignore[arg-type]


def test_its_repr_has_the_numbers() -> None:
    """How full it is, and up to when everything is refused."""
    nonces, _ = remembering()
    nonces.use("k1", "n", int(NOW) + 60, 5.0)
    assert repr(nonces) == f"<Nonces 1 of 100, horizon={NOW - 5}>"


@given(st.floats(0, 2e9), st.floats(0, 60), st.floats(0, 60))
def test_a_new_process_takes_nothing_that_one_before_it_may_have_taken(start: float, skew: float, before: float) -> None:
    """Whatever was accepted at any moment up to the start was created before `first_second`."""
    accepted_created = int(max(0.0, start - before) + skew)
    assert accepted_created < first_second(start, skew) <= start + skew + 1


class Replays(RuleBasedStateMachine):
    """A captured passport against a clock that jumps and tolerances that change: it never works twice."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock(1000.0)
        self.nonces = Nonces(20, self.clock)
        self.skew = 5.0
        self.worked: set[tuple[str, int]] = set()
        self.twice: list[tuple[str, int]] = []

    @rule(seconds=st.floats(-100, 100))
    def jump(self, seconds: float) -> None:
        """The clock is set."""
        self.clock.now += seconds

    @rule(skew=st.sampled_from([0.0, 5.0, 60.0]))
    def reload(self, skew: float) -> None:
        """The config changes."""
        self.skew = skew

    @rule(nonce=st.sampled_from("abcde"), expires=st.integers(900, 1200))
    def show(self, nonce: str, expires: int) -> None:
        """A passport is shown."""
        if self.nonces.use("k1", nonce, expires, self.skew) is Use.FRESH:
            if (nonce, expires) in self.worked:
                self.twice.append((nonce, expires))
            self.worked.add((nonce, expires))

    @invariant()
    def nothing_works_twice(self) -> None:
        """The promise; and the memory is bounded."""
        assert not self.twice
        assert len(self.nonces) <= 20


TestReplays = Replays.TestCase
