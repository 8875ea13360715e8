"""What leaves the ledger, and in which order.

By age: whatever is older than the retention. By size: while the file holds more than its limit, first what reached nobody
(refused, sunk), then what was undone already (marked as scrubbed), and last of all what is still to be undone; of each
the oldest first, and never a row younger than MINIMUM_AGE_S. When nothing may go, the ledger is full, and takes
no more rows: that is said, and better than to forget what has to be undone.

Work is done in small steps, so that rows waiting for their commit wait some milliseconds at most.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowproxy.sinks.ledger_file import TO_UNDO

if TYPE_CHECKING:
    import sqlite3

MINIMUM_AGE_S: Final = 600.0
"""Rows younger than this stay, whatever the size; unless the retention itself is shorter."""

LEAST_BYTES: Final = 1024 * 1024
"""The lowest limit of the size: an empty file already has a thirtieth of it."""

STEP_ROWS: Final = 100
"""Rows removed in one step: about a millisecond."""

STEP_PAGES: Final = 128
"""Pages given back to the file system in one step."""

_NAMED: Final = "(" + ", ".join(f"'{fate}'" for fate in TO_UNDO) + ")"
_ROWS: Final = "SELECT seq, route, fate, scrubbed FROM writes"
_AGED: Final = f"{_ROWS} WHERE time < ? ORDER BY time LIMIT {STEP_ROWS}"
_BY_SIZE: Final = (
    f"{_ROWS} WHERE fate NOT IN {_NAMED} AND time < ? ORDER BY seq LIMIT {STEP_ROWS}",
    f"{_ROWS} WHERE fate IN {_NAMED} AND scrubbed > 0 AND time < ? ORDER BY scrubbed, seq LIMIT {STEP_ROWS}",
    f"{_ROWS} WHERE fate IN {_NAMED} AND scrubbed = 0 AND time < ? ORDER BY seq LIMIT {STEP_ROWS}",
)


@dataclass(slots=True)
class Removed:
    """What has been removed so far. `rows` by route and fate counts those that were recorded after `after`."""

    after: int = 0
    rows: Counter[tuple[str, str]] = field(default_factory=Counter)
    total: Counter[str] = field(default_factory=Counter)
    unscrubbed: int = 0
    """Of all, those that left for the size while they were still to be undone."""


class Retention:
    """Removes rows, a step at a time. Used by the one thread that writes.

    Args:
        retention_s: age in seconds at which a row leaves.
        max_bytes: what the rows may take, indexes included.
    """

    def __init__(self, retention_s: float, max_bytes: int) -> None:
        self.removed = Removed()
        self.is_full = False
        self.configure(retention_s, max_bytes)

    def __repr__(self) -> str:
        return f"<Retention {self.retention_s:g} s, {self.max_bytes} bytes{', full' if self.is_full else ''}>"

    def configure(self, retention_s: float, max_bytes: int) -> None:
        """Go by other limits from the next step on."""
        self.retention_s = retention_s
        self.max_bytes = max(LEAST_BYTES, max_bytes)

    def restart(self, newest: int) -> None:
        """The file is another one than before; rows after `newest` are of this run."""
        self.removed.after = newest
        self.removed.rows.clear()

    def step(self, connection: sqlite3.Connection, now: float) -> bool:
        """Remove some rows that must go, or give some pages back.

        Args:
            connection: that is not in a transaction.
            now: unix seconds.

        Returns:
            Whether there was something to do: then there may be more.

        Raises:
            sqlite3.Error: the file cannot be written to.
        """
        aged = connection.execute(_AGED, (now - self.retention_s,)).fetchall()
        if aged:
            self._remove(connection, aged)
            return True
        page_bytes, pages, free = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("page_size", "page_count", "freelist_count")
        )
        if (pages - free) * page_bytes > self.max_bytes:
            return self._make_room(connection, now)
        self.is_full = False
        if pages * page_bytes > self.max_bytes and free:
            connection.execute(f"PRAGMA incremental_vacuum({STEP_PAGES})").fetchall()
            return True
        return False

    def _make_room(self, connection: sqlite3.Connection, now: float) -> bool:
        young = now - min(MINIMUM_AGE_S, self.retention_s)
        for query in _BY_SIZE:
            rows = connection.execute(query, (young,)).fetchall()
            if rows:
                self.is_full = False
                self._remove(connection, rows)
                self.removed.unscrubbed += len(rows) if query is _BY_SIZE[-1] else 0
                return True
        self.is_full = True
        return False

    def _remove(self, connection: sqlite3.Connection, rows: list[tuple[int, str, str, float]]) -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.executemany("DELETE FROM writes WHERE seq = ?", [(seq,) for seq, *_ in rows])
        connection.execute("COMMIT")
        for seq, route, fate, _ in rows:
            self.removed.total[fate] += 1
            if seq > self.removed.after:
                self.removed.rows[route, fate] += 1
