"""Reading the ledger: every row that a filter asks for, exactly once, in order."""

from __future__ import annotations

import math
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks.ledger_file import open_to_write
from shadowproxy.sinks.ledger_query import COLUMNS, KEYS, Filter, newest, one, page, pages, totals
from shadowproxy.sinks.ledger_retention import Retention
from shadowproxy.sinks.ledger_writer import Submission, Writer
from tests.sinks.ledgering import row

FATES = ("sunk", "partitioned", "refused", "passed")

few = st.sampled_from(["a", "b"])
rows = st.lists(
    st.fixed_dictionaries({"tenant": few, "route": few, "fate": st.sampled_from(FATES), "trace": few, "time": st.integers(0, 9).map(float)}), max_size=40
)  # fmt: skip
filters = st.builds(
    Filter,
    tenant=few | st.just(""),
    route=few | st.just(""),
    fate=st.sampled_from(["", *FATES]),
    trace=few | st.just(""),
    since=st.integers(0, 9).map(float) | st.just(-math.inf),
    until=st.integers(0, 9).map(float) | st.just(math.inf),
    is_to_undo=st.booleans(),
    is_open=st.booleans(),
)


def fits(wanted: Filter, one_row: dict[str, Any]) -> bool:
    """What a filter means."""
    return (
        all(getattr(wanted, name) in {"", one_row[name]} for name in ("tenant", "route", "fate", "trace"))
        and wanted.since <= one_row["time"] < wanted.until
        and (not wanted.is_to_undo or one_row["fate"] in {"partitioned", "passed"})
        and (not wanted.is_open or not one_row["scrubbed"])
    )


@given(rows, filters, st.integers(1, 7), st.booleans(), st.sets(st.integers(0, 39)))
def test_every_row_exactly_once_and_in_order(
    made: list[dict[str, Any]], wanted: Filter, limit: int, is_ascending: bool, scrubbed: set[int]
) -> None:
    """Page by page with a cursor, while rows are added at the end: what was there at the beginning and fits, no more, no less."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "l.db")
        writer = Writer(path, Retention(1e12, 1 << 30), str)
        written = [row(**one_row) for one_row in made]
        writer.write([Submission(written, [], print)], {})
        writer.write([Submission([], [written[at]["id"] for at in scrubbed if at < len(written)], print)], {})
        with closing(open_to_write(path)) as connection:
            upto = newest(connection)
            everything = page(connection, limit=1000, is_ascending=True)
            expected = [each for each in everything if fits(wanted, each)]
            found: list[dict[str, Any]] = []
            cursor = None
            while got := page(connection, wanted, limit=limit, cursor=cursor, upto=upto, is_ascending=is_ascending):
                assert len(got) <= limit
                found += got
                cursor = got[-1]["seq"]
                writer.write([Submission([row(**made[0])], [], print)], {})
            assert found == (expected if is_ascending else expected[::-1])
        writer.close()


@given(rows)
def test_what_is_read_is_what_was_written(made: list[dict[str, Any]]) -> None:
    """Keys, order, totals by route and fate, and single rows."""
    with tempfile.TemporaryDirectory() as directory:
        path = str(Path(directory) / "l.db")
        writer = Writer(path, Retention(1e12, 1 << 30), str)
        written = [row(**one_row) for one_row in made]
        assert writer.write([Submission([each], [], print) for each in written], {}) == [""] * len(written)
        writer.close()
        with closing(open_to_write(path)) as connection:
            found = [each for got in pages(connection, is_ascending=True) for each in got]
            assert [{name: each[name] for name in KEYS} for each in found] == written
            assert all(tuple(each) == COLUMNS for each in found)
            counted: dict[tuple[str, str], int] = {}
            for each in written:
                counted[each["route"], each["fate"]] = counted.get((each["route"], each["fate"]), 0) + 1
            assert totals(connection) == counted
            assert sum(totals(connection, after=newest(connection) // 2).values()) == len(written) - len(written) // 2
            assert all(one(connection, each["id"]) == each for each in found)
            assert one(connection, "nobody") is None


def test_text_that_is_sql_is_text() -> None:
    """A filter's values are parameters."""
    with tempfile.TemporaryDirectory() as directory, closing(open_to_write(str(Path(directory) / "l.db"))) as connection:
        assert page(connection, Filter(tenant="' OR 1=1 --", trace='"', route="a'; DROP TABLE writes; --")) == []
        assert page(connection) == []
