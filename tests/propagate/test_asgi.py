"""The ASGI middleware around Starlette, under uvicorn and hypercorn, with httpx for the calls."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.middleware import Middleware
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from shadowproxy.propagate import NOTHING, current, tagged
from shadowproxy.propagate.asgi import PropagationMiddleware
from shadowproxy.propagate.httpx import carry_async
from tests.propagate.contract import SERVER_PROMISES, Front, url_of
from tests.propagate.serving import under_hypercorn, under_uvicorn

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from starlette.requests import Request

    from tests.kit import Origin


def service(origin: Origin) -> Starlette:
    """What the contract asks of a front."""
    clients: list[httpx.AsyncClient] = []

    async def ask(request: Request) -> None:
        (await clients[0].get(url_of(origin, f"{request.url.path}?{request.url.query}"))).raise_for_status()

    async def call(request: Request) -> Response:
        await ask(request)
        return Response()

    async def stream(request: Request) -> Response:
        async def pieces() -> AsyncIterator[str]:
            for piece in "abc":
                await ask(request)
                yield piece

        return StreamingResponse(pieces())

    async def later(request: Request) -> Response:
        return Response(background=BackgroundTask(ask, request))

    def tenant(_: Request) -> Response:
        # Not a coroutine function: Starlette runs it in a thread of its pool.
        return PlainTextResponse(current().tenant or "-")

    async def fail(_: Request) -> Response:
        raise RuntimeError("on purpose")

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        assert current() is NOTHING
        # Connections are not pooled: an end of the server finds none that is idle.
        async with httpx.AsyncClient(event_hooks={"request": [carry_async]}, trust_env=False) as client:
            clients.append(client)
            yield

    handlers = (call, stream, later, tenant, fail)
    routes = [Route(f"/{handler.__name__}", handler) for handler in handlers]
    return Starlette(routes=routes, lifespan=lifespan, middleware=[Middleware(PropagationMiddleware)])


@pytest.fixture(params=[under_uvicorn, under_hypercorn], ids=["uvicorn", "hypercorn"])
def front(request: pytest.FixtureRequest, origin: Origin) -> Iterator[Front]:
    """A Starlette service under each server."""
    with request.param(service(origin)) as address:
        yield Front(address, origin)


@pytest.mark.parametrize("promise", SERVER_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_a_server(front: Front, promise: Callable[[Front], None]) -> None:
    """What tests/propagate/contract.py says, over real sockets."""
    promise(front)


async def _served(scope: dict[str, Any]) -> str:
    """The tenant in force inside of the application."""
    seen: list[str] = []

    async def app(*_: Any) -> None:
        seen.append(current().tenant)

    async def nothing(*_: Any) -> Any:
        return {}

    await PropagationMiddleware(app)(scope, nothing, nothing)
    return seen[0]


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_what_the_server_had_in_force_is_not_the_requests(kind: str) -> None:
    """A server that was started inside of test traffic serves untagged requests as such, and tagged ones as their own."""
    with tagged("leftover"):
        assert await _served({"type": kind, "headers": []}) == ""
        assert await _served({"type": kind, "headers": [(b"x-test-traffic", b"canary-7")]}) == "canary-7"
        assert await _served({"type": "lifespan"}) == ""
        assert current().tenant == "leftover"
