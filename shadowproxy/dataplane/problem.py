"""Answers that the proxy gives itself: `application/problem+json` (RFC 9457), never a stack trace."""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import Final

from shadowproxy.dataplane import outcome

_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus} | {413: "Content Too Large"}


def problem(status: int, code: str, detail: str, *, date_line: bytes, is_last: bool, is_head: bool = False, extra: bytes = b"") -> bytes:
    """A whole answer, head and body.

    Args:
        status: 4xx or 5xx (or 200 for a local OPTIONS answer).
        code: stable reason, the one that the counter carries.
        detail: a sentence; it must not quote what the client sent.
        date_line: the Date field with its CRLF.
        is_last: the connection closes behind it.
        is_head: leave the body out, as HEAD wants it.
        extra: further field lines, each with CRLF.
    """
    phrase = _PHRASES.get(status, "Error")
    body = json.dumps({"type": "about:blank", "title": phrase, "status": status, "code": code, "detail": detail}).encode() + b"\n"
    head = (
        b"HTTP/1.1 %d %b\r\nServer: shadowproxy\r\n%bContent-Type: application/problem+json\r\nContent-Length: %d\r\nCache-Control: no-store\r\n%b%b\r\n"
        % (status, phrase.encode(), date_line, len(body), extra, b"Connection: close\r\n" if is_last else b"")
    )
    return head if is_head else head + body


def final_recipient(method: bytes, *, date_line: bytes, is_last: bool) -> bytes:
    """The answer to OPTIONS or TRACE whose Max-Forwards has reached 0 (RFC 9110 section 7.6.2).

    TRACE would echo credentials and cookies: it is not served.
    """
    return b"HTTP/1.1 %b\r\nServer: shadowproxy\r\n%bAllow: GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS\r\nContent-Length: 0\r\n%b\r\n" % (
        b"200 OK" if method == b"OPTIONS" else b"405 Method Not Allowed",
        date_line,
        b"Connection: close\r\n" if is_last else b"",
    )


STATUS_OF_FAILURE: Final = {
    outcome.REFUSED: (502, "upstream_refused", "the endpoint refused the connection"),
    outcome.UNREACHABLE: (502, "upstream_unreachable", "the endpoint cannot be reached"),
    outcome.RESET: (502, "upstream_reset", "the endpoint closed the connection before it answered"),
    outcome.TRUNCATED: (502, "upstream_truncated", "the endpoint's answer ended early"),
    outcome.MALFORMED: (502, "upstream_malformed", "the endpoint's answer is not HTTP/1"),
    outcome.TLS: (502, "upstream_tls", "the TLS handshake with the endpoint failed"),
    outcome.CONNECT_TIMEOUT: (504, "upstream_connect_timeout", "no connection to the endpoint in time"),
    outcome.TIMEOUT: (504, "upstream_timeout", "the endpoint did not answer in time"),
    outcome.OVERFLOW: (503, "upstream_overflow", "no connection to the endpoint was free"),
}
"""What a client is told of a live leg that ended so, before anything of an answer was there: status, code, detail."""
