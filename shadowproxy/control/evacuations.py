"""Evacuation drills: the endpoints of a cell, zone or region get no new requests for a while, and it is measured what that does.

The rules of this file:

* somebody must be left: what would leave a fleet without an endpoint is refused;
* the time until the last new request is measured by what workers say: each confirms, once it has read the message, that it
  gives such endpoints no more requests. What they get nevertheless, for want of others that are well, is counted as late;
* a drill ends by itself when a time was given, and with control: a restart moves the traffic back. It is an exercise, and what
  an exercise needs to survive everything is somebody who watches it;
* the kill switch leaves it alone: traffic that was moved away from a zone may have been moved away for a reason.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.audit import SYSTEM
from shadowproxy.errors import ControlError
from shadowproxy.experiments.half_evidence import is_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowproxy.config.model import Config, Fleet
    from shadowproxy.control.arming import Arming
    from shadowproxy.control.audit import Actor, Audit
    from shadowproxy.control.counts import Counts
    from shadowproxy.control.worker import Worker

_log = logging.getLogger("shadowproxy.control")

Plain = dict[str, Any]
Totals = tuple[int, int]
"""Requests and errors of the routes that a fleet serves."""

LABELS: Final = ("cell", "zone", "region")

LOOK_S: Final = 0.25
"""Seconds between looks: as often as workers report."""

BEFORE_S: Final = 60.0
"""What counts as before, and as after, at most."""

KEPT: Final = 50
"""Drills that are over and still shown."""


@dataclass(slots=True, eq=False)
class Drill:
    """One evacuation; times of `since`, `confirmed` and so on are seconds of the monotonic clock."""

    fleet: str
    label: str
    value: str
    by: str
    started: float
    since: float
    length: float
    endpoints: tuple[str, ...]
    left: tuple[str, ...]
    baseline: Totals
    baseline_seconds: float
    at_start: Totals
    workers: dict[int, float | None] = field(default_factory=dict)
    drained: float | None = None
    late_before: int = 0
    late: int = 0
    late_at: float | None = None
    over: float | None = None
    ended: float | None = None
    reason: str = ""
    at_end: Totals = (0, 0)
    after: Totals | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What is evacuated."""
        return self.fleet, self.label, self.value

    @property
    def confirmed(self) -> float | None:
        """Seconds until the last worker had confirmed; None while one has not."""
        times = list(self.workers.values())
        if not times or None in times:
            return None
        return max(one for one in times if one is not None)


