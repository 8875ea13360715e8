"""A head on its way in."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.declare import Size
from shadowproxy.config.model import Limits
from shadowproxy.dataplane.headbuffer import LEADING_LINES_LIMIT, HeadBuffer, vet
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.errors import BadRequest

HEAD = b"POST /a HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\n"
LIMITS = Limits(head=Size(1024), request_line=Size(1024))


@given(st.integers(0, LEADING_LINES_LIMIT), st.sampled_from([b"", b"abc", b"\r", HEAD]), st.data())
def test_a_head_comes_out_as_it_was_sent(empty: int, rest: bytes, data: st.DataObject) -> None:
    """However it is cut, and with empty lines before it; what came behind it in its last piece is handed back."""
    wire = b"\r\n" * empty + HEAD
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire) - 1), max_size=5)))
    buffer = HeadBuffer()
    for start, end in zip([0, *cuts], cuts, strict=False):
        assert buffer.take(wire[start:end], LIMITS) is None
    assert buffer.take(wire[cuts[-1] if cuts else 0 :] + rest, LIMITS) == (HEAD, rest)


@pytest.mark.parametrize(
    ("pieces", "status", "code"),
    [
        ([b"\0"], 400, "malformed_head"),
        ([b"GE", b"T /x HTTP/1.1\r\nHo st"], 400, "malformed_head"),
        ([b"\r", b"x"], 400, "malformed_head"),
        ([b"\r\n" * (LEADING_LINES_LIMIT + 1)], 400, "malformed_head"),
        ([b"\r\n"] * (LEADING_LINES_LIMIT + 1), 400, "malformed_head"),
        ([b"GET /" + b"x" * 1020], 414, "request_line_too_long"),
        ([b"GET / HTTP/1.1\r\nX: ", b"y" * 1024], 431, "head_too_long"),
        ([b"GET / HTTP/1.1\r\nX: " + b"y" * 1024 + b"\r\n\r\n"], 431, "head_too_long"),
    ],
)
def test_what_can_become_no_head_is_refused_at_once(pieces: list[bytes], status: int, code: str) -> None:
    """At its first wrong byte, or where it is over its limit."""
    buffer = HeadBuffer()
    for piece in pieces[:-1]:
        assert buffer.take(piece, LIMITS) is None
    with pytest.raises(BadRequest) as refusal:
        buffer.take(pieces[-1], LIMITS)
    assert (refusal.value.status, refusal.value.code) == (status, code)


def test_a_buffer_shows_how_far_it_is() -> None:
    """In bytes; empty lines are no beginning."""
    buffer = HeadBuffer()
    buffer.take(b"\r\n", LIMITS)
    assert not buffer.has_begun
    buffer.take(b"GET", LIMITS)
    assert buffer.has_begun
    assert repr(buffer) == "HeadBuffer(3 bytes)"


@pytest.mark.parametrize(
    ("lines", "rest", "is_refused"),
    [
        (b"", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", False),
        (b"", b"GET / HT", False),
        (b"", b"\r\n\r", False),
        (b"", b"hello", True),
        (b"", b"\0", True),
        (b"", b"GET / HTTP/1.1\r\n\r\n", False),
        (b"Content-Length: 1\r\nConnection: close\r\n", b"\0", False),
        (b"Connection: close\r\n", b"hello", True),
        (b"Connection: close\r\n", b"GET / HTTP/1.1\r\n\r\n", True),
        (b"Connection: upgrade\r\nUpgrade: websocket\r\n", b"\0", False),
    ],
)
def test_what_follows_a_request_is_judged_before_it_is_forwarded(lines: bytes, rest: bytes, is_refused: bool) -> None:
    """What can be no next request means that the framing is in doubt."""
    heads = RequestHeads(frozenset(), count_limit=20, line_limit=200)
    head = heads.read(b"GET / HTTP/1.1\r\nHost: a\r\n" + lines + b"\r\n")[3]
    if is_refused:
        with pytest.raises(BadRequest):
            vet(heads, head, rest)
    else:
        vet(heads, head, rest)
