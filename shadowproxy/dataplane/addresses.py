"""Where an endpoint's name leads: resolved at most every so often, and never to where a proxy must not go.

A mirror's target is an administrator's input and so a way to make the proxy connect anywhere. Every
address that a name resolves to is checked, after normalising, and the connection is made to the address
that was checked (no second resolution: DNS rebinding).
"""

from __future__ import annotations

import asyncio
import socket
import time
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


class ForbiddenAddressError(OSError):
    """The name leads only to addresses that are never an endpoint: link-local, multicast, unspecified."""


def is_forbidden(address: IPv4Address | IPv6Address) -> bool:
    """Whether no endpoint can have this address: cloud metadata (link-local), multicast, unspecified, broadcast."""
    plain = address.ipv4_mapped or address if isinstance(address, IPv6Address) else address
    is_null_net = isinstance(plain, IPv4Address) and plain in _NULL_NET
    return plain.is_link_local or plain.is_multicast or plain.is_unspecified or is_null_net or plain == _BROADCAST


_BROADCAST = IPv4Address("255.255.255.255")
_NULL_NET = ip_network("0.0.0.0/8")


class Addresses:
    """The addresses of one host and port, in the order to try them."""

    def __init__(self, host: str, port: int, refresh_s: float = 30.0) -> None:
        self.host = host
        self.port = port
        self.refresh_s = refresh_s
        self._found: list[tuple[int, str]] = []
        self._resolved_at = 0.0
        self._turn = 0

    def __repr__(self) -> str:
        return f"Addresses({self.host}, {[address for _, address in self._found]})"

    async def ranked(self, loop: asyncio.AbstractEventLoop) -> list[tuple[int, str]]:
        """(family, address) pairs, the first another one each time, so that connections spread over them.

        Raises:
            OSError: the name does not resolve, and did not before.
            ForbiddenAddressError: it resolves to nothing that may be an endpoint.
        """
        is_stale = not self._found or (self.refresh_s > 0 and time.monotonic() - self._resolved_at > self.refresh_s)
        if is_stale:
            await self._resolve(loop)
        self._turn = (self._turn + 1) % len(self._found)
        return self._found[self._turn :] + self._found[: self._turn]

    async def _resolve(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            answers = await loop.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)
        except OSError:
            if self._found:
                # The resolver is down; what it said last is better than nothing.
                self._resolved_at = time.monotonic()
                return
            raise
        found = [(int(family), str(sockaddr[0])) for family, _, _, _, sockaddr in answers]
        allowed = [(family, address) for family, address in dict.fromkeys(found) if not is_forbidden(ip_address(address.partition("%")[0]))]
        if not allowed:
            raise ForbiddenAddressError(f"{self.host} leads to no address that may be an endpoint")
        self._found = allowed
        self._resolved_at = time.monotonic()
