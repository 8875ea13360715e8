"""Writing to the ledger, without its thread: what one attempt answers."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

from shadowproxy.sinks import ledger_file
from shadowproxy.sinks import ledger_writer as module
from shadowproxy.sinks.ledger_retention import Retention
from shadowproxy.sinks.ledger_writer import Submission, Writer
from tests.sinks.ledgering import row

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def writer_at(path: Path) -> Writer:
    """A writer that removes nothing."""
    return Writer(str(path), Retention(1e12, 1 << 30), str)


def test_each_submission_has_its_answer(tmp_path: Path) -> None:
    """In their order; statuses beside a bad row are not lost."""
    writer = writer_at(tmp_path / "l.db")
    first = row()
    assert writer.write([Submission([first], [], print)], {}) == [""]
    answers = writer.write(
        [Submission([row()], [], print), Submission([row(to=None)], [], print), Submission([row()], [], print)], {first["id"]: (200, "")}
    )
    assert [bool(answer) for answer in answers] == [False, True, False]
    assert writer._connection is not None
    assert writer._connection.execute("SELECT count(*), max(status) FROM writes").fetchone() == (3, 200)
    assert (writer.figures.committed, writer.figures.refused) == (3, 1)
    assert "ok" in repr(writer)
    writer.close()


def test_a_bad_row_is_found_in_few_commits(tmp_path: Path) -> None:
    """By halves: not one commit a submission, and all the others are durable, with statuses of rows among them."""
    writer = writer_at(tmp_path / "l.db")
    batch = [Submission([row()], [], print) for _ in range(256)]
    batch[100] = Submission([row(route=None)], [], print)
    answers = writer.write(batch, {batch[255].ids[0]: (204, "")})
    assert [at for at, answer in enumerate(answers) if answer] == [100]
    assert writer.figures.latency.total() < 20
    assert writer.has_written
    assert writer._connection is not None
    assert writer._connection.execute("SELECT count(*), max(status) FROM writes").fetchone() == (255, 204)
    writer.close()


def test_statuses_that_cannot_be_written_are_dropped(tmp_path: Path) -> None:
    """Those of a file that does not work are wanted again."""
    writer = writer_at(tmp_path / "l.db")
    assert writer.write((), {"a": (1 << 70, "")}) == []
    assert writer.has_written
    writer.close()
    writer = writer_at(tmp_path)
    assert writer.write((), {"a": (200, "")}) == []
    assert not writer.has_written


def test_a_clock_that_is_set_ahead_makes_no_row_old(tmp_path: Path) -> None:
    """Rows leave by what has passed since the start, at most an hour early."""
    moment = 1e9
    writer = Writer(str(tmp_path / "l.db"), Retention(86400.0, 1 << 30), str, now=lambda: moment)
    young, old = row(time=moment - 86400 + module.CLOCK_SLACK_S + 60), row(time=moment - 86400 - 60)
    writer.write([Submission([young, old], [], print)], {})
    moment += 366 * 86400.0
    while writer.tend():
        pass
    assert writer._connection is not None
    assert writer._connection.execute("SELECT id FROM writes").fetchall() == [(young["id"],)]
    writer.close()


def test_a_failed_sync_begins_the_log_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an I/O error nothing is acknowledged until the log was written back and truncated."""
    writer = writer_at(tmp_path / "l.db")
    writer.write([Submission([row()], [], print)], {})
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR_FSYNC
    monkeypatch.setattr(writer, "_check_place", lambda: (_ for _ in ()).throw(error))
    assert "disk I/O error" in writer.write([Submission([row()], [], print)], {})[0]
    assert writer._is_suspect
    monkeypatch.undo()
    monkeypatch.setattr(ledger_file, "BUSY_TIMEOUT_S", 0.05)
    reader = sqlite3.connect(tmp_path / "l.db", isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM writes").fetchone()
    other = sqlite3.connect(tmp_path / "l.db", isolation_level=None)  # whose frames the reader keeps in the log
    other.execute("UPDATE writes SET status = 1")
    assert "cannot be written back" in writer.write([Submission([row()], [], print)], {})[0]
    reader.close()
    other.close()
    assert writer.write([Submission([row()], [], print)], {}) == [""]
    assert not writer._is_suspect
    writer.close()


def test_a_disk_that_breaks_everything_is_not_filled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second corrupt file within a minute stays where it is, and rows are refused until it is gone; a later one is renamed again."""
    path = tmp_path / "l.db"
    path.write_bytes(b"not a database" * 500)
    writer = writer_at(path)
    assert "a new ledger is begun" in writer.write([Submission([row()], [], print)], {})[0]
    path.write_bytes(b"nor is this one" * 500)
    for _ in range(3):
        assert "stays where it is" in writer.write([Submission([row()], [], print)], {})[0]
        assert not writer.tend()
    assert len(list(tmp_path.glob("*.corrupt-*"))) == 1
    monkeypatch.setattr(module, "ASIDE_S", 0.0)
    assert "a new ledger is begun" in writer.write([Submission([row()], [], print)], {})[0]
    assert writer.write([Submission([row()], [], print)], {}) == [""]
    assert writer.figures.set_aside == 2
    writer.close()


def test_a_file_that_cannot_be_renamed_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Corrupt, and it has to stay: refused with both reasons."""
    path = tmp_path / "l.db"
    path.write_text("not a database " * 300)

    def fail(_: str) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(module, "set_aside", fail)
    writer = writer_at(path)
    (answer,) = writer.write([Submission([row()], [], print)], {})
    assert "not a database" in answer
    assert "cannot be renamed: Permission denied" in answer
    assert (writer.aside, writer.figures.set_aside) == ("", 0)
