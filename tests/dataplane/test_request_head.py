"""Request heads: what is read, what is refused, and that remembering changes nothing."""

from __future__ import annotations

from typing import Any

import pytest
from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane import request_head
from shadowproxy.dataplane.head import BLOCK_BYTES_LIMIT, BLOCKS_LIMIT, CHUNKED, LINE_BYTES_LIMIT
from shadowproxy.dataplane.request_head import METHODS, HeadProbe, RequestHeads
from shadowproxy.dataplane.request_lines import RequestHead
from shadowproxy.errors import BadRequest
from shadowproxy.policy.tenancy import READ_METHODS

WANTED = frozenset({b"x-user", b"cookie"})
TOUCHED = frozenset({b"cookie"})


def _reader() -> RequestHeads:
    return RequestHeads(WANTED, TOUCHED, count_limit=20, line_limit=200)


def _head(start: str, *lines: str, host: str = "Host: shop.example") -> bytes:
    return "\r\n".join([start, *([host] if host else []), *lines, "", ""]).encode("latin-1")


def _verdict(reader: RequestHeads, head: bytes) -> Any:
    """Everything that a reader says about a head."""
    try:
        method, target, path, fields = reader.read(head)
    except BadRequest as error:
        return error.status, error.code
    return method, target, path, _slots(fields)


def _slots(fields: RequestHead) -> dict[str, Any]:
    return {name: getattr(fields, name) for name in {*RequestHead.__slots__, "lines"} - {"copies", "_lines"}}


def _read(*lines: str, start: str = "GET /x HTTP/1.1", host: str = "Host: shop.example") -> RequestHead:
    return _reader().read(_head(start, *lines, host=host))[3]


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize("separator", [b"\r\n", b""])
def test_remembering_changes_no_verdict(separator: bytes, times: int) -> None:
    """For every byte value in every place of a head: a reader that has seen the fields says what a fresh one says."""
    base = _head("GET /a?b HTTP/1.1", "X-User: u7", "Cookie: a=b")
    warm = _reader()
    for _ in range(times):
        warm.read(base)
    for place in range(len(base)):
        for value in range(256):
            byte = bytes([value])
            changed = base[:place] + byte + base[place + 1 :] if separator else base[:place] + byte + base[place:]
            expected = _verdict(_reader(), changed)
            assert _verdict(warm, changed) == expected, changed
            assert _verdict(warm, changed) == expected, changed


@given(
    st.lists(st.tuples(st.integers(0, 3), st.sampled_from(sorted(METHODS)), st.from_regex(rb"/[ -~]{0,6}", fullmatch=True)), max_size=12)
)
def test_what_was_read_before_does_not_matter(requests: list[tuple[int, bytes, bytes]]) -> None:
    """Any order of methods, targets and fields: each head is judged by itself."""
    blocks = [
        ("X-User: u7",),
        ("Content-Length: 3",),
        ("Connection: close", "Max-Forwards: 1"),
        ("Upgrade: websocket", "Connection: upgrade"),
    ]
    reader = _reader()
    for block, method, target in requests:
        head = _head(f"{method.decode()} {target.decode()} HTTP/1.1", *blocks[block])
        assert _verdict(reader, head) == _verdict(_reader(), head)


@pytest.mark.parametrize("method", sorted(METHODS))
def test_remembered_heads_come_with_methods_that_llhttp_takes(method: bytes) -> None:
    """The short way must not let in a method that the long one refuses."""
    try:
        HttpRequestParser(object()).feed_data(method + b" /x HTTP/1.1\r\nHost: a\r\n\r\n")
    except HttpParserUpgrade:
        pytest.fail("a method that opens a tunnel")
    except HttpParserError as error:
        pytest.fail(str(error))


@pytest.mark.parametrize("method", [b"BREW", b"PRI", b"SOURCE", b"DESCRIBE", b"CONNECT", b"get", b"GETS", b"-"])
def test_methods_of_other_protocols_are_not_remembered(method: bytes) -> None:
    """They take the long way, and its verdict, also when the fields are known."""
    assert method not in METHODS
    head = _head(f"{method.decode()} /x HTTP/1.1", "A: 1")
    warm = _reader()
    for _ in range(4):
        warm.read(_head("GET /x HTTP/1.1", "A: 1"))
    assert _verdict(warm, head) == _verdict(_reader(), head)
    assert _verdict(warm, head)[0] in (400, 501, b"SOURCE")


