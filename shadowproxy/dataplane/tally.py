"""What a worker counts: sums, added in O(1) and sent to control four times a second.

Pairs enter the statistics *head of line, in arrival order*: a pair is admitted only when all that
arrived before it have their fate or are past their deadline (STATISTICS C1). Counting in completion
order would look at fast failures before slow ones and be wrong with certainty. The ring's head has a
deadline, because a pair that never resolves would hold all others in memory.

What is compared is exchangeable where the two versions are equal, or equal versions would differ. So live's outcome
is told in a copy's terms: what takes longer than a copy may, or is longer than a copy may be, is a timeout on either side, and
a request that was tried twice counts by its first attempt, because copies have only one.
"""

from __future__ import annotations

from collections import deque
from math import ceil, log
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.dataplane import outcome
from shadowproxy.logbuckets import bucket

if TYPE_CHECKING:
    from shadowproxy.dataplane.capture import Capture

RATIO_STEP: Final = 0.005
"""Width of a bucket of log ratios: half a percent."""

_BUCKETS_PER_UNIT: Final = 1.0 / RATIO_STEP

OPEN: Final = -1
"""A pair's fate while it is not known."""

_LIVE_DONE: Final = 1
_SHADOW_DONE: Final = 2
_BOTH_DONE: Final = 3

Buckets = dict[int, int]


_SHEDS: Final = frozenset({
    outcome.SHED_IN_FLIGHT, outcome.SHED_RANGE, outcome.SHED_BREAKER, outcome.SHED_NO_ENDPOINT, outcome.SHED_MEMORY, outcome.SHED_LAG,
    outcome.SHED_ERROR, outcome.SHED_SCRUB, outcome.SHED_UNSCRUBBABLE,
})  # fmt: skip
"""Fates that are our doing: what is missing from the comparison because of them is told by live's latency."""


class Ratios:
    """Sums of the log ratios of paired durations (STATISTICS C4), and how many fell in each bucket of RATIO_STEP."""

    __slots__ = ("buckets", "n", "s1", "s2")

    def __init__(self) -> None:
        self.n = 0
        self.s1 = 0.0
        self.s2 = 0.0
        self.buckets: Buckets = {}

    def __repr__(self) -> str:
        return f"Ratios(n={self.n}, s1={self.s1:.3f})"

    def add(self, ratio: float) -> None:
        """Count one ratio of durations, over 0."""
        d = log(ratio)
        self.n += 1
        self.s1 += d
        self.s2 += d * d
        index = ceil(d * _BUCKETS_PER_UNIT)
        self.buckets[index] = self.buckets.get(index, 0) + 1

    def report(self) -> dict[str, Any]:
        """What was counted since the last report; it begins anew."""
        report: dict[str, Any] = {"n": self.n, "s1": self.s1, "s2": self.s2, "buckets": self.buckets}
        self.n = 0
        self.s1 = self.s2 = 0.0
        self.buckets = {}
        return report


