"""Upgrades: a tunnel opens only when both sides agreed on it, goes to live only, and ends with its two streams."""

from __future__ import annotations

import socket
import time
from typing import TYPE_CHECKING

import pytest

from tests.kit import answers, settings
from tests.kit.client import wire
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import MakeWorld
    from tests.kit import Client, World
    from tests.kit.origin import Turn

UPGRADE = (("Connection", "Upgrade"), ("Upgrade", "echo"))


def opened(client: Client, target: str = "/chat") -> None:
    """Ask for a tunnel and get it."""
    client.send(wire("GET", target, *UPGRADE))
    answer = client.response(upgrade="echo")
    assert answer.status == 101
    assert answer.one("Upgrade") == "echo"
    assert answer.one("Connection").lower() == "upgrade"


@pytest.mark.requirement("EXP-07")
def test_bytes_pass_both_ways(world: World) -> None:
    """Behind a 101 everything passes as it is, in both directions, whatever it looks like."""
    world.live.answer = answers.tunnel()
    with world.client() as client:
        opened(client)
        for piece in (b"\x00\xff\r\n", b"GET /not-a-request HTTP/1.1\r\n\r\n", bytes(range(256)) * 300):
            client.send(piece)
            assert client.receive_exactly(len(piece)) == piece
    assert world.live.seen("/not-a-request") == []


@pytest.mark.requirement("EXP-07")
def test_upgrades_are_not_mirrored_and_are_counted(make_world: MakeWorld) -> None:
    """A request to upgrade goes to live only; the mirror counts it as `upgrade`, and the next request is mirrored as ever."""
    world = make_world()
    world.live.on("/chat", answers.tunnel())
    with world.client() as client:
        opened(client)
        client.send(b"x")
        assert client.receive_exactly(1) == b"x"
    with world.client() as client:
        assert client.get("/plain").status == 200
    world.legs("/plain")
    assert world.shadow.seen("/chat") == []
    assert world.fates() == {"upgrade": 1, "paired": 1}


def test_an_early_byte_of_the_endpoint_is_not_lost(world: World) -> None:
    """What the endpoint sends together with its 101 is the tunnel's first bytes."""
    head = answers.head(101, [("Connection", "Upgrade"), ("Upgrade", "echo")])
    world.live.answer = answers.raw_then_close(head + b"welcome")
    with world.client() as client:
        opened(client)
        assert client.receive_exactly(7) == b"welcome"
        client.expect_end()


@pytest.mark.requirement("EXP-05")
@pytest.mark.parametrize("is_one_segment", [True, False])
def test_nothing_behind_the_request_goes_up_before_the_101(world: World, is_one_segment: bool) -> None:
    """Bytes that a client sends ahead are kept until the tunnel is open, and are then its first ones."""
    raw_before: list[bytes] = []

    def talk(turn: Turn) -> None:
        turn.read_body()
        turn.pause(0.15)
        raw_before.append(bytes(turn.connection.raw))
        answers.tunnel()(turn)

    world.live.answer = talk
    ask = wire("GET", "/chat", *UPGRADE)
    with world.client() as client:
        if is_one_segment:
            client.send(ask + b"ahead")
        else:
            client.send(ask)
            world.live.wait_begun("/chat")
            client.send(b"ahead")
        assert client.response(upgrade="echo").status == 101
        assert client.receive_exactly(5) == b"ahead"
    assert raw_before[0].endswith(b"\r\n\r\n")


