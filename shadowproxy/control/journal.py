"""The journal on disk: entries are durable before anybody is told so, and the event loop never waits for it.

The rules of this file:

* one thread reads, writes and syncs; it takes all that waits, writes it at once, and syncs once;
* an entry counts as written only after a sync to the file that has the journal's name at that moment;
* what cannot be written leaves no trace: the file is cut back to its last good entry, and the chain goes on from there;
* once anything has failed, everything is refused until `open` has read and verified the present file again;
* what a crash tore at the end was never acknowledged: it is cut off, and a `torn` entry says so;
* a file that is long enough becomes an older segment (`segments`), and the next one begins with all that a start needs to know of
  it. So a start reads one segment, and of the others the lines that tell what became of each run.

The text of entries is made in `experiments.journal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import json
import logging
import math
import os
import select
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.segments import Segments, Whole, number_of, sync_directory
from shadowproxy.errors import StateError
from shadowproxy.experiments.journal import MILESTONES, SEGMENT, BrokenJournal, Chain, Entry, Places, canonical, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from shadowproxy.config.experiments import Experiments

_log = logging.getLogger("shadowproxy.control")

WAITING_ENTRIES: Final = 20_000
"""Entries that may wait for the disk: a minute of ticks of a few busy workers."""

WAITING_BYTES: Final = 64 * 1024 * 1024
"""Bytes of them."""

PATIENCE_S: Final = 5.0
"""An entry that has waited longer is lost: a disk that hangs is one that does not work."""

COMMIT_INTERVAL_S: Final = 0.01
"""Commits are at least so far apart, so that under load one sync serves several entries."""

CLOSE_S: Final = 2.0
"""How long a close waits for what is queued."""

MILESTONES_KEPT: Final = 500
"""Of one run: the first of them, and then the last."""

_NO_NAME: Final = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EEXIST})
"""What is said where a file gets no second name: its file system knows none, or something else is called so. It can still be written to."""


@dataclass(slots=True)
class _Waiting:
    run: str
    kind: str
    time: float
    body: str
    since: float
    done: asyncio.Future[str] | None


class Journal:
    """The journal of an instance, in the file at `path`.

    Args:
        path: made with the first entry; JSON lines, mode 0600.
        on_failure: called in the event loop with the problem, when entries are lost.
        now: the clock of entries, in Unix seconds.
        standing: asked in the event loop for what the header of a segment is to tell the next start.
    """

    def __init__(
        self,
        path: Path,
        on_failure: Callable[[str], None] = lambda _: None,
        now: Callable[[], float] = time.time,
        standing: Callable[[], dict[str, Any]] = dict,
    ) -> None:
        self.path = path
        self.segment_bytes = sys.maxsize
        """A file as long as this becomes an older segment."""
        self.keep_s = math.inf
        """How long an older segment is kept after the last entry in it, in seconds."""
        self.problem = f"{path}: has not been read yet"
        self.written = 0
        """Entries that are durable, since the start."""
        self.lost = 0
        """Entries that are not."""
        self._on_failure = on_failure
        self._now = now
        self._chain = Chain()
        self._standing = standing
        self._segments = Segments(path)
        self._number = 1
        self._places: dict[str, Places] = {}
        self._is_turning = False
        self._descriptor = -1
        self._size = 0
        self._queue: deque[_Waiting] = deque()
        self._in_hand: list[_Waiting] = []
        self._waiting_bytes = 0
        self._wake = threading.Condition()
        self._is_closing = False
        self._was_good = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def __repr__(self) -> str:
        return f"<Journal {str(self.path)!r} seq={self._chain.seq} waiting={self.waiting} {self.problem or 'ok'}>"

    @property
    def waiting(self) -> int:
        """Entries that wait for the disk."""
        return len(self._queue) + len(self._in_hand)

    @property
    def head(self) -> str:
        """Hash of the last durable entry."""
        return self._chain.head

    def of(self, run: str) -> tuple[int, str]:
        """How many durable entries a run has, and the hash of the last; 0 and "" for none."""
        return self._chain.runs.get(run, (0, ""))

    def configure(self, config: Experiments) -> None:
        """Take up how long segments are, and how long they are kept."""
        self.segment_bytes, self.keep_s = config.journal_segment, config.journal_keep

    async def open(self, visit: Callable[[Entry], None] = lambda _: None) -> str:
        """Read and verify the present file, and be ready to go on behind it.

        Args:
            visit: called by another thread with every entry in it, in order; before them with the milestones of earlier segments.

        Returns:
            Why it cannot be used; empty when it can.
        """
        self._loop = asyncio.get_running_loop()
        if self._in_hand:
            return self.problem  # the disk still holds the thread
        self.problem = await asyncio.to_thread(self._open, visit, self._standing())
        self._was_good |= not self.problem
        self._is_turning = False
        return self.problem

    def append(self, run: str, kind: str, body: dict[str, Any]) -> None:
        """Queue one entry. Never blocks; what cannot be queued, or later not be written, is told to `on_failure`."""
        self._put(run, kind, body, None)

    async def write(self, run: str, kind: str, body: dict[str, Any]) -> str:
        """Queue one entry and wait until it is durable.

        Returns:
            Why it is not; empty when it is.
        """
        done: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._put(run, kind, body, done)
        return await done

    async def caught_up(self) -> None:
        """Wait until what is queued now is durable, or is known not to be: for who reads right after an end."""
        with self._wake:
            last = next(reversed(self._queue or self._in_hand), None)
        if last is None:
            return
        if last.done is None:
            last.done = asyncio.get_running_loop().create_future()
        await asyncio.wait([last.done], timeout=PATIENCE_S)

    def check(self) -> str:
        """Give up on a disk that does not answer any more, and begin a new segment where it is time for one.

        To be called when all that has happened has been queued, too, so that `standing` tells no more and no less than the entries do.

        Returns:
            The problem; empty while there is none.
        """
        waiting = next(iter(self._in_hand or self._queue), None)
        if waiting is not None and not self.problem and time.monotonic() - waiting.since > PATIENCE_S:
            self._fail(f"{self.path}: the disk has not answered for {PATIENCE_S:g} s")
        if self._size >= self.segment_bytes and not self._is_turning and not self.problem:
            self._is_turning = True
            self._put("", SEGMENT, self._standing(), None)
        return self.problem

    def lines(self, run: str) -> Iterator[bytes]:
        """The lines of one run, in order, without their newlines. Blocks: not for the event loop.

        Raises:
            StateError: the file cannot be read.
        """
        wanted, (left, _) = f'"run":{json.dumps(run)},'.encode(), self.of(run)
        with _read_from(self.path):
            for file in self._segments.opened(self._first_of(run)):
                with _read_from(file.name):
                    for line in file:
                        if wanted in line and line.endswith(b"\n") and json.loads(line).get("run") == run:
                            yield line.rstrip(b"\n")
                            left -= 1
                            if not left:
                                return

    def entries(self, run: str) -> Iterator[Entry]:
        """The entries of one run, in order; every entry from the segment that it begins in to its last is verified. Blocks, as above.

        Raises:
            StateError: the journal cannot be read, or is not what was written.
        """
        chain, (left, _) = Chain(), self.of(run)
        with _read_from(self.path):
            for file in self._segments.opened(self._first_of(run)):
                with _read_from(file.name):
                    for entry in read(Whole(file), chain):
                        if entry.run == run:
                            yield entry
                            left -= 1
                            if not left:
                                return

    def close(self) -> None:
        """Finish what is queued, within CLOSE_S, and let go of the file. Blocks."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

    def _first_of(self, run: str) -> int:
        """The segment that a run begins in, as far as that is known."""
        places = self._places.get(run)
        return places[0][0] if places else 0

    # -- the event loop's side

    def _put(self, run: str, kind: str, body: dict[str, Any], done: asyncio.Future[str] | None) -> None:
        problem, text = self.problem, ""
        if not problem:
            try:
                text = canonical(body)
            except (ValueError, TypeError) as error:
                problem = f"{self.path}: an entry of kind {kind} cannot be written: {error}"
        if not problem and (len(self._queue) >= WAITING_ENTRIES or self._waiting_bytes + len(text) > WAITING_BYTES):
            problem = f"{self.path}: {len(self._queue)} entries wait for the disk already"
        if problem:
            self.lost += 1
            if done is not None:
                done.set_result(problem)
            self._fail(problem)
            return
        waiting = _Waiting(run, kind, self._now(), text, time.monotonic(), done)
        with self._wake:
            self._queue.append(waiting)
            self._waiting_bytes += len(text)
            if self._thread is None and not self._is_closing:
                self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
                self._thread.start()
            self._wake.notify()

    def _fail(self, problem: str) -> None:
        """Say once that the journal does not work, and that all that waits is lost."""
        if self.problem:
            return
        self.problem = problem
        _log.critical("experiments end, and none begins: the journal does not work: %s", problem)
        with self._wake:
            waiting, self._queue, self._waiting_bytes = self._queue, deque(), 0
        self._tell([*self._in_hand, *waiting], problem)
        self._on_failure(problem)

    def _tell(self, batch: list[_Waiting], problem: str) -> None:
        if problem:
            self.lost += len(batch)
        else:
            self.written += len(batch)
        for waiting in batch:
            if waiting.done is not None and not waiting.done.done():
                waiting.done.set_result(problem)

    def _settle(self, batch: list[_Waiting], problem: str) -> None:
        if any(waiting.kind == SEGMENT for waiting in batch):
            self._is_turning = False
        if problem:
            self._fail(problem)
        self._tell(batch, problem)

    # -- the thread's side

    def _run(self) -> None:
        while batch := self._take():
            began = time.monotonic()
            problem = self.problem or self._commit(batch)
            self._in_hand = []
            with contextlib.suppress(RuntimeError):  # the loop has ended, and nobody waits any more
                assert self._loop is not None
                self._loop.call_soon_threadsafe(self._settle, batch, problem)
            pause = began + COMMIT_INTERVAL_S - time.monotonic()
            if 0 < pause <= COMMIT_INTERVAL_S and not self._is_closing:
                # For so long, and not until a time: sleeps of Python's wait until a time, which moves away when a clock jumps.
                select.select([], [], [], pause)
        self._let_go()

    def _take(self) -> list[_Waiting]:
        """All that waits; nothing once it is over."""
        with self._wake:
            while not self._queue and not self._is_closing:
                self._wake.wait()
            batch, self._queue, self._waiting_bytes = list(self._queue), deque(), 0
            self._in_hand = batch
            return batch

    def _commit(self, batch: list[_Waiting]) -> str:
        before: list[_Waiting] = []
        for waiting in batch:
            if waiting.kind != SEGMENT:
                before.append(waiting)
                continue
            if problem := self._add(before) or self._turn(waiting):
                return problem
            before = []
        return self._add(before)

    def _add(self, batch: list[_Waiting]) -> str:
        """Append entries. Returns the problem; none of them is there then."""
        if not batch:
            return ""
        chain, text = self._chain.copy(), bytearray()
        milestones: list[tuple[str, int]] = []
        for waiting in batch:
            if waiting.kind in MILESTONES:
                milestones.append((waiting.run, self._size + len(text)))
            text += chain.write(waiting.time, waiting.run, waiting.kind, waiting.body) + b"\n"
        if problem := self._check_place():
            self._let_go()
            return problem
        try:
            self._write(bytes(text))
        except OSError as error:
            self._cut_back()
            return f"{self.path}: {error.strerror or error}"
        self._chain = chain
        for run, offset in milestones:
            self._note(run, offset)
        return ""

    def _turn(self, waiting: _Waiting) -> str:
        """Go on in a new segment. Returns the problem."""
        if problem := self._check_place():
            self._let_go()
            return problem
        chain = self._chain.copy()
        header = chain.write_header(waiting.time, self._number + 1, json.loads(waiting.body), self._places) + b"\n"
        try:
            descriptor = self._segments.turn(self._number, header)
        except OSError as error:
            if error.errno in _NO_NAME:
                self.segment_bytes = sys.maxsize
                _log.error("%s grows on, as it cannot be called %s: %s", self.path, self._segments.older(self._number).name, error.strerror)
                return ""
            self._let_go()
            return f"{self.path}: {error.strerror or error}, when a new segment was to begin"
        self._let_go()
        self._descriptor, self._size, self._chain, self._number = descriptor, len(header), chain, self._number + 1
        self._places = {run: places for run, places in self._places.items() if run in chain.runs}
        self._forget()
        return ""

    def _forget(self) -> None:
        """Remove what has been kept for long enough; that it cannot be removed ends nothing."""
        try:
            for path in self._segments.forget(self._now() - self.keep_s):
                _log.info("%s has been kept for %g days and is removed", path, self.keep_s / 86_400)
        except OSError as error:
            _log.error("old segments of the journal cannot be removed: %s", error)

    def _note(self, run: str, offset: int) -> None:
        """Remember where a milestone is."""
        places = self._places.setdefault(run, [])
        places.append([self._number, offset])
        if len(places) > MILESTONES_KEPT:
            del places[MILESTONES_KEPT // 2]

    def _check_place(self) -> str:
        """Why the file is not the one that the chain ends in; nothing of it is touched then. Empty when it is."""
        try:
            if self._descriptor < 0:
                self._descriptor = self._segments.open_present()
            ours, named = os.fstat(self._descriptor), os.stat(self.path, follow_symlinks=False)  # noqa: PTH116  beside fstat
        except FileNotFoundError:
            return f"{self.path}: was moved away or removed while it was in use"
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
            return f"{self.path}: was moved away or replaced while it was in use"
        return "" if ours.st_size == self._size else f"{self.path}: was changed by somebody else"

    def _write(self, text: bytes) -> None:
        """Append and sync.

        Raises:
            OSError: it did not become durable.
        """
        rest = memoryview(text)
        while rest:
            rest = rest[os.write(self._descriptor, rest) :]
        os.fsync(self._descriptor)
        self._size += len(text)

    def _cut_back(self) -> None:
        with contextlib.suppress(OSError):
            if self._descriptor >= 0:
                os.ftruncate(self._descriptor, self._size)
        self._let_go()

    def _let_go(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _open(self, visit: Callable[[Entry], None], standing: dict[str, Any]) -> str:
        """Verify what is there, and cut off what a crash tore. Returns the problem."""
        self._let_go()
        try:
            self._segments.tidy()
            if not self.path.exists() or not self.path.stat().st_size:
                if self._was_good and self._chain.seq:
                    return self._go_on_in_another(standing)
                if older := self._segments.numbers():
                    return (
                        f"{self.path}: it is not there, but older segments are, the last {self._segments.older(older[-1]).name}. "
                        "Put it back; or put those aside, too, to begin a new journal"
                    )
            torn = self._take_up(visit)
        except OSError as error:
            return f"{self.path}: {error.strerror or error}"
        except BrokenJournal as error:
            return (
                f"{self.path}: {error}; what follows cannot be trusted. Put the file aside, with its older segments, to begin a new journal"
            )
        except (TypeError, ValueError) as error:
            return f"{self.path}: its first line says where nothing can be: {error}"
        except _EntriesMissing:
            return f"{self.path}: the entries written last are missing"
        if not torn:
            return ""
        digest = hashlib.sha256(torn).hexdigest()
        _log.warning("%s: %d bytes at its end, torn by a crash and acknowledged to nobody, were cut off", self.path, len(torn))
        return self._add([_Waiting("", "torn", self._now(), canonical({"bytes": len(torn), "sha256": digest}), 0.0, None)])

    def _take_up(self, visit: Callable[[Entry], None]) -> bytes:
        """Read the present segment, and be at its end. Returns what a crash tore, which is cut off.

        Raises:
            OSError: it cannot be read.
            BrokenJournal: it is not what was written.
            _EntriesMissing: it does not have what it had.
        """
        known, has_known = self._chain.head, not self._was_good
        self._places = {}
        chain, self._descriptor = Chain(), self._segments.open_present()
        with os.fdopen(os.dup(self._descriptor), "rb") as file:
            self._number = number_of(file)
            lines = Whole(file)
            for entry in read(lines, chain):
                has_known |= known in {entry.prev, entry.hash}
                if entry.kind == SEGMENT and not lines.size:
                    self._revisit(entry, visit)
                if entry.kind in MILESTONES:
                    self._note(entry.run, lines.size)
                visit(entry)
        has_none = not lines.size
        if (has_none and self._segments.numbers()) or (not has_known and (self._chain.seq or not has_none)):
            raise _EntriesMissing
        if lines.torn:
            os.ftruncate(self._descriptor, lines.size)
        sync_directory(self.path.parent)
        self._chain, self._size = chain, lines.size
        return lines.torn

    def _revisit(self, header: Entry, visit: Callable[[Entry], None]) -> None:
        """Show the milestones of earlier segments that are still there."""
        self._places = {run: places for run, _, _, places in header.body["runs"] if places}
        wanted = [(number, offset) for places in self._places.values() for number, offset in places]
        for entry in self._segments.entries_at(wanted, self._number):
            if entry.kind in MILESTONES and entry.run in self._places:
                visit(entry)

    def _go_on_in_another(self, standing: dict[str, Any]) -> str:
        """The present file was taken away: the next one begins with a header that follows from what was in it. Returns the problem."""
        chain = self._chain.copy()
        header = chain.write_header(self._now(), self._number + 1, standing, {}) + b"\n"
        self._descriptor, self._size = self._segments.open_present(), 0
        _log.error(
            "%s was moved away while it was in use; the journal goes on in a new file behind entry %d. It is cut into segments by itself, "
            "see experiments.journal_segment: nothing else should move it",
            self.path,
            self._chain.seq,
        )
        try:
            self._write(header)
        except OSError:
            self._cut_back()
            raise
        sync_directory(self.path.parent)
        self._chain, self._number, self._places = chain, self._number + 1, {}
        return ""


class _EntriesMissing(Exception):
    """The file ends before what was durable."""


@contextlib.contextmanager
def _read_from(path: Any) -> Iterator[None]:
    """What is wrong with a file while it is read is a StateError; one that is not there has nothing to read."""
    try:
        yield
    except FileNotFoundError:
        return
    except (OSError, ValueError) as error:
        raise StateError(f"{path}: {getattr(error, 'strerror', None) or error}") from None
