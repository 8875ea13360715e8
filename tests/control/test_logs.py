"""Control's own log: escaped, stamped, one event a line."""

from __future__ import annotations

import logging
import re
from pathlib import Path

import pytest

from shadowproxy.control.lines import LineWriter
from shadowproxy.control.logs import LineHandler


@pytest.fixture
def lines(tmp_path: Path) -> LineWriter:
    """A writer into a file of the test's own."""
    return LineWriter(str(tmp_path / "log"))


def logged(lines: LineWriter, record: logging.LogRecord) -> str:
    """What one record becomes."""
    LineHandler(lines).handle(record)
    lines.close()
    return Path(lines.path).read_text()


def record(message: str, *arguments: object, exc_info: object = None) -> logging.LogRecord:
    """A log record."""
    return logging.LogRecord("shadowproxy", logging.WARNING, "file", 1, message, arguments, exc_info)  # type: ignore[arg-type]


def test_a_line_has_a_stamp_and_a_level(lines: LineWriter) -> None:
    """RFC 3339 in UTC, level, message."""
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning hello you\n", logged(lines, record("hello %s", "you")))


def test_nothing_can_forge_a_line(lines: LineWriter) -> None:
    """Line ends, escape sequences and other control characters are escaped."""
    text = logged(lines, record("from %s", "evil\r\n2026 critical forged\x1b[31m\x00\u2028\x7f"))
    assert text.count("\n") == 1
    assert r"evil\x0d\x0a2026 critical forged\x1b[31m\x00\u2028\x7f" in text


def test_a_traceback_is_indented_under_its_line(lines: LineWriter) -> None:
    """Lines of a traceback cannot be taken for events."""
    try:
        int("x\ny")
    except ValueError as error:
        text = logged(lines, record("failed", exc_info=(type(error), error, error.__traceback__)))
    first, *rest = text.splitlines()
    assert first.endswith("warning failed")
    assert rest
    assert all(line.startswith("    ") for line in rest)


def test_a_bad_format_does_not_raise(lines: LineWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    """A log call never raises into what it reports on."""
    monkeypatch.setattr(logging, "raiseExceptions", False)
    assert logged(lines, record("%d", "no number")) == ""
