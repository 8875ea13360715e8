"""The proxy's own answers."""

from __future__ import annotations

import json

import h11
import pytest

from shadowproxy.dataplane.problem import problem

DATE = b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"


def _read(wire: bytes, method: str) -> tuple[h11.Response, bytes, object]:
    """The answer as h11 reads it: head, body, and the state that the client is left in."""
    client = h11.Connection(h11.CLIENT)
    client.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    client.send(h11.EndOfMessage())
    client.receive_data(wire)
    head = client.next_event()
    assert isinstance(head, h11.Response)
    body = b""
    while isinstance(event := client.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    return head, body, client.their_state


@pytest.mark.parametrize(
    ("status", "title"), [(400, "Bad Request"), (404, "Not Found"), (413, "Content Too Large"), (502, "Bad Gateway"), (599, "Error")]
)
def test_a_problem_is_a_whole_answer(status: int, title: str) -> None:
    """RFC 9457 JSON with the stable code, a date, no caching, and a length that fits."""
    head, body, _ = _read(problem(status, "some_code", "a sentence", date_line=DATE, is_last=False), "GET")
    assert json.loads(body) == {"type": "about:blank", "title": title, "status": status, "code": "some_code", "detail": "a sentence"}
    fields = dict(head.headers)
    assert head.status_code == status
    assert fields[b"content-type"] == b"application/problem+json"
    assert fields[b"cache-control"] == b"no-store"
    assert fields[b"content-length"] == b"%d" % len(body)
    assert fields[b"date"] == b"Thu, 01 Jan 1970 00:00:00 GMT"
    assert b"connection" not in fields


def test_the_last_answer_says_so() -> None:
    """Connection: close, so that no client sends another request."""
    _, _, state = _read(problem(400, "c", "d", date_line=DATE, is_last=True), "GET")
    assert state is h11.MUST_CLOSE


def test_head_gets_the_head() -> None:
    """With the length that the body would have had, and no body."""
    whole = problem(404, "c", "d", date_line=DATE, is_last=False)
    bare = problem(404, "c", "d", date_line=DATE, is_last=False, is_head=True)
    assert whole.startswith(bare)
    head, body, _ = _read(bare, "HEAD")
    assert int(dict(head.headers)[b"content-length"]) == len(whole) - len(bare)
    assert body == b""


def test_more_fields_can_be_added() -> None:
    """Each with its CRLF, before the end of the head."""
    head, _, _ = _read(problem(503, "c", "d", date_line=b"", is_last=False, extra=b"Retry-After: 1\r\n"), "GET")
    assert dict(head.headers)[b"retry-after"] == b"1"
