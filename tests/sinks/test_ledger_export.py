"""Exports: what was written is what is read, and no cell is a formula."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks.ledger_export import CSV, FORMULA, JSONL, beginning, cell, uncell, written

COLUMNS = ("id", "target", "status")

rows = st.lists(
    st.fixed_dictionaries({
        "id": st.text(),
        "target": st.text(st.sampled_from("=+-@'\"\t\r\n,;/ a|\u00e9\0")) | st.text(),
        "status": st.integers(-(10**6), 10**6),
    })
)  # fmt: skip


@given(rows)
def test_json_lines_round_trip(made: list[dict[str, object]]) -> None:
    """One line a row, whatever is in it."""
    text = written(JSONL, made, COLUMNS)
    assert [json.loads(line) for line in text.split("\n")[:-1]] == made
    assert text.count("\n") == len(made)
    assert text.isascii()


@given(rows)
def test_csv_round_trips(made: list[dict[str, object]]) -> None:
    """A reader that takes the guards off has what was written; no cell of text begins like a formula."""
    text = beginning(CSV, COLUMNS) + written(CSV, made, COLUMNS)
    head, *read = csv.reader(io.StringIO(text, newline=""))
    assert tuple(head) == COLUMNS
    assert [[uncell(one[0]), uncell(one[1]), int(one[2])] for one in read] == [[one[name] for name in COLUMNS] for one in made]
    assert not [one for each in read for one in each[:2] if one.startswith(FORMULA)]


@pytest.mark.parametrize(
    ("value", "said"),
    [("=1+1", "'=1+1"), ("@SUM(A1)", "'@SUM(A1)"), ("-2", "'-2"), (-2, "-2"), ("'quoted", "''quoted"), ("/a?b=c", "/a?b=c"), ("", "")],
)
def test_cells(value: object, said: str) -> None:
    """The guard stands before what would be a formula, or a guard; numbers are none."""
    assert cell(value) == said
