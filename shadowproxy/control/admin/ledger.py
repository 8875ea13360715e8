"""The handlers of the admin API that show, export and mark what the ledger holds.

The file is read in other threads, page by page, so that neither the loop nor the writer waits. What was recorded is
redacted already.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import re
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web

from shadowproxy.control.admin.actions import ACTOR, REQUEST_ID
from shadowproxy.control.admin.problem import Refusal
from shadowproxy.errors import StateError
from shadowproxy.sinks import ledger_undo
from shadowproxy.sinks.ledger_export import JSONL, TYPES, beginning, written
from shadowproxy.sinks.ledger_query import COLUMNS, FATES, Filter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from shadowproxy.control.audit import Actor
    from shadowproxy.control.ledger import Bookkeeping
    from shadowproxy.control.supervisor import Supervisor
    from shadowproxy.sinks.ledger_query import Row

_log = logging.getLogger("shadowproxy.control")

LIMIT: Final = 1000
"""Rows of one answer."""

MARKS: Final = 1000
"""Writes that one request marks."""

_NUMBER: Final = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")
_CURSOR: Final = re.compile(r"[0-9]{1,18}")
_ID: Final = 200
"""Characters of an id that is looked for."""


class LedgerViews:
    """Shows the ledger of one instance."""

    def __init__(self, supervisor: Supervisor) -> None:
        self._supervisor = supervisor

    @property
    def _books(self) -> Bookkeeping:
        return self._supervisor.books

    async def ledger(self, request: web.Request) -> web.Response:
        """Rows, the newest first, and the cursor of the next page."""
        wanted, limit, cursor = _filter(request), _limit(request), request.query.get("cursor")
        if cursor is not None and not _CURSOR.fullmatch(cursor):
            raise Refusal(400, "cursor must be what the last answer called next")
        after = None if cursor is None else int(cursor)
        rows = await _read(lambda: self._books.ledger.rows(wanted, limit=limit + 1, cursor=after))
        following = str(rows[limit - 1]["seq"]) if len(rows) > limit else None
        return _json({"rows": rows[:limit], "next": following, "ledger": self._books.state()})

    async def ledger_row(self, request: web.Request) -> web.Response:
        """One row."""
        wanted = request.match_info["id"]
        row = await _read(lambda: self._books.ledger.row(wanted)) if len(wanted) <= _ID else None
        if row is None:
            raise Refusal(404, "no row of that id; it may have left by its age, or for the size of the ledger")
        return _json(row)

    async def ledger_export(self, request: web.Request) -> web.StreamResponse:
        """Rows, the oldest first, as JSON lines or CSV."""
        wanted = _filter(request)
        return await _stream(request, COLUMNS, lambda: self._books.ledger.pages(wanted, is_ascending=True))

    async def ledger_scrub(self, request: web.Request) -> web.StreamResponse:
        """The scrub list: writes that some service has carried out and that were not marked yet, the newest first."""
        every = request.query.get("all", "0")
        if every not in {"0", "1"}:
            raise Refusal(400, "all must be 0 or 1")
        wanted = _filter(request, is_to_undo=True, is_open=every == "0")

        def entries() -> Iterator[list[Row]]:
            for page in self._books.ledger.pages(wanted):
                yield [ledger_undo.entry(row) for row in page]

        return await _stream(request, ledger_undo.COLUMNS, entries)

    async def mark_scrubbed(self, request: web.Request) -> web.Response:
        """Note that writes have been undone. Idempotent; what cannot be undone, or is not there, is passed over."""
        ids = _ids(await request.read())
        problem = await self._books.mark(ids)
        if problem:
            raise Refusal(503, problem)
        actor: Actor = request[ACTOR]
        self._supervisor.audit.record(actor, "ledger.scrub", "ok", detail=f"{len(ids)} writes marked", request_id=request[REQUEST_ID])
        return _json({"marked": ids})

    async def ledger_law(self, request: web.Request) -> web.Response:
        """The law of tagged writes; with check=1 compared with the rows, which takes about a second."""
        check = request.query.get("check", "0")
        if check not in {"0", "1"}:
            raise Refusal(400, "check must be 0 or 1")
        if check == "0":
            law = self._books.law()
            is_kept = all(one["is_conserved"] for one in law)
            return _json({"routes": law, "is_compared": False, "is_kept": is_kept, "ledger": self._books.state()})
        try:
            return _json(await self._books.check())
        except StateError as error:
            raise Refusal(503, str(error)) from None


def _filter(request: web.Request, *, is_to_undo: bool = False, is_open: bool = False) -> Filter:
    """What a query asks for.

    Raises:
        Refusal: 400.
    """
    asked = request.query
    fate = asked.get("fate", "")
    if fate and fate not in FATES:
        raise Refusal(400, f"fate must be one of {', '.join(FATES)}")
    return Filter(
        tenant=asked.get("tenant", ""),
        route=asked.get("route", ""),
        fate=fate,
        trace=asked.get("trace", "").lower(),
        since=_seconds(request, "since", -math.inf),
        until=_seconds(request, "until", math.inf),
        is_to_undo=is_to_undo,
        is_open=is_open,
    )


def _seconds(request: web.Request, name: str, otherwise: float) -> float:
    text = request.query.get(name)
    if text is None:
        return otherwise
    if not _NUMBER.fullmatch(text):
        raise Refusal(400, f"{name} must be a number: seconds since 1970")
    return float(text)


def _limit(request: web.Request) -> int:
    text = request.query.get("limit", "100")
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:5]) <= LIMIT):
        raise Refusal(400, f"limit must be from 1 to {LIMIT}")
    return int(text)


def _ids(raw: bytes) -> list[str]:
    try:
        value = json.loads(raw)
    except (ValueError, RecursionError):
        value = None
    ids = value.get("ids") if isinstance(value, dict) else None
    if not isinstance(ids, list) or len(ids) > MARKS or not all(isinstance(one, str) and 0 < len(one) <= _ID for one in ids):
        raise Refusal(400, f'the body must be {{"ids": [...]}} with at most {MARKS} ids of rows')
    return ids


async def _read(ask: Callable[[], Any]) -> Any:
    """What `ask` returns, in another thread.

    Raises:
        Refusal: 503, the ledger cannot be read.
    """
    try:
        return await asyncio.to_thread(ask)
    except StateError as error:
        raise Refusal(503, str(error)) from None


async def _stream(request: web.Request, columns: Sequence[str], pages: Callable[[], Iterator[list[Row]]]) -> web.StreamResponse:
    """Pages as they are read. When reading fails in the middle the connection is cut: a list must not seem to be whole."""
    form = request.query.get("format", JSONL)
    if form not in TYPES:
        raise Refusal(400, f"format must be one of {', '.join(TYPES)}")
    reading = pages()
    page = await _read(lambda: next(reading, None))
    response = web.StreamResponse(headers={"Content-Type": f"{TYPES[form]}; charset=utf-8"})
    await response.prepare(request)
    if request.method == "HEAD":  # what is written would be read as the next answer (RFC 9110 section 9.3.2)
        return response
    await response.write(beginning(form, columns).encode("utf-8", "replace"))
    try:
        while page:
            await response.write(written(form, page, columns).encode("utf-8", "replace"))
            page = await asyncio.to_thread(next, reading, None)
    except ConnectionResetError:
        return response  # whoever asked has gone
    except Exception as error:  # noqa: BLE001  an answer has begun, so none can say what is wrong
        _log.error("an export of the ledger ends in the middle: %s", error)
        if request.transport is not None:
            request.transport.abort()
        return response
    await response.write_eof()
    return response


def _json(document: dict[str, Any]) -> web.Response:
    return web.Response(body=json.dumps(document).encode(), content_type="application/json")
