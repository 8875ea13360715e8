"""What asyncio has no word for: ending a connection with a reset, and asking whether the other side did."""

from __future__ import annotations

import contextlib
import socket
import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import asyncio

_LINGER_ZERO: Final = struct.pack("ii", 1, 0)
_TCP_CLOSE: Final = 7
"""TCP_INFO's state of a connection that was reset."""


def reset(transport: asyncio.Transport) -> None:
    """End a connection at once with a reset: what is queued, here or in the kernel, does not go out."""
    sock = transport.get_extra_info("socket")
    if sock is not None:
        with contextlib.suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_ZERO)
    transport.abort()


def is_reset(transport: asyncio.Transport) -> bool:
    """Whether a peer that has sent its FIN has also reset the connection."""
    sock = transport.get_extra_info("socket")
    if sock is None:
        return True
    state: int = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    return state == _TCP_CLOSE
