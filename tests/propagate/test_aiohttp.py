"""aiohttp on both sides: a server that calls with its client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientSession, web
from aiohttp.test_utils import TestServer

from shadowproxy.propagate import carrying, current, extract
from shadowproxy.propagate.aiohttp import middleware, trace_config
from tests.clients.servers import application
from tests.propagate.contract import CLIENT_PROMISES, SERVER_PROMISES, TAGGED, Front, url_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping

    from tests.kit import Origin

CLIENT = web.AppKey("client", ClientSession)


def service(origin: Origin) -> web.Application:
    """What the contract asks of a front."""
    background = set[asyncio.Task[None]]()

    async def ask(request: web.Request) -> None:
        async with request.app[CLIENT].get(url_of(origin, request.path_qs)) as answer:
            answer.raise_for_status()

    async def call(request: web.Request) -> web.StreamResponse:
        await ask(request)
        return web.Response()

    async def stream(request: web.Request) -> web.StreamResponse:
        async def pieces() -> AsyncIterator[bytes]:
            for piece in (b"a", b"b", b"c"):
                await ask(request)
                yield piece

        # aiohttp takes the pieces when the handler, and each middleware, has returned.
        return web.Response(body=pieces())

    async def later(request: web.Request) -> web.StreamResponse:
        task = asyncio.create_task(ask(request))
        background.add(task)
        task.add_done_callback(background.discard)
        return web.Response()

    async def tenant(_: web.Request) -> web.StreamResponse:
        return web.Response(text=current().tenant or "-")

    async def fail(_: web.Request) -> web.StreamResponse:
        raise web.HTTPInternalServerError

    async def client(app: web.Application) -> AsyncIterator[None]:
        async with ClientSession(trace_configs=[trace_config()]) as session:
            app[CLIENT] = session
            yield

    app = web.Application(middlewares=[middleware])
    app.cleanup_ctx.append(client)
    app.add_routes([web.get(f"/{handler.__name__}", handler) for handler in (call, stream, later, tenant, fail)])
    return app


@pytest.fixture
def front(origin: Origin) -> Iterator[Front]:
    """An aiohttp service."""
    with application(lambda: service(origin)) as address:
        yield Front(address, origin)


@pytest.mark.parametrize("promise", SERVER_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_a_server(front: Front, promise: Callable[[Front], None]) -> None:
    """What tests/propagate/contract.py says, over real sockets."""
    promise(front)


@pytest.mark.parametrize("promise", CLIENT_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_a_client(origin: Origin, promise: Callable[..., None]) -> None:
    """The same of the client by itself; one session for all calls of a promise."""
    with asyncio.Runner() as runner:

        async def open_session() -> ClientSession:
            return ClientSession(trace_configs=[trace_config()])

        session = runner.run(open_session())

        async def get(url: str, headers: Mapping[str, str]) -> None:
            async with session.get(url, headers=headers) as answer:
                answer.raise_for_status()

        async def called(url: str, headers: Mapping[str, str], carried: Any) -> None:
            # A runner's context is its own: what is in force here is put in force there.
            with carrying(carried):
                await get(url, headers)

        try:
            promise(lambda url, headers: runner.run(called(url, headers, current())), origin)
        finally:
            runner.run(session.close())


async def test_websockets_carry_both_ways() -> None:
    """A WebSocket's request carries what is in force, and its handler has it for as long as the socket lives."""

    async def talk(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        async for _ in socket:
            await socket.send_str(current().tenant)
        return socket

    app = web.Application(middlewares=[middleware])
    app.add_routes([web.get("/talk", talk)])
    async with TestServer(app) as server, ClientSession(trace_configs=[trace_config()]) as session:
        with carrying(extract(TAGGED)):
            socket = await session.ws_connect(server.make_url("/talk"))
        async with socket:
            for _ in range(2):
                await socket.send_str("?")
                assert await socket.receive_str() == "canary-7"


async def test_sessions_with_headers_of_their_own(origin: Origin) -> None:
    """What a session was made with is for all of its calls: a tenant's call does not change it for the next one."""
    async with ClientSession(headers={"baggage": "team=a"}, trace_configs=[trace_config()]) as session:
        with carrying(extract({"X-Test-Traffic": "canary-7"})):
            await (await session.get(url_of(origin, "/down"))).read()
        await (await session.get(url_of(origin, "/down"))).read()
    first, second = origin.seen("/down")
    assert first.one("baggage") == "synthetic_request=true,test_tenant=canary-7,team=a"
    assert second.one("baggage") == "team=a"
    assert not second.has("X-Test-Traffic")
