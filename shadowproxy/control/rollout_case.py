"""One rollout as control holds it: its conductor with what stands beside it, and the row that outlives the process."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.experiments import Rollout
from shadowproxy.config.plain import value_to_plain
from shadowproxy.config.read import read_object
from shadowproxy.config.report import Report
from shadowproxy.config.shape import shape_of
from shadowproxy.experiments.rollout import COMPLETED, PAUSED, RUNNING, RolloutConductor

if TYPE_CHECKING:
    from collections.abc import Iterable

Plain = dict[str, Any]

VERSION: Final = 1
"""Of rows: one of another is not read."""

SPLIT_IN: Final = frozenset({RUNNING, PAUSED, COMPLETED})
"""States in which the new version has users."""


@dataclass(slots=True, eq=False)
class Case:
    """A rollout.

    Attributes:
        epoch: which rollout of the route it is, from 1.
        live: the fleet with the old version when it began.
        percent: what workers were told, or will find in their policy: never more than what is durable.
        base: seconds of the rollout before `since`, when it was begun or taken up, on the monotonic clock.
        is_adopted: whether the config has made the new version live, so that nothing is left to split.
        written: the mark of the row that is in the store.
    """

    route: str
    epoch: int
    live: str
    by: str
    started: float
    conductor: RolloutConductor
    percent: float = 0.0
    ended: float | None = None
    base: float = 0.0
    since: float = 0.0
    problem: str = ""
    is_adopted: bool = False
    written: tuple[object, ...] = field(default=(), repr=False)

    @property
    def id(self) -> str:
        """Its name among all rollouts."""
        return f"{self.route}-{self.epoch}"

    @property
    def rollout(self) -> Rollout:
        """The settings that it began with."""
        return self.conductor.rollout

    @property
    def is_open(self) -> bool:
        """Whether something can still happen to it by itself."""
        return self.conductor.state in {RUNNING, PAUSED}

    def seconds(self, now: float) -> float:
        """How long it has been under way, without the time in which nobody conducted it."""
        return self.base + max(0.0, now - self.since)

    @property
    def mark(self) -> tuple[object, ...]:
        """Changes whenever the row would, but for the clock."""
        conductor = self.conductor
        requests, _ = conductor.counts.served
        stable = conductor.counts.arms["stable"].requests
        return conductor.state, conductor.step, conductor.code, self.percent, requests, stable, self.ended

    def split(self, denied: Iterable[str]) -> Plain | None:
        """The Split of the protocol; None where nobody has the new version."""
        rollout = self.rollout
        if self.conductor.state not in SPLIT_IN or self.is_adopted:
            return None
        return {
            "route": self.route,
            "live": self.live,
            "to": rollout.to,
            "percent": self.percent,
            "unit": rollout.key,
            "salt": rollout.salt,
            "pinned": list(rollout.pinned),
            "first": list(rollout.first),
            "denied": list(denied),
            "epoch": self.epoch,
        }

    def document(self) -> Plain:
        """What the admin API tells."""
        return {
            "route": self.route,
            "id": self.id,
            "epoch": self.epoch,
            "live": self.live,
            "to": self.rollout.to,
            "by": self.by,
            "started": self.started,
            "ended": self.ended,
            "problem": self.problem or None,
            "key": self.rollout.key,
            "pinned": len(self.rollout.pinned),
            "first": len(self.rollout.first),
            "is_adopted": self.is_adopted,
            **self.conductor.document(),
            "percent": self.percent if self.conductor.state in SPLIT_IN else 0.0,
        }

    def plain(self, pending: float = 0.0) -> Plain:
        """All of it, as JSON can say; `pending` is the share that workers are told of once this is durable."""
        return {
            "version": VERSION,
            "route": self.route,
            "epoch": self.epoch,
            "live": self.live,
            "by": self.by,
            "started": self.started,
            "ended": self.ended,
            "percent": max(self.percent, pending),
            "rollout": value_to_plain(shape_of(Rollout), self.rollout),
            "snapshot": self.conductor.snapshot(),
        }

    @classmethod
    def from_row(cls, text: str, now: float) -> Case:
        """The way back from `plain` as text; `now` is the monotonic clock.

        Raises:
            KeyError, TypeError, ValueError: the row cannot be read.
        """
        row: Plain = json.loads(text)
        if row["version"] != VERSION:
            raise ValueError(f"a row of version {row['version']}, not {VERSION}")
        report = Report()
        rollout: Rollout = read_object(Rollout, row["rollout"], "", report)
        if report.has_errors:
            raise ValueError("its settings are no longer any")
        conductor = RolloutConductor.resumed(rollout, row["snapshot"])
        case = cls(str(row["route"]), int(row["epoch"]), str(row["live"]), str(row["by"]), float(row["started"]), conductor)
        case.ended = None if row["ended"] is None else float(row["ended"])
        case.percent = float(row["percent"])
        case.base, case.since = conductor.seconds, now
        case.written = case.mark
        return case