@pytest.mark.requirement("EXP-05")
@pytest.mark.parametrize("behind", [b"secret", b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"])
def test_bytes_behind_a_refused_upgrade_are_nobodys(world: World, behind: bytes) -> None:
    """Without a 101, what came behind the request is neither tunnelled nor read as a request, and the connection ends."""
    with world.client() as client:
        client.send(wire("GET", "/chat", *UPGRADE) + behind)
        answer = client.response()
        assert answer.status == 200
        assert answer.one("Connection") == "close"
        client.expect_end()
    assert [request.target for request in world.live.requests] == ["/chat"]


@pytest.mark.requirement("EXP-05", "EXP-06")
@pytest.mark.parametrize("status", [200, 400, 426])
def test_a_refused_upgrade_leaves_http_working(world: World, status: int) -> None:
    """An answer other than 101 is an answer: the client's connection goes on, the upstream one is not used again."""
    world.live.on("/chat", answers.ok(b"no", status=status))
    with world.client() as client:
        answer = client.request("GET", "/chat", *UPGRADE)
        assert (answer.status, answer.body) == (status, b"no")
        assert client.get("/after").body == b"ok"
    chat, after = world.live.wait_for("/chat"), world.live.wait_for("/after")
    assert chat.one("Upgrade") == "echo"
    assert not after.has("Upgrade")
    assert chat.connection != after.connection


@pytest.mark.requirement("EXP-06")
def test_the_tunnels_connection_is_not_pooled(world: World) -> None:
    """When a tunnel has ended its upstream connection ends too; the next request gets another."""
    world.live.on("/chat", answers.tunnel())
    with world.client() as client:
        opened(client)
        client.half_close()
        client.expect_end()
    with world.client() as client:
        client.get("/after")
    assert world.live.wait_for("/after").connection != world.live.wait_for("/chat").connection


@pytest.mark.requirement("EXP-05")
@pytest.mark.parametrize("fields", [(), (("Upgrade", "echo"),), (("Connection", "Upgrade"),)])
def test_a_101_that_nobody_asked_for_is_a_502(world: World, fields: tuple[tuple[str, str], ...]) -> None:
    """Only Connection: upgrade together with Upgrade asks; anything less makes a 101 a malformed answer."""
    world.live.answer = answers.tunnel()
    with world.client() as client:
        answer = client.request("GET", "/chat", *fields)
        assert answer.status == 502
        assert answer.one("Content-Type") == "application/problem+json"


@pytest.mark.requirement("EXP-05")
def test_a_101_before_the_body_has_come_is_a_502(world: World) -> None:
    """A tunnel cannot open inside a request's body."""
    world.live.answer = answers.early(answers.head(101, [("Connection", "Upgrade"), ("Upgrade", "echo")]), then_close=True)
    with world.client() as client:
        client.send(wire("POST", "/chat", *UPGRADE, ("Content-Length", "10")) + b"half")
        assert client.response().status == 502
        client.expect_end()


@pytest.mark.parametrize(
    ("asked", "forwarded"),
    [
        ("h2c", ""),
        ("H2C", ""),
        ("h2", ""),
        ("HTTP/2.0", ""),
        ("http/1.0", ""),
        ("TLS/1.0, HTTP/1.1", ""),
        ("h2c, websocket", "websocket"),
        ("websocket , HTTP/3", "websocket"),
        ("websocket", "websocket"),
        ("h2cx", "h2cx"),
    ],
)
def test_http_inside_a_tunnel_is_not_offered(world: World, asked: str, forwarded: str) -> None:
    """A tunnel of HTTP would pass every rule unseen: h2c, HTTP/* and TLS/* are left out, and a request that asks for no more is ordinary."""
    with world.client() as client:
        answer = client.request("GET", "/h2", ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", asked), ("HTTP2-Settings", "AAMAAABk"))
        assert answer.status == 200
        assert client.get("/after").status == 200
    seen = world.live.wait_for("/h2")
    assert seen.all("Upgrade") == ([forwarded] if forwarded else [])
    assert not seen.has("HTTP2-Settings")
    if not forwarded:
        world.shadow.wait_for("/h2")


def test_a_101_to_h2c_opens_nothing(world: World) -> None:
    """An endpoint that says 101 to what was not passed on to it is not believed."""
    world.live.answer = answers.tunnel("h2c")
    with world.client() as client:
        client.send(wire("GET", "/h2", ("Connection", "Upgrade, HTTP2-Settings"), ("Upgrade", "h2c"), ("HTTP2-Settings", "AAMAAABk")))
        assert client.response().status == 502


def test_http10_cannot_upgrade(world: World) -> None:
    """RFC 9110 section 7.8: Upgrade in an HTTP/1.0 request is ignored."""
    with world.client() as client:
        client.send(b"GET /old HTTP/1.0\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        assert client.response(version="1.0").status == 200
    assert not world.live.wait_for("/old").has("Upgrade")


@pytest.mark.requirement("EXP-07")
def test_the_clients_end_is_passed_on_and_the_answer_still_comes(world: World) -> None:
    """Half-close from the client: the endpoint sees the end behind the last byte, and what it then says arrives."""

    def talk(turn: Turn) -> None:
        said = b""
        while received := turn.receive():
            said += received
        turn.send(b"%d bytes, goodbye" % len(said))

    world.live.answer = answers.tunnel(talk=talk)
    with world.client() as client:
        opened(client)
        client.send(b"x" * 100_000)
        client.half_close()
        assert client.remainder() == b"100000 bytes, goodbye"
    eventually(lambda: not world.live.open_connections, "both streams ended, so the connection did")


@pytest.mark.requirement("EXP-07")
def test_the_endpoints_end_is_passed_on_and_the_client_may_go_on(world: World) -> None:
    """Half-close from the endpoint: the client sees the end, and what it says afterwards still arrives."""
    heard: list[bytes] = []

    def talk(turn: Turn) -> None:
        turn.send(b"last words")
        turn.half_close()
        while received := turn.receive():
            heard.append(received)

    world.live.answer = answers.tunnel(talk=talk)
    with world.client() as client:
        opened(client)
        assert client.remainder() == b"last words"
        client.send(b"still here")
        client.half_close()
        eventually(lambda: b"".join(heard) == b"still here", "the client's bytes arrived")
    eventually(lambda: not world.live.open_connections, "both streams ended, so the connection did")


@pytest.mark.requirement("EXP-07")
def test_both_ends_leave_nothing_open(make_world: MakeWorld) -> None:
    """When both streams have ended the worker holds neither connection, and counts the request."""
    world = make_world()
    world.live.answer = answers.tunnel()
    for _ in range(5):
        with world.client() as client:
            opened(client)
            client.send(b"x")
            client.half_close()
            assert client.remainder() == b"x"
    eventually(lambda: world.proxy.settled()["clients"]["open"] == 0, "no client connection is held")
    tally = world.proxy.settled()
    assert tally["clients"]["requests"] == 5
    assert tally["routes"]["all"]["responses"] == {"101": 5}
    assert all(endpoint["open"] == 0 and endpoint["outstanding"] == 0 for endpoint in tally["fleets"]["live"].values())


@pytest.mark.requirement("EXP-07")
@pytest.mark.parametrize("is_reset", [True, False])
def test_a_client_that_leaves_ends_the_upstream_side(world: World, is_reset: bool) -> None:
    """A client that closes or resets is gone for the endpoint as well, with what it said last."""
    world.live.answer = answers.tunnel()
    client = world.client()
    opened(client)
    client.send(b"bye")
    assert client.receive_exactly(3) == b"bye"
    if is_reset:
        client.abort()
    else:
        client.close()
    eventually(lambda: not world.live.open_connections, "the endpoint's side ended")


@pytest.mark.requirement("EXP-07")
def test_an_endpoint_that_resets_ends_the_clients_side(world: World) -> None:
    """The client does not wait for an endpoint that is gone."""
    world.live.answer = answers.tunnel(talk=lambda turn: turn.reset())
    with world.client() as client:
        opened(client)
        client.expect_end()


def test_a_client_that_does_not_read_stops_the_endpoint(world: World) -> None:
    """Backpressure towards the endpoint: what it sends beyond the buffers waits at its side, and arrives whole in the end."""
    piece = b"y" * 65536
    sent = 0
    total = 24 * 1024 * 1024

    def talk(turn: Turn) -> None:
        nonlocal sent
        while sent < total:
            turn.send(piece)
            sent += len(piece)

    world.live.answer = answers.tunnel(talk=talk)
    with world.client(receive_buffer=8192) as client:
        opened(client)
        stuck_at = _settled(lambda: sent)
        assert stuck_at < total
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        assert len(client.remainder()) == total


def test_an_endpoint_that_does_not_read_stops_the_client(world: World) -> None:
    """Backpressure towards the client: it cannot send beyond the buffers, and nothing of it is lost."""
    total = 24 * 1024 * 1024
    heard = 0

    def talk(turn: Turn) -> None:
        nonlocal heard
        turn.pause(0.3)
        while received := turn.receive():
            heard += len(received)
        turn.send(b"%d" % heard)

    world.live.keeps_bodies = False
    world.live.answer = answers.tunnel(talk=talk)
    with world.client() as client:
        opened(client)
        client.socket.settimeout(0.1)
        piece = memoryview(b"z" * total)
        sent = 0
        was_stopped = False
        while sent < total:
            try:
                sent += client.socket.send(piece[sent:])
            except TimeoutError:
                was_stopped = True
        client.socket.settimeout(15)
        client.half_close()
        assert client.remainder() == b"%d" % total
    world.live.keeps_bodies = True
    assert was_stopped


def test_a_blocked_tunnel_outlives_the_answer_timeouts(make_world: MakeWorld) -> None:
    """After a pause a tunnel is watched as a tunnel again: the fleet's idle_timeout is for answers."""

    def talk(turn: Turn) -> None:
        turn.send(b"y" * (8 * 1024 * 1024))
        turn.receive()
        turn.send(b"end")

    world = make_world(settings(live={"idle_timeout": "200ms", "header_timeout": "200ms"}))
    world.live.answer = answers.tunnel(talk=talk)
    with world.client(receive_buffer=8192) as client:
        opened(client)
        client.receive_exactly(8 * 1024 * 1024)
        assert client.is_quiet(0.6)
        client.send(b"go on")
        assert client.receive_exactly(3) == b"end"


def _settled(value: Callable[[], int]) -> int:
    """A number that grows, once it has stopped growing."""
    last = -1
    for _ in range(200):
        now = value()
        if now == last and now:
            return now
        last = now
        time.sleep(0.1)
    raise AssertionError(f"still growing: {last}")
