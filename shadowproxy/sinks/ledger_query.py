"""Reading the ledger: rows that a filter asks for, page by page, each exactly once and in the order they were recorded.

A page's cursor is the `seq` of its last row. Rows are only ever added at the newest end, so a reader that goes from the
newest to the oldest sees a fixed set; one that goes the other way names the newest row that it wants (`upto`). Each page is
a short transaction of its own: a reader that takes its time holds nothing up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.sinks.ledger_file import TO_UNDO

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

KEYS: Final = (
    "id", "time", "trace", "tenant", "listener", "route", "method", "host", "target", "digest", "body_bytes", "fate", "reason", "to",
    "origin", "client",
)  # fmt: skip
"""What is known of a write when its row is made."""

LATER: Final = ("status", "location", "scrubbed")
"""What is learnt later: status of the answer (0: not known), its Location, and when the write was undone (0: not)."""

COLUMNS: Final = ("seq", *KEYS, *LATER)
"""The keys of a row that was read, in their order."""

FATES: Final = ("sunk", "partitioned", "refused", "passed")

PAGE: Final = 500
"""Rows of a page when everything is read: some milliseconds."""

_SELECT: Final = f"SELECT {', '.join(f'writes.{chr(34)}{name}{chr(34)}' for name in COLUMNS)} FROM writes"  # noqa: S608  constants
_UNDONE: Final = "fate IN (" + ", ".join(f"'{fate}'" for fate in TO_UNDO) + ")"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which rows; every condition must hold.

    Args:
        tenant, route, fate, trace: what a row must have; empty for any.
        since, until: unix seconds that its time must not be before, and must be before.
        is_to_undo: only writes that some service has carried out.
        is_open: only those that were not marked as scrubbed.
    """

    tenant: str = ""
    route: str = ""
    fate: str = ""
    trace: str = ""
    since: float = -math.inf
    until: float = math.inf
    is_to_undo: bool = False
    is_open: bool = False

    def conditions(self) -> tuple[list[str], list[Any]]:
        """As SQL, with its parameters."""
        wanted = {name: getattr(self, name) for name in ("tenant", "route", "fate", "trace")}
        said = [f"{name} = ?" for name, value in wanted.items() if value]
        values: list[Any] = [value for value in wanted.values() if value]
        if self.since > -math.inf:
            said.append("time >= ?")
            values.append(self.since)
        if self.until < math.inf:
            said.append("time < ?")
            values.append(self.until)
        if self.is_to_undo:
            said.append(_UNDONE)  # as the index has it, or it is not used
        if self.is_open:
            said.append("scrubbed = 0")
        return said, values


EVERYTHING: Final = Filter()


def page(
    connection: sqlite3.Connection,
    wanted: Filter = EVERYTHING,
    *,
    limit: int = PAGE,
    cursor: int | None = None,
    upto: int | None = None,
    is_ascending: bool = False,
) -> list[Row]:
    """At most `limit` rows behind `cursor`.

    Args:
        connection: to the file.
        wanted: which rows.
        limit: over 0.
        cursor: `seq` of the last row that was read; None to begin.
        upto: the newest row to be read.
        is_ascending: from the oldest to the newest, and not the other way.

    Raises:
        sqlite3.Error: the file cannot be read.
    """
    said, values = wanted.conditions()
    if cursor is not None:
        said.append("seq > ?" if is_ascending else "seq < ?")
        values.append(cursor)
    if upto is not None:
        said.append("seq <= ?")
        values.append(upto)
    where = f" WHERE {' AND '.join(said)}" if said else ""
    found = connection.execute(f"{_SELECT}{where} ORDER BY seq {'ASC' if is_ascending else 'DESC'} LIMIT ?", (*values, limit))
    return [dict(zip(COLUMNS, one, strict=True)) for one in found]


def pages(connection: sqlite3.Connection, wanted: Filter = EVERYTHING, *, is_ascending: bool = False) -> Iterator[list[Row]]:
    """Every row that is there now, in pages. Raises as `page`."""
    upto = newest(connection)
    cursor: int | None = None
    while found := page(connection, wanted, cursor=cursor, upto=upto, is_ascending=is_ascending):
        yield found
        cursor = found[-1]["seq"]


def one(connection: sqlite3.Connection, wanted: str) -> Row | None:
    """The row with the id `wanted`. Raises as `page`."""
    found = connection.execute(f"{_SELECT} WHERE id = ?", (wanted,)).fetchone()
    return None if found is None else dict(zip(COLUMNS, found, strict=True))


def newest(connection: sqlite3.Connection) -> int:
    """The `seq` of the newest row there has ever been; 0 when there was none. Raises as `page`."""
    found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = 'writes'").fetchone()
    return 0 if found is None else int(found[0])


def totals(connection: sqlite3.Connection, after: int = 0) -> dict[tuple[str, str], int]:
    """How many rows with a `seq` over `after` there are, by route and fate. Raises as `page`."""
    found = connection.execute("SELECT route, fate, count(*) FROM writes WHERE seq > ? GROUP BY route, fate", (after,))
    return {(route, fate): count for route, fate, count in found}
