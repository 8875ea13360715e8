"""Requests that fit a template: for each rule that a value could break, what a fresh reader says."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.policy.tags import DIALECTS, Tags, baggage_line, tag_line
from tests.kit.heads import HOST, request_reader, request_verdict, show_requests

TRACE = b"traceparent: 00-" + b"%032x" % 5 + b"-" + b"%016x" % 6 + b"-01"


def _head(*lines: bytes, start: bytes = b"GET /x HTTP/1.1", host: bytes = HOST) -> bytes:
    return b"\r\n".join([start, *([host] if host else []), *lines, b"", b""])


def _alike(line: bytes, *others: bytes, host: bytes = HOST, start: bytes = b"GET /x HTTP/1.1") -> list[bytes]:
    """Heads of which a reader learns that the value of `line`, which has a %d, varies."""
    return [_head(line % number, *others, host=host, start=start) for number in (1, 2, 3)]


WEBSOCKET = (b"Connection: upgrade", b"Upgrade: websocket")
OURS = (tag_line(b"bot"), baggage_line(b"bot", []))
OPTIONS = b"OPTIONS /x HTTP/1.1"
CASES = {
    "a value": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie:  b \t")),
    "no value": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie:")),
    "a control character": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie: \x01")),
    "a bare CR": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie: a\rb")),
    "a bare LF": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie: a\nX: b")),
    "a fold": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie: a\r\n b")),
    "a line more": (b"Cookie", _alike(b"Cookie: a=%d"), _head(b"Cookie: a\r\nX-User: u")),
    "a line more behind": (b"Cookie", _alike(b"Cookie: a=%d", b"X-User: u"), _head(b"Cookie: a", b"X-User: u", b"X: 1")),
    "another that is looked at": (b"X-User", _alike(b"X-User: u%d", b"x-user: v"), _head(b"X-User: w", b"x-user: v")),
    "another before it that is looked at": (
        b"X-User",
        _alike(b"X-User: u%d", host=HOST + b"\r\nx-user: v"),
        _head(b"x-user: v", b"X-User: w"),
    ),
    "another that copies do without": (b"Cookie", _alike(b"Cookie: u%d", b"cookie: v"), _head(b"Cookie: w", b"cookie: v")),
    "another before it that copies do without": (
        b"Cookie",
        _alike(b"Cookie: u%d", host=HOST + b"\r\ncookie: v"),
        _head(b"cookie: v", b"Cookie: w"),
    ),
    "a length": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 77")),
    "no length": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 0")),
    "a length with a zero": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 07")),
    "a length with a sign": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: +7")),
    "a length with space": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 7 ")),
    "a length with a tab": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length:\t7")),
    "an empty length": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length:")),
    "a length over all": (b"Content-Length", _alike(b"Content-Length: %d"), _head(b"Content-Length: 9223372036854775808")),
    "no body, so that the upgrade counts": (
        b"Content-Length",
        _alike(b"Content-Length: %d", *WEBSOCKET),
        _head(b"Content-Length: 0", *WEBSOCKET),
    ),
    "a host": (b"Host", _alike(b"Host: %d.example", host=b""), _head(b"Host: b.example:80", host=b"")),
    "no host": (b"Host", _alike(b"Host: %d.example", host=b""), _head(b"Host:", host=b"")),
    "a host after none": (b"Host", [_head(b"Host:", host=b"")] * 3, _head(b"Host: a.example", host=b"")),
    "what is no host": (b"Host", _alike(b"Host: %d.example", host=b""), _head(b"Host: a/b", host=b"")),
    "an address": (b"X-Forwarded-For", _alike(b"X-Forwarded-For: 10.0.0.%d"), _head(b"X-Forwarded-For: 10.1.1.1")),
    "an address behind another": (
        b"X-Forwarded-For",
        _alike(b"X-Forwarded-For: 10.0.0.%d", host=HOST + b"\r\nForwarded: for=a"),
        _head(b"Forwarded: for=a", b"X-Forwarded-For: 10.1.1.1"),
    ),
    "a trace": (b"traceparent", [_head(TRACE)] * 3, _head(TRACE[:-1] + b"0")),
    "a trace that cannot be read": (
        b"traceparent",
        [_head(TRACE, b"tracestate: a=1")] * 3,
        _head(b"traceparent: 00-1", b"tracestate: a=1"),
    ),
    "a trace after one that could not be read": (b"traceparent", [_head(b"traceparent: 00-1")] * 3, _head(TRACE)),
    "a state of no trace": (b"tracestate", _alike(b"tracestate: a=%d"), _head(b"tracestate: a=b")),
    "a state of a trace": (b"tracestate", _alike(b"tracestate: a=%d", TRACE), _head(b"tracestate: a=b", TRACE)),
    "a value of a field that goes no further": (
        b"X-Hop",
        _alike(b"X-Hop: %d", b"Connection: X-Hop"),
        _head(b"X-Hop: a", b"Connection: X-Hop"),
    ),
    "a test": (b"X-Id", _alike(b"X-Id: %d", b"X-Test-Traffic: bot"), _head(b"X-Id: 9", b"X-Test-Traffic: bot")),
    "a test in our spelling": (b"X-Id", _alike(b"X-Id: %d", *OURS), _head(b"X-Id: 9", *OURS)),
    "another tenant": (b"X-Test-Traffic", _alike(b"X-Test-Traffic: bot%d"), _head(b"X-Test-Traffic: other")),
    "another tag among the baggage": (b"baggage", _alike(b"baggage: a=%d"), _head(b"baggage: synthetic_request=true")),
    "an upgrade": (b"X-Id", _alike(b"X-Id: %d", *WEBSOCKET), _head(b"X-Id: 9", *WEBSOCKET)),
    "another upgrade": (b"Upgrade", _alike(b"Upgrade: %d", b"Connection: upgrade"), _head(b"Upgrade: websocket", b"Connection: upgrade")),
    "hops that are counted": (b"X-Id", _alike(b"X-Id: %d", b"Max-Forwards: 3"), _head(b"X-Id: 9", b"Max-Forwards: 3", start=OPTIONS)),
    "hops that were counted": (b"X-Id", _alike(b"X-Id: %d", b"Max-Forwards: 3", start=OPTIONS), _head(b"X-Id: 9", b"Max-Forwards: 3")),
    "an older version": (b"X-Id", _alike(b"X-Id: %d"), _head(b"X-Id: 9", start=b"GET /x HTTP/1.0")),
    "other connection options": (b"Connection", _alike(b"Connection: %d"), _head(b"Connection: close")),
    "another of what may come once": (b"User-Agent", _alike(b"User-Agent: %d", host=HOST), _head(b"User-Agent: a", b"user-agent: b")),
}


@pytest.mark.parametrize("case", CASES)
def test_the_verdict_is_that_of_a_fresh_reader(case: str) -> None:
    """To the last attribute, and again when it is asked again."""
    name, alike, other = CASES[case]
    reader = show_requests(request_reader(), name)
    for head in [*alike, other, other, *alike]:
        assert request_verdict(reader, head) == request_verdict(request_reader(), head), head


FITTING = [
    "a value", "no value", "another that is looked at", "another before it that is looked at", "another that copies do without", "a length",
    "no length", "a host", "an address", "an address behind another", "a trace", "a state of no trace", "a state of a trace",
    "a value of a field that goes no further",
]  # fmt: skip


@pytest.mark.parametrize("case", FITTING)
def test_what_differs_in_a_value_alone_fits(case: str) -> None:
    """Otherwise the test above would show nothing: these are read from a template, and not line by line."""
    name, alike, other = CASES[case]
    reader = show_requests(request_reader(), name)
    for head in alike:
        request_verdict(reader, head)
    block = other.partition(b"\r\n")[2]
    template = reader._templates.find(block)
    assert template is not None
    assert name.decode().lower() in repr(template)
    filled = template.fill(reader._templates.values)
    assert filled is not None
    assert reader.read(other)[3].lines == filled.lines


def test_what_can_say_that_it_is_a_test_is_no_blank() -> None:
    """Nor in a dialect that the config has us read: a tag that was overlooked would be a write to live."""
    tags = Tags(DIALECTS)
    reader = RequestHeads(frozenset(), tags=tags, count_limit=12, line_limit=200)
    names = sorted(tags.names)
    assert b"user-agent" in names
    show_requests(reader, *names, *[name.title() for name in names], b"X-Id")
    assert reader._templates.varying == {b"X-Id"}


def test_a_body_is_no_part_of_a_head() -> None:
    """What ends as a head does, behind a head that fits, is not taken for it."""
    reader = show_requests(request_reader(), b"Content-Length")
    for head in (*_alike(b"Content-Length: %d"), _head(b"Content-Length: 5")):
        reader.read(head)
    assert reader.recall(_head(b"Content-Length: 5")) is not None
    for more in (b"a\r\n\r\n", b"\r\n\r\n", _head(b"Content-Length: 5")):
        assert reader.recall(_head(b"Content-Length: 5") + more) is None


def test_heads_that_come_again_are_known_by_heart() -> None:
    """A whole head is looked up faster than a template is filled in; one with a trace of its own never comes again."""
    reader = show_requests(request_reader(), b"Cookie", b"traceparent")
    heads = [_head(b"Cookie: %d" % number) for number in range(4)]
    traced = [_head(TRACE, b"Cookie: %d" % number) for number in range(4)]
    for head in [*heads, *traced] * 3:
        reader.read(head)
    assert reader.read(heads[3])[3] is reader.read(heads[3])[3]
    assert reader.read(traced[3])[3] is not reader.read(traced[3])[3]
