"""Leases: a fault exists only while somebody renews it, and nothing brings it back."""

from __future__ import annotations

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from shadowproxy.control.leases import NS, QUARANTINE_S, Lease, Leases
from shadowproxy.dataplane.messages import LEASE_WORD, LEASES, WORDS

Words = list[int]


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now_ns = 10 * NS

    def __call__(self) -> int:
        """The time."""
        return self.now_ns


def is_valid(words: Words, lease: Lease, now_ns: int) -> bool:
    """What a worker asks (`dataplane.messages`)."""
    return now_ns < words[LEASE_WORD + lease.index] <= now_ns + lease.length_ns * 3 // 2


def test_a_life() -> None:
    """Nothing before it begins, valid while it is renewed, zero after it was taken back."""
    clock, words = Clock(), [0] * WORDS
    leases = Leases(lambda: [words], clock)
    lease = leases.take(2.0)
    assert lease is not None
    assert not lease.has_begun
    assert not is_valid(words, lease, clock())
    leases.begin(lease)
    assert lease.has_begun
    for _ in range(20):
        clock.now_ns += 700_000_000
        assert is_valid(words, lease, clock())
        assert leases.renew(lease)
    leases.end(lease)
    leases.end(lease)
    assert not is_valid(words, lease, clock())
    assert words == [0] * WORDS
    assert not leases.renew(lease)
    assert "lent=[]" in repr(leases)


def test_a_lease_that_has_expired_is_never_renewed() -> None:
    """A controller that comes back writes nothing: not a nanosecond after the end, and not at it."""
    clock, words = Clock(), [0] * WORDS
    leases = Leases(lambda: [words], clock)
    lease = leases.take(2.0)
    assert lease is not None
    leases.begin(lease)
    before = list(words)
    clock.now_ns += 2 * NS
    assert not leases.renew(lease)
    assert words == before
    assert not is_valid(words, lease, clock())


def test_it_is_renewed_every_third() -> None:
    """Often enough to survive one miss, and not with every look."""
    clock, words = Clock(), [0] * WORDS
    leases = Leases(lambda: [words], clock)
    lease = leases.take(3.0)
    assert lease is not None
    leases.begin(lease)
    ends = words[LEASE_WORD + lease.index]
    clock.now_ns += NS - 1
    assert leases.renew(lease)
    assert words[LEASE_WORD + lease.index] == ends
    clock.now_ns += 1
    assert leases.renew(lease)
    assert words[LEASE_WORD + lease.index] == ends + NS


def test_a_clock_that_goes_back_prolongs_nothing() -> None:
    """What was written stays; a worker whose clock is right sees it end."""
    clock, words = Clock(), [0] * WORDS
    leases = Leases(lambda: [words], clock)
    lease = leases.take(2.0)
    assert lease is not None
    leases.begin(lease)
    ends = words[LEASE_WORD + lease.index]
    clock.now_ns -= 5 * NS
    assert leases.renew(lease)
    assert words[LEASE_WORD + lease.index] == ends


def test_a_word_rests_before_it_is_lent_again() -> None:
    """A worker that was stopped may still hold the run that had it before."""
    clock = Clock()
    leases = Leases(list, clock)
    taken = [leases.take(2.0) for _ in range(LEASES)]
    assert len({lease.index for lease in taken if lease is not None}) == LEASES
    assert leases.take(2.0) is None
    assert taken[5] is not None
    leases.end(taken[5])
    assert leases.take(2.0) is None
    clock.now_ns += int(QUARANTINE_S * NS)
    again = leases.take(2.0)
    assert again is not None
    assert again.index == 5


def test_a_new_worker_is_shown_what_runs() -> None:
    """A worker that replaces another has the leases before it knows of any run."""
    clock, words = Clock(), [0] * WORDS
    leases = Leases(lambda: [words], clock)
    lease, waiting = leases.take(2.0), leases.take(2.0)
    assert lease is not None
    assert waiting is not None
    leases.begin(lease)
    fresh = [0] * WORDS
    leases.show(fresh)
    assert is_valid(fresh, lease, clock())
    assert not is_valid(fresh, waiting, clock())


@pytest.mark.parametrize("again", ["begun", "ended"])
def test_what_has_begun_or_ended_does_not_begin(again: str) -> None:
    """Once in its life."""
    leases = Leases(list, Clock())
    lease = leases.take(2.0)
    assert lease is not None
    leases.begin(lease)
    if again == "ended":
        leases.end(lease)
    with pytest.raises(AssertionError):
        leases.begin(lease)


class Workers(RuleBasedStateMachine):
    """Control and workers over time: control may be frozen at any moment, workers come and go, clocks only move forward.

    What must hold at every moment: a worker finds a lease valid only if control has looked at it within its length, found it
    alive, and not taken it back since.
    """

    lent = Bundle("lent")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.workers: list[Words] = [[0] * WORDS]
        self.leases = Leases(lambda: self.workers, self.clock)
        self.looked: dict[Lease, int] = {}
        self.over: set[Lease] = set()

    @rule(target=lent, length=st.floats(0.2, 10))
    def take(self, length: float) -> object:
        """A run begins."""
        lease = self.leases.take(length)
        if lease is None:
            return multiple()
        self.leases.begin(lease)
        self.looked[lease] = self.clock()
        return lease

    @rule(lease=lent)
    def renew(self, lease: Lease) -> None:
        """Control looks."""
        before = self.clock()
        was_alive = lease not in self.over and before < self.looked[lease] + lease.length_ns
        is_alive = self.leases.renew(lease)
        if is_alive:
            assert was_alive
            self.looked[lease] = before
        elif lease not in self.over:
            self.over.add(lease)

    @rule(lease=consumes(lent))
    def end(self, lease: Lease) -> None:
        """A run ends."""
        self.leases.end(lease)
        self.over.add(lease)
        assert not any(words[LEASE_WORD + lease.index] for words in self.workers)

    @rule(seconds=st.floats(0, 3))
    def wait(self, seconds: float) -> None:
        """Time passes, whether control runs or not."""
        self.clock.now_ns += int(seconds * NS)

    @rule()
    def replace(self) -> None:
        """A worker dies and another takes its place."""
        fresh = [0] * WORDS
        self.leases.show(fresh)
        self.workers = [*self.workers[1:], fresh]

    @rule()
    def add(self) -> None:
        """A rolling replacement: two live at once."""
        if len(self.workers) < 3:
            fresh = [0] * WORDS
            self.leases.show(fresh)
            self.workers.append(fresh)

    @invariant()
    def faults_die_by_themselves(self) -> None:
        """No worker believes in a lease that nobody has renewed."""
        now = self.clock()
        for lease, looked in self.looked.items():
            for words in self.workers:
                if lease not in self.over and is_valid(words, lease, now):
                    assert now < looked + lease.length_ns
                # Of one that is over, its word may mean another run by now, but only after it has rested.

    @invariant()
    def no_two_share_a_word(self) -> None:
        """Of those that are not over."""
        living = [lease.index for lease in self.looked if lease not in self.over]
        assert len(living) == len(set(living))


TestWorkers = Workers.TestCase
