"""Another company's mail service: what it takes is in somebody's inbox. GET /messages shows it all."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from tests.shop.serving import serve

MESSAGES = web.AppKey("MESSAGES", list[dict[str, Any]])

routes = web.RouteTableDef()


@routes.post("/messages")
async def send(request: web.Request) -> web.Response:
    """Send a message."""
    request.app[MESSAGES].append({**await request.json(), "headers": dict(request.headers)})
    return web.json_response({"status": "queued"}, status=202)


@routes.get("/messages")
async def show_all(request: web.Request) -> web.Response:
    """Every message ever sent."""
    return web.json_response(request.app[MESSAGES])


def make() -> web.Application:
    """The application."""
    app = web.Application()
    app[MESSAGES] = []
    app.add_routes(routes)
    return app


if __name__ == "__main__":
    serve("mail", make)
