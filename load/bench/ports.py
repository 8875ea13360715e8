"""Ports for programs that must be told a number before they listen.

A port that the kernel hands out for port 0 comes from the range that outgoing connections use too, so that any
connection of any process may take it between the question and the listener. These come from below that range:
only another program that asks for the very number can take them.
"""

from __future__ import annotations

import os
import random
import socket
from pathlib import Path
from typing import Final

LOWEST: Final = 10240
"""Below are the ports of well-known services."""

_RANGE: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_EPHEMERAL: Final = 32768
"""Where the range of outgoing connections begins unless the system says otherwise."""

_given: dict[int, int] = {}
"""The port given last, by the process that it was given to: a forked child must not go on where its parent stopped."""


def free_port() -> int:
    """A TCP port that nothing listens on at any address, and that this process has not been given lately.

    Raises:
        OSError: every port of the range is taken.
    """
    above = max(_first_ephemeral(), LOWEST + 1)
    # From the system: children of one parent would draw the same.
    at = _given.get(os.getpid()) or random.SystemRandom().randrange(LOWEST, above)
    for _ in range(above - LOWEST):
        at = at + 1 if at + 1 < above else LOWEST
        if _is_free(at):
            _given[os.getpid()] = at
            return at
    raise OSError(f"no port from {LOWEST} to {above - 1} is free")


def _first_ephemeral() -> int:
    try:
        return int(_RANGE.read_text(encoding="ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return _EPHEMERAL


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", port))
        except OSError:
            return False
    return True
