"""What a worker counts: integers only, added in O(1) and sent to control four times a second.

Pairs enter the statistics *head of line, in arrival order*: a pair is admitted only when all that
arrived before it have their fate or are past their deadline (STATISTICS C1). Counting in completion
order would look at fast failures before slow ones and be wrong with certainty. The ring's head has a
deadline, because a pair that never resolves would hold all others in memory.
"""

from __future__ import annotations

from collections import deque
from typing import Any, Final

from shadowproxy.dataplane import outcome
from shadowproxy.logbuckets import bucket

OPEN: Final = -1
"""A pair's fate while it is not known."""

_LIVE_DONE: Final = 1
_SHADOW_DONE: Final = 2
_BOTH_DONE: Final = 3

Buckets = dict[int, int]


class Pair:
    """The live and the shadow outcome of one request, as far as they are known.

    Latencies are log buckets of the nanoseconds from the leg's dispatch, worked out once by the leg that
    measured them; a digest is None where the body was not read to its end.
    """

    __slots__ = (
        "deadline_ns", "done", "fate", "live_digest", "live_first", "live_last", "live_outcome", "shadow_digest", "shadow_first",
        "shadow_last", "shadow_outcome", "tally",
    )  # fmt: skip

    def __init__(self, tally: MirrorTally, deadline_ns: int) -> None:
        self.tally = tally
        self.deadline_ns = deadline_ns
        self.done = 0
        self.fate = OPEN
        self.live_outcome = self.live_first = self.live_last = 0
        self.shadow_outcome = self.shadow_first = self.shadow_last = 0
        self.live_digest: int | None = None
        self.shadow_digest: int | None = None

    def __repr__(self) -> str:
        fate = "open" if self.fate == OPEN else outcome.FATES[self.fate]
        return f"Pair({self.tally.key}, live={self.live_outcome}, shadow={self.shadow_outcome}, {fate})"

    def live_ended(self, ended: int, first: int, last: int, digest: int | None) -> None:
        """The live leg is over: outcome, buckets of first and last byte, body digest."""
        self.live_outcome = ended
        self.live_first = first
        self.live_last = last
        self.live_digest = digest
        self.done |= _LIVE_DONE
        if self.done == _BOTH_DONE:
            self.tally.admit()

    def shadow_ended(self, ended: int, first: int, last: int, digest: int | None) -> None:
        """The shadow leg is over, in the same terms."""
        self.shadow_outcome = ended
        self.shadow_first = first
        self.shadow_last = last
        self.shadow_digest = digest
        self.done |= _SHADOW_DONE
        if self.done == _BOTH_DONE:
            self.tally.admit()

    def exclude(self, fate: int) -> None:
        """The pair will not be compared; the first reason counts."""
        if self.fate == OPEN:
            self.fate = fate
            self.tally.fates[fate] += 1
            self.tally.admit()


