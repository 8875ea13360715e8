"""The ledger's file: durable by its settings, ours, and of a schema that can be changed."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from shadowproxy.errors import StateError
from shadowproxy.sinks import ledger_file as module
from shadowproxy.sinks.ledger_file import APPLICATION_ID, VERSION, identity, open_to_read, open_to_write, set_aside


def test_commits_are_synced(tmp_path: Path) -> None:
    """WAL, and synchronous = FULL (2): each commit waits for the disk."""
    with closing(open_to_write(str(tmp_path / "l.db"))) as connection:
        settings = {
            name: connection.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "auto_vacuum", "user_version")
        }
        assert settings == {"journal_mode": "wal", "synchronous": 2, "auto_vacuum": 2, "user_version": VERSION}


def test_a_schema_is_made_once_and_kept(tmp_path: Path) -> None:
    """Opening again changes nothing."""
    path = str(tmp_path / "l.db")
    open_to_write(path).close()
    before = Path(path).read_bytes()
    open_to_write(path).close()
    assert Path(path).read_bytes() == before


def test_an_older_schema_is_migrated_whole_or_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The missing scripts run in one transaction; one that fails leaves the file as it was."""
    path = str(tmp_path / "l.db")
    open_to_write(path).close()
    monkeypatch.setattr(module, "VERSION", VERSION + 2)
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS, "ALTER TABLE writes ADD COLUMN one TEXT", "nonsense"))
    with pytest.raises(sqlite3.OperationalError, match="nonsense"):
        open_to_write(path)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (VERSION,)
        assert "one" not in {found[1] for found in connection.execute("PRAGMA table_info(writes)")}
    monkeypatch.setattr(module, "MIGRATIONS", (*module.MIGRATIONS[:-1], "ALTER TABLE writes ADD COLUMN two TEXT"))
    with closing(open_to_write(path)) as connection:
        assert {"one", "two"} <= {found[1] for found in connection.execute("PRAGMA table_info(writes)")}


def test_reading_changes_nothing(tmp_path: Path) -> None:
    """A reading connection cannot write."""
    path = str(tmp_path / "l.db")
    open_to_write(path).close()
    connection = open_to_read(path)
    assert connection is not None
    with closing(connection), pytest.raises(sqlite3.OperationalError):
        connection.execute("DELETE FROM writes")


@pytest.mark.parametrize("name", ["ledger?mode=rwc.db", "ledger#1.db", "l %41.db"])
def test_a_name_is_a_name(tmp_path: Path, name: str) -> None:
    """What means something in a URL means nothing in a file's name."""
    open_to_write(str(tmp_path / name)).close()
    found = open_to_read(str(tmp_path / name))
    assert found is not None
    found.close()
    assert name in {path.name for path in tmp_path.iterdir()}


def test_what_is_no_ledger_is_not_read(tmp_path: Path) -> None:
    """A text, a directory, another program's database, another version's: each said. No file and an empty one: nothing yet."""
    (tmp_path / "empty.db").touch()
    (tmp_path / "directory.db").mkdir()
    (tmp_path / "text.db").write_text("no database " * 1000)
    for name, script in (
        ("other.db", "CREATE TABLE t (a)"),
        ("newer.db", f"PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = 99"),
    ):
        with closing(sqlite3.connect(tmp_path / name)) as other:
            other.executescript(script)
    expected = {
        "directory.db": "directory.db: ",
        "text.db": "not a database",
        "other.db": "not a ledger",
        "newer.db": "schema 99",
    }
    for name, problem in expected.items():
        with pytest.raises(StateError, match=problem):
            open_to_read(str(tmp_path / name))
    assert open_to_read(str(tmp_path / "gone.db")) is None
    assert open_to_read(str(tmp_path / "empty.db")) is None


def test_setting_aside_keeps_everything(tmp_path: Path) -> None:
    """File and log get new names, which are never in use."""
    path = tmp_path / "l.db"
    names = set()
    for content in ("first", "second", "third"):
        path.write_text(content)
        Path(f"{path}-wal").write_text(f"{content} log")
        aside = set_aside(str(path))
        names.add(aside)
        assert (Path(aside).read_text(), Path(f"{aside}-wal").read_text()) == (content, f"{content} log")
    assert len(names) == 3
    assert not path.exists()
    assert identity(str(path)) is None
