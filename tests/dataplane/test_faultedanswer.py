"""What faults do to answers: when and how they reach the client, in bounds, and whole again when the run is over."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.dataplane.damage import JSON_LIMIT
from shadowproxy.dataplane.faultedanswer import HOLD_LIMIT
from tests.dataplane.faultroom import FaultRoom
from tests.dataplane.room import REQUEST

if TYPE_CHECKING:
    from tests.dataplane.room import Side

MARK = b"X-Shadowproxy-Fault: drill;"
SIZED = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 10\r\n\r\n"
CHUNKED = b"HTTP/1.1 200 OK\r\nDate: now\r\nTransfer-Encoding: chunked\r\n\r\n"
CLOSING = b"HTTP/1.1 200 OK\r\nDate: now\r\n\r\n"
BODY = b"0123456789"
JSON = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Type: application/json\r\n"
NULLED = {"corrupt": {"json": [{"path": "$.a", "do": "null"}]}}
HTTP_10 = b"GET / HTTP/1.0\r\n\r\n"

KINDS: dict[str, dict[str, Any]] = {
    "first_byte": {"first_byte": "100ms"},
    "headers": {"headers": {"set": {"X-A": "b"}, "remove": ["Date"]}},
    "corrupt": {"corrupt": {"share": 1}},
    "truncate": {"truncate": 4},
    "download": {"download": 100},
    "dribble": {"dribble": {"size": 3, "every": "10ms"}},
}
SHAPES = {
    "sized": [SIZED + BODY],
    "in pieces": [SIZED, BODY[:3], BODY[3:9], BODY[9:]],
    "chunked": [CHUNKED + b"3\r\n012\r\n7\r\n3456789\r\n0\r\n\r\n"],
    "chunked, with trailers": [CHUNKED, b"a\r\n0123456789\r\n", b"0\r\nX-Sum: 1\r\n\r\n"],
    "until the end": [CLOSING + BODY],
}


def _body(heard: bytes) -> bytes:
    """The payload of an answer, which may be cut off."""
    head, _, rest = heard.partition(b"\r\n\r\n")
    if b"Transfer-Encoding: chunked" not in head:
        return rest
    payload = b""
    while found := re.match(rb"([0-9a-f]+)\r\n", rest):
        size = int(found[1], 16)
        payload += rest[found.end() : found.end() + size]
        rest = rest[found.end() + size + 2 :]
    return payload


def _is_whole(client: Side, heard: bytes) -> bool:
    """Whether the client takes what it has heard for a whole answer."""
    head = heard.partition(b"\r\n\r\n")[0]
    if b"Transfer-Encoding: chunked" in head:
        return heard.endswith((b"0\r\n\r\n", b"0\r\nX-Sum: 1\r\n\r\n"))
    if b"Content-Length" in head:
        return len(_body(heard)) == 10
    return not client.transport.is_aborted


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("request_", [REQUEST, HTTP_10], ids=["1.1", "1.0"])
def test_every_kind_on_every_shape_of_answer(kind: str, shape: str, request_: bytes) -> None:
    """Marked; whole or broken as the kind says; the length that was announced stays; and the next request is served."""
    with FaultRoom(KINDS[kind]) as room:
        client, live = room.client(), room.upstream("live")
        client.says(request_)
        for piece in SHAPES[shape]:
            live.says(piece)
        if shape == "until the end" and not live.is_over:
            live.ends()
        if kind == "first_byte":
            assert client.heard == b""
        room.pass_ms(200)
        heard = client.heard
        head = heard.partition(b"\r\n\r\n")[0] + b"\r\n"
        assert MARK + kind.encode() + b"\r\n" in head
        assert (b"Content-Length: 10\r\n" in head) == (shape in {"sized", "in pieces"})
        assert (b"X-A: b\r\n" in head) == (kind == "headers")
        body = _body(heard)
        if kind == "truncate":
            assert body == BODY[:4]
            assert not _is_whole(client, heard)
            assert client.is_over
            assert room.arm_of()["responses"] == {"truncated": 1}
        else:
            assert len(body) == 10
            assert (body == BODY) == (kind != "corrupt")
            assert not set(body) & set(BODY) or kind != "corrupt" or all(one != other for one, other in zip(body, BODY, strict=True))
            assert _is_whole(client, heard)
            assert room.arm_of()["responses"] == {"200": 1}
        if request_ is REQUEST and kind != "truncate":
            assert not client.is_over
            client.says(REQUEST)
            again = live if not live.is_over else room.upstream("live")
            assert again.heard.endswith(b"\r\n\r\n")
            again.says(b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n")
            room.pass_ms(200)
            assert client.heard.startswith(b"HTTP/1.1 204 No Content\r\n")
        assert room.faults()[kind] >= 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("request_", "answer"),
    [
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", SIZED),
        (b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", CHUNKED),
        (REQUEST, b"HTTP/1.1 204 No Content\r\nDate: now\r\n\r\n"),
        (REQUEST, b"HTTP/1.1 304 Not Modified\r\nDate: now\r\nContent-Length: 10\r\n\r\n"),
    ],
)
def test_an_answer_without_a_body_has_nothing_to_break(kind: str, request_: bytes, answer: bytes) -> None:
    """Only its head can be late or changed; otherwise it passes as it came and counts as spared."""
    with FaultRoom(KINDS[kind]) as room:
        client, live = room.client(), room.upstream("live")
        client.says(request_)
        live.says(answer)
        room.pass_ms(100)
        heard = client.heard
        assert heard.count(b"\r\n\r\n") == 1
        assert heard.endswith(b"\r\n\r\n")
        if kind in {"first_byte", "headers"}:
            assert MARK + kind.encode() in heard
        else:
            assert MARK not in heard
            assert room.unharmed() == {"no_body": 1}
        assert not client.is_over


# Pacing.


def test_a_download_has_its_rate() -> None:
    """The head at once; of the body what is due, and no more."""
    with FaultRoom({"download": 100}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(SIZED + BODY)
        assert client.heard.endswith(b"\r\n\r\n")
        room.pass_ms(50)
        assert client.heard == BODY[:5]
        room.pass_ms(50)
        assert client.heard == BODY[5:]


def test_the_endpoint_is_free_while_its_answer_waits() -> None:
    """It has said its last byte: its connection serves somebody else, whom nothing of the waiting answer reaches."""
    with FaultRoom({"download": 10}) as room:
        slow, live = room.client(), room.upstream("live")
        slow.says(REQUEST)
        live.says(SIZED + BODY)
        live.heard  # noqa: B018  the request
        other = room.client()
        other.says(REQUEST)
        assert live.heard.startswith(b"GET / ")
        slow.is_lost()
        assert not live.is_over
        live.says(SIZED + BODY)
        room.pass_ms(1000)
        assert other.heard.endswith(BODY)


def test_what_waits_of_an_answer_is_bounded() -> None:
    """Beyond the limit the endpoint is not read, nor taken for silent; below a quarter of it reading goes on."""
    with FaultRoom({"download": HOLD_LIMIT // 4}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(CHUNKED)
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        pieces = 0
        while live.transport.is_reading:
            live.says(piece)
            pieces += 1
        assert HOLD_LIMIT < pieces * 65536 <= HOLD_LIMIT + 65536
        room.pass_ms(1000)
        assert not live.transport.is_reading
        assert live.connection.deadline_ns == 0
        room.pass_ms(3100)
        assert live.transport.is_reading
        assert live.connection.deadline_ns
        live.says(b"0\r\n\r\n")
        room.pass_ms(5000)
        assert len(_body(client.heard)) == pieces * 65536


def test_a_client_that_reads_slowly_does_not_make_the_buffer_grow() -> None:
    """However often it stalls and goes on, a full buffer is not filled further; and it is not drained into a client that does not read."""
    with FaultRoom({"download": 65536}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(CHUNKED)
        while live.transport.is_reading:
            live.says(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        for _ in range(3):
            client.connection.pause_writing()
            client.connection.resume_writing()
            assert not live.transport.is_reading
        client.connection.pause_writing()
        room.pass_ms(6000)
        assert not live.transport.is_reading
        client.connection.resume_writing()
        assert live.transport.is_reading
        client.is_lost()


def test_a_client_that_reads_on_does_not_start_the_clock_of_an_endpoint_that_waits_for_us() -> None:
    """Its silence is ours: with pieces further apart than `idle_timeout` the answer arrives all the same."""
    dribble = {"dribble": {"size": 200_000, "every": "20s"}}
    with FaultRoom(dribble, settings={"fleets": {"live": {"endpoints": ["http://127.0.0.1:9001"], "idle_timeout": "5s"}}}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(CHUNKED)
        while live.transport.is_reading:
            live.says(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        client.connection.pause_writing()
        client.connection.resume_writing()
        room.pass_ms(19_000)
        assert not client.is_over
        room.pass_ms(1_100)
        assert live.transport.is_reading
        client.is_lost()


def test_an_endpoint_that_falls_silent_under_a_paced_answer_times_out() -> None:
    """Waiting for us is no silence, but having nothing to say is: then the client's answer breaks."""
    with FaultRoom(
        {"download": 100}, settings={"fleets": {"live": {"endpoints": ["http://127.0.0.1:9001"], "idle_timeout": "5s"}}}
    ) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(SIZED + BODY[:5])
        room.pass_ms(4900)
        assert not client.is_over
        room.pass_ms(5200)
        assert client.is_over
        assert client.heard.endswith(BODY[:5])
        live.is_lost()


