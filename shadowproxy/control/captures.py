"""Captured pairs: from workers' messages to evidence about fields, and to exemplars.

The rules of this file:

* the event loop only queues: `offer` never blocks, and drops and counts what the queue has no room for;
* one thread does the rest, in order, and sleeps when it has used more than its share of a core;
* nothing is kept before it went through the scrubber; what waits in the queue is on no page, disk or log;
* the copies of one request (shadow and control, or shadow and live once more) are joined by id in bounded memory;
* what an answer holds can hurt nothing: whatever is raised on the way is counted and costs one pair.

What the thread finds is published by one assignment, so that reading it takes no lock.
"""

from __future__ import annotations

import base64
import logging
import queue
import threading
import time
import zlib
from collections import Counter, OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.arms import CONTROL, RESEND, arm_of
from shadowproxy.control.revisions import HEADER
from shadowproxy.judge.bodies.comparison import Answer, Compared, compare
from shadowproxy.judge.bodies.evidence import Evidence
from shadowproxy.judge.bodies.fieldcounts import Basis, FieldFinding
from shadowproxy.judge.bodies.paths import header
from shadowproxy.judge.bodies.rules import Order, Rule, Rules, Treatment

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from shadowproxy.config.model import Config, FieldRule
    from shadowproxy.redaction import Scrubbed, Scrubber

_log = logging.getLogger("shadowproxy.control")

QUEUE_BYTES: Final = 32 * 1024 * 1024
"""Captured bytes (base64) that may wait for the thread."""

QUEUE_LIMIT: Final = 400
"""Captures that may wait for it: some twenty seconds of its share of a core."""

WAITING_BYTES: Final = 16 * 1024 * 1024
"""Scrubbed bytes that may wait for the other arm of their request."""

WAITING_LIMIT: Final = 2000
WAITING_S: Final = 30.0
"""How long an arm waits for the other: somewhat longer than a pair may take to be resolved."""

SHARE: Final = 0.04
"""Of a core, for the thread. Measured by its own CPU time."""

BURST_S: Final = 0.25
"""CPU time that it may save up."""

PUBLISH_S: Final = 1.0
"""How old published findings may be: to make them costs some milliseconds a mirror."""

_PARTS: Final = ("request", "live", "shadow")

SHOWN_LIMIT: Final = 100
"""Fields of one mirror that a verdict shows."""

