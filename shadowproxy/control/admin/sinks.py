"""The handlers of the admin API that look into sinks, and empty them."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.control.admin.actions import ACTOR, REQUEST_ID
from shadowproxy.control.admin.problem import Refusal

if TYPE_CHECKING:
    from shadowproxy.control.supervisor import Supervisor

LIMIT: Final = 1000
"""Items of one answer."""


class SinkViews:
    """Shows the sinks of one instance."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def sinks(self, _: web.Request) -> web.Response:
        """Every sink: where it is, what it has answered and keeps."""
        house = self._supervisor.sinks
        addresses = house.addresses
        listed = []
        for name, counts in house.counts.items():
            listed.append(
                {
                    "name": name,
                    "url": addresses[name],
                    "requests": dict(sorted(counts.requests.items())),
                    "items": counts.items,
                    "bytes": counts.bytes,
                    "evicted": counts.evicted,
                    "in_flight": counts.in_flight,
                    "problem": counts.problem or None,
                }
            )
        return _json({"pid": house.pid or None, "restarts": house.restarts, "problem": house.problem or None, "sinks": listed})

    async def sink_items(self, request: web.Request) -> web.Response:
        """What a sink keeps: a tenant's items, the newest first, or without one how many each tenant has."""
        name = self._name(request)
        text = request.query.get("limit", "100")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= LIMIT):
            raise Refusal(400, f"limit must be from 1 to {LIMIT}")
        tenants = await self._supervisor.sinks.ask("tenants", name)
        tenant = request.query.get("tenant")
        items = [] if tenant is None else await self._supervisor.sinks.ask("items", name, tenant=tenant, limit=int(text))
        return _json({"sink": name, "tenants": tenants, "items": items})

    async def reset_sink(self, request: web.Request) -> web.Response:
        """Forget all that a tenant has in a sink."""
        name, tenant = self._name(request), request.query.get("tenant", "")
        if not tenant:
            raise Refusal(400, "name the tenant")
        removed = await self._supervisor.sinks.ask("reset", name, tenant=tenant)
        self._supervisor.audit.record(
            request[ACTOR], "sink.reset", "ok", detail=f"{name}: {removed} items of {tenant[:64]}", request_id=request[REQUEST_ID]
        )
        return _json({"sink": name, "tenant": tenant, "removed": removed})

    def _name(self, request: web.Request) -> str:
        name = request.match_info["name"]
        if name not in self._supervisor.config.sinks:
            raise Refusal(404, "no sink of that name")
        return name


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")
