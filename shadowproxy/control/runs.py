"""One run of an experiment as control knows it: its life, what workers told of it, and the document that is shown of it."""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Protocol

from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain
from shadowproxy.control.attachments import Attachment
from shadowproxy.errors import ShadowproxyError
from shadowproxy.experiments.conductor import Tick
from shadowproxy.experiments.domains import confined_to
from shadowproxy.experiments.lifecycle import Lifecycle, State

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.config.model import Config
    from shadowproxy.control.cells import Neighbours
    from shadowproxy.control.leases import Lease
    from shadowproxy.control.lookout import Lookout
    from shadowproxy.experiments.conductor import Conductor
    from shadowproxy.experiments.journal import Entry

Plain = dict[str, Any]

UNITS_KEPT: Final = 200_000
"""Different units of one run that are told apart; beyond it they are counted, and may be counted twice."""

EVENTS_KEPT: Final = 500
"""Events of a timeline: the first of them, and then the last."""

RUNS_KEPT: Final = 200
"""Runs that have ended and can still be shown without a look into the journal."""


class Probing(Protocol):
    """What asks a run's probes (`control.probes.Prober`)."""

    @property
    def steady(self) -> dict[str, dict[str, Any]]:
        """Bounds of the steady state."""

    def values(self) -> dict[str, float | None]:
        """What each probe is now."""

    async def look(self) -> list[str]:
        """Sentences why the system is not well, as far as that is soon known."""

    async def prepare(self) -> list[str]:
        """Begin; sentences why the system is not well."""

    async def check(self) -> list[str]:
        """The same, once more."""

    async def close(self) -> None:
        """Ask nothing more."""


@dataclass(slots=True)
class Totals:
    """What workers have told of a run, added up."""

    faults: Counter[str] = field(default_factory=Counter)
    unharmed: Counter[str] = field(default_factory=Counter)
    seen: int = 0
    hit: int = 0
    outside: int = 0
    units: dict[str, int] | None = field(default_factory=dict)
    """Faults of each unit; None once they are only a number."""
    unit_count: int = 0
    repeats: int = 0

    def add(self, counts: Mapping[str, Any]) -> None:
        """Add an Exposure's counts, or those of a tick, whose `units` is a total."""
        for kind, count in counts.get("faults", {}).items():
            self.faults[kind] += count
        for reason, count in counts.get("unharmed", {}).items():
            self.unharmed[reason] += count
        self.seen += counts.get("seen", 0)
        self.hit += counts.get("hit", 0)
        self.outside += counts.get("outside", 0)
        units = counts.get("units", {})
        if isinstance(units, int):
            self.unit_count = max(self.unit_count, units)
            self.repeats = max(self.repeats, counts.get("repeats", 0))
            return
        if self.units is None:
            return
        for unit, count in units.items():
            before = self.units.get(unit, 0)
            if before or len(self.units) < UNITS_KEPT:
                self.units[unit] = before + count
            self.unit_count += not before
            self.repeats = max(self.repeats, before + count)

    def plain(self) -> Plain:
        """All of it but which units they are, as `add` takes it."""
        counts = {"faults": dict(self.faults), "unharmed": dict(self.unharmed), "seen": self.seen, "hit": self.hit, "outside": self.outside}
        return counts | {"units": self.unit_count, "repeats": self.repeats}

    def forget_units(self) -> None:
        """Keep their number only: what is told of them from now on changes nothing."""
        self.units = None


