"""A request that goes out slowly: stands for a connection's transport until the last byte of the request has gone.

The head goes at once and the body at a rate. What waits is bounded: beyond HIGH bytes the client is paused, as it is where
an endpoint reads slowly. While anything waits the connection does not count the request as sent, so a connection whose
endpoint answers early is not kept (EXP-02).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from typing import Any, Final, cast

from shadowproxy.dataplane.distort import Pacer
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.upstream import UpstreamConnection

HIGH: Final = 65536
"""Bytes that wait before the client is paused; it goes on below a quarter of that."""


def seconds_until(due_ns: int, now_ns: int) -> float:
    """How long to wait, in whole milliseconds as uvloop counts them, and never short."""
    return max(0, -((now_ns - due_ns) // 1_000_000)) / 1000


class SlowSender:
    """See the module's text. The part of a transport that a connection and an exchange use."""

    __slots__ = ("_connection", "_exchange", "_head_left", "_is_blocked", "_pacer", "_timer", "_transport")

    def __init__(self, connection: UpstreamConnection, exchange: Exchange, rate: int) -> None:
        self._connection = connection
        self._exchange: Exchange | None = exchange
        self._transport = connection.transport
        self._head_left = len(exchange.wire)
        self._pacer = Pacer(rate, 0, 0, time.monotonic_ns())
        self._timer: asyncio.TimerHandle | None = None
        self._is_blocked = False
        connection.transport = cast("asyncio.Transport", self)

    def __repr__(self) -> str:
        return f"SlowSender({self._pacer!r})"

    @property
    def is_full(self) -> bool:
        """Whether more waits here than may."""
        return self._is_blocked

    def write(self, wire: bytes) -> None:
        """Send the head's bytes, and queue those of the body."""
        if self._head_left:
            head = wire[: self._head_left]
            self._head_left -= len(head)
            self._transport.write(head)
            wire = wire[len(head) :]
        if not wire:
            return
        now_ns = time.monotonic_ns()
        self._pacer.put(wire, now_ns)
        self._connection.is_request_sent = False
        if len(self._pacer) > HIGH and not self._is_blocked and self._exchange is not None:
            self._is_blocked = True
            self._exchange.on_blocked()
        self._wait(now_ns)

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Send all of them."""
        for piece in pieces:
            self.write(piece)

    def flush(self) -> None:
        """No limit from now on: what waits goes at once, and what comes after it past us."""
        if len(self._pacer):
            self._transport.write(self._pacer.rest())
        exchange = self._exchange
        if exchange is not None:
            self._connection.is_request_sent = exchange.is_request_done
        self._unblock()
        self.stop()

    def stop(self) -> None:
        """Step aside, and drop what waits: nobody wants it any more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._pacer.rest()
        self._exchange = None
        if self._connection.transport is cast("asyncio.Transport", self):
            self._connection.transport = self._transport

    def _wait(self, now_ns: int) -> None:
        if self._timer is None and len(self._pacer):
            self._timer = asyncio.get_running_loop().call_later(seconds_until(self._pacer.due_ns(), now_ns), self._on_due)

    def _on_due(self) -> None:
        self._timer = None
        now_ns = time.monotonic_ns()
        wire = self._pacer.take(now_ns)
        if wire:
            self._transport.write(wire)
            self._watch(now_ns)
        self._unblock()
        exchange = self._exchange
        if len(self._pacer):
            self._wait(now_ns)
        elif exchange is not None and exchange.is_request_done:
            self._connection.is_request_sent = True
            self.stop()

    def _watch(self, now_ns: int) -> None:
        """An endpoint that waits for our bytes is not silent."""
        fleet = self._connection.endpoint.fleet
        exchange = self._exchange
        if exchange is not None and not exchange.client.is_write_blocked:
            deadline_ns = now_ns + fleet.header_ns
            fleet.deadlines.set(
                self._connection, min(deadline_ns, exchange.dispatched_ns + fleet.total_ns) if fleet.total_ns else deadline_ns
            )

    def _unblock(self) -> None:
        exchange = self._exchange
        if self._is_blocked and len(self._pacer) < HIGH // 4:
            self._is_blocked = False
            if exchange is not None and not self._connection.is_write_blocked:
                exchange.on_unblocked()

    # The rest of a transport.

    def pause_reading(self) -> None:
        """Read no more."""
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        """Read on."""
        self._transport.resume_reading()

    def close(self) -> None:
        """Close; what waits is dropped, as the answer has come without it."""
        self.stop()
        self._transport.close()

    def abort(self) -> None:
        """Close at once."""
        self.stop()
        self._transport.abort()

    def is_closing(self) -> bool:
        """Whether it is closed, or about to be."""
        return self._transport.is_closing()

    def can_write_eof(self) -> bool:
        """Whether it can be half closed."""
        return self._transport.can_write_eof()

    def write_eof(self) -> None:
        """End our side."""
        self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        """Bytes that wait, here and there."""
        return len(self._pacer) + self._transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """What the transport knows of its socket."""
        return self._transport.get_extra_info(name, default)
