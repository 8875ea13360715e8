"""Where an endpoint's name leads: resolved at most every so often, and never to where a proxy must not go.

A mirror's target is an administrator's input and so a way to make the proxy connect anywhere. Every
address that a name resolves to is checked by the same list as the config, and the connection is made to
the address that was checked (no second resolution: DNS rebinding).

A resolver that is slow or down delays nobody who has an address already: names are resolved again beside
the traffic, one question at a time however many connections wait for it.
"""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import ip_address

from shadowproxy.config.addresses import denial


class ForbiddenAddressError(OSError):
    """The name leads only to addresses that are never an endpoint: link-local, multicast, unspecified."""


class Addresses:
    """The addresses of one host and port, in the order to try them.

    Args:
        host: a name or an IP address, without brackets.
        port: for the resolver.
        refresh_s: age in seconds at which an answer is asked for again; 0 keeps the first one.
    """

    def __init__(self, host: str, port: int, refresh_s: float = 30.0) -> None:
        self.host = host
        self.port = port
        self.refresh_s = refresh_s
        self._found: list[tuple[int, str]] = []
        self._resolved_at = 0.0
        self._turn = -1
        self._question: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"Addresses({self.host}, {[address for _, address in self._found]})"

    async def ranked(self, loop: asyncio.AbstractEventLoop) -> list[tuple[int, str]]:
        """(family, address) pairs, the first another one each time, so that connections spread over them.

        Raises:
            OSError: the name does not resolve, and did not before.
            ForbiddenAddressError: it resolves to nothing that may be an endpoint.
        """
        is_stale = not self._found or (self.refresh_s > 0 and time.monotonic() - self._resolved_at > self.refresh_s)
        if is_stale and self._question is None:
            self._question = loop.create_task(self._resolve(loop))
            self._question.add_done_callback(self._answered)
        if not self._found:
            assert self._question is not None
            # One of those who wait may be given up; the question is everybody's.
            await asyncio.shield(self._question)
        self._turn = (self._turn + 1) % len(self._found)
        return self._found[self._turn :] + self._found[: self._turn]

    def _answered(self, question: asyncio.Task[None]) -> None:
        self._question = None
        if not question.cancelled():
            # Those who wait get the exception; with nobody waiting, there is nobody to tell.
            question.exception()

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> None:
        self._resolved_at = time.monotonic()
        try:
            answers = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            if self._found:
                # The resolver is down; what it said last is better than nothing.
                return
            raise
        found = dict.fromkeys((int(family), str(sockaddr[0])) for family, _, _, _, sockaddr in answers)
        self._found = [(family, address) for family, address in found if denial(ip_address(address.partition("%")[0])) is None]
        if not self._found:
            raise ForbiddenAddressError(f"{self.host} leads to no address that may be an endpoint")