def test_safe_methods_are_methods() -> None:
    """None of them writes."""
    assert READ_METHODS <= METHODS
    assert not READ_METHODS & {b"POST", b"PUT", b"PATCH", b"DELETE"}


def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what comes again and again is kept, a long head or line never, and a reader that is full starts anew."""
    reader = _reader()
    for number in range(BLOCKS_LIMIT + 5):
        for _ in range(4):
            reader.read(_head("GET / HTTP/1.1", f"X: {number}"))
        assert len(reader._blocks) <= BLOCKS_LIMIT
    assert len(reader._blocks) == 5
    for _ in range(5):
        reader.read(_head("GET / HTTP/1.1", "X: " + "y" * BLOCK_BYTES_LIMIT))
    assert len(reader._blocks) == 5
    assert all(len(line) <= LINE_BYTES_LIMIT for line in reader._meanings)
    monkeypatch.setattr(request_head, "LINES_LIMIT", 4)
    monkeypatch.setattr(request_head, "SPELLINGS_LIMIT", 4)
    for number in range(30):
        for _ in range(4):
            reader.read(_head("GET / HTTP/1.1", f"X-{number}: 1"))
    assert len(reader._meanings) <= 4
    assert len(reader._spellings) <= 4


def test_heads_that_come_once_push_nothing_out() -> None:
    """A client that never repeats itself costs those that do nothing."""
    reader = _reader()
    for _ in range(4):
        reader.read(_head("GET / HTTP/1.1", "A: 1"))
    for number in range(3 * BLOCKS_LIMIT):
        reader.read(_head("GET / HTTP/1.1", f"X: {number}"))
    assert len(reader._blocks) == 1


def test_traces_are_not_kept() -> None:
    """Every request has another: they would only push out what repeats."""
    reader = _reader()
    for number in range(1, 20):
        parts = reader.read(_head("GET / HTTP/1.1", f"Traceparent: 00-{number:032x}-{number:016x}-01"))
        assert parts[3].traceparent == b"00-%032x-%016x-01" % (number, number)
    assert not [line for line in reader._meanings if line.lower().startswith(b"traceparent")]


@pytest.mark.parametrize(
    ("head", "status", "code"),
    [
        (_head("GET /x HTTP/1.1", host=""), 400, "missing_host"),
        (_head("GET /x HTTP/1.1", "host: other"), 400, "duplicate_host"),
        (_head("GET /x HTTP/1.1", host="Host: a b"), 400, "malformed_host"),
        (_head("GET /x HTTP/1.1", host="Host: a/b"), 400, "malformed_host"),
        (_head("GET /x HTTP/1.1", "Content-Length: 1", "Content-Length: 1"), 400, "malformed_head"),
        (_head("GET /x HTTP/1.1", "Content-Length: +1"), 400, "malformed_head"),
        (_head("GET /x HTTP/1.1", "Content-Length: 9223372036854775808"), 400, "malformed_content_length"),
        (_head("POST /x HTTP/1.1", "Transfer-Encoding: gzip, chunked"), 501, "unsupported_coding"),
        (_head("POST /x HTTP/1.0", "Transfer-Encoding: chunked"), 400, "coding_in_http10"),
        (_head("GET /x HTTP/1.1", "Expect: 200-ok"), 417, "unknown_expectation"),
        (_head("GET /x HTTP/1.1", "Content-Type: a/b", "content-type: c/d"), 400, "duplicate_field"),
        (_head("GET /x HTTP/1.1", "Max-Forwards: 1", "Max-Forwards: 1"), 400, "duplicate_field"),
        (_head("GET /x HTTP/1.1", "Max-Forwards: x"), 400, "malformed_max_forwards"),
        (_head("GET /x HTTP/1.1", "Sec-WebSocket-Key1: x"), 400, "obsolete_websocket"),
        (_head("GET /x HTTP/1.1", *(f"X-{n}: 1" for n in range(20))), 431, "too_many_fields"),
        (_head("GET /" + "x" * 200 + " HTTP/1.1"), 414, "request_line_too_long"),
        (_head("GET /x HTTP/3.0"), 400, "malformed_head"),
        (_head("GET * HTTP/1.1"), 400, "malformed_target"),
        (_head("CONNECT a:80 HTTP/1.1"), 501, "connect"),
        (_head("CONNECT /x HTTP/1.1"), 501, "connect"),
        (_head("GET /x#y HTTP/1.1"), 400, "malformed_target"),
        (_head("GET http:///x HTTP/1.1"), 400, "malformed_host"),
        (_head("GET ftp://a/x HTTP/1.1"), 400, "malformed_target"),
        (b"GET /x HTTP/1.1\r\nHost: a\r\nX: 1\n\r\n", 400, "malformed_head"),
    ],
)  # fmt: skip
def test_ambiguous_heads_are_refused(head: bytes, status: int, code: str) -> None:
    """Each with a status and a code of its own; and the reader goes on as if it had not read them."""
    reader = _reader()
    assert _verdict(reader, head) == (status, code)
    assert _verdict(reader, _head("GET /x HTTP/1.1")) == _verdict(_reader(), _head("GET /x HTTP/1.1"))


@pytest.mark.parametrize(
    ("start", "method", "target", "path", "authority"),
    [
        ("GET /a/b?c=/d HTTP/1.1", b"GET", b"/a/b?c=/d", b"/a/b", b"shop.example"),
        ("OPTIONS * HTTP/1.1", b"OPTIONS", b"*", b"*", b"shop.example"),
        ("GET http://u@other.example:81/p?q HTTP/1.1", b"GET", b"/p?q", b"/p", b"other.example:81"),
        ("GET HTTPS://other.example?q HTTP/1.1", b"GET", b"/?q", b"/", b"other.example"),
        ("GET //x HTTP/1.1", b"GET", b"//x", b"//x", b"shop.example"),
        ("GET /%2e%2E/%00 HTTP/1.1", b"GET", b"/%2e%2E/%00", b"/%2e%2E/%00", b"shop.example"),
    ],
)
def test_targets_are_taken_as_sent(start: str, method: bytes, target: bytes, path: bytes, authority: bytes) -> None:
    """In origin form, never decoded; an absolute target's authority counts, whatever Host says."""
    found = _reader().read(_head(start))
    assert found[:3] == (method, target, path)
    assert found[3].authority == authority
    assert b"Host: " + authority in found[3].lines


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        ([], {"length": 0, "is_keep_alive": True, "tenant": b"", "mark": b"", "upgrade": b"", "max_forwards": -1}),
        (["Content-Length: 007"], {"length": 7, "lines": [b"Host: shop.example", b"Content-Length: 7"]}),
        (["Transfer-Encoding: Chunked"], {"length": CHUNKED, "lines": [b"Host: shop.example"]}),
        (["Connection: close, X-Hop", "X-Hop: 1"], {"is_keep_alive": False, "lines": [b"Host: shop.example"]}),
        (["Connection: Host, Cookie, X-Forwarded-For, X-Shadow-Mirror", "Cookie: a=b"], {"lines": [b"Host: shop.example", b"Cookie: a=b"]}),
        (["Keep-Alive: 5", "Proxy-Authorization: x", "TE: gzip, trailers"], {"te_trailers": True, "lines": [b"Host: shop.example"]}),
        (["Expect: 100-Continue"], {"expects_continue": True, "lines": [b"Host: shop.example"]}),
        (["Upgrade: websocket", "Connection: Upgrade"], {"upgrade": b"websocket"}),
        (["Upgrade: websocket"], {"upgrade": b""}),
        (["Upgrade: h2c, TLS/1.2", "Connection: upgrade"], {"upgrade": b""}),
        (["X_Test.Traffic: 1"], {"tenant": b"default", "lines": [b"Host: shop.example", b"X-Test-Traffic: true", b"baggage: synthetic_request=true"], "tagged_by": [b"x_test.traffic"]}),
        (["X-Test-Traffic: FALSE"], {"tenant": b"", "lines": [b"Host: shop.example", b"X-Test-Traffic: FALSE"]}),
        (["X-Test-Traffic: 0", "x-test-traffic: bot-7"], {"tenant": b"bot-7"}),
        (["baggage: a=1, synthetic_request=true;p"], {"tenant": b"default", "lines": [b"Host: shop.example", b"X-Test-Traffic: true", b"baggage: synthetic_request=true,a=1"]}),
        (["baggage: synthetic_request=false"], {"tenant": b""}),
        (["X-Shadow-Mirror: m;by=1", "x_shadow_mirror: n"], {"mark": b"m;by=1, n", "lines": [b"Host: shop.example"]}),
        (["X-Shadow-Other: 1", "X_Fault_Delay: 1"], {"lines": [b"Host: shop.example"]}),
        (["X-Forwarded-For: 1", "Forwarded: for=2"], {"forwarded": [(b"x-forwarded-for", b"1"), (b"forwarded", b"for=2")]}),
        (["Via: 1.1 a", "via: 1.0 b"], {"via": [b"1.1 a", b"1.0 b"]}),
        (["X-User: u7", "x-user:  u8 ", "Cookie: c"], {"fields": {b"x-user": [b"u7", b"u8"], b"cookie": [b"c"]}, "touched": [(b"cookie", b"Cookie: c")]}),
        (["traceparent: nonsense"], {"traceparent": b"-"}),
        (["traceparent: 00-" + "0" * 32 + "-" + "1" * 16 + "-01", "tracestate: a=1"], {"traceparent": b"-", "lines": [b"Host: shop.example"]}),
        (["Max-Forwards: 3"], {"max_forwards": 3, "lines": [b"Host: shop.example", b"Max-Forwards: 3"]}),
    ],
)  # fmt: skip
def test_fields_say_what_they_say(lines: list[str], expected: dict[str, Any]) -> None:
    """What the proxy takes from each, and which lines go on."""
    head = _read(*lines)
    assert {name: getattr(head, name) for name in expected} == expected
    assert head.common == b"".join(line + b"\r\n" for line in head.lines)


