"""One coarse timer wheel a worker, in place of a timer object a request.

Whatever can time out has `deadline_ns` (0: none) and is *watched*: it sits in the bucket
of a tick not later than its deadline. Moving a deadline later, as every byte of progress
does, is one attribute write: the bucket finds out when it comes due and puts the thing
where it belongs. Only moving one earlier costs an insertion. A deadline is met at most
one tick (67 ms) late.
"""

from __future__ import annotations

from typing import Final, Protocol

TICK_SHIFT: Final = 26
TICK_NS: Final = 1 << TICK_SHIFT


class Watched(Protocol):
    """What the wheel watches."""

    deadline_ns: int
    watched_tick: int

    def on_deadline(self, now_ns: int) -> None:
        """The deadline has passed; it has been cleared. May set a new one."""


class Deadlines:
    """The wheel. Buckets exist only for ticks that hold something."""

    __slots__ = ("_at", "_buckets")

    def __init__(self, now_ns: int) -> None:
        self._at = now_ns >> TICK_SHIFT
        self._buckets: dict[int, set[Watched]] = {}

    def __len__(self) -> int:
        return sum(len(bucket) for bucket in self._buckets.values())

    def __repr__(self) -> str:
        return f"Deadlines(at={self._at}, watched={len(self)})"

    def set(self, watched: Watched, deadline_ns: int) -> None:
        """Let `watched` expire at `deadline_ns` on the monotonic clock."""
        watched.deadline_ns = deadline_ns
        # One tick later than it falls in, so that a bucket's things are due when it is.
        tick = (deadline_ns >> TICK_SHIFT) + 1
        if tick <= self._at:
            # It has passed already: the wheel does not look back, so the next tick has to find it.
            tick = self._at + 1
        at = watched.watched_tick
        if not at or tick < at:
            if at and (earlier := self._buckets.get(at)) is not None:
                earlier.discard(watched)
            watched.watched_tick = tick
            bucket = self._buckets.get(tick)
            if bucket is None:
                self._buckets[tick] = {watched}
            else:
                bucket.add(watched)

    def drop(self, watched: Watched) -> None:
        """Forget `watched`, which is going away."""
        at = watched.watched_tick
        watched.deadline_ns = 0
        if at:
            bucket = self._buckets.get(at)
            if bucket is not None:
                bucket.discard(watched)
            watched.watched_tick = 0

    def advance(self, now_ns: int) -> None:
        """Expire what is due. Call about every TICK_NS; a late call catches up.

        Raises:
            Exception: what an `on_deadline` raised, after all that is due has had its turn.
        """
        failed: Exception | None = None
        now_tick = now_ns >> TICK_SHIFT
        if len(self._buckets) < now_tick - self._at:
            due = sorted(tick for tick in self._buckets if tick <= now_tick)
        else:
            due = [tick for tick in range(self._at, now_tick + 1) if tick in self._buckets]
        self._at = now_tick
        for tick in due:
            for watched in self._buckets.pop(tick):
                if watched.watched_tick != tick:
                    continue
                watched.watched_tick = 0
                deadline_ns = watched.deadline_ns
                if not deadline_ns:
                    continue
                if deadline_ns > now_ns:
                    self.set(watched, deadline_ns)
                else:
                    watched.deadline_ns = 0
                    try:
                        watched.on_deadline(now_ns)
                    except Exception as error:  # noqa: BLE001 -- the mistake of one must not leave the others unwatched
                        failed = error
        if failed is not None:
            raise failed
