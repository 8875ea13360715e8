"""A little shop whose services call each other through the proxy: checkout, which calls cart, which calls payments.

    with Shop(directory) as shop, SupervisedProxy(shop.config(), directory) as proxy:
        shop.connect(proxy)

Each is a real aiohttp application with the middlewares of shadowproxy.propagate, unless it has other `manners`:

    forgets   passes the trace on and not the tag, as a service does that is instrumented for tracing and nothing else
    wanders   passes the tag on and not the trace
    renames   passes both on, and says that it is somebody else's test
    meddles   does all that, and writes what it gets straight into production's database

Every call goes through the egress listener of the proxy.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING, Any, Self

from aiohttp import ClientSession, ClientTimeout, DummyCookieJar, web

from shadowproxy.propagate.aiohttp import middleware, trace_config
from tests.kit import network

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from tests.kit import SupervisedProxy

NEXT = {"checkout": "/cart/items", "cart": "/payments/charges", "payments": ""}
"""Each service, and what it calls."""


class Shop:
    """The services, in a thread of their own; `paid` is what the processor of payments has got, `database` is production's."""

    def __init__(self, directory: Path, **manners: str) -> None:
        self.ports = {name: network.free_port() for name in NEXT}
        self.database = directory / "production.sqlite"
        self.paid: list[str] = []
        self._manners = manners
        self._egress = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="shop")
        self._runners: list[web.AppRunner] = []
        with closing(sqlite3.connect(self.database)) as connection:
            connection.executescript(
                "CREATE TABLE orders (id INTEGER PRIMARY KEY, note, seen BLOB); INSERT INTO orders (note) VALUES ('real');"
            )

    def __enter__(self) -> Self:
        self._thread.start()
        for name in NEXT:
            asyncio.run_coroutine_threadsafe(self._serve(name), self._loop).result(20)
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(20)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def connect(self, proxy: SupervisedProxy) -> None:
        """Tell the services where their calls leave."""
        host, port = proxy.address("out")
        self._egress = f"http://{host}:{port}"

    def config(self, *, lost_tags: str = "retag", **changed: Any) -> dict[str, Any]:
        """The proxy's config: what comes in at `front`, and what leaves at `out`."""

        def apart(fleet: str) -> dict[str, Any]:
            return {"writes": {"partition": {"fleet": fleet, "headers": {"X-Tenant": "{tenant}"}}}}

        return {
            "listen": [{"name": "front"}, {"name": "out", "egress": {"lost_tags": lost_tags}}],
            "fleets": {name: {"endpoints": [f"http://127.0.0.1:{port}"]} for name, port in self.ports.items()},
            "sinks": {"payments": {"respond": {"status": 201, "json": {"status": "succeeded"}}}},
            "routes": [
                {
                    "name": "checkout",
                    "match": {"listener": "front", "path": "/checkout"},
                    "live": "checkout",
                    "test_traffic": apart("checkout"),
                },
                {"name": "cart", "match": {"listener": "out", "path": "/cart"}, "live": "cart", "test_traffic": apart("cart")},
                {
                    "name": "payments",
                    "match": {"listener": "out", "path": "/payments"},
                    "live": "payments",
                    "test_traffic": {"writes": {"sink": "payments"}},
                },
                {"name": "rest", "match": {"listener": "front", "path": "/"}, "live": "checkout"},
            ],
            **changed,
        }

    async def _serve(self, name: str) -> None:
        manner = self._manners.get(name, "")
        is_careful = manner in {"", "meddles"}
        session = ClientSession(
            headers={"User-Agent": f"{name}/1.0"},
            trace_configs=[trace_config()] if is_careful else [],
            cookie_jar=DummyCookieJar(),
            timeout=ClientTimeout(total=10),
        )

        async def answer(request: web.Request) -> web.Response:
            body = await request.text()
            if request.method != "GET":
                if manner == "meddles":
                    self._meddle(body)
                if name == "payments":
                    self.paid.append(body)
                elif self._egress:
                    passed = {"forgets": ("traceparent",), "wanders": ("X-Test-Traffic",), "renames": ("traceparent",)}.get(manner, ())
                    headers = {field: request.headers[field] for field in passed}
                    if manner == "renames":
                        headers["X-Test-Traffic"] = "somebody"
                    async with session.post(self._egress + NEXT[name], data=body, headers=headers) as reply:
                        await reply.read()
            return web.json_response({"paid": self.paid} if name == "payments" else {"service": name})

        app = web.Application(middlewares=[middleware] if is_careful else [])
        app.router.add_route("*", "/{path:.*}", answer)

        async def close(_: web.Application) -> None:
            await session.close()

        app.on_cleanup.append(close)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.ports[name]).start()
        self._runners.append(runner)

    async def _close(self) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def _meddle(self, body: str) -> None:
        with closing(sqlite3.connect(self.database)) as connection, connection:
            connection.execute("INSERT INTO orders (note, seen) VALUES (?, ?)", (f"order: {body}", body.encode()))
