"""Leases: the right of a run to break anything, in the shared memory of workers, for a short time only.

The rules of this file:

* a lease is one word of every worker: when it ends, in nanoseconds of the monotonic clock (`dataplane.messages`);
* it is renewed only while it has not expired. A control process that was stopped, or slow, for longer than a lease finds
  that out by its own clock and never revives a run. Stopped between the look and the write, it writes an end that is a
  lease after the look: no later than if it had died just then;
* ending one writes zeros into the memory of every worker before the call returns;
* a word is not lent again within QUARANTINE_S: a worker that was stopped may still hold the run that had it before, and
  must be gone, or have read that this run is over, before the word means another one.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

from shadowproxy.dataplane.messages import LEASE_WORD, LEASES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

QUARANTINE_S: Final = 30.0
"""Thrice the time in which a worker that says nothing is replaced (`crew.SILENCE_TICKS`)."""

NS: Final = 1_000_000_000


class Words(Protocol):
    """The shared words of one worker."""

    def __setitem__(self, index: int, value: int, /) -> None:
        """Set one word."""


@dataclass(slots=True, eq=False)
class Lease:
    """The right of one run. `ends_ns` is 0 before it begins and after it was taken back."""

    index: int
    length_ns: int
    ends_ns: int = 0
    renewed_ns: int = 0

    @property
    def has_begun(self) -> bool:
        """Whether workers have it."""
        return self.ends_ns != 0


class Leases:
    """All leases of an instance.

    Args:
        words: the shared words of every worker that lives, of now.
        now_ns: the monotonic clock that workers read too.
    """

    def __init__(self, words: Callable[[], Iterable[Words]], now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self._words = words
        self._now_ns = now_ns
        self._lent: dict[int, Lease] = {}
        self._free_from = [0] * LEASES
        self._next = 0

    def __repr__(self) -> str:
        return f"<Leases lent={sorted(self._lent)}>"

    def take(self, length_s: float) -> Lease | None:
        """A lease of that length that has not begun; None when all words are lent or in quarantine."""
        now = self._now_ns()
        for step in range(LEASES):
            index = (self._next + step) % LEASES
            if index not in self._lent and self._free_from[index] <= now:
                self._next = (index + 1) % LEASES
                lease = self._lent[index] = Lease(index, round(length_s * NS))
                return lease
        return None

    def begin(self, lease: Lease) -> None:
        """Give it to every worker. Once in its life."""
        assert self._lent.get(lease.index) is lease
        assert not lease.has_begun
        self._renew(lease, self._now_ns())

    def renew(self, lease: Lease) -> bool:
        """Prolong it when a third of it has passed. False when it has expired, or was taken back: then nothing is written."""
        now = self._now_ns()
        if self._lent.get(lease.index) is not lease or now >= lease.ends_ns:
            return False
        if now - lease.renewed_ns >= lease.length_ns // 3:
            self._renew(lease, now)
        return True

    def end(self, lease: Lease) -> None:
        """Take it back from every worker before returning. Idempotent."""
        if self._lent.get(lease.index) is not lease:
            return
        del self._lent[lease.index]
        lease.ends_ns = 0
        self._free_from[lease.index] = self._now_ns() + round(QUARANTINE_S * NS)
        for words in self._words():
            words[LEASE_WORD + lease.index] = 0

    def show(self, words: Words) -> None:
        """Write all leases into the memory of a worker that has just been made."""
        for lease in self._lent.values():
            words[LEASE_WORD + lease.index] = lease.ends_ns

    def _renew(self, lease: Lease, now_ns: int) -> None:
        lease.renewed_ns = now_ns
        lease.ends_ns = now_ns + lease.length_ns
        for words in self._words():
            words[LEASE_WORD + lease.index] = lease.ends_ns
