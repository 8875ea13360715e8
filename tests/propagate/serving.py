"""Real servers of ASGI and WSGI, each in a thread of its own on a free loopback port, and ended with their block."""

from __future__ import annotations

import asyncio
import contextlib
import socketserver
import threading
import wsgiref.simple_server
from typing import TYPE_CHECKING, Any

import hypercorn.asyncio
import hypercorn.config
import uvicorn
import waitress.server
import waitress.wasyncore

from tests.kit import network
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from wsgiref.types import WSGIApplication

    from tests.kit.network import Address


def _end(thread: threading.Thread) -> None:
    """Wait for a server that was told to stop."""
    thread.join(network.PATIENCE_S)
    assert not thread.is_alive(), f"{thread.name} does not end"


@contextlib.contextmanager
def under_uvicorn(app: Any) -> Iterator[Address]:
    """An ASGI application under uvicorn."""
    listener = network.listening()
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, http="h11", ws="none"))
    thread = threading.Thread(target=server.run, args=([listener],))
    thread.start()
    try:
        eventually(lambda: server.started, "uvicorn serves")
        yield network.address_of(listener)
    finally:
        server.should_exit = True
        _end(thread)
        listener.close()


@contextlib.contextmanager
def under_hypercorn(app: Any) -> Iterator[Address]:
    """An ASGI application under hypercorn."""
    listener = network.listening()
    config = hypercorn.config.Config()
    address = network.address_of(listener)
    # hypercorn closes what it was given.
    config.bind = [f"fd://{listener.detach()}"]
    config.graceful_timeout = 1
    ends: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def serve() -> None:
        end = asyncio.Event()
        ends.append((asyncio.get_running_loop(), end))
        await hypercorn.asyncio.serve(app, config, shutdown_trigger=end.wait)

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    try:
        eventually(lambda: ends, "hypercorn runs")
        yield address
    finally:
        loop, end = ends[0]
        loop.call_soon_threadsafe(end.set)
        _end(thread)


@contextlib.contextmanager
def under_waitress(app: WSGIApplication, threads: int = 16) -> Iterator[Address]:
    """A WSGI application under waitress."""
    listener = network.listening()
    connections: dict[int, Any] = {}
    server: Any = waitress.server.create_server(app, sockets=[listener], threads=threads, map=connections)
    stopping = threading.Event()

    def run() -> None:
        while not stopping.is_set():
            waitress.wasyncore.loop(1, map=connections, count=1)
        # Its own `close` leaves threads behind that wake a loop which has ended: here they end first.
        server.task_dispatcher.shutdown()
        waitress.wasyncore.close_all(connections)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield network.address_of(listener)
    finally:
        stopping.set()
        server.pull_trigger()
        _end(thread)


class _Threading(socketserver.ThreadingMixIn, wsgiref.simple_server.WSGIServer):
    """wsgiref's server with a thread for each connection."""

    request_queue_size = 64


class _Quiet(wsgiref.simple_server.WSGIRequestHandler):
    """wsgiref's handler, which logs each request otherwise. It speaks HTTP/1.0: one request a connection."""

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextlib.contextmanager
def under_wsgiref(app: WSGIApplication) -> Iterator[Address]:
    """A WSGI application under the standard library's server."""
    with wsgiref.simple_server.make_server(network.HOST, 0, app, _Threading, _Quiet) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield network.HOST, server.server_port
        finally:
            server.shutdown()
            _end(thread)
