"""Which blockouts hold now: their files are looked at every second, and read anew when they have changed.

What a blockout says is worked out for some weeks ahead by a process of its own (`calendar_reader`), so that nothing a calendar file
holds can keep control from its work. A blockout that cannot be read is a closure too: nobody knows whether it holds.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shadowproxy.config.blockouts import read_calendar
from shadowproxy.control.calendar_reader import question
from shadowproxy.errors import CalendarUnreadable
from shadowproxy.experiments.calendar import Closure, Period, closure, frozen, next_period, title, unreadable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowproxy.config.experiments import Blockout

_log = logging.getLogger("shadowproxy.control")

LOOK_S: Final = 1.0
"""How often files are looked at: as soon as that a freeze ends what runs."""

READING_S: Final = 120.0
"""How long reading may take by the clock on the wall, of a busy machine. Other files are looked at meanwhile."""

READERS: Final = 2
"""Processes at once."""

AHEAD: Final = timedelta(days=35)
"""How far blockouts are worked out. Longer than any experiment may run, so that a plan sees what would end it."""

ANEW: Final = timedelta(days=7)
"""When they are worked out anew, though nothing has changed."""

AGAIN: Final = timedelta(minutes=1)
"""When what could not be read is tried again, though nothing has changed."""

Stamp = tuple[int, int, int]
"""Of a file: when it was changed, its size, its inode."""


@dataclass(slots=True)
class _Known:
    """One blockout, and what is known of it."""

    blockout: Blockout
    problem: str = "it was not read yet"
    periods: list[Period] = field(default_factory=list)
    stamp: Stamp | None = None
    is_frozen: bool = False
    since: datetime | None = None
    reading: asyncio.Task[None] | None = None


class Calendars:
    """All blockouts of the config in force.

    Args:
        blockouts: of the config.
        clock: the wall clock, in UTC.

    """

    def __init__(self, blockouts: tuple[Blockout, ...], clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._clock = clock
        self._known = [_Known(blockout) for blockout in blockouts]
        self._readers = asyncio.Semaphore(READERS)

    def __repr__(self) -> str:
        return f"<Calendars {len(self._known)} blockouts, {sum(bool(known.problem) for known in self._known)} unreadable>"

    async def keep(self) -> None:
        """Look at everything now and every second, until cancelled; readers are ended with it."""
        try:
            while True:
                try:
                    await self.look()
                except Exception:  # noqa: BLE001  a bug here must not end the looking
                    _log.exception("blockouts could not be looked at")
                await asyncio.sleep(LOOK_S)
        finally:
            reading = [known.reading for known in self._known if known.reading is not None]
            for task in reading:
                task.cancel()
            await asyncio.gather(*reading, return_exceptions=True)

    def follow(self, blockouts: tuple[Blockout, ...]) -> None:
        """Take up the blockouts of another config; what is known of those that stay is kept."""
        before = {known.blockout: known for known in self._known}
        self._known = [before.get(blockout) or _Known(blockout) for blockout in blockouts]

    def closures(self) -> tuple[Closure, ...]:
        """Why no experiment may begin now, or go on. Never blocks."""
        now = self._clock()
        found = (_closure(known, now) for known in self._known)
        return tuple(one for one in found if one is not None)

    def coming(self, until: datetime) -> tuple[str, ...]:
        """Blockouts that begin before `until`, as sentences: each would end what runs then."""
        now = self._clock()
        found = [(known.blockout, period) for known in self._known if (period := next_period(known.periods, now, until)) is not None]
        return tuple(f"blockout {title(blockout)} begins at {period.start:%Y-%m-%d %H:%M} UTC" for blockout, period in found)

    async def look(self) -> None:
        """Look at every file, and begin to read what has changed."""
        for known in list(self._known):
            with self._told_of(known):
                await self._look_at(known)

    async def settle(self) -> None:
        """Wait until everything is read that is being read."""
        await asyncio.gather(*(known.reading for known in self._known if known.reading is not None))

    async def _look_at(self, known: _Known) -> None:
        blockout, now = known.blockout, self._clock()
        if blockout.freeze_file:
            known.is_frozen = await asyncio.to_thread(_exists, blockout.freeze_file)
            self._note(known, "")
            return
        if known.reading is not None and not known.reading.done():
            return
        stamp = await asyncio.to_thread(_stamp, blockout.ical) if blockout.ical else None
        age = AGAIN if known.problem else ANEW
        # A clock that was set back makes it old as well.
        if stamp == known.stamp and known.since is not None and timedelta(0) <= now - known.since < age:
            return
        known.stamp, known.since = stamp, now
        known.reading = asyncio.get_running_loop().create_task(self._read(known, now))

    async def _read(self, known: _Known, now: datetime) -> None:
        blockout = known.blockout
        async with self._readers:
            with self._told_of(known):
                content = await asyncio.to_thread(read_calendar, blockout.ical) if blockout.ical else b""
                known.periods = await _read(blockout, content, now - timedelta(days=1), now + AHEAD)
                self._note(known, "")

    @contextlib.contextmanager
    def _told_of(self, known: _Known) -> Iterator[None]:
        """Let what goes wrong be what refusals say."""
        try:
            yield
        except (CalendarUnreadable, OSError, ValueError) as error:
            known.stamp = known.stamp if isinstance(error, CalendarUnreadable) else None
            self._note(known, str(getattr(error, "strerror", None) or error))

    def _note(self, known: _Known, problem: str) -> None:
        if problem and problem != known.problem:
            _log.error("blockout %s cannot be read: %s", title(known.blockout), problem)
        known.problem = problem


def _closure(known: _Known, now: datetime) -> Closure | None:
    if known.problem:
        return unreadable(known.blockout, known.problem)
    if known.blockout.freeze_file:
        return frozen(known.blockout) if known.is_frozen else None
    return closure(known.blockout, known.periods, now)


def _exists(file: str) -> bool:
    """Whether there is such a file, even one that we may not read. A directory that we may not look into is an error."""
    try:
        Path(file).lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _stamp(file: str) -> Stamp:
    found = Path(file).stat()
    return found.st_mtime_ns, found.st_size, found.st_ino


async def _read(blockout: Blockout, content: bytes, start: datetime, end: datetime) -> list[Period]:
    """Have a process work out when `blockout` holds.

    Raises:
        CalendarUnreadable: it says that it cannot, ends without an answer, or takes too long.

    """
    reader = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "shadowproxy.control.calendar_reader",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        async with asyncio.timeout(READING_S):
            said, _ = await reader.communicate(question(blockout, content, start, end))
        told = json.loads(said)
    except TimeoutError:
        raise CalendarUnreadable(f"reading it took longer than {READING_S:g} s") from None
    except ValueError:
        raise CalendarUnreadable("reading it needs too much time or memory") from None
    finally:
        if reader.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                reader.kill()
            await reader.wait()
    if "problem" in told:
        raise CalendarUnreadable(told["problem"])
    return [Period.from_plain(period) for period in told["periods"]]
