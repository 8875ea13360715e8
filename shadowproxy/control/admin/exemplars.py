"""The handlers of the admin API that show discordant pairs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.control.admin.problem import Refusal

if TYPE_CHECKING:
    from shadowproxy.control.supervisor import Supervisor

LIMIT: Final = 1000
"""Exemplars of one answer."""


class ExemplarViews:
    """Shows the exemplars of one instance. They are redacted before they get there."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def exemplars(self, request: web.Request) -> web.Response:
        """The worst first, without header fields and bodies."""
        text = request.query.get("limit", "100")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= LIMIT):
            raise Refusal(400, f"limit must be from 1 to {LIMIT}")
        kept = self._supervisor.exemplars
        found = kept.find(
            route=request.query.get("route"),
            mirror=request.query.get("mirror"),
            transition=request.query.get("transition"),
            path=request.query.get("field"),
            limit=int(text),
        )
        return _json({"exemplars": found, "kept": len(kept), "held_bytes": kept.held_bytes})

    async def exemplar(self, request: web.Request) -> web.Response:
        """One of them, whole."""
        document = self._supervisor.exemplars.get(request.match_info["id"])
        if document is None:
            raise Refusal(404, "no exemplar of that id; it may have made room for a worse one")
        return _json(document)


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")
