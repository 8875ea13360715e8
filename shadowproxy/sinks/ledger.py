"""The durable record of every tagged write: rows go in, and are acknowledged once they are on the disk.

The rules of this file:

* `submit` never blocks and never raises; whatever goes wrong is the `problem` that its `done` is called with;
* a row is there once, however often it is submitted: its id decides;
* one thread writes. It takes all that waits, commits it at once (group commit), and only then calls back;
* memory is bounded: beyond WAITING_ROWS or WAITING_BYTES rows are refused at once;
* what is wrong with the file is tried again with the next rows, and every CHECK_S, until it works.

How rows are written is told in `ledger_writer`, what leaves in `ledger_retention`.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from shadowproxy.errors import StateError
from shadowproxy.sinks import ledger_query
from shadowproxy.sinks.ledger_file import open_to_read
from shadowproxy.sinks.ledger_query import EVERYTHING, PAGE
from shadowproxy.sinks.ledger_retention import Retention
from shadowproxy.sinks.ledger_writer import Submission, Writer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowproxy.sinks.ledger_query import Filter, Row
    from shadowproxy.sinks.ledger_writer import Figures

    Done = Callable[[list[str], str], None]

_log = logging.getLogger("shadowproxy.ledger")

_Read = TypeVar("_Read")

WAITING_ROWS: Final = 10_000
"""Rows that may wait for the disk: some tenths of a second of it."""

WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of their targets, the one part of a row that strangers can make long."""

WAITING_STATUSES: Final = 50_000
"""Statuses that may wait; more are dropped, and counted. Their rows are there without them."""

COMMIT_INTERVAL_S: Final = 0.008
"""Commits are at least so far apart: under load one fsync serves several rows, while the first row after a pause does not wait."""

STATUS_S: Final = 0.25
"""Longest wait of statuses for rows, with which they are committed for nothing."""

CHECK_S: Final = 1.0
"""How often retention is looked at, and a ledger that is down is tried."""

STEP_S: Final = 0.02
"""Time between two steps of retention, so that most commits meet none: still 5,000 rows a second."""

CLOSE_S: Final = 5.0
"""How long a close waits for what is queued."""


