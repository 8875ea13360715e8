"""All sinks of a config: built, replaced, looked into; over real sockets and a real live service."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.sinks.house import House
from shadowproxy.sinks.shelf import Shelf
from tests.kit import Origin, answers
from tests.sinks.kit import ask, config_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Served:
    """A house with one listening sink, `s`."""

    def __init__(self) -> None:
        self.house = House(Shelf())
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    async def follow(self, sink: dict[str, Any], **top: Any) -> None:
        """Put a config in force."""
        await self.house.follow(config_of(sink, **top), {"s": self.listening})


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    """A house; closed when the test is over."""
    one = Served()
    yield one
    await one.house.close()


async def test_read_your_writes_over_live(served: Served, live: Origin) -> None:
    """A tenant's list is live's own with its changes; live sees reads only, and nothing for what the sink knows."""
    fleets = {"live": {"endpoints": [live.url]}}
    live.on("/orders", answers.ok(json.dumps([{"id": "1"}, {"id": "2"}]).encode()))
    live.on("/orders/1", answers.ok(b'{"id":"1","n":1}'))
    await served.follow({"resources": {"collections": ["/orders"]}}, fleets=fleets)
    assert (await ask(served.url, "GET", "/orders"))[0] == 421
    _, _, created = await ask(served.url, "POST", "/orders", json={"n": 3})
    assert (await ask(served.url, "PATCH", "/orders/1", json={"n": 2}))[0] == 200
    status, _, listed = await ask(served.url, "GET", "/orders")
    assert (status, listed) == (200, [{"id": "1", "n": 2}, {"id": "2"}, created])
    assert (await ask(served.url, "GET", "/orders/2"))[0] == 421
    assert (await ask(served.url, "GET", "/orders", tenant="other"))[0] == 421
    assert {seen.method for seen in live.requests} == {"GET"}
    contents = served.house.contents("s", "default", 10)
    assert [(item["collection"], item["over_live"]) for item in contents] == [("/orders", True), ("/orders", False)]
    assert contents[1]["value"] == created


async def test_a_reload_keeps_what_was_written(served: Served) -> None:
    """The sink is another, its items and counters are the same."""
    await served.follow({"resources": {"collections": ["/orders"]}, "respond": {"text": "{{counter}}"}})
    _, _, created = await ask(served.url, "POST", "/orders", json={})
    assert (await ask(served.url, "POST", "/"))[2] == "1"
    await served.follow({"resources": {"collections": ["/orders", "/lines"]}, "respond": {"text": "{{counter}} more"}})
    assert (await ask(served.url, "GET", f"/orders/{created['id']}"))[2] == created
    assert (await ask(served.url, "POST", "/"))[2] == "2 more"


async def test_every_kind_is_built(served: Served) -> None:
    """Each preset answers as itself."""
    await served.follow({"preset": "payment"})
    assert (await ask(served.url, "POST", "/charges", json={"amount": 1, "currency": "eur", "source": "tok_visa"}))[0] == 201
    await served.follow({"preset": "sms"})
    assert (await ask(served.url, "POST", "/messages", json={"to": "1"}))[0] == 202


async def test_a_sink_that_cannot_be_built_says_so_and_others_work(served: Served) -> None:
    """Its clients get 503 with the reason."""
    fleets = {"live": {"endpoints": ["https://127.0.0.1:1"], "tls": {"ca": "/nowhere/roots.pem"}}}
    await served.follow({"resources": {"collections": ["/orders"]}}, fleets=fleets)
    status, _, document = await ask(served.url, "POST", "/orders", json={})
    assert (status, document["code"]) == (503, "misconfigured")
    await served.follow({})
    assert (await ask(served.url, "POST", "/orders", json={}))[0] == 200
    assert repr(served.house) == "<House ['s']>"


async def test_a_document_answers_or_checks_what_is_kept(served: Served, tmp_path: Path) -> None:
    """By itself it answers; beside resources it only says what is allowed. A document that is none is a problem of that sink."""
    file = tmp_path / "shop.json"
    post = {
        "requestBody": {"content": {"application/json": {"schema": {"required": ["n"]}}}},
        "responses": {"201": {"content": {"application/json": {"example": 5}}}},
    }
    file.write_text(json.dumps({"openapi": "3.1.0", "paths": {"/orders": {"post": post}}}))
    await served.follow({"openapi": str(file)})
    assert (await ask(served.url, "POST", "/orders", json={"n": 1}))[::2] == (201, 5)
    assert (await ask(served.url, "POST", "/other", json={"n": 1}))[0] == 404
    await served.follow({"openapi": str(file), "resources": {"collections": ["/orders", "/other"]}})
    assert (await ask(served.url, "POST", "/orders", json={}))[2]["problems"] == [{"path": "body", "message": "'n' is a required property"}]
    assert (await ask(served.url, "POST", "/orders", json={"n": 1}))[2]["n"] == 1
    assert (await ask(served.url, "POST", "/other", json={}))[0] == 201
    file.write_text("{}")
    await served.follow({"openapi": str(file)})
    assert "no OpenAPI" in (await ask(served.url, "POST", "/orders", json={"n": 1}))[2]["detail"]
