"""Retention: what leaves, in which order, and what never does."""

from __future__ import annotations

import tempfile
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks import ledger_retention as module
from shadowproxy.sinks.ledger_query import page, totals
from shadowproxy.sinks.ledger_retention import LEAST_BYTES, MINIMUM_AGE_S, Retention
from shadowproxy.sinks.ledger_writer import FULL, Submission, Writer
from tests.sinks.ledgering import row

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1e6
YEAR_S = 365 * 86400.0

aged_rows = st.lists(
    st.fixed_dictionaries(
        {"fate": st.sampled_from(["sunk", "partitioned", "refused", "passed"]), "age": st.integers(0, 2000), "is_scrubbed": st.booleans()}
    ),
    max_size=30,
)


@contextmanager
def writer_of(rows: list[dict[str, Any]], retention: Retention, *, scrubbed: list[str] = []) -> Iterator[Writer]:  # noqa: B006  not changed
    """A ledger with these rows."""
    with tempfile.TemporaryDirectory() as directory:
        writer = Writer(str(Path(directory) / "l.db"), retention, str, now=lambda: NOW)
        assert writer.write([Submission(rows, [], print)], {}) == [""]
        writer.write([Submission([], scrubbed, print)], {})
        yield writer
        writer.close()


def tended(writer: Writer) -> int:
    """Tend the file until nothing is left to do; how many steps that took."""
    steps = 0
    while writer.tend():
        steps += 1
        assert steps < 10_000
    return steps


def left(writer: Writer) -> list[dict[str, Any]]:
    """The rows that are there, the oldest first."""
    assert writer._connection is not None
    return page(writer._connection, limit=1_000_000, is_ascending=True)


@given(aged_rows, st.integers(0, 2500))
def test_by_age_exactly_the_old_rows_leave(made: list[dict[str, Any]], retention_s: int) -> None:
    """Whatever their fate; and what has left is still counted."""
    rows = [row(fate=one["fate"], time=NOW - one["age"]) for one in made]
    with writer_of(rows, Retention(float(retention_s), 1 << 30)) as writer:
        tended(writer)
        assert [one["id"] for one in left(writer)] == [one["id"] for one in rows if NOW - one["time"] <= retention_s]
        assert writer._connection is not None
        counted = Counter(totals(writer._connection)) + writer.retention.removed.rows
        assert counted == Counter((one["route"], one["fate"]) for one in rows)
        assert writer.retention.removed.unscrubbed == 0


@given(aged_rows)
def test_by_size_what_is_needed_longest_leaves_last(made: list[dict[str, Any]]) -> None:
    """Step by step: refused and sunk, then what was scrubbed, then the rest; of each the oldest first; nothing that is young."""
    rows = [row(fate=one["fate"], time=NOW - one["age"]) for one in made]
    scrubbed = [one["id"] for one, said in zip(rows, made, strict=True) if said["is_scrubbed"]]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "LEAST_BYTES", 0)
        retention = Retention(YEAR_S, 0)
        patch.setattr(module, "_BY_SIZE", tuple(query.rsplit(" ", 1)[0] + " 1" for query in module._BY_SIZE))
        with writer_of(rows, retention, scrubbed=scrubbed) as writer:
            order = []
            before = {one["id"] for one in left(writer)}
            while writer.tend():
                after = {one["id"] for one in left(writer)}
                order += sorted(before - after)
                before = after

            def rank(one: dict[str, Any]) -> int:
                return 0 if one["fate"] in {"sunk", "refused"} else 1 if one["id"] in scrubbed else 2

            old = [one for one in rows if NOW - one["time"] > MINIMUM_AGE_S]
            assert order == [one["id"] for one in sorted(old, key=rank)]
            assert before == {one["id"] for one in rows} - set(order)
            assert retention.is_full
            assert retention.removed.unscrubbed == sum(rank(one) == 2 for one in old)


def test_a_file_that_is_too_large_shrinks_and_then_takes_rows() -> None:
    """Old rows leave until it fits, and their room is given back to the file system."""
    rows = [row(time=NOW - MINIMUM_AGE_S - 100, target="/" + "x" * 2000) for _ in range(1500)]
    with writer_of(rows, Retention(YEAR_S, 1 << 30)) as writer:
        tended(writer)
        assert len(left(writer)) == 1500
        writer.retention.configure(YEAR_S, LEAST_BYTES)
        tended(writer)
        assert 100 < len(left(writer)) < 800
        assert not writer.problem
        assert writer._connection is not None
        writer._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        assert Path(writer.path).stat().st_size <= LEAST_BYTES
        assert writer.write([Submission([row(time=NOW)], [], print)], {}) == [""]


def test_a_full_ledger_refuses_rows_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    """All rows are young: none leaves, new ones are refused, statuses and marks are not; with more room it goes on."""
    rows = [row(time=NOW, target="/" + "x" * 2000) for _ in range(1500)]
    retention = Retention(YEAR_S, 0)
    with writer_of(rows, retention) as writer:
        tended(writer)
        assert FULL in writer.problem
        assert FULL in writer.write([Submission([row(time=NOW)], [], print)], {})[0]
        assert writer.write([Submission([], [rows[0]["id"]], print)], {rows[1]["id"]: (201, "")}) == [""]
        tended(writer)
        found = left(writer)
        assert len(found) == 1500
        assert found[1]["status"] == 201
        assert [record.levelname for record in caplog.records] == ["CRITICAL"]
        retention.configure(YEAR_S, 1 << 30)
        tended(writer)
        assert not writer.problem
        assert writer.write([Submission([row(time=NOW)], [], print)], {}) == [""]
        assert "is_full" not in repr(retention)


def test_a_retention_shorter_than_the_minimum_counts() -> None:
    """Who says seconds means them."""
    with writer_of([row(time=NOW - 20), row(time=NOW - 5)], Retention(10.0, 1 << 30)) as writer:
        tended(writer)
        assert len(left(writer)) == 1


def test_steps_are_small() -> None:
    """No step removes more than STEP_ROWS, so that commits have their turn between two."""
    rows = [row(time=0.0) for _ in range(5 * module.STEP_ROWS)]
    with writer_of(rows, Retention(10.0, 1 << 30)) as writer:
        counts = [len(left(writer))]
        while writer.tend():
            counts.append(len(left(writer)))
        assert counts == [module.STEP_ROWS * step for step in range(5, -1, -1)]
