"""The carts: customers put things in, checkout notes which order they went into."""

from __future__ import annotations

from aiohttp import web

from tests.shop.serving import CALLS, DATABASE, OPTIONS, not_found, serve, shown

routes = web.RouteTableDef()


@routes.post("/carts/{cart}/items")
async def add(request: web.Request) -> web.Response:
    """Put something in, at the catalogue's price."""
    wanted = await request.json()
    out = request.app[OPTIONS].out
    async with request.app[CALLS].get(f"{out}/catalogue/products/{wanted['sku']}") as answer:
        if answer.status == 404:
            raise not_found("product")
        answer.raise_for_status()
        cents = (await answer.json())["cents"]
    row = await request.app[DATABASE].fetchrow(
        "INSERT INTO cart_items (cart, sku, quantity, cents, note) VALUES ($1, $2, $3, $4, $5) RETURNING id, cart, sku, quantity, cents",
        request.match_info["cart"],
        wanted["sku"],
        wanted.get("quantity", 1),
        cents,
        wanted.get("note", ""),
    )
    return web.json_response(shown(row), status=201)


@routes.get("/carts/{cart}")
async def show(request: web.Request) -> web.Response:
    """What is in a cart; an empty one has nothing in it."""
    rows = await request.app[DATABASE].fetch(
        "SELECT sku, quantity, cents, order_id FROM cart_items WHERE cart = $1 ORDER BY id", request.match_info["cart"]
    )
    total = sum(row["quantity"] * row["cents"] for row in rows)
    return web.json_response({"items": [shown(row) for row in rows], "cents": total})


@routes.put("/carts/{cart}/order")
async def ordered(request: web.Request) -> web.Response:
    """Note which order the cart became."""
    number = (await request.json())["order"]
    await request.app[DATABASE].execute("UPDATE cart_items SET order_id = $2 WHERE cart = $1", request.match_info["cart"], number)
    return web.json_response({"cart": request.match_info["cart"], "order": number})


def make() -> web.Application:
    """The application."""
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    serve("cart", make)
