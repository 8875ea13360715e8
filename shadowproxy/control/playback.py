"""Runs once more, from the journal: the verdict that it leads to, and what was known of a run that nobody ended. Off the event loop."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.replay import play

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowproxy.control.journal import Journal
    from shadowproxy.control.runs import Run
    from shadowproxy.experiments.conductor import Conductor

_log = logging.getLogger("shadowproxy.control")

Plain = dict[str, Any]

PLAYED_ENTRIES: Final = 100_000
"""Of a run that nobody ended: what a start waits for, about a quarter of a minute. `experiment replay` plays more."""


async def verdict_of(run: Run, journal: Journal) -> Plain:
    """The verdict of a run worked out anew, and whether it is the one that was given.

    Raises:
        StateError: the journal cannot be read, or was changed since the segment that the run begins in.
    """
    return await asyncio.to_thread(_verdict_of, run, journal)


def _verdict_of(run: Run, journal: Journal) -> Plain:
    told: Plain = {}
    entries = 0

    def of_run() -> Iterator[Plain]:
        nonlocal entries, told
        for entry in _entries(run, journal):
            entries += 1
            if entry["kind"] == "ended":
                told = entry["body"].get("document", {}).get("result", {})
            yield entry

    found = play(run.experiment, of_run())[0].document()
    return {"id": run.id, "entries": entries, "is_same": found == told if told else None, "result": found}


async def known_of(run: Run, journal: Journal) -> Conductor | None:
    """What another control process knew of a run when it left it unfinished; None when that had not begun, is too long, or cannot be said."""
    if run.started is None or journal.problem or journal.of(run.id)[0] > PLAYED_ENTRIES:
        return None
    try:
        return (await asyncio.to_thread(play, run.experiment, _entries(run, journal)))[0]
    except Exception:  # noqa: BLE001  the run is closed all the same
        _log.exception("nothing is known of experiment %s", run.id)
        return None


def _entries(run: Run, journal: Journal) -> Iterator[Plain]:
    return ({"kind": entry.kind, "body": entry.body} for entry in journal.entries(run.id))
