"""The access log: JSON lines, switched by the config, never waited for."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from shadowproxy.config.model import AccessLog
from shadowproxy.control.accesslog import AccessWriter
from tests.redaction.captures import scrubber

if TYPE_CHECKING:
    from pathlib import Path


def test_records_become_lines(tmp_path: Path) -> None:
    """One JSON object a line; what clients send cannot break out of its line."""
    path = tmp_path / "access"
    writer = AccessWriter(AccessLog(path=str(path)))
    writer.write([{"target": "/a\r\n\u2028b"}, {"target": "/c"}])
    writer.close()
    lines = path.read_bytes().splitlines()
    assert [json.loads(line)["target"] for line in lines] == ["/a\r\n\u2028b", "/c"]
    assert path.read_bytes().isascii()
    assert (writer.written, writer.dropped) == (2, 0)


def test_targets_are_redacted(tmp_path: Path) -> None:
    """By whoever knows what is secret; before anybody does, no query is written at all. Records without a target are as they are."""
    path = tmp_path / "access"
    writer = AccessWriter(AccessLog(path=str(path)))
    writer.write([{"target": "/a?token=hunter22"}, {"refused": "x"}])
    writer.redact = scrubber().target
    writer.write([{"target": "/a?token=hunter22&b=1"}])
    writer.close()
    first, second, third = (json.loads(line) for line in path.read_bytes().splitlines())
    assert (first, second) == ({"target": "/a"}, {"refused": "x"})
    assert third["target"].startswith("/a?token=")
    assert third["target"].endswith("&b=1")
    assert "hunter22" not in path.read_text()


def test_no_path_writes_nothing() -> None:
    """Without a path records are let go of."""
    writer = AccessWriter(AccessLog())
    writer.write([{"target": "/"}])
    assert (writer.written, writer.dropped, writer.problem) == (0, 0, "")
    writer.close()


def test_a_new_config_moves_the_log(tmp_path: Path) -> None:
    """A changed path, no path, and the same path again; the counters go on."""
    first, second = tmp_path / "first", tmp_path / "second"
    writer = AccessWriter(AccessLog(path=str(first)))
    writer.write([{"n": 1}])
    assert writer._lines is not None
    assert writer._lines.flush(20)
    writer.configure(AccessLog(path=str(second)))
    writer.write([{"n": 2}])
    assert writer._lines.flush(20)
    second.rename(tmp_path / "rotated")
    writer.configure(AccessLog(path=str(second)))
    writer.write([{"n": 3}])
    assert writer._lines.flush(20)
    assert writer.written == 3
    writer.configure(AccessLog())
    writer.write([{"n": 4}])
    assert [json.loads(path.read_text())["n"] for path in (first, tmp_path / "rotated", second)] == [1, 2, 3]
