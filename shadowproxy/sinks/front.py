"""HTTP around sinks: one aiohttp low-level server a sink, without router, middlewares or access log.

An aiohttp Application would cost half as much again per request. What no sink may see is refused here: untagged requests (400,
`untagged`), bodies over the limit (413), more requests at a time than allowed (503). Nothing of a body is ever logged.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from typing import TYPE_CHECKING, Any, Final

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.web_protocol import RequestHandler

from shadowproxy.policy.tags import tenant_of
from shadowproxy.sinks.call import Answer, Call, Refused, problem

if TYPE_CHECKING:
    import socket
    from collections.abc import Awaitable, Callable

    from aiohttp.abc import AbstractStreamWriter
    from aiohttp.http_parser import RawRequestMessage
    from aiohttp.streams import StreamReader

    from shadowproxy.sinks.sink import Sink

    Record = Callable[[Call, str], Awaitable[str]]
    """Makes a record of a call to a sink durable; "" when it is, else why not."""

TAG: Final = "X-Test-Traffic"
NAME: Final = "X-Shadow-Sink"

HEAD_LIMIT: Final = 65536
"""Bytes of a request line and of one field: as many as a whole head may have in front of us."""

FIELDS_LIMIT: Final = 11_000
"""Fields of a request: the most that a listener can be told to pass (limits.header_count), and ours."""

SHUTDOWN_S: Final = 2.0
"""How long requests in flight may take when the process ends."""

BODILESS: Final = frozenset({204, 205, 304})

_QUIET: Final = logging.getLogger("shadowproxy.sinks.http")


class Front:
    """The server of one sink; the sink behind it can be replaced.

    Args:
        sink: what answers.
        record: called for every call before its answer leaves; None records nothing.
    """

    def __init__(self, sink: Sink, record: Record | None = None) -> None:
        self.sink = sink
        self.statuses: Counter[int] = Counter()
        self.in_flight = 0
        self._record = record
        # What aiohttp would log is what strangers send; the tag of a test is no reason to trust its bytes.
        _QUIET.setLevel(logging.CRITICAL)
        options = {
            "access_log": None,
            "logger": _QUIET,
            "max_line_size": HEAD_LIMIT,
            "max_field_size": HEAD_LIMIT,
            "max_headers": FIELDS_LIMIT,
        }
        self._server = _Server(self._handle, self, options)
        self._listening: asyncio.Server | None = None

    def __repr__(self) -> str:
        return f"<Front of {self.sink!r} in_flight={self.in_flight}>"

    async def open(self, listening: socket.socket) -> None:
        """Begin to accept."""
        self._listening = await asyncio.get_running_loop().create_server(self._server, sock=listening, backlog=4096)

    async def close(self, patience_s: float = SHUTDOWN_S) -> None:
        """Accept no more, let what is in flight finish within `patience_s`, and close."""
        if self._listening is not None:
            self._listening.close()
        self._server.pre_shutdown()
        await self._server.shutdown(patience_s)

    def dressed(self, answer: Answer) -> web.Response:
        """An answer as aiohttp sends it, counted."""
        self.statuses[answer.status] += 1
        body = None if answer.status in BODILESS else answer.body
        headers = {"Server": "shadowproxy", **answer.headers, NAME: self.sink.name}
        if body and answer.content_type and not any(name.lower() == "content-type" for name in headers):
            headers["Content-Type"] = answer.content_type
        return web.Response(status=answer.status, body=body, headers=headers)

    async def _handle(self, request: web.BaseRequest) -> web.Response:
        limits = self.sink.config.limits
        if self.in_flight >= limits.in_flight:
            return self.dressed(problem(Refused(503, "too_many", f"{self.in_flight} requests at a time, limit {limits.in_flight}")))
        self.in_flight += 1
        try:
            answer = await self._answer(request)
            if answer.latency_s > 0:
                await asyncio.sleep(answer.latency_s)
            return self.dressed(answer)
        finally:
            self.in_flight -= 1

    async def _answer(self, request: web.BaseRequest) -> Answer:
        fields = request.headers
        tenants = [found for value in fields.getall(TAG, ()) if (found := tenant_of(value.encode("utf-8", "surrogateescape")))]
        if not tenants:
            return problem(Refused(400, "untagged", f"this is a sink for test traffic: a request needs {TAG}"))
        if fields.get("Expect", "").lower() == "100-continue" and request.transport is not None:
            request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        try:
            body = await request.read() if request.body_exists else b""
        except web.HTTPRequestEntityTooLarge:
            return problem(Refused(413, "body_too_large", f"the body has more than {self.sink.config.limits.body} bytes"))
        except (web.HTTPException, web.RequestPayloadError, HttpProcessingError, ValueError):
            return problem(Refused(400, "bad_body", "the body cannot be read as it says that it is coded"))
        target = _origin_form(request.raw_path)
        if not target:
            return problem(Refused(400, "bad_target", "the target must be a path, or an absolute URL"))
        call = Call(request.method, target, _joined(fields), tenants[0].decode(), body)
        if self._record is not None:
            refusal = await self._record(call, self.sink.name)
            if refusal:
                return problem(Refused(503, "ledger_unavailable", refusal))
        return await self.sink.answer(call)


def _origin_form(target: str) -> str:
    """A target as a path and query; empty for one that is neither that nor an absolute URL (RFC 9112 section 3.2)."""
    if target.lower().startswith(("http://", "https://")):
        slash = target.find("/", 8)
        return target[slash:] if slash > 0 else "/"
    return target if target.startswith("/") else ""


def _joined(fields: Any) -> dict[str, str]:
    """Fields by lower-case name, several lines as one (RFC 9110 section 5.3)."""
    joined: dict[str, str] = {}
    for name, value in fields.items():
        lowered = name.lower()
        joined[lowered] = f"{joined[lowered]}, {value}" if lowered in joined else value
    return joined


class _Server(web.Server):
    """A server whose requests know the sink's limit, and whose own refusals look like the sink's."""

    def __init__(self, handler: Callable[[web.BaseRequest], Awaitable[web.StreamResponse]], front: Front, options: dict[str, Any]) -> None:
        super().__init__(handler, request_factory=self._make, **options)
        self._front = front
        self._options = options

    def _make(
        self,
        message: RawRequestMessage,
        payload: StreamReader,
        protocol: RequestHandler,
        writer: AbstractStreamWriter,
        task: asyncio.Task[None],
    ) -> web.BaseRequest:
        limit = self._front.sink.config.limits.body
        return web.BaseRequest(message, payload, protocol, writer, task, self._loop, client_max_size=limit)

    def __call__(self) -> RequestHandler:
        return _Handler(self, self._front, self._loop, self._options)


class _Handler(RequestHandler):
    """A connection."""

    __slots__ = ("_front",)

    def __init__(self, server: _Server, front: Front, loop: asyncio.AbstractEventLoop, options: dict[str, Any]) -> None:
        super().__init__(server, loop=loop, **options)
        self._front = front

    def handle_error(
        self, request: web.BaseRequest, status: int = 500, exc: BaseException | None = None, message: str | None = None
    ) -> web.StreamResponse:
        """Bytes that are no HTTP, as a problem document; nothing of them is quoted."""
        del request, exc, message
        response = self._front.dressed(problem(Refused(status, "malformed", "not a well-formed HTTP/1.1 request")))
        response.force_close()
        return response