def test_a_dribble_without_a_pause_only_cuts() -> None:
    """Each piece in a round of the loop of its own, and each a chunk."""
    with FaultRoom({"dribble": {"size": 4, "every": 0}}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(CHUNKED + b"a\r\n0123456789\r\n0\r\n\r\n")
        room.pass_ms(1)
        assert client.heard.endswith(b"4\r\n0123\r\n4\r\n4567\r\n2\r\n89\r\n0\r\n\r\n")


# First byte.


def test_a_late_first_byte_holds_a_bounded_answer() -> None:
    """Interim answers pass; of a long answer no more is read than is held; then all of it goes."""
    with FaultRoom({"first_byte": "1s"}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(b"HTTP/1.1 103 Hints\r\n\r\n")
        assert client.heard == b"HTTP/1.1 103 Hints\r\n\r\n"
        live.says(CHUNKED)
        pieces = 0
        while live.transport.is_reading:
            live.says(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            pieces += 1
        room.pass_ms(999)
        assert client.heard == b""
        room.pass_ms(1)
        assert live.transport.is_reading
        live.says(b"0\r\n\r\n")
        assert len(_body(client.heard)) == pieces * 65536


# Truncation.


@pytest.mark.parametrize(("limit", "is_broken"), [(0, True), (9, True), (10, False), (11, False)])
@pytest.mark.parametrize("shape", ["sized", "in pieces", "chunked"])
def test_only_a_body_that_is_longer_breaks(limit: int, is_broken: bool, shape: str) -> None:
    """One that ends before, or just there, is whole; its request counts as spared."""
    with FaultRoom({"truncate": limit}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        for piece in SHAPES[shape]:
            if not live.is_over:
                live.says(piece)
        heard = client.heard
        assert _body(heard) == BODY[:limit]
        assert _is_whole(client, heard) is not is_broken
        assert client.is_over is is_broken
        assert (room.faults(), room.unharmed()) == (({"truncate": 1}, {}) if is_broken else ({}, {"short": 1}))


def test_truncation_gives_the_endpoint_up() -> None:
    """Nobody reads the rest of its answer: it is told by a reset."""
    with FaultRoom({"truncate": 2}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(SIZED + BODY[:5])
        assert live.transport.is_aborted
        assert client.is_over


# Damage.


@pytest.mark.parametrize(
    "wire",
    [
        JSON + b"Content-Length: 13\r\n\r\n" + b'{"a":1,"b":2}',
        JSON + b"Transfer-Encoding: chunked\r\n\r\nd\r\n" + b'{"a":1,"b":2}' + b"\r\n0\r\n\r\n",
        JSON + b"Transfer-Encoding: chunked\r\n\r\nd\r\n" + b'{"a":1,"b":2}' + b"\r\n0\r\nX-Sum: 1\r\n\r\n",
        JSON + b"\r\n" + b'{"a":1,"b":2}',
    ],
)
@pytest.mark.parametrize("is_bytewise", [False, True])
def test_a_json_answer_is_damaged_whole(wire: bytes, *, is_bytewise: bool) -> None:
    """However it comes; what announces its length announces that of what is sent."""
    with FaultRoom(NULLED) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(*([wire[at : at + 1] for at in range(len(wire))] if is_bytewise else [wire]))
        if b"Content-Length" not in wire and b"chunked" not in wire:
            live.ends()
        heard = client.heard
        assert json.loads(_body(heard)) == {"a": None, "b": 2}
        announced = re.search(rb"Content-Length: (\d+)", heard)
        assert announced is None or int(announced[1]) == len(_body(heard))
        assert MARK + b"corrupt\r\n" in heard
        assert room.faults() == {"corrupt": 1}


@pytest.mark.parametrize(
    "wire",
    [
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
        JSON + b"Content-Encoding: br\r\nContent-Length: 7\r\n\r\n" + b'{"a":1}',
        JSON + b"Content-Length: 7\r\n\r\n" + b'{"b":1}',
        JSON + b"Content-Length: 7\r\n\r\n" + b'{"a":1 ',
        JSON + b"Content-Length: %d\r\n\r\n" % (JSON_LIMIT + 1) + b'"' * (JSON_LIMIT + 1),
        JSON + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n" % (JSON_LIMIT + 1) + b'"' * (JSON_LIMIT + 1) + b"\r\n0\r\n\r\n",
    ],
    ids=["no json", "coded", "nothing there", "broken", "long", "long, unannounced"],
)
@pytest.mark.parametrize("is_cut", [False, True])
def test_an_answer_that_cannot_be_damaged_passes_unharmed(wire: bytes, *, is_cut: bool) -> None:
    """As it came, and counted so."""
    with FaultRoom(NULLED) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        head_end = wire.index(b"\r\n\r\n") + 4
        for piece in [wire[:head_end], wire[head_end:-8], wire[-8:]] if is_cut else [wire]:
            live.says(piece)
        heard = client.heard
        assert MARK not in heard
        assert _body(heard) in wire
        assert len(_body(heard)) >= 7
        assert room.unharmed() == {"json": 1}
        assert not client.is_over


def test_a_distorted_answer_is_logged_as_such() -> None:
    """With the experiment and the kinds; others say nothing of it."""
    with FaultRoom({"first_byte": "10ms", "every": 2}, settings={"access_log": {"path": "access.log", "sample": 1.0}}) as room:
        client, live = room.client(), room.upstream("live")
        for _ in range(2):
            client.says(REQUEST)
            live.says(SIZED + BODY)
            room.pass_ms(10)
        assert [record.get("fault") for record in room.worker.access] == [None, "drill;first_byte"]


# Several at once.


def test_faults_are_combined_in_their_order() -> None:
    """Late, with other fields, damaged, and then broken off after the bytes that came at their rate."""
    faults = {"first_byte": "100ms", "headers": {"set": {"X-A": "b"}}, "corrupt": {"share": 1}, "truncate": 6, "download": 100}
    with FaultRoom({"delay": "50ms"}, faults) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        room.pass_ms(50)
        live.says(SIZED + BODY)
        room.pass_ms(99)
        assert client.heard == b""
        room.pass_ms(1)
        head = client.heard
        assert MARK + b"delay+first_byte+headers+corrupt+truncate+download\r\n" in head
        assert head.endswith(b"\r\n\r\n")
        room.pass_ms(50)
        five = client.heard
        assert len(five) == 5
        assert not set(five) & set(BODY[:5]) or five != BODY[:5]
        room.pass_ms(50)
        assert len(client.heard) == 1
        assert client.is_over
        assert room.faults() == dict.fromkeys(["delay", "first_byte", "headers", "corrupt", "truncate", "download"], 1)


def test_bandwidth_and_dribble_are_two_faults() -> None:
    """Both happen, and both are counted."""
    with FaultRoom({"download": 100, "dribble": {"size": 5, "every": "10ms"}}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(SIZED + BODY)
        room.pass_ms(100)
        assert client.heard.endswith(BODY)
        assert room.faults() == {"download": 1, "dribble": 1}


def test_an_early_answer_is_paced_too() -> None:
    """The request's body is not read to its end: the answer says that the connection ends, and it does."""
    with FaultRoom({"download": 100}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
        live.says(SIZED + BODY)
        client.says(b"x" * 50)
        room.pass_ms(100)
        heard = client.heard
        assert b"Connection: close\r\n" in heard
        assert heard.endswith(BODY)
        client.says(b"y" * 45)
        assert client.transport.has_eof
        client.is_lost()


# Upstream dies, the run is over.

STAGES: dict[str, dict[str, Any]] = {
    "first_byte": {"first_byte": "1s"},
    "gathering": NULLED,
    "download": {"download": 1},
    "dribble": {"dribble": {"size": 1, "every": "1s"}},
    "passing": {"truncate": 1000},
    "corrupt": {"corrupt": {"share": 0.000001}},
}
OPEN_ANSWERS = {
    "sized": JSON + b"Content-Length: 10\r\n\r\n" + BODY[:6],
    "chunked": JSON + b"Transfer-Encoding: chunked\r\n\r\n6\r\n" + BODY[:6] + b"\r\n",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("shape", OPEN_ANSWERS)
@pytest.mark.parametrize("request_", [REQUEST, HTTP_10], ids=["1.1", "1.0"])
def test_upstream_that_dies_inside_its_answer_breaks_the_clients(stage: str, shape: str, request_: bytes) -> None:
    """What came before goes on first, in its time; then the client sees that it is not whole."""
    with FaultRoom(STAGES[stage]) as room:
        client, live = room.client(), room.upstream("live")
        client.says(request_)
        live.says(OPEN_ANSWERS[shape])
        live.is_lost(ConnectionResetError())
        room.pass_ms(20_000)
        heard = client.heard
        assert _body(heard) == BODY[:6]
        assert client.is_over
        assert client.transport.is_aborted or not _is_whole(client, heard)
        assert room.arm_of()["responses"] == {"truncated": 1}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("shape", OPEN_ANSWERS)
@pytest.mark.parametrize("is_ended", [False, True])
def test_an_answer_that_is_held_back_goes_on_when_the_run_is_over(stage: str, shape: str, *, is_ended: bool) -> None:
    """All of it at once, in order, unharmed, and the connection lives on."""
    rest = BODY[6:] if shape == "sized" else b"4\r\n" + BODY[6:] + b"\r\n0\r\n\r\n"
    with FaultRoom(STAGES[stage]) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(OPEN_ANSWERS[shape])
        if is_ended:
            live.says(rest)
        room.pass_ms(900)
        room.release()
        if not is_ended:
            live.says(rest)
        heard = client.heard
        assert _body(heard) == BODY
        assert _is_whole(client, heard)
        assert not client.is_over
        client.says(REQUEST)
        live.says(SIZED + BODY)
        assert client.heard == SIZED + BODY


def test_a_full_buffer_is_read_on_when_the_run_is_over() -> None:
    """Nothing was lost, and nothing waits for a timer that is gone."""
    with FaultRoom({"download": 1}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(CHUNKED)
        pieces = 0
        while live.transport.is_reading:
            live.says(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            pieces += 1
        room.release()
        assert live.transport.is_reading
        live.says(b"0\r\n\r\n")
        assert len(_body(client.heard)) == pieces * 65536


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("is_ended", [False, True])
def test_a_client_that_leaves_inside_its_answer_is_forgotten(stage: str, *, is_ended: bool) -> None:
    """The endpoint is told by a reset where it was still answering; one that had answered keeps its connection."""
    with FaultRoom(STAGES[stage]) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(OPEN_ANSWERS["sized"])
        if is_ended:
            live.says(BODY[6:])
        client.is_lost()
        assert live.transport.is_aborted is not is_ended
        room.pass_ms(20_000)
