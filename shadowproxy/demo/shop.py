"""A small shop, served by aiohttp: the upstream of the demonstration, in two versions.

v1 is live. v2 is "the new version", with the flaws of `V2` seeded into it. The home page asks
another service, recommendations, what a user may like, through the proxy's egress listener; without an answer
in time it shows what sells best: what experiments are for to break. Both
answer from the same catalogue, and every answer is a function of the requests of one
user alone, so that whatever differs between the two is one of the seeded flaws.

Run as a process it prints the URL it listens on and serves until its standard input
ends: it cannot outlive whoever started it.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import signal
import sys
import zlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

PRODUCTS: Final = 200
CATEGORIES: Final = ("lamps", "chairs", "tables", "desks", "rugs")
_MATERIALS: Final = ("oak", "steel", "linen", "glass", "wool", "brass", "birch", "cork")

TOP_SELLERS: Final = (9, 20, 31)
"""What the home page shows when nobody recommends anything."""

PATIENCE_S: Final = 0.25
"""How long the home page waits for recommendations."""

WORK_S: Final = {
    "home": 0.003,
    "recommendations": 0.003,
    "catalogue": 0.004,
    "search": 0.008,
    "product": 0.003,
    "cart": 0.002,
    "checkout": 0.012,
}
"""Median seconds that each kind of request works, standing in for a database."""

_SPREAD: Final = 0.25
"""Sigma of the lognormal factor on WORK_S: a p99 of 1.8 medians."""

_CARTS: Final = 100_000
"""Carts kept: at 1 KiB each, 100 MB of forgotten users; the oldest goes first."""


@dataclass(frozen=True, slots=True)
class Flaws:
    """What is wrong with a version of the shop.

    Args:
        search_delay_s: seconds that every search takes longer.
        broken: products whose page fails with 500.
        mispriced: products whose page shows a price one cent too high.
    """

    search_delay_s: float = 0.0
    broken: frozenset[int] = frozenset()
    mispriced: frozenset[int] = frozenset()


V1: Final = Flaws()
V2: Final = Flaws(search_delay_s=0.012, broken=frozenset({75, 141}), mispriced=frozenset({42, 130}))
VERSIONS: Final = {"v1": V1, "v2": V2}


@dataclass(frozen=True, slots=True)
class Product:
    """One article of the catalogue; `cents` is its price."""

    number: int
    name: str
    category: str
    cents: int

    def to_json(self) -> dict[str, object]:
        """What pages show of it."""
        return {"id": self.number, "name": self.name, "category": self.category, "price": f"{self.cents / 100:.2f}"}


def catalogue() -> tuple[Product, ...]:
    """The same PRODUCTS articles every time, numbered from 1."""
    articles = []
    for number in range(1, PRODUCTS + 1):
        category = CATEGORIES[number % len(CATEGORIES)]
        name = f"{_MATERIALS[number % len(_MATERIALS)]} {category[:-1]} {number}"
        articles.append(Product(number, name, category, 900 + (number * 7919) % 40_000))
    return tuple(articles)


@dataclass(slots=True)
class Cart:
    """What one user has chosen, and how often they have paid."""

    chosen: dict[int, int] = field(default_factory=dict)
    orders: int = 0


class Shop:
    """The handlers of one version, and the carts of its users.

    Args:
        flaws: what is wrong with this version.
        chance: source of the service times.
        pace: factor on every service time; 0 answers at once.
        out: file with the URL that other services are called through; it may be written later.
    """

    def __init__(self, flaws: Flaws, chance: random.Random, pace: float = 1.0, out: Path | None = None) -> None:
        self._flaws = flaws
        self._chance = chance
        self._pace = pace
        self._out = out
        self._articles = {article.number: article for article in catalogue()}
        self._carts: dict[str, Cart] = {}

    def application(self) -> web.Application:
        """The aiohttp application: every path of the shop."""
        application = web.Application()
        application.cleanup_ctx.append(_caller)
        application.add_routes(
            [
                web.get("/health", self._health),
                web.get("/home", self._home),
                web.get("/recommendations", self._recommendations),
                web.get("/catalogue", self._catalogue),
                web.get("/search", self._search),
                web.get("/products/{number:[0-9]+}", self._product),
                web.get("/cart", self._cart),
                web.post("/cart", self._add),
                web.post("/checkout", self._checkout),
            ],
        )
        return application

    async def _work(self, kind: str, more_s: float = 0.0) -> None:
        await asyncio.sleep(self._pace * (WORK_S[kind] * self._chance.lognormvariate(0.0, _SPREAD) + more_s))

    def _cart_of(self, request: web.Request) -> Cart:
        user = request.headers.get("X-User-Id", "nobody")
        cart = self._carts.setdefault(user, Cart())
        if len(self._carts) > _CARTS:
            del self._carts[next(iter(self._carts))]
        return cart

    async def _health(self, _request: web.Request) -> web.Response:
        return web.json_response({"status": "ok"})

    async def _home(self, request: web.Request) -> web.Response:
        await self._work("home")
        source, numbers = await self._recommended(request)
        products = [self._articles[number].to_json() for number in numbers]
        return web.json_response({"welcome": "to the shop", "recommendations": {"source": source, "products": products}})

    async def _recommended(self, request: web.Request) -> tuple[str, Sequence[int]]:
        """What a user may like, by the service that knows; top sellers when it does not answer well and in time."""
        if self._out is None or not self._out.exists():
            return "top sellers", TOP_SELLERS
        carried = {name: request.headers[name] for name in ("X-User-Id", "traceparent") if name in request.headers}
        url = self._out.read_text().strip() + "/recommendations"
        try:
            async with request.app[_CALLER].get(url, headers=carried) as answer:
                answer.raise_for_status()
                numbers = [number for number in (await answer.json())["products"] if number in self._articles]
        except (aiohttp.ClientError, TimeoutError, ValueError, KeyError, TypeError):
            numbers = []
        return ("recommendations", numbers) if numbers else ("top sellers", TOP_SELLERS)

    async def _recommendations(self, request: web.Request) -> web.Response:
        await self._work("recommendations")
        first = zlib.crc32(request.headers.get("X-User-Id", "nobody").encode()) % PRODUCTS
        return web.json_response({"products": [1 + (first + step) % PRODUCTS for step in (0, 60, 120)]})

    async def _catalogue(self, _request: web.Request) -> web.Response:
        await self._work("catalogue")
        first = [article.to_json() for article in list(self._articles.values())[:24]]
        return web.json_response({"categories": CATEGORIES, "products": first})

    async def _search(self, request: web.Request) -> web.Response:
        await self._work("search", self._flaws.search_delay_s)
        wanted = request.query.get("q", "")
        found = [article.to_json() for article in self._articles.values() if wanted and wanted in article.name]
        return web.json_response({"query": wanted, "count": len(found), "products": found[:10]})

    async def _product(self, request: web.Request) -> web.Response:
        await self._work("product")
        number = int(request.match_info["number"])
        article = self._articles.get(number)
        if article is None:
            return web.json_response({"error": "no such product"}, status=404)
        if number in self._flaws.broken:
            return web.json_response({"error": "internal error"}, status=500)
        page = article.to_json()
        if number in self._flaws.mispriced:
            page["price"] = f"{(article.cents + 1) / 100:.2f}"
        page["related"] = [1 + (number + step) % PRODUCTS for step in (10, 20, 30)]
        return web.json_response(page)

    async def _cart(self, request: web.Request) -> web.Response:
        await self._work("cart")
        return self._show(self._cart_of(request), 200)

    async def _add(self, request: web.Request) -> web.Response:
        cart = self._cart_of(request)
        try:
            number = int((await request.json())["product"])
            self._articles[number]
        except (ValueError, KeyError, TypeError):
            return web.json_response({"error": "a cart takes the number of a product"}, status=422)
        await self._work("cart")
        cart.chosen[number] = cart.chosen.get(number, 0) + 1
        return self._show(cart, 201)

    async def _checkout(self, request: web.Request) -> web.Response:
        cart = self._cart_of(request)
        await self._work("checkout")
        if not cart.chosen:
            return web.json_response({"error": "the cart is empty"}, status=409)
        cart.orders += 1
        paid = self._total(cart)
        cart.chosen = {}
        return web.json_response({"order": cart.orders, "paid": f"{paid / 100:.2f}"}, status=201)

    def _total(self, cart: Cart) -> int:
        return sum(self._articles[number].cents * count for number, count in cart.chosen.items())

    def _show(self, cart: Cart, status: int) -> web.Response:
        lines = [{"product": number, "count": count} for number, count in sorted(cart.chosen.items())]
        return web.json_response({"lines": lines, "total": f"{self._total(cart) / 100:.2f}"}, status=status)


_CALLER: Final = web.AppKey("_CALLER", aiohttp.ClientSession)


async def _caller(application: web.Application) -> AsyncIterator[None]:
    """The client that other services are called with."""
    timeout = aiohttp.ClientTimeout(total=PATIENCE_S)
    async with aiohttp.ClientSession(timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), headers={"User-Agent": "shop/1"}) as client:
        application[_CALLER] = client
        yield


async def serve(application: web.Application, host: str, port: int, until: Awaitable[object], announce: Callable[[str], None]) -> None:
    """Serve `application` until `until` is done.

    Args:
        application: what to serve.
        host: address to listen on.
        port: TCP port; 0 takes a free one.
        until: what to wait for.
        announce: called once with the URL, after the socket listens.

    Raises:
        OSError: the address cannot be bound.
    """
    # Answers are small: a second is plenty for those under way when the demonstration ends.
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        site = web.TCPSite(runner, host, port)
        await site.start()
        bound = runner.addresses[0]
        announce(f"http://{bound[0]}:{bound[1]}")
        await until
    finally:
        await runner.cleanup()


async def released(*, leash: bool) -> None:
    """Return when this process is asked to end.

    SIGTERM and SIGINT ask; with `leash` so does the end of standard input, which
    comes by itself when the process at its other end is gone.
    """
    loop = asyncio.get_running_loop()
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    if not leash:
        await asked.wait()
        return
    reader = asyncio.StreamReader()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    ended = asyncio.ensure_future(reader.read())
    asking = asyncio.ensure_future(asked.wait())
    try:
        await asyncio.wait([ended, asking], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (ended, asking):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task
        transport.close()


def main(argv: Sequence[str] | None = None) -> int:
    """Serve one version of the shop. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m shadowproxy.demo.shop", description=main.__doc__)
    parser.add_argument("--version", choices=sorted(VERSIONS), default="v1")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free one")
    parser.add_argument("--seed", type=int, default=1, help="of the service times")
    parser.add_argument("--out", type=Path, metavar="FILE", help="has the URL that other services are called through")
    parser.add_argument("--leash", action="store_true", help="end when standard input ends")
    options = parser.parse_args(argv)
    shop = Shop(VERSIONS[options.version], random.Random(options.seed), out=options.out)  # noqa: S311 - service times, not secrets

    def announce(url: str) -> None:
        print(url, flush=True)  # noqa: T201 - the parent reads the address here

    asyncio.run(serve(shop.application(), options.host, options.port, released(leash=options.leash), announce))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
