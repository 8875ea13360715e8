"""Listening sockets, bound once by control and lent to workers.

Per address there is one socket for each worker slot, all sharing the port with
SO_REUSEPORT, so that the kernel spreads connections over workers. Control keeps every socket
open for as long as its address is configured: what waits in the accept queue of a worker
that dies, or is replaced, is served by the worker that comes after it. When there are
fewer workers than before, surplus sockets are shared out among them; closing one would
reset the connections in its queue.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import TYPE_CHECKING, Final

from shadowproxy.config.addresses import HostPort, parse_host_port
from shadowproxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowproxy.config.model import Listener

BACKLOG: Final = 4096
"""Connections that may wait per socket; what Linux allows by default (net.core.somaxconn)."""


class Listeners:
    """The sockets of every configured address."""

    def __init__(self) -> None:
        self._sockets: dict[str, list[socket.socket]] = {}

    def __repr__(self) -> str:
        return f"<Listeners { ({key: len(sockets) for key, sockets in self._sockets.items()}) }>"

    def open(self, listeners: Sequence[Listener], workers: int) -> None:
        """Bind what is missing so that each of `workers` has a socket of each listener.

        All or nothing: after an error the sockets are as they were before.

        Raises:
            ControlError: an address cannot be bound; says which, and why.
        """
        added: list[tuple[str, socket.socket]] = []
        try:
            for listener in listeners:
                key = _key(listener)
                held = self._sockets.get(key, [])
                where = bound_address(held[0]) if held else None
                for _ in range(workers - len(held)):
                    opened = _bind(listener, where, is_ours=where is not None or self._owns_port(listener))
                    added.append((key, opened))
                    where = where or bound_address(opened)
        except ControlError:
            for _, opened in added:
                opened.close()
            raise
        for key, opened in added:
            self._sockets.setdefault(key, []).append(opened)

    def lent(self, listeners: Iterable[Listener], slot: int, workers: int) -> list[tuple[str, int]]:
        """(listener name, file descriptor) of every socket that worker `slot` of `workers` accepts from."""
        return [(listener.name, opened.fileno()) for listener in listeners for opened in self._sockets[_key(listener)][slot::workers]]

    def address(self, listener: Listener) -> HostPort:
        """Where `listener` really listens: with the port that the system chose for port 0."""
        return bound_address(self._sockets[_key(listener)][0])

    def retire(self, listeners: Iterable[Listener]) -> None:
        """Close the sockets of every address that is not among `listeners`."""
        kept = {_key(listener) for listener in listeners}
        for key in [key for key in self._sockets if key not in kept]:
            for opened in self._sockets.pop(key):
                opened.close()

    def close(self) -> None:
        """Close every socket; workers keep the copies they were given."""
        self.retire(())

    def _owns_port(self, listener: Listener) -> bool:
        port = parse_host_port(listener.address).port
        return port != 0 and any(bound_address(sockets[0]).port == port for sockets in self._sockets.values())


def bind_one(address: str, purpose: str) -> socket.socket:
    """One listening socket that nobody shares; for the admin API.

    Raises:
        ControlError: it cannot be bound.
    """
    opened = _bound(parse_host_port(address), purpose, is_shared=False)
    opened.listen(BACKLOG)
    return opened


def bound_address(opened: socket.socket) -> HostPort:
    """Where `opened` is bound."""
    host, port = opened.getsockname()[:2]
    return HostPort(str(host), int(port))


def _key(listener: Listener) -> str:
    # Two listeners on port 0 get a port each; on any other port the address alone says which socket is meant.
    is_any_port = parse_host_port(listener.address).port == 0
    return f"{listener.name} {listener.address}" if is_any_port else listener.address


def _bind(listener: Listener, where: HostPort | None, *, is_ours: bool) -> socket.socket:
    asked = where or parse_host_port(listener.address)
    purpose = f"listener {listener.name}" if listener.name else "listener"
    if not is_ours and asked.port:
        # SO_REUSEPORT would quietly share the port with another proxy of the same user. A bind without it
        # fails when anybody listens there.
        _bound(asked, purpose, is_shared=False).close()
    opened = _bound(asked, purpose, is_shared=True)
    opened.listen(BACKLOG)
    return opened


def _bound(where: HostPort, purpose: str, *, is_shared: bool) -> socket.socket:
    try:
        family, _, _, _, place = socket.getaddrinfo(where.host, where.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        opened = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ControlError(f"{purpose}: cannot listen on {where}: {error.strerror}") from None
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_shared:
            opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        opened.bind(place)
        opened.setblocking(False)
    except OSError as error:
        opened.close()
        reason = "address already in use" if error.errno == errno.EADDRINUSE else os.strerror(error.errno or 0).lower()
        raise ControlError(f"{purpose}: cannot listen on {where}: {reason}") from None
    return opened
