"""The shop: two versions that differ in the seeded flaws and in nothing else."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import urllib.request
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from shadowproxy.demo import shop
from shadowproxy.demo.shop import PRODUCTS, TOP_SELLERS, V1, V2, Flaws, Shop

if TYPE_CHECKING:
    from pathlib import Path


async def _answers(flaws: Flaws, requests: list[tuple[str, str, dict[str, Any] | None]], user: str = "u1") -> list[tuple[int, Any]]:
    application = Shop(flaws, random.Random(1), pace=0.0).application()
    async with TestClient(TestServer(application)) as client:
        answers = []
        for method, path, body in requests:
            async with client.request(method, path, json=body, headers={"X-User-Id": user}) as answer:
                answers.append((answer.status, await answer.json(content_type=None) if answer.content_type == "application/json" else None))
        return answers


async def test_versions_differ_only_in_the_seeded_products() -> None:
    """Every product page is equal in both versions but those that are broken or mispriced in v2."""
    pages: list[tuple[str, str, dict[str, Any] | None]] = [("GET", f"/products/{number}", None) for number in range(1, PRODUCTS + 1)]
    live, shadow = await _answers(V1, pages), await _answers(V2, pages)
    different = {number for number, (ours, theirs) in enumerate(zip(live, shadow, strict=True), 1) if ours != theirs}
    assert different == V2.broken | V2.mispriced
    assert {status for status, _ in live} == {200}
    assert {shadow[number - 1][0] for number in V2.broken} == {500}
    assert {shadow[number - 1][0] for number in V2.mispriced} == {200}


async def test_the_home_page_does_without_recommendations(tmp_path: Path) -> None:
    """With the service it shows what is recommended to this user; without an answer, a good one, or anywhere to ask, what sells best."""
    out = tmp_path / "out"
    application = Shop(V1, random.Random(1), pace=0.0, out=out).application()
    statuses = iter([200, 503, 200])

    async def recommend(request: web.Request) -> web.Response:
        assert request.headers["X-User-Id"] == "u1"
        return web.json_response({"products": [5, 6, 100_000]}, status=next(statuses))

    service = web.Application()
    service.router.add_get("/recommendations", recommend)
    async with TestClient(TestServer(application)) as client, TestServer(service) as other:
        found = []
        for url in (None, f"http://127.0.0.1:{other.port}", None, "http://127.0.0.1:1", f"http://127.0.0.1:{other.port}"):
            if url:
                out.write_text(f"{url}\n")
            async with client.get("/home", headers={"X-User-Id": "u1"}) as answer:
                assert answer.status == 200
                shown = (await answer.json())["recommendations"]
                found.append((shown["source"], [product["id"] for product in shown["products"]]))
    top = "top sellers", list(TOP_SELLERS)
    assert found == [top, ("recommendations", [5, 6]), top, top, ("recommendations", [5, 6])]


async def test_recommendations_are_of_the_user() -> None:
    """The same three products each time, all of the catalogue."""
    (_, first), (_, again) = await _answers(V1, [("GET", "/recommendations", None)] * 2)
    assert first == again
    assert all(1 <= number <= PRODUCTS for number in first["products"])


async def test_a_walk_through_the_shop_is_answered_alike() -> None:
    """Catalogue, search, cart and checkout answer from the catalogue and the user's own requests alone."""
    walk: list[tuple[str, str, dict[str, Any] | None]] = [
        ("GET", "/catalogue", None),
        ("GET", "/search?q=lamp", None),
        ("POST", "/cart", {"product": 3}),
        ("POST", "/cart", {"product": 3}),
        ("GET", "/cart", None),
        ("POST", "/checkout", None),
        ("POST", "/checkout", None),
    ]
    live, shadow = await _answers(V1, walk), await _answers(Flaws(broken=V2.broken, mispriced=V2.mispriced), walk)
    assert live == shadow
    assert [status for status, _ in live] == [200, 200, 201, 201, 200, 201, 409]
    assert live[4][1]["lines"] == [{"product": 3, "count": 2}]
    assert live[5][1]["order"] == 1


@pytest.mark.parametrize("body", [{"product": PRODUCTS + 1}, {"product": "lamp"}, {}, [1], None])
async def test_a_cart_takes_only_products(body: Any) -> None:
    """What is not the number of a product is refused and changes nothing."""
    answers = await _answers(V1, [("POST", "/cart", body), ("GET", "/cart", None)])
    assert answers[0][0] == 422
    assert answers[1][1]["lines"] == []


async def test_what_is_not_there_is_404() -> None:
    """Unknown products and pages are not found; health is."""
    answers = await _answers(V1, [("GET", "/products/0", None), ("GET", "/nowhere", None), ("GET", "/health", None)])
    assert [status for status, _ in answers] == [404, 404, 200]


async def test_forgotten_carts_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """More users than carts: the oldest cart goes, the newest is kept."""
    monkeypatch.setattr(shop, "_CARTS", 2)
    application = Shop(V1, random.Random(1), pace=0.0).application()
    async with TestClient(TestServer(application)) as client:
        for user in ("a", "b", "c"):
            await client.post("/cart", json={"product": 1}, headers={"X-User-Id": user})
        lines = {}
        for user in ("c", "b", "a"):
            async with client.get("/cart", headers={"X-User-Id": user}) as answer:
                lines[user] = len((await answer.json())["lines"])
    assert lines == {"c": 1, "b": 1, "a": 0}


def test_the_catalogue_is_the_same_every_time() -> None:
    """Two processes that make the catalogue make the same one, with every product once."""
    assert shop.catalogue() == shop.catalogue()
    assert [article.number for article in shop.catalogue()] == list(range(1, PRODUCTS + 1))


async def test_serve_announces_the_port_that_the_system_chose() -> None:
    """Port 0 takes a free port, and the announced URL answers until the wait is over."""
    until = asyncio.Event()
    announced: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(
        shop.serve(Shop(V1, random.Random(1), pace=0.0).application(), "127.0.0.1", 0, until.wait(), announced.set_result)
    )
    url = await announced
    async with aiohttp.ClientSession() as client, client.get(f"{url}/health") as answer:
        assert answer.status == 200
    until.set()
    await serving


@pytest.mark.parametrize("how", ["leash", "term"])
def test_the_process_ends_with_its_leash_or_when_asked(how: str) -> None:
    """A shop on a leash serves until its standard input ends or SIGTERM comes, and ends with 0."""
    command = [sys.executable, "-m", "shadowproxy.demo.shop", "--leash", "--version", "v2"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with urllib.request.urlopen(f"{url}/products/1") as answer:
            assert answer.status == 200
        if how == "leash":
            process.stdin.close()
        else:
            os.kill(process.pid, signal.SIGTERM)
        assert process.wait(timeout=30) == 0
