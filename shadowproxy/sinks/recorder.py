"""Ledger rows of a sink that runs by itself: one for each write, durable before it is answered.

Behind the proxy the worker writes the row, and sinks write none.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import re
import secrets
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.ledger import Ledger

READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that write nothing (RFC 9110 section 9.2.1)."""

PATIENCE_S: Final = 5.0
"""How long a write waits for its row."""

_TRACE: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-.*")


class Recorder:
    """Writes rows to a ledger.

    Args:
        ledger: open.
        now: seconds since 1970.
    """

    def __init__(self, ledger: Ledger, now: Callable[[], float] = time.time) -> None:
        self._ledger = ledger
        self._now = now

    async def __call__(self, call: Call, sink: str) -> str:
        """Make the row of a write durable: "" when it is, or when `call` is none, else why not."""
        if call.method in READS:
            return ""
        loop = asyncio.get_running_loop()
        settled: asyncio.Future[str] = loop.create_future()

        def done(_: list[str], problem: str) -> None:
            with contextlib.suppress(RuntimeError):  # the loop may have ended while the disk was slow
                loop.call_soon_threadsafe(_settle, settled, problem)

        self._ledger.submit([row_of(call, sink, self._now())], done)
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await settled
        except TimeoutError:
            return f"the ledger has not answered in {PATIENCE_S:g} s"


def row_of(call: Call, sink: str, now_s: float) -> dict[str, Any]:
    """The row of a write that a sink took."""
    trace = _TRACE.fullmatch(call.headers.get("traceparent", "").strip().lower())
    return {
        "id": secrets.token_hex(16),
        "time": now_s,
        "trace": trace[1] if trace else "",
        "tenant": call.tenant,
        "listener": "",
        "route": "",
        "method": call.method,
        "host": call.headers.get("host", ""),
        "target": call.target,
        "digest": hashlib.sha256(call.body).hexdigest(),
        "body_bytes": len(call.body),
        "fate": "sunk",
        "reason": "",
        "to": sink,
        "origin": "tag",
        "client": "",
    }


def _settle(settled: asyncio.Future[str], problem: str) -> None:
    if not settled.done():
        settled.set_result(problem)
