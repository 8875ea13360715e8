"""Sinks through the admin API: what there is, what a tenant has in them, and how it is forgotten."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from tests.control.conftest import Api, Start, until
from tests.sinks.kit import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def sinks(start: Start) -> AsyncIterator[Api]:
    """An instance with a sink that keeps orders, and one that answers the same to all."""
    supervisor = await start(sinks={"orders": {"resources": {"collections": ["/orders"]}}, "fixed": {}})
    async with aiohttp.ClientSession() as session:
        yield Api(session, supervisor)


async def listed(api: Api) -> dict[str, Any]:
    """The sinks, by name."""
    status, _, document = await api("GET", "/api/v1/sinks")
    assert status == 200
    return {one["name"]: one for one in document["sinks"]}


async def test_sinks_are_listed_with_what_they_did(sinks: Api) -> None:
    """Address, requests by status, items and bytes."""
    url = (await listed(sinks))["orders"]["url"]
    await ask(url, "POST", "/orders", json={})
    await until(lambda: sinks.supervisor.sinks.counts["orders"].items == 1, "counted")
    one = (await listed(sinks))["orders"]
    assert (one["requests"], one["items"], one["problem"]) == ({"201": 1}, 1, None)
    assert one["bytes"] > 0


async def test_a_tenants_items_are_shown_and_forgotten(sinks: Api) -> None:
    """Its own only; the reset is audited and leaves others alone."""
    url = (await listed(sinks))["orders"]["url"]
    _, _, mine = await ask(url, "POST", "/orders", tenant="canary-7", json={"n": 1})
    await ask(url, "POST", "/orders", tenant="other", json={"n": 2})
    status, _, document = await sinks("GET", "/api/v1/sinks/orders/items?tenant=canary-7")
    assert (status, document["tenants"], [item["value"] for item in document["items"]]) == (200, {"canary-7": 1, "other": 1}, [mine])
    assert (await sinks("GET", "/api/v1/sinks/orders/items"))[2]["items"] == []
    status, _, document = await sinks("POST", "/api/v1/sinks/orders/reset?tenant=canary-7")
    assert (status, document) == (200, {"sink": "orders", "tenant": "canary-7", "removed": 1})
    assert (await sinks("GET", "/api/v1/sinks/orders/items"))[2]["tenants"] == {"other": 1}
    assert sinks.supervisor.audit.latest(1)[0]["action"] == "sink.reset"


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/api/v1/sinks/nobody/items", 404),
        ("GET", "/api/v1/sinks/orders/items?limit=0", 400),
        ("GET", "/api/v1/sinks/orders/items?limit=x", 400),
        ("POST", "/api/v1/sinks/orders/reset", 400),
        ("POST", "/api/v1/sinks/nobody/reset?tenant=a", 404),
    ],
)
async def test_what_is_wrong_is_refused(sinks: Api, method: str, path: str, status: int) -> None:
    """By name, limit and tenant."""
    assert (await sinks(method, path))[0] == status
