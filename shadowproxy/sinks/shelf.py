"""What sinks keep, by sink and tenant, in one SQLite file. Survives SIGKILL; bounded in items, bytes and age.

A write is committed when the call returns, or with `is_grouped` when `committed` does: one commit, the most expensive part of a write, then serves
all that one turn of the event loop has written. What is committed is in the write-ahead log, which outlives the process (`synchronous = NORMAL`: a
power cut may cost the last moments, never the file). Calls are made from the event loop: each takes tens of microseconds.

No call reaches another tenant's rows: every statement names sink and tenant, but those that count, and those that age.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import sqlite3
import sys
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Self

from shadowproxy.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK_PATIENCE_S: Final = 5.0
"""How long a new process waits for the one before it to let go of the file."""

BUSY_TIMEOUT_S: Final = 1.0
EVICTED_AT_ONCE: Final = 100
"""When an item is too many, a hundredth of the limit goes, so that not each write has to make room."""

EXPIRY_S: Final = 60.0
"""Old items are looked for so often, or ten times within the age that they may have."""

ROW_BYTES: Final = 100
"""What an item takes beside its body and names, about."""

CONTENTS_BYTES: Final = 16 * 1024 * 1024
"""Bytes of items that are shown at once."""

MEMORY: Final = ":memory:"
HIDDEN: Final = "#"
"""Collections whose names begin so hold notes of sinks, not items."""

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS items (
  sink TEXT NOT NULL, tenant TEXT NOT NULL, collection TEXT NOT NULL, id TEXT NOT NULL,
  body TEXT, over_live INTEGER NOT NULL, version INTEGER NOT NULL, seq INTEGER NOT NULL, at REAL NOT NULL, size INTEGER NOT NULL,
  PRIMARY KEY (sink, tenant, collection, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS marks (
  sink TEXT NOT NULL, tenant TEXT NOT NULL, name TEXT NOT NULL, value INTEGER NOT NULL, at REAL NOT NULL,
  PRIMARY KEY (sink, tenant, name)) WITHOUT ROWID;
"""
_SELECT: Final = "SELECT collection, id, body, over_live, version, at FROM items WHERE sink = ? AND tenant = ?"
_DELETE: Final = "DELETE FROM items WHERE sink = ? AND tenant = ?"


