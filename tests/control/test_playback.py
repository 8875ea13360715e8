"""Runs once more, from a journal on the disk."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.control import playback as module
from shadowproxy.control.journal import Journal
from shadowproxy.control.playback import known_of, verdict_of
from shadowproxy.control.runs import Run
from shadowproxy.errors import StateError
from tests.control.governed import experiment, exposure

if TYPE_CHECKING:
    from pathlib import Path


async def journal_of(path: Path, run: Run, *, result: dict[str, Any] | None = None) -> Journal:
    """A run of which one tick was told; with a result it was ended after ten seconds."""
    journal = Journal(path)
    assert not await journal.open()
    counts = exposure(run, requests=30)["experiments"][run.id] | {"units": 3, "repeats": 1}
    await journal.write(run.id, "armed", {"epoch": 1, "error_budget": None, "steady": {}})
    await journal.write(run.id, "tick", {"seconds": 4.0, "counts": counts, "probes": {}})
    if result is not None:
        ended = {"state": "aborted", "code": "stopped", "reason": "enough", "seconds": 10.0, "document": {"result": result}}
        await journal.write(run.id, "ended", ended)
    return journal


async def test_a_verdict_is_held_against_the_one_that_was_given(tmp_path: Path) -> None:
    """The same, another, or none yet."""
    run = Run(1, experiment(), "ada")
    journal = await journal_of(tmp_path / "a", run, result={"verdict": "upheld"})
    found = await verdict_of(run, journal)
    assert (found["entries"], found["is_same"]) == (3, False)
    journal.close()
    journal = await journal_of(tmp_path / "b", run, result=found["result"])
    assert (await verdict_of(run, journal))["is_same"] is True
    journal.close()
    journal = await journal_of(tmp_path / "c", run)
    assert (await verdict_of(run, journal))["is_same"] is None
    journal.close()


async def test_a_start_does_not_wait_for_a_long_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody could begin anything meanwhile; whoever wants to know has it replayed."""
    run = Run(1, experiment(), "ada")
    run.started = 1.0
    journal = await journal_of(tmp_path / "j", run)
    monkeypatch.setattr(module, "PLAYED_ENTRIES", 1)
    assert await known_of(run, journal) is None
    assert (await verdict_of(run, journal))["result"]["slices"]["fault"]["requests"] == 30
    journal.close()


async def test_what_was_known_of_a_run_that_nobody_ended(tmp_path: Path) -> None:
    """What its ticks told; nothing of one that had not begun, and no exception where it cannot be read."""
    run = Run(1, experiment(), "ada")
    journal = await journal_of(tmp_path / "j", run)
    assert await known_of(run, journal) is None
    run.started = 1.0
    known = await known_of(run, journal)
    assert known is not None
    assert (known.seconds, known.slices.fault.requests) == (4.0, 30)
    raw = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(raw.replace(b'"requests":30', b'"requests":31', 1))
    assert await known_of(run, journal) is None
    with pytest.raises(StateError):
        await verdict_of(run, journal)
    journal.close()
