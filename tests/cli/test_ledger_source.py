"""Both sources of `shadowproxy ledger` say the same of the same ledger."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from shadowproxy.cli.ledger_source import MARKED_AT_ONCE, Offline, Remote
from shadowproxy.errors import StateError
from shadowproxy.sinks.ledger import Ledger
from tests.sinks.ledgering import Told, row

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from shadowproxy.cli.client import AdminClient


class Answering:
    """An admin API in front of a file, with pages of three rows."""

    def __init__(self, path: str) -> None:
        self.asked: list[str] = []
        self.posted: list[Any] = []
        self._file = Offline(path)

    def get(self, path: str) -> Any:
        """A page, a row, or the law."""
        self.asked.append(path)
        parts = urlsplit(path)
        below, query = parts.path.removeprefix("/api/v1/ledger"), {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not below:
            chosen = {name: value for name, value in query.items() if name in {"tenant", "fate"}}
            return self._file.rows(chosen, min(3, int(query["limit"])), query.get("cursor"))
        return {"law": query} if below == "/law" else self._file.row(unquote(below[1:]))

    def post(self, path: str, body: Any) -> Any:
        """Marks."""
        self.posted.append((path, body))

    def lines(self, path: str) -> Iterator[bytes]:
        """What is streamed."""
        self.asked.append(path)
        found = self._file.export({}) if "/export" in path else self._file.scrub({}, is_all="all=1" in path)
        return (json.dumps(one).encode() for one in found)


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A ledger of ten rows, of which two are to be undone and one was."""
    ledger, told = Ledger(tmp_path / "l.db", 1e9, 1 << 30), Told()
    fates = ["partitioned", "passed", "passed", *["sunk"] * 7]
    rows = [row(id=f"id/{number}", fate=fate, tenant=f"t{number % 2}", time=2e9 + number) for number, fate in enumerate(fates)]
    ledger.submit(rows, told)
    ledger.mark(["id/1"], told)
    told.wait(2)
    ledger.close()
    return str(tmp_path / "l.db")


def test_both_read_the_same(path: str) -> None:
    """Lists that take several pages, single rows, exports, scrub lists."""
    api = Answering(path)
    remote, offline = Remote(api), Offline(path)  # type: ignore[arg-type]  # as far as it is used
    for chosen in ({}, {"tenant": "t1"}, {"fate": "sunk"}):
        for limit in (1, 4, 100):
            assert remote.rows(chosen, limit, None) == offline.rows(chosen, limit, None)
    assert remote.row("id/3") == offline.row("id/3")
    assert list(remote.export({})) == list(offline.export({}))
    assert [one["id"] for one in offline.export({})] == [f"id/{number}" for number in range(10)]
    for is_all, expected in ((False, ["id/2", "id/0"]), (True, ["id/2", "id/1", "id/0"])):
        assert list(remote.scrub({}, is_all=is_all)) == list(offline.scrub({}, is_all=is_all))
        assert [one["id"] for one in offline.scrub({}, is_all=is_all)] == expected
    assert remote.law(check=True) == {"law": {"check": "1"}}


def test_a_list_goes_on_where_it_ended(path: str) -> None:
    """Page by page, each row once."""
    offline = Offline(path)
    found, cursor = [], None
    while True:
        answer = offline.rows({}, 4, cursor)
        found += [one["id"] for one in answer["rows"]]
        cursor = answer["next"]
        if cursor is None:
            break
    assert found == [f"id/{number}" for number in reversed(range(10))]
    with pytest.raises(StateError, match="cursor"):
        offline.rows({}, 4, "x")


def test_what_is_asked_is_quoted(path: str) -> None:
    """Names of tenants and routes are anybody's."""
    api = Answering(path)
    Remote(api).rows({"tenant": "a&b=c d", "since": 1e9}, 1, None)  # type: ignore[arg-type]  # as above
    assert api.asked == ["/api/v1/ledger?tenant=a%26b%3Dc%20d&since=1000000000.000000&limit=1"]


def test_marks_go_in_parts(path: str) -> None:
    """What the API takes at once."""
    api = Answering(path)
    Remote(api).mark([str(number) for number in range(MARKED_AT_ONCE + 1)])  # type: ignore[arg-type]  # as above
    assert [len(body["ids"]) for _, body in api.posted] == [MARKED_AT_ONCE, 1]


def test_a_file_that_is_no_ledger_is_said(tmp_path: Path, path: str) -> None:
    """None, something else, a row that is not there; a sound file is sound, a damaged one is not."""
    with pytest.raises(StateError, match="there is no ledger"):
        Offline(str(tmp_path / "none.db"))
    sqlite3.connect(tmp_path / "other.db").execute("CREATE TABLE t (a)").connection.close()
    with pytest.raises(StateError, match="not a ledger"):
        Offline(str(tmp_path / "other.db"))
    sound = Offline(path)
    with pytest.raises(StateError, match="no row 'nobody'"):
        sound.row("nobody")
    assert sound.check() == ([], {("orders", "partitioned"): 1, ("orders", "passed"): 2, ("orders", "sunk"): 7})
    sound.close()
    with open(path, "r+b") as file:  # noqa: PTH123  what is in the pages behind the schema
        size = file.seek(0, 2)
        for place in range(4096, size, 4096):
            file.seek(place)
            file.write(b"\xff" * 64)
    damaged = Offline(path)
    assert damaged.check()[0]
    damaged.close()


def test_clients_fit_the_protocol() -> None:
    """`Remote` is made of what AdminClient has."""
    from shadowproxy.cli.client import AdminClient as Real

    client: AdminClient = Real("http://127.0.0.1:1", "token")
    assert all(hasattr(client, name) for name in ("get", "post", "lines"))
