"""Endpoints by name and by address of either family, through a real worker and the machine's own resolver."""

from __future__ import annotations

import contextlib
import http.server
import socket
import threading
from typing import TYPE_CHECKING

import pytest

from tests.kit import settings
from tests.kit.client import wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeWorld


class _Six(http.server.ThreadingHTTPServer):
    address_family = socket.AF_INET6
    daemon_threads = True
    block_on_close = False


class _Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Say hello, and repeat Host."""
        body = f"hello {self.headers['Host']}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name is the standard library's
        """Say nothing."""


@contextlib.contextmanager
def six() -> Iterator[int]:
    """A server on ::1; its port. Skips where the machine has no IPv6."""
    try:
        server = _Six(("::1", 0), _Hello)
    except OSError as problem:
        pytest.skip(f"this machine has no IPv6 loopback to listen on, so no IPv6 endpoint can be reached here: {problem}")
    with server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join(15)


def test_an_endpoint_by_name(make_world: MakeWorld) -> None:
    """A name of the hosts file works for live and shadow, and the client's Host is passed on, not the endpoint's."""
    world = make_world()
    live, shadow = world.live.address[1], world.shadow.address[1]
    world.apply(settings(live={"endpoints": [f"http://localhost:{live}"]}, shadow={"endpoints": [f"http://localhost:{shadow}"]}))
    with world.client() as client:
        for _ in range(3):
            assert client.get("/").status == 200
    for leg in world.legs("/", 3):
        assert leg.one("Host") == "shop.example"
    assert world.fates() == {"paired": 3}


def test_an_ipv6_endpoint(make_world: MakeWorld) -> None:
    """A bracketed IPv6 address is an endpoint for live and for a mirror; HTTP/1.0 without Host gets its authority."""
    with six() as port:
        endpoint = {"endpoints": [f"http://[::1]:{port}"]}
        world = make_world(settings(live=endpoint, shadow=endpoint))
        with world.client() as client:
            assert client.get("/").body == b"hello shop.example"
        with world.client() as client:
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            assert client.response(version="1.0").body == f"hello [::1]:{port}".encode()
        assert world.fates() == {"paired": 2}


def test_a_name_that_leads_nowhere(make_world: MakeWorld) -> None:
    """Live: 502 `upstream_unreachable`. Shadow: `failed_unreachable`, and live is served."""
    nowhere = {"endpoints": ["http://nowhere.invalid:80"], "connect_timeout": "10s"}
    world = make_world(settings(shadow=nowhere, mirror={"timeout": "10s"}))
    with world.client() as client:
        assert client.get("/").status == 200
    assert world.fates() == {"failed_unreachable": 1}
    world.apply(settings(live=nowhere))
    with world.client() as client:
        answer = client.get("/")
        assert answer.status == 502
        assert b'"upstream_unreachable"' in answer.body


def test_a_name_that_leads_nowhere_is_passed_over(make_world: MakeWorld) -> None:
    """With another endpoint in the fleet, nothing was sent, so the request goes there."""
    world = make_world()
    endpoints = ["http://nowhere.invalid:80", world.live.url]
    world.apply(settings(live={"endpoints": endpoints, "connect_timeout": "10s"}))
    for _ in range(4):
        with world.client() as client:
            client.send(wire("GET", "/"))
            assert client.response().status == 200
