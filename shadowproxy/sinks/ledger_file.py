"""The file of the ledger: its schema, how it is opened, and what becomes of one that is corrupt.

SQLite in WAL mode with synchronous = FULL: a commit has returned only when its rows are on the disk, so what was
acknowledged survives the loss of power. `user_version` numbers the schema; MIGRATIONS leads from each number to the next.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Final
from urllib.parse import quote

from shadowproxy.errors import StateError

APPLICATION_ID: Final = 0x53504C47
"""`SPLG`, in the header of the file: another program's database is never written to."""

BUSY_TIMEOUT_S: Final = 2.0
"""How long another process's lock is waited for: less than a worker waits for its row."""

CACHE_KIB: Final = 16 * 1024
WAL_KEPT_BYTES: Final = 8 * 1024 * 1024
"""What is kept of the log beside the file once it has been written back."""

TO_UNDO: Final = ("partitioned", "passed")
"""Fates of writes that some service has carried out: the scrub list, and what retention by size takes last."""

# Names are those of a row's keys. `seq` is the order in which rows were recorded, hence the order in which writes were let
# through, whatever a clock said. There is no index by trace: traces are random, so each row would touch one more page of the
# file, for a search that takes a second or two in a gigabyte. The last two indexes serve the scrub list and removal by size.
_FIRST: Final = """
CREATE TABLE writes (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    time REAL NOT NULL,
    trace TEXT NOT NULL,
    tenant TEXT NOT NULL,
    listener TEXT NOT NULL,
    route TEXT NOT NULL,
    method TEXT NOT NULL,
    host TEXT NOT NULL,
    target TEXT NOT NULL,
    digest TEXT NOT NULL,
    body_bytes INTEGER NOT NULL,
    fate TEXT NOT NULL,
    reason TEXT NOT NULL,
    "to" TEXT NOT NULL,
    origin TEXT NOT NULL,
    client TEXT NOT NULL,
    status INTEGER NOT NULL DEFAULT 0,
    location TEXT NOT NULL DEFAULT '',
    scrubbed REAL NOT NULL DEFAULT 0
);
CREATE INDEX writes_by_time ON writes (time);
CREATE INDEX writes_to_undo ON writes (scrubbed, seq) WHERE fate IN ('partitioned', 'passed');
CREATE INDEX writes_without_effect ON writes (seq) WHERE fate NOT IN ('partitioned', 'passed');
"""

MIGRATIONS: Final = (_FIRST,)
"""What leads from schema n to n + 1."""

VERSION: Final = len(MIGRATIONS)

CORRUPT: Final = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
"""Primary result codes that say that the file itself is broken."""

Identity = tuple[int, int] | None


def open_to_write(path: str) -> sqlite3.Connection:
    """A connection that commits durably, to the file at `path`, which is made (mode 0600) when it is not there.

    Raises:
        StateError: the file is another program's, or a newer version's.
        sqlite3.Error: the file cannot be used.
        OSError: it cannot be made.
    """
    # Only when it is missing: to close a descriptor of a database drops the locks that this process has on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        _check_owner(connection, path)
        _configure(connection, path)
        _migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def open_to_read(path: str) -> sqlite3.Connection | None:
    """A connection that changes nothing; None where nothing was written yet. It may be open while others write.

    Raises:
        StateError: the file cannot be read, it is no ledger, or of another version.
    """
    if not Path(path).exists():
        return None
    try:
        connection = _connect_to_read(path)
    except sqlite3.Error as error:
        raise StateError(f"{path}: {error}") from None
    try:
        _check_owner(connection, path)
        (version,) = connection.execute("PRAGMA user_version").fetchone()
    except sqlite3.Error as error:
        connection.close()
        raise StateError(f"{path}: {error}") from None
    except StateError:
        connection.close()
        raise
    if version == VERSION:
        return connection
    connection.close()
    if not version:
        return None  # made a moment ago
    raise StateError(f"{path}: schema {version}, this version reads {VERSION}")


def identity(path: str) -> Identity:
    """What tells the file at `path` from another of that name; None when there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116  twice a commit: a Path costs more than the call
    except OSError:
        return None
    return found.st_dev, found.st_ino


def set_aside(path: str) -> str:
    """Rename a corrupt file and its log, so that a fresh one can take its place.

    Returns:
        The new name.

    Raises:
        OSError: it cannot be renamed.
    """
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    aside = f"{path}.corrupt-{stamp}"
    number = 1
    while Path(aside).exists():
        number += 1
        aside = f"{path}.corrupt-{stamp}-{number}"
    # The log first: beside a fresh file it would be read as that file's.
    for suffix in ("-wal", "-shm", ""):
        with contextlib.suppress(FileNotFoundError):
            Path(path + suffix).rename(aside + suffix)
    descriptor = os.open(Path(path).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return aside


def _connect_to_read(path: str) -> sqlite3.Connection:
    url = f"file:{quote(str(Path(path).absolute()))}?mode=ro"
    connection = sqlite3.connect(url, uri=True, timeout=BUSY_TIMEOUT_S, isolation_level=None)
    try:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    except sqlite3.OperationalError:
        connection.close()
        wal = Path(f"{path}-wal")
        # A directory that may not be written to has no room for shared memory; what is in a log could then not be seen.
        if os.access(Path(path).absolute().parent, os.W_OK) or (wal.exists() and wal.stat().st_size):
            raise
        connection = sqlite3.connect(f"{url}&immutable=1", uri=True, isolation_level=None)
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _check_owner(connection: sqlite3.Connection, path: str) -> None:
    """Refuse what is not a ledger of ours.

    Raises:
        StateError: it is another program's, or a newer version's.
    """
    (owner,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if owner != APPLICATION_ID:
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if owner or tables:
            raise StateError(f"{path}: a database, but not a ledger; name another file (tenancy.ledger.path)")
    if version > VERSION:
        raise StateError(f"{path}: schema {version} is of a newer version of shadowproxy, this one knows {VERSION}")


def _configure(connection: sqlite3.Connection, path: str) -> None:
    if connection.execute("PRAGMA user_version").fetchone() == (0,):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
    if mode != "wal":
        raise StateError(f"{path}: the file system does not allow WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA journal_size_limit = {WAL_KEPT_BYTES}")
    connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
    connection.execute("PRAGMA cell_size_check = ON")


def _migrate(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    # In one transaction, and looked at again within it: another process may be at it too.
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        for script in MIGRATIONS[version:]:
            for statement in filter(str.strip, script.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
        connection.execute("COMMIT")
    except BaseException:
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise
