"""Readers of heads that have learnt what varies, and all that a reader says about a head."""

from __future__ import annotations

from typing import Any, Final

from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.request_lines import RequestHead
from shadowproxy.dataplane.response_head import ResponseHeads
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.dataplane.templates import FIRST_REVIEW, VALUES
from shadowproxy.errors import BadRequest, BadResponse

ATTRIBUTES: Final = sorted({*RequestHead.__slots__, "lines"} - {"copies", "_lines"})
HOST: Final = b"Host: shop.example"


def request_reader() -> RequestHeads:
    """One that has read nothing, of a policy that looks at two fields and whose mirrors leave out or change two."""
    return RequestHeads(frozenset({b"x-user", b"cookie"}), frozenset({b"cookie", b"host"}), count_limit=12, line_limit=200)


def response_reader() -> ResponseHeads:
    """One that has read nothing."""
    return ResponseHeads(count_limit=12)


def request_verdict(reader: RequestHeads, head: bytes) -> Any:
    """All that is said about the head of a request."""
    try:
        method, target, path, fields = reader.read(head)
    except BadRequest as error:
        return error.status, error.code
    return method, target, path, {name: getattr(fields, name) for name in ATTRIBUTES}


def response_verdict(reader: ResponseHeads, head: bytes, method: bytes = b"GET") -> Any:
    """All that is said about the head of an answer to `method`."""
    try:
        response = reader.read(head, method)
    except BadResponse as error:
        return error.code
    return {name: getattr(response, name) for name in ResponseHead.__slots__}


def show_requests(reader: RequestHeads, *names: bytes) -> RequestHeads:
    """Let a reader see so many values of these fields that it takes them for varying, as far as they may be."""
    for number in range(FIRST_REVIEW + VALUES):
        for name in names:
            host = [] if name.lower() == b"host" else [HOST]
            value = b"00-%032x-%016x-01" % (number + 1, number + 1) if name.lower() == b"traceparent" else b"%d" % (number + 10)
            request_verdict(reader, b"\r\n".join([b"GET / HTTP/1.1", *host, b"%b: %b" % (name, value), b"", b""]))
    return reader


def show_answers(reader: ResponseHeads, *names: bytes) -> ResponseHeads:
    """The same of answers."""
    for number in range(FIRST_REVIEW + VALUES):
        for name in names:
            response_verdict(reader, b"HTTP/1.1 200 OK\r\n%b: %d\r\n\r\n" % (name, number + 10))
    return reader


def attentive(reader: RequestHeads | ResponseHeads) -> None:
    """Have a reader learn from the next heads as one does that has not seen many in vain."""
    reader._templates._lessons = reader._templates._in_a_row = 0
