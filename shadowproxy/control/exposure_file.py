"""The file of exposures: one SQLite database, used by one thread.

Three tables: shares (experiments' runs, rollouts, mirrors), steps (their percentages over time) and units (digests, with
counts). A share ends by a step that says so; it goes, with all that belongs to it, when it has been over for long enough.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import sqlite3
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.affected import Hits, Kind, Share, Step, in_order

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

UNITS_LIMIT: Final = 1_000_000
"""Units with a fault that are on record: about 60 MB. Looked at every so often, so that it can be exceeded by what comes between."""

SHARES_LIMIT: Final = 10_000
"""Experiments' runs, rollouts and mirrors that are on record; beyond it those that ended first make room."""

STEPS_LIMIT: Final = 1000
"""Steps of one share; further ones are not recorded until it ends."""

BUSY_TIMEOUT_S: Final = 2.0

DIGEST: Final = re.compile("[0-9a-f]{16}")
"""A unit's digest as messages write it."""

APPLICATION_ID: Final = 0x53504558
"""'SPEX', in the file's header: what tells it from other SQLite files."""

LOST: Final = "interrupted"
"""How something ended that was going on when control died."""

_SCHEMA: Final = """
CREATE TABLE shares (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    said TEXT NOT NULL,
    state TEXT NOT NULL,
    ended REAL,
    dropped INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX shares_by_end ON shares (ended);
CREATE TABLE steps (id TEXT NOT NULL, time REAL NOT NULL, percent REAL NOT NULL, is_paused INTEGER NOT NULL, is_over INTEGER NOT NULL);
CREATE INDEX steps_by_id ON steps (id, time);
CREATE TABLE units (id TEXT NOT NULL, hash BLOB NOT NULL, first REAL NOT NULL, last REAL NOT NULL, count INTEGER NOT NULL, PRIMARY KEY (id, hash)) WITHOUT ROWID;
CREATE TABLE alive (one INTEGER PRIMARY KEY CHECK (one = 1), time REAL NOT NULL);
INSERT INTO alive VALUES (1, 0);
"""

_SHARE: Final = """
INSERT INTO shares (id, kind, key, said, state) VALUES (?, ?, ?, ?, 'running')
ON CONFLICT (id) DO UPDATE SET said = excluded.said, state = 'running', ended = NULL
"""
_STEP: Final = "INSERT INTO steps (id, time, percent, is_paused, is_over) VALUES (?, ?, ?, ?, ?)"
_UNIT: Final = """
INSERT INTO units (id, hash, first, last, count) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (id, hash) DO UPDATE SET last = max(last, excluded.last), first = min(first, excluded.first), count = count + excluded.count
"""
_KNOWN_UNIT: Final = "UPDATE units SET last = max(last, ?), count = count + ? WHERE id = ? AND hash = ?"

_SETS: Final = ("listed", "apart", "later", "tenants")


class FileProblem(Exception):
    """The file cannot be used; the text names it. Never leaves the thread that uses it."""


