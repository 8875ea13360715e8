"""A run once more, from its journal: the same ticks into a new conductor give the same decisions and the same document, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.conductor import Conductor, Decision, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowproxy.config.experiment import Experiment

ARMED: Final = "armed"
TICK: Final = "tick"


def replay(experiment: Experiment, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The document that the run's ticks lead to.

    Args:
        experiment: of the run.
        entries: of its journal, in order, each with `kind` and `body`. Of kind "armed" the body has `error_budget` and `steady`, which the conductor
            began with; of kind "tick" it is `Tick.to_plain()`. Others say nothing that is needed.

    """
    conductor, _ = play(experiment, entries)
    return conductor.document()


def play(experiment: Experiment, entries: Iterable[Mapping[str, Any]]) -> tuple[Conductor, list[Decision]]:
    """The conductor after all `entries`, as of `replay`, and what it decided at each tick.

    Raises:
        ValueError: a tick comes before the run was armed.

    """
    conductor: Conductor | None = None
    decisions: list[Decision] = []
    for entry in entries:
        body = entry["body"]
        if entry["kind"] == ARMED and conductor is None:
            conductor = Conductor(experiment, error_budget=body.get("error_budget"), steady=body.get("steady"))
        elif entry["kind"] == TICK:
            if conductor is None:
                raise ValueError("a tick comes before the run was armed")
            decisions.append(conductor.tick(Tick.from_plain(body)))
    return conductor or Conductor(experiment), decisions
