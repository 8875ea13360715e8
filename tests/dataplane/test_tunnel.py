"""Tunnels without sockets: the ends of both streams in every order, and what silence does."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane.tunnel import IDLE_NS, LAST_BYTES_NS
from tests.dataplane.room import Room, Side

ASK = b"GET /chat HTTP/1.1\r\nHost: shop.example\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"
ANSWER = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n"


def opened(room: Room, *, is_tls: bool = False) -> tuple[Side, Side]:
    """A client and an endpoint with a tunnel between them."""
    room.hold("live")
    client = room.client(is_tls=is_tls)
    client.says(ASK)
    live = room.upstream("live")
    live.transport.is_tls = is_tls
    assert b"Upgrade: echo\r\n" in live.heard
    live.says(ANSWER)
    assert client.heard.startswith(b"HTTP/1.1 101 ")
    return client, live


def hours(count: float) -> float:
    """Seconds of as many idle limits."""
    return count * IDLE_NS / 1e9


@pytest.mark.parametrize("speaker", ["client", "live"])
def test_a_word_from_either_side_keeps_a_tunnel(speaker: str) -> None:
    """Silence counts from the last byte of either side."""
    room = Room()
    client, live = opened(room)
    room.pass_time(hours(0.9))
    (client if speaker == "client" else live).says(b"ping")
    room.pass_time(hours(0.95))
    assert not client.is_over
    assert not live.is_over


def test_silence_ends_a_tunnel() -> None:
    """After an hour without a byte both connections are ended, and nothing is outstanding."""
    room = Room()
    client, live = opened(room)
    room.pass_time(hours(1.1))
    assert live.is_over
    assert client.is_over
    live.is_lost()
    client.is_lost()
    endpoint = room.worker.fleets["live"].endpoints[0]
    assert (endpoint.outstanding, len(endpoint.open), len(endpoint.idle)) == (0, 0, 0)
    assert room.worker.clients == set()
    assert room.responses() == {"101": 1}


@pytest.mark.parametrize("first", ["client", "live"])
def test_the_second_end_closes_both(first: str) -> None:
    """One end is passed on and nothing closes; the other end closes both sides, once."""
    room = Room()
    client, live = opened(room)
    one, other = (client, live) if first == "client" else (live, client)
    one.ends()
    assert other.transport.has_eof
    assert not one.is_over
    assert not other.is_over
    other.says(b"more")
    assert one.heard == b"more"
    other.ends()
    assert one.is_over
    assert other.is_over
    assert not one.transport.is_aborted
    assert not other.transport.is_aborted


@pytest.mark.parametrize("first", ["client", "live"])
def test_tls_has_no_half_close(first: str) -> None:
    """Over TLS one end is the end of both, behind what was sent."""
    room = Room()
    client, live = opened(room, is_tls=True)
    one, other = (client, live) if first == "client" else (live, client)
    one.says(b"last words")
    one.ends()
    assert other.heard == b"last words"
    assert other.is_over
    assert not other.transport.is_aborted


def test_a_client_that_breaks_off_is_passed_on_as_a_break() -> None:
    """A reset is a reset for the endpoint, and no bytes that wait are sent behind it."""
    room = Room()
    client, live = opened(room)
    client.is_lost(ConnectionResetError())
    assert live.transport.is_aborted


def test_an_endpoint_that_reads_nothing_does_not_keep_a_closed_tunnel() -> None:
    """What a client sent before it closed is flushed for half a minute; then the connection is cut."""
    room = Room()
    client, live = opened(room)
    live.transport.unsent = 1000
    client.says(b"x" * 1000)
    client.ends()
    client.is_lost()
    assert live.is_over
    assert not live.transport.is_aborted
    room.pass_time(LAST_BYTES_NS / 1e9 + 1)
    assert live.transport.is_aborted


def test_a_blocked_client_stops_the_endpoint_and_the_other_way_round() -> None:
    """Each side's full buffer stops the reading of the other, and its draining lets it go on."""
    room = Room()
    client, live = opened(room)
    client.connection.pause_writing()
    assert not live.transport.is_reading
    client.connection.resume_writing()
    assert live.transport.is_reading
    live.connection.pause_writing()
    assert not client.transport.is_reading
    live.connection.resume_writing()
    assert client.transport.is_reading


def test_a_tunnel_is_counted_once() -> None:
    """The request and its bytes are counted when the tunnel is over: 101, and what passed each way."""
    room = Room()
    client, live = opened(room)
    head = room.worker.route_tallies["all"].sent
    client.says(b"x" * 70)
    live.says(b"y" * 50)
    client.ends()
    live.ends()
    client.is_lost()
    live.is_lost()
    tally = room.worker.route_tallies["all"]
    assert tally.received == 70
    assert tally.sent - head >= 50
    assert room.responses() == {"101": 1}
    assert room.worker.requests == 1
    assert room.fates() == {"upgrade": 1}
