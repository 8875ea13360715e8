"""What a connection costs that does nothing: resident memory per idle keep-alive connection."""

from __future__ import annotations

import asyncio
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import uvloop

from load.bench.openloop import request_of
from load.bench.origins import NginxOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus
from load.bench.proxies import Instance, Proxy, Setup
from load.bench.scenarios import HEADERS, SCENARIOS
from load.bench.tables import MIB, number
from load.bench.tables import table as markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

CONNECTIONS = 10_000
AT_ONCE = 64
"""Connections that are opened at a time, so that the upstream pool stays small."""

SETTLE_S = 1.0


@dataclass(frozen=True, slots=True)
class Idle:
    """Resident memory of a proxy's data plane before and with its idle connections."""

    proxy: str
    connections: int
    before_bytes: int = 0
    with_bytes: int = 0
    problem: str = ""

    @property
    def each_bytes(self) -> float:
        """Per connection."""
        return (self.with_bytes - self.before_bytes) / self.connections


class _Client(asyncio.Protocol):
    """Sends a request when told to and notes that an answer's last bytes came."""

    def __init__(self) -> None:
        self.is_open = False
        self.answer: asyncio.Future[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self.is_open = True

    def data_received(self, data: bytes) -> None:  # noqa: ARG002  a 200-byte answer comes in one piece
        if self.answer and not self.answer.done():
            self.answer.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        self.is_open = False
        if self.answer and not self.answer.done():
            self.answer.set_exception(ConnectionResetError("the proxy closed an idle connection"))

    async def ask(self, request: bytes) -> None:
        self.answer = asyncio.get_running_loop().create_future()
        self.transport.write(request)
        await asyncio.wait_for(self.answer, 20.0)


async def _open(port: int, request: bytes, count: int) -> list[_Client]:
    loop = asyncio.get_running_loop()
    clients: list[_Client] = []

    async def one() -> None:
        _, client = await loop.create_connection(_Client, "127.0.0.1", port)
        await client.ask(request)
        clients.append(client)

    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(one() for _ in range(min(AT_ONCE, count - start))))
    return clients


async def _hold(instance: Instance, request: bytes, count: int) -> tuple[int, int, str]:
    for client in await _open(instance.port, request, AT_ONCE):
        client.transport.close()
    await asyncio.sleep(SETTLE_S)
    before = instance.resident_bytes()
    clients = await _open(instance.port, request, count)
    await asyncio.sleep(SETTLE_S)
    held = instance.resident_bytes()
    lost = sum(not client.is_open for client in clients)
    problem = f"{lost} of {count} connections were closed" if lost else ""
    if not lost:
        # They are of use still: some are asked again.
        for client in clients[:: max(1, count // 100)]:
            await client.ask(request)
    for client in clients:
        client.transport.abort()
    return before, held, problem


def attempt(proxy: Proxy, count: int, cpus: Cpus) -> Idle:
    """Measure one proxy; what goes wrong becomes the result's problem."""
    request = request_of(SCENARIOS[0], HEADERS)
    with tempfile.TemporaryDirectory(prefix="shadowproxy-bench-") as directory, ExitStack() as stack:
        try:
            live = stack.enter_context(NginxOrigin("live", Path(directory), cpus))
            shadow = stack.enter_context(NginxOrigin("shadow", Path(directory), cpus))
            instance = stack.enter_context(Instance(proxy, Setup(free_port(), live.port, shadow.port, Path(directory)), cpus))
            before, held, problem = uvloop.run(_hold(instance, request, count))
            instance.check()
        except (BenchError, OSError, TimeoutError) as error:
            return Idle(proxy.name, count, problem=str(error) or repr(error))
        return Idle(proxy.name, count, before, held, problem)


def table(rows: Sequence[Idle]) -> str:
    """As Markdown."""
    head = ["proxy", "connections", "MiB before", "MiB with them", "KiB per connection", "notes"]
    return markdown(
        head,
        [
            [
                row.proxy,
                str(row.connections),
                number(row.before_bytes / MIB, ".1f"),
                number(row.with_bytes / MIB, ".1f"),
                number(row.each_bytes / 1024, ".1f"),
                f"failed: {row.problem}" if row.problem else " ",
            ]
            for row in rows
        ],
    )
