"""The brain of a run: ticks in, decisions out. Nothing here knows a clock, chance or a socket, so a journal of ticks can be played again.

    Tick ──▶ count ──▶ is something used up, is harm shown, has a guard tripped? ──▶ end
                   ├─▶ does harm show in another cell (containment)? ──▶ pause, and end, or resume
                   ├─▶ is something else wrong (environment)? ──▶ pause, and resume or end
                   ├─▶ is the time over? ──▶ end
                   └─▶ is this step safe? ──▶ ramp

What comes first decides when several are true in one tick:

1. what is used up (units, requests, error budget), which is counted and not estimated;
2. harm of the slice with the fault *beyond* control: it is never excused, whatever else goes on;
3. guards. One that is true only because control moved as well is excused (environment.py) and pauses the run; if any is not, the run is aborted;
4. harm in a cell that the fault does not reach: pause, whatever the reason, for harm that leaves its cell must stop at once;
5. an incident that control or the steady state shows by itself: pause;
6. the end of the time; 7. the next step.

A pause injects nothing and learns nothing: evidence and guards stand still, and begin anew when the run goes on. It ends when all has been well
for RECOVERY_S. When it is not well after ENVIRONMENT_S, or for the fourth time in PAUSES_S, the run is aborted with code "environment".

A pause for another cell is an experiment of its own. When the cell recovers while nothing is injected, the fault was not contained: the run is
aborted with code "containment". When it does not, or when the control slice was bad beside it (at the alarm, or later, when nothing had been injected
for a while), it is an incident like any other. But at the alarm that excuses once in PAUSES_S: control is in the cell with the fault, and may be its victim, too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, Final, Literal, cast

from shadowproxy.experiments import document
from shadowproxy.experiments.budget import Spending
from shadowproxy.experiments.containment import Containment
from shadowproxy.experiments.environment import Environment
from shadowproxy.experiments.errorrate import LAG_S, RECENT_S
from shadowproxy.experiments.evidence import Evidence
from shadowproxy.experiments.guards import UNKNOWN_INTERVALS, Guards, Reading, Readings, reading_of
from shadowproxy.experiments.ramp import Ramp
from shadowproxy.experiments.slicecounts import Series, Slices, counts_of
from shadowproxy.judge import wording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.experiment import Experiment

ENVIRONMENT_S: Final = 30.0
"""How long the environment may be bad: a deployment's blip or a failover is over by then, and nobody should have to wait for an incident to end."""

RECOVERY_S: Final = 5.0
"""How long all must be well before a run goes on; control is looked at over five seconds, so that ten have been good."""

PAUSES: Final = 3
"""How often within PAUSES_S a run goes on. If it is bad again each time, the fault may reach further than its slice."""

PAUSES_S: Final = 600.0
"""As long as the history that control is held against: a burst now and then ends no run of a day."""

Action = Literal["go", "ramp", "pause", "resume", "end"]
State = Literal["", "completed", "aborted", "expired", "killed"]


