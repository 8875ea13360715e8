"""A shop in production with bots that buy in it: nothing of theirs is in its tables, on anybody's card or in anybody's inbox."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import ClientError

from tests.kit.process import eventually
from tests.shop.buying import Purchase, browser, buy, order_status, orders_seen
from tests.shop.running import Shop, becomes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import ClientSession

    from tests.kit.postgres import PostgresServer

TENANTS = ("canary-1", "canary-2", "nightly")

WRITES = {
    ("front", "carts", "POST", "partitioned", "cart", 201),
    ("front", "orders", "POST", "partitioned", "checkout", 201),
    ("out", "out-payments", "POST", "sunk", "payments", 201),
    ("out", "out-carts", "PUT", "partitioned", "cart", 200),
    ("out", "out-mail", "POST", "sunk", "mail", 202),
}
"""What one purchase writes, by the ledger: listener, route, method, fate, to whom, and how it was answered."""


@pytest.fixture(scope="module")
def open_shop(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """The shop, which takes a while to open."""
    with Shop(postgres, tmp_path_factory.mktemp("shop")) as running:
        yield running


@pytest.fixture
def shop(open_shop: Shop) -> Shop:
    """The shop without a customer yet."""
    open_shop.forget()
    return open_shop


async def shopping(shop: Shop, *tenants: str, times: int = 6) -> list[Purchase]:
    """Purchases by each of some tenants ("" are customers), all at once."""
    skus = ("lamp", "chair", "mug")
    async with browser(shop.front) as session:
        bought = [buy(session, tenant, skus[number % 3], number % 4 + 1) for number in range(times) for tenant in tenants]
        return await asyncio.gather(*bought)


def production_holds_exactly(shop: Shop, bought: list[Purchase]) -> None:
    """Tables, payment service and inbox have what customers bought, and nothing else, each once."""
    customers = [one for one in bought if not one.is_test]
    orders = Counter((one.order, one.cart, one.email, one.cents, "paid") for one in customers)
    assert Counter(shop.rows("SELECT id, cart, email, cents, status FROM public.orders")) == orders
    items = Counter((one.cart, one.sku, one.quantity, one.order) for one in customers)
    assert Counter(shop.rows("SELECT cart, sku, quantity, order_id FROM public.cart_items WHERE cart <> 'house'")) == items
    charges = shop.charges()
    assert Counter((one["metadata"]["order"], one["amount"]) for one in charges) == Counter((one.order, one.cents) for one in customers)
    inbox = shop.inbox()
    assert Counter((one["to"], one["subject"]) for one in inbox) == Counter((one.email, f"Order {one.order}") for one in customers)
    for got in (*charges, *inbox):
        assert not {name.lower() for name in got["headers"]} & {"x-test-traffic", "x-tenant", "baggage"}


def written_down(shop: Shop, bots: list[Purchase]) -> None:
    """Each write of each bot is in the ledger once, with its trace and its tenant, and nothing else of these traces is."""
    expected = Counter((one.trace, one.tenant, *write) for one in bots for write in WRITES)
    traces = {one.trace for one in bots}

    def rows() -> Counter[tuple[Any, ...]]:
        keys = ("trace", "tenant", "listener", "route", "method", "fate", "to", "status")
        return Counter(tuple(row[key] for key in keys) for row in shop.ledger() if row["trace"] in traces)

    # How a write was answered is noted a moment after it was.
    becomes(rows, expected)


def law_holds(shop: Shop) -> None:
    """What workers saw is what became of it, and the ledger's rows agree."""
    document = shop.api("/api/v1/ledger/law?check=1")
    assert document["is_kept"], document


def test_bots_buy_for_real_and_production_holds_what_customers_bought(shop: Shop) -> None:
    """Must-show: purchases of three tenants and of customers, all at once; each sees its own, and production what customers did, exactly."""
    bought = asyncio.run(shopping(shop, "", *TENANTS))
    bots = [one for one in bought if one.is_test]
    assert {one.status for one in bought} == {201}

    production_holds_exactly(shop, bought)
    written_down(shop, bots)
    law_holds(shop)
    assert shop.api("/api/v1/leaks")["total"] == 0
    kept = shop.rows("SELECT shadowproxy_tenant, id, email, cents FROM shadow_public_rows.orders")
    assert Counter(kept) == Counter((one.tenant, one.order, one.email, one.cents) for one in bots)