class Timeline:
    """What happened, for people: the first events and the last ones."""

    def __init__(self, events: Sequence[Plain] = ()) -> None:
        self._first = list(events[: EVENTS_KEPT // 2])
        self._last = deque(events[EVENTS_KEPT // 2 :], maxlen=EVENTS_KEPT // 2)

    def add(self, at: float, seconds: float | None, event: str, detail: str = "") -> None:
        """Note one event."""
        one = {"time": at, "seconds": seconds, "event": event, "detail": detail}
        (self._first if len(self._first) < EVENTS_KEPT // 2 else self._last).append(one)

    @property
    def events(self) -> list[Plain]:
        """In their order."""
        return [*self._first, *self._last]


class Run:
    """One execution of an experiment.

    Args:
        number: of the runs of this name, from 1.
        experiment: what is run.
        submitted_by: who asked for it.
        is_dry: decide and count, break nothing.
        force: why rules of the house shall not count; "" if they do.
    """

    def __init__(self, number: int, experiment: Experiment, submitted_by: str, *, is_dry: bool = False, force: str = "") -> None:
        self.id = f"{experiment.name}-{number}"
        self.number = number
        self.experiment = experiment
        self.plain = experiment_to_plain(experiment)
        self.submitted_by = submitted_by
        self.is_dry = is_dry
        self.force = force
        self.life = Lifecycle()
        self.admission: list[Plain] = []
        self.look_back: Plain | None = None
        """What it would have touched of past requests (`experiments.lookback`); None of a run of an earlier version."""
        self.code = ""
        self.reason = ""
        self.epoch = 0
        self.percent: float = (experiment.ramp.steps or (experiment.slice.percent,))[0]
        self.is_paused = False
        self.created = time.time()
        self.started: float | None = None
        self.ended: float | None = None
        self.timeline = Timeline()
        self.totals = Totals()
        self.steady: dict[str, Plain] = {}
        self.error_budget: float | None = None
        self.result: Plain = {}
        self.journal: tuple[int, str] = (0, "")
        self.lease: Lease | None = None
        self.attachment: Attachment | None = None
        """Of a run that is to end with the command that waits for it."""
        self.conductor: Conductor | None = None
        self.prober: Probing | None = None
        self.lookout: Lookout | None = None
        self.neighbours: Neighbours | None = None
        self.samples: Plain = {"unknown": {}, "dropped": 0, "problems": {}}
        """Sampled answers that were not judged, as of the last document that was made."""
        self._began = 0.0

    def __repr__(self) -> str:
        return f"<Run {self.id} {self.life.state} epoch={self.epoch} percent={self.percent:g}>"

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self.life.state

    @property
    def is_running(self) -> bool:
        """Whether workers may break something for it."""
        return self.life.state is State.RUNNING

    @property
    def share(self) -> float:
        """Percent of the units that gets the fault now."""
        return self.percent if self.is_running and not self.is_paused else 0.0

    @property
    def terms(self) -> str:
        """On which terms it was admitted, for a timeline."""
        said = f"by {self.submitted_by}"
        if self.force:
            said += f", break-glass: {self.force}"
        if self.attachment is not None:
            said += f"; attached: it ends after {self.attachment.patience_s:g} s without a word of its command"
        return said

    @property
    def errors(self) -> dict[str, int]:
        """Requests that failed, in the slice with the fault and in control."""
        if self.conductor is not None:
            return {"fault": self.conductor.slices.fault.errors, "control": self.conductor.slices.control.errors}
        return {arm: one["errors"] for arm, one in self.result.get("slices", {}).items()}

    def conclude(self) -> float | None:
        """Keep what the conductor has to say of the end, and let go of it. Returns the seconds after which it ended; None if it had not begun."""
        if self.conductor is None:
            return None
        seconds = self.conductor.seconds if self.seconds is None else self.seconds
        self.conductor.stop(seconds, str(self.state), self.code, self.reason)
        self.result = self.conductor.document()
        self.conductor = None
        return seconds

    @property
    def seconds(self) -> float | None:
        """Since its start, by the monotonic clock; None before."""
        return time.monotonic() - self._began if self._began else None

    def note(self, event: str, detail: str = "") -> None:
        """Put an event of now on the timeline."""
        self.timeline.add(time.time(), self.seconds, event, detail)

    def start(self) -> None:
        """It runs from now on."""
        self.life.become(State.RUNNING)
        self.started = time.time()
        self._began = time.monotonic()
        self.note("started", f"{self.percent:g} %, epoch {self.epoch}")

    def end(self, state: State, code: str, reason: str) -> None:
        """It has ended now."""
        self.life.become(state)
        self.code, self.reason, self.ended = code, reason, time.time()
        self.note(state, f"{code}: {reason}" if reason else code)

    def tick(self, counts: Plain) -> Tick:
        """What has just been told, as the conductor takes it. `counts` is one worker's Exposure, or {} on a timer."""
        if counts:
            counts = {name: value for name, value in counts.items() if name not in {"samples", "units", "units_dropped", "epoch", "over"}}
            counts |= {"units": self.totals.unit_count, "repeats": self.totals.repeats}
        if self.lookout is not None and (expect := self.lookout.take()):
            counts = counts | {"expect": expect}
        if self.neighbours is not None and (cells := self.neighbours.take()):
            counts = counts | {"cells": cells}
        probes = self.prober.values() if self.prober is not None else {}
        return Tick(self.seconds or 0.0, counts, probes)

    def armed(self, lease_index: int, lease_ns: int, config: Config) -> Plain:
        """The run as workers are told of it under `config` (`Armed` of `dataplane.messages`)."""
        endpoints = confined_to(self.experiment, config)
        return {
            "id": self.id,
            "epoch": self.epoch,
            "lease": lease_index,
            "lease_ns": lease_ns,
            "percent": self.percent,
            "paused": self.is_paused,
            "dry": self.is_dry,
            "workers": config.workers,
            "deny": list(config.experiments.deny),
            "endpoints": None if endpoints is None else sorted(endpoints),
            "experiment": self.plain,
        }

    def document(self) -> Plain:
        """All that is shown of it. JSON."""
        totals = self.totals
        entries, head = self.journal
        if self.lookout is not None:
            self.samples = self.lookout.told()
        return {
            "id": self.id,
            "name": self.experiment.name,
            "owner": self.experiment.owner,
            "state": str(self.state),
            "code": self.code,
            "reason": self.reason,
            "submitted_by": self.submitted_by,
            "approved_by": self.experiment.approved_by,
            "is_dry": self.is_dry,
            "force": self.force,
            "attached": self.attachment.patience_s if self.attachment is not None else None,
            "epoch": self.epoch,
            "percent": self.share,
            "created": self.created,
            "started": self.started,
            "ended": self.ended,
            "hypothesis": asdict(self.experiment.hypothesis),
            "experiment": self.plain,
            "admission": self.admission,
            "look_back": self.look_back,
            "timeline": self.timeline.events,
            "units": totals.unit_count,
            "faults": dict(sorted(totals.faults.items())),
            "unharmed": dict(sorted(totals.unharmed.items())),
            "seen": totals.seen,
            "hit": totals.hit,
            "outside": totals.outside,
            "samples": self.samples,
            "result": self.conductor.document() if self.conductor is not None else self.result,
            "journal": {"entries": entries, "head": head},
        }

    def summary(self) -> Plain:
        """A line of a list: the document without its long members."""
        document = self.document()
        result = document.pop("result")
        for name in ("experiment", "timeline", "admission", "look_back", "samples"):
            del document[name]
        return document | {"verdict": result.get("verdict"), "sentence": result.get("sentence", "")}


class Past:
    """The runs that a journal tells of, collected entry by entry."""

    def __init__(self) -> None:
        self.epoch = 0
        self.numbers: dict[str, int] = {}
        self.runs: dict[str, Run] = {}
        self.unread = 0
        """Entries of a kind or content that this version does not know."""

    def visit(self, entry: Entry) -> None:
        """Take up one entry. Never raises: an entry of another version must not keep experiments from running."""
        try:
            self._take(entry)
        except (AttributeError, KeyError, TypeError, ValueError, ShadowproxyError):
            self.unread += 1

    def standing(self, runs: Iterable[Run]) -> Plain:
        """What a segment of the journal begins with, beside the milestones of these runs: so `visit` needs no earlier tick."""
        runs = list(runs)
        epoch = max([self.epoch, *(run.epoch for run in runs)])
        return {"epoch": epoch, "numbers": dict(self.numbers), "totals": {run.id: run.totals.plain() for run in runs}}

    def _take(self, entry: Entry) -> None:
        match entry.kind:
            case "segment":
                self._stand(entry.body["standing"])
            case "admitted":
                self._admit(entry)
            case "armed":
                self.epoch = max(self.epoch, entry.body["epoch"])
                if (run := self.runs.get(entry.run)) is not None:
                    run.epoch = entry.body["epoch"]
                    run.started = entry.time
                    run.timeline.add(entry.time, 0.0, "started", f"{run.percent:g} %, epoch {run.epoch}")
            case "tick" | "late":
                if (run := self.runs.get(entry.run)) is not None:
                    run.totals.add(entry.body["counts"])
            case "decision":
                if (run := self.runs.get(entry.run)) is not None:
                    run.percent = entry.body["percent"] or run.percent
                    run.timeline.add(entry.time, entry.time - (run.started or entry.time), entry.body["action"], entry.body["reason"])
            case "ended":
                if (run := self.runs.get(entry.run)) is not None:
                    _take_end(run, entry)

    def _stand(self, standing: Plain) -> None:
        self.epoch = max(self.epoch, standing["epoch"])
        for name, number in standing["numbers"].items():
            self.numbers[name] = max(self.numbers.get(name, 0), number)
        for of, totals in standing["totals"].items():
            if (run := self.runs.get(of)) is not None:
                run.totals = Totals()
                run.totals.add(totals)

    def _admit(self, entry: Entry) -> None:
        body = entry.body
        name, _, number = entry.run.rpartition("-")
        self.numbers[name] = max(self.numbers.get(name, 0), int(number))
        run = Run(int(number), experiment_from_plain(body["experiment"]), body["submitted_by"], is_dry=body["dry"], force=body["force"])
        run.admission, run.look_back, run.created = body["admission"], body.get("look_back"), entry.time
        if body.get("attached") is not None:  # an earlier version has none
            run.attachment = Attachment(body["attached"])
        run.life.become(State.ADMITTED)
        run.timeline.add(entry.time, None, "admitted", run.terms)
        self.runs[run.id] = run
        if len(self.runs) > RUNS_KEPT:
            oldest = next((one for one, kept in self.runs.items() if kept.life.has_ended), None)
            if oldest is not None:
                del self.runs[oldest]


def _take_end(run: Run, entry: Entry) -> None:
    """Bring back what was shown of a run when it had ended."""
    body, state = entry.body, State(entry.body["state"])
    if state is not State.ABORTED and run.state is State.ADMITTED:
        run.life.become(State.RUNNING)
    run.life.become(state)
    run.code, run.reason, run.ended = body["code"], body["reason"], entry.time
    document = body.get("document") or {}
    run.result = document.get("result", {})
    run.samples = document.get("samples", run.samples)
    run.timeline = Timeline(document["timeline"]) if "timeline" in document else run.timeline
    run.started = document.get("started", run.started)
    run.totals.unit_count = max(run.totals.unit_count, document.get("units", 0))
