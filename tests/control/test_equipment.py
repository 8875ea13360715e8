"""What is told of runs, and to whom."""

from __future__ import annotations

from typing import Any

from shadowproxy.control.equipment import Told
from shadowproxy.control.runs import Run
from shadowproxy.experiments.lifecycle import State
from tests.control.governed import experiment


class Listener:
    """Keeps every call made to it."""

    def __init__(self) -> None:
        self.calls: list[tuple[str, tuple[Any, ...], dict[str, Any]]] = []

    def __getattr__(self, name: str) -> Any:
        return lambda *args, **named: self.calls.append((name, args, named))


def test_steps_and_the_end_go_on_record() -> None:
    """From the first fault on; of a dry run and of one that never began nothing does, for nobody was hit."""
    record, notifier = Listener(), Listener()
    told = Told(record, notifier, lambda: ("vip",))  # type: ignore[arg-type]
    run = Run(1, experiment(notify=["http://127.0.0.1:9/hook"]), "ada")
    run.life.become(State.ADMITTED)
    told.event(run, "admitted")
    assert not record.calls
    run.start()
    told.event(run, "started")
    told.units(run, {"0a": 1}, 2)
    run.end(State.ABORTED, "stopped", "enough")
    told.event(run, "aborted")
    assert [name for name, _, _ in record.calls] == ["note_run", "note_units", "note_end"]
    assert record.calls[0][2] == {"deny": ("vip",), "is_paused": False}
    assert [args[0] for _, args, _ in notifier.calls] == [["http://127.0.0.1:9/hook"]] * 3
    assert [args[1]["event"] for _, args, _ in notifier.calls] == ["admitted", "started", "aborted"]

    dry = Run(2, experiment(), "ada", is_dry=True)
    dry.life.become(State.ADMITTED)
    dry.start()
    told.event(dry, "started")
    never = Run(3, experiment(), "ada")
    never.end(State.ABORTED, "journal", "")
    told.event(never, "aborted")
    assert len(record.calls) == 3