def test_tenants_see_what_is_theirs_and_productions(shop: Shop) -> None:
    """A tenant sees its own orders and production's; customers see production's; nobody is answered about anybody else's."""
    bought = asyncio.run(shopping(shop, "", *TENANTS, times=2))
    real = {(one.order, one.email) for one in bought if not one.is_test}

    async def look() -> None:
        async with browser(shop.front) as session:
            assert await orders_seen(session, "") == real
            for tenant in TENANTS:
                seen = await orders_seen(session, tenant)
                own = {(one.order, one.email) for one in bought if one.tenant == tenant}
                assert real | own <= seen
                assert all(not {(one.order, one.email)} & seen for one in bought if one.tenant not in {"", tenant})
            test = next(one for one in bought if one.tenant == TENANTS[0])
            answers = [await order_status(session, tenant, test.order) for tenant in ("", *TENANTS)]
            assert answers == [404, 200, 404, 404]

    asyncio.run(look())
    for tenant in TENANTS:
        own = {(one.order, one.cents) for one in bought if one.tenant == tenant}
        assert own <= {(one["metadata"]["order"], one["amount"]) for one in sunk(shop, "payments", tenant)}
        assert {f"Order {order}" for order, _ in own} <= {one["message"]["subject"] for one in sunk(shop, "mail", tenant)}


def sunk(shop: Shop, sink: str, tenant: str) -> list[dict[str, Any]]:
    """What a sink keeps for a tenant."""
    items = shop.api(f"/api/v1/sinks/{sink}/items?tenant={tenant}&limit=1000")["items"]
    return [item["value"] for item in items]


def test_a_service_that_drops_the_tag_does_no_harm_where_it_is_put_back(shop: Shop) -> None:
    """With lost_tags: retag its calls are tests all the same: production has what customers bought, and the leaks name it."""
    shop.replace("checkout", forgets="tag")
    try:
        bought = asyncio.run(shopping(shop, "", *TENANTS, times=2))
        bots = [one for one in bought if one.is_test]
        assert {one.status for one in bought} == {201}
        production_holds_exactly(shop, bought)
        written_down(shop, bots)
        # Per purchase: the cart is read, the card charged, the cart noted, the e-mail sent.
        lost = [{"service": "checkout", "calls": 4 * len(bots), "consequences": 0}]
        becomes(lambda: shop.api("/api/v1/leaks")["blamed"], lost)
        leaks = shop.api("/api/v1/leaks?limit=1000")
        assert {leak["trace"] for leak in leaks["leaks"]} == {one.trace for one in bots}
        assert {leak["action"] for leak in leaks["leaks"]} == {"retag"}
    finally:
        shop.replace("checkout")
    law_holds(shop)


def test_a_service_that_drops_the_tag_is_refused_where_that_is_wanted(shop: Shop) -> None:
    """With lost_tags: refuse bots cannot buy until it is mended, customers can, and production has what they bought."""
    shop.replace("checkout", forgets="tag")
    shop.lost_tags("refuse")
    try:
        bought = asyncio.run(shopping(shop, "", *TENANTS[:1], times=2))
        assert {(one.is_test, one.status) for one in bought} == {(False, 201), (True, 503)}
        production_holds_exactly(shop, bought)
    finally:
        shop.lost_tags("retag")
        shop.replace("checkout")
    law_holds(shop)


def test_a_service_that_does_not_divert_is_refused_by_the_database(shop: Shop) -> None:
    """The guard is the last line: a checkout that writes tests to production's tables fails, and customers do not notice."""
    shop.replace("checkout", forgets="storage")
    try:
        bought = asyncio.run(shopping(shop, "", *TENANTS[:1], times=2))
        assert {(one.is_test, one.status) for one in bought} == {(False, 201), (True, 500)}
        production_holds_exactly(shop, bought)
        assert f"test tenant '{TENANTS[0]}' may not write to production table public.orders" in shop.log()
    finally:
        shop.replace("checkout")