class Ledger:
    """The ledger in one file. Every method may be called from any thread.

    Args:
        path: of the SQLite file, which is made with the first row, or by `open`.
        retention_s: age in seconds at which rows leave.
        max_bytes: what rows and their indexes may take; see `Retention`.
        redact: takes the secrets out of a target.
        settled: called after all `done` of a commit, by the same thread: wakes whoever passes them on.
        now: the clock that rows' times are of, in unix seconds.
    """

    def __init__(
        self,
        path: str | Path,
        retention_s: float,
        max_bytes: int,
        *,
        redact: Callable[[str], str] = str,
        settled: Callable[[], None] = lambda: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.path = str(path)
        self.retention = Retention(retention_s, max_bytes)
        self._writer = Writer(self.path, self.retention, redact, now)
        self._settled = settled
        # Held while rows are counted: nothing leaves meanwhile, or it would be counted twice, or not at all.
        self._counting = threading.Lock()
        self._wake = threading.Condition()
        self._queue: list[Submission] = []
        self._statuses: dict[str, tuple[int, str]] = {}
        self._statuses_due = 0.0
        self._waiting_rows = 0
        self._waiting_bytes = 0
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self._last_commit = 0.0
        self._next_check = 0.0

    def __repr__(self) -> str:
        return f"<Ledger {self.path!r} committed={self.figures.committed} waiting={self._waiting_rows} {self.problem or 'ok'}>"

    @property
    def problem(self) -> str:
        """Why the last attempt to write failed; empty when it did not."""
        return self._writer.problem

    @property
    def aside(self) -> str:
        """What the last corrupt file was renamed to; empty when there was none."""
        return self._writer.aside

    @property
    def figures(self) -> Figures:
        """What has been counted."""
        return self._writer.figures

    @property
    def waiting(self) -> int:
        """Rows that wait for their commit."""
        return self._waiting_rows

    def open(self) -> None:
        """Open the file before there is a row, so that what is wrong with it is known and old rows leave. Never blocks."""
        with self._wake:
            self._start()

    def configure(self, retention_s: float, max_bytes: int, redact: Callable[[str], str]) -> None:
        """Go by other limits and other secrets from now on."""
        self.retention.configure(retention_s, max_bytes)
        self._writer.redact = redact

    def submit(self, rows: list[Row], done: Done) -> None:
        """Record `rows`. Never blocks.

        Args:
            rows: each with the keys `ledger_query.KEYS`.
            done: called once with their ids, and "" when all of them are durable or else why they do not count as such. From the
                writing thread; or from this one, when the ledger takes no more.
        """
        self._put(Submission(rows, [], done, sum(len(row["target"]) for row in rows)))

    def mark(self, ids: list[str], done: Done) -> None:
        """Note that the writes `ids` have been undone, unless that was noted before. `done` is called as by `submit`."""
        self._put(Submission([], ids, done, sum(map(len, ids))))

    def update(self, row: str, status: int, location: str = "") -> None:
        """Note how a write was answered. Never blocks, is not waited for, and may be dropped.

        Args:
            row: the id of its row, which has been submitted before.
            status: HTTP status.
            location: of what it created; empty when that is not known.
        """
        with self._wake:
            if self._is_closing or (len(self._statuses) >= WAITING_STATUSES and row not in self._statuses):
                self.figures.dropped_statuses += 1
                return
            if not self._statuses:
                self._statuses_due = time.monotonic() + STATUS_S
                self._wake.notify()
            self._statuses[row] = (status, location)
            self._start()

    def rows(self, wanted: Filter = EVERYTHING, *, limit: int = PAGE, cursor: int | None = None, is_ascending: bool = False) -> list[Row]:
        """A page of what is in the file, the newest first; see `ledger_query.page`. Blocks: not for an event loop.

        Raises:
            StateError: the file cannot be read.
        """
        return self._read(
            lambda connection: ledger_query.page(connection, wanted, limit=limit, cursor=cursor, is_ascending=is_ascending), []
        )

    def pages(self, wanted: Filter = EVERYTHING, *, is_ascending: bool = False) -> Iterator[list[Row]]:
        """All rows that there are now, in pages. Each step blocks, and may be taken by another thread. Raises as `rows`."""
        upto = self._read(ledger_query.newest, 0)
        cursor: int | None = None
        while found := self._page(wanted, cursor, upto, is_ascending=is_ascending):
            yield found
            cursor = found[-1]["seq"]

    def row(self, wanted: str) -> Row | None:
        """The row with the id `wanted`. Blocks. Raises as `rows`."""
        return self._read(lambda connection: ledger_query.one(connection, wanted), None)

    def totals(self) -> dict[tuple[str, str], int]:
        """Rows recorded since this ledger was opened, by route and fate, those that have left included. Blocks. Raises as `rows`."""
        nothing: dict[tuple[str, str], int] = {}
        with self._counting:
            removed = self.retention.removed
            gone = Counter(removed.rows)
            return dict(gone + Counter(self._read(lambda connection: ledger_query.totals(connection, removed.after), nothing)))

    def size_bytes(self) -> int:
        """What the file takes, with its log; 0 when it is not there."""
        total = 0
        for suffix in ("", "-wal"):
            with contextlib.suppress(OSError):
                total += Path(self.path + suffix).stat().st_size
        return total

    def close(self) -> None:
        """Finish what is queued, within CLOSE_S, and let go of the file. What comes later is refused. Blocks."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    # -- called by any thread

    def _put(self, submission: Submission) -> None:
        count = len(submission.rows) + len(submission.marks)
        with self._wake:
            refusal = self._refusal(count, submission.size)
            if not refusal:
                self._waiting_rows += count
                self._waiting_bytes += submission.size
                self._queue.append(submission)
                self._start()
                self._wake.notify()
                return
            self.figures.refused += len(submission.rows)
        submission.done(submission.ids, refusal)
        self._settled()

    def _refusal(self, count: int, size: int) -> str:
        """Why no more is taken; empty when it is."""
        if self._is_closing:
            return f"{self.path}: closed"
        if self._waiting_rows + count > WAITING_ROWS or self._waiting_bytes + size > WAITING_BYTES:
            return f"{self.path}: {self._waiting_rows} rows wait for the disk already"
        return ""

    def _start(self) -> None:
        if self._thread is None and not self._is_closing:
            self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
            self._thread.start()

    def _read(self, ask: Callable[[sqlite3.Connection], _Read], nothing: _Read) -> _Read:
        """What `ask` returns, or `nothing` while nothing was written."""
        connection = open_to_read(self.path)
        if connection is None:
            return nothing
        try:
            return ask(connection)
        except sqlite3.Error as error:
            raise StateError(f"{self.path}: {error}") from None
        finally:
            connection.close()

    def _page(self, wanted: Filter, cursor: int | None, upto: int, *, is_ascending: bool) -> list[Row]:
        return self._read(lambda connection: ledger_query.page(connection, wanted, cursor=cursor, upto=upto, is_ascending=is_ascending), [])

    # -- the writing thread

    def _run(self) -> None:
        while True:
            batch, statuses = self._take()
            if batch or statuses:
                self._settle(batch, statuses)
            elif self._is_closing:
                break
            now = time.monotonic()
            if now >= self._next_check:
                self._next_check = now + (STEP_S if self._tend() else CHECK_S)
        self._writer.close()

    def _take(self) -> tuple[list[Submission], dict[str, tuple[int, str]]]:
        """All that waits; nothing when it is time to tend the file, or over."""
        with self._wake:
            while not self._queue and not self._is_closing:
                now = time.monotonic()
                due = min(self._next_check, self._statuses_due) if self._statuses else self._next_check
                if now >= due:
                    break
                self._wake.wait(due - now)
        pause = self._last_commit + COMMIT_INTERVAL_S - time.monotonic()
        if pause > 0 and not self._is_closing:
            time.sleep(pause)
        with self._wake:
            batch, self._queue = self._queue, []
            statuses: dict[str, tuple[int, str]] = {}
            if batch or self._is_closing or (self._statuses and time.monotonic() >= self._statuses_due):
                statuses, self._statuses = self._statuses, {}
        return batch, statuses

    def _settle(self, batch: list[Submission], statuses: dict[str, tuple[int, str]]) -> None:
        """Write a batch, and tell everybody in it."""
        try:
            problems = self._writer.write(batch, statuses)
        except Exception:  # noqa: BLE001 a bug must not end the thread that everybody waits for
            _log.exception("the ledger cannot write")
            problems = ["the ledger cannot write; the log has the details"] * len(batch)
        self._last_commit = time.monotonic()
        with self._wake:
            for submission in batch:
                self._waiting_rows -= len(submission.rows) + len(submission.marks)
                self._waiting_bytes -= submission.size
            if statuses and not self._writer.has_written and not self._is_closing:
                self._statuses = statuses | self._statuses
                self._statuses_due = self._last_commit + CHECK_S
        for submission, problem in zip(batch, problems, strict=True):
            try:
                submission.done(submission.ids, problem)
            except Exception:  # noqa: BLE001 as above; whoever cannot be told will have stopped waiting
                _log.exception("nobody can be told of a commit")
        self._settled()

    def _tend(self) -> bool:
        if not self._counting.acquire(blocking=False):
            return False
        try:
            return self._writer.tend()
        except Exception:  # noqa: BLE001 as above
            _log.exception("the ledger cannot be tended")
            return False
        finally:
            self._counting.release()
