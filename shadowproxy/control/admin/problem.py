"""Errors of the admin API as problem documents (RFC 9457), from one table."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.errors import ConfigError, ControlError, ShadowproxyError, StaleConfig, StateError

if TYPE_CHECKING:
    from collections.abc import Mapping

CONTENT_TYPE: Final = "application/problem+json"

STATUS_OF: Final[tuple[tuple[type[ShadowproxyError], int], ...]] = (
    (ConfigError, 422),
    (StaleConfig, 412),
    (ControlError, 409),
    (StateError, 503),
)
"""The status of each error, most specific first."""


class Refusal(Exception):
    """Ends a request with a problem document."""

    def __init__(self, status: int, detail: str = "", *, headers: Mapping[str, str] | None = None, **extra: Any) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.headers = dict(headers or {})
        self.extra = extra


def problem(status: int, detail: str = "", headers: Mapping[str, str] | None = None, **extra: Any) -> web.Response:
    """One problem document. The title is the status's own phrase; `extra` adds members."""
    document: dict[str, Any] = {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status}
    if detail:
        document["detail"] = detail
    return web.Response(status=status, body=json.dumps(document | extra).encode(), content_type=CONTENT_TYPE, headers=headers)


def of_error(error: ShadowproxyError) -> web.Response:
    """The problem document of one of our errors; a ConfigError lists all its problems."""
    status = next((status for kind, status in STATUS_OF if isinstance(error, kind)), 500)
    if isinstance(error, ConfigError):
        listed = [
            {"path": p.path, "message": p.message, "line": p.line, "column": p.column, "file": p.file, "suggestion": p.suggestion}
            for p in error.problems
        ]
        return problem(status, f"{len(listed)} problem{'s' * (len(listed) != 1)}; the old config stays", problems=listed)
    return problem(status, str(error))
