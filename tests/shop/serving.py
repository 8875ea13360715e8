"""What every service of the shop is made of: its command line, its database, and the client that it calls others with.

The two lines about test traffic are the middleware, which learns whose a request is, and the client's trace
configuration, which says so to whoever is called. `--forgets` leaves something of that out, as services do:

    tag      calls carry the trace, as their tracing has always done, and not the tag
    all      calls carry nothing
    storage  the database is told whose test it is, but not to put it apart
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import asyncpg
from aiohttp import ClientSession, TraceConfig, web

from shadowproxy.propagate import current, sql_asyncpg
from shadowproxy.propagate.aiohttp import middleware, trace_config
from shadowproxy.propagate.sql import SqlTenancy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from types import SimpleNamespace

    from aiohttp import TraceRequestStartParams

SHADOW_SCHEMA = "shadow_public"
"""Where `shadowproxy guard postgres --mode divert` puts what tenants write to `public`."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a service was started: the egress listener that it calls through, its database, its version, and what it forgets."""

    name: str
    port: int
    out: str
    dsn: str
    version: int
    forgets: str


OPTIONS = web.AppKey("OPTIONS", Options)
CALLS = web.AppKey("CALLS", ClientSession)
DATABASE = web.AppKey("DATABASE", asyncpg.Pool)


def serve(name: str, make: Callable[[], web.Application]) -> None:
    """Run a service until SIGTERM.

    Args:
        name: by which it names itself to those it calls.
        make: makes its application, with routes.
    """
    options = _options(name)
    app = make()
    app[OPTIONS] = options
    app.middlewares.append(middleware)
    app.cleanup_ctx.append(_calls)
    if options.dsn:
        app.cleanup_ctx.append(_database)
    web.run_app(app, host="127.0.0.1", port=options.port, print=None, access_log=None, shutdown_timeout=2)


def _options(name: str) -> Options:
    parser = argparse.ArgumentParser(prog=f"python -m tests.shop.{name}")
    parser.add_argument("--port", type=int, required=True, help="where to listen")
    parser.add_argument("--out", default="", metavar="URL", help="the egress listener that others are called through")
    parser.add_argument("--dsn", default="", help="the database")
    parser.add_argument("--version", type=int, default=1, help="of the service")
    parser.add_argument("--forgets", default="", choices=("", "tag", "all", "storage"), help="what it leaves out about test traffic")
    given = parser.parse_args()
    return Options(name, given.port, given.out, given.dsn, given.version, given.forgets)


async def _calls(app: web.Application) -> AsyncIterator[None]:
    options = app[OPTIONS]
    carried = {"tag": [_trace_only()], "all": []}.get(options.forgets, [trace_config()])
    headers = {"User-Agent": f"{options.name}/{options.version}"}
    async with ClientSession(headers=headers, trace_configs=carried) as app[CALLS]:
        yield


async def _database(app: web.Application) -> AsyncIterator[None]:
    options = app[OPTIONS]
    tenancy = SqlTenancy() if options.forgets == "storage" else SqlTenancy(shadow_schema=SHADOW_SCHEMA)
    connections = sql_asyncpg.connection_class(tenancy)
    async with asyncpg.create_pool(options.dsn, connection_class=connections, min_size=1, max_size=4) as app[DATABASE]:
        yield


def _trace_only() -> TraceConfig:
    async def start(_session: ClientSession, _request: SimpleNamespace, params: TraceRequestStartParams) -> None:
        if current().traceparent:
            params.headers["traceparent"] = current().traceparent

    config = TraceConfig()
    config.on_request_start.append(start)
    return config


def shown(row: asyncpg.Record | None) -> dict[str, Any]:
    """A row that is there, as JSON can hold it."""
    assert row is not None
    return dict(row.items())


def not_found(what: str) -> web.HTTPNotFound:
    """The error to raise for what is not there."""
    return web.HTTPNotFound(text=f'{{"error": "no such {what}"}}', content_type="application/json")
