"""Writing to the ledger: one connection, used by one thread.

The rules of this file:

* `write` answers for every submission, "" or a problem, and never raises what a file can do;
* "" only after a commit that was synced to the file that has the ledger's name at that moment: a file that was removed
  or replaced takes writes and keeps none;
* a row that cannot be written costs its own submission and no other;
* after any failure of the file the connection is opened anew. When the failure may have been one of fsync, the log is
  written back and begun anew before anything else: what the kernel dropped may not come to lie below what is acknowledged later;
* a corrupt file is renamed, at most once in ASIDE_S, and said loudly.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import StateError
from shadowproxy.logbuckets import bucket
from shadowproxy.sinks.ledger_file import CORRUPT, TO_UNDO, VERSION, Identity, identity, open_to_write, set_aside
from shadowproxy.sinks.ledger_query import KEYS, newest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shadowproxy.sinks.ledger_query import Row
    from shadowproxy.sinks.ledger_retention import Retention

_log = logging.getLogger("shadowproxy.ledger")

CLOCK_SLACK_S: Final = 3600.0
"""How far the clock may run ahead of what has passed since the start before rows' ages are told by the latter."""

ASIDE_S: Final = 60.0
"""Least time between two corrupt files: a disk that corrupts everything shall not be filled with them."""

FULL: Final = "the ledger has reached its size (tenancy.ledger.max_size), and no row is old enough to leave"

_NUMBERS: Final = ("time", "body_bytes")
_TEXTS: Final = tuple(name for name in KEYS if name not in {"target", *_NUMBERS})
_texts_of: Final = itemgetter(*_TEXTS)

# DO NOTHING for a known id only: OR IGNORE would swallow any row that the table does not take, and call it written.
_COLUMNS: Final = ", ".join(f'"{name}"' for name in (*_TEXTS, *_NUMBERS, "target"))
_INSERT: Final = f"INSERT INTO writes ({_COLUMNS}) VALUES ({', '.join('?' * len(KEYS))}) ON CONFLICT (id) DO NOTHING"  # noqa: S608  constants
_UPDATE: Final = "UPDATE writes SET status = ?, location = coalesce(nullif(?, ''), location) WHERE id = ?"
_MARK: Final = f"UPDATE writes SET scrubbed = ? WHERE id = ? AND scrubbed = 0 AND fate IN ({', '.join('?' * len(TO_UNDO))})"  # noqa: S608  constants

_WRONG_ROW: Final = (
    sqlite3.IntegrityError, sqlite3.InterfaceError, sqlite3.DataError, sqlite3.ProgrammingError, KeyError, TypeError, ValueError, OverflowError,
)  # fmt: skip
"""What a row raises that cannot be written; everything else is the file's fault. UnicodeError is a ValueError."""


@dataclass(slots=True)
class Submission:
    """What is to be durable together: rows, or the ids of writes that have been undone; and who is told."""

    rows: list[Row]
    marks: list[str]
    done: Callable[[list[str], str], None]
    size: int = 0

    @property
    def ids(self) -> list[str]:
        """Of its rows, or those that it marks."""
        return self.marks or [str(row.get("id", "")) for row in self.rows]


@dataclass(slots=True)
class Figures:
    """What a ledger has counted since it was opened."""

    committed: int = 0
    """Rows that are durable; a repeated one counts once."""

    refused: int = 0
    """Rows that were answered with a problem."""

    latency: Counter[int] = field(default_factory=Counter)
    """Commits by their duration, in log buckets of nanoseconds."""

    dropped_statuses: int = 0
    set_aside: int = 0
    """Corrupt files that were renamed."""


