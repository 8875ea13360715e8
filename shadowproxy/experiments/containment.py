"""Containment: whether a fault that is confined to some cells does harm in another one.

Faults keep to their cells; what they lead to need not: a pool that is shared, a queue that fills, clients that go elsewhere. So each other
cell is held against what it was before the first fault, by what its endpoints answered (which no fault can have made up). That history
stays as it is for the whole run: harm that grows slowly never becomes what is usual.

*Has harm shown?* The detector of errorrate.py says so, cell by cell.

*Is it the fault's doing?* An alarm stops the fault, and what happens then tells, from LAG_S later on: requests that were under way end as they do.
A cell has **recovered** when it fails no more than is no
incident for as long as the conductor asks, and when so few errors as since then would come by chance of at most CHANCE_RECOVERED, were it as it was.
A cell that is as bad without the fault is not its victim.

A cell with too little history is not watched, and says so. Silence is no harm here: requests may go elsewhere for many a reason.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import inf, log
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.errorrate import (
    ALARM_ANSWERS,
    CERTAIN_RATE,
    HISTORY_LEAST,
    LAG_S,
    RECENT_S,
    Detector,
    is_beyond,
    tail,
    tolerated_rate,
)
from shadowproxy.experiments.slicecounts import Counts, Slices, Window
from shadowproxy.judge import wording

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

CHANCE_RECOVERED: Final = 0.01
"""That a cell which is as bad as before looks as well as this: a fault is blamed for what ends with it."""

NAMED: Final = 3
"""Cells of which a sentence says something; the document has all."""


@dataclass(slots=True)
class Cell:
    """One cell without a fault.

    Attributes:
        name: its label.
        before: what its endpoints answered before the first fault.
        seen: what they answered while something was injected.
        alarmed_rate: how often it failed when it alarmed last; None while it never has.

    """

    name: str
    before: Counts
    seen: Counts = field(default_factory=Counts)
    alarmed_rate: float | None = None
    detector: Detector = field(default_factory=Detector)
    recent: Window = field(default_factory=lambda: Window(RECENT_S))
    since_well: Counts = field(default_factory=Counts)

    @property
    def tolerated(self) -> float | None:
        """The greatest error rate that is no harm; None for a cell that is not watched."""
        return tolerated_rate(self.before)

    def add(self, now: float, counts: Counts, *, is_paused: bool) -> None:
        """Count what was answered of late."""
        self.recent.add(now, Slices(control=counts))
        if is_paused:
            if self.is_well:
                self.since_well.add(counts)
            else:
                self.since_well = Counts()
        else:
            self.seen.add(counts)
            self.detector.add(counts, self.tolerated)

    @property
    def is_well(self) -> bool:
        """Whether it fails no more of late than is no harm, as far as can be told."""
        tolerated = self.tolerated
        return tolerated is None or not is_beyond(self.recent.slices.control, tolerated)

    @property
    def has_recovered(self) -> bool:
        """Whether so few errors since it has been well are no chance, were it as bad as when it alarmed."""
        well, rate = self.since_well, self.alarmed_rate
        return rate is not None and tail(well.answered - well.errors, well.answered, 1.0 - rate) <= CHANCE_RECOVERED and self.is_well

    def accuse(self) -> None:
        """Keep how bad it is, to tell later whether that is over."""
        # Ten of ten failed, and yet the next might not have: one good answer proves nothing.
        self.alarmed_rate = min(CERTAIN_RATE, max(self.recent.slices.control.error_rate or 0.0, self.tolerated or 0.0))
        self.since_well = Counts()
        self.recent.clear()

    def to_plain(self) -> dict[str, Any]:
        """As run documents have it: rates from 0 to 1, the detector as a logarithm."""
        value = self.detector.log_value
        return {
            "cell": self.name,
            "is_watched": self.tolerated is not None,
            "before": {"answers": self.before.answered, "errors": self.before.errors, "error_rate": self.before.error_rate},
            "answers": self.seen.answered,
            "errors": self.seen.errors,
            "error_rate": self.seen.error_rate,
            "tolerated": self.tolerated,
            "alarmed_rate": self.alarmed_rate,
            "detector": None if value == -inf else value,
            "threshold": log(ALARM_ANSWERS),
        }


class Containment:
    """All cells beside those with the fault.

    Args:
        told: `before`, with [answers, errors] of each of them before the first fault, and `unwatched`, why nothing is watched or "". None for a run that
            is confined to no cell, or whose journal is of an earlier version.

    """

    def __init__(self, told: Mapping[str, Any] | None) -> None:
        self._is_told = told is not None
        self._unwatched: str = told["unwatched"] if told else ""
        before = told["before"] if told else {}
        self._asks_from = -inf
        self._cells = {name: Cell(name, _counts(before[name])) for name in sorted(before)}
        self._alarmed: list[Cell] = []

    def __repr__(self) -> str:
        return f"Containment({', '.join(f'{cell.name}: {cell.detector}' for cell in self._cells.values())})"

    def add(self, now: float, told: Mapping[str, Sequence[int]], *, is_paused: bool) -> None:
        """Count what cells have answered since the last tick: [answers, errors] of each."""
        if is_paused and now < self._asks_from:
            return
        # Silence is looked at in a pause alone: there may be hundreds of cells, and fifty ticks a second.
        cells = [cell for name, cell in self._cells.items() if is_paused or name in told]
        for cell in cells:
            cell.add(now, _counts(told.get(cell.name, (0, 0))), is_paused=is_paused)
        if not is_paused:
            self._alarmed = [cell for cell in cells if cell.detector.is_alarmed]

    @property
    def is_alarmed(self) -> bool:
        """Whether harm shows in a cell."""
        return bool(self._alarmed)

    def accuse(self, now: float) -> None:
        """Keep how bad the alarmed cells are; whether they recover is asked LAG_S from `now` on."""
        self._asks_from = now + LAG_S
        for cell in self._alarmed:
            cell.accuse()

    def harm(self) -> str:
        """Which cells are alarmed, and by how much they fail more often."""
        return _named(
            [
                f"cell {cell.name}, which has no fault, failed on {_rate(cell.recent.slices.control)} of its requests over the last {RECENT_S:g} s "
                f"({_failed(cell.recent.slices.control)}); before the run it was {_rate(cell.before)}"
                for cell in self._alarmed
            ]
        )

    def is_well(self, now: float) -> bool:
        """Whether no cell fails more often of late than is no harm, as far as can be told."""
        return now >= self._asks_from and all(cell.is_well for cell in self._cells.values())

    @property
    def has_recovered(self) -> bool:
        """Whether all cells that were accused are shown to be better."""
        return all(cell.has_recovered for cell in self._alarmed)

    def recovery(self) -> str:
        """What has come of those that were accused."""
        return _named([f"cell {cell.name} fails on {_rate(cell.since_well)} ({_failed(cell.since_well)})" for cell in self._alarmed])

    def resume(self) -> None:
        """The experiment goes on: what was unlike history is over."""
        for cell in self._cells.values():
            cell.detector.restart()
            cell.recent.clear()
        self._alarmed = []

    def to_plain(self) -> dict[str, Any] | None:
        """As run documents have it; None where nothing is to be contained."""
        if not self._is_told:
            return None
        blind = [cell.name for cell in self._cells.values() if cell.tolerated is None]
        unwatched = self._unwatched
        if blind:
            unwatched = (
                f"{_named([f'cell {name}' for name in blind])} had fewer than {HISTORY_LEAST} answers in the ten minutes before the run"
            )
        return {
            "is_watched": len(blind) < len(self._cells),
            "unwatched": unwatched,
            "cells": [cell.to_plain() for cell in self._cells.values()],
        }


def _named(said: Sequence[str]) -> str:
    """What is said of cells, of the first NAMED of them."""
    more = len(said) - NAMED
    return wording.listed([*said[:NAMED], wording.count(more, "other cell")] if more > 0 else said)


def _counts(told: Sequence[int]) -> Counts:
    answered, errors = told
    return Counts(answered, answered, errors)


def _rate(counts: Counts) -> str:
    return wording.percent(round(counts.error_rate or 0.0, 4))


def _failed(counts: Counts) -> str:
    return f"{counts.errors:,} of {counts.answered:,}"
