"""A thread that writes lines, so that a blocked disk, pipe or terminal never blocks the event loop.

Used for the access log and for control's own log. `offer` never blocks: when the queue
is full the line is dropped and counted. The thread writes with `os.write` on a file
descriptor of its own, without buffered file objects, because one that is stuck in a
write must not be able to hold up the interpreter's end.
"""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from typing import Final

STDOUT: Final = "stdout"
STDERR: Final = "stderr"

_STANDARD: Final = {STDOUT: 1, STDERR: 2}
_FILE_MODE: Final = 0o640
_BATCH_BYTES: Final = 64 * 1024

_Order = bytes | str | threading.Event | None


class LineWriter:
    """Appends lines to one sink from a thread of its own.

    Args:
        path: a file to append to, `stdout` or `stderr`.
        limit: lines that may wait; more are dropped.
    """

    def __init__(self, path: str, limit: int = 10_000) -> None:
        self.path = path
        self.limit = limit
        self.dropped = 0
        self.written = 0
        self.problem = ""
        self._queue: queue.Queue[_Order] = queue.Queue(limit)
        self._descriptor = -1
        self._thread = threading.Thread(target=self._run, name=f"lines:{path}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        return f"<LineWriter {self.path!r} written={self.written} dropped={self.dropped} waiting={self._queue.qsize()}>"

    def offer(self, line: bytes) -> bool:
        """Queue one line (without its newline). Never blocks; False when it was dropped."""
        try:
            self._queue.put_nowait(line)
        except queue.Full:
            self.dropped += 1
            return False
        return True

    def reopen(self, path: str | None = None) -> None:
        """Open the file again after the lines queued so far, at `path` if given. May come too late for a full queue: then at the next call."""
        if path is not None:
            self.path = path
        try:
            self._queue.put_nowait(self.path)
        except queue.Full:
            self.problem = f"{self.path}: blocked, cannot be reopened yet"

    def flush(self, timeout: float) -> bool:
        """Wait until what is queued now has been written, for at most `timeout` seconds. Blocks: not for the event loop."""
        written = threading.Event()
        try:
            self._queue.put(written, timeout=timeout)
        except queue.Full:
            return False
        return written.wait(timeout)

    def end(self) -> None:
        """Let the thread write what is queued and end by itself. Never blocks; a blocked sink keeps its thread."""
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)

    def close(self, timeout: float = 1.0) -> None:
        """Write what is queued and end, waiting at most about `timeout` seconds. Blocks."""
        if self.flush(timeout):
            self._queue.put(None)
            self._thread.join(timeout)

    def _run(self) -> None:
        self._open(self.path)
        while True:
            order = self._queue.get()
            batch = bytearray()
            count = 0
            while isinstance(order, bytes):
                batch += order
                batch += b"\n"
                count += 1
                if len(batch) >= _BATCH_BYTES:
                    break
                try:
                    order = self._queue.get_nowait()
                except queue.Empty:
                    break
            if batch:
                self._write(bytes(batch), count)
            if order is None:
                self._close()
                return
            if isinstance(order, str):
                self._open(order)
            elif isinstance(order, threading.Event):
                order.set()

    def _open(self, path: str) -> None:
        self._close()
        try:
            if path in _STANDARD:
                self._descriptor = os.dup(_STANDARD[path])
            else:
                self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, _FILE_MODE)
            self.problem = ""
        except OSError as error:
            self._descriptor = -1
            self.problem = f"{path}: {error.strerror}"

    def _close(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _write(self, lines: bytes, count: int) -> None:
        if self._descriptor < 0:
            self.dropped += count
            return
        rest = memoryview(lines)
        try:
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError as error:
            self.dropped += count
            self.problem = f"{self.path}: {error.strerror}"
            return
        self.written += count
        self.problem = ""