class ExposureFile:
    """The file at `path`, opened when it is first needed and again after every failure."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._has_begun = False
        self._is_full = False

    def together(self, works: Sequence[Callable[[ExposureFile], Any]]) -> list[Any]:
        """Carry everything out in one transaction.

        Returns:
            What each returned, in order.

        Raises:
            FileProblem: the file cannot be used; nothing was written.
        """
        try:
            self._connection = self._connection or self._open()
            with _transaction(self._connection):
                return [work(self) for work in works]
        except (sqlite3.Error, OSError) as error:
            self.close()
            raise FileProblem(f"{self._path}: {getattr(error, 'strerror', None) or error}") from None

    def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def step(self, share: Share, step: Step) -> None:
        """A share, new or known, at a new step."""
        self._do(_SHARE, (share.id, str(share.kind), share.key, _to_text(share)))
        (count,) = self._one("SELECT count(*) FROM steps WHERE id = ?", (share.id,))
        if count < STEPS_LIMIT:
            self._do(_STEP, (share.id, self._after(share.id, step.time), step.percent, step.is_paused, False))

    def end(self, of: str, state: str, at: float) -> None:
        """A share is over. One that is over already only changes its state."""
        found = self._one("SELECT ended FROM shares WHERE id = ?", (of,))
        if found is None:
            return
        if found[0] is None:
            self._do(_STEP, (of, self._after(of, at), 0.0, False, True))
        self._do("UPDATE shares SET state = ?, ended = coalesce(ended, ?) WHERE id = ?", (state, at, of))

    def add_units(self, of: str, units: Mapping[str, int], at: float) -> None:
        """Count faults of units, by their digests in hex; of a share that is not known, none."""
        rows = [(bytes.fromhex(mark), int(count)) for mark, count in units.items() if DIGEST.fullmatch(mark)]
        if self._one("SELECT 1 FROM shares WHERE id = ?", (of,)) is None:
            return
        assert self._connection is not None
        dropped = len(units) - len(rows)
        if self._is_full:
            before = self._connection.total_changes
            self._connection.executemany(_KNOWN_UNIT, [(at, count, of, mark) for mark, count in rows])
            dropped += len(rows) - (self._connection.total_changes - before)
        else:
            self._connection.executemany(_UNIT, [(of, mark, at, at, count) for mark, count in rows])
        if dropped:
            self._do("UPDATE shares SET dropped = dropped + ? WHERE id = ?", (dropped, of))

    def shares(self, since: float, key: str = "") -> list[Share]:
        """What goes on, or ended at `since` or later, the newest first; only what goes by `key` unless that is empty."""
        rows = self._rows(
            "SELECT id, kind, key, said, state, dropped FROM shares WHERE (ended IS NULL OR ended >= ?) AND (? = '' OR key = ?)",
            (since, key, key),
        )
        found = [self._share(row) for row in rows]
        return sorted(found, key=lambda share: share.steps[-1].time if share.steps else 0.0, reverse=True)

    def hits(self, of: str, mark: int) -> Hits | None:
        """What was done to the unit with this digest; None when nothing is on record."""
        row = self._one("SELECT count, first, last FROM units WHERE id = ? AND hash = ?", (of, mark.to_bytes(8, "big")))
        return None if row is None else Hits(*row)

    def live(self, now: float) -> None:
        """Say that control is alive: what it is busy with goes on until now at least."""
        self._do("UPDATE alive SET time = ?", (now,))

    def forget(self, limit: float) -> None:
        """Remove what has been over since before `limit` (unix seconds), and what is too much."""
        gone = [of for (of,) in self._rows("SELECT id FROM shares WHERE ended < ?", (limit,))]
        (count,) = self._one("SELECT count(*) FROM shares", ()) or (0,)
        excess = count - len(gone) - SHARES_LIMIT
        if excess > 0:
            gone += [of for (of,) in self._rows("SELECT id FROM shares WHERE ended >= ? ORDER BY ended LIMIT ?", (limit, excess))]
        for of in gone:
            for table in ("units", "steps", "shares"):
                self._do(f"DELETE FROM {table} WHERE id = ?", (of,))  # noqa: S608  one of three names
        (units,) = self._one("SELECT count(*) FROM units", ()) or (0,)
        self._is_full = units >= UNITS_LIMIT

    def _share(self, row: tuple[Any, ...]) -> Share:
        of, kind, key, said, state, dropped = row
        rows = self._rows("SELECT time, percent, is_paused, is_over FROM steps WHERE id = ? ORDER BY time, rowid", (of,))
        steps = [Step(time, percent, bool(is_paused), bool(is_over)) for time, percent, is_paused, is_over in rows]
        return replace(_from_text(Kind(kind), of, key, said), steps=in_order(steps), state=state, dropped=dropped)

    def _open(self) -> sqlite3.Connection:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        connection = sqlite3.connect(self._path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
        try:
            _prepare(connection)
            if not self._has_begun:
                with _transaction(connection):
                    _close_what_was_open(connection)
                self._has_begun = True
        except BaseException:
            connection.close()
            raise
        return connection

    def _after(self, of: str, at: float) -> float:
        """`at`, but never before the last step: a clock that is set back must not put things into another order."""
        (last,) = self._one("SELECT max(time) FROM steps WHERE id = ?", (of,))
        return at if last is None else max(at, last)

    def _do(self, statement: str, parameters: tuple[Any, ...]) -> None:
        assert self._connection is not None
        self._connection.execute(statement, parameters)

    def _rows(self, statement: str, parameters: tuple[Any, ...]) -> list[Any]:
        assert self._connection is not None
        return self._connection.execute(statement, parameters).fetchall()

    def _one(self, statement: str, parameters: tuple[Any, ...]) -> Any:
        assert self._connection is not None
        return self._connection.execute(statement, parameters).fetchone()


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _prepare(connection: sqlite3.Connection) -> None:
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    if owner != APPLICATION_ID and (owner or tables):
        raise sqlite3.DatabaseError("a database, but not one of exposures")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")  # otherwise a power cut takes all since the last checkpoint, which may be hours ago
    if not tables:
        with _transaction(connection):
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _close_what_was_open(connection: sqlite3.Connection) -> None:
    """What control was busy with when it ended counts as over since the last thing that is known of it."""
    (alive,) = connection.execute("SELECT time FROM alive").fetchone()
    for of, kind in connection.execute("SELECT id, kind FROM shares WHERE ended IS NULL").fetchall():
        (last,) = connection.execute("SELECT max(last) FROM units WHERE id = ?", (of,)).fetchone()
        (begun,) = connection.execute("SELECT max(time) FROM steps WHERE id = ?", (of,)).fetchone()
        at = max(alive, last or 0.0, begun or 0.0)
        connection.execute(_STEP, (of, at, 0.0, False, True))
        connection.execute("UPDATE shares SET ended = ?, state = ? WHERE id = ?", (at, "" if kind == Kind.MIRROR else LOST, of))


def _to_text(share: Share) -> str:
    said: dict[str, Any] = {name: getattr(share, name) for name in ("name", "offset", "span", "holdout", "to", "effect", "conditions")}
    said["salt"] = share.salt.hex()
    said |= {name: [f"{mark:016x}" for mark in sorted(getattr(share, name))] for name in _SETS}
    return json.dumps(said, separators=(",", ":"))


def _from_text(kind: Kind, of: str, key: str, text: str) -> Share:
    said = json.loads(text)
    sets: dict[str, Any] = {name: frozenset(int(mark, 16) for mark in said.pop(name)) for name in _SETS}
    salt, conditions = bytes.fromhex(said.pop("salt")), tuple(said.pop("conditions"))
    return Share(kind=kind, id=of, key=key, salt=salt, steps=(), conditions=conditions, **sets, **said)
