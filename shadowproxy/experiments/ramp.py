"""From small to large, a step at a time: the next begins when this one has lasted and is shown to be safe.

A step is safe when the slice with the fault fails more often than control by less than `sequential.margin` points, by a bound that holds at
any time. Every step asks with evidence of its own, for what a fault does may depend on how many have it. One alpha is for all of them: with k
steps each has alpha / k, so that the chance that any step is called safe wrongly is at most alpha over the whole ramp.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from shadowproxy.config.experiment import Experiment
    from shadowproxy.experiments.evidence import Evidence

RUNNING, SAFE, PAUSED, ENDED = "running", "safe", "paused", "ended"


@dataclass(slots=True)
class Step:
    """One stretch of a run with one share of the units; seconds since the run began."""

    percent: float
    begun: float
    ended: float | None = None
    outcome: str = RUNNING


class Ramp:
    """Where a run stands on its ramp.

    Attributes:
        alpha: of each step.

    """

    def __init__(self, experiment: Experiment) -> None:
        self._steps = tuple(float(step) for step in experiment.ramp.steps) or (float(experiment.slice.percent),)
        self._every = float(experiment.ramp.every)
        self._margin = experiment.sequential.margin / 100.0
        self.alpha = experiment.sequential.alpha / len(self._steps)
        self._at = 0
        self._past: list[Step] = [Step(self._steps[0], 0.0)]

    def __repr__(self) -> str:
        return f"Ramp({self.percent:g} %, step {self._at + 1} of {len(self._steps)})"

    @property
    def percent(self) -> float:
        """Share of the units of the present step, whether or not it is paused."""
        return self._steps[self._at]

    @property
    def is_last(self) -> bool:
        """Whether there is no further step."""
        return self._at == len(self._steps) - 1

    def is_safe(self, evidence: Evidence) -> bool:
        """Whether the present step is shown to be safe."""
        return evidence.is_safe(self._margin, self.alpha)

    def may_rise(self, now: float, evidence: Evidence) -> bool:
        """Whether the next step may begin."""
        return not self.is_last and now - self._past[-1].begun >= self._every and self.is_safe(evidence)

    def rise(self, now: float) -> float:
        """Begin the next step; its percent is returned."""
        self._at += 1
        self._follow(now, SAFE)
        return self.percent

    def pause(self, now: float) -> None:
        """The present step stops."""
        self._close(now, PAUSED)

    def resume(self, now: float) -> None:
        """The step goes on that was paused, and lasts anew."""
        self._past.append(Step(self.percent, now))

    def end(self, now: float, outcome: str) -> None:
        """The run is over."""
        self._close(now, outcome)

    def _follow(self, now: float, outcome: str) -> None:
        self._close(now, outcome)
        self._past.append(Step(self.percent, now))

    def _close(self, now: float, outcome: str) -> None:
        last = self._past[-1]
        if last.ended is None:
            last.ended, last.outcome = now, outcome

    def to_plain(self) -> list[dict[str, Any]]:
        """As run documents have it: each stretch in order, the last still running while `to_s` is None."""
        return [{"percent": step.percent, "from_s": step.begun, "to_s": step.ended, "outcome": step.outcome} for step in self._past]
