"""What cells answer: since when there is an instance, so that an experiment that is confined to some of them has a history of the others at once.

A cell is all endpoints of live fleets with its label, whichever fleet they are of. Counts are those of `ended` and `errors` in tallies (dataplane/messages.py):
what endpoints answered, before any fault did something to it.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.dataplane.messages import REPORT_S
from shadowproxy.experiments.domains import labels_of, other_cells, place_of
from shadowproxy.experiments.errorrate import HISTORY_S, LAG_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.config.model import Config
    from shadowproxy.control.counts import Counts

SPACING_S: Final = 1.0
"""Seconds between two notes: six hundred of them are kept, a pair of numbers a cell each."""

Seen = dict[str, tuple[int, int]]
"""Answers and errors of each cell."""


class Cells:
    """Answers and errors of each cell since the start, and over the last ten minutes.

    Args:
        counts: totals over all workers.
        config: the one in force.
        clock: seconds that never go back.

    """

    def __init__(self, counts: Counts, config: Callable[[], Config], clock: Callable[[], float]) -> None:
        self._counts = counts
        self._config = config
        self.clock = clock
        self._places: dict[tuple[str, str], str] = {}
        self._places_of: Config | None = None
        self._totals: dict[tuple[str, str], tuple[int, int]] = {}
        self.seen: Seen = {}
        self._notes: deque[tuple[float, Seen]] = deque([(clock(), {})])

    def __repr__(self) -> str:
        return f"<Cells {self.seen}>"

    def note(self) -> None:
        """Take up what workers have told; called after every tally."""
        for place, cell in self._cells_of_endpoints().items():
            total = self._counts.endpoint_ended[place], self._counts.endpoint_errors[place]
            before = self._totals.get(place, (0, 0))
            if total != before:
                answered, errors = self.seen.get(cell, (0, 0))
                self.seen[cell] = answered + total[0] - before[0], errors + total[1] - before[1]
                self._totals[place] = total
        now = self.clock()
        if now - self._notes[-1][0] >= SPACING_S:
            self._notes.append((now, dict(self.seen)))
            while self._notes[0][0] < now - HISTORY_S:
                self._notes.popleft()

    def before(self) -> Seen:
        """What each cell had over the last ten minutes, up to two seconds ago: an incident that begins is no history."""
        until = self.clock() - LAG_S
        last = next((seen for at, seen in reversed(self._notes) if at <= until), {})
        first = self._notes[0][1]
        return {cell: _minus(total, first.get(cell, (0, 0))) for cell, total in last.items()}

    def _cells_of_endpoints(self) -> dict[tuple[str, str], str]:
        """The cell of each endpoint of a live fleet under the config in force, by (fleet, URL)."""
        config = self._config()
        if config is not self._places_of:
            live = sorted({route.live for route in config.routes})
            self._places = {
                (fleet, label.endpoint): place_of(label) for fleet in live for label in labels_of(config, (fleet,)) if place_of(label)
            }
            self._places_of = config
        return self._places

    def beside(self, experiment: Experiment, *, is_dry: bool = False) -> Neighbours | None:
        """The cells that faults of `experiment` do not reach, from now on; None where it is confined to none."""
        is_confined = experiment.domain.cells or experiment.inject.endpoint
        return Neighbours(self, experiment, self._config(), is_dry=is_dry) if is_confined else None


class Neighbours:
    """The cells beside those that a run is confined to."""

    def __init__(self, cells: Cells, experiment: Experiment, config: Config, *, is_dry: bool) -> None:
        self._cells = cells
        others = set(other_cells(experiment, config).values())
        before = cells.before()
        self._unwatched = ""
        if is_dry:
            self._unwatched = "a dry run breaks nothing"
        elif not others:
            self._unwatched = "no other endpoint of a live fleet has a label of a cell or a zone"
        self._before = {} if self._unwatched else {cell: before.get(cell, (0, 0)) for cell in sorted(others)}
        self._taken = cells.clock()
        self._told = {cell: cells.seen.get(cell, (0, 0)) for cell in self._before}

    def __repr__(self) -> str:
        return f"<Neighbours {self._unwatched or self._before}>"

    def told(self) -> dict[str, Any]:
        """What the conductor begins with (`experiments.containment.Containment`)."""
        return {"before": {cell: list(seen) for cell, seen in self._before.items()}, "unwatched": self._unwatched}

    def take(self) -> dict[str, list[int]]:
        """[answers, errors] of each of them since it was told last, which is as often as one worker tells; without those that had none."""
        now = self._cells.clock()
        if now - self._taken < REPORT_S:
            return {}
        self._taken = now
        found = {}
        for cell, told in self._told.items():
            seen = self._cells.seen.get(cell, (0, 0))
            if seen != told:
                found[cell] = list(_minus(seen, told))
                self._told[cell] = seen
        return found


def _minus(one: tuple[int, int], other: tuple[int, int]) -> tuple[int, int]:
    return one[0] - other[0], one[1] - other[1]
