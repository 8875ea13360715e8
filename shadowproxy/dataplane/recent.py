"""The heads of the last requests: what a look back asks, when somebody wants to know what an experiment would have touched.

*   Remembered are the requests that go on to a fleet, those of tests included, whether their heads came whole, in pieces or one
    behind another: the very ones that experiments decide about. What was refused was never theirs.
*   A request costs one tuple of bytes, a number and a name, which CPython's garbage collector lets go of the first time that it sees
    it: ten thousand of them add nothing to a full collection, and nothing else is made or walked for them.
*   Heads have secrets in them. They stay in the memory of this worker: no message, log, journal or answer of the admin API has any.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

HEAD_LIMIT: Final = 2048
"""Bytes of a head that is remembered; of a longer one only that it was there. 10,000 of them are 20 MiB at most, whatever clients send."""

TOO_LONG: Final = b""
"""Stands for a head over HEAD_LIMIT."""

Remembered = tuple[bytes, int, bytes, str]
"""Head (or TOO_LONG), arrival in nanoseconds of the monotonic clock, client's address, listener."""


class Recent:
    """The last `size` requests of one worker, the oldest first; 0 remembers none.

    `note` takes one more. It is the ring's own method: whatever stood in between would cost every request.
    """

    __slots__ = ("_ring", "note")

    def __init__(self, size: int = 0) -> None:
        self._ring: deque[Remembered] = deque(maxlen=size)
        self.note: Callable[[Remembered], None] = self._ring.append

    def __repr__(self) -> str:
        return f"Recent({len(self._ring)} of {self._ring.maxlen} requests)"

    def resize(self, size: int) -> None:
        """Remember so many from now on, the newest of those that are remembered among them."""
        if size != self._ring.maxlen:
            self._ring = deque(self._ring, maxlen=size)
            self.note = self._ring.append

    def remembered(self) -> list[Remembered]:
        """What is remembered now: a list that later requests do not change."""
        return list(self._ring)
