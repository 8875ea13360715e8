"""Which blockouts hold now."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from shadowproxy.config.experiments import Blockout
from shadowproxy.control import calendars as calendars_module
from shadowproxy.control.calendars import Calendars

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

NOW = datetime(2026, 3, 10, 9, 0, tzinfo=UTC)
ALWAYS = "DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY"


class Clock:
    """A wall clock that is set by hand."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> datetime:
        """What it shows."""
        return self.now


def write(file: Path, start: str, end: str) -> None:
    """Write a calendar with one event."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:x", "BEGIN:VEVENT", "UID:1", f"DTSTART:{start}", f"DTEND:{end}", "SUMMARY:sale"]
    file.write_bytes("\r\n".join([*lines, "END:VEVENT", "END:VCALENDAR", ""]).encode())


def codes(calendars: Calendars) -> list[str]:
    """What holds, by code."""
    return [closure.code for closure in calendars.closures()]


async def look(calendars: Calendars) -> None:
    """Look at the files, and wait until what has changed is read."""
    await calendars.look()
    await calendars.settle()


async def test_before_it_was_looked_nobody_knows(tmp_path: Path) -> None:
    """A blockout that was not read yet refuses."""
    calendars = Calendars((Blockout(freeze_file=str(tmp_path / "freeze")),))
    assert codes(calendars) == ["calendar_unreadable"]
    await look(calendars)
    assert codes(calendars) == []
    assert "1 blockouts, 0 unreadable" in repr(calendars)


async def test_a_freeze_file_holds_as_long_as_it_exists(tmp_path: Path) -> None:
    """Even one that is a dangling link, or may not be read."""
    file = tmp_path / "freeze"
    calendars = Calendars((Blockout(name="deploys", freeze_file=str(file)),))
    file.symlink_to(tmp_path / "nowhere")
    await look(calendars)
    assert [closure.sentence for closure in calendars.closures()] == [f"blockout deploys: the file {file} exists"]
    file.unlink()
    await look(calendars)
    assert codes(calendars) == []


async def test_a_calendar_that_changes_is_read_again(tmp_path: Path) -> None:
    """An event that comes, a file that breaks, one that goes, and one that is mended: each is seen at the next look."""
    file = tmp_path / "freeze.ics"
    calendars = Calendars((Blockout(name="sales", ical=str(file)),), Clock())
    write(file, "20260310T080000Z", "20260310T100000Z")
    await look(calendars)
    assert [closure.sentence for closure in calendars.closures()] == ["blockout sales (sale) until 2026-03-10 10:00 UTC"]
    file.write_bytes(b"BEGIN:VCALENDAR\r\nBEGIN:VEVENT\r\n")
    await look(calendars)
    assert codes(calendars) == ["calendar_unreadable"]
    write(file, "20260311T080000Z", "20260311T100000Z")
    await look(calendars)
    assert codes(calendars) == []
    assert calendars.coming(NOW + timedelta(days=2)) == ("blockout sales begins at 2026-03-11 08:00 UTC",)
    assert calendars.coming(NOW + timedelta(hours=2)) == ()
    file.unlink()
    await look(calendars)
    (held,) = calendars.closures()
    assert "No such file or directory" in held.sentence


async def test_a_file_that_is_too_large_refuses(tmp_path: Path) -> None:
    """It is not read."""
    file = tmp_path / "huge.ics"
    with file.open("wb") as opened:
        opened.truncate(5 * 1024 * 1024)
    calendars = Calendars((Blockout(ical=str(file)),))
    await look(calendars)
    (held,) = calendars.closures()
    assert "has more than 4194304 bytes" in held.sentence


async def test_what_has_not_changed_is_not_read_again_until_it_is_old(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process a second would be a waste; a look ahead that is used up, or a clock that was set back, asks for one."""
    asked: list[datetime] = []

    async def read(blockout: Blockout, content: bytes, start: datetime, end: datetime) -> list[object]:
        asked.append(start)
        return []

    monkeypatch.setattr(calendars_module, "_read", read)
    clock = Clock()
    calendars = Calendars((Blockout(rrule=ALWAYS),), clock)
    for step in (timedelta(0), timedelta(seconds=5), timedelta(days=8), timedelta(days=-30)):
        clock.now += step
        await look(calendars)
    assert len(asked) == 3


async def test_reading_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    """It refuses, and leaves no process behind."""
    monkeypatch.setattr(calendars_module, "READING_S", 0.0)
    calendars = Calendars((Blockout(rrule=ALWAYS),))
    await look(calendars)
    (held,) = calendars.closures()
    assert "longer than 0 s" in held.sentence


async def test_a_calendar_that_takes_long_keeps_no_freeze_from_being_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files are looked at while others are read; what is being read is not asked for twice; and the end ends it."""
    asked: list[Blockout] = []

    async def read(blockout: Blockout, content: bytes, start: datetime, end: datetime) -> list[object]:
        asked.append(blockout)
        await asyncio.Event().wait()
        return []

    monkeypatch.setattr(calendars_module, "_read", read)
    monkeypatch.setattr(calendars_module, "LOOK_S", 0.01)
    calendars = Calendars((Blockout(rrule=ALWAYS), Blockout(freeze_file=str(tmp_path / "freeze"))))
    keeping = asyncio.create_task(calendars.keep())
    await _until(lambda: bool(asked))
    (tmp_path / "freeze").touch()
    await _until(lambda: codes(calendars) == ["calendar_unreadable", "blockout"])
    await _end(keeping)
    assert len(asked) == 1
    assert len(asyncio.all_tasks()) == 1


async def test_another_config_keeps_what_stays(tmp_path: Path) -> None:
    """A blockout that stays is not unknown for a moment; a new one is until it was read."""
    stays, comes = Blockout(freeze_file=str(tmp_path / "a")), Blockout(freeze_file=str(tmp_path / "b"))
    calendars = Calendars((stays,))
    await look(calendars)
    calendars.follow((stays, comes))
    assert codes(calendars) == ["calendar_unreadable"]
    await look(calendars)
    assert codes(calendars) == []


async def test_it_keeps_looking_until_it_is_cancelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that appears is seen by itself."""
    monkeypatch.setattr(calendars_module, "LOOK_S", 0.01)
    calendars = Calendars((Blockout(freeze_file=str(tmp_path / "freeze")),))
    keeping = asyncio.create_task(calendars.keep())
    await _until(lambda: codes(calendars) == [])
    (tmp_path / "freeze").touch()
    await _until(lambda: codes(calendars) == ["blockout"])
    await _end(keeping)


async def _end(keeping: asyncio.Task[None]) -> None:
    keeping.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await keeping


async def _until(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not is_so():
            await asyncio.sleep(0.01)
