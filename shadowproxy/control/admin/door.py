"""Connections to the admin API: bounded, and never at the expense of the one that comes next.

Whoever opens connections and sends nothing must not be able to use up the file descriptors that
workers are started with, nor to keep an operator from the kill switch. So the number is bounded, and
when it is reached the oldest connection is cut: a new one always gets in.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from aiohttp import web

CONNECTIONS: Final = 256
"""Open connections: far more than people, scrapers and probes of one instance need."""


class Door:
    """Accepts connections for an aiohttp server.

    Args:
        runner: set up already.
        limit: connections that may be open.
    """

    def __init__(self, runner: web.AppRunner, limit: int = CONNECTIONS) -> None:
        assert runner.server is not None
        self._make: Callable[[], asyncio.Protocol] = runner.server
        self._limit = limit
        self._open: dict[asyncio.Protocol, None] = {}
        self._server: asyncio.Server | None = None

    @property
    def open_connections(self) -> int:
        """How many connections are open."""
        self._forget_closed()
        return len(self._open)

    async def open(self, listening: socket.socket) -> None:
        """Begin to accept."""
        self._server = await asyncio.get_running_loop().create_server(self._admit, sock=listening)

    def close(self) -> None:
        """Accept no more; the runner closes what is open."""
        if self._server is not None:
            self._server.close()

    def _admit(self) -> asyncio.Protocol:
        if len(self._open) >= self._limit:
            self._forget_closed()
        if len(self._open) >= self._limit:
            oldest = next(iter(self._open))
            del self._open[oldest]
            transport = getattr(oldest, "transport", None)
            if transport is not None:
                transport.abort()
        protocol = self._make()
        self._open[protocol] = None
        return protocol

    def _forget_closed(self) -> None:
        # The newest may not be connected yet: it was made just now, and has no transport until the loop's next turn.
        newest = next(reversed(self._open), None)
        for protocol in [one for one in self._open if one is not newest and getattr(one, "transport", None) is None]:
            del self._open[protocol]