class Evacuations:
    """All drills of an instance. Used from one event loop.

    Args:
        config: the config in force.
        arming: tells workers.
        counts: what they count.
        audit: where every drill is recorded.
        workers: the process ids of the workers that serve.
        now: the monotonic clock, in seconds.
        wall: the clock of records, in Unix seconds.
    """

    def __init__(
        self,
        config: Config,
        arming: Arming,
        counts: Counts,
        audit: Audit,
        workers: Callable[[], list[int]],
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.drills: list[Drill] = []
        self.over: deque[Drill] = deque(maxlen=KEPT)
        self._config = config
        self._arming = arming
        self._counts = counts
        self._audit = audit
        self._workers = workers
        self._now = now
        self._wall = wall
        self._samples: deque[tuple[float, dict[str, Totals]]] = deque()

    def __repr__(self) -> str:
        return f"<Evacuations {[drill.key for drill in self.drills]}>"

    def start(self, fleet: str, label: str, value: str, actor: Actor, *, seconds: float = 0.0, request_id: str = "") -> Plain:
        """Evacuate the endpoints of a fleet that have a label. Never blocks.

        Args:
            fleet: its name.
            label: cell, zone or region.
            value: of the label.
            actor: who asked.
            seconds: after how long it ends by itself; 0 for when it is ended.
            request_id: for the audit log.

        Raises:
            KeyError: there is no such fleet.
            ControlError: no endpoint has the label, all have, or it is evacuated already.
        """
        config = self._config.fleets[fleet]
        out, left = self._affected(config, {(drill.label, drill.value) for drill in self.drills if drill.fleet == fleet} | {(label, value)})
        if label not in LABELS or not _labelled(config, label, value):
            raise ControlError(f"no endpoint of {fleet} has {label} {value}")
        if any(drill.key == (fleet, label, value) for drill in self.drills):
            raise ControlError(f"{label} {value} of {fleet} is evacuated already")
        if not left:
            raise ControlError(f"nothing would be left of {fleet}: all of its endpoints are in {label} {value} or evacuated")
        now = self._now()
        totals = self._totals(fleet)
        began, baseline = next(((at, known[fleet]) for at, known in self._samples if fleet in known), (now, totals))
        drill = Drill(
            fleet, label, value, actor.name, self._wall(), now, seconds, tuple(sorted(set(_labelled(config, label, value)) & out)), left,
            baseline, now - began, totals, workers=dict.fromkeys(self._workers()),
        )  # fmt: skip
        drill.late_before = self._late(drill)
        self.drills.append(drill)
        self._tell()
        _log.warning("%s %s of %s is evacuated: %s", label, value, fleet, ", ".join(drill.endpoints))
        self._audit.record(
            actor, "evacuation.start", "ok", after=f"{fleet} without {label} {value}",
            detail=f"for {seconds:g} s" if seconds else "until it is ended", request_id=request_id,
        )  # fmt: skip
        return self._document(drill)

    def end(self, actor: Actor, *, fleet: str = "", request_id: str = "") -> list[Plain]:
        """End all drills, or those of one fleet; returns their documents. Never blocks."""
        ended = [drill for drill in self.drills if not fleet or drill.fleet == fleet]
        for drill in ended:
            self._end(drill, f"ended by {actor.name}", actor, request_id)
        return [self._document(drill) for drill in ended]

    @property
    def late(self) -> Mapping[tuple[str, str], int]:
        """By fleet and endpoint, requests that evacuated endpoints got for want of others."""
        return self._counts.late

    def documents(self) -> list[Plain]:
        """What is evacuated, then what was, the newest first."""
        return [self._document(drill) for drill in (*self.drills, *reversed(self.over))]

    def on_evacuated(self, worker: Worker, message: Mapping[str, Any]) -> None:
        """A worker says that it gives evacuated endpoints no new requests."""
        now = self._now()
        for drill in self.drills:
            if drill.fleet in message["under_way"] and drill.workers.get(worker.pid) is None:
                drill.workers[worker.pid] = now - drill.since

    def follow(self, config: Config) -> None:
        """Take up a config that has come into force; drills that it leaves no place for end."""
        self._config = config
        for drill in list(self.drills):
            fleet = config.fleets.get(drill.fleet)
            if fleet is None or not _labelled(fleet, drill.label, drill.value):
                self._end(drill, "the config has no such endpoints any more")
            elif not self._affected(fleet, {(one.label, one.value) for one in self.drills if one.fleet == drill.fleet})[1]:
                self._end(drill, "the config leaves no other endpoints")

    async def keep(self) -> None:
        """Measure, and end what is to end, for as long as the task runs."""
        while True:
            try:
                self.look()
            except Exception:  # noqa: BLE001  a bug here must not keep a drill from ending
                _log.exception("evacuations")
            await asyncio.sleep(LOOK_S)

    def look(self) -> None:
        """Measure now, and end what is to end."""
        now = self._now()
        if not self._samples or now - self._samples[-1][0] >= 1.0:
            self._samples.append((now, {fleet: self._totals(fleet) for fleet in self._config.fleets}))
        while self._samples and now - self._samples[0][0] > BEFORE_S:
            self._samples.popleft()
        gauges = self._counts.endpoints()
        alive = set(self._workers())
        for drill in list(self.drills):
            # A worker that has ended confirms nothing more, and one that has begun found it in its policy.
            drill.workers = {pid: at for pid, at in drill.workers.items() if at is not None or pid in alive}
            late = self._late(drill) - drill.late_before
            if late > drill.late:
                drill.late, drill.late_at = late, now - drill.since
            under_way = sum(found.outstanding for url in drill.endpoints if (found := gauges.get((drill.fleet, url))) is not None)
            if drill.drained is None and drill.confirmed is not None and now - drill.since > drill.confirmed + LOOK_S and not under_way:
                drill.drained = now - drill.since
            if drill.length and now - drill.since >= drill.length:
                self._end(drill, "its time is over")
        for drill in self.over:
            if drill.over is not None and now - drill.over <= BEFORE_S:
                drill.after = self._totals(drill.fleet)

    def _end(self, drill: Drill, reason: str, actor: Actor = SYSTEM, request_id: str = "") -> None:
        drill.over, drill.ended, drill.reason = self._now(), self._wall(), reason
        drill.at_end = self._totals(drill.fleet)
        self.drills.remove(drill)
        self.over.append(drill)
        self._tell()
        _log.warning("%s %s of %s is no longer evacuated: %s", drill.label, drill.value, drill.fleet, reason)
        self._audit.record(
            actor, "evacuation.end", "ok", before=f"{drill.fleet} without {drill.label} {drill.value}", detail=reason, request_id=request_id
        )

    def _tell(self) -> None:
        self._arming.evacuate([{"fleet": drill.fleet, "label": drill.label, "value": drill.value} for drill in self.drills])

    def _late(self, drill: Drill) -> int:
        return sum(self._counts.late[drill.fleet, url] for url in drill.endpoints)

    def _affected(self, fleet: Fleet, labels: set[tuple[str, str]]) -> tuple[set[str], tuple[str, ...]]:
        """Endpoints with any of the labels, and the others."""
        out = {url for label, value in labels if label in LABELS for url in _labelled(fleet, label, value)}
        return out, tuple(url for url in fleet.endpoints if url not in out)

    def _totals(self, fleet: str) -> Totals:
        """Requests and errors, so far, of the routes that the fleet serves."""
        requests = errors = 0
        for route in self._config.routes:
            if fleet == route.live or (route.rollout is not None and fleet == route.rollout.to):
                found = self._counts.routes.get(route.name)
                for outcome, count in found.responses.items() if found is not None else ():
                    requests += count if outcome != "client_gone" else 0
                    errors += count if is_error(outcome) else 0
        return requests, errors

    def _document(self, drill: Drill) -> Plain:
        now = self._now()
        is_over = drill.over is not None
        totals = drill.at_end if is_over else self._totals(drill.fleet)
        gauges = self._counts.endpoints()
        confirmed = drill.confirmed
        return {
            "fleet": drill.fleet,
            "label": drill.label,
            "value": drill.value,
            "is_over": is_over,
            "by": drill.by,
            "started": drill.started,
            "ended": drill.ended,
            "reason": drill.reason,
            "seconds": round((drill.over if drill.over is not None else now) - drill.since, 3),
            "length": drill.length,
            "endpoints": list(drill.endpoints),
            "left": list(drill.left),
            "workers": {"all": len(drill.workers), "confirmed": sum(at is not None for at in drill.workers.values())},
            "last_new_request_s": None if confirmed is None else round(max(confirmed, drill.late_at or 0.0), 6),
            "late": drill.late,
            "under_way": sum(found.outstanding for url in drill.endpoints if (found := gauges.get((drill.fleet, url))) is not None),
            "drained_s": None if drill.drained is None else round(drill.drained, 3),
            "before": _rate(drill.baseline, drill.at_start),
            "during": _rate(drill.at_start, totals),
            "after": _rate(drill.at_end, drill.after) if drill.after is not None else None,
        }


def _labelled(fleet: Fleet, label: str, value: str) -> list[str]:
    """The endpoints of a fleet with that label."""
    return [one.endpoint for one in fleet.labels if value and getattr(one, label, "") == value and one.endpoint in fleet.endpoints]


def _rate(before: Totals, after: Totals) -> Plain:
    requests, errors = max(0, after[0] - before[0]), max(0, after[1] - before[1])
    return {"requests": requests, "errors": errors, "error_rate": errors / requests if requests else None}
