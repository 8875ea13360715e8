"""The bench of tagged writes finds what is wrong, and the proxy keeps its promise while its processes are killed."""

from __future__ import annotations

import os
import sqlite3
from typing import TYPE_CHECKING

import pytest

from load.bench.processes import share_out
from load.bench.tagged import Outcome, attempt, judge, rows_of, table

if TYPE_CHECKING:
    from pathlib import Path


def _outcome(**changed: object) -> Outcome:
    outcome = Outcome("x", 10, 1.0, due=10, acknowledged=10, rows=10, seconds_taken=1.0)
    for name, value in changed.items():
        setattr(outcome, name, value)
    return outcome


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({}, ""),
        ({"missing": 1}, "1 acknowledged writes are not in the ledger"),
        ({"twice": 2}, "in the ledger twice"),
        ({"reached_live": 1}, "1 tagged writes reached live"),
        ({"acknowledged": 0}, "no write was acknowledged"),
        ({"acknowledged": 9}, "1 of 10 writes were not acknowledged"),
        ({"acknowledged": 9, "kills": {"sink": 1}}, ""),
        ({"seconds_taken": 2.0}, "cannot keep up"),
    ],
)
def test_a_broken_promise_is_seen(changed: dict[str, object], found: str) -> None:
    """Each by its name; what kills cost in answers is no defect."""
    problems = judge(_outcome(**changed))
    assert any(found in problem for problem in problems) if found else not problems


def test_rows_are_counted_by_the_number_in_their_target(tmp_path: Path) -> None:
    """Those that were sunk; a number that is there twice is seen."""
    ledger = tmp_path / "ledger.db"
    with sqlite3.connect(ledger) as database:
        database.execute("CREATE TABLE writes (target TEXT, fate TEXT)")
        rows = [("/orders?n=1", "sunk"), ("/orders?n=12", "sunk"), ("/orders?n=12", "sunk"), ("/orders?n=3", "refused"), ("/x", "sunk")]
        database.executemany("INSERT INTO writes VALUES (?, ?)", rows)
    database.close()
    assert rows_of(ledger) == {1: 1, 12: 2}


def test_the_table_names_who_was_killed() -> None:
    """And whether the promise held."""
    text = table([_outcome(kills={"sink": 2, "control": 1}), _outcome(problems=["lost"])])
    assert "control 1x, sink 2x" in text
    assert "| lost |" in text


def test_nothing_acknowledged_is_lost_when_processes_are_killed() -> None:
    """P8: sink, worker and control, at random, under load: every acknowledged write has one row, and live saw none of them."""
    outcome = attempt("kills", rate=200, seconds=10.0, kills=True, cpus=share_out(os.sched_getaffinity(0)), seed=3)
    assert outcome.problems == []
    assert outcome.kills
    assert outcome.acknowledged > 50