class Writer:
    """Commits to the file at `path`, and has it tended by `retention`.

    Args:
        path: of the SQLite file.
        retention: what removes rows.
        redact: takes the secrets out of a target.
        now: the clock that rows' times are of, in unix seconds.
    """

    def __init__(self, path: str, retention: Retention, redact: Callable[[str], str], now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.redact = redact
        self.retention = retention
        self.figures = Figures()
        self.problem = ""
        self.aside = ""
        self.has_written = False
        """Whether the last `write` is done with the statuses."""
        self._now = now
        self._started = now() - time.monotonic()
        self._connection: sqlite3.Connection | None = None
        self._file: Identity = None
        self._log_file: Identity = None
        self._was_open = False
        self._is_suspect = False
        self._aside_at: float | None = None

    def __repr__(self) -> str:
        return f"<Writer {self.path!r} {self.problem or 'ok'}>"

    def write(self, batch: Sequence[Submission], statuses: Mapping[str, tuple[int, str]]) -> list[str]:
        """Commit all of it, or as much as can be.

        Returns:
            For each submission why it does not count as written; empty when it is durable.
            One bad row in a thousand submissions costs twenty commits, and is refused alone.
        """
        self.has_written = False
        if self.retention.is_full and any(submission.rows for submission in batch):
            return self._refuse(batch, f"{self.path}: {FULL}")
        try:
            self._commit(batch, statuses)
        except _WRONG_ROW as error:
            self._roll_back()
            if len(batch) > 1:
                half = len(batch) // 2
                problems = self.write(batch[:half], {}) + self.write(batch[half:], {})
                self.write((), statuses)
                return problems
            _log.error("a row of the ledger cannot be written: %s: %s", type(error).__name__, error)
            self.has_written = not batch  # statuses that cannot be written are not worth another attempt
            return self._refuse(batch, f"a row that cannot be written: {type(error).__name__}")
        except (sqlite3.Error, OSError, StateError) as error:
            self._fail(error)
            return self._refuse(batch, self.problem)
        self.has_written = True
        self._succeed()
        return [""] * len(batch)

    def tend(self) -> bool:
        """Do one step of retention; when the ledger is down, try it. Returns whether there is more to do at once."""
        try:
            connection = self._open()
            if self.problem:
                connection.execute(f"PRAGMA user_version = {VERSION}")  # changes nothing, and is written and synced like everything
            more = self.retention.step(connection, self._age_clock())
        except (sqlite3.Error, OSError, StateError) as error:
            self._fail(error)
            return False
        self._succeed()
        return more

    def _age_clock(self) -> float:
        """The clock that rows are aged by. One that was set ahead by a year must not make every row old; they leave late instead."""
        return min(self._now(), self._started + time.monotonic() + CLOCK_SLACK_S)

    def close(self) -> None:
        """Let go of the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(sqlite3.Error):
                connection.close()

    def _commit(self, batch: Sequence[Submission], statuses: Mapping[str, tuple[int, str]]) -> None:
        rows = [self._tuple(row) for submission in batch for row in submission.rows]
        marks = [one for submission in batch for one in submission.marks]
        updates = [(status, self.redact(location) if location else "", row) for row, (status, location) in statuses.items()]
        connection = self._open()
        began = time.perf_counter_ns()
        connection.execute("BEGIN IMMEDIATE")
        before = connection.total_changes
        connection.executemany(_INSERT, rows)
        added = connection.total_changes - before
        if updates:
            connection.executemany(_UPDATE, updates)
        if marks:
            connection.executemany(_MARK, [(self._now(), one, *TO_UNDO) for one in marks])
        connection.execute("COMMIT")
        self._check_place()
        self.figures.latency[bucket(time.perf_counter_ns() - began)] += 1
        self.figures.committed += added

    def _tuple(self, row: Row) -> tuple[Any, ...]:
        return (*_texts_of(row), float(row["time"]), int(row["body_bytes"]), self.redact(row["target"]))

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        connection = open_to_write(self.path)
        try:
            if self._is_suspect:
                self._begin_log_anew(connection)
            file = identity(self.path)
            if not self._was_open or file != self._file:
                self.retention.restart(newest(connection))
                self._was_open = True
        except BaseException:
            connection.close()
            raise
        self._connection, self._file, self._log_file = connection, file, None
        return connection

    def _begin_log_anew(self, connection: sqlite3.Connection) -> None:
        busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StateError(f"{self.path}: its log cannot be written back while others read it")
        self._is_suspect = False

    def _check_place(self) -> None:
        """Refuse to call durable what went to a file that is not there any more.

        Raises:
            StateError: the file or its log has been removed or replaced.
        """
        log = identity(f"{self.path}-wal")
        if self._log_file is None:
            self._log_file = log
        if log is None or log != self._log_file or identity(self.path) != self._file:
            raise StateError(f"{self.path}: was removed or replaced while it was in use")

    def _refuse(self, batch: Sequence[Submission], problem: str) -> list[str]:
        self.figures.refused += sum(len(submission.rows) for submission in batch)
        return [problem] * len(batch)

    def _roll_back(self) -> None:
        if self._connection is not None and self._connection.in_transaction:
            try:
                self._connection.execute("ROLLBACK")
            except sqlite3.Error:
                self.close()

    def _fail(self, error: Exception) -> None:
        """The file does not work: say so once, let go of it, and set it aside when it is corrupt."""
        code = getattr(error, "sqlite_errorcode", 0)
        self._is_suspect |= code & 0xFF == sqlite3.SQLITE_IOERR
        text = str(error) if isinstance(error, StateError) else f"{self.path}: {getattr(error, 'strerror', None) or error}"
        if code & 0xFF in CORRUPT:
            text = self._set_aside(text)
        self._say(text)
        self.close()

    def _set_aside(self, text: str) -> str:
        now = time.monotonic()
        if self._aside_at is not None and now - self._aside_at < ASIDE_S:
            return f"{text}; corrupt again within {ASIDE_S:g} s, so it stays where it is"
        try:
            self.aside = set_aside(self.path)
        except OSError as error:
            return f"{text}; and it cannot be renamed: {error.strerror}"
        self._aside_at = now
        self.figures.set_aside += 1
        return f"{text}; the file is now {self.aside}, and a new ledger is begun"

    def _say(self, problem: str) -> None:
        if not self.problem:
            _log.critical("tagged writes are refused, the ledger does not work: %s", problem)
        elif problem != self.problem:
            _log.error("the ledger does not work: %s", problem)
        self.problem = problem

    def _succeed(self) -> None:
        if self.retention.is_full:
            self._say(f"{self.path}: {FULL}")
        elif self.problem:
            _log.warning("the ledger works again")
            self.problem = ""