class Pair:
    """The live and the shadow outcome of one request, as far as they are known.

    Latencies are log buckets of the nanoseconds from the leg's dispatch, worked out once by the leg that
    measured them; `live_ns` and `shadow_ns` are those to the last byte, whole. A digest is None where the body was
    not read to its end.

    `is_untimed` says that the proxy itself may have slowed a leg down: a long answer, which live's client or our own
    budget for shadows paces. Its outcomes count, its durations do not.

    `partner` is the pair of the same request with the other arm, as long as both may yet be compared: the tally of
    the mirror compares the two shadows when the second of them is admitted.
    """

    __slots__ = (
        "arrived_ns", "capture", "deadline_ns", "done", "fate", "is_admitted", "is_arm", "is_untimed", "live_digest", "live_first", "live_last", "live_ns",
        "live_outcome", "partner", "shadow_digest", "shadow_first", "shadow_last", "shadow_ns", "shadow_outcome", "tally",
    )  # fmt: skip

    def __init__(self, tally: MirrorTally, arrived_ns: int, deadline_ns: int) -> None:
        self.tally = tally
        self.arrived_ns = arrived_ns
        self.deadline_ns = deadline_ns
        self.done = 0
        self.fate = OPEN
        self.is_admitted = False
        self.is_arm = False
        self.is_untimed = False
        self.partner: Pair | None = None
        self.capture: Capture | None = None
        self.live_ns = self.shadow_ns = 0
        self.live_outcome = self.live_first = self.live_last = 0
        self.shadow_outcome = self.shadow_first = self.shadow_last = 0
        self.live_digest: int | None = None
        self.shadow_digest: int | None = None

    def __repr__(self) -> str:
        fate = "open" if self.fate == OPEN else outcome.FATES[self.fate]
        return f"Pair({self.tally.key}, live={self.live_outcome}, shadow={self.shadow_outcome}, {fate})"

    def live_ended(self, ended: int, first: int, last: int, last_ns: int, digest: int | None) -> None:
        """The live leg is over: outcome, buckets of first and last byte, nanoseconds to the last, body digest.

        What ends after its pair's deadline changes nothing any more.
        """
        if self.is_admitted:
            return
        self.live_outcome = ended
        self.live_first = first
        self.live_last = last
        self.live_ns = last_ns
        self.live_digest = digest
        self.done |= _LIVE_DONE
        if self.done == _BOTH_DONE:
            self.tally.admit()
        elif self.fate != OPEN:
            self.tally.count_left_out(self)

    def shadow_ended(self, ended: int, first: int, last: int, last_ns: int, digest: int | None) -> None:
        """The shadow leg is over, in the same terms. What ends after its pair was given up changes nothing any more."""
        if self.fate != OPEN:
            return
        self.shadow_outcome = ended
        self.shadow_first = first
        self.shadow_last = last
        self.shadow_ns = last_ns
        self.shadow_digest = digest
        self.done |= _SHADOW_DONE
        if self.done == _BOTH_DONE:
            self.tally.admit()

    def exclude(self, fate: int) -> None:
        """The pair will not be compared; the first reason counts."""
        if self.fate == OPEN:
            self.fate = fate
            self.tally.fates[fate] += 1
            if self.done & _LIVE_DONE:
                self.tally.count_left_out(self)
            self.let_go()
            self.tally.admit()

    def let_go(self) -> None:
        """Nothing will be compared with the other arm, or it has been; a pair that is not compared is not shown either."""
        capture = self.capture
        if capture is not None and not self.is_admitted:
            self.capture = None
            capture.release()
        partner = self.partner
        if partner is not None:
            self.partner = None
            partner.partner = None


