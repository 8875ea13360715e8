"""Customers, and bots that play customers: the same requests, the bots' within `tagged`.

What they carry is carried by shadowproxy.propagate, so each purchase is a trace of its own, tagged or not.
"""

from __future__ import annotations

import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from aiohttp import ClientSession, ClientTimeout

from shadowproxy.propagate import carrying, current, extract
from shadowproxy.propagate.aiohttp import trace_config

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CARD: Final = "4242424242424242"
PRICES: Final = {"lamp": 4200, "chair": 9900, "mug": 750}


@dataclass(frozen=True, slots=True)
class Purchase:
    """What one customer did: whose test it was ("" for none), and what came of it."""

    tenant: str
    trace: str
    cart: str
    email: str
    sku: str
    quantity: int
    cents: int
    status: int
    order: int

    @property
    def is_test(self) -> bool:
        """Whether a bot did it."""
        return bool(self.tenant)


@asynccontextmanager
async def browser(front: str) -> AsyncIterator[ClientSession]:
    """What customers ask with; paths are the shop's."""
    async with ClientSession(front, trace_configs=[trace_config()], timeout=ClientTimeout(total=60)) as session:
        yield session


async def buy(session: ClientSession, tenant: str = "", sku: str = "lamp", quantity: int = 1) -> Purchase:
    """Look for something, put it into a cart, order it, and see the order and the cart as they must be.

    Raises:
        AssertionError: something on the way is not as it must be. An order that fails is none of that: its status is in the purchase.
    """
    trace = secrets.token_hex(16)
    fields = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01", **({"X-Test-Traffic": tenant} if tenant else {})}
    name = secrets.token_hex(6)
    whose = "bots" if tenant else "customers"
    cart, email = f"{whose}-{name}", f"{name}@{whose}.example"
    with carrying(extract(fields)):
        assert current().tenant == tenant
        found = await _ask(session, "POST", "/products/search", 200, {"text": sku})
        assert found == [{"sku": sku, "cents": PRICES[sku]}]
        await _ask(session, "POST", f"/carts/{cart}/items", 201, {"sku": sku, "quantity": quantity, "note": name})
        cents = PRICES[sku] * quantity
        wanted = {"cart": cart, "email": email, "card": CARD, "note": name}
        async with session.post("/orders", json=wanted) as answer:
            status = answer.status
            order = await answer.json() if answer.content_type == "application/json" else {}
        if status == 201:
            seen = await _ask(session, "GET", f"/orders/{order['id']}", 200)
            assert seen == {"id": order["id"], "cart": cart, "email": email, "cents": cents, "status": "paid", "charge": order["charge"]}
            assert seen in await _ask(session, "GET", "/orders", 200)
            kept = await _ask(session, "GET", f"/carts/{cart}", 200)
            assert kept == {"items": [{"sku": sku, "quantity": quantity, "cents": PRICES[sku], "order_id": order["id"]}], "cents": cents}
    return Purchase(tenant, trace, cart, email, sku, quantity, cents, status, int(order.get("id", 0)))


async def orders_seen(session: ClientSession, tenant: str) -> set[tuple[int, str]]:
    """Ids and addresses of all orders that are there for a tenant, or for customers where it is empty."""
    fields = {"X-Test-Traffic": tenant} if tenant else {}
    with carrying(extract(fields)):
        return {(one["id"], one["email"]) for one in await _ask(session, "GET", "/orders", 200)}


async def order_status(session: ClientSession, tenant: str, order: int) -> int:
    """What a tenant, or a customer, is answered who asks for an order."""
    with carrying(extract({"X-Test-Traffic": tenant} if tenant else {})):
        async with session.get(f"/orders/{order}") as answer:
            await answer.read()
            return answer.status


async def _ask(session: ClientSession, method: str, path: str, status: int, body: Any = None) -> Any:
    async with session.request(method, path, json=body) as answer:
        text = await answer.text()
        assert answer.status == status, (method, path, answer.status, text)
        return await answer.json()
