"""The journal on disk: entries are durable before anybody is told so, and the event loop never waits for it.

The rules of this file:

* one thread reads, writes and syncs; it takes all that waits, writes it at once, and syncs once;
* an entry counts as written only after a sync to the file that has the journal's name at that moment;
* what cannot be written leaves no trace: the file is cut back to its last good entry, and the chain goes on from there;
* once anything has failed, everything is refused until `open` has read and verified the whole file again;
* what a crash tore at the end was never acknowledged: it is cut off, and a `torn` entry says so.

The text of entries is made in `experiments.journal`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import logging
import os
import select
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import StateError
from shadowproxy.experiments.journal import BrokenJournal, Chain, Entry, canonical, read

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

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

_MODE: Final = 0o600


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
    """

    def __init__(self, path: Path, on_failure: Callable[[str], None] = lambda _: None, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.problem = f"{path}: has not been read yet"
        self.written = 0
        """Entries that are durable, since the start."""
        self.lost = 0
        """Entries that are not."""
        self._on_failure = on_failure
        self._now = now
        self._chain = Chain()
        self._heads: dict[str, str] = {}
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
        return self._chain.counts.get(run, 0), self._heads.get(run, "")

    async def open(self, visit: Callable[[Entry], None] = lambda _: None) -> str:
        """Read and verify the whole file, and be ready to go on behind it.

        Args:
            visit: called with every entry, in order, by another thread.

        Returns:
            Why it cannot be used; empty when it can.
        """
        self._loop = asyncio.get_running_loop()
        if self._in_hand:
            return self.problem  # the disk still holds the thread
        self.problem = await asyncio.to_thread(self._open, visit)
        self._was_good |= not self.problem
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

    def check(self) -> str:
        """Give up on a disk that does not answer any more. Returns the problem; empty while there is none."""
        waiting = next(iter(self._in_hand or self._queue), None)
        if waiting is not None and not self.problem and time.monotonic() - waiting.since > PATIENCE_S:
            self._fail(f"{self.path}: the disk has not answered for {PATIENCE_S:g} s")
        return self.problem

    def lines(self, run: str) -> Iterator[bytes]:
        """The lines of one run, in order, without their newlines. Blocks: not for the event loop.

        Raises:
            StateError: the file cannot be read.
        """
        wanted = f'"run":{json.dumps(run)},'.encode()
        try:
            with self.path.open("rb") as file:
                for line in file:
                    if wanted in line and line.endswith(b"\n") and json.loads(line).get("run") == run:
                        yield line.rstrip(b"\n")
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            raise StateError(f"{self.path}: {getattr(error, 'strerror', None) or error}") from None

    def entries(self, run: str) -> Iterator[Entry]:
        """The entries of one run, in order, while every entry of the file is verified. Blocks: not for the event loop.

        Raises:
            StateError: the file cannot be read, or is not what was written.
        """
        try:
            with self.path.open("rb") as file:
                yield from (entry for entry in read(_Whole(file)) if entry.run == run)
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror or error}") from None
        except BrokenJournal as error:
            raise StateError(f"{self.path}: {error}") from None

    def close(self) -> None:
        """Finish what is queued, within CLOSE_S, and let go of the file. Blocks."""
        with self._wake:
            self._is_closing = True
            self._wake.notify()
        if self._thread is not None:
            self._thread.join(CLOSE_S)

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
        chain, heads = self._chain.copy(), {}
        text = bytearray()
        for waiting in batch:
            text += chain.write(waiting.time, waiting.run, waiting.kind, waiting.body) + b"\n"
            heads[waiting.run] = chain.head
        problem = self._check_place()
        if problem:
            self._let_go()
            return problem
        try:
            self._write(bytes(text))
        except OSError as error:
            self._cut_back()
            return f"{self.path}: {error.strerror or error}"
        self._chain = chain
        self._heads |= heads
        return ""

    def _check_place(self) -> str:
        """Why the file is not the one that the chain ends in; nothing of it is touched then. Empty when it is."""
        try:
            if self._descriptor < 0:
                self._descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
            ours, named = os.fstat(self._descriptor), os.stat(self.path, follow_symlinks=False)  # noqa: PTH116  beside fstat
        except OSError as error:
            return f"{self.path}: {error.strerror}"
        if (ours.st_dev, ours.st_ino) != (named.st_dev, named.st_ino):
            return f"{self.path}: was replaced while it was in use"
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

    def _open(self, visit: Callable[[Entry], None]) -> str:
        """Verify what is there, and cut off what a crash tore. Returns the problem."""
        known = self._chain.head
        self._let_go()
        chain, heads, size, has_known = Chain(), dict[str, str](), 0, not self._was_good
        try:
            descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW, _MODE)
            with os.fdopen(os.dup(descriptor), "rb") as file:
                self._descriptor = descriptor
                lines = _Whole(file)
                for entry in read(lines, chain):
                    heads[entry.run] = entry.hash
                    has_known |= entry.hash == known
                    visit(entry)
                size = lines.size
            torn = lines.torn
            if size and not has_known:
                return f"{self.path}: the entries written last are missing"
            if torn:
                os.ftruncate(descriptor, size)
            _sync_directory(self.path.parent)
        except OSError as error:
            return f"{self.path}: {error.strerror or error}"
        except BrokenJournal as error:
            return f"{self.path}: {error}; what follows cannot be trusted. Put the file aside to begin a new journal"
        self._chain, self._heads, self._size = chain, heads, size
        if not torn:
            return ""
        digest = hashlib.sha256(torn).hexdigest()
        return self._commit([_Waiting("", "torn", self._now(), canonical({"bytes": len(torn), "sha256": digest}), 0.0, None)])


class _Whole:
    """The whole lines of a file; `torn` is what stands behind the last of them, `size` how many bytes they have."""

    def __init__(self, file: Any) -> None:
        self.size = 0
        self.torn = b""
        self._file = file

    def __iter__(self) -> Iterator[bytes]:
        for line in self._file:
            if not line.endswith(b"\n"):
                self.torn = line
                return
            yield line
            self.size += len(line)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
