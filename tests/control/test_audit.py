"""The audit log: append-only, chained, escaped, and readable when the disk is not."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.control.audit import FIRST, KEPT, SYSTEM, TEXT_LIMIT, Actor, Audit, first_broken_line, printable

if TYPE_CHECKING:
    from pathlib import Path


def written(path: Path, count: int) -> list[bytes]:
    """Write `count` records with one Audit, and return all lines of the file."""
    audit = Audit(path)
    for number in range(count):
        audit.record(SYSTEM, "kill", "ok", detail=f"number {number}")
    audit.close()
    return path.read_bytes().splitlines()


def test_lines_are_chained(tmp_path: Path) -> None:
    """Each line names the digest of the one before, over restarts too; the file is private."""
    path = tmp_path / "audit"
    written(path, 3)
    lines = written(path, 2)
    assert json.loads(lines[0])["prev"] == FIRST
    assert [json.loads(line)["seq"] for line in lines] == [1, 2, 3, 4, 5]
    assert first_broken_line(path) is None
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("change", ["edit", "remove", "swap", "first"])
def test_tampering_breaks_the_chain(tmp_path: Path, change: str) -> None:
    """A line that was changed, removed or moved is found."""
    path = tmp_path / "audit"
    lines = written(path, 5)
    if change == "edit":
        lines[1] = lines[1].replace(b"number 1", b"number 9")
    elif change == "remove":
        del lines[2]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    else:
        del lines[0]
    path.write_bytes(b"\n".join(lines) + b"\n")
    assert first_broken_line(path) is not None


def test_a_torn_line_stays_as_evidence(tmp_path: Path) -> None:
    """A line that a crash cut short is kept; the chain goes on behind it, and the break shows."""
    path = tmp_path / "audit"
    lines = written(path, 2)
    path.write_bytes(lines[0] + b"\n" + lines[1][:40])
    after = written(path, 1)
    assert len(after) == 3
    assert first_broken_line(path) == 2


@given(st.text(max_size=50), st.text(max_size=50))
def test_nothing_can_forge_a_line(name: str, detail: str) -> None:
    """Whatever strangers send, a record is one line of printable ASCII."""
    entry = Audit(None).record(Actor(name, "::1"), "auth", "refused", detail=detail)
    text = json.dumps(entry)
    assert text.isascii()
    assert text.isprintable()


def test_values_are_bounded() -> None:
    """A long value is cut."""
    assert len(printable("x" * 10_000)) == TEXT_LIMIT + 3


def test_memory_is_bounded_and_newest_come_first() -> None:
    """The newest records can be read without the file."""
    audit = Audit(None)
    for _ in range(KEPT + 5):
        audit.record(SYSTEM, "kill", "ok")
    assert [one["seq"] for one in audit.latest(2)] == [KEPT + 5, KEPT + 4]
    assert len(audit.latest(10**6)) == KEPT


def test_a_broken_disk_does_not_hide_what_happened(tmp_path: Path) -> None:
    """Without a file records are kept in memory, and the problem is named."""
    audit = Audit(tmp_path / "missing" / "audit")
    audit.record(SYSTEM, "kill", "ok")
    assert "No such file" in audit.problem
    assert audit.latest(1)[0]["action"] == "kill"


def test_a_symlink_is_not_followed(tmp_path: Path) -> None:
    """Nobody can have us append to another file."""
    (tmp_path / "audit").symlink_to(tmp_path / "elsewhere")
    assert Audit(tmp_path / "audit").problem
    assert not (tmp_path / "elsewhere").exists()


def test_the_last_action_is_remembered_over_a_restart(tmp_path: Path) -> None:
    """What the kill switch was last can be read from the log; refused attempts do not count."""
    path = tmp_path / "audit"
    audit = Audit(path)
    assert audit.last_action(("kill", "resume")) is None
    audit.record(SYSTEM, "kill", "ok")
    audit.record(SYSTEM, "resume", "refused")
    audit.close()
    again = Audit(path)
    assert again.last_action(("kill", "resume")) == "kill"
    again.close()
