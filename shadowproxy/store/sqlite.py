"""The store on one SQLite file, used from one thread.

The event loop never touches the database: calls are queued, bounded, and carried out by
the thread, which opens the file when it first needs it and again after every failure. So
a corrupt, read-only, locked or full database costs what depends on it and nothing else,
and heals when its cause goes away.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import queue
import sqlite3
import threading
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

PREFIX: Final = "sqlite:///"

QUEUE_LIMIT: Final = 1000
"""Calls that may wait for the disk; more are refused at once."""

CALL_TIMEOUT_S: Final = 5.0
"""Longest wait for one call: longer than a busy database takes, short enough to notice a dead disk."""

BUSY_TIMEOUT_S: Final = 2.0

_SCHEMA: Final = "CREATE TABLE IF NOT EXISTS entries (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID"
_SET: Final = "INSERT INTO entries (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"

_Call = tuple["Callable[[sqlite3.Connection], str | None]", "asyncio.AbstractEventLoop", "asyncio.Future[str | None]"]


def path_of(url: str) -> str:
    """The file of a `sqlite:///` URL: relative to the working directory after three slashes, absolute after four.

    Raises:
        StateError: it is not such a URL, or it names no file.
    """
    path = url[len(PREFIX) :]
    if not url.startswith(PREFIX) or not path or path.startswith(":"):
        raise StateError(f"state {url!r}: write sqlite:///FILE")
    return path


class SqliteStore:
    """Keys and values in one file, in WAL mode, every write synced."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._problem = ""
        self._queue: queue.Queue[_Call | None] = queue.Queue(QUEUE_LIMIT)
        self._thread: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"<SqliteStore {self.path!r} {self._problem or 'ok'}>"

    @property
    def problem(self) -> str:
        """Why the last call failed; empty when it did not."""
        return self._problem

    async def get(self, key: str) -> str | None:
        """The value of `key`; None when there is none.

        Raises:
            StateError: the database does not work.
        """

        def read(connection: sqlite3.Connection) -> str | None:
            row: Any = connection.execute("SELECT value FROM entries WHERE key = ?", (key,)).fetchone()
            return None if row is None else str(row[0])

        return await self._call(read)

    async def put(self, key: str, value: str) -> None:
        """Set `key`, durably.

        Raises:
            StateError: the database does not work, or too many calls wait for it.
        """

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(_SET, (key, value))

        await self._call(write)

    async def close(self) -> None:
        """Finish what is queued, within CALL_TIMEOUT_S, and close the file."""
        thread = self._thread
        if thread is not None:
            with contextlib.suppress(queue.Full):
                self._queue.put_nowait(None)
                await asyncio.to_thread(thread.join, CALL_TIMEOUT_S)

    async def _call(self, work: Callable[[sqlite3.Connection], str | None]) -> str | None:
        loop = asyncio.get_running_loop()
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="store", daemon=True)
            self._thread.start()
        done: asyncio.Future[str | None] = loop.create_future()
        try:
            self._queue.put_nowait((work, loop, done))
        except queue.Full:
            self._problem = f"{self.path}: {QUEUE_LIMIT} calls wait for the disk"
            raise StateError(self._problem) from None
        try:
            async with asyncio.timeout(CALL_TIMEOUT_S):
                value = await done
        except TimeoutError:
            self._problem = f"{self.path}: no answer from the disk within {CALL_TIMEOUT_S:g} s"
            raise StateError(self._problem) from None
        return value

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while (call := self._queue.get()) is not None:
            work, loop, done = call
            value: str | None = None
            problem = ""
            try:
                connection = connection or _connect(self.path)
                value = work(connection)
            except (sqlite3.Error, OSError) as error:
                problem = f"{self.path}: {error}"
                if connection is not None:
                    with contextlib.suppress(sqlite3.Error):
                        connection.close()
                    connection = None
            self._problem = problem
            with contextlib.suppress(RuntimeError):  # the loop may have ended while the disk was slow
                loop.call_soon_threadsafe(_settle, done, value, problem)
        if connection is not None:
            connection.close()


def _settle(done: asyncio.Future[str | None], value: str | None, problem: str) -> None:
    if done.done():
        return
    if problem:
        done.set_exception(StateError(problem))
    else:
        done.set_result(value)


def _connect(path: str) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))  # before SQLite creates it with the umask's mode
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(_SCHEMA)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
