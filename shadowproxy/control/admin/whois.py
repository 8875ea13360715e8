"""The handler of the admin API that says which experiments, rollouts and mirrors a unit is or was a part of."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Final

from aiohttp import web

from shadowproxy.control.admin.problem import Refusal
from shadowproxy.experiments.whois import with_sentences

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.control.supervisor import Supervisor

UNIT_LIMIT: Final = 4096
"""Bytes of a unit: more than a header field or a cookie usually has."""

WEEK_S: Final = 7 * 86400.0


class WhoisViews:
    """Says who is affected by what this instance does. The unit is in no log and not in the answer."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def whois(self, request: web.Request) -> web.Response:
        """What a unit is a part of now, and was since `since`."""
        query = request.query
        unit = query.get("unit", "")
        if not unit or len(unit.encode(errors="surrogateescape")) > UNIT_LIMIT:
            raise Refusal(400, f"unit must be a user, tenant or whatever keys name, of 1 to {UNIT_LIMIT} bytes")
        now = time.time()
        document = await self._supervisor.exposures.whois(unit, now, since=_since(query, now), key=query.get("key", ""))
        return web.Response(body=json.dumps(with_sentences(document)).encode(), content_type="application/json")


def _since(query: Mapping[str, str], now: float) -> float:
    try:
        since = float(query.get("since", f"{now - WEEK_S}"))
    except ValueError:
        since = math.nan
    if not math.isfinite(since):
        raise Refusal(400, "since must be a time in seconds since 1970")
    return since