def test_max_forwards_counts_down_where_it_counts() -> None:
    """RFC 9110 section 7.6.2: in OPTIONS and TRACE."""
    assert b"Max-Forwards: 2" in _read("Max-Forwards: 3", start="OPTIONS /x HTTP/1.1").lines


def test_http_10_closes_unless_asked() -> None:
    """And needs no Host."""
    assert not _read(start="GET / HTTP/1.0", host="").is_keep_alive
    assert _read("Connection: keep-alive", start="GET / HTTP/1.0", host="").is_keep_alive


def test_a_head_shows_itself() -> None:
    """Where to, how long, how many fields."""
    assert repr(_read("Content-Length: 3")) == "RequestHead(shop.example, length=3, fields=2)"


def test_recall_says_only_what_it_knows() -> None:
    """A head of names that were read; not one with bytes behind it, nor one that is not whole."""
    reader = _reader()
    head = _head("GET /x HTTP/1.1")
    assert reader.recall(head) is None
    read = _verdict(reader, head)
    for _ in range(5):
        again = reader.recall(head)
        assert again is not None
        assert (*again[:3], _slots(again[3])) == read
    assert reader._blocks
    assert reader.recall(_head("GET /x HTTP/1.1", "X-Unheard: 1")) is None
    assert reader.recall(head[:-1]) is None
    assert reader.recall(head + head) is None
    assert reader.recall(b"") is None
    assert reader.recall(_head("GET /" + "x" * 200 + " HTTP/1.1")) is None


