"""Numbered tagged writes, sent on a schedule, and which of them were acknowledged.

Each write has a number of its own in its target, so that what was acknowledged can be looked for in a ledger, one by
one. A connection carries one write at a time; one that breaks is opened again, and the write that was on it counts as
unknown: it may have been carried out or not, which is what a client of a proxy that is killed knows.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Final, cast

from load.bench.latencies import Latencies

TARGET: Final = "/orders?n="
BODY: Final = b'{"sku":"book-7","quantity":1,"note":"a test of the checkout"}'
RECONNECT_S: Final = 0.02
GRACE_S: Final = 10.0
"""How long answers may take after the last write was due."""


@dataclass(slots=True)
class Written:
    """What came of the writes. `acknowledged` are their numbers; `answers` count statuses; `unknown` had no whole answer."""

    due: int = 0
    acknowledged: set[int] = field(default_factory=set)
    answers: Counter[int] = field(default_factory=Counter)
    unknown: int = 0
    latencies: Latencies = field(default_factory=Latencies)


class _Connection(asyncio.Protocol):
    """One kept-alive connection."""

    def __init__(self, crowd: _Crowd) -> None:
        self._crowd = crowd
        self._transport: asyncio.Transport | None = None
        self._number = -1
        self._due_s = 0.0
        self._received = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._crowd.has_opened(self)

    def close(self) -> None:
        """Hang up."""
        assert self._transport is not None
        self._transport.close()

    def write(self, number: int, due_s: float) -> None:
        """Send one."""
        assert self._transport is not None
        self._number = number
        self._due_s = due_s
        self._transport.write(
            b"POST %b%d HTTP/1.1\r\nHost: shop.example\r\nX-Test-Traffic: bench\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
            % (TARGET.encode(), number, len(BODY), BODY)
        )

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, end, body = self._received.partition(b"\r\n\r\n")
        if not end:
            return
        length = next((int(line[15:]) for line in head.split(b"\r\n") if line[:15].lower() == b"content-length:"), 0)
        if len(body) < length:
            return
        self._received = b""
        status = int(head[9:12])
        written = self._crowd.written
        written.answers[status] += 1
        if status < 300:
            written.acknowledged.add(self._number)
            written.latencies.add(round((time.monotonic() - self._due_s) * 1e9))
        self._number = -1
        if b"\r\nconnection: close" in head.lower():
            assert self._transport is not None
            self._transport.close()
        else:
            self._crowd.is_free(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        if self._number >= 0:
            self._crowd.written.unknown += 1
            self._number = -1
        self._crowd.has_lost(self)


class _Crowd:
    """All connections, and the writes that wait for one."""

    def __init__(self, port: int, connections: int) -> None:
        self.written = Written()
        self._port = port
        self._free: list[_Connection] = []
        self._waiting: deque[tuple[int, float]] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._connections: set[_Connection] = set()
        self._is_over = False
        for _ in range(connections):
            self._connect()

    def has_opened(self, connection: _Connection) -> None:
        self._connections.add(connection)
        if self._is_over:
            connection.close()
        else:
            self.is_free(connection)

    def is_free(self, connection: _Connection) -> None:
        if self._waiting:
            connection.write(*self._waiting.popleft())
        else:
            self._free.append(connection)

    def has_lost(self, connection: _Connection) -> None:
        self._connections.discard(connection)
        if connection in self._free:
            self._free.remove(connection)
        if not self._is_over:
            self._connect()

    def send(self, number: int, due_s: float) -> None:
        self.written.due += 1
        if self._free:
            self._free.pop().write(number, due_s)
        else:
            self._waiting.append((number, due_s))

    @property
    def is_idle(self) -> bool:
        written = self.written
        return sum(written.answers.values()) + written.unknown >= written.due

    def close(self) -> None:
        self._is_over = True
        for task in self._opening:
            task.cancel()
        for connection in self._connections:
            connection.close()

    def _connect(self) -> None:
        task = asyncio.get_running_loop().create_task(self._keep_trying())
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)

    async def _keep_trying(self) -> None:
        while True:
            try:
                await asyncio.get_running_loop().create_connection(lambda: _Connection(self), "127.0.0.1", self._port)
            except OSError:
                await asyncio.sleep(RECONNECT_S)
            else:
                return


async def write(port: int, *, rate: int, seconds: float, connections: int) -> Written:
    """Send `rate` writes a second for so long, and wait for their answers; numbers are from 0."""
    crowd = _Crowd(port, connections)
    began = time.monotonic()
    number = 0
    try:
        while (now := time.monotonic() - began) < seconds:
            while number / rate <= now:
                crowd.send(number, began + number / rate)
                number += 1
            await asyncio.sleep(0.001)
        deadline = time.monotonic() + GRACE_S
        while not crowd.is_idle and time.monotonic() < deadline:  # noqa: ASYNC110  once a run
            await asyncio.sleep(0.05)
    finally:
        crowd.close()
        await asyncio.sleep(0.05)  # closing takes a round or two of the loop
    return crowd.written
