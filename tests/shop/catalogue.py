"""The catalogue: what there is to buy, and for how much. It changes nothing, also where a search comes by POST."""

from __future__ import annotations

from aiohttp import web

from tests.shop.serving import not_found, serve

PRODUCTS = {"lamp": 4200, "chair": 9900, "table": 24900, "mug": 750}
"""Cents by SKU."""

routes = web.RouteTableDef()


@routes.get("/products")
async def products(_: web.Request) -> web.Response:
    """Everything."""
    return web.json_response([{"sku": sku, "cents": cents} for sku, cents in PRODUCTS.items()])


@routes.get("/products/{sku}")
async def product(request: web.Request) -> web.Response:
    """One product."""
    sku = request.match_info["sku"]
    if sku not in PRODUCTS:
        raise not_found("product")
    return web.json_response({"sku": sku, "cents": PRODUCTS[sku]})


@routes.post("/products/search")
async def search(request: web.Request) -> web.Response:
    """Products whose name contains a text."""
    text = str((await request.json()).get("text", ""))
    return web.json_response([{"sku": sku, "cents": cents} for sku, cents in PRODUCTS.items() if text in sku])


def make() -> web.Application:
    """The application."""
    app = web.Application()
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    serve("catalogue", make)