def test_recall_measures_what_nobody_has() -> None:
    """A head that is longer than the config lets it be is left to who says so; a body that ends like a head is none."""
    reader = RequestHeads(WANTED, count_limit=20, line_limit=200, bytes_limit=100)
    for _ in range(5):
        reader.read(_head("GET /x HTTP/1.1", "A: 1"))
    assert reader.recall(_head("GET /y HTTP/1.1", "A: 2")) is not None
    assert reader.recall(_head("GET /y HTTP/1.1", "A: " + "2" * 100)) is None
    assert reader.recall(_head("GET /y HTTP/1.1", *(["A: 2"] * 20))) is None
    assert reader.recall(_head("POST /y HTTP/1.1", "A: 2") + b"body\r\n\r\n") is None


@given(st.data())
def test_a_probe_accepts_every_beginning_of_a_head(data: st.DataObject) -> None:
    """However it is cut; and refuses what no continuation can mend, in its own words."""
    head = _head("POST /a?b HTTP/1.1", "X-User: u7", "Content-Length: 3")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(head)), max_size=5)))
    probe = HeadProbe()
    for start, end in zip([0, *cuts], [*cuts, len(head)], strict=True):
        probe.feed(head[start:end])
    place = data.draw(st.integers(0, len(head) - 1))
    with pytest.raises(BadRequest) as refusal:
        HeadProbe().feed(head[:place] + b"\0" + head[place:])
    assert refusal.value.status in (400, 501)
    assert "\0" not in str(refusal.value)
