"""Answers that fit a template: for each rule that a value could break, what a fresh reader says."""

from __future__ import annotations

import pytest

from tests.kit.heads import response_reader, response_verdict, show_answers

OK = b"HTTP/1.1 200 OK"


def _head(*lines: bytes, start: bytes = OK) -> bytes:
    return b"\r\n".join([start, *lines, b"", b""])


def _alike(line: bytes, *others: bytes, start: bytes = OK) -> list[bytes]:
    """Heads of which a reader learns that the value of `line`, which has a %d, varies."""
    return [_head(line % number, *others, start=start) for number in (1, 2, 3)]


NO_CONTENT = b"HTTP/1.1 204 No Content"
UNCHANGED = b"HTTP/1.1 304 Not Modified"
OLD = b"HTTP/1.0 200 OK"
CHUNKED = b"Transfer-Encoding: chunked"
CASES = {
    "a value": (b"ETag", _alike(b"ETag: %d", CHUNKED), _head(b"ETag:  a\t", CHUNKED)),
    "a value among what goes no further": (b"ETag", _alike(b"ETag: %d", b"Keep-Alive: 5"), _head(b"ETag: a", b"Keep-Alive: 5")),
    "a control character": (b"ETag", _alike(b"ETag: %d"), _head(b"ETag: \x01")),
    "a bare CR": (b"ETag", _alike(b"ETag: %d"), _head(b"ETag: a\rb")),
    "a line more": (b"ETag", _alike(b"ETag: %d"), _head(b"ETag: a\r\nX: u")),
    "a fold": (b"ETag", _alike(b"ETag: %d"), _head(b"ETag: a\r\n b")),
    "a length": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 77")),
    "no body": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 0")),
    "a length with a zero": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 07")),
    "a length with a sign": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: +7")),
    "a length with space": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 7 ")),
    "a length without space": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length:7")),
    "an empty length": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length:")),
    "a length over all": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 9223372036854775808")),
    "a length where there is no body": (b"Content-Length", _alike(b"Content-Length: %d", start=UNCHANGED), _head(b"Content-Length: 9", start=UNCHANGED)),
    "a length that may not be there": (b"Content-Length", _alike(b"Content-Length: %d", start=NO_CONTENT), _head(b"Content-Length: 9", start=NO_CONTENT)),
    "a date": (b"Date", _alike(b"Date: %d"), _head(b"Date: now")),
    "an older version": (b"ETag", _alike(b"ETag: %d", start=OLD), _head(b"ETag: a", start=OLD)),
    "an upgrade that nobody asked for": (b"ETag", _alike(b"ETag: %d", b"Upgrade: h2c", b"Connection: upgrade"), _head(b"ETag: a", b"Upgrade: h2c", b"Connection: upgrade")),
    "another upgrade": (b"Upgrade", _alike(b"Upgrade: %d", b"Connection: upgrade"), _head(b"Upgrade: a", b"Connection: upgrade")),
    "a value of a field that goes no further": (b"X-Hop", _alike(b"X-Hop: %d", b"Connection: X-Hop", start=OLD), _head(b"X-Hop: a", b"Connection: X-Hop", start=OLD)),
    "the same with options": (b"X-Hop", _alike(b"X-Hop: %d", b"Connection: keep-alive, X-Hop"), _head(b"X-Hop: a", b"Connection: keep-alive, X-Hop")),
    "a value in a last answer": (b"ETag", _alike(b"ETag: %d", b"Connection: close"), _head(b"ETag: a", b"Connection: close")),
    "a last answer": (b"Connection", _alike(b"Connection: %d"), _head(b"Connection: close")),
    "another coding": (b"Transfer-Encoding", _alike(b"Transfer-Encoding: %d"), _head(CHUNKED)),
    "an interim answer": (b"Link", _alike(b"Link: %d", start=b"HTTP/1.1 103 Early"), _head(b"Link: a", start=b"HTTP/1.1 103 Early")),
}  # fmt: skip


@pytest.mark.parametrize("method", [b"GET", b"HEAD"])
@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_that_of_a_fresh_reader(case: str, method: bytes) -> None:
    """To the last attribute, and again when it is asked again, whatever was asked before."""
    name, alike, other = CASES[case]
    reader = show_answers(response_reader(), name)
    for head in [*alike, other, other, *alike]:
        for asked in (method, b"GET"):
            assert response_verdict(reader, head, asked) == response_verdict(response_reader(), head, asked), head


@pytest.mark.parametrize(
    "case", ["a value", "a value among what goes no further", "a value in a last answer", "a length", "no body", "a date"]
)
def test_what_differs_in_a_value_alone_fits(case: str) -> None:
    """Otherwise the test above would show nothing: these are read from a template, and not line by line."""
    name, alike, other = CASES[case]
    reader = show_answers(response_reader(), name)
    for head in alike:
        response_verdict(reader, head)
    template = reader._templates.find(other)
    assert template is not None
    assert repr(template) == "ResponseTemplate(200, 1 blanks)"
    filled = template.fill(reader._templates.values)
    assert filled is not None
    assert filled.wire == reader.read(other, b"GET").wire
