"""aiohttp, both sides: a middleware for servers, and a tracing configuration for clients.

    web.Application(middlewares=[middleware, ...])       first, so that it is the outermost
    ClientSession(trace_configs=[trace_config()])

The client side is made of aiohttp's tracing signals, which every request of the session sends, WebSockets included; a
client middleware would be left out wherever a call brings middlewares of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiohttp import TraceConfig, web

from shadowproxy.propagate.carried import extract
from shadowproxy.propagate.context import enter, inject

if TYPE_CHECKING:
    from types import SimpleNamespace

    from aiohttp import ClientSession, TraceRequestRedirectParams, TraceRequestStartParams
    from aiohttp.typedefs import Handler


@web.middleware
async def middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Put in force what comes in with a request, until its answer has been sent.

    aiohttp serves each request in a task of its own. The value stays in force when the handler has returned, and ends
    with the task: the pieces of a body that is a generator are made after that.
    """
    enter(extract(request.headers))
    return await handler(request)


def trace_config() -> TraceConfig:
    """What a ClientSession needs so that each of its requests carries what is in force where it is made, redirected ones again."""
    config = TraceConfig()
    config.on_request_start.append(_start)
    config.on_request_redirect.append(_redirect)
    return config


async def _start(_session: ClientSession, request: SimpleNamespace, params: TraceRequestStartParams) -> None:
    request.traceparent = inject(params.headers)


async def _redirect(_session: ClientSession, request: SimpleNamespace, params: TraceRequestRedirectParams) -> None:
    request.traceparent = inject(params.headers, request.traceparent)
