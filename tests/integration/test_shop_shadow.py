"""The next checkout as a shadow of the one in production: it does all of its work, on copies of real orders, and harms nobody."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.shop.buying import Purchase, browser, buy
from tests.shop.running import NEXT, Shop, becomes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.postgres import PostgresServer

WRITES = {
    ("next-payments", "POST", "sunk", "payments", 201),
    ("next-carts", "PUT", "partitioned", "cart", 200),
    ("next-mail", "POST", "sunk", "mail", 202),
}
"""What the shadow does with each order, by the ledger: route, method, fate, to whom, and how it was answered."""


@pytest.fixture(scope="module")
def open_shop(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop with its shadow, which take a while to open."""
    with Shop(postgres, tmp_path_factory.mktemp("shop"), has_shadow=True) as running:
        yield running


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The shop without a customer yet."""
    open_shop.forget()
    return open_shop


def shopping(shop: Shop, *tenants: str, times: int) -> list[Purchase]:
    """Purchases of customers ("") and of bots, all at once."""

    async def together() -> list[Purchase]:
        async with browser(shop.front) as session:
            return await asyncio.gather(*[buy(session, tenant, "chair", 1 + number % 3) for number in range(times) for tenant in tenants])

    bought = asyncio.run(together())
    assert {one.status for one in bought} == {201}
    return bought


def live_is_untouched(shop: Shop, customers: list[Purchase]) -> None:
    """As many charges and e-mails as orders, each for an order of live's, and tables that say the same."""
    charges = shop.charges()
    assert len(charges) == len(shop.inbox()) == len(customers)
    assert Counter((one["metadata"]["order"], one["amount"]) for one in charges) == Counter((one.order, one.cents) for one in customers)
    assert {one["headers"]["User-Agent"] for one in charges} == {"checkout/1"}
    assert Counter(shop.rows("SELECT id, email, cents FROM public.orders")) == Counter(
        (one.order, one.email, one.cents) for one in customers
    )
    carts = shop.rows("SELECT cart, order_id FROM public.cart_items WHERE cart <> 'house'")
    assert Counter(carts) == Counter((one.cart, one.order) for one in customers)


def mirror(shop: Shop) -> dict[str, Any]:
    """What is known of the mirror of orders."""
    (found,) = shop.api("/api/v1/compare")["mirrors"]
    document: dict[str, Any] = found
    return document


def written_by_the_shadow(shop: Shop, since: float) -> list[dict[str, Any]]:
    """What the ledger has of writes that nobody tagged."""
    return shop.ledger(tenant="shadow", since=f"{since:.3f}")


def test_the_shadow_charges_nobody(shop: Shop) -> None:
    """Must-show: zero charges by the shadow; each that it attempted is in the ledger, with the trace of the order that caused it."""
    before, since = mirror(shop)["pairs"], time.time()
    bought = shopping(shop, "", "canary-1", times=8)
    customers = [one for one in bought if not one.is_test]
    expected = Counter((one.trace, "next-out", *write) for one in customers for write in WRITES)

    def rows() -> Counter[tuple[Any, ...]]:
        keys = ("trace", "listener", "route", "method", "fate", "to", "status")
        return Counter(tuple(row[key] for key in keys) for row in written_by_the_shadow(shop, since))

    # The shadow works while customers have long been answered. Bots' orders are not mirrored: their traces are not there.
    becomes(rows, expected)
    live_is_untouched(shop, customers)
    sunk = shop.api("/api/v1/sinks/payments/items?tenant=shadow&limit=1000")["items"]
    assert Counter(one["value"]["amount"] for one in sunk if "amount" in one["value"]) == Counter(one.cents for one in customers)

    orders = shop.rows("SELECT email, cents, status FROM orders", shop.shadow_database)
    assert Counter(orders) == Counter((one.email, one.cents, "paid") for one in customers)
    becomes(lambda: mirror(shop)["pairs"], before + len(customers))
    assert mirror(shop)["errors"]["shadow"]["count"] == 0
    assert mirror(shop)["is_conserved"]
    assert shop.api("/api/v1/ledger/law?check=1")["is_kept"]
    assert shop.api("/api/v1/leaks")["total"] == 0


def test_a_shadow_that_carries_nothing_charges_nobody_either(shop: Shop) -> None:
    """A listener of its own with `calls: all` needs no help of the shadow: every write is a test, if of an unknown trace."""
    since = time.time()
    shop.replace(NEXT, forgets="all")
    customers = shopping(shop, "", times=4)
    expected = Counter({write: len(customers) for write in WRITES})

    def rows() -> Counter[tuple[Any, ...]]:
        found = written_by_the_shadow(shop, since)
        assert {row["origin"] for row in found} <= {"listener"}
        return Counter(tuple(row[key] for key in ("route", "method", "fate", "to", "status")) for row in found)

    becomes(rows, expected)
    live_is_untouched(shop, customers)


def test_a_shadow_is_known_by_its_mark_where_live_calls_too(shop: Shop) -> None:
    """Through the listener that live uses as well: what carries the mirror's mark is a test, and live's own calls are not."""
    since = time.time()
    shop.replace(NEXT, out="out")
    customers = shopping(shop, "", times=4)
    expected = Counter((one.trace, "out", "mark", write[0].replace("next-", "out-"), *write[1:]) for one in customers for write in WRITES)

    def rows() -> Counter[tuple[Any, ...]]:
        keys = ("trace", "listener", "origin", "route", "method", "fate", "to", "status")
        return Counter(tuple(row[key] for key in keys) for row in written_by_the_shadow(shop, since))

    becomes(rows, expected)
    live_is_untouched(shop, customers)
