"""The handlers of the admin API that begin, show and steer rollouts, and evacuation drills."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.control.admin.actions import ACTOR, REQUEST_ID
from shadowproxy.control.admin.problem import Refusal
from shadowproxy.control.evacuations import LABELS
from shadowproxy.experiments.rollout import ORDERS

if TYPE_CHECKING:
    from shadowproxy.control.supervisor import Supervisor

START: Final = "start"

WHY_LIMIT: Final = 500
"""Characters of a reason."""

LONGEST_S: Final = 86400.0
"""Seconds of a drill."""


class RolloutViews:
    """Rollouts and drills of one instance."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def rollouts(self, _: web.Request) -> web.Response:
        """Every rollout, begun or not."""
        return _json({"rollouts": self._supervisor.rollouts.documents()})

    async def rollout(self, request: web.Request) -> web.Response:
        """The rollout of a route."""
        return _json(self._supervisor.rollouts.document(self._route(request)))

    async def steer_rollout(self, request: web.Request) -> web.Response:
        """Start, pause, resume, promote, complete or abort the rollout of a route."""
        route, order = self._route(request), request.match_info["order"]
        if order != START and order not in ORDERS:
            raise Refusal(404, f"an order is one of {', '.join((START, *ORDERS))}")
        body = await _body(request)
        why = body.get("reason", "")
        if not isinstance(why, str) or len(why) > WHY_LIMIT:
            raise Refusal(400, f"reason must be a text of at most {WHY_LIMIT} characters")
        rollouts, actor, request_id = self._supervisor.rollouts, request[ACTOR], request[REQUEST_ID]
        if order == START:
            return _json(await rollouts.start(route, actor, why, request_id))
        return _json(await rollouts.order(route, order, actor, why, request_id))

    async def evacuations(self, _: web.Request) -> web.Response:
        """What is evacuated, and what was."""
        return _json({"evacuations": self._supervisor.evacuations.documents()})

    async def evacuate(self, request: web.Request) -> web.Response:
        """Give the endpoints of a fleet with a label no new requests."""
        body = await _body(request)
        fleet, label, value, seconds = (body.get(name) for name in ("fleet", "label", "value", "seconds"))
        if not (isinstance(fleet, str) and isinstance(value, str) and value and label in LABELS):
            raise Refusal(400, f"name fleet, label ({', '.join(LABELS)}) and value")
        if seconds is None:
            seconds = 0.0
        if (
            isinstance(seconds, bool)
            or not isinstance(seconds, (int, float))
            or not math.isfinite(seconds)
            or not 0 <= seconds <= LONGEST_S
        ):
            raise Refusal(400, f"seconds must be a number from 0 to {LONGEST_S:g}")
        try:
            started = self._supervisor.evacuations.start(
                fleet, str(label), value, request[ACTOR], seconds=float(seconds), request_id=request[REQUEST_ID]
            )
        except KeyError:
            raise Refusal(404, "no fleet of that name") from None
        return _json(started)

    async def end_evacuations(self, request: web.Request) -> web.Response:
        """End all drills, or those of one fleet. Idempotent."""
        fleet = (await _body(request)).get("fleet", "")
        if not isinstance(fleet, str):
            raise Refusal(400, "fleet must be a name")
        return _json({"evacuations": self._supervisor.evacuations.end(request[ACTOR], fleet=fleet, request_id=request[REQUEST_ID])})

    def _route(self, request: web.Request) -> str:
        """The route of the path.

        Raises:
            Refusal: 404, it has no rollout.
        """
        route = request.match_info["route"]
        try:
            self._supervisor.rollouts.document(route)
        except KeyError:
            raise Refusal(404, "no route of that name has a rollout in the config") from None
        return route


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")


async def _body(request: web.Request) -> dict[str, Any]:
    """The JSON object in the body; an empty one when there is none.

    Raises:
        Refusal: 400, when it is something else.
    """
    raw = await request.read()
    try:
        value = json.loads(raw) if raw.strip() else {}
    except (ValueError, RecursionError):
        raise Refusal(400, "the body is not JSON") from None
    if not isinstance(value, dict):
        raise Refusal(400, "the body must be a JSON object")
    return value
