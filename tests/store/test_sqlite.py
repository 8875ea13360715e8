"""The store on SQLite: durable, bounded, and no harm when the disk is."""

from __future__ import annotations

import sqlite3
import threading
from typing import TYPE_CHECKING

import pytest

from shadowproxy.errors import StateError
from shadowproxy.store import sqlite as module
from shadowproxy.store.sqlite import SqliteStore, path_of

if TYPE_CHECKING:
    from pathlib import Path


async def test_what_was_put_is_there_after_a_restart(tmp_path: Path) -> None:
    """Values survive, and are replaced."""
    first = SqliteStore(str(tmp_path / "s.db"))
    assert await first.get("killed") is None
    await first.put("killed", "true")
    await first.put("killed", "false")
    await first.close()
    second = SqliteStore(str(tmp_path / "s.db"))
    assert await second.get("killed") == "false"
    assert not second.problem
    await second.close()


async def test_the_file_is_private_and_in_wal_mode(tmp_path: Path) -> None:
    """Others cannot read it; readers do not block the writer."""
    store = SqliteStore(str(tmp_path / "s.db"))
    await store.put("a", "b")
    assert (tmp_path / "s.db").stat().st_mode & 0o777 == 0o600
    with sqlite3.connect(tmp_path / "s.db") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    other.close()
    await store.close()


async def test_a_corrupt_file_is_a_problem_and_not_an_end(tmp_path: Path) -> None:
    """The reason is kept, the file is left alone, and a repaired file works at the next call."""
    path = tmp_path / "s.db"
    path.write_bytes(b"not a database" * 500)
    store = SqliteStore(str(path))
    with pytest.raises(StateError, match="not a database"):
        await store.get("a")
    assert "not a database" in store.problem
    assert path.read_bytes().startswith(b"not a database")
    path.unlink()
    await store.put("a", "b")
    assert not store.problem
    await store.close()


async def test_a_place_that_cannot_be_written_is_a_problem() -> None:
    """A read-only file system costs the store and nothing else."""
    store = SqliteStore("/proc/s.db")
    with pytest.raises(StateError):
        await store.put("a", "b")
    await store.close()


async def test_a_full_disk_is_a_problem_until_there_is_room(tmp_path: Path) -> None:
    """SQLite's own refusal is reported; what fits afterwards is written."""
    store = SqliteStore(str(tmp_path / "s.db"))

    def limit(connection: sqlite3.Connection) -> None:
        connection.execute("PRAGMA max_page_count = 1")

    await store.put("a", "b")
    await store._call(limit)
    with pytest.raises(StateError, match="full"):
        await store.put("big", "x" * 100_000)
    await store.put("big", "x" * 100_000)
    assert await store.get("a") == "b"
    await store.close()


async def test_a_locked_database_is_a_problem_and_heals(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer that does not let go costs a bounded wait."""
    monkeypatch.setattr(module, "BUSY_TIMEOUT_S", 0.05)
    store = SqliteStore(str(tmp_path / "s.db"))
    await store.put("a", "b")
    other = sqlite3.connect(tmp_path / "s.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StateError, match="locked"):
        await store.put("a", "c")
    other.execute("ROLLBACK")
    other.close()
    await store.put("a", "d")
    assert await store.get("a") == "d"
    await store.close()


async def test_a_dead_disk_costs_a_bounded_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A call that the disk does not answer ends, calls beyond the queue are refused at once, and all heals."""
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 0.05)
    monkeypatch.setattr(module, "QUEUE_LIMIT", 2)
    store = SqliteStore(str(tmp_path / "s.db"))
    is_answering = threading.Event()
    with pytest.raises(StateError, match="no answer from the disk"):
        await store._call(lambda _: str(is_answering.wait(30)))
    for _ in range(2):
        with pytest.raises(StateError, match="no answer"):
            await store.put("a", "b")
    with pytest.raises(StateError, match="2 calls wait"):
        await store.put("a", "b")
    is_answering.set()
    monkeypatch.setattr(module, "CALL_TIMEOUT_S", 20.0)
    while store._queue.full():
        threading.Event().wait(0.01)
    assert await store.get("a") == "b"
    await store.close()


@pytest.mark.parametrize(("url", "path"), [("sqlite:///a.db", "a.db"), ("sqlite:////var/lib/a.db", "/var/lib/a.db")])
def test_paths(url: str, path: str) -> None:
    """Three slashes are relative, four absolute."""
    assert path_of(url) == path


@pytest.mark.parametrize("url", ["sqlite:///", "sqlite://a.db", "sqlite:///:memory:", "redis://h/0"])
def test_what_names_no_file_is_refused(url: str) -> None:
    """State in memory would not be durable."""
    with pytest.raises(StateError):
        path_of(url)
