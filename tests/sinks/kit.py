"""What tests of sinks share: calls without sockets, and requests with them."""

from __future__ import annotations

import json as json_module
from typing import Any

import aiohttp

from shadowproxy.config.plain import from_plain
from shadowproxy.sinks.call import Call

Heard = tuple[int, Any, Any]
"""Status, header fields, and the body: read as JSON where it is JSON."""


async def ask(
    url: str, method: str, path: str, *, tenant: str = "default", json: Any = None, body: bytes | None = None, **headers: str
) -> Heard:
    """One request over a connection of its own; `X_Y` in keyword arguments is header X-Y. Without a tenant it is untagged."""
    fields = {name.replace("_", "-"): value for name, value in headers.items()}
    if tenant:
        fields["X-Test-Traffic"] = tenant
    if json is not None:
        body = json_module.dumps(json).encode()
        fields.setdefault("Content-Type", "application/json")
    timeout = aiohttp.ClientTimeout(total=30)
    async with (
        aiohttp.ClientSession(auto_decompress=False, timeout=timeout, skip_auto_headers={"Content-Type"}) as session,
        session.request(method, url + path, data=body, headers=fields, allow_redirects=False) as answer,
    ):
        raw = await answer.read()
        is_json = "json" in answer.content_type and raw
        return answer.status, answer.headers, json_module.loads(raw) if is_json else raw.decode("utf-8", "replace")


def call(method: str, target: str, *, tenant: str = "default", json: Any = None, body: bytes = b"", **headers: str) -> Call:
    """A call, without a socket."""
    fields = {name.replace("_", "-").lower(): value for name, value in headers.items()}
    if json is not None:
        body = json_module.dumps(json).encode()
        fields.setdefault("content-type", "application/json")
    return Call(method, target, fields, tenant, body)


def config_of(sink: dict[str, Any], **top: Any) -> Any:
    """A config whose only sink, `s`, is this; its route sends writes there."""
    return from_plain(
        {
            "listen": ["127.0.0.1:8080"],
            "fleets": {"live": {"endpoints": ["http://127.0.0.1:1"]}},
            "routes": [{"name": "all", "live": "live", "test_traffic": {"writes": {"sink": "s"}}}],
            "sinks": {"s": sink},
            **top,
        }
    )
