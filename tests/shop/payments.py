"""Another company's payment service: a charge that it records is money gone. GET /charges shows them all."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.shop.serving import serve

CHARGES = web.AppKey("CHARGES", list[dict[str, Any]])

routes = web.RouteTableDef()


@routes.post("/v1/charges")
async def charge(request: web.Request) -> web.Response:
    """Take the money."""
    charges = request.app[CHARGES]
    made = {"id": f"ch_{len(charges) + 1}", "status": "succeeded", **await request.json(), "headers": dict(request.headers)}
    charges.append(made)
    return web.json_response({"id": made["id"], "status": made["status"]}, status=201)


@routes.get("/v1/charges")
async def show_all(request: web.Request) -> web.Response:
    """Every charge ever made."""
    return web.json_response(request.app[CHARGES])


def make() -> web.Application:
    """The application."""
    app = web.Application()
    app[CHARGES] = []
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    serve("payments", make)