class MirrorTally:
    """Counters of one mirror of one route, and the ring of its pairs. Outlives config generations.

    `eligible` counts in the shared word `word` of `words`, which control can read after this process is gone.
    `back` is kept by a control arm alone, `versus` by a mirror that has one.
    """

    __slots__ = (
        "_reported", "back", "bodies", "captured", "crossings", "fates", "holdout_last", "key", "live_first", "live_last", "matrix", "ratio",
        "resolution_ns", "ring", "shadow_first", "shadow_last", "shed_last", "thresholds_ns", "timeout_ns", "versus", "word", "words",
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
        self.shed_last: Buckets = {}
        self.resolution_ns = 0
        self.thresholds_ns: tuple[int, ...] = ()
        self.timeout_ns = 0
        self.ratio = Ratios()
        self.back: Ratios | None = None
        self.versus: Versus | None = None
        self.crossings: list[int] = []
        self.captured: list[Pair] = []
        self._reported = words[word]

    def __repr__(self) -> str:
        return f"MirrorTally({self.key}, eligible={self.words[self.word]}, pending={self.pending})"

    @property
    def pending(self) -> int:
        """Pairs without a fate. Counted, not derived: the law could not fail otherwise."""
        return sum(1 for pair in self.ring if pair.fate == OPEN)

    def configure(self, *, resolution_ns: int, thresholds_ns: tuple[int, ...], timeout_ns: int, is_arm: bool, has_arm: bool) -> None:
        """Count by a new config from now on; what was counted stays until it is reported.

        Args:
            resolution_ns: added to live's duration before two are compared.
            thresholds_ns: durations whose crossing is counted.
            timeout_ns: how long a copy may take, hence live as far as it is compared; 0 for any time.
            is_arm: whether this is a control arm.
            has_arm: whether there is a control arm to compare with.
        """
        self.resolution_ns = resolution_ns
        self.timeout_ns = timeout_ns
        if thresholds_ns != self.thresholds_ns:
            self.thresholds_ns = thresholds_ns
            self.crossings = [0, 0] * len(thresholds_ns)
        self.back = (self.back or Ratios()) if is_arm else None
        self.versus = (self.versus or Versus()) if has_arm else None
        if self.versus is not None:
            self.versus.configure(len(thresholds_ns))

    def open(self, arrived_ns: int, deadline_ns: int) -> Pair:
        """A new pair, last in line."""
        pair = Pair(self, arrived_ns, deadline_ns)
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

    def expire(self, now_ns: int) -> None:
        """Resolve heads of line that are past their deadline: what a leg has not answered by then is a timeout."""
        ring = self.ring
        while ring and ring[0].deadline_ns <= now_ns and ring[0].fate == OPEN:
            pair = ring[0]
            if not pair.done & _SHADOW_DONE:
                pair.shadow_outcome = outcome.TIMEOUT
                pair.shadow_ns = now_ns - pair.arrived_ns
                pair.done |= _SHADOW_DONE
            if not pair.done & _LIVE_DONE:
                pair.live_outcome = outcome.TIMEOUT
                pair.live_ns = now_ns - pair.arrived_ns
                pair.done |= _LIVE_DONE
            self.admit()

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
        if live >= 100 and shadow >= 100 and pair.live_digest is not None and pair.shadow_digest is not None:
            self.bodies[0 if pair.live_digest == pair.shadow_digest else 1] += 1
        else:
            self.bodies[2] += 1
        live_ns = pair.live_ns
        shadow_ns = pair.shadow_ns
        # Symmetric in the two legs, so that what is exchangeable stays so.
        if 100 <= live < 500 and 100 <= shadow < 500 and not pair.is_untimed:
            resolution_ns = self.resolution_ns
            self.ratio.add((shadow_ns or 1) / (live_ns + resolution_ns or 1))
            if self.back is not None:
                self.back.add((shadow_ns + resolution_ns or 1) / (live_ns or 1))
        if self.thresholds_ns and not pair.is_untimed:
            count_crossings(self.crossings, self.thresholds_ns, live_ns, shadow_ns)
        pair.is_admitted = True
        partner = pair.partner
        if partner is not None and partner.is_admitted:
            mirror = partner if pair.is_arm else pair
            control = pair if pair.is_arm else partner
            versus = mirror.tally.versus
            if versus is not None:
                versus.add(control, mirror, mirror.tally.thresholds_ns)
            pair.let_go()
        if pair.capture is not None:
            self.captured.append(pair)

    def count_left_out(self, pair: Pair) -> None:
        """A pair that is not compared, whose live leg is over."""
        if pair.fate in _SHEDS and pair.live_outcome >= 100:
            self.shed_last[pair.live_last] = self.shed_last.get(pair.live_last, 0) + 1

    def report(self, now_ns: int = 0) -> dict[str, Any]:
        """The deltas since the last report (messages.py), which begin anew."""
        eligible = self.words[self.word]
        names = outcome.FATES
        report: dict[str, Any] = {
            "eligible": eligible - self._reported,
            "pending": self.pending,
            "fates": {names[fate]: count for fate, count in enumerate(self.fates) if count},
            "matrix": matrix_report(self.matrix),
            "bodies": {"equal": self.bodies[0], "different": self.bodies[1], "unknown": self.bodies[2]},
            "live_first": self.live_first,
            "live_last": self.live_last,
            "shadow_first": self.shadow_first,
            "shadow_last": self.shadow_last,
            "holdout_last": self.holdout_last,
            "shed_last": self.shed_last,
            "ratio": self.ratio.report(),
            "lag_ns": now_ns - self.ring[0].arrived_ns if self.ring else 0,
        }
        if self.thresholds_ns:
            report["slo"] = crossings_report(self.crossings, self.thresholds_ns)
            self.crossings = [0, 0] * len(self.thresholds_ns)
        if self.back is not None:
            report["back"] = self.back.report()
        if self.versus is not None:
            report["versus"] = self.versus.report(self.thresholds_ns)
        self._reported = eligible
        self.fates = [0] * len(names)
        self.matrix = {}
        self.bodies = [0, 0, 0]
        self.live_first, self.live_last, self.shadow_first, self.shadow_last, self.holdout_last = {}, {}, {}, {}, {}
        self.shed_last = {}
        return report


class Versus:
    """The shadow against the control arm, over requests whose pairs with both were admitted; in order of arrival.

    Both legs are copies, so whatever the proxy adds to a second leg it has added to either.
    """

    __slots__ = ("crossings", "matrix", "ratio")

    def __init__(self) -> None:
        self.matrix: dict[int, int] = {}
        self.ratio = Ratios()
        self.crossings: list[int] = []

    def __repr__(self) -> str:
        return f"Versus({self.ratio!r})"

    def configure(self, thresholds: int) -> None:
        """Room for so many thresholds."""
        if len(self.crossings) != 2 * thresholds:
            self.crossings = [0, 0] * thresholds

    def add(self, control: Pair, mirror: Pair, thresholds_ns: tuple[int, ...]) -> None:
        """Count one request by its two pairs."""
        baseline = control.shadow_outcome
        shadow = mirror.shadow_outcome
        cell = baseline * 1000 + shadow
        self.matrix[cell] = self.matrix.get(cell, 0) + 1
        if control.is_untimed or mirror.is_untimed:
            return
        if 100 <= baseline < 500 and 100 <= shadow < 500:
            self.ratio.add((mirror.shadow_ns or 1) / (control.shadow_ns or 1))
        if thresholds_ns:
            count_crossings(self.crossings, thresholds_ns, control.shadow_ns, mirror.shadow_ns)

    def report(self, thresholds_ns: tuple[int, ...]) -> dict[str, Any]:
        """The deltas since the last report, which begin anew."""
        report = {**self.ratio.report(), "matrix": matrix_report(self.matrix)}
        if thresholds_ns:
            report["slo"] = crossings_report(self.crossings, thresholds_ns)
            self.crossings = [0, 0] * len(thresholds_ns)
        self.matrix = {}
        return report


def count_crossings(crossings: list[int], thresholds_ns: tuple[int, ...], baseline_ns: int, shadow_ns: int) -> None:
    """Count in `crossings`, two numbers a threshold, which of two legs alone took longer than it."""
    for index, threshold_ns in enumerate(thresholds_ns):
        if baseline_ns > threshold_ns:
            if shadow_ns <= threshold_ns:
                crossings[2 * index] += 1
        elif shadow_ns > threshold_ns:
            crossings[2 * index + 1] += 1


def crossings_report(crossings: list[int], thresholds_ns: tuple[int, ...]) -> dict[str, list[int]]:
    """Crossings as a tally has them: by threshold, of the baseline alone and of the shadow alone."""
    return {str(threshold_ns): crossings[2 * index : 2 * index + 2] for index, threshold_ns in enumerate(thresholds_ns)}


def matrix_report(matrix: dict[int, int]) -> dict[str, int]:
    """A matrix as a tally has it: by the names of two outcomes."""
    return {f"{outcome.name_of(cell // 1000)},{outcome.name_of(cell % 1000)}": count for cell, count in matrix.items()}


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


class TenancyTally:
    """Counters of one route's tagged writes. At every moment `seen = sunk + partitioned + refused + passed + pending`."""

    __slots__ = ("answers", "fates", "pending", "seen")

    def __init__(self) -> None:
        self.seen = 0
        self.pending = 0
        self.fates = dict.fromkeys(TENANCY_FATES, 0)
        self.answers = RouteTally()

    def begin(self) -> None:
        """A tagged write is whole and has been decided on."""
        self.seen += 1
        self.pending += 1

    def end(self, fate: str) -> None:
        """It has met its fate."""
        self.pending -= 1
        self.fates[fate] += 1

    def report(self) -> dict[str, Any]:
        """The deltas since the last report, which begin anew; `pending` is as it is now."""
        fates, self.fates = self.fates, dict.fromkeys(TENANCY_FATES, 0)
        seen, self.seen = self.seen, 0
        return {"seen": seen, "pending": self.pending, **fates, "answers": self.answers.report()["responses"]}


TENANCY_FATES: Final = ("sunk", "partitioned", "refused", "passed")
"""What becomes of tagged writes."""
