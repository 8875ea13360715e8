"""Real servers for real clients: each in a thread or process of its own, on a free loopback port."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import os
import subprocess
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from tests.kit import network
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence

    from tests.kit.network import Address


@contextlib.contextmanager
def program(command: Sequence[str], port: int, *, environment: Mapping[str, str] | None = None, log: Path) -> Iterator[Address]:
    """A server program that was told `port`; ready once it accepts there, and ended by its own process id."""
    address = (network.HOST, port)
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env={**os.environ, **(environment or {})}
        )
        try:
            eventually(lambda: process.poll() is not None or _accepts(address), f"{command[0]} accepts", patience_s=30)
            assert process.poll() is None, log.read_text("utf-8", "replace")
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _accepts(address: Address) -> bool:
    try:
        network.connected(address).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def application(make: Callable[[], web.Application]) -> Iterator[Address]:
    """An aiohttp application in a thread with a loop of its own."""
    listener = network.listening()
    loop = asyncio.new_event_loop()
    runner = web.AppRunner(make(), auto_decompress=False)

    async def start() -> None:
        await runner.setup()
        await web.SockSite(runner, listener).start()

    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(start(), loop).result(network.PATIENCE_S)
        yield network.address_of(listener)
    finally:
        asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(network.PATIENCE_S)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(network.PATIENCE_S)
        loop.close()
        listener.close()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    """Files of a directory, over kept-alive HTTP/1.1, without a log."""

    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name is the standard library's
        """Say nothing."""


class _Threading(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False


@contextlib.contextmanager
def directory(path: Path) -> Iterator[Address]:
    """The standard library's file server."""
    with _Threading((network.HOST, 0), partial(_Quiet, directory=str(path))) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield network.address_of(server.socket)
        finally:
            server.shutdown()
            thread.join(network.PATIENCE_S)


def shelf() -> web.Application:
    """A store for curl: PUT keeps a body, GET gives it back with ranges and compression, POST echoes, and more."""
    kept: dict[str, bytes] = {"/text": b"Twenty dwarves took turns doing handstands on the carpet.\n" * 400, "/empty": b""}

    async def put(request: web.Request) -> web.Response:
        kept[request.path] = await request.read()
        return web.Response(status=201, headers={"Location": str(request.rel_url)})

    async def get(request: web.Request) -> web.StreamResponse:
        if request.path not in kept:
            return web.Response(status=404, text="no such thing\n")
        body = kept[request.path]
        span = request.http_range
        if span.start is None and span.stop is None:
            response = web.Response(body=body, headers={"ETag": '"one"', "Accept-Ranges": "bytes"})
            response.enable_compression()
            return response
        start, stop, _ = span.indices(len(body))
        fields = {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}", "ETag": '"one"'}
        return web.Response(status=206, body=body[start:stop], headers=fields)

    async def echo(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": request.headers.get("Content-Type", "text/plain")})
        if request.version >= (1, 1):
            response.enable_chunked_encoding()
        await response.prepare(request)
        async for piece in request.content.iter_any():
            await response.write(piece)
        await response.write_eof()
        return response

    async def fields(request: web.Request) -> web.Response:
        found = [f"{name}: {value}" for name, value in request.headers.items() if name.lower().startswith("x-mine")]
        response = web.Response(text="\n".join(found) + "\n")
        response.headers.add("Set-Cookie", "a=1; Path=/")
        response.headers.add("Set-Cookie", "b=2; Path=/; HttpOnly")
        return response

    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/text")

    async def nothing(request: web.Request) -> web.Response:
        return web.Response(status=204)

    app = web.Application(client_max_size=1 << 30)
    routes: list[tuple[str, str, Callable[[web.Request], Awaitable[web.StreamResponse]]]] = [
        ("POST", "/echo", echo),
        ("GET", "/fields", fields),
        ("GET", "/moved", moved),
        ("DELETE", "/{name:.*}", nothing),
        ("PUT", "/{name:.*}", put),
        ("GET", "/{name:.*}", get),
    ]
    for method, path, handler in routes:
        app.router.add_route(method, path, handler)
    return app


def git_backend(root: Path) -> web.Application:
    """Smart HTTP: git's own CGI program for the repositories under `root`."""
    program_path = (
        Path(subprocess.run(["git", "--exec-path"], check=True, capture_output=True, text=True).stdout.strip()) / "git-http-backend"
    )

    async def run(request: web.Request) -> web.Response:
        body = await request.read()
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_NOSYSTEM": "1",
            "REMOTE_USER": "tester",
            "PATH_INFO": request.path,
            "QUERY_STRING": request.query_string,
            "REQUEST_METHOD": request.method,
            "CONTENT_TYPE": request.headers.get("Content-Type", ""),
            "CONTENT_LENGTH": str(len(body)),
            "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
            "HTTP_GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        }
        process = await asyncio.to_thread(subprocess.run, [str(program_path)], input=body, capture_output=True, env=environment, check=True)
        head, _, answer = process.stdout.partition(b"\r\n\r\n")
        response = web.Response(body=answer)
        for line in head.decode("latin-1").split("\r\n"):
            name, _, value = line.partition(": ")
            if name == "Status":
                response.set_status(int(value.split()[0]))
            else:
                response.headers[name] = value
        return response

    app = web.Application(client_max_size=1 << 30)
    app.router.add_route("*", "/{path:.*}", run)
    return app
