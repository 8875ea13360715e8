"""After a 101: two streams, joined until both have ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.dataplane.tunnel import IDLE_NS

if TYPE_CHECKING:
    from tests.dataplane.room import Room, Side

ASK = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
YES = b"HTTP/1.1 101 Switching\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def _open(room: Room, *, is_tls: bool = False) -> tuple[Side, Side]:
    client, live = room.client(is_tls=is_tls), room.upstream("live")
    room.upstream("shadow")
    client.says(ASK)
    assert b"Upgrade: websocket" in live.heard
    live.says(YES)
    assert client.heard.startswith(b"HTTP/1.1 101")
    return client, live


def test_bytes_pass_both_ways_and_no_copy_is_made(room: Room) -> None:
    """Also those that the client sent too early, which wait for the 101."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(ASK + b"early")
    assert b"early" not in live.heard
    live.says(YES + b"hello")
    assert client.heard.endswith(b"\r\n\r\nhello")
    assert live.heard == b"early"
    client.says(b"GET / HTTP/1.1\r\n\r\n")
    assert live.heard == b"GET / HTTP/1.1\r\n\r\n"
    assert shadow.heard == b""
    assert room.fates() == {"upgrade": 1}


@pytest.mark.parametrize("first", ["client", "live"])
def test_the_end_of_one_stream_is_passed_on_and_the_other_goes_on(room: Room, first: str) -> None:
    """Half-close; when both have ended both connections are closed, and the endpoint's is not kept."""
    client, live = _open(room)
    one, other = (client, live) if first == "client" else (live, client)
    one.ends()
    assert other.transport.has_eof
    assert not one.is_over
    other.says(b"last words")
    assert one.heard == b"last words"
    other.ends()
    assert client.is_over
    assert live.is_over
    assert room.worker.fleets["live"].endpoints[0].outstanding == 0


def test_tls_has_no_half_close(room: Room) -> None:
    """The endpoint's end is the end of both."""
    client, live = _open(room, is_tls=True)
    live.ends()
    assert client.is_over


def test_a_client_that_breaks_off_is_passed_on_as_a_break(room: Room) -> None:
    """By a reset."""
    client, live = _open(room)
    client.is_lost(ConnectionResetError())
    assert live.transport.is_aborted


def test_an_endpoint_that_is_gone_closes_the_client(room: Room) -> None:
    """What was queued still goes out."""
    client, live = _open(room)
    live.says(b"bye")
    live.is_lost(ConnectionResetError())
    assert client.heard == b"bye"
    assert client.is_over
    assert not client.transport.is_aborted


def test_who_reads_slowly_stops_the_other(room: Room) -> None:
    """So that what is in between is bounded."""
    client, live = _open(room)
    client.connection.pause_writing()
    assert not live.transport.is_reading
    client.connection.resume_writing()
    assert live.transport.is_reading
    live.connection.pause_writing()
    assert not client.transport.is_reading
    live.connection.resume_writing()
    assert client.transport.is_reading


def test_silence_ends_a_tunnel_at_last(room: Room) -> None:
    """After an hour: WebSocket pings come far more often."""
    client, live = _open(room)
    room.pass_time(IDLE_NS / 1e9 - 10)
    assert not client.is_over
    room.pass_time(IDLE_NS / 1e9 + 10)
    assert live.is_over
    assert client.is_over


def test_a_tunnel_shows_itself(room: Room) -> None:
    """Its endpoint, and who has ended."""
    client, live = _open(room)
    tunnel = live.connection.leg  # type: ignore[union-attr]
    assert repr(tunnel) == "Tunnel(UpstreamConnection(127.0.0.1:9001, tunnel, reused=False), ended=-)"
    client.ends()
    assert repr(tunnel).endswith("ended=client)")