def audited(shop: Shop, *arguments: str) -> tuple[int, dict[str, Any], dict[str, Any]]:
    """An audit: its exit code, what it found, and what it says of the probe that orders something."""
    done = shop.audit("--strict", "--output", "json", *arguments)
    assert done.stdout, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    (order,) = [one for one in document["probes"] if one["route"] == "orders" and one["method"] == "POST"]
    return done.returncode, document, order


def test_the_audit_names_the_service_that_drops_the_tag(shop: Shop) -> None:
    """Must-show: exit 1 and its name while it does, though nothing leaked, and exit 0 before and after. The audit itself harms nothing."""
    code, document, order = audited(shop)
    assert (code, document["dropped_by"], order["status"], order["fate"]) == (0, [], 201, "partitioned"), document
    calls = Counter((call["route"], call["method"], call["fate"]) for call in order["calls"])
    assert calls == Counter((route, method, fate) for listener, route, method, fate, _, _ in WRITES if listener == "out")

    shop.replace("checkout", forgets="tag")
    try:
        told = shop.audit()
        assert told.returncode == 1, told.stdout
        assert "checkout dropped the tag of test traffic" in told.stdout
        assert "1 FAILED" in told.stdout
        code, document, order = audited(shop, "--allow-retagged")
        assert (code, document["dropped_by"], order["fate"]) == (0, ["checkout"], "partitioned")
        assert {leak["action"] for leak in order["lost_tags"]} == {"retag"}
    finally:
        shop.replace("checkout")
    assert audited(shop)[0] == 0
    production_holds_exactly(shop, [])


def test_an_audit_that_did_not_get_to_the_card_is_not_clean(shop: Shop) -> None:
    """An order that fails leaks nothing and shows nothing: the probe says how it must be answered."""
    shop.replace("checkout", forgets="storage")
    try:
        code, document, order = audited(shop, "--route", "orders")
    finally:
        shop.replace("checkout")
    assert (code, document["dropped_by"], order["fate"]) == (1, [], "partitioned")
    assert order["failures"] == ["answered 500, and not 201: what it was to reach may not have been reached"]
    production_holds_exactly(shop, [])


def test_what_leaks_where_lost_tags_pass_is_what_the_audit_says(shop: Shop) -> None:
    """With lost_tags: report the same checkout does harm: the audit tells each thing that reached production, and nothing else did."""
    shop.replace("checkout", forgets="tag")
    shop.lost_tags("report")
    try:
        code, document, order = audited(shop)
    finally:
        shop.lost_tags("retag")
        shop.replace("checkout")
    assert (code, document["dropped_by"], order["fate"]) == (1, ["checkout"], "leaked")
    assert document["fates"]["leaked"] == 1
    escaped = {leak["path"] for leak in order["lost_tags"] if leak["method"] != "GET"}
    assert escaped == {"/payments/charges", "/carts/house/order", "/messages"}
    places = {find["where"] for find in order["found"] if find["is_leak"]}
    assert places == {shop.url("payments") + "/v1/charges", shop.url("mail") + "/messages"}

    (charge,), (message,) = shop.charges(), shop.inbox()
    honey = f"honey{document['run']}x"
    assert honey in charge["description"]
    assert honey in message["to"]
    ((ordered,),) = shop.rows("SELECT order_id FROM public.cart_items")
    assert charge["metadata"]["order"] == ordered
    assert shop.rows("SELECT * FROM public.orders") == []


def test_a_service_that_carries_nothing_is_found_by_what_it_did(shop: Shop) -> None:
    """Without the trace no call is known to belong to a test, and the proxy cannot help: the audit finds its tokens where they must not be."""
    shop.replace("checkout", forgets="all")
    try:
        code, document, order = audited(shop)
    finally:
        shop.replace("checkout")
    assert (code, document["dropped_by"], order["fate"]) == (1, [], "leaked")
    places = {find["where"] for find in order["found"] if find["is_leak"]}
    assert places == {shop.url("payments") + "/v1/charges", shop.url("mail") + "/messages"}
    assert (len(shop.charges()), len(shop.inbox())) == (1, 1)


