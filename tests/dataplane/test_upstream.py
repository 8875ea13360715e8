"""The endpoint's side of a connection: what a byte means in each state."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.upstream import HEAD_LIMIT, INTERIM_LIMIT, UpstreamConnection

if TYPE_CHECKING:
    from shadowproxy.dataplane.response_lines import ResponseHead
    from tests.dataplane.room import Room, Side


class Script(Leg):
    """A leg that writes down what it is told."""

    def __init__(self, method: bytes = b"GET") -> None:
        super().__init__(method)
        self.heard: list[str] = []
        self.body = b""

    def on_connection(self, connection: UpstreamConnection) -> None:
        """Send at once."""
        connection.is_request_sent = True
        connection.send(b"request")

    def on_interim(self, head: ResponseHead) -> None:
        """Note it."""
        self.heard.append(str(head.status))

    def on_answer(self, head: ResponseHead, payload: bytes, *, is_end: bool) -> None:
        """Note it."""
        self.heard.append(f"{head.status}{' end' if is_end else ''}")
        self.body += payload

    def on_payload(self, payload: bytes) -> None:
        """Keep it."""
        self.body += payload

    def on_end(self, trailers: list[bytes]) -> None:
        """Note it."""
        self.heard.append(" ".join(["end", *(line.decode() for line in trailers)]))

    def on_failure(self, ended: int) -> None:
        """Note it."""
        self.heard.append(outcome.name_of(ended))

    def on_upgrade(self, connection: UpstreamConnection, head: ResponseHead, rest: bytes) -> None:
        """Note it."""
        self.heard.append(f"upgrade {rest.decode()}")


def _begin(room: Room, leg: Leg) -> Side:
    side = room.upstream("live")
    assert room.worker.fleets["live"].dispatch(leg, 0)
    assert side.heard == b"request"
    return side


def _is_kept(room: Room, side: Side) -> bool:
    return side.connection in room.worker.fleets["live"].endpoints[0].idle


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    ("wire", "heard", "body", "is_kept"),
    [
        (OK + b"Content-Length: 2\r\n\r\nok", ["200 end"], b"ok", True),
        (OK + b"Content-Length: 2\r\n\r\nok+", ["200 end"], b"ok", False),
        (OK + b"Content-Length: 0\r\n\r\n", ["200 end"], b"", True),
        (OK + b"Content-Length: 2\r\nConnection: close\r\n\r\nok", ["200 end"], b"ok", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", ["200 end"], b"ok", True),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n+", ["200 end"], b"ok", False),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-A: 1\r\n\r\n", ["200", "end X-A: 1"], b"ok", True),
        (
            b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\n" + OK + b"Content-Length: 0\r\n\r\n",
            ["100", "103", "200 end"],
            b"",
            True,
        ),
        (b"HTTP/1.1 204 No Content\r\n\r\n", ["204 end"], b"", True),
        (b"HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n", ["304 end"], b"", True),
    ],
)
def test_answers_are_read_to_their_end(room: Room, wire: bytes, heard: list[str], body: bytes, is_kept: bool) -> None:
    """Whole; and byte by byte, where what follows the end closes an idle connection instead."""
    whole = Script()
    side = _begin(room, whole)
    side.says(wire)
    assert (whole.heard, whole.body, _is_kept(room, side)) == (heard, body, is_kept)
    slow = Script()
    room.worker.fleets["live"].endpoints[0].close()
    side = _begin(room, slow)
    side.says(*(bytes([byte]) for byte in wire))
    assert (" ".join(slow.heard), slow.body) == (" ".join(heard), body)
    assert _is_kept(room, side) is is_kept
    assert side.is_over is not is_kept


def test_an_answer_without_a_length_ends_with_its_connection(room: Room) -> None:
    """The end of the stream is its end; a reset is not."""
    for error, last in ((None, "end"), (ConnectionResetError(), "truncated")):
        leg = Script()
        side = _begin(room, leg)
        side.says(OK + b"\r\nab", b"c")
        if error is None:
            side.ends()
        else:
            side.is_lost(error)
        assert (leg.heard, leg.body) == (["200", last], b"abc")
        assert not _is_kept(room, side)


@pytest.mark.parametrize(
    "wire",
    [
        b"hello",
        b"HTTP/2.0 200 OK\r\n\r\n",
        OK + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        OK + b"X" * HEAD_LIMIT,
        OK + b"X: " + b"y" * HEAD_LIMIT + b"\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * (INTERIM_LIMIT + 1),
        OK + b"Transfer-Encoding: chunked\r\n\r\nx\r\n",
    ],
)
def test_what_is_no_answer_is_malformed(room: Room, wire: bytes) -> None:
    """And the connection is of no more use."""
    leg = Script()
    side = _begin(room, leg)
    side.says(wire)
    assert leg.heard[-1] == "malformed"
    assert side.transport.is_aborted


@pytest.mark.parametrize(
    ("wire", "ended"),
    [
        (b"", "reset"),
        (b"HTTP/1.1 2", "reset"),
        (OK + b"Content-Length: 3\r\n\r\nab", "truncated"),
        (OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\na", "truncated"),
    ],
)
def test_a_connection_that_ends_early_says_where(room: Room, wire: bytes, ended: str) -> None:
    """Before the head was whole, or inside the body."""
    leg = Script()
    side = _begin(room, leg)
    if wire:
        side.says(wire)
    side.ends()
    assert leg.heard[-1] == ended


def test_a_silent_endpoint_is_given_up_in_time(room: Room) -> None:
    """By the deadline that the leg set."""
    leg = Script()
    side = _begin(room, leg)
    room.worker.deadlines.set(side.connection, 1)
    room.pass_time(1)
    assert leg.heard == ["timeout"]
    assert side.transport.is_aborted


def test_an_upgrade_that_was_asked_for_is_handed_over(room: Room) -> None:
    """With what came behind the 101."""
    leg = Script()
    leg.accepts_upgrade = True
    side = _begin(room, leg)
    side.says(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nframe")
    assert leg.heard == ["upgrade frame"]
    side.says(b"more")
    assert leg.body == b"more"


def test_a_byte_while_idle_closes_the_connection(room: Room) -> None:
    """It would be read as the answer to somebody else's request (FRM-13)."""
    side = room.upstream("live")
    side.says(b"H")
    assert side.is_over
    assert not _is_kept(room, side)


