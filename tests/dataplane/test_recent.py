"""What a worker remembers of the requests that it has sent on."""

from __future__ import annotations

import gc

import pytest

from shadowproxy.dataplane.recent import HEAD_LIMIT, TOO_LONG, Recent
from tests.dataplane.room import ANSWER, MIRRORED, REQUEST, Room

ROUTES = (MIRRORED | {"match": {"path": "/"}, "mirror": []},)


def heads(room: Room) -> list[bytes]:
    """The heads that are remembered."""
    return [head for head, _, _, _ in room.worker.recent.remembered()]


def test_the_last_are_remembered_and_the_oldest_forgotten() -> None:
    """A ring of three has the last three, in the order in which they came; one of none has none, and costs nobody anything."""
    recent, none = Recent(3), Recent(0)
    for number in range(5):
        recent.note((b"%d" % number, number, b"192.0.2.1", "front"))
        none.note((b"%d" % number, number, b"192.0.2.1", "front"))
    assert [head for head, _, _, _ in recent.remembered()] == [b"2", b"3", b"4"]
    assert none.remembered() == []
    assert repr(recent) == "Recent(3 of 3 requests)"


def test_a_smaller_ring_keeps_the_newest() -> None:
    """A reload forgets no more than it has to."""
    recent = Recent(4)
    for number in range(4):
        recent.note((b"%d" % number, number, b"", ""))
    for size, kept in ((2, [b"2", b"3"]), (8, [b"2", b"3"]), (0, [])):
        recent.resize(size)
        assert [head for head, _, _, _ in recent.remembered()] == kept
    recent.resize(2)
    recent.note((b"9", 9, b"", ""))
    assert len(recent.remembered()) == 1


def test_nothing_of_it_is_left_to_the_garbage_collector() -> None:
    """What is remembered is not walked again: ten thousand requests make no collection longer."""
    recent = Recent(10)
    for number in range(10):
        recent.note((b"%d" % number, number, b"192.0.2.1", "front"))
    gc.collect()
    assert not any(gc.is_tracked(one) for one in recent.remembered())


@pytest.mark.parametrize("cut", [1, 5, len(REQUEST) - 1])
def test_heads_are_remembered_however_they_come(cut: int) -> None:
    """Whole, again and again, in pieces, one behind another in one read, and with a body behind them: byte for byte, and no byte more."""
    with_body = b"POST /a HTTP/1.1\r\nHost: b\r\nContent-Length: 3\r\n\r\n"
    chunked = b"POST /c HTTP/1.1\r\nHost: b\r\nTransfer-Encoding: chunked\r\n\r\n"
    room = Room(*ROUTES)
    client, live = room.client("192.0.2.7"), room.upstream("live")
    sent = [(REQUEST,)] * 3 + [(REQUEST[:cut], REQUEST[cut:])]
    for pieces in [*sent, (with_body + b"abc",), (chunked + b"3\r\nabc\r\n0\r\n\r\n",)]:
        client.says(*pieces)
        live.says(ANSWER)
    client.says(REQUEST + with_body + b"abc" + REQUEST)
    for _ in range(3):
        live.says(ANSWER)
    assert heads(room) == [REQUEST] * 4 + [with_body, chunked, REQUEST, with_body, REQUEST]
    assert {(address, listener) for _, _, address, listener in room.worker.recent.remembered()} == {(b"192.0.2.7", "front")}
    arrivals = [arrived_ns for _, arrived_ns, _, _ in room.worker.recent.remembered()]
    assert arrivals == sorted(arrivals)


def test_a_head_that_is_too_long_is_only_counted() -> None:
    """So the memory has a bound that no client can move; one byte less is remembered."""
    room = Room(*ROUTES)
    client, live = room.client(), room.upstream("live")
    for size in (HEAD_LIMIT, HEAD_LIMIT + 1):
        head = b"GET / HTTP/1.1\r\nHost: a\r\nX-Long: " + b"x" * (size - 37) + b"\r\n\r\n"
        assert len(head) == size
        client.says(head)
        live.says(ANSWER)
    assert [len(head) for head in heads(room)] == [HEAD_LIMIT, len(TOO_LONG)]


def test_what_was_refused_is_not_remembered() -> None:
    """No route takes it, it is no request, or it has come round: an experiment would never have seen it."""
    room = Room(MIRRORED | {"match": {"path": "/shop"}, "mirror": []})
    client = room.client()
    client.says(REQUEST)
    client.says(b"GET /shop HTTP/1.1\r\nHost: a\r\nX-Shadow-Mirror: 1;by=0123456789abcdef\r\n\r\n")
    client.says(b"nonsense\r\n\r\n")
    assert heads(room) == []


def test_secrets_stay_in_the_worker() -> None:
    """Neither a report nor the text that stands for the ring has anything of a head."""
    room = Room(*ROUTES)
    client, live = room.client(), room.upstream("live")
    client.says(b"GET /?key=hunter2 HTTP/1.1\r\nHost: a\r\nCookie: session=hunter2\r\n\r\n")
    live.says(ANSWER)
    assert b"hunter2" in heads(room)[0]
    assert "hunter2" not in repr(room.worker.recent) + repr(room.worker.report())


def test_a_test_is_remembered_once_and_when_it_goes_on() -> None:
    """A tagged read that a sink is asked about first: once, when it goes to live. A tagged write: when its row is durable, with its body behind it."""
    room = Room(MIRRORED | {"mirror": [], "test_traffic": {"writes": {"sink": "s"}}}, sinks={"s": {"preset": "email"}})
    client, live, sink = room.client(), room.upstream("live"), room.upstream("sink:s")
    read = b"GET /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: bot\r\n\r\n"
    client.says(read)
    assert sink.heard
    assert heads(room) == []
    sink.says(b"HTTP/1.1 421 Misdirected Request\r\nContent-Length: 0\r\n\r\n")
    assert live.heard
    assert heads(room) == [read]
    live.says(ANSWER)
    write = b"POST /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: bot\r\nContent-Length: 3\r\n\r\n"
    client.says(write, b"a=")
    assert heads(room) == [read]
    client.says(b"1")
    assert heads(room) == [read, write]