Plain = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """How the captures of one mirror are judged. Another plan is another question: its evidence begins anew."""

    basis: Basis = Basis.DIRECTION
    rules: tuple[Rule, ...] = ()
    alpha: float = 0.05


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What is known of the fields of one mirror. `compared` counts requests, `problems` why answers were not fully compared."""

    findings: tuple[FieldFinding, ...] = ()
    log_e: float = 0.0
    compared: int = 0
    sampled: int = 0
    not_comparable: int = 0
    problems: Mapping[str, int] = field(default_factory=dict)
    epoch: int = 0


def plans_of(config: Config) -> dict[str, Plan]:
    """The plan of each mirror of a config, by its key ("route/mirror")."""
    plans = {}
    for route in config.routes:
        for mirror in route.mirror:
            basis = Basis.DIRECTION
            if mirror.control is not None:
                basis = Basis.CONTROL
            elif arm_of(route, mirror) is not None:
                basis = Basis.RESEND
            rules = (*(_rule(rule) for rule in mirror.judge.fields), *_build_names(config, (route.live, mirror.to)))
            plans[f"{route.name}/{mirror.name}"] = Plan(basis, rules, mirror.judge.alpha)
    return plans


def _build_names(config: Config, fleets: Iterable[str]) -> Iterator[Rule]:
    """The field in which a fleet names its build differs between two builds, always: no finding, unless a rule of the config says so."""
    named = dict.fromkeys(config.fleets[fleet].revision.removeprefix(HEADER) for fleet in fleets)
    yield from (Rule(path=header(name), treat=Treatment.IGNORE) for name in named if name)


def _rule(rule: FieldRule) -> Rule:
    return Rule(
        path=rule.path, treat=Treatment(rule.treat), order=Order(rule.order), key=rule.key, absolute=rule.absolute, relative=rule.relative
    )


@dataclass(slots=True)
class _Case:
    """One mirror, in the thread."""

    plan: Plan
    evidence: Evidence
    epoch: int = 0
    is_changed: bool = True


@dataclass(slots=True)
class _Waiting:
    """One request of which an arm is missing."""

    since: float
    pair: Scrubbed | None = None
    shadow: Compared | None = None
    sample: Compared | None = None
    sample_answer: Plain | None = None
    size: int = 0


class Captures:
    """Receives captured pairs and judges their answers on a thread of its own.

    Args:
        scrubber: takes the secrets out of captures.
        keep: is given each scrubbed pair, the differences in it that noise does not explain, and the scrubber it went through;
            called in the thread.
        share: part of a core that the thread may use; 1 does not limit it.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        scrubber: Scrubber,
        keep: Callable[[Scrubbed, Sequence[Mapping[str, Any]], Scrubber], None] = lambda _pair, _fields, _scrubber: None,
        *,
        share: float = SHARE,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._scrubber = scrubber
        self._keep = keep
        self._share = share
        self._monotonic = monotonic
        self.counters: Counter[str] = Counter()
        """`received`, `dropped` (no room in the queue), `compared`, `unpaired` (the other arm never came), `failed`."""
        self.cpu_seconds = 0.0
        self.snapshots: Mapping[str, Snapshot] = {}
        self._queue: queue.SimpleQueue[tuple[str, Any]] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._queued = 0
        self._queued_bytes = 0
        self._epochs: dict[str, int] = {}
        self._cases: dict[str, _Case] = {}
        self._waiting: OrderedDict[tuple[str, str], _Waiting] = OrderedDict()
        self._waiting_bytes = 0
        self._published_at = -PUBLISH_S
        self._thread = threading.Thread(target=self._run, name="captures", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<Captures mirrors={len(self.snapshots)} queued={self._queued} {dict(self.counters)}>"

    def offer(self, pairs: Sequence[Plain]) -> int:
        """Queue the pairs of one `captured` message. Never blocks. May drop.

        Returns:
            How many were dropped.
        """
        dropped = 0
        for pair in pairs:
            size = _size(pair)
            with self._lock:
                fill = max(self._queued / QUEUE_LIMIT, (self._queued_bytes + size) / QUEUE_BYTES)
                is_full = fill >= 1.0 or not _is_chosen(str(pair.get("id", "")), fill)
                if not is_full:
                    self._queued += 1
                    self._queued_bytes += size
            if is_full:
                dropped += 1
            else:
                self._queue.put(("pair", (pair, size)))
        self.counters["received"] += len(pairs)
        self.counters["dropped"] += dropped
        return dropped

    def follow(self, plans: Mapping[str, Plan]) -> None:
        """Judge the mirrors of `plans` from now on, and no others. Never blocks."""
        self._queue.put(("follow", dict(plans)))

    def use(self, scrubber: Scrubber) -> None:
        """Take secrets out with another scrubber. What is known begins anew: it may show what is secret now. Never blocks."""
        self.snapshots = {}
        self._queue.put(("use", scrubber))

    def restart(self, mirror: str) -> None:
        """Forget the evidence of a mirror, and of what was queued before. Nothing is known of it from now on. Never blocks."""
        epoch = self._epochs[mirror] = self._epochs.get(mirror, 0) + 1
        self._queue.put(("restart", (mirror, epoch)))

    def snapshot(self, mirror: str) -> Snapshot:
        """What is known of a mirror's fields, at most about a second old. Never blocks."""
        found = self.snapshots.get(mirror, _NOTHING)
        # What the thread published before it came to a restart is of the epoch before: in the new one it would be a false alarm.
        return found if found.epoch == self._epochs.get(mirror, 0) else _NOTHING

    def fields(self, mirror: str) -> list[dict[str, object]]:
        """The most telling findings of a mirror as the verdict has them; `example` is the id of a captured pair."""
        return [finding.to_plain() for finding in self.snapshot(mirror).findings[:SHOWN_LIMIT]]

    def log_e(self, mirror: str) -> float:
        """Log evidence that some field of the mirror is worse."""
        return self.snapshot(mirror).log_e

    def flush(self, timeout: float = 10.0) -> bool:
        """Wait until what is queued now has been judged and published, for at most `timeout` seconds. Blocks: not for the event loop."""
        done = threading.Event()
        self._queue.put(("flush", done))
        return done.wait(timeout)

    def close(self, timeout: float = 1.0) -> None:
        """End the thread; what is queued is dropped. Blocks for at most `timeout` seconds."""
        self._share = 1.0
        self._queue.put(("end", None))
        self._thread.join(timeout)

    # What follows runs in the thread.

    def _run(self) -> None:
        allowance, before = BURST_S, self._monotonic()
        while True:
            try:
                order, argument = self._queue.get(timeout=PUBLISH_S)
            except queue.Empty:
                order, argument = "look", None
            if order == "end":
                return
            used = time.thread_time()
            try:
                self._obey(order, argument)
            except Exception as error:  # noqa: BLE001 whatever an answer does to us costs one pair; its text is nobody's business
                self.counters["failed"] += 1
                _log.error("a captured pair could not be judged: %s", type(error).__name__)  # a traceback could quote it
            now = self._monotonic()
            used = time.thread_time() - used
            self.cpu_seconds += used
            allowance = min(BURST_S, allowance + (now - before) * self._share) - used
            before = now
            if allowance < 0.0 and self._share < 1.0:
                time.sleep(-allowance / self._share)

    def _obey(self, order: str, argument: Any) -> None:
        match order:
            case "pair":
                pair, size = argument
                with self._lock:
                    self._queued -= 1
                    self._queued_bytes -= size
                self._take(pair)
            case "follow":
                self._follow(argument)
            case "use":
                self._use(argument)
            case "restart":
                self._restart(*argument)
            case "flush":
                self._publish()
                argument.set()
        self._settle()
        if self._monotonic() - self._published_at >= PUBLISH_S:
            self._publish()

    def _follow(self, plans: Mapping[str, Plan]) -> None:
        for mirror in [mirror for mirror in self._cases if mirror not in plans]:
            del self._cases[mirror]
        for mirror, plan in plans.items():
            if mirror not in self._cases or self._cases[mirror].plan != plan:
                self._cases[mirror] = _Case(plan, Evidence(plan.basis, Rules(plan.rules)), self._epochs.get(mirror, 0))
                self._forget(mirror)
        self._publish()

    def _use(self, scrubber: Scrubber) -> None:
        self._scrubber = scrubber
        for mirror in self._cases:
            self._restart(mirror, self._cases[mirror].epoch)

    def _restart(self, mirror: str, epoch: int) -> None:
        if mirror in self._cases:
            self._cases[mirror].evidence.restart()
            self._cases[mirror].epoch = epoch
            self._cases[mirror].is_changed = True
            self._forget(mirror)
            self._publish()

    def _forget(self, mirror: str) -> None:
        for key in [key for key in self._waiting if key[0] == mirror]:
            self._waiting_bytes -= self._waiting.pop(key).size

    def _take(self, capture: Plain) -> None:
        mirror, is_sample = _base(str(capture.get("mirror", "")), self._cases)
        case = self._cases.get(mirror)
        if case is None:
            self.counters["failed"] += 1
            return
        pair = self._scrubber.scrub(capture)
        live, answer = _answer(pair.get("live")), _answer(pair.get("shadow"))
        evidence = case.evidence
        compared = compare(live, answer, rules=evidence.rules, watched=frozenset() if is_sample else evidence.watched)
        key = (mirror, str(capture.get("id", "")))
        if case.plan.basis is Basis.DIRECTION:
            self._conclude(case, _Waiting(0.0, pair, compared))
            return
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = _Waiting(self._monotonic())
        if is_sample:
            waiting.sample, waiting.sample_answer = compared, pair.get("shadow")
        else:
            waiting.pair, waiting.shadow = pair, compared
        size = _size(pair)
        waiting.size += size
        self._waiting_bytes += size
        if waiting.shadow is not None and waiting.sample is not None:
            self._waiting_bytes -= self._waiting.pop(key).size
            self._conclude(case, waiting)

    def _conclude(self, case: _Case, waiting: _Waiting) -> None:
        pair, shadow = waiting.pair, waiting.shadow
        if pair is None or shadow is None:
            self.counters["unpaired"] += 1
            return
        is_odd = case.evidence.observe(str(pair.get("id", "")), shadow, waiting.sample)
        case.is_changed = True
        self.counters["compared"] += 1
        if waiting.sample_answer is not None and case.plan.basis is Basis.CONTROL:
            pair["control"] = waiting.sample_answer
        self._keep(pair, _told(shadow, waiting.sample) if is_odd else (), self._scrubber)

    def _settle(self) -> None:
        """Give up waiting for what is overdue, and for the oldest of too much."""
        now = self._monotonic()
        while self._waiting:
            key, oldest = next(iter(self._waiting.items()))
            is_full = len(self._waiting) > WAITING_LIMIT or self._waiting_bytes > WAITING_BYTES
            if not is_full and now - oldest.since < WAITING_S:
                return
            del self._waiting[key]
            self._waiting_bytes -= oldest.size
            case = self._cases.get(key[0])
            if case is not None and case.plan.basis is Basis.RESEND:
                self._conclude(case, oldest)
            else:
                self.counters["unpaired"] += 1

    def _publish(self) -> None:
        self._published_at = self._monotonic()
        if not any(case.is_changed for case in self._cases.values()) and self.snapshots.keys() == self._cases.keys():
            return
        published = dict(self.snapshots)
        for mirror, case in self._cases.items():
            if case.is_changed or mirror not in published:
                case.is_changed = False
                published[mirror] = _snapshot(case)
        self.snapshots = {mirror: published[mirror] for mirror in self._cases}


_NOTHING: Final = Snapshot()


def _snapshot(case: _Case) -> Snapshot:
    evidence = case.evidence
    findings = tuple(evidence.findings(case.plan.alpha))
    return Snapshot(
        findings, evidence.log_e(), evidence.compared, evidence.sampled, evidence.not_comparable, dict(evidence.problems), case.epoch
    )


def _base(mirror: str, cases: Mapping[str, object]) -> tuple[str, bool]:
    """The mirror whose evidence a capture belongs to, and whether it is of the arm that samples noise."""
    for ending in (CONTROL, RESEND):
        if mirror not in cases and mirror.endswith(ending):
            return mirror.removesuffix(ending), True
    return mirror, False


def _told(shadow: Compared, sample: Compared | None) -> list[dict[str, str]]:
    """The differences of a pair that its sample has not."""
    noise = {(difference.path, difference.kind) for difference in sample.differences} if sample is not None else set()
    told = {}
    for difference in shadow.differences:
        if (difference.path, difference.kind) not in noise and not difference.excuse:
            told[difference.path, difference.kind] = difference
    return [{"path": one.path, "kind": one.kind.value, "live": one.live, "shadow": one.shadow} for one in told.values()]


def _is_chosen(name: str, fill: float) -> bool:
    """Whether a request is judged while the queue is so full: by its id, so that all of its arms are or none is."""
    if fill < 0.5:
        return True
    return zlib.crc32(name.encode()) % 4 < (2 if fill < 0.75 else 1)


def _size(pair: Mapping[str, Any]) -> int:
    """About what a capture takes: its bodies and header fields as they are held."""
    size = 200
    for part in _PARTS:
        message = pair.get(part)
        if isinstance(message, dict):
            body, headers = message.get("body"), message.get("headers")
            size += (len(body) if isinstance(body, str) else 0) + 100 * (len(headers) if isinstance(headers, list) else 0)
    return size


def _answer(answer: Any) -> Answer:
    """A scrubbed answer as the judge takes it: without content codings, or by digest. One that is none ended in nothing."""
    if not isinstance(answer, dict):
        return Answer("")
    headers = tuple((str(name), str(value)) for name, value in answer.get("headers") or ())
    dropped = answer.get("dropped")
    if isinstance(dropped, dict):
        return Answer(
            str(answer.get("outcome", "")), headers, digest=str(dropped.get("digest", "")), missing=str(dropped.get("reason") or "not kept")
        )
    body = base64.b64decode(answer.get("body") or "")
    return Answer(str(answer.get("outcome", "")), headers, body, is_cut=bool(answer.get("cut")))
