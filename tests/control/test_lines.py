"""Lines written by a thread: in order, droppable, never waited for."""

from __future__ import annotations

import contextlib
import os
import threading
from typing import TYPE_CHECKING

from shadowproxy.control.lines import LineWriter
from tests.kit.process import eventually

if TYPE_CHECKING:
    from pathlib import Path


def test_lines_are_written_in_order(tmp_path: Path) -> None:
    """What is offered is written, one line each, in order."""
    writer = LineWriter(str(tmp_path / "log"))
    for number in range(1000):
        assert writer.offer(b"%d" % number)
    writer.close()
    assert (tmp_path / "log").read_bytes().split() == [b"%d" % number for number in range(1000)]
    assert (writer.written, writer.dropped, writer.problem) == (1000, 0, "")


def test_a_full_pipe_drops_and_counts(tmp_path: Path) -> None:
    """A sink that nobody reads never blocks the caller: lines are dropped, counted, and flow again when it is read."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = LineWriter(str(fifo), limit=100)
    try:
        line = b"x" * 999
        offered = 0
        while not writer.dropped:
            writer.offer(line)
            offered += 1
        assert offered < 10_000

        def read_all() -> bool:
            with contextlib.suppress(BlockingIOError):
                os.read(reader, 1 << 20)
            return writer.written + writer.dropped == offered

        eventually(read_all, "the pipe is drained")
        assert writer.dropped > 0
    finally:
        writer.close()
        os.close(reader)


def test_a_blocked_sink_does_not_hold_up_the_end(tmp_path: Path) -> None:
    """Closing waits a bounded time for a pipe that nobody reads."""
    fifo = tmp_path / "pipe"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writer = LineWriter(str(fifo))
    writer.offer(b"x" * 1_000_000)
    closing = threading.Thread(target=writer.close, args=(0.05,))
    closing.start()
    closing.join(20)
    assert not closing.is_alive()
    os.close(reader)
    writer.end()
    writer._thread.join(20)
    assert not writer._thread.is_alive()


def test_reopening_follows_a_rotation(tmp_path: Path) -> None:
    """After the file was moved away, reopening starts a new one under the old name."""
    path = tmp_path / "log"
    writer = LineWriter(str(path))
    writer.offer(b"before")
    assert writer.flush(20)
    path.rename(tmp_path / "log.1")
    writer.reopen()
    writer.offer(b"after")
    writer.close()
    assert (tmp_path / "log.1").read_bytes() == b"before\n"
    assert path.read_bytes() == b"after\n"


def test_a_sink_that_cannot_be_opened_drops_and_says_so(tmp_path: Path) -> None:
    """A missing directory is a problem to read, not an exception; it heals on reopening."""
    writer = LineWriter(str(tmp_path / "missing" / "log"))
    writer.offer(b"lost")
    assert writer.flush(20)
    assert (writer.dropped, writer.written) == (1, 0)
    assert "No such file" in writer.problem
    (tmp_path / "missing").mkdir()
    writer.reopen()
    writer.offer(b"kept")
    writer.close()
    assert (writer.written, writer.problem) == (1, "")


def test_a_full_disk_drops_and_heals() -> None:
    """No space left is counted and named."""
    writer = LineWriter("/dev/full")
    writer.offer(b"lost")
    assert writer.flush(20)
    assert writer.dropped == 1
    assert "No space left" in writer.problem
    writer.close()
