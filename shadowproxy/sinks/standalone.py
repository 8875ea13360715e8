"""Sinks without a proxy: for a laptop, for a test suite, or beside a service that is called directly.

Nobody asks live where such a sink knows nothing, so it asks live itself, if its resources name a fleet.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from typing import TYPE_CHECKING

from shadowproxy.config.addresses import HostPort, parse_host_port
from shadowproxy.errors import ControlError, StateError
from shadowproxy.sinks.house import House

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowproxy.config.model import Config
    from shadowproxy.sinks.front import Record
    from shadowproxy.sinks.shelf import Shelf

EXPIRE_S = 1.0
"""How often what is too old is forgotten."""


async def serve(
    config: Config,
    addresses: dict[str, HostPort],
    shelf: Shelf,
    *,
    record: Record | None = None,
    on_ready: Callable[[dict[str, str]], None],
    stop: asyncio.Event | None = None,
) -> None:
    """Serve sinks until SIGTERM or SIGINT.

    Args:
        config: accepted.
        addresses: where each sink listens; port 0 lets the system choose.
        shelf: what they keep; closed at the end.
        record: see `Front`.
        on_ready: called with the URL of each once all of them answer.
        stop: ends it, beside the signals.

    Raises:
        ControlError: an address cannot be bound, or a sink cannot work.
    """
    stopping = stop or asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    house = House(shelf, record, is_alone=True)
    try:
        sockets = {name: _bound(name, where) for name, where in addresses.items()}
        await house.follow(config, sockets)
        problems = [f"sink {name}: {front.sink.problem}" for name, front in house.fronts.items() if front.sink.problem]
        if problems:
            raise ControlError("; ".join(problems))
        on_ready({name: f"http://{HostPort(*one.getsockname()[:2])}" for name, one in sockets.items()})
        while not stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), EXPIRE_S)
            with contextlib.suppress(StateError):
                shelf.expire()
                await shelf.committed(shelf.losses)
    finally:
        await house.close()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def addresses_of(names: Sequence[str], listen: str) -> dict[str, HostPort]:
    """Where sinks listen: the first at `listen`, the others at the ports after it; all where the system chooses for port 0.

    Raises:
        ControlError: there are not so many ports.
    """
    first = parse_host_port(listen)
    if first.port and first.port + len(names) - 1 > 65535:
        raise ControlError(f"{len(names)} sinks from port {first.port} on: there are not so many")
    return {name: HostPort(first.host, first.port + index if first.port else 0) for index, name in enumerate(names)}


def _bound(name: str, where: HostPort) -> socket.socket:
    try:
        return socket.create_server((where.host, where.port), family=socket.AF_INET6 if ":" in where.host else socket.AF_INET, backlog=4096)
    except OSError as error:
        raise ControlError(f"sink {name}: cannot listen on {where}: {(error.strerror or str(error)).lower()}") from None
