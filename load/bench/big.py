"""A gibibyte up and down, mirrored beyond the body limit: memory must not follow the body."""

from __future__ import annotations

import json
import socket
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from load.bench.origins import PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus
from load.bench.proxies import Instance, Proxy, Setup
from load.bench.tables import MIB, number
from load.bench.tables import table as markdown

if TYPE_CHECKING:
    from collections.abc import Sequence

BYTES = 1 << 30
GROWTH_BYTES = 16 * MIB
TIMEOUT_S = 120.0
PIECE = bytes(262144)


@dataclass(frozen=True, slots=True)
class Transfer:
    """One body through one proxy. `lead_seconds`: how long before the client's last byte live had the first."""

    proxy: str
    direction: str
    bytes: int
    seconds: float = float("nan")
    growth_bytes: int = 0
    lead_seconds: float = float("nan")
    problems: list[str] = field(default_factory=list)


def read_head(connection: socket.socket) -> tuple[int, int, bytes]:
    """Status, Content-Length (-1 without) and the first bytes of the body of an answer.

    Raises:
        BenchError: the connection ended before the head did.
    """
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        if not piece:
            raise BenchError(f"the connection ended inside a head: {received[:200]!r}")
        received += piece
    head, _, rest = received.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    lengths = [int(line.partition(b":")[2]) for line in lines if line.lower().startswith(b"content-length:")]
    return int(first.split()[1]), lengths[0] if lengths else -1, rest


def upload(port: int, size: int) -> tuple[float, float]:
    """Send a body; returns the seconds it took and by how many seconds live's first byte preceded our last.

    Raises:
        BenchError: the answer is not 200 or live did not get every byte.
    """
    began = time.monotonic_ns()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(b"POST /upload HTTP/1.1\r\nHost: shop.example\r\nX-User-Id: user-1\r\nContent-Length: %d\r\n\r\n" % size)
        left = size
        while left > len(PIECE):
            connection.sendall(PIECE)
            left -= len(PIECE)
        last_ns = time.monotonic_ns()
        connection.sendall(PIECE[:left])
        status, length, body = read_head(connection)
        while len(body) < length:
            body += connection.recv(65536) or b" " * length
    took = (time.monotonic_ns() - began) / 1e9
    if status != 200:
        raise BenchError(f"status {status}: {body[:200]!r}")
    report = json.loads(body)
    if report["received"] != size:
        raise BenchError(f"live received {report['received']} of {size} bytes")
    return took, (last_ns - report["first_ns"]) / 1e9


def download(port: int, size: int) -> float:
    """Fetch a body; returns the seconds it took.

    Raises:
        BenchError: the answer is not 200 or not whole.
    """
    began = time.monotonic_ns()
    with socket.create_connection(("127.0.0.1", port), TIMEOUT_S) as connection:
        connection.sendall(b"GET /bytes/%d HTTP/1.1\r\nHost: shop.example\r\nX-User-Id: user-1\r\n\r\n" % size)
        status, length, rest = read_head(connection)
        if (status, length) != (200, size):
            raise BenchError(f"status {status} with {length} bytes, expected 200 with {size}")
        received, buffer = len(rest), bytearray(262144)
        while received < size:
            count = connection.recv_into(buffer)
            if not count:
                raise BenchError(f"the answer ended after {received} of {size} bytes")
            received += count
    return (time.monotonic_ns() - began) / 1e9


def attempt(proxy: Proxy, size: int, cpus: Cpus) -> list[Transfer]:
    """Both directions through one proxy; what goes wrong becomes a problem of the transfer."""
    return [_attempt(proxy, direction, size, cpus) for direction in ("upload", "download")]


def _attempt(proxy: Proxy, direction: str, size: int, cpus: Cpus) -> Transfer:
    with tempfile.TemporaryDirectory(prefix="shadowproxy-bench-") as directory, ExitStack() as stack:
        try:
            live = stack.enter_context(PythonOrigin("live", Path(directory), cpus))
            shadow = stack.enter_context(PythonOrigin("shadow", Path(directory), cpus))
            setup = Setup(free_port(), live.port, shadow.port, Path(directory), shadow_timeout_s=TIMEOUT_S)
            instance = stack.enter_context(Instance(proxy, setup, cpus))
            # A small body first: buffers that are made once do not count as growth.
            upload(instance.port, 4 * MIB)
            download(instance.port, 4 * MIB)
            instance.reset_peak()
            before = instance.resident_bytes()
            seconds, lead = upload(instance.port, size) if direction == "upload" else (download(instance.port, size), float("nan"))
            instance.check()
            growth = instance.peak_bytes() - before
        except (BenchError, OSError) as error:
            return Transfer(proxy.name, direction, size, problems=[str(error) or repr(error)])
    return Transfer(proxy.name, direction, size, seconds, growth, lead, judge(growth, lead))


def judge(growth: int, lead_seconds: float) -> list[str]:
    """Where a transfer breaks its promise; a NaN lead is that of a download."""
    problems = []
    if growth > GROWTH_BYTES:
        problems.append(f"grew by {growth / MIB:.1f} MiB, bound {GROWTH_BYTES / MIB:.0f}")
    if lead_seconds <= 0:
        problems.append("live's first byte came after the client's last")
    return problems


def table(rows: Sequence[Transfer]) -> str:
    """As Markdown."""
    head = ["proxy", "direction", "MiB", "seconds", "memory grew by MiB", "live's first byte before the client's last, s", "notes"]
    return markdown(
        head,
        [
            [
                row.proxy,
                row.direction,
                number(row.bytes / MIB),
                number(row.seconds, ".2f"),
                number(row.growth_bytes / MIB, ".1f"),
                number(row.lead_seconds, ".2f"),
                "; ".join(row.problems) or " ",
            ]
            for row in rows
        ],
    )
