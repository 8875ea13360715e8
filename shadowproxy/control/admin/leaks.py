"""The handler of the admin API that shows which calls lost their tag, and who is to blame."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Final

from aiohttp import web

from shadowproxy.control.admin.problem import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.control.supervisor import Supervisor

LIMIT: Final = 1000
"""Calls of one answer."""


class LeakViews:
    """Shows the lost tags of one instance. Paths are redacted before they get there."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    async def leaks(self, request: web.Request) -> web.Response:
        """The newest first, with totals since control started."""
        query = request.query
        text = query.get("limit", "100")
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= LIMIT):
            raise Refusal(400, f"limit must be from 1 to {LIMIT}")
        leaks = self._supervisor.leaks
        found = leaks.find(service=query.get("service", ""), trace=query.get("trace", ""), since=_seconds(query), limit=int(text))
        document = {
            "total": leaks.total,
            "undescribed": leaks.dropped,
            "kept": len(leaks),
            "blamed": leaks.blamed(),
            "calls": [
                {"service": service, "listener": listener, "host": host, "count": count}
                for (service, listener, host), count in leaks.calls.most_common()
            ],
            "leaks": found,
        }
        return web.Response(body=json.dumps(document).encode(), content_type="application/json")


def _seconds(query: Mapping[str, str]) -> float:
    try:
        since = float(query.get("since", "0"))
    except ValueError:
        since = math.nan
    if not math.isfinite(since):
        raise Refusal(400, "since must be a time in seconds since 1970")
    return since
