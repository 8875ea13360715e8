"""What the governor needs of the rest of control: the parts that judge, and those that are told."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.control.lookout import Lookout
from shadowproxy.control.notify import payload_of
from shadowproxy.control.probes import Prober
from shadowproxy.experiments.conductor import Conductor
from shadowproxy.experiments.lookback import LookBack

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.control.cells import Neighbours
    from shadowproxy.control.exposures import Exposures
    from shadowproxy.control.notify import Notifier
    from shadowproxy.control.runs import Probing, Run
    from shadowproxy.experiments.allowance import Traffic
    from shadowproxy.experiments.calendar import Closure

STEPS: Final = frozenset({"started", "ramp", "pause", "resume"})
"""Events that change who gets the fault."""


async def _without_a_past(_: Experiment) -> LookBack:
    return LookBack(wanted=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Equipment:
    """What the governor needs of the rest of control; tests put their own in its place."""

    probe: Callable[[Experiment], Probing] = Prober
    look: Callable[[Experiment], Lookout] = lambda experiment: Lookout(experiment.expect)
    conduct: Callable[..., Conductor] = Conductor
    traffic: Callable[[Experiment], Traffic | None] = lambda _: None
    cells: Callable[[Run], Neighbours | None] = lambda _: None
    """The cells beside those that a run is confined to; None where it is to none."""
    closures: Callable[[], tuple[Closure, ...]] = tuple
    rollouts: Callable[[], frozenset[str]] = frozenset
    look_back: Callable[[Experiment], Awaitable[LookBack]] = _without_a_past
    is_killed: Callable[[], bool] = lambda: False
    on_event: Callable[[Run, str], None] = lambda _run, _event: None
    """Called after each transition and step, with its name."""
    on_units: Callable[[Run, Mapping[str, int], int], None] = lambda _run, _units, _dropped: None
    """Called with units that got the fault, and how many had no room to be told."""


class Told:
    """Passes on what happens to runs: to the record of who was affected, and to those that experiments name.

    Args:
        exposures: the record.
        notifier: tells URLs.
        deny: units that the config in force leaves alone.
    """

    def __init__(self, exposures: Exposures, notifier: Notifier, deny: Callable[[], tuple[str, ...]]) -> None:
        self._exposures = exposures
        self._notifier = notifier
        self._deny = deny

    def event(self, run: Run, event: str) -> None:
        """A transition or a step. Never blocks."""
        now = time.time()
        if event in STEPS and not run.is_dry:
            self._exposures.note_run(run.id, run.experiment, run.percent, now, deny=self._deny(), is_paused=run.is_paused)
        elif run.life.has_ended and run.started is not None and not run.is_dry:
            self._exposures.note_end(run.id, str(run.state), now)
        urls = [one.url for one in run.experiment.notify]
        if urls:
            self._notifier.tell(urls, payload_of(run.summary(), event=event, at=now))

    def units(self, run: Run, units: Mapping[str, int], _dropped: int) -> None:
        """Units that got the fault; those for which there was no room were left alone. Never blocks."""
        self._exposures.note_units(run.id, units, time.time())
