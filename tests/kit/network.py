"""Listening sockets, free ports, and connections that end the way a test asks for."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import Final

from load.bench.ports import free_port

__all__ = [
    "HOST", "PATIENCE_S", "Address", "address_of", "connected", "free_port", "half_close", "listening", "refused_address", "reset", "wake",
]  # fmt: skip

PATIENCE_S: Final = 15.0
"""Seconds that a peer may stay silent before a test fails. Long, because test machines stall; never awaited in a passing test."""

HOST: Final = "127.0.0.1"

Address = tuple[str, int]


def listening(address: Address = (HOST, 0), *, backlog: int = 512, reuse_port: bool = False) -> socket.socket:
    """A bound and listening TCP socket; port 0 takes a free one.

    Args:
        address: host and port.
        backlog: connections that the kernel completes ahead of accept.
        reuse_port: several sockets may share the port, as the workers' listeners do.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if reuse_port:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        listener.bind(address)
        listener.listen(backlog)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(bound: socket.socket) -> Address:
    """Host and port that a socket is bound to."""
    host, port = bound.getsockname()[:2]
    return str(host), int(port)


def refused_address() -> Address:
    """An address that refuses connections."""
    return HOST, free_port()


def connected(address: Address, *, receive_buffer: int = 0) -> socket.socket:
    """A TCP connection without Nagle's delay.

    Args:
        address: where to.
        receive_buffer: SO_RCVBUF in bytes; small values make a slow reader felt early. 0 keeps the system's.
    """
    peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    peer.settimeout(PATIENCE_S)
    peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if receive_buffer:
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        peer.connect(address)
    except OSError:
        peer.close()
        raise
    return peer


def half_close(peer: socket.socket) -> None:
    """Send FIN, and keep reading. Does nothing on a connection that is gone."""
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_WR)


def reset(peer: socket.socket) -> None:
    """Send RST: whatever the peer has not read yet is lost to it."""
    with contextlib.suppress(OSError):
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def wake(peer: socket.socket) -> None:
    """End both directions, so that a thread that is blocked on the socket returns from it."""
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RDWR)
