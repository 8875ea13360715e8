"""The two origins of a comparison, and the shadows that misbehave."""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from load.bench.origin_server import SMALL_BODY
from load.bench.ports import free_port
from load.bench.processes import BenchError, Child, Cpus, python_module, spawn, wait_until_open
from load.bench.proxies.nginx import TEMPORARY_PATHS, find_nginx, user_directive
from load.bench.scenarios import LARGE

if TYPE_CHECKING:
    from pathlib import Path

SETTLE_S = 2.0

CONFIG = """
worker_processes 1;
master_process off;
daemon off;
pid {name}.pid;
{user}
error_log {name}-error.log error;
events {{ worker_connections 16384; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  keepalive_timeout 300s;
  sendfile on;
  tcp_nopush on;
  open_file_cache max=16;
{temporary}
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    default_type application/octet-stream;
    location / {{ return 200 "{small}"; }}
    location = /varied {{ add_header X-Request-Id $request_id; return 200 "{small}"; }}
    location = /large {{ root {name}-files; }}
  }}
  server {{
    listen 127.0.0.1:{counts_port};
    location / {{ stub_status; }}
  }}
}}
"""
"""`return` and `sendfile` are the least a real server can do, which leaves most of the CPU to the load."""


def parse_stub_status(text: str) -> tuple[int, int]:
    """Accepted connections and requests of nginx's stub_status page.

    Raises:
        BenchError: the text is not such a page.
    """
    match = re.search(r"^\s*(\d+)\s+(\d+)\s+(\d+)\s*$", text, re.MULTILINE)
    if match is None:
        raise BenchError(f"not a stub_status page: {text[:80]!r}")
    return int(match[1]), int(match[3])


@dataclass(frozen=True, slots=True)
class Arrivals:
    """What an origin has seen so far."""

    requests: int
    connections: int

    def __sub__(self, earlier: Arrivals) -> Arrivals:
        """What came between two readings."""
        return Arrivals(self.requests - earlier.requests, self.connections - earlier.connections)


class Origin(ABC):
    """A running origin that knows what reached it; a context manager."""

    def __init__(self, name: str, directory: Path, cpus: Cpus) -> None:
        self.name = name
        self.port = free_port()
        self.counts_port = free_port()
        self.directory = directory
        self._cpus = cpus

    @abstractmethod
    def command(self) -> list[str]:
        """Prepare its files; returns the command line."""

    @abstractmethod
    def read_counts(self, page: bytes) -> Arrivals:
        """Arrivals out of its page of counts."""

    def __enter__(self) -> Self:
        self._child: Child = spawn(self.name, self.command(), cpus=self._cpus.rest, directory=self.directory)
        try:
            wait_until_open(self.counts_port, self._child)
            wait_until_open(self.port, self._child)
        except BaseException:
            self._child.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._child.stop()

    def arrivals(self) -> Arrivals:
        """What reached it so far; differences of two readings are exact.

        Raises:
            BenchError: it does not answer.
        """
        connection = http.client.HTTPConnection("127.0.0.1", self.counts_port, timeout=10.0)
        try:
            connection.request("GET", "/")
            return self.read_counts(connection.getresponse().read())
        except (OSError, http.client.HTTPException) as error:
            raise BenchError(f"origin {self.name} does not tell its counts: {error!r}") from None
        finally:
            connection.close()

    def wait_for(self, requests: int, *, seconds: float = SETTLE_S) -> Arrivals:
        """Arrivals once at least `requests` came, or when time is up: copies may trail the live leg."""
        deadline = time.monotonic() + seconds
        while True:
            seen = self.arrivals()
            if seen.requests >= requests or time.monotonic() > deadline:
                return seen
            time.sleep(0.05)


class NginxOrigin(Origin):
    """The cheapest real server: 200 bytes anywhere, with a field of its own in each answer at /varied; 100 KiB at /large."""

    def command(self) -> list[str]:
        """Write its config and the large file."""
        files = self.directory / f"{self.name}-files"
        files.mkdir()
        (files / "large").write_bytes(bytes(LARGE))
        text = CONFIG.format(
            name=self.name,
            user=user_directive(),
            temporary=TEMPORARY_PATHS,
            port=self.port,
            counts_port=self.counts_port,
            small=SMALL_BODY.decode(),
        )
        (self.directory / f"{self.name}.conf").write_text(text)
        self._asked = 0
        return [find_nginx(), "-p", str(self.directory), "-c", f"{self.name}.conf", "-e", f"{self.name}-error.log"]

    def read_counts(self, page: bytes) -> Arrivals:
        """Take off this very question, which nginx counts."""
        self._asked += 1
        connections, requests = parse_stub_status(page.decode())
        return Arrivals(requests - self._asked, connections - self._asked)


class PythonOrigin(Origin):
    """`load.bench.origin_server` in one of its modes."""

    def __init__(self, name: str, directory: Path, cpus: Cpus, *, mode: str = "answer") -> None:
        super().__init__(name, directory, cpus)
        self._mode = mode

    def command(self) -> list[str]:
        """Nothing to write."""
        ports = ("--port", str(self.port), "--counts", str(self.counts_port))
        return python_module("load.bench.origin_server", *ports, "--mode", self._mode)

    def read_counts(self, page: bytes) -> Arrivals:
        """Its counts leave out the questions for them."""
        counts = json.loads(page)
        return Arrivals(counts["requests"], counts["connections"])


class DeadPort:
    """A port that refuses, or that lets connections wait for ever; a context manager.

    Refusing is a bound socket that does not listen. A black hole is a listener whose accept queue
    is full: the kernel drops further SYNs, as a dead host does.
    """

    def __init__(self, *, is_black_hole: bool) -> None:
        self._is_black_hole = is_black_hole
        self._sockets: list[socket.socket] = []
        self.port = 0

    def __enter__(self) -> Self:
        listener = socket.socket()
        self._sockets.append(listener)
        listener.bind(("127.0.0.1", 0))
        self.port = listener.getsockname()[1]
        if self._is_black_hole:
            listener.listen(0)
            for _ in range(4):
                filler = socket.socket()
                self._sockets.append(filler)
                filler.setblocking(False)
                with contextlib.suppress(BlockingIOError):
                    filler.connect(("127.0.0.1", self.port))
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._sockets:
            each.close()
