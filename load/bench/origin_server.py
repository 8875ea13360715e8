"""An origin over uvloop that reads whole requests, and that can misbehave on purpose.

`python -m load.bench.origin_server --port N --counts M --mode answer` listens at both ports; any
request to the second is answered with JSON counts {"requests", "connections"}.

Modes
    answer    GET /bytes/N: N bytes, with flow control; any other GET: 200 bytes; a request with a body
              is answered, after its last byte, with 200 bytes of JSON {"received", "first_ns", "last_ns"}
    hang      reads everything, never answers
    late      answers after LATE_S seconds
    reset     sends half an answer and a TCP reset
    endless   sends an answer without end, PIECE bytes every PAUSE_S seconds
    trickle   reads one byte a second from a small receive buffer
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import socket
import struct
import time
from typing import TYPE_CHECKING, Final, cast

import httptools
import uvloop

from load.bench.scenarios import SMALL

if TYPE_CHECKING:
    from collections.abc import Sequence

MODES: Final = ("answer", "hang", "late", "reset", "endless", "trickle")
LATE_S: Final = 3.0
PIECE: Final = bytes(32768)
PAUSE_S: Final = 0.2
"""Paced, so that a stream without end costs the proxy something and does not starve the load beside it."""

BLOCK: Final = bytes(65536)
SMALL_BODY: Final = (b"shadowproxy " * 20)[:SMALL]
LINGER_RESET: Final = struct.pack("ii", 1, 0)
_BYTES_PATH = re.compile(rb"/bytes/(\d+)")


class Counts:
    """What arrived, over all connections."""

    def __init__(self) -> None:
        self.requests = 0
        self.connections = 0

    def body(self) -> bytes:
        """As JSON."""
        return json.dumps({"requests": self.requests, "connections": self.connections}).encode()


def answer(body: bytes) -> bytes:
    """A 200 with a body of known length."""
    return b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\nContent-Length: %d\r\n\r\n" % len(body) + body


class Origin(asyncio.Protocol):
    """One connection. Requests are counted when their head is complete, answered when their body is."""

    def __init__(self, mode: str, counts: Counts) -> None:
        self._mode = mode
        self._counts = counts
        self._loop = asyncio.get_running_loop()
        self._path = b""
        self._received = 0
        self._first_ns = 0
        self._owed = 0  # bytes of a /bytes/N answer that are still to be written
        self._is_open = True
        self._is_paused = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Count the connection."""
        self._transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpRequestParser(self)
        self._counts.connections += 1

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """Stop streaming."""
        self._is_open = False

    def data_received(self, data: bytes) -> None:
        """Parse; the callbacks below do the rest."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._transport.close()

    def on_url(self, url: bytes) -> None:
        """A request begins."""
        self._path = url
        self._received = 0

    def on_headers_complete(self) -> None:
        """The head is here."""
        self._counts.requests += 1

    def on_body(self, body: bytes) -> None:
        """Note when the first byte came."""
        if not self._received:
            self._first_ns = time.monotonic_ns()
        self._received += len(body)

    def on_message_complete(self) -> None:
        """Answer in the way of the mode."""
        if self._mode == "answer":
            self._answer()
        elif self._mode == "late":
            self._loop.call_later(LATE_S, self._answer)
        elif self._mode == "reset":
            self._reset()
        elif self._mode == "endless":
            self._transport.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            self._stream()

    def _answer(self) -> None:
        if not self._is_open:
            return
        if self._received:
            report = {"received": self._received, "first_ns": self._first_ns, "last_ns": time.monotonic_ns()}
            self._transport.write(answer(json.dumps(report).encode().ljust(SMALL)))
        elif match := _BYTES_PATH.match(self._path):
            self._owed = int(match[1])
            self._transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % self._owed)
            self._pour()
        else:
            self._transport.write(answer(SMALL_BODY))

    def _pour(self) -> None:
        while self._owed and self._is_open and not self._is_paused:
            block = BLOCK[: self._owed]
            self._owed -= len(block)
            self._transport.write(block)

    def _stream(self) -> None:
        if not self._is_open:
            return
        if not self._is_paused:
            self._transport.write(b"%x\r\n%b\r\n" % (len(PIECE), PIECE))
        self._loop.call_later(PAUSE_S, self._stream)

    def _reset(self) -> None:
        self._transport.write(answer(SMALL_BODY)[: -SMALL // 2])
        connection = self._transport.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
        # A moment later, so that the half answer is read before the reset throws it away.
        self._loop.call_later(0.005, self._transport.abort)

    def pause_writing(self) -> None:
        """The peer reads slowly."""
        self._is_paused = True

    def resume_writing(self) -> None:
        """The peer caught up."""
        self._is_paused = False
        self._pour()


class CountsPage(Origin):
    """Answers every request with the counts of the other listener."""

    def on_headers_complete(self) -> None:
        """Do not count requests for counts."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Do not count their connections either."""
        super().connection_made(transport)
        self._counts.connections -= 1

    def on_message_complete(self) -> None:
        """Answer."""
        self._transport.write(answer(self._counts.body()))


async def _trickle(listener: socket.socket, counts: Counts) -> None:
    loop = asyncio.get_running_loop()
    readers: set[asyncio.Task[None]] = set()

    async def read_slowly(connection: socket.socket) -> None:
        with connection:
            try:
                while await loop.sock_recv(connection, 1):  # noqa: ASYNC110  slow on purpose
                    await asyncio.sleep(1.0)
            except OSError:
                return

    while True:
        connection, _ = await loop.sock_accept(listener)
        connection.setblocking(False)
        counts.connections += 1
        reader = loop.create_task(read_slowly(connection))
        readers.add(reader)
        reader.add_done_callback(readers.discard)


def listening_socket(port: int, *, receive_buffer: int = 0) -> socket.socket:
    """A non-blocking listener of 127.0.0.1; a small receive buffer is inherited by what it accepts."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if receive_buffer:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    listener.bind(("127.0.0.1", port))
    listener.listen(4096)
    listener.setblocking(False)
    return listener


async def serve(port: int, counts_port: int, mode: str) -> None:
    """Listen at both ports until cancelled."""
    loop = asyncio.get_running_loop()
    counts = Counts()
    await loop.create_server(lambda: CountsPage("answer", counts), sock=listening_socket(counts_port))
    if mode == "trickle":
        await _trickle(listening_socket(port, receive_buffer=4096), counts)
    else:
        await loop.create_server(lambda: Origin(mode, counts), sock=listening_socket(port))
        await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one origin until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--counts", type=int, required=True)
    parser.add_argument("--mode", choices=MODES, default="answer")
    chosen = parser.parse_args(arguments)
    uvloop.run(serve(chosen.port, chosen.counts, chosen.mode))


if __name__ == "__main__":
    main()
