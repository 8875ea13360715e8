"""The checkout: a cart becomes an order, is paid for, and the customer gets an e-mail."""

from __future__ import annotations

from typing import Any

from aiohttp import ClientError, web

from tests.shop.serving import CALLS, DATABASE, OPTIONS, not_found, serve, shown

MAIL = "http://mail.example/messages"
"""Called by its own name, with the egress listener as the HTTP proxy."""

COLUMNS = "id, cart, email, cents, status, charge"

routes = web.RouteTableDef()


@routes.post("/orders")
async def order(request: web.Request) -> web.Response:
    """Order what is in a cart: 201; 409 for an empty one, 402 for a card that is declined, 503 when one that is needed is down."""
    wanted = await request.json()
    try:
        return await _order(request.app, wanted)
    except ClientError as error:
        return web.json_response({"error": str(error)}, status=503)


async def _order(app: web.Application, wanted: dict[str, Any]) -> web.Response:
    calls, database, out = app[CALLS], app[DATABASE], app[OPTIONS].out
    async with calls.get(f"{out}/carts/{wanted['cart']}", raise_for_status=True) as answer:
        cents = (await answer.json())["cents"]
    if not cents:
        return web.json_response({"error": "the cart is empty"}, status=409)
    number = await database.fetchval(
        "INSERT INTO orders (cart, email, cents, status, note) VALUES ($1, $2, $3, 'new', $4) RETURNING id",
        wanted["cart"],
        wanted["email"],
        cents,
        wanted.get("note", ""),
    )
    charge = {
        "amount": cents,
        "currency": "eur",
        "source": wanted["card"],
        "description": wanted.get("note", ""),
        "metadata": {"order": number},
    }
    async with calls.post(f"{out}/payments/charges", json=charge) as answer:
        if answer.status not in (201, 402):
            return web.json_response({"error": f"payments answered {answer.status}", "order": number}, status=503)
        status = "paid" if answer.status == 201 else "declined"
        charged = (await answer.json()).get("id")
    row = await database.fetchrow(f"UPDATE orders SET status = $2, charge = $3 WHERE id = $1 RETURNING {COLUMNS}", number, status, charged)
    if status == "declined":
        return web.json_response(shown(row), status=402)
    async with calls.put(f"{out}/carts/{wanted['cart']}/order", json={"order": number}, raise_for_status=True):
        pass
    mail = {"to": wanted["email"], "subject": f"Order {number}", "text": f"{cents} cents were paid. {wanted.get('note', '')}"}
    async with calls.post(MAIL, json=mail, proxy=out, raise_for_status=True):
        pass
    return web.json_response(_view(app, shown(row)), status=201)


@routes.get("/orders/{order}")
async def show(request: web.Request) -> web.Response:
    """One order."""
    row = await request.app[DATABASE].fetchrow(f"SELECT {COLUMNS} FROM orders WHERE id = $1", int(request.match_info["order"]))
    if row is None:
        raise not_found("order")
    return web.json_response(_view(request.app, shown(row)))


@routes.get("/orders")
async def show_all(request: web.Request) -> web.Response:
    """Every order."""
    rows = await request.app[DATABASE].fetch(f"SELECT {COLUMNS} FROM orders ORDER BY id")
    return web.json_response([_view(request.app, shown(row)) for row in rows])


def _view(app: web.Application, found: dict[str, Any]) -> dict[str, Any]:
    """What customers see of an order: version 2 adds the points that they get."""
    return found | {"points": found["cents"] // 100} if app[OPTIONS].version > 1 else found


def make() -> web.Application:
    """The application."""
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    serve("checkout", make)
