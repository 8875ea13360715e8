"""One request and its answer."""

from __future__ import annotations

import json
import time

import pytest

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.tee import ANSWER_FREE, ANSWER_LIMIT
from tests.dataplane.room import ANSWER, INSTANCE, MIRRORED, REQUEST, Room, Side

CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def _code(client: Side) -> tuple[int, str]:
    """Status and code of the problem that the client was told."""
    head, _, body = client.heard.partition(b"\r\n\r\n")
    return int(head[9:12]), json.loads(body)["code"]


@pytest.mark.parametrize(
    ("request_", "status", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\nX-Shadow-Mirror: m;by=" + INSTANCE.encode() + b"\r\n\r\n", 508, "mirror_loop"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nVia: " + b"1.1 shadowproxy," * 8 + b"\r\n\r\n", 508, "mirror_loop"),
        (b"DELETE / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\n\r\n", 409, "tagged_write_without_rule"),
        (b"GET /none HTTP/1.1\r\nHost: a\r\n\r\n", 404, "no_route"),
    ],
)
def test_what_cannot_be_forwarded_is_refused(request_: bytes, status: int, code: str) -> None:
    """Without a byte upstream; a whole request that is refused costs the connection nothing."""
    room = Room(MIRRORED | {"match": {"exact": "/"}})
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(request_)
    assert _code(client) == (status, code)
    assert live.heard == shadow.heard == b""
    client.says(REQUEST)
    live.says(ANSWER)
    assert client.heard == ANSWER


def test_live_is_written_to_before_the_shadow(room: Room) -> None:
    """In one callback, live first."""
    order: list[str] = []
    client = room.client()
    for name in ("live", "shadow"):
        side = room.upstream(name)
        side.transport.write = lambda wire, name=name: order.append(name)  # type: ignore[method-assign,misc]
    client.says(REQUEST)
    assert order == ["live", "shadow"]


@pytest.mark.parametrize(
    ("error", "wire", "status", "code", "ended"),
    [
        (ConnectionResetError(), b"", 502, "upstream_reset", "reset"),
        (None, b"HTTP/1.1 2", 502, "upstream_reset", "reset"),
        (None, b"nonsense", 502, "upstream_malformed", "malformed"),
    ],
)
def test_a_live_that_fails_before_it_answers_is_a_502(  # one row a way of failing
    room: Room, *, error: Exception | None, wire: bytes, status: int, code: str, ended: str
) -> None:
    """The client is told; the pair is counted, for a failing live is evidence too."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(CHUNKED + b"0\r\n\r\n")
    if wire:
        live.says(wire)
    live.is_lost(error)
    assert _code(client) == (status, code)
    shadow.says(ANSWER)
    report = room.worker.tees["all/shadow"].tally.report()
    assert report["matrix"] == {f"{ended},200": 1}
    assert room.responses() == {ended: 1}


def test_a_kept_connection_that_died_is_replaced_once(room: Room) -> None:
    """ERR-03: safe method, reused connection, nothing received; a new connection is opened, and a second failure shows."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    client.says(REQUEST)
    live.is_lost(ConnectionResetError())
    assert client.heard == ANSWER
    fresh = room.upstream("live")
    assert fresh.heard.startswith(b"GET / ")
    fresh.is_lost(ConnectionResetError())
    assert _code(client) == (502, "upstream_reset")
    assert room.responses() == {"200": 1, "reset": 1}


