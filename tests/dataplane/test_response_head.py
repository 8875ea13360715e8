"""Answers' heads: as strict as requests'."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.dataplane import response_head
from shadowproxy.dataplane.head import BLOCKS_LIMIT, CHUNKED, LINE_BYTES_LIMIT, UNTIL_CLOSE
from shadowproxy.dataplane.response_head import ResponseHeads
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.errors import BadResponse


def _head(*lines: str, start: str = "HTTP/1.1 200 OK") -> bytes:
    return "\r\n".join([start, *lines, "", ""]).encode("latin-1")


def _verdict(reader: ResponseHeads, head: bytes, method: bytes = b"GET") -> Any:
    try:
        response = reader.read(head, method)
    except BadResponse as error:
        return error.code
    return {name: getattr(response, name) for name in ResponseHead.__slots__}


@pytest.mark.parametrize(
    ("head", "method", "expected"),
    [
        (_head("Content-Length: 3"), b"GET", {"length": 3, "announced": 3, "is_reusable": True, "wire": b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"}),
        (_head("Content-Length: 3"), b"HEAD", {"length": 0, "announced": 3}),
        (_head("Content-Length: 3", start="HTTP/1.1 304 Not Modified"), b"GET", {"length": 0, "announced": 3}),
        (_head("Content-Length: 0", start="HTTP/1.1 204 No Content"), b"GET", {"length": 0, "wire": b"HTTP/1.1 204 No Content\r\n"}),
        (_head(), b"GET", {"length": UNTIL_CLOSE, "announced": -1}),
        (_head("Transfer-Encoding: chunked"), b"GET", {"length": CHUNKED, "wire": b"HTTP/1.1 200 OK\r\n"}),
        (_head("Connection: close"), b"GET", {"is_reusable": False, "wire": b"HTTP/1.1 200 OK\r\n"}),
        (_head("Connection: X-Hop", "X-Hop: 1", "X: 2"), b"GET", {"is_reusable": True, "wire": b"HTTP/1.1 200 OK\r\nX: 2\r\n"}),
        (_head("Connection: date", "Date: now"), b"GET", {"has_date": True, "wire": b"HTTP/1.1 200 OK\r\nDate: now\r\n"}),
        (_head(start="HTTP/1.0 200 OK"), b"GET", {"is_reusable": False, "wire": b"HTTP/1.1 200 OK\r\n"}),
        (_head("Connection: keep-alive", start="HTTP/1.0 200 OK"), b"GET", {"is_reusable": True}),
        (_head("Upgrade: websocket", "Connection: upgrade", start="HTTP/1.1 101 X"), b"GET", {"status": 101, "upgrade": b"websocket"}),
        (_head("Set-Cookie: a=1", "set-cookie: b=\xe9"), b"GET", {"wire": b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nset-cookie: b=\xe9\r\n"}),
        (_head(start="HTTP/1.1 200 "), b"GET", {"status": 200}),
    ],
)  # fmt: skip
def test_heads_say_what_they_say(head: bytes, method: bytes, expected: dict[str, Any]) -> None:
    """Where the body ends, what goes on, and whether the connection may carry another exchange; asked again, the same."""
    reader = ResponseHeads()
    for _ in range(5):
        found = _verdict(reader, head, method)
        assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("head", "code"),
    [
        (_head("Content-Length: 3", "Content-Length: 3"), "malformed_head"),
        (_head("Content-Length: x"), "malformed_head"),
        (_head("Transfer-Encoding: gzip"), "unsupported_coding"),
        (_head("Transfer-Encoding: chunked", "Transfer-Encoding: chunked"), "unsupported_coding"),
        (_head("Transfer-Encoding: chunked", start="HTTP/1.0 200 OK"), "unsupported_coding"),
        (_head(start="HTTP/1.1 99 X"), "malformed_head"),
        (_head(start="HTTP/1.1 600 X"), "malformed_head"),
        (_head(start="HTTP/2.0 200 OK"), "malformed_head"),
        (_head(start="HTTP/1.1  200 OK"), "malformed_head"),
        (_head("X : 1"), "malformed_head"),
        (_head("X: 1\r\n folded"), "malformed_head"),
        (_head(*(f"X-{number}: 1" for number in range(501))), "too_many_fields"),
    ],
)
def test_ambiguous_answers_are_refused(head: bytes, code: str) -> None:
    """The client is told 502; the connection is of no more use."""
    assert _verdict(ResponseHeads(), head) == code


@pytest.mark.parametrize("times", [1, 4])
def test_remembering_changes_no_verdict(times: int) -> None:
    """For every byte value in every place: a reader that has seen a head says of any other what a fresh one says."""
    base = _head("Content-Length: 3", "Date: now", "Connection: a")
    warm = ResponseHeads()
    for _ in range(times):
        warm.read(base, b"GET")
    for place in range(len(base)):
        for value in range(256):
            changed = base[:place] + bytes([value]) + base[place + 1 :]
            for method in (b"GET", b"HEAD"):
                assert _verdict(warm, changed, method) == _verdict(ResponseHeads(), changed, method), changed


def test_a_head_request_s_answer_is_not_taken_for_another_s() -> None:
    """The same bytes have a body after GET and none after HEAD, in whatever order they come."""
    reader = ResponseHeads()
    lengths = [reader.read(_head("Content-Length: 3"), method).length for method in (b"HEAD", b"GET", b"HEAD", b"GET")]
    assert lengths == [0, 3, 0, 3]


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what comes again and again is kept, no long line ever, and a reader that is full starts anew."""
    reader = ResponseHeads()
    for number in range(BLOCKS_LIMIT + 3):
        for _ in range(4):
            reader.read(_head("Content-Length: 3", f"X: {number}"), b"GET")
    assert len(reader._blocks) == 3
    long = "y" * (LINE_BYTES_LIMIT + 1)
    assert reader.read(_head(f"X: {long}", start=f"HTTP/1.1 200 {long}"), b"GET").status == 200
    assert all(len(line) <= LINE_BYTES_LIMIT for line in (*reader._meanings, *reader._statuses))
    monkeypatch.setattr(response_head, "LINES_LIMIT", 4)
    monkeypatch.setattr(response_head, "SPELLINGS_LIMIT", 4)
    for number in range(30):
        for _ in range(4):
            reader.read(_head(f"X-{number}: 1", start=f"HTTP/1.1 200 {number}"), b"GET")
    assert len(reader._spellings) <= 4
    assert len(reader._meanings) <= 4
    assert len(reader._statuses) <= 4


def test_a_head_shows_itself() -> None:
    """Status, length, and whether the connection lives on."""
    assert repr(ResponseHeads().read(_head("Content-Length: 3"), b"GET")) == "ResponseHead(200, length=3, reusable=True)"
