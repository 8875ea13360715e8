"""Resets, on real sockets."""

from __future__ import annotations

import socket
from typing import Any, cast

import pytest

from shadowproxy.dataplane import tcp


class Transport:
    """Just enough of a transport: its socket, and an abort that closes it."""

    def __init__(self, sock: socket.socket | None) -> None:
        self.sock = sock
        self.is_aborted = False

    def get_extra_info(self, name: str) -> socket.socket | None:
        """Only the socket is ever asked for."""
        assert name == "socket"
        return self.sock

    def abort(self) -> None:
        """Close without flushing."""
        self.is_aborted = True
        if self.sock is not None:
            self.sock.close()


def connected() -> tuple[socket.socket, socket.socket]:
    """Both ends of a loopback connection."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        near = socket.create_connection(server.getsockname())
        far, _ = server.accept()
    return near, far


def test_a_reset_takes_what_is_queued_with_it() -> None:
    """The peer sees an error and not an end."""
    near, far = connected()
    with far:
        transport = Transport(near)
        tcp.reset(cast("Any", transport))
        assert transport.is_aborted
        with pytest.raises(ConnectionResetError):
            far.recv(1)


def test_a_transport_without_a_socket_is_only_aborted() -> None:
    """Some transports have none."""
    transport = Transport(None)
    tcp.reset(cast("Any", transport))
    assert transport.is_aborted
    assert tcp.is_reset(cast("Any", transport))


def test_a_half_closed_peer_is_not_gone_and_a_reset_one_is() -> None:
    """FIN alone says nothing; after a reset the kernel knows."""
    near, far = connected()
    with near, far:
        far.shutdown(socket.SHUT_WR)
        assert near.recv(1) == b""
        assert not tcp.is_reset(cast("Any", Transport(near)))
        tcp.reset(cast("Any", Transport(far)))
        assert tcp.is_reset(cast("Any", Transport(near)))
