"""The conductor of a rollout: from what workers counted to the next step, a pause, or the way back. Pure: time is in the ticks.

    start ─▶ running ──▶ completed ──▶ rolled back (by hand)
              │  ▲ │
        pause ▼  │ ╰──▶ rolled back
             paused ──▶ rolled back, completed (by hand)

A step is over when it has baked and is shown to be safe: errors worse by less than the margin. It ends earlier by hand only. The
rollout is rolled back when, at any moment and also while it is paused,

    errors    units fail on the new version more often than on the old one, and the error rate since that began to show is worse by over the margin
    p50, p99  latency is shown to be worse than allowed
    ring      the first ring is shown to fail more often than the stable half, by over the margin
    patience  a step was not shown to be safe in its time (not while it is paused)

One alpha for the whole rollout: half of it for errors, a quarter for latency (shared by steps and quantiles), a quarter for the ring. That a
step is safe is claimed wrongly with alpha in all, too. Halves that are not equally large (sample_ratio) make all of that void, so then it pauses.

At 100 % nothing is left to compare with: the rollout is completed, and says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments import half_evidence as evidence
from shadowproxy.experiments.rollout_counts import RolloutCounts
from shadowproxy.judge import wording

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.experiments import Rollout

IDLE: Final = "idle"
RUNNING: Final = "running"
PAUSED: Final = "paused"
ROLLED_BACK: Final = "rolled_back"
COMPLETED: Final = "completed"

MOVES: Final[Mapping[str, frozenset[str]]] = {
    IDLE: frozenset({RUNNING, COMPLETED}),
    RUNNING: frozenset({PAUSED, ROLLED_BACK, COMPLETED}),
    PAUSED: frozenset({RUNNING, ROLLED_BACK, COMPLETED}),
    COMPLETED: frozenset({ROLLED_BACK}),
    ROLLED_BACK: frozenset(),
}
"""Which state may follow which. What was rolled back does not begin again: the next start is another rollout."""

ORDERS: Final[Mapping[str, frozenset[str]]] = {
    "pause": frozenset({RUNNING}),
    "resume": frozenset({PAUSED}),
    "promote": frozenset({RUNNING, PAUSED}),
    "complete": frozenset({RUNNING, PAUSED}),
    "abort": frozenset({RUNNING, PAUSED, COMPLETED}),
}
"""What somebody may order, and in which states."""

LOOK_S: Final = 0.5
"""Seconds between looks at latencies and the ring, which take milliseconds; errors are looked at with every tick."""

MIN_UNITS: Final = 5
"""Different units that the canary half must have had before a step is called safe: what breaks for whole units is not seen in fewer."""

RATIO_LOG_E: Final = log(1000.0)
"""Evidence at which halves are called unequal: in one of a thousand rollouts by chance."""

BEGUN_LOG_E: Final = 1.5
"""Evidence above which a difference has begun to show: three failed units on one side, or as much."""

HISTORY_LIMIT: Final = 200
"""Events that are kept: steps, orders and what followed."""


@dataclass(frozen=True, slots=True)
class RolloutTick:
    """What one worker has counted since it last told (`Halves` of dataplane/messages.py), or nothing on a timer.

    `seconds` is how long the rollout has been under way, without the time in which nobody conducted it.
    """

    seconds: float
    counts: dict[str, Any]

    def to_plain(self) -> dict[str, Any]:
        """As JSON can say."""
        return {"seconds": self.seconds, "counts": self.counts}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> RolloutTick:
        """The way back."""
        return cls(float(plain["seconds"]), dict(plain["counts"]))


@dataclass(frozen=True, slots=True)
class RolloutDecision:
    """What is to be done: `action` is stay, step, pause, resume, roll_back or complete; `percent` the share from now on."""

    action: str
    percent: float
    code: str = ""
    reason: str = ""


class RolloutConductor:
    """One rollout. The same ticks and orders make the same document, live and in a replay.

    Attributes:
        state: one of MOVES.
        code, reason: of the last decision, as a word and a sentence.
        percent: the new version's share of the units now.
        seconds: of the last tick or order.
        counts: all that was counted.
    """

    def __init__(self, rollout: Rollout) -> None:
        self.rollout = rollout
        self.state = IDLE
        self.code = self.reason = ""
        self.percent = self.seconds = 0.0
        self.counts = RolloutCounts(has_units=bool(rollout.key))
        self.step = -1
        self._step_began = self._paused_at = 0.0
        self._is_ratio_accepted = False
        self._looked = -LOOK_S
        self._since = self.counts.errors()
        self._history: list[dict[str, Any]] = []

    def __repr__(self) -> str:
        return f"RolloutConductor({self.rollout.to}, {self.state}, {self.percent:g} %, {self.counts.failures!r})"

    # What happens.

    def start(self) -> RolloutDecision:
        """Begin with the first step."""
        return self._to_step(0, "start", "the rollout begins")

    def order(self, order: str, seconds: float, why: str = "") -> RolloutDecision:
        """Carry out what somebody ordered.

        Args:
            order: one of ORDERS; promote goes to the next step now, complete to 100 %.
            seconds: as in a tick.
            why: a sentence of theirs, which goes on record.

        Raises:
            ValueError: there is no such order, or none in this state.
        """
        if self.state not in ORDERS.get(order, ()):
            raise ValueError(f"a rollout that is {self.state.replace('_', ' ')} cannot be told to {order}")
        self.seconds = max(self.seconds, seconds)
        said = f": {why}" if why else ""
        if order == "pause":
            return self.pause("by_hand", f"paused by hand{said}")
        if order == "abort":
            return self.roll_back("by_hand", f"aborted by hand{said}")
        self._is_ratio_accepted = self._is_ratio_accepted or self.code == "sample_ratio"
        if order == "resume":
            self._become(RUNNING)
            self._step_began += self.seconds - self._paused_at
            return self._decided("resume", "by_hand", f"goes on{said}")
        last = len(self.rollout.steps) - 1
        return self._to_step(last if order == "complete" else self.step + 1, "promoted", f"promoted by hand, without waiting{said}")

    def tick(self, tick: RolloutTick) -> RolloutDecision:
        """Add what was counted, and decide.

        Raises:
            KeyError: the counts lack a member.
        """
        self.seconds = max(self.seconds, tick.seconds)
        if self.counts.failures.log_e < BEGUN_LOG_E:
            self._since = self.counts.errors()
        if tick.counts:
            self.counts.add(tick.counts)
        guarded = self._guard() if self.state in {RUNNING, PAUSED} else None
        if guarded is not None:
            return guarded
        if self.state != RUNNING:
            return RolloutDecision("stay", self.percent)
        if not self._is_ratio_accepted and self.counts.log_e_ratio >= RATIO_LOG_E:
            new, old = self.counts.halves
            return self.pause(
                "sample_ratio", f"the halves should be of equal size and are not: {new:,} on the new version, {old:,} on the old one"
            )
        elapsed = self.seconds - self._step_began
        if elapsed >= self.rollout.bake and self.is_safe:
            margin = f"errors worse by less than {self.rollout.margin:g} points"
            return self._to_step(self.step + 1, "safe", f"{self.percent:g} % is safe, {margin}")
        if elapsed > self.rollout.patience:
            waited = wording.seconds(self.rollout.patience)
            return self.roll_back("patience", f"{self.percent:g} % was not shown to be safe within {waited}: {self.lacking()}")
        return RolloutDecision("stay", self.percent)

    def pause(self, code: str, reason: str) -> RolloutDecision:
        """Take no further step; users stay where they are, and guards go on watching.

        Raises:
            ValueError: it is not running.
        """
        self._become(PAUSED)
        self._paused_at = self.seconds
        return self._decided("pause", code, reason)

    def roll_back(self, code: str, reason: str) -> RolloutDecision:
        """Everybody goes back to the old version.

        Raises:
            ValueError: it is over, or has not begun.
        """
        self._become(ROLLED_BACK)
        self._decided("roll_back", code, f"{reason}; {self.affected()}")
        self.percent = 0.0
        return RolloutDecision("roll_back", 0.0, code, self.reason)

    # How it decides.

    @property
    def is_safe(self) -> bool:
        """Whether the present step is shown to be worse by less than the margin."""
        return not self.lacking()

    def lacking(self) -> str:
        """What there is not enough of to call the step safe; empty when it is."""
        counts = self.counts
        canary, stable = counts.arms["step_canary"], counts.arms["step_stable"]
        if counts.has_units and counts.units["canary"].count < MIN_UNITS:
            without = f", and {wording.count(counts.without_unit, 'request')} named none" if counts.without_unit else ""
            return f"{wording.count(counts.units['canary'].count, 'unit')} had the new version, at least {MIN_UNITS} must{without}"
        if self.log_e_safe < self.safe_threshold:
            return f"too little is known after {canary.requests:,} and {stable.requests:,} requests of which {canary.errors:,} and {stable.errors:,} failed"
        return ""

    def _guard(self) -> RolloutDecision | None:
        """The way back, if there is a reason for it."""
        rollout, arms = self.rollout, self.counts.arms
        margin = rollout.margin / 100
        worse = self._recent_excess()
        if self.counts.failures.log_e >= self.error_threshold and worse > margin:
            return self.roll_back("errors", self._errors_sentence(worse))
        if self.seconds - self._looked < LOOK_S:
            return None
        self._looked = self.seconds
        for name, p in (("p50", 0.5), ("p99", 0.99)):
            _, low, _ = evidence.slowdown(arms["step_canary"], arms["step_stable"], p, self.latency_alpha)
            if low > 1 + rollout.slower / 100:
                shown = wording.percent(round(low - 1, 3))
                return self.roll_back(name, f"{name} is worse by at least {shown} at {self.percent:g} %, allowed are {rollout.slower:g} %")
        ring = arms["ring"]
        if ring.requests and evidence.ring_is_worse(ring, arms["stable"], margin, rollout.alpha / 4):
            return self.roll_back("ring", f"{ring.errors:,} of {ring.requests:,} requests of the first ring failed")
        return None

    def _recent_excess(self) -> float:
        """The canary's error rate less control's, since a difference began to show."""
        requests, errors, other_requests, other_errors = (
            now - before for now, before in zip(self.counts.errors(), self._since, strict=True)
        )
        return errors / max(1, requests) - other_errors / max(1, other_requests)

    def _errors_sentence(self, worse: float) -> str:
        failures = self.counts.failures
        noun = "unit" if self.counts.has_units else "request"
        return (
            f"errors are worse by about {wording.points(worse)} points at {self.percent:g} %: "
            f"{wording.count(failures.canary, noun)} failed on the new version, {failures.control:,} in an equal share on the old one"
        )

    def affected(self) -> str:
        """Who had the new version, as a sentence."""
        requests, errors = self.counts.served
        said = f"{wording.count(requests, 'request')} had the new version, {errors:,} of them failed"
        if not self.counts.has_units:
            return said
        units, harmed = self.counts.units["served"], self.counts.units["harmed"]
        about = "" if units.is_exact else "about "
        return f"{about}{wording.count(units.count, 'unit')} affected, {harmed.count:,} of them by errors ({said})"

    @property
    def log_e_safe(self) -> float:
        """Log evidence that this step's errors are worse by less than the margin."""
        arms = self.counts.arms
        return evidence.log_e_safe(arms["step_canary"], arms["step_stable"], self.rollout.margin / 100)

    @property
    def error_threshold(self) -> float:
        """Log evidence of new errors at which it is rolled back."""
        return log(2 / self.rollout.alpha)

    @property
    def safe_threshold(self) -> float:
        """Log evidence at which a step is safe."""
        return log(len(self.rollout.steps) / self.rollout.alpha)

    @property
    def latency_alpha(self) -> float:
        """The false-alarm probability of one quantile of one step."""
        return self.rollout.alpha / (8 * len(self.rollout.steps))

    # What it does.

    def _become(self, state: str) -> None:
        """The one way to another state.

        Raises:
            ValueError: that state cannot follow.
        """
        if state not in MOVES[self.state]:
            raise ValueError(f"a rollout that is {self.state.replace('_', ' ')} cannot become {state.replace('_', ' ')}")
        self.state = state

    def _to_step(self, step: int, code: str, reason: str) -> RolloutDecision:
        is_last = step + 1 == len(self.rollout.steps)
        if is_last or self.state != RUNNING:
            self._become(COMPLETED if is_last else RUNNING)
        self.step = step
        self.percent = float(self.rollout.steps[step])
        self._step_began = self.seconds
        self.counts.begin_step()
        return self._decided("complete" if is_last else "step", code, reason)

    def _decided(self, action: str, code: str, reason: str) -> RolloutDecision:
        self.code, self.reason = code, reason
        self._history.append({"seconds": round(self.seconds, 3), "event": action, "percent": self.percent, "code": code, "reason": reason})
        del self._history[1 : 1 - HISTORY_LIMIT]
        return RolloutDecision(action, self.percent, code, reason)

    # What is told and kept.

    @property
    def step_seconds(self) -> float:
        """How long the present step has baked; the time in which it was paused does not count."""
        return (self._paused_at if self.state == PAUSED else self.seconds) - self._step_began

    def document(self) -> dict[str, Any]:
        """Where it stands, and why: what the admin API tells."""
        counts, rollout = self.counts, self.rollout
        arms = counts.arms
        estimate, low, high = evidence.excess(arms["step_canary"], arms["step_stable"], rollout.alpha)
        requests, errors = counts.served
        return {
            "state": self.state,
            "code": self.code,
            "reason": self.reason,
            "percent": self.percent,
            "step": self.step,
            "steps": list(rollout.steps),
            "seconds": round(self.seconds, 3),
            "step_seconds": round(self.step_seconds, 3),
            "bake": rollout.bake,
            "patience": rollout.patience,
            "lacking": self.lacking() if self.state in {RUNNING, PAUSED} else "",
            "affected": {
                "units": counts.units["served"].count if counts.has_units else None,
                "harmed_units": counts.units["harmed"].count if counts.has_units else None,
                "is_exact": counts.units["served"].is_exact,
                "requests": requests,
                "failed_requests": errors,
            },
            "halves": {
                "canary": {**evidence.shown(arms["canary"]), "units": counts.halves[0], "failed_units": counts.failures.canary},
                "stable": {**evidence.shown(arms["stable"]), "units": counts.halves[1], "failed_units": counts.failures.control},
            },
            "ring": evidence.shown(arms["ring"]),
            "more": evidence.shown(arms["more"]),
            "outside": counts.outside,
            "without_unit": counts.without_unit,
            "excess": {"estimate": estimate, "low": low, "high": high},
            "slower": {name: self._slowdown(p) for name, p in (("p50", 0.5), ("p99", 0.99))},
            "evidence": {
                "errors": {"log_e": counts.failures.log_e, "threshold": self.error_threshold},
                "safe": {"log_e": self.log_e_safe, "threshold": self.safe_threshold},
                "sample_ratio": {"log_e": counts.log_e_ratio, "threshold": RATIO_LOG_E},
            },
            "history": list(self._history),
        }

    def _slowdown(self, p: float) -> dict[str, float | None]:
        arms = self.counts.arms
        estimate, low, high = evidence.slowdown(arms["step_canary"], arms["step_stable"], p, self.latency_alpha)
        return {"estimate": estimate, "low": low, "high": high}

    def snapshot(self) -> dict[str, Any]:
        """All that it knows, as JSON can say: what a restart goes on with."""
        return {
            "state": self.state,
            "code": self.code,
            "reason": self.reason,
            "percent": self.percent,
            "step": self.step,
            "seconds": self.seconds,
            "step_began": self._step_began,
            "paused_at": self._paused_at,
            "is_ratio_accepted": self._is_ratio_accepted,
            "since": list(self._since),
            "history": list(self._history),
            "counts": self.counts.to_plain(),
        }

    @classmethod
    def resumed(cls, rollout: Rollout, snapshot: Mapping[str, Any]) -> RolloutConductor:
        """The conductor that a snapshot is of.

        Raises:
            KeyError, TypeError, ValueError: it is no snapshot of such a rollout.
        """
        made = cls(rollout)
        made.state = str(snapshot["state"])
        made.step = int(snapshot["step"])
        if made.state not in MOVES or not -1 <= made.step < len(rollout.steps):
            raise ValueError(f"no rollout is {made.state} at step {made.step} of {len(rollout.steps)}")
        made.code, made.reason = str(snapshot["code"]), str(snapshot["reason"])
        made.percent, made.seconds = float(snapshot["percent"]), float(snapshot["seconds"])
        made._step_began, made._paused_at = float(snapshot["step_began"]), float(snapshot["paused_at"])
        made._is_ratio_accepted = bool(snapshot["is_ratio_accepted"])
        requests, errors, other_requests, other_errors = (int(number) for number in snapshot["since"])
        made._since = (requests, errors, other_requests, other_errors)
        made._history = [dict(event) for event in snapshot["history"]]
        made.counts = RolloutCounts.from_plain(snapshot["counts"], has_units=bool(rollout.key))
        return made