def test_an_abandoned_connection_tells_nobody(room: Room) -> None:
    """The leg that gives it up knows; the transport is reset."""
    leg = Script()
    side = _begin(room, leg)
    side.connection.abandon()  # type: ignore[union-attr]
    assert side.transport.is_aborted
    side.is_lost()
    assert leg.heard == []


def test_a_connection_shows_itself(room: Room) -> None:
    """Where to, its state, and whether it was used before."""
    side = _begin(room, Script())
    assert repr(side.connection) == "UpstreamConnection(127.0.0.1:9001, awaiting, reused=False)"
    side.says(OK + b"Content-Length: 0\r\n\r\n")
    assert repr(side.connection) == "UpstreamConnection(127.0.0.1:9001, idle, reused=True)"


ERROR = b"HTTP/1.1 503 Busy\r\n"


@pytest.mark.parametrize(
    ("wires", "counted"),
    [
        ([OK + b"Content-Length: 0\r\n\r\n"], (1, 0)),
        ([b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"], (1, 0)),
        ([ERROR + b"Content-Length: 2\r\n\r\nno"], (1, 1)),
        ([ERROR + b"Content-Length: 2\r\n\r\nno!"], (1, 1)),
        ([ERROR + b"Content-Length: 2\r\n\r\nn", b"o"], (1, 1)),
        ([ERROR + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"], (1, 1)),
        ([ERROR + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n", b"a\r\n0\r\n\r\n"], (1, 1)),
        ([ERROR + b"Content-Length: 3\r\n\r\nab", None], (1, 1)),
        ([OK + b"Content-Length: 3\r\n\r\nab", None], (1, 1)),
        ([OK + b"Transfer-Encoding: chunked\r\n\r\n", b"x\r\n"], (1, 1)),
        ([b"hello"], (1, 1)),
        ([None], (1, 1)),
        ([], (0, 0)),
    ],
)
def test_how_an_exchange_ends_is_counted_once_at_its_endpoint(room: Room, wires: list[bytes | None], counted: tuple[int, int]) -> None:
    """A 5xx or no whole answer is an error, one and not two where it is both; what is under way, or given up by us, is not counted."""
    endpoint = room.worker.fleets["live"].endpoints[0]
    side = _begin(room, Script())
    for wire in wires:
        if wire is None:
            side.ends()
        else:
            side.says(wire)
    report = endpoint.report()
    assert (report["ended"], report["errors"]) == counted
    assert report["outstanding"] == 1 - counted[0]
    if not wires:
        side.connection.abandon()  # type: ignore[union-attr]
    after = endpoint.report()
    assert (after["ended"], after["errors"], after["outstanding"]) == (0, 0, 0)


def test_an_error_says_nothing_of_the_next_answer(room: Room) -> None:
    """A kept connection that has brought a long 503 brings a good answer, and one that breaks off."""
    endpoint = room.worker.fleets["live"].endpoints[0]
    side = _begin(room, Script())
    side.says(ERROR + b"Content-Length: 2\r\n\r\nn", b"o")
    for wire in (b"Content-Length: 0\r\n\r\n", b"Content-Length: 2\r\n\r\no"):
        assert room.worker.fleets["live"].dispatch(Script(), 0)
        side.says(OK + wire)
    assert (endpoint.ended, endpoint.errors, endpoint.outstanding) == (2, 1, 1)


def test_a_tunnel_that_ends_is_no_error(room: Room) -> None:
    """However it does: it is an answer that was had."""
    leg = Script()
    leg.accepts_upgrade = True
    side = _begin(room, leg)
    side.says(b"HTTP/1.1 101 X\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n")
    side.is_lost(ConnectionResetError())
    endpoint = room.worker.fleets["live"].endpoints[0]
    assert (endpoint.ended, endpoint.errors, endpoint.outstanding) == (1, 0, 0)