def test_the_sinks_are_killed_while_bots_buy(shop: Shop) -> None:
    """What a dead sink has not answered is a 503, and nowhere in production; customers go on, and so do bots when it is back."""
    killed = shop.sinks_pid()
    shop.config["sinks"]["payments"]["latency"] = "60s"
    shop.reload()

    def are_waiting() -> bool:
        return any(one["name"] == "payments" and one["in_flight"] == len(TENANTS) for one in shop.api("/api/v1/sinks")["sinks"])

    async def buying() -> list[Purchase]:
        async with browser(shop.front) as session:
            bots = [asyncio.create_task(buy(session, tenant)) for tenant in TENANTS]
            await asyncio.to_thread(eventually, are_waiting, "the bots wait for the sink")
            customers = await asyncio.gather(*[buy(session) for _ in range(3)])
            os.kill(killed, signal.SIGKILL)
            return [*customers, *await asyncio.gather(*bots)]

    try:
        bought = asyncio.run(buying())
    finally:
        del shop.config["sinks"]["payments"]["latency"]
        shop.reload()
    assert {(one.is_test, one.status) for one in bought} == {(False, 201), (True, 503)}
    traces = {one.trace for one in bought if one.is_test}
    told = {"carts": 201, "orders": 503, "out-payments": 503}
    eventually(
        lambda: (
            Counter((row["route"], row["status"]) for row in shop.ledger() if row["trace"] in traces)
            == Counter({one: len(TENANTS) for one in told.items()})
        ),
        "the ledger says what came of them",
    )

    eventually(lambda: shop.sinks_pid() not in {0, killed}, "the sinks are back")
    again = asyncio.run(shopping(shop, *TENANTS, times=1))
    assert {one.status for one in again} == {201}
    written_down(shop, again)
    production_holds_exactly(shop, bought)
    law_holds(shop)


def test_workers_are_killed_while_bots_buy(shop: Shop) -> None:
    """Purchases that are cut off fail, customers' and bots' alike; nothing of a bot's gets anywhere, and what was acknowledged is written down."""

    async def attempt(session: ClientSession, tenant: str) -> Purchase | None:
        try:
            return await buy(session, tenant)
        except (ClientError, AssertionError):
            return None

    async def buying() -> list[Purchase]:
        async with browser(shop.front) as session:
            started = [asyncio.create_task(attempt(session, tenant)) for _ in range(6) for tenant in ("", *TENANTS)]
            for worker in shop.proxy.workers():
                await asyncio.wait(started, return_when=asyncio.FIRST_COMPLETED)
                os.kill(worker, signal.SIGKILL)
            return [one for one in await asyncio.gather(*started) if one is not None]

    bought = asyncio.run(buying())
    tables = "SELECT email FROM public.orders UNION ALL SELECT cart FROM public.cart_items"
    assert not [name for (name,) in shop.rows(tables) if "bots" in name]
    assert not [one for one in shop.inbox() if "bots" in one["to"]]
    orders = set(shop.rows("SELECT id, email, status FROM public.orders"))
    assert {one["metadata"]["order"] for one in shop.charges()} <= {number for number, _, _ in orders}
    # What customers were told that they have bought is there.
    assert {(one.order, one.email, "paid") for one in bought if one.status == 201 and not one.is_test} <= orders

    acknowledged = {one.trace for one in bought if one.status == 201 and one.is_test}
    found = Counter((row["trace"], row["route"], row["method"]) for row in shop.ledger() if row["trace"] in acknowledged)
    assert set(found) == {(trace, *write[1:3]) for trace in acknowledged for write in WRITES}
    # Clients may send what is idempotent once more, where a connection ended without an answer.
    assert {count for (_, _, method), count in found.items() if method == "POST"} <= {1}
    eventually(lambda: len(shop.proxy.workers()) == 2 and shop.proxy.is_ready(), "the workers are back")
    again = asyncio.run(shopping(shop, *TENANTS, times=1))
    assert {one.status for one in again} == {201}
    law_holds(shop)