class MirrorTally:
    """Counters of one mirror of one route, and the ring of its pairs. Outlives config generations.

    `eligible` counts in the shared word `word` of `words`, which control can read after this process is gone.
    """

    __slots__ = (
        "_reported", "bodies", "fates", "holdout_last", "key", "live_first", "live_last", "matrix", "ring", "shadow_first", "shadow_last", "word",
        "words",
    )  # fmt: skip

    def __init__(self, key: str, words: memoryview, word: int) -> None:
        self.key = key
        self.words = words
        self.word = word
        self.ring: deque[Pair] = deque()
        self.fates = [0] * len(outcome.FATES)
        self.matrix: dict[int, int] = {}
        self.bodies = [0, 0, 0]
        self.live_first: Buckets = {}
        self.live_last: Buckets = {}
        self.shadow_first: Buckets = {}
        self.shadow_last: Buckets = {}
        self.holdout_last: Buckets = {}
        self._reported = words[word]

    def __repr__(self) -> str:
        return f"MirrorTally({self.key}, eligible={self.words[self.word]}, pending={self.pending})"

    @property
    def pending(self) -> int:
        """Pairs without a fate. Counted, not derived: the law could not fail otherwise."""
        return sum(1 for pair in self.ring if pair.fate == OPEN)

    def open(self, deadline_ns: int) -> Pair:
        """A new pair, last in line."""
        pair = Pair(self, deadline_ns)
        self.ring.append(pair)
        return pair

    def admit(self) -> None:
        """Count every resolved pair at the head of the line."""
        ring = self.ring
        while ring:
            pair = ring[0]
            if pair.fate == OPEN:
                if pair.done != _BOTH_DONE:
                    return
                self._count(pair)
            ring.popleft()

    def expire(self, now_ns: int) -> list[Pair]:
        """Resolve heads of line that are past their deadline; those whose shadow leg must be given up are returned."""
        late: list[Pair] = []
        ring = self.ring
        while ring and ring[0].deadline_ns <= now_ns and ring[0].fate == OPEN:
            pair = ring[0]
            if not pair.done & _SHADOW_DONE:
                late.append(pair)
                pair.shadow_outcome = outcome.TIMEOUT
                pair.done |= _SHADOW_DONE
            if pair.done & _LIVE_DONE:
                self.admit()
            else:
                pair.exclude(outcome.LIVE_UNFINISHED)
        return late

    def _count(self, pair: Pair) -> None:
        live = pair.live_outcome
        shadow = pair.shadow_outcome
        cell = live * 1000 + shadow
        matrix = self.matrix
        matrix[cell] = matrix.get(cell, 0) + 1
        if shadow >= 100:
            pair.fate = outcome.PAIRED
            self.fates[outcome.PAIRED] += 1
            # Failed legs stay out of the sketches: a refusal's microseconds are not a latency of the version.
            buckets = self.shadow_first
            index = pair.shadow_first
            buckets[index] = buckets.get(index, 0) + 1
            buckets = self.shadow_last
            index = pair.shadow_last
            buckets[index] = buckets.get(index, 0) + 1
        else:
            pair.fate = fate = outcome.FATE_OF_FAILURE[shadow]
            self.fates[fate] += 1
        if live >= 100:
            buckets = self.live_first
            index = pair.live_first
            buckets[index] = buckets.get(index, 0) + 1
            buckets = self.live_last
            index = pair.live_last
            buckets[index] = buckets.get(index, 0) + 1
            if shadow >= 100 and pair.live_digest is not None and pair.shadow_digest is not None:
                self.bodies[0 if pair.live_digest == pair.shadow_digest else 1] += 1
                return
        self.bodies[2] += 1

    def report(self) -> dict[str, Any]:
        """The deltas since the last report (messages.py), which begin anew."""
        eligible = self.words[self.word]
        names = outcome.FATES
        report: dict[str, Any] = {
            "eligible": eligible - self._reported,
            "pending": self.pending,
            "fates": {names[fate]: count for fate, count in enumerate(self.fates) if count},
            "matrix": {f"{outcome.name_of(cell // 1000)},{outcome.name_of(cell % 1000)}": count for cell, count in self.matrix.items()},
            "bodies": {"equal": self.bodies[0], "different": self.bodies[1], "unknown": self.bodies[2]},
            "live_first": self.live_first,
            "live_last": self.live_last,
            "shadow_first": self.shadow_first,
            "shadow_last": self.shadow_last,
            "holdout_last": self.holdout_last,
        }
        self._reported = eligible
        self.fates = [0] * len(names)
        self.matrix = {}
        self.bodies = [0, 0, 0]
        self.live_first, self.live_last, self.shadow_first, self.shadow_last, self.holdout_last = {}, {}, {}, {}, {}
        return report


class RouteTally:
    """Counters of one route: what its clients were answered."""

    __slots__ = ("first", "last", "received", "responses", "sent")

    def __init__(self) -> None:
        self.responses: dict[int, int] = {}
        self.first: Buckets = {}
        self.last: Buckets = {}
        self.received = 0
        self.sent = 0

    def answered(self, ended: int, first: int, last: int) -> None:
        """One request of this route ended: outcome, buckets of first and last byte."""
        responses = self.responses
        responses[ended] = responses.get(ended, 0) + 1
        if ended >= 100:
            buckets = self.first
            buckets[first] = buckets.get(first, 0) + 1
            buckets = self.last
            buckets[last] = buckets.get(last, 0) + 1

    def report(self) -> dict[str, Any]:
        """The deltas since the last report, which begin anew."""
        report = {
            "responses": {outcome.name_of(ended): count for ended, count in self.responses.items()},
            "first": self.first,
            "last": self.last,
            "received": self.received,
            "sent": self.sent,
        }
        self.responses, self.first, self.last = {}, {}, {}
        self.received = self.sent = 0
        return report


def add(buckets: Buckets, value_ns: int) -> None:
    """Count one duration in nanoseconds in its log bucket."""
    index = bucket(value_ns)
    buckets[index] = buckets.get(index, 0) + 1
