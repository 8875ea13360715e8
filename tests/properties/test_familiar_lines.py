"""Heads of lines that a reader knows, or that fit a template: llhttp is not asked again, and must not have been needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from hypothesis import given
from hypothesis import strategies as st

from tests.data.http1_cases import CASES
from tests.kit.heads import HOST, attentive, request_reader, request_verdict, response_reader, response_verdict, show_answers, show_requests

if TYPE_CHECKING:
    from shadowproxy.dataplane.request_head import RequestHeads
    from shadowproxy.dataplane.response_head import ResponseHeads

OWN: Final = sorted({line for _, _, raw in CASES for line in raw.partition(b"\r\n\r\n")[0].split(b"\r\n")[1:] if len(line) < 300})
"""Every field line of the own cases, lawful or not."""

PLAIN: Final = [
    HOST, b"host: other.example", b"Host:", b"Content-Length: 3", b"content-length: 03", b"Transfer-Encoding: chunked", b"Transfer-Encoding: gzip",
    b"Connection: close", b"Connection: keep-alive, X-Hop", b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c", b"X-Hop: 1", b"TE: trailers",
    b"Expect: 100-continue", b"Expect: more", b"Max-Forwards: 3", b"Content-Type: a/b", b"content-type: c/d", b"Cookie: a=b", b"X-User: u7", b"X-User:\tu8 ",
    b"X-Test-Traffic: bot", b"x_test_traffic: other", b"baggage: synthetic_request=true", b"traceparent: 00-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01",
    b"traceparent: ff-" + b"1" * 32 + b"-" + b"2" * 16 + b"-01", b"traceparent: 00-" + b"0" * 32 + b"-" + b"2" * 16 + b"-01", b"tracestate: a=1",
    b"X-Forwarded-For: 1.2.3.4", b"Via: 1.1 a", b"X-Shadow-Mirror: m", b"Sec-WebSocket-Key1: x", b"Date: now", b"X: \xe9\xff", b"X:", b"Keep-Alive: 5",
]  # fmt: skip

BYTES: Final = st.sampled_from(
    [*(bytes([value]) for value in range(33)), b":", b";", b",", b"\x7f", b"\x80", b"\xff", b"\r\n", b"\n\r", b"\r\n ", b"a"]
)


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    """A line that a reader may know, mostly as it is, sometimes with a byte too many, too few, or another."""
    line = draw(st.sampled_from(PLAIN) | st.sampled_from(OWN))
    if draw(st.integers(0, 3)):
        return line
    place = draw(st.integers(0, len(line)))
    return line[:place] + draw(st.just(b"") | BYTES) + line[place + draw(st.integers(0, 1)) :]


STARTS: Final = st.sampled_from(
    [b"GET /x?y HTTP/1.1"] * 4 + [b"POST /x HTTP/1.1", b"OPTIONS * HTTP/1.1", b"GET http://a/b HTTP/1.1", b"GET /x HTTP/1.0"]
)
STATUSES: Final = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 4 + [b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 X", b"HTTP/1.1 101 X", b"HTTP/1.1 103 X", b"HTTP/1.0 200 OK"]
)


def _warm_requests(times: int) -> RequestHeads:
    """A reader that has read each of the lines so many times."""
    reader = request_reader()
    for line in [*PLAIN, *OWN]:
        for _ in range(times):
            request_verdict(reader, b"\r\n".join([b"GET / HTTP/1.1", *([] if line[:5].lower() == b"host:" else [HOST]), line, b"", b""]))
    return reader


def _warm_responses(times: int) -> ResponseHeads:
    reader = response_reader()
    for start in (
        b"HTTP/1.1 200 OK",
        b"HTTP/1.1 204 No Content",
        b"HTTP/1.1 304 X",
        b"HTTP/1.1 101 X",
        b"HTTP/1.1 103 X",
        b"HTTP/1.0 200 OK",
    ):
        for line in [*PLAIN, *OWN]:
            for _ in range(times):
                response_verdict(reader, b"\r\n".join([start, line, b"", b""]), b"GET")
    return reader


VARYING: Final = sorted({line.partition(b":")[0] for line in PLAIN})
"""Names of which the readers with templates have seen many values."""


def _varied_requests() -> RequestHeads:
    return show_requests(_warm_requests(1), *VARYING)


def _varied_responses() -> ResponseHeads:
    return show_answers(_warm_responses(1), *VARYING)


REQUESTS: Final = [_warm_requests(1), _warm_requests(3), _varied_requests()]
"""Readers that know all names, all lines, and what varies: what they learn from example to example is part of the test."""
RESPONSES: Final = [_warm_responses(1), _warm_responses(3), _varied_responses()]


def test_the_readers_are_warm() -> None:
    """Otherwise the tests below would show nothing."""
    head = b"GET /x HTTP/1.1\r\nHost: shop.example\r\nCookie: not=seen\r\nX-User: nor-this\r\nVia: 1.1 a\r\n\r\n"
    assert [reader.recall(head) is not None for reader in REQUESTS] == [True, True, True]
    assert request_reader().recall(head) is None
    assert HOST not in REQUESTS[0]._meanings or b"Via: 1.1 a" not in REQUESTS[0]._meanings
    assert {HOST, b"Via: 1.1 a"} <= set(REQUESTS[1]._meanings)
    assert b"X-Hop: 1" in RESPONSES[1]._meanings


def test_the_readers_have_templates() -> None:
    """What varies is what concerns nothing else: of the rest, each value that differs would be another template."""
    reader, answers = _varied_requests(), _varied_responses()
    assert reader._templates.varying == {
        b"X-A", b"Host", b"host", b"Content-Length", b"content-length", b"Content-Type", b"content-type", b"X-Hop", b"Cookie", b"X-User", b"traceparent",
        b"tracestate", b"X-Forwarded-For", b"Date", b"X",
    }  # fmt: skip
    assert answers._templates.varying - {b"X-A"} == set(VARYING) - {b"Transfer-Encoding", b"Connection", b"Upgrade", b"Keep-Alive"}
    attentive(reader)
    attentive(answers)
    for user in range(3):
        head = b"GET /x HTTP/1.1\r\nHost: shop.example\r\nCookie: id=%d\r\nX-User: u%d\r\n\r\n" % (user, user)
        fitting = reader._templates.find(head.partition(b"\r\n")[2])
        assert (fitting is not None) == (user > 1)
        reader.read(head)
        answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\nDate: %d\r\n\r\n" % (user + 5, user)
        assert (answers._templates.find(answer) is not None) == (user > 1)
        answers.read(answer, b"GET")


VALUES_OF: Final = st.sampled_from([
    b"", b" ", b" 0", b" 3", b" 03", b"3", b"\t3", b" 3 ", b" +3", b" 3,3", b" 12345678901234567890", b" a", b" a.example:80", b" a b",
    b" \xe9\xff", b" a\x00b", b" a\rb", b" a\nb", b" a\r\n b", b" a\r\nX-User: b", b" a\r\n\r\nb", b" \x7f", b" keep-alive, X-User",
    b" 00-" + b"3" * 32 + b"-" + b"4" * 16 + b"-00", b" 00-0-0-00",
])  # fmt: skip
"""What follows a colon, lawful or not."""


def _values_of(name: bytes) -> list[bytes]:
    """What follows the colon in the lines of PLAIN with this name; of what varies, more of the kind."""
    found = [line[len(name) + 1 :] for line in PLAIN if line.startswith(name + b":")]
    more = {b"traceparent": [b" 00-%032x-%016x-01" % (number, number) for number in (5, 6)], b"content-length": [b" 5", b" 0", b" 17"]}
    return found + more.get(name.lower(), [b" 1.example", b" 2", b"\t3 "])


@st.composite
def alike(draw: st.DrawFn, first: bytes) -> list[bytes]:
    """Heads with the same names in the same order: at first with values that mostly are lawful, then with one that may be anything."""
    names = draw(st.lists(st.sampled_from([line.partition(b":")[0] for line in PLAIN]), min_size=1, max_size=4))
    if draw(st.integers(0, 3)):
        names = [b"Host", *names]
    heads = []
    for number in range(7):
        lines = [name + b":" + draw(st.sampled_from(_values_of(name))) for name in names]
        if number > 3:
            place = draw(st.integers(0, len(names) - 1))
            lines[place] = names[place] + b":" + draw(VALUES_OF)
        heads.append(b"\r\n".join([first, *lines, b"", b""]))
    return heads


@given(STARTS.flatmap(alike))
def test_requests_that_fit_a_template_are_read_as_if_there_was_none(heads: list[bytes]) -> None:
    """Whatever values differ, lawful or not: the verdict of a fresh reader, to the last attribute, in any order and again."""
    for reader in REQUESTS:
        attentive(reader)
    for head in [*heads, *reversed(heads)]:
        expected = request_verdict(request_reader(), head)
        for reader in REQUESTS:
            assert request_verdict(reader, head) == expected, head


@given(STATUSES.flatmap(alike), st.sampled_from([b"GET", b"GET", b"HEAD"]))
def test_answers_that_fit_a_template_are_read_as_if_there_was_none(heads: list[bytes], method: bytes) -> None:
    """The same of answers."""
    for reader in RESPONSES:
        attentive(reader)
    for head in [*heads, *reversed(heads)]:
        expected = response_verdict(response_reader(), head, method)
        for reader in RESPONSES:
            assert response_verdict(reader, head, method) == expected, head


@given(STARTS, st.lists(lines(), max_size=6), st.booleans())
def test_a_request_of_familiar_lines_is_read_as_if_nothing_was_familiar(start: bytes, some: list[bytes], has_host: bool) -> None:
    """Any lines, lawful or damaged, in any order: the verdict of a fresh reader, which asks llhttp, to the last attribute."""
    head = b"\r\n".join([start, *([HOST] if has_host else []), *some, b"", b""])
    expected = request_verdict(request_reader(), head)
    for reader in REQUESTS:
        for _ in range(4):
            assert request_verdict(reader, head) == expected


@given(STATUSES, st.lists(lines(), max_size=6), st.sampled_from([b"GET", b"HEAD"]))
def test_an_answer_of_familiar_lines_is_read_as_if_nothing_was_familiar(start: bytes, some: list[bytes], method: bytes) -> None:
    """The same of answers."""
    head = b"\r\n".join([start, *some, b"", b""])
    expected = response_verdict(response_reader(), head, method)
    for reader in RESPONSES:
        for _ in range(4):
            assert response_verdict(reader, head, method) == expected
