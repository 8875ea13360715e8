"""A run once more, from its journal: the same ticks into a new conductor give the same decisions and the same document, byte for byte."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.conductor import Conductor, Decision, Tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowproxy.config.experiment import Experiment

ARMED: Final = "armed"
ENDED: Final = "ended"
TICK: Final = "tick"


def replay(experiment: Experiment, entries: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The document that the run's ticks lead to.

    Args:
        experiment: of the run.
        entries: of its journal, in order, each with `kind` and `body`. Of kind "armed" the body has `error_budget`, `steady` and `containment`, which
            the conductor began with (earlier versions wrote no `containment`); of kind "tick" it is `Tick.to_plain()`. Of kind "ended" it
            has `state`, `code`, `reason` and the `seconds` that the run had lasted (earlier versions wrote none, and did not tell the conductor of an
            end that it had not decided). Others say nothing that is needed.

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
            conductor = Conductor(
                experiment, error_budget=body.get("error_budget"), steady=body.get("steady"), containment=body.get("containment")
            )
        elif entry["kind"] == TICK:
            if conductor is None:
                raise ValueError("a tick comes before the run was armed")
            decisions.append(conductor.tick(Tick.from_plain(body)))
        elif entry["kind"] == ENDED and conductor is not None and body.get("seconds") is not None:
            conductor.stop(body["seconds"], body["state"], body["code"], body["reason"])
    return conductor or Conductor(experiment), decisions
