"""One end of the stream between control and a worker.

asyncio's own transports close a socket when a write to it fails, and what the peer had
already sent is lost with it. Here a failed write only ends writing: everything that a
dying worker managed to say is read to the end, because its last tally is in there.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from shadowproxy.dataplane import messages

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

_log = logging.getLogger("shadowproxy.control")

READ_SIZE: Final = 256 * 1024
"""Bytes of one read: a tally of a thousand mirrors fits, and the loop is not held for long."""

BACKLOG_LIMIT: Final = 4 * messages.FRAME_LIMIT
"""Bytes that may wait for a worker that does not read; beyond it the worker is beyond help."""


class Channel:
    """Frames to and from one worker.

    `on_message` gets each message, in order; `on_end` is called once, after the last of
    them. Both are called from the event loop and must not block.
    """

    def __init__(self, sock: socket.socket, on_message: Callable[[messages.Message], None], on_end: Callable[[str], None]) -> None:
        self._sock = sock
        self._loop = asyncio.get_running_loop()
        self._decoder = messages.Decoder()
        self._out = bytearray()
        self._on_message = on_message
        self._on_end = on_end
        self._is_open = True
        self._is_writable = True
        sock.setblocking(False)
        self._loop.add_reader(sock, self._read)

    def __repr__(self) -> str:
        return f"<Channel {'open' if self._is_open else 'ended'} waiting={len(self._out)}>"

    def send(self, message: messages.Message) -> None:
        """Queue one message. Never blocks; silently too late once the worker has gone."""
        self.send_frame(messages.encode(message))

    def send_frame(self, frame: bytes) -> None:
        """`send` for what has been encoded already, so that a large policy is encoded once for all workers."""
        if not self._is_open or not self._is_writable:
            return
        if len(self._out) + len(frame) > BACKLOG_LIMIT:
            self._end(f"{len(self._out)} bytes wait for a worker that does not read, limit {BACKLOG_LIMIT}")
            return
        was_empty = not self._out
        self._out += frame
        if was_empty:
            self._write()

    def close(self) -> None:
        """Let go of the socket; `on_end` is not called."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._sock)
            self._loop.remove_writer(self._sock)
            self._sock.close()

    def _write(self) -> None:
        try:
            sent = self._sock.send(self._out)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            _log.debug("cannot write to a worker: %s", error)
            self._is_writable = False
            self._out.clear()
            self._loop.remove_writer(self._sock)
            return
        del self._out[:sent]
        if self._out:
            self._loop.add_writer(self._sock, self._write)
        else:
            self._loop.remove_writer(self._sock)

    def _read(self) -> None:
        try:
            received = self._sock.recv(READ_SIZE)
        except (BlockingIOError, InterruptedError):
            return
        except ConnectionResetError:  # it ended with messages of ours unread; all of its own have been read
            received = b""
        except OSError as error:
            self._end(str(error))
            return
        if not received:
            self._end("")
            return
        try:
            decoded = self._decoder.feed(received)
        except (ValueError, RecursionError) as error:
            self._end(f"not a frame: {error}")
            return
        for message in decoded:
            self._on_message(message)

    def _end(self, problem: str) -> None:
        if self._is_open:
            self.close()
            self._on_end(problem)
