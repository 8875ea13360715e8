"""A request that goes out slowly, and the transport that it stands for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.dataplane.slowsender import HIGH, SlowSender, seconds_until
from tests.dataplane.faultroom import FaultRoom
from tests.dataplane.room import ANSWER

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"


@given(st.integers(0, 10**18), st.integers(0, 10**18))
def test_a_wait_is_never_short(due_ns: int, now_ns: int) -> None:
    """Whole milliseconds, at most one too long, and none for what is due."""
    waited_ns = round(seconds_until(due_ns, now_ns) * 1000) * 10**6
    assert max(0, due_ns - now_ns) <= waited_ns < max(1, due_ns - now_ns) + 10**6


def test_it_stands_for_the_transport_and_steps_aside() -> None:
    """All that a connection asks of a transport goes through; when the request has gone the transport itself is back."""
    with FaultRoom({"upload": 10}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(POST)
        sender = live.connection.transport
        assert isinstance(sender, SlowSender)
        assert repr(sender) == "SlowSender(Pacer(held=5, pieces=0))"
        assert sender.get_write_buffer_size() == 5
        assert sender.can_write_eof()
        assert not sender.is_closing()
        assert sender.get_extra_info("peername") == ("127.0.0.1", 5555)
        sender.pause_reading()
        assert not live.transport.is_reading
        sender.resume_reading()
        assert live.transport.is_reading
        room.pass_ms(500)
        assert live.connection.transport is live.transport
        assert live.heard.endswith(b"hello")
        live.says(ANSWER)


def test_an_endpoint_that_waits_for_our_bytes_is_not_silent() -> None:
    """However long the upload takes; once it has all it must answer in time."""
    fleets = {"live": {"endpoints": ["http://127.0.0.1:9001"], "header_timeout": "2s"}}
    with FaultRoom({"upload": 1}, settings={"fleets": fleets}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(POST)
        for _ in range(50):
            room.pass_ms(100)
        assert live.heard.endswith(b"hello")
        assert client.heard == b""
        for _ in range(30):
            room.pass_ms(100)
        assert client.heard.startswith(b"HTTP/1.1 504 ")
        live.is_lost()


def test_an_endpoint_that_reads_slowly_too_keeps_the_client_paused() -> None:
    """Either is a reason, and the client goes on when neither holds."""
    with FaultRoom({"upload": 1_000_000}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", b"x" * (HIGH + 1))
        assert not client.transport.is_reading
        live.connection.pause_writing()
        live.connection.resume_writing()
        assert not client.transport.is_reading
        live.connection.pause_writing()
        room.pass_ms(1000)
        assert not client.transport.is_reading
        live.connection.resume_writing()
        assert client.transport.is_reading
        client.is_lost()


@pytest.mark.parametrize("is_chunked", [False, True])
def test_the_body_arrives_whole_however_it_came(*, is_chunked: bool) -> None:
    """In order, with its framing."""
    with FaultRoom({"upload": 1000}) as room:
        client, live = room.client(), room.upstream("live")
        if is_chunked:
            client.says(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n", b"2\r\nhe\r\n", b"3\r\nllo\r\n0\r\n\r\n")
        else:
            client.says(POST[:-5], b"he", b"llo")
        room.pass_ms(200)
        assert live.heard.endswith(b"2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n" if is_chunked else b"hello")
        live.says(ANSWER)
        assert client.heard.startswith(b"HTTP/1.1 200 OK")