@dataclass(frozen=True, slots=True)
class Tick:
    """What became known at one moment.

    Attributes:
        seconds: since the run began; never less than that of the tick before.
        counts: of one worker, an Exposure of dataplane/messages.py without samples and units; {} on a timer. Beside it `expect` ({index: [held, looked at]},
            since the tick before), `units` (different ones so far, of all workers), `repeats` (most faults of one so far) and `cells` (of those without the
            fault [answers, errors], since the tick before).
        probes: the values that are known, None for one that could not be read.

    """

    seconds: float
    counts: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, float | None] = field(default_factory=dict)

    def to_plain(self) -> dict[str, Any]:
        """As a journal has it."""
        return {"seconds": self.seconds, "counts": self.counts, "probes": self.probes}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Tick:
        """What `to_plain` was made of."""
        return cls(plain["seconds"], dict(plain["counts"]), dict(plain["probes"]))


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be done after a tick.

    Attributes:
        action: "go" changes nothing; "end" is for good.
        state: what the run has become, of an "end".
        code: why, in a word; "" for "go".
        reason: why, in a sentence with numbers.
        percent: share of the units that has the fault from now on; 0 while paused and after the end.

    """

    action: Action
    state: State = ""
    code: str = ""
    reason: str = ""
    percent: float = 0.0


class Conductor:
    """Decides about one run, tick by tick, and tells how it stands."""

    def __init__(
        self,
        experiment: Experiment,
        *,
        error_budget: float | None = None,
        steady: Mapping[str, Mapping[str, float | None]] | None = None,
        containment: Mapping[str, Any] | None = None,
    ) -> None:
        """Begin a run.

        Args:
            experiment: what is run.
            error_budget: bad answers that it may add; None for no limit.
            steady: for each probe of the steady state its `baseline`, and the `low` and `high` that it must be within.
            containment: what other cells were before, as `Containment` takes it; None for a run that is confined to none.

        """
        self.experiment = experiment
        self.steady = {name: dict(bounds) for name, bounds in (steady or {}).items()}
        self.evidence = Evidence(experiment.sequential)
        self.slices = Slices()
        self.series = Series()
        self.guards = Guards(experiment)
        self.ramp = Ramp(experiment)
        self.spending = Spending(experiment.budget, error_budget)
        self.environment = Environment()
        self.containment = Containment(containment)
        self.is_accused = False
        """Whether the run is paused because the fault may do harm in another cell."""
        self._excused_at = -inf
        self.probes: dict[str, Reading] = {}
        self.expected = [[0, 0] for _ in experiment.expect]
        self.end: Decision | None = None
        self.is_stopped = False
        """Whether it was ended by somebody else: a person, the kill switch, a lease that ran out."""
        self.is_paused = False
        self._pauses: list[float] = []
        self._now = 0.0
        self._patience_s = {probe.name: UNKNOWN_INTERVALS * probe.every for probe in experiment.probes}
        self._paused_at = 0.0
        self.pause_reason = ""
        self._well_since: float | None = None

    def __repr__(self) -> str:
        return f"Conductor({self.experiment.name}, {self.percent:g} %, {self.end.code if self.end else 'paused' if self.is_paused else 'running'})"

    @property
    def seconds(self) -> float:
        """How long it had run when something was told of it last."""
        return self._now

    @property
    def percent(self) -> float:
        """Share of the units that has the fault now; before the first tick that of the first step."""
        return 0.0 if self.is_paused or self.end is not None else self.ramp.percent

    def tick(self, tick: Tick) -> Decision:
        """Count what became known and decide. After the end the answer is always that end."""
        if self.end is not None:
            return self.end
        now = tick.seconds
        self._count(tick)
        if self.is_paused:
            return self._while_paused(now)
        return (
            self._stop(now)
            or self._pause_if_uncontained(now)
            or self._pause_if_environment(now)
            or self._finish(now)
            or self._rise(now)
            or Decision("go", percent=self.ramp.percent)
        )

    def stop(self, seconds: float, state: str, code: str, reason: str) -> None:
        """Take note of an end that was not decided here; after one that was, of nothing.

        Args:
            seconds: since the run began.
            state: what the run has become.
            code: why, in a word.
            reason: why, in a sentence.
        """
        if self.end is None:
            self._now = max(self._now, seconds)
            self._end(self._now, cast("State", state), code, reason)
            self.is_stopped = True

    def document(self) -> dict[str, Any]:
        """How the run stands, as plain JSON: verdict, slices, evidence, guards, ramp. The same ticks give the same bytes."""
        return document.document(self)

    # Counting.

    def _count(self, tick: Tick) -> None:
        now, counts = tick.seconds, tick.counts
        self._now = now
        for name, value in tick.probes.items():
            known = reading_of(value, now, self.probes.get(name))
            if known is not None:
                self.probes[name] = known
        slices = Slices(counts_of(counts.get("fault")), counts_of(counts.get("control")))
        self.spending.add(counts)
        self.series.add(now, slices, self.percent)
        self.environment.add(now, slices, is_paused=self.is_paused)
        self.containment.add(now, counts.get("cells", {}), is_paused=self.is_paused)
        if self.is_paused:
            return
        self.slices.add(slices)
        self.evidence.expect(self._expected_errors(now))
        self.evidence.add(slices)
        self.guards.add(now, slices)
        for index, (held, looked_at) in counts.get("expect", {}).items():
            known_counts = self.expected[int(index)]
            known_counts[0] += held
            known_counts[1] += looked_at

    def _expected_errors(self, now: float) -> float:
        """Errors of both slices in a whole run, at the rate of control so far."""
        fault, control = self.slices.fault, self.slices.control
        rate = (control.error_rate or 0.0) * (fault.answered + control.answered)
        return rate * self.experiment.duration / now if now > 0 else 0.0

    # Deciding. Each of these returns None when it has nothing to say.

    def _stop(self, now: float) -> Decision | None:
        spent = self.spending.used_up(self.slices, self.evidence)
        if spent is not None:
            return self._end(now, "aborted", *spent)
        if self.evidence.is_shown:
            code = "harm_late" if self.evidence.is_late else "harm"
            return self._end(now, "aborted", code, document.harm(self.slices, self.evidence))
        tripped = self.guards.look(now, Readings(self.spending.units, self.spending.repeats, self.probes))
        guilty = next((watch for watch in tripped if not watch.is_excused(self.environment)), None)
        if guilty is None and tripped and (self._may_pause(now) or self.environment.is_alarmed):
            return self._pause(now, f"{tripped[0].sentence}; the control slice has moved as well, which has no fault")
        if tripped:
            # What was excused again and again, and control has no incident of its own, is not excused for ever.
            guilty = guilty or tripped[0]
            guilty.has_tripped = True
            return self._end(now, "aborted", guilty.code, guilty.sentence)
        return None

    def _pause_if_uncontained(self, now: float) -> Decision | None:
        if not self.containment.is_alarmed:
            return None
        reason = self.containment.harm()
        self.containment.accuse(now)
        has_control_moved = self.environment.is_alarmed or self.environment.is_elevated()
        if has_control_moved and now - self._excused_at > PAUSES_S:
            self._excused_at = now
            return self._pause(now, f"{reason}; the control slice has moved as well, which has no fault either")
        decision = self._pause(now, reason, "containment")
        self.is_accused = self.is_paused
        return decision

    def _pause_if_environment(self, now: float) -> Decision | None:
        if self.environment.is_alarmed:
            recent, before = self.environment.rates
            return self._pause(
                now,
                f"the control slice, which has no fault, fails on {wording.percent(round(recent or 0.0, 4))} of its requests; before it was {wording.percent(round(before or 0.0, 4))}",
            )
        unwell = self.unwell()
        if unwell:
            return self._pause(now, f"{unwell}, and the slice with the fault is not shown to fail more often than control")
        return None

    def _may_pause(self, now: float) -> bool:
        """Whether the run has not been paused too often of late."""
        self._pauses = [begun for begun in self._pauses if now - begun < PAUSES_S]
        return len(self._pauses) < PAUSES

    def _pause(self, now: float, reason: str, code: str = "environment") -> Decision:
        if not self._may_pause(now):
            last = f"it went well again {PAUSES} times while nothing was injected, so the fault may reach further than its slice"
            return self._end(now, "aborted", "environment", f"{reason}; {last}")
        self._pauses.append(now)
        self.is_paused = True
        self._paused_at = now
        self.pause_reason = reason
        self._well_since = None
        self.ramp.pause(now)
        return Decision("pause", code=code, reason=reason, percent=0.0)

    def _while_paused(self, now: float) -> Decision:
        is_control_well = self.environment.is_well() and not self.unwell()
        if not is_control_well and now - self._paused_at > RECENT_S + LAG_S:
            # What is wrong there, long after the last fault, is none of it; nor then what is wrong in another cell.
            self.is_accused = False
        is_well = is_control_well and self.containment.is_well(now)
        if not is_well:
            self._well_since = None
        elif self._well_since is None:
            self._well_since = now
        if now >= self.experiment.duration:
            return self._end(now, "aborted", "environment", f"{self.pause_reason}; the time was over before all was well again")
        if self._well_since is None:
            lasted = now - self._paused_at
            if lasted >= ENVIRONMENT_S:
                return self._end(
                    now, "aborted", "environment", f"{self.pause_reason}; it was not over after {lasted:.0f} s without any fault"
                )
            return Decision("go", percent=0.0)
        if now - self._well_since < RECOVERY_S:
            return Decision("go", percent=0.0)
        return self._convict(now) if self.is_accused else self._resume(now)

    def _convict(self, now: float) -> Decision:
        """Another cell looks well again: blame the fault once that is no chance."""
        lasted = now - self._paused_at
        if self.containment.has_recovered:
            said = f"{self.pause_reason}. It ended with the fault: of late {self.containment.recovery()}"
            return self._end(now, "aborted", "containment", said)
        if lasted >= ENVIRONMENT_S:
            said = f"{self.pause_reason}; after {lasted:.0f} s without any fault too few answers say whether it is over"
            return self._end(now, "aborted", "environment", said)
        return Decision("go", percent=0.0)

    def _resume(self, now: float) -> Decision:
        self.is_paused = False
        self.ramp.resume(now)
        self.environment.resume()
        self.containment.resume()
        self.evidence.restart()
        self.guards.restart()
        return Decision("resume", code="recovered", reason=f"all has been well for {RECOVERY_S:g} s", percent=self.ramp.percent)

    def unwell(self) -> str:
        """Which probe is outside its steady state, and by how much; "" while none is known to be."""
        for name, bounds in self.steady.items():
            value = self.value_of(name)
            if value is not None and not document.is_well(value, bounds):
                return f"probe {name} is {value:.6g}, outside its steady state ({document.range_of(bounds)})"
        return ""

    def value_of(self, probe: str) -> float | None:
        """The last value of a probe; None before the first, and when it could not be read for UNKNOWN_INTERVALS of its intervals."""
        reading = self.probes.get(probe)
        return None if reading is None or self._now - reading.read > self._patience_s.get(probe, inf) else reading.value

    def _finish(self, now: float) -> Decision | None:
        if now < self.experiment.duration:
            return None
        return self._end(now, "completed", "finished", f"its time of {self.experiment.duration:g} s is over")

    def _rise(self, now: float) -> Decision | None:
        if self.unwell() or not self.guards.is_quiet or not self.ramp.may_rise(now, self.evidence):
            return None
        before = self.ramp.percent
        step = self.evidence.of_step
        margin = self.experiment.sequential.margin
        reason = f"at {before:g} % the slice fails more often than control by less than {margin:g} points, estimated at {wording.points(step.estimate or 0.0, is_signed=True)}"
        percent = self.ramp.rise(now)
        self.evidence.begin_step()
        return Decision("ramp", code="safe", reason=reason, percent=percent)

    def _end(self, now: float, state: State, code: str, reason: str) -> Decision:
        self.ramp.end(now, "finished" if state == "completed" else state)
        self.end = Decision("end", state, code, reason, 0.0)
        return self.end