@pytest.mark.parametrize("request_", [b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", CHUNKED + b"0\r\n\r\n"])
def test_a_write_is_not_repeated(room: Room, request_: bytes) -> None:
    """It may have happened."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    client.says(request_)
    live.is_lost(ConnectionResetError())
    assert client.heard.startswith(ANSWER + b"HTTP/1.1 502")


@pytest.mark.parametrize(
    ("head", "is_reset"),
    [(b"Content-Length: 9\r\n", False), (b"Transfer-Encoding: chunked\r\n", False)],
)
def test_an_answer_that_breaks_off_is_broken_off(room: Room, head: bytes, is_reset: bool) -> None:
    """FRM-10: the client must not take it for whole."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n3\r\nabc")
    live.is_lost(ConnectionResetError())
    assert client.is_over
    assert client.transport.is_aborted is is_reset
    assert not client.heard.endswith(b"0\r\n\r\n")
    assert room.responses() == {"truncated": 1}


def test_http_10_gets_what_it_can_read(room: Room) -> None:
    """A chunked answer ends with the connection, and one that breaks off is reset."""
    for is_whole in (True, False):
        client, live = room.client(), room.upstream("live")
        room.upstream("shadow")
        client.says(b"GET / HTTP/1.0\r\n\r\n")
        live.says(b"HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        if is_whole:
            live.says(b"0\r\n\r\n")
        else:
            live.is_lost(ConnectionResetError())
        assert client.heard == b"HTTP/1.1 200 OK\r\nDate: now\r\nConnection: close\r\n\r\nabc"
        assert client.transport.is_aborted is not is_whole


def test_a_body_is_forwarded_as_it_comes_with_its_trailers(room: Room) -> None:
    """Chunks to both legs; a payload before the client's next piece is there."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(CHUNKED)
    live.heard, shadow.heard  # noqa: B018  the heads
    client.says(b"3;x\r\nabc\r\n")
    assert live.heard == shadow.heard == b"3\r\nabc\r\n"
    client.says(b"0\r\nX-Sum: 1\r\n\r\n")
    assert live.heard == shadow.heard == b"0\r\nX-Sum: 1\r\n\r\n"


def test_what_comes_before_a_connection_is_open_is_held_in_bounds(room: Room) -> None:
    """Then the client is not read; when live opens everything is sent, in order."""
    room.upstream("shadow")
    client = room.client()
    client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 70000\r\n\r\n", b"x" * 60000, b"y" * 9999)
    assert not client.transport.is_reading
    live = room.upstream("live")
    assert client.transport.is_reading
    assert live.heard.endswith(b"x" * 60000 + b"y" * 9999)


def test_a_client_that_leaves_ends_everything(room: Room) -> None:
    """Upstream is told by a reset, the copy is given up, the pair excluded."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    client.is_lost()
    assert live.transport.is_aborted
    assert shadow.transport.is_aborted
    assert room.fates() == {"client_gone": 1}
    assert room.responses() == {"client_gone": 1}


def test_interim_answers_reach_those_who_may_see_them(room: Room) -> None:
    """103 goes on; 100 only to who expects it; HTTP/1.0 sees neither."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\n")
    assert client.heard == b"HTTP/1.1 103 Hints\r\nLink: x\r\n\r\n"
    live.says(ANSWER)
    client.heard  # noqa: B018  the answer
    client.says(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n")
    assert b"Expect: 100-continue\r\n" in live.heard
    live.says(b"HTTP/1.1 100 Continue\r\n\r\n")
    assert client.heard == b"HTTP/1.1 100 Continue\r\n\r\n"


def test_an_exchange_shows_itself(room: Room) -> None:
    """Method, target, route, status, copies."""
    client = room.client()
    room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    assert repr(client.connection.exchange) == "Exchange(GET /, route=all, status=-, copies=1)"  # type: ignore[union-attr]
    assert outcome.name_of(outcome.OVERFLOW) == "overflow"


def _mirrored(**mirror: object) -> Room:
    return Room(MIRRORED | {"mirror": [MIRRORED["mirror"][0] | mirror]})


def _pair(room: Room) -> dict[str, object]:
    report = room.worker.tees["all/shadow"].tally.report()
    return {"matrix": report["matrix"], "timed": report["ratio"]["n"]}


def test_live_that_takes_longer_than_a_copy_may_is_a_timeout_to_its_pair() -> None:
    """An equal shadow would have been given up: what is one thing on the one side cannot be another on the other."""
    room = _mirrored(timeout=0.01)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    room.pass_time(1.0)
    time.sleep(0.02)
    live.says(ANSWER)
    assert client.heard == ANSWER
    assert shadow.is_over
    assert _pair(room) == {"matrix": {"timeout,timeout": 1}, "timed": 0}


def test_a_request_that_was_tried_twice_counts_by_its_first_attempt() -> None:
    """A copy has only one: kept connections that an endpoint closes are no fault of the shadow's alone."""
    room = _mirrored()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    for side in (live, shadow):
        client.says(REQUEST) if side is live else None
        side.says(ANSWER)
    assert client.heard == ANSWER
    _pair(room)
    client.says(REQUEST)
    live.is_lost(ConnectionResetError())
    shadow.is_lost(ConnectionResetError())
    room.upstream("live").says(ANSWER)
    assert client.heard == ANSWER
    assert _pair(room)["matrix"] == {"reset,reset": 1}


@pytest.mark.parametrize("size", [ANSWER_FREE, ANSWER_FREE + 1])
def test_a_long_answer_is_compared_and_not_timed(size: int) -> None:
    """The client paces live, and our budget paces the shadow: neither says anything of the versions."""
    room = _mirrored()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    for side in (live, shadow):
        side.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size, bytes(size))
    assert len(client.heard) > size
    assert _pair(room) == {"matrix": {"200,200": 1}, "timed": int(size <= ANSWER_FREE)}


def test_an_answer_longer_than_a_copy_s_may_be_is_a_timeout_on_both_sides() -> None:
    """A download that no copy is read to the end of is no regression."""
    room = _mirrored()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    piece = bytes(2**20)
    for side in (live, shadow):
        side.says(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (ANSWER_LIMIT + 2**20))
        for _ in range(ANSWER_LIMIT // len(piece) + 1):
            if not side.is_over:
                side.says(piece)
    assert len(client.heard) > ANSWER_LIMIT
    assert _pair(room)["matrix"] == {"timeout,timeout": 1}
