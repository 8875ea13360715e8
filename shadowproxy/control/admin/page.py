"""The static page: seven files, read once, served from memory."""

from __future__ import annotations

from importlib.resources import files
from typing import Final

from aiohttp import web

from shadowproxy.control.admin.problem import Refusal

_TYPES: Final = {
    "index.html": "text/html",
    "app.js": "text/javascript",
    "runs.js": "text/javascript",
    "tenancy.js": "text/javascript",
    "text.js": "text/javascript",
    "verdict.js": "text/javascript",
    "style.css": "text/css",
}


class Page:
    """Serves the page's files and nothing else."""

    def __init__(self) -> None:
        folder = files("shadowproxy.control.admin") / "page"
        self._files = {name: (folder / name).read_bytes() for name in _TYPES}

    async def page(self, _: web.Request) -> web.Response:
        """The page itself."""
        return self._answer("index.html")

    async def page_file(self, request: web.Request) -> web.Response:
        """Its script or its style."""
        return self._answer(request.match_info["name"])

    def _answer(self, name: str) -> web.Response:
        if name not in self._files:
            raise Refusal(404)
        return web.Response(body=self._files[name], content_type=_TYPES[name], charset="utf-8")