@dataclass(frozen=True, slots=True)
class Item:
    """One thing that a sink keeps. Without a body it is the absence of something that live holds."""

    collection: str
    id: str
    body: str | None
    over_live: bool
    version: int
    at: float


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one sink may keep: items and bytes over all tenants, and seconds."""

    items: int = 10_000
    size: int = 64 * 1024 * 1024
    age_s: float = 7 * 86400.0


class Shelf:
    """The items and counters of all sinks.

    Args:
        path: the file, or MEMORY.
        now: seconds since 1970.

    Raises:
        StateError: another process has the file.
    """

    def __init__(self, path: str = MEMORY, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.problem = ""
        self.evicted: Counter[str] = Counter()
        self.is_grouped = False
        self.losses = 0
        self._now = now
        self._bounds: dict[str, Bounds] = {}
        self._items: dict[str, Counter[str]] = {}
        self._bytes: dict[str, Counter[str]] = {}
        self._totals: dict[str, tuple[int, int]] = {}
        self._seq = 0
        self._next_expiry = 0.0
        self._settled: asyncio.Future[None] | None = None
        self._lock = _locked(path)
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(StateError):
            self._open()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Shelf {self.path!r} {self.problem or f'{sum(items for items, _ in self._totals.values())} items'}>"

    def bound(self, sink: str, bounds: Bounds) -> None:
        """Set what `sink` may keep, from the next write on."""
        self._bounds[sink] = bounds

    def kept(self, sink: str) -> tuple[int, int]:
        """Items and bytes that `sink` keeps."""
        return self._totals.get(sink, (0, 0))

    def tenants(self, sink: str) -> dict[str, int]:
        """How many items each tenant of `sink` has."""
        return {tenant: count for tenant, count in sorted(self._items.get(sink, Counter()).items()) if count > 0}

    def get(self, sink: str, tenant: str, collection: str, key: str) -> Item | None:
        """One item, or the absence of one that live holds; None when nothing is known.

        Raises:
            StateError: the file does not work.
        """
        rows = self._rows(f"{_SELECT} AND collection = ? AND id = ?", (sink, tenant, collection, key))
        return rows[0] if rows else None

    def of_collection(self, sink: str, tenant: str, collection: str) -> list[Item]:
        """A collection's items in the order of their creation. Raises as `get`."""
        return self._rows(f"{_SELECT} AND collection = ? ORDER BY seq", (sink, tenant, collection))

    def contents(self, sink: str, tenant: str, limit: int) -> list[Item]:
        """A tenant's items over all collections, the newest first, as far as CONTENTS_BYTES go. Raises as `get`."""
        return self._rows(
            f"{_SELECT} AND collection NOT LIKE '{HIDDEN}%' ORDER BY at DESC, seq DESC LIMIT ?", (sink, tenant, limit), CONTENTS_BYTES
        )

    def put(
        self, sink: str, tenant: str, collection: str, key: str, body: str | None, *, over_live: bool = False, is_fresh: bool = False
    ) -> Item:
        """Keep an item, in place of the one before it; without a body its absence.

        Args:
            sink: which.
            tenant: whose.
            collection: where.
            key: its id there.
            body: JSON text.
            over_live: whether live holds something of that id.
            is_fresh: the id has just been made: nothing before it is looked for.

        Raises:
            StateError: the file does not work, or the item is larger than all that the sink may keep.
        """
        size = ROW_BYTES + len(collection) + len(key) + len(body or "")
        limit = self._bounds.get(sink, Bounds()).size
        if size > limit:
            raise StateError(f"an item of {size} bytes, limit {limit}")
        with self._transaction() as connection:
            before: Any = None
            if not is_fresh:
                query = "SELECT version, size, seq FROM items WHERE sink = ? AND tenant = ? AND collection = ? AND id = ?"
                before = connection.execute(query, (sink, tenant, collection, key)).fetchone()
            version, size_before, seq = before or (0, 0, self._seq + 1)
            at = self._now()
            connection.execute(
                "INSERT OR REPLACE INTO items VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (sink, tenant, collection, key, body, over_live, version + 1, seq, at, size),
            )
            self._seq = max(self._seq, seq)
            items, total = self.kept(sink)
            gone = self._make_room(connection, (sink, tenant, collection, key), items + (not before), total + size - size_before)
        self._account(sink, tenant, int(not before), size - size_before)
        for loser, lost, lost_bytes in gone:
            self._account(sink, loser, -lost, -lost_bytes)
            self.evicted[sink] += lost
        return Item(collection, key, body, over_live, version + 1, at)

    def drop(self, sink: str, tenant: str, collection: str, key: str) -> bool:
        """Forget an item; whether there was one. Raises as `get`."""
        with self._transaction() as connection:
            return self._delete(connection, "AND collection = ? AND id = ?", (sink, tenant, collection, key)) > 0

    def drop_below(self, sink: str, tenant: str, path: str) -> int:
        """Forget all items of the collections below `path`; how many. Raises as `get`."""
        with self._transaction() as connection:  # 0 is the character after /
            return self._delete(connection, "AND collection >= ? AND collection < ?", (sink, tenant, f"{path}/", f"{path}0"))

    def reset(self, sink: str, tenant: str) -> int:
        """Forget all that a tenant has in a sink, its counters too; how many items that were. Raises as `get`."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM marks WHERE sink = ? AND tenant = ?", (sink, tenant))
            return self._delete(connection, "", (sink, tenant))

    def count(self, sink: str, tenant: str, name: str, first: int = 1) -> int:
        """The next number of a tenant's counter. Raises as `get`."""
        with self._transaction() as connection:
            row: Any = connection.execute(
                "INSERT INTO marks VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET value = value + 1, at = excluded.at RETURNING value",
                (sink, tenant, name, first, self._now()),
            ).fetchone()
        return int(row[0])

    def expire(self) -> None:
        """Forget what is older than it may be, in every sink, if that was not done lately. Raises as `get`."""
        now = self._now()
        if now < self._next_expiry:
            return
        self._next_expiry = now + min([EXPIRY_S, *(bounds.age_s / 10 for bounds in self._bounds.values())])
        for sink, bounds in self._bounds.items():
            with self._transaction() as connection:
                old: Any = connection.execute(
                    "DELETE FROM items WHERE sink = ? AND at < ? RETURNING tenant, size", (sink, now - bounds.age_s)
                )
                for tenant, size in old.fetchall():
                    self._account(sink, tenant, -1, -size)
                connection.execute("DELETE FROM marks WHERE sink = ? AND at < ?", (sink, now - bounds.age_s))
                # Counters are bounded as items are: a stranger may call himself by ever new names.
                newest = "SELECT at FROM marks WHERE sink = ? ORDER BY at DESC LIMIT 1 OFFSET ?"
                connection.execute(f"DELETE FROM marks WHERE sink = ? AND at <= ({newest})", (sink, sink, bounds.items))  # noqa: S608  constants

    async def committed(self, losses: int) -> None:
        """Wait until what was written is committed, with all that others write in the same turn of the event loop.

        Args:
            losses: what `losses` was before the writes.

        Raises:
            StateError: it was not, and is not there.
        """
        if self._connection is not None and self._connection.in_transaction:
            loop = asyncio.get_running_loop()
            if self._settled is None:
                self._settled = loop.create_future()
                loop.call_soon(self._settle)  # after every task that is ready now
            await asyncio.shield(self._settled)
        if self.losses != losses:
            raise StateError(self.problem or f"{self.path}: lost")

    def close(self) -> None:
        """Commit, and let go of the file."""
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.commit()
            self._connection.close()
            self._connection = None
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    # -- inside

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        try:
            connection = _connect(self.path)
            self._recount(connection)
        except (sqlite3.Error, OSError) as error:
            self.problem = f"{self.path}: {error}"
            raise StateError(self.problem) from None
        self.problem = ""
        self._connection = connection
        return connection

    def _recount(self, connection: sqlite3.Connection) -> None:
        self._items, self._bytes, self._totals = {}, {}, {}
        for sink, tenant, items, total, seq in connection.execute(
            "SELECT sink, tenant, COUNT(*), SUM(size), MAX(seq) FROM items GROUP BY sink, tenant"
        ):
            self._account(sink, tenant, items, total)
            self._seq = max(self._seq, seq)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        connection = self._open()
        try:
            if not connection.in_transaction:
                connection.execute("BEGIN IMMEDIATE")
            yield connection
            if not self.is_grouped:
                connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(error)
        except UnicodeEncodeError as error:  # nothing was written; what others wrote in this turn stays
            if not self.is_grouped:
                connection.rollback()
            raise StateError(f"{self.path}: {error.reason}") from None
        self.problem = ""

    def _settle(self) -> None:
        """Commit what this turn of the event loop has written, and tell all who wait."""
        settled, self._settled = self._settled, None
        try:
            if self._connection is not None and self._connection.in_transaction:
                self._connection.execute("COMMIT")
        except sqlite3.Error as error:
            with contextlib.suppress(StateError):
                self._fail(error)
        if settled is not None and not settled.done():
            settled.set_result(None)

    def _rows(self, query: str, values: tuple[Any, ...], most_bytes: int = sys.maxsize) -> list[Item]:
        connection = self._open()
        found: list[Item] = []
        try:
            for row in connection.execute(query, values):
                most_bytes -= len(row[2] or "")
                if most_bytes < 0:
                    break
                found.append(Item(row[0], row[1], row[2], bool(row[3]), row[4], row[5]))
        except sqlite3.Error as error:
            self._fail(error)
        except UnicodeEncodeError:
            pass  # nothing is called so
        return found

    def _fail(self, error: Exception) -> None:
        """Undo what is not committed, and open the file anew at the next call: what is counted is read from it again.

        Raises:
            StateError: always.
        """
        self.losses += 1
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.rollback()
                if self.path == MEMORY:
                    self._recount(self._connection)
                else:
                    self._connection.close()
            self._connection = None if self.path != MEMORY else self._connection
        self.problem = f"{self.path}: {error}"
        raise StateError(self.problem) from None

    def _delete(self, connection: sqlite3.Connection, where: str, values: tuple[Any, ...]) -> int:
        """Delete items of the sink and tenant that `values` begin with."""
        sizes = [row[0] for row in connection.execute(f"{_DELETE} {where} RETURNING size", values)]
        self._account(values[0], values[1], -len(sizes), -sum(sizes))
        return len(sizes)

    def _account(self, sink: str, tenant: str, items: int, total: int) -> None:
        counted = self._items.setdefault(sink, Counter())
        sized = self._bytes.setdefault(sink, Counter())
        counted[tenant] += items
        sized[tenant] += total
        all_items, all_bytes = self._totals.get(sink, (0, 0))
        self._totals[sink] = all_items + items, all_bytes + total
        if counted[tenant] <= 0:
            del counted[tenant], sized[tenant]

    def _make_room(
        self, connection: sqlite3.Connection, kept: tuple[str, str, str, str], items: int, total: int
    ) -> list[tuple[str, int, int]]:
        """Delete the oldest items of the largest tenants, but not `kept`, until `items` and `total` fit: (tenant, items, bytes) that went."""
        gone: list[tuple[str, int, int]] = []
        sink, *this = kept
        bounds = self._bounds.get(sink, Bounds())
        if items <= bounds.items and total <= bounds.size:
            return gone
        # A hundredth more than must go, so that not each write sorts the tenants.
        room, space = bounds.items - bounds.items // EVICTED_AT_ONCE, bounds.size - bounds.size // EVICTED_AT_ONCE
        by_size = self._items if items > bounds.items else self._bytes
        for loser, _ in by_size.get(sink, Counter()).most_common():
            average = max(1, self._bytes[sink][loser] // max(1, self._items[sink][loser]))
            while items > room or total > space:
                surplus = max(1, items - room, (total - space) // average)
                sizes = [
                    row[0]
                    for row in connection.execute(
                        f"{_DELETE} AND (collection, id) IN (SELECT collection, id FROM items WHERE sink = ? AND tenant = ?"  # noqa: S608  constants
                        " AND NOT (tenant = ? AND collection = ? AND id = ?) ORDER BY at, seq LIMIT ?) RETURNING size",
                        (sink, loser, sink, loser, *this, surplus),
                    )
                ]
                if not sizes:
                    break
                items, total = items - len(sizes), total - sum(sizes)
                gone.append((loser, len(sizes), sum(sizes)))
        return gone


def _connect(path: str) -> sqlite3.Connection:
    if path != MEMORY:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # before SQLite creates it with the umask's mode
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, cached_statements=64)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.executescript(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _locked(path: str) -> int:
    """A descriptor that keeps other processes from the file; -1 for memory.

    Raises:
        StateError: another process has it.
    """
    if path == MEMORY:
        return -1
    try:
        # A file of its own: closing the database's would drop SQLite's locks (POSIX), and SQLite closes its own as it likes.
        descriptor = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise StateError(f"{path}.lock: {error.strerror}") from None
    deadline = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() > deadline:
                os.close(descriptor)
                raise StateError(f"{path}: another process keeps what sinks hold there") from None
            time.sleep(0.02)
        else:
            return descriptor
