"""Where `shadowproxy ledger` reads from: the admin API of a running instance, or a ledger's file, without one."""

from __future__ import annotations

import json
import sqlite3
from typing import TYPE_CHECKING, Any, Final, Protocol
from urllib.parse import quote, urlencode

from shadowproxy.errors import StateError
from shadowproxy.sinks import ledger_query, ledger_undo
from shadowproxy.sinks.ledger_file import open_to_read
from shadowproxy.sinks.ledger_query import Filter

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from shadowproxy.cli.client import AdminClient
    from shadowproxy.sinks.ledger_query import Row

PATH: Final = "/api/v1/ledger"

LARGEST_PAGE: Final = 1000
"""Rows that the API gives at once."""

MARKED_AT_ONCE: Final = 500

Chosen = "Mapping[str, str | float]"


class Source(Protocol):
    """A ledger to read from. Filters are those of the API: fate, tenant, route, trace, since, until."""

    def rows(self, chosen: Mapping[str, str | float], limit: int, cursor: str | None) -> dict[str, Any]:
        """`rows`, the newest first, and `next`, the cursor of those behind them or None."""

    def row(self, wanted: str) -> Row:
        """One row. Raises a ShadowproxyError when there is none."""

    def export(self, chosen: Mapping[str, str | float]) -> Iterator[Row]:
        """All rows, the oldest first."""

    def scrub(self, chosen: Mapping[str, str | float], *, is_all: bool) -> Iterator[ledger_undo.Entry]:
        """The scrub list, the newest first; with `is_all` also what was marked."""


class Remote:
    """The ledger of a running instance."""

    def __init__(self, client: AdminClient) -> None:
        self._client = client

    def rows(self, chosen: Mapping[str, str | float], limit: int, cursor: str | None) -> dict[str, Any]:
        """As `Source`.

        Raises:
            AdminUnreachable: no instance answers.
            AdminRefused: it says no.
        """
        found: list[Row] = []
        following = cursor
        while len(found) < limit:
            size = min(LARGEST_PAGE, limit - len(found))
            answer = self._client.get(_path("", {**chosen, "limit": size} | ({"cursor": following} if following else {})))
            found += answer["rows"]
            following = answer["next"]
            if following is None:
                break
        return {"rows": found, "next": following}

    def row(self, wanted: str) -> Row:
        """As `Source`. Raises as `rows`."""
        row: Row = self._client.get(f"{PATH}/{quote(wanted, safe='')}")
        return row

    def export(self, chosen: Mapping[str, str | float]) -> Iterator[Row]:
        """As `Source`. Raises as `rows`."""
        return map(json.loads, self._client.lines(_path("/export", chosen)))

    def scrub(self, chosen: Mapping[str, str | float], *, is_all: bool) -> Iterator[ledger_undo.Entry]:
        """As `Source`. Raises as `rows`."""
        return map(json.loads, self._client.lines(_path("/scrub", {**chosen, "all": int(is_all)})))

    def mark(self, ids: list[str]) -> None:
        """Note that these writes have been undone. Raises as `rows`."""
        for at in range(0, len(ids), MARKED_AT_ONCE):
            self._client.post(f"{PATH}/scrub", {"ids": ids[at : at + MARKED_AT_ONCE]})

    def law(self, *, check: bool) -> dict[str, Any]:
        """The law of tagged writes, with `check` held against the rows. Raises as `rows`."""
        document: dict[str, Any] = self._client.get(_path("/law", {"check": int(check)}))
        return document


class Offline:
    """A ledger's file, read while nobody, or somebody else, writes to it.

    Raises:
        StateError: the file is not there, cannot be read, or is no ledger.
    """

    def __init__(self, path: str) -> None:
        connection = open_to_read(path)
        if connection is None:
            raise StateError(f"{path}: there is no ledger")
        self._path = path
        self._connection = connection

    def rows(self, chosen: Mapping[str, str | float], limit: int, cursor: str | None) -> dict[str, Any]:
        """As `Source`.

        Raises:
            StateError: the file cannot be read, or the cursor is none.
        """
        if cursor is not None and not (cursor.isascii() and cursor.isdigit()):
            raise StateError(f"cursor {cursor!r}: must be what an answer called next")
        after = None if cursor is None else int(cursor)
        try:
            found = ledger_query.page(self._connection, _filter(chosen), limit=limit + 1, cursor=after)
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from None
        return {"rows": found[:limit], "next": str(found[limit - 1]["seq"]) if len(found) > limit else None}

    def row(self, wanted: str) -> Row:
        """As `Source`. Raises as `rows`."""
        try:
            row = ledger_query.one(self._connection, wanted)
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from None
        if row is None:
            raise StateError(f"{self._path}: no row {wanted!r}")
        return row

    def export(self, chosen: Mapping[str, str | float]) -> Iterator[Row]:
        """As `Source`. Raises as `rows`."""
        return self._each(_filter(chosen), is_ascending=True)

    def scrub(self, chosen: Mapping[str, str | float], *, is_all: bool) -> Iterator[ledger_undo.Entry]:
        """As `Source`. Raises as `rows`."""
        return map(ledger_undo.entry, self._each(_filter(chosen, is_to_undo=True, is_open=not is_all), is_ascending=False))

    def check(self) -> tuple[list[str], dict[tuple[str, str], int]]:
        """What SQLite finds wrong with the file, and how many rows there are by route and fate. Reads all of it. Raises as `rows`."""
        try:
            said = [str(found) for (found,) in self._connection.execute("PRAGMA integrity_check")]
            return [] if said == ["ok"] else said, ledger_query.totals(self._connection)
        except sqlite3.Error as error:
            return [str(error)], {}

    def close(self) -> None:
        """Let go of the file."""
        self._connection.close()

    def _each(self, wanted: Filter, *, is_ascending: bool) -> Iterator[Row]:
        try:
            for found in ledger_query.pages(self._connection, wanted, is_ascending=is_ascending):
                yield from found
        except sqlite3.Error as error:
            raise StateError(f"{self._path}: {error}") from None


def _path(below: str, chosen: Mapping[str, str | float]) -> str:
    query = urlencode({name: f"{value:.6f}" if isinstance(value, float) else value for name, value in chosen.items()}, quote_via=quote)
    return PATH + below + (f"?{query}" if query else "")


def _filter(chosen: Mapping[str, Any], *, is_to_undo: bool = False, is_open: bool = False) -> Filter:
    known = dict(chosen)
    if "trace" in known:
        known["trace"] = known["trace"].lower()
    return Filter(**known, is_to_undo=is_to_undo, is_open=is_open)
