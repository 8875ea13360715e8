"""Origins answer, count and misbehave as their mode says."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import socket
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from load.bench.origin_server import PIECE
from load.bench.origins import Arrivals, DeadPort, NginxOrigin, PythonOrigin, parse_stub_status
from load.bench.processes import BenchError, Cpus
from load.bench.scenarios import LARGE, SMALL
from tests.load.needs import needs_nginx

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CPUS = Cpus(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))


@contextmanager
def client(port: int) -> Iterator[http.client.HTTPConnection]:
    """A connection to a port, closed in the end."""
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20.0)) as connection:
        yield connection


def get(connection: http.client.HTTPConnection, path: str) -> bytes:
    """The body of a 200."""
    connection.request("GET", path)
    response = connection.getresponse()
    assert response.status == 200
    return response.read()


def test_the_python_origin_answers_and_counts(tmp_path: Path) -> None:
    """Sizes as asked, uploads reported whole, counts exact, all over one kept-alive connection."""
    with PythonOrigin("live", tmp_path, CPUS) as origin:
        before = origin.arrivals()
        with client(origin.port) as connection:
            assert len(get(connection, "/anything")) == SMALL
            assert len(get(connection, "/bytes/300000")) == 300_000
            connection.request("POST", "/upload", body=b"x" * 70_000)
            body = connection.getresponse().read()
        assert len(body) == SMALL
        assert json.loads(body)["received"] == 70_000
        assert json.loads(body)["first_ns"] <= json.loads(body)["last_ns"]
        assert origin.arrivals() - before == Arrivals(requests=3, connections=1)
        assert origin.wait_for(before.requests + 3).requests == before.requests + 3


@needs_nginx
def test_the_nginx_origin_answers_and_counts(tmp_path: Path) -> None:
    """200 bytes anywhere, 100 KiB at /large, and its counts leave out the questions for them."""
    with NginxOrigin("live", tmp_path, CPUS) as origin:
        before = origin.arrivals()
        with client(origin.port) as connection:
            assert len(get(connection, "/orders/1?x=2")) == SMALL
            assert len(get(connection, "/large")) == LARGE
        assert origin.arrivals() - before == Arrivals(requests=2, connections=1)


def test_a_page_that_is_not_stub_status_is_refused() -> None:
    """A wrong port does not count as zero requests."""
    page = "Active connections: 1 \nserver accepts handled requests\n 12 12 345 \nReading: 0 Writing: 1 Waiting: 0 \n"
    assert parse_stub_status(page) == (12, 345)
    with pytest.raises(BenchError, match="not a stub_status page"):
        parse_stub_status("<html>")


def test_a_hanging_shadow_reads_and_says_nothing(tmp_path: Path) -> None:
    """It counts the request and leaves the client waiting."""
    with PythonOrigin("shadow", tmp_path, CPUS, mode="hang") as origin, socket.create_connection(("127.0.0.1", origin.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert origin.wait_for(1).requests == 1
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)


def test_a_resetting_shadow_stops_in_the_middle(tmp_path: Path) -> None:
    """Half an answer, then a TCP reset."""
    with PythonOrigin("shadow", tmp_path, CPUS, mode="reset") as origin, socket.create_connection(("127.0.0.1", origin.port)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = connection.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 OK")
        assert len(received.partition(b"\r\n\r\n")[2]) == SMALL // 2
        with pytest.raises(ConnectionResetError):
            connection.recv(65536)


def test_an_endless_shadow_goes_on(tmp_path: Path) -> None:
    """Piece after piece of a chunked answer."""
    with (
        PythonOrigin("shadow", tmp_path, CPUS, mode="endless") as origin,
        socket.create_connection(("127.0.0.1", origin.port)) as connection,
    ):
        connection.settimeout(20.0)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = 0
        while received < 3 * len(PIECE):
            received += len(connection.recv(65536))


def test_a_trickling_shadow_lets_the_sender_wait(tmp_path: Path) -> None:
    """A large body does not fit into what it takes."""
    with (
        PythonOrigin("shadow", tmp_path, CPUS, mode="trickle") as origin,
        socket.create_connection(("127.0.0.1", origin.port)) as connection,
    ):
        connection.setblocking(False)
        accepted = 0
        with contextlib.suppress(BlockingIOError):
            while accepted < 200 << 20:
                accepted += connection.send(bytes(1 << 20))
        assert accepted < 200 << 20


def test_a_refusing_port_refuses_and_a_dead_one_stays_silent() -> None:
    """The two ways of not being there."""
    with DeadPort(is_black_hole=False) as refusing, pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", refusing.port), 5.0)
    with DeadPort(is_black_hole=True) as dead, pytest.raises(TimeoutError):
        socket.create_connection(("127.0.0.1", dead.port), 0.2)
