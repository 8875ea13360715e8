"""The client's side of a connection."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.accept import LINGER_LIMIT, PIPELINE_LIMIT
from shadowproxy.dataplane.framing import ChunkedReader
from tests.dataplane.room import ANSWER, REQUEST, Room

POST = b"POST / HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 3\r\n\r\nabc"
CHUNKED = b"POST / HTTP/1.1\r\nHost: shop.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"


def _payload(request: bytes) -> bytes:
    """A request's body; chunks are where the client's reads ended."""
    head, _, body = request.partition(b"\r\n\r\n")
    return ChunkedReader(is_request=True).feed(body) if b"Transfer-Encoding: chunked" in head else body


@given(st.lists(st.sampled_from([REQUEST, POST, CHUNKED]), min_size=1, max_size=4), st.lists(st.integers(0, 400), max_size=8))
def test_requests_are_answered_one_after_the_other_however_they_come(requests: list[bytes], places: list[int]) -> None:
    """Pipelined, in pieces: live sees each whole and alone, and the client gets the answers in order."""
    room = Room({"name": "all", "live": "live"})
    client, live = room.client(), room.upstream("live")
    wire = b"".join(requests)
    edges = [0, *sorted(place % len(wire) for place in places), len(wire)]
    for start, end in pairwise(edges):
        if end > start:
            client.says(wire[start:end])
    for number, request in enumerate(requests):
        sent = live.heard
        assert sent.count(b" / HTTP/1.1") == 1
        assert _payload(sent) == _payload(request)
        live.says(ANSWER.replace(b"ok", b"%02d" % number))
        assert client.heard == ANSWER.replace(b"ok", b"%02d" % number)
    assert repr(client.connection) == "ClientConnection(192.0.2.1, idle, None)"


@pytest.mark.parametrize(
    ("wire", "status", "code"),
    [
        (b"\x16\x03\x01\x02\x00", 400, "malformed_head"),
        (b"BREW / HTTP/1.1\r\n\r\n", 501, "unknown_method"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, "missing_host"),
        (REQUEST + b"garbage that is no request\r\n\r\n", 400, "malformed_head"),
        (CHUNKED[:-5] + b"zz\r\n", 400, "malformed_chunk"),
        (b"GET /" + b"x" * 20000, 414, "request_line_too_long"),
        (b"GET / HTTP/1.1\r\nX: " + b"y" * 70000, 431, "head_too_long"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n", 413, "body_too_large"),
    ],
)
def test_a_refusal_is_said_counted_and_the_end(wire: bytes, status: int, code: str) -> None:
    """Nothing goes upstream; the answer is a problem, the connection lingers and is cut in bounds."""
    room = Room(limits={"body": 1000})
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(wire)
    head, _, body = client.heard.partition(b"\r\n\r\n")
    assert int(head[9:12]) == status
    assert json.loads(body)["code"] == code
    assert b"Connection: close" in head
    assert room.worker.refusals == {code: 1}
    assert live.heard == shadow.heard == b""
    assert client.transport.has_eof
    client.says(REQUEST)
    assert live.heard == b""
    client.says(b"x" * (LINGER_LIMIT + 1))
    assert client.transport.is_aborted


def test_further_requests_are_kept_in_bounds(room: Room) -> None:
    """Then the client is not read until its turn has come."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    client.says(POST * (PIPELINE_LIMIT // len(POST) + 1))
    assert not client.transport.is_reading
    live.says(ANSWER)
    assert live.heard.count(b"HTTP/1.1") == 2


@pytest.mark.parametrize(
    ("request_", "is_last"),
    [(REQUEST, False), (REQUEST.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"), True), (b"GET / HTTP/1.0\r\n\r\n", True)],
)
def test_a_connection_ends_with_its_last_request(room: Room, request_: bytes, is_last: bool) -> None:
    """And says so."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(request_)
    live.says(ANSWER)
    assert client.transport.has_eof is is_last
    assert (b"Connection: close\r\n" in client.heard) is is_last


def test_a_slow_client_is_told_and_an_idle_one_closed(room: Room) -> None:
    """408 inside a head; nothing to say to who has said nothing since."""
    slow = room.client()
    slow.says(b"GET / HT")
    room.pass_time(room.worker.limits.header_timeout + 1)
    assert slow.heard.startswith(b"HTTP/1.1 408")
    idle, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    idle.says(REQUEST)
    live.says(ANSWER)
    assert idle.heard == ANSWER
    room.pass_time(room.worker.limits.idle_timeout + 1)
    assert idle.is_over
    assert idle.heard == b""


def test_a_client_that_does_not_read_stops_live(room: Room) -> None:
    """And is cut when it has read nothing for write_timeout."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    client.transport.unsent = 100
    client.connection.pause_writing()
    assert not live.transport.is_reading
    client.transport.unsent = 0
    client.connection.resume_writing()
    assert live.transport.is_reading
    client.transport.unsent = 100
    client.connection.pause_writing()
    room.pass_time(room.worker.limits.write_timeout + 1)
    assert client.transport.is_aborted


def test_a_half_closed_client_is_asked_and_answered(room: Room) -> None:
    """An interim 100 is harmless to who waits for an answer; then the connection ends."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    client.ends()
    assert client.heard == b"HTTP/1.1 100 Continue\r\n\r\n"
    live.says(ANSWER)
    assert client.heard.endswith(b"ok")
    assert client.is_over


def test_too_many_clients_are_turned_away() -> None:
    """At once, and counted."""
    room = Room(limits={"connections": 1})
    first, second = room.client(), room.client()
    assert second.transport.is_aborted
    assert room.worker.turned_away == 1
    first.is_lost()
    assert not room.client().is_over


def test_a_drain_lets_the_request_under_way_finish(room: Room) -> None:
    """And takes no other."""
    busy, idle, live = room.client(), room.client(), room.upstream("live")
    room.upstream("shadow")
    busy.says(REQUEST)
    busy.connection.drain()  # type: ignore[union-attr]
    idle.connection.drain()  # type: ignore[union-attr]
    live.says(ANSWER)
    assert busy.heard.endswith(b"Connection: close\r\n\r\nok")
    assert busy.transport.has_eof
