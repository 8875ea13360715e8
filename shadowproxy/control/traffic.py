"""What routes had of requests lately: what admissions and plans of experiments count with."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from shadowproxy.experiments.allowance import Traffic
from shadowproxy.experiments.slicecounts import GONE, NANO
from shadowproxy.judge.pairs import is_error
from shadowproxy.judge.sketch import Sketch, add, quantile

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.control.counts import Counts

RECENT_S: Final = 300.0
"""Seconds that count as lately."""

SPACING_S: Final = 10.0
"""Seconds between two notes: thirty of them are kept, of every route that was asked for."""

LEAST_S: Final = 2.0
"""Seconds before a rate is one."""

Seen = dict[str, tuple[int, int]]
"""Requests and errors of each route."""


class RecentTraffic:
    """Requests and errors of each route over the last minutes, and since the start.

    Args:
        counts: totals over all workers.
        clock: seconds that never go back.

    """

    def __init__(self, counts: Counts, clock: Callable[[], float]) -> None:
        self._counts = counts
        self._clock = clock
        self._begun = clock()
        self._notes: deque[tuple[float, Seen]] = deque([(self._begun, {})])

    def note(self) -> None:
        """Remember how much there was by now; called as often as one likes."""
        now = self._clock()
        if now - self._notes[-1][0] < SPACING_S:
            return
        self._notes.append((now, {name: _seen(totals.responses) for name, totals in self._counts.routes.items() if totals.responses}))
        while self._notes[0][0] < now - RECENT_S:
            self._notes.popleft()

    def of(self, experiment: Experiment) -> Traffic | None:
        """Return what the observed routes of `experiment` had; None before there is enough to tell a rate."""
        return self.of_routes(experiment.observe or experiment.inject.routes)

    def of_routes(self, routes: Iterable[str]) -> Traffic | None:
        """Return what `routes` had together."""
        names = list(dict.fromkeys(routes))
        now, (since, before) = self._clock(), self._notes[0]
        if now - since < LEAST_S:
            return None
        requests = errors = total_errors = 0
        last: Sketch = {}
        for name in names:
            totals = self._counts.routes.get(name)
            if totals is None:
                continue
            seen, bad = _seen(totals.responses)
            old_seen, old_bad = before.get(name, (0, 0))
            requests, errors, total_errors = requests + seen - old_seen, errors + bad - old_bad, total_errors + bad
            add(last, totals.last)
        return Traffic(
            requests_per_s=requests / (now - since),
            error_rate=errors / requests if requests else 0.0,
            seconds=now - self._begun,
            errors=total_errors,
            p50=_quantile(last, 0.5),
            p99=_quantile(last, 0.99),
        )


def _seen(responses: dict[str, int]) -> tuple[int, int]:
    answered = {outcome: count for outcome, count in responses.items() if outcome != GONE}
    return sum(answered.values()), sum(count for outcome, count in answered.items() if is_error(outcome))


def _quantile(sketch: Sketch, q: float) -> float | None:
    found = quantile(sketch, q)
    return None if found is None else found * NANO
