"""Clients that are slow, rude or gone: they cost a bounded amount, and only themselves."""

from __future__ import annotations

import itertools
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.adversity.leftovers import check_released, sockets_at_rest
from tests.kit import Truncated, answers, settings
from tests.kit.client import chunked_wire, wire
from tests.kit.process import eventually, peak_rss_bytes, rss_bytes
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from tests.conftest import MakeWorld
    from tests.kit import World
    from tests.kit.origin import Turn

MIB: Final = 1 << 20

SLACK_BYTES: Final = 16 * MIB
"""Growth that is no leak: buffers of the allocator and of connections under way."""


SIZES: Final = range(50_000, 5_000_000, 150_000)
"""Answers of which some end just when the kernel takes no more for a client that does not read."""


def is_served(world: World, path: str = "/well") -> bool:
    """Whether a well-behaved client gets its answer."""
    return world.ask(wire("GET", path)).status == 200


# Too slow.


def test_slow_heads_are_refused_and_hurt_nobody(make_world: MakeWorld) -> None:
    """Two hundred clients that never finish their heads get 408 each; others are served meanwhile."""
    world = make_world(settings(limits={"header_timeout": "1s"}))
    slow = [world.client() for _ in range(200)]
    for number, client in enumerate(slow):
        client.send(b"GET /slow HTTP/1.1\r\nHost: shop.example\r\nX-Slow: "[: 1 + number % 50])
    for _ in range(20):
        assert is_served(world)
    for client in slow:
        answer = client.response()
        assert answer.status == 408
        assert answer.one("Content-Type") == "application/problem+json"
        client.expect_end()
    assert not world.live.seen("/slow")
    assert not world.shadow.seen("/slow")
    assert world.proxy.settled()["refusals"]["head_timeout"] == 200


def test_a_head_that_drips_has_one_deadline(make_world: MakeWorld) -> None:
    """A byte now and then does not put the deadline of a head off."""
    world = make_world(settings(limits={"header_timeout": "500ms"}))
    client = world.client()
    for byte in itertools.cycle(b"GET / HTTP/1.1\r\nHost: shop.example\r\nX: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"):
        client.send(bytes([byte]))
        if not client.is_quiet(0.05):
            break
    assert client.response().status == 408


@pytest.mark.parametrize(
    "start", [wire("POST", "/slow", body=b"0123456789")[:-5], wire("POST", "/slow", ("Transfer-Encoding", "chunked")) + b"5\r\nab"]
)
def test_a_slow_body_is_refused_and_cancelled_upstream(make_world: MakeWorld, start: bytes) -> None:
    """408 for the client; live and shadow see their connection end inside the request."""
    world = make_world(settings(limits={"body_timeout": "300ms"}))
    sockets = sockets_at_rest(world)
    with world.client() as client:
        client.send(start)
        live, shadow = world.live.wait_begun("/slow"), world.shadow.wait_begun("/slow")
        assert client.response("POST").status == 408
        client.expect_end()
    for origin, seen in ((world.live, live), (world.shadow, shadow)):
        eventually(lambda origin=origin: not origin.open_connections, "the legs are over")  # type: ignore[misc]
        assert not seen.is_complete
        assert origin.connections[seen.connection].ended == "peer reset"
    assert world.fates() == {"client_gone": 1}
    check_released(world, sockets)


def test_a_client_that_reads_nothing_stops_the_stream(make_world: MakeWorld) -> None:
    """Backpressure end to end: live's endless answer stops, memory stays, and the client is cut off in the end."""
    world = make_world(settings(limits={"write_timeout": "3s"}))
    world.live.answer = answers.endless()
    sent = count_sent(world)
    sockets = sockets_at_rest(world)
    before = rss_bytes(world.proxy.pid)
    seen = [0, 0]
    client = world.client(receive_buffer=4096)
    client.send(wire("GET", "/endless"))
    eventually(lambda: is_still(seen, sent[0]), "live stops sending")
    assert rss_bytes(world.proxy.pid) - before < SLACK_BYTES
    # Before the deadline it could go on.
    stopped_at = sent[0]
    stream = client.stream()
    next(stream)
    got = 0
    while got < stopped_at + MIB:
        piece = next(stream)
        assert isinstance(piece, bytes)
        got += len(piece)
    eventually(lambda: not world.live.open_connections, "live's leg is cancelled when the client reads nothing for too long")
    with pytest.raises(Truncated):
        for _ in stream:
            pass
    client.close()
    world.proxy.settled()
    check_released(world, sockets)
    assert peak_rss_bytes(world.proxy.pid) - before < SLACK_BYTES


def count_sent(world: World) -> list[int]:
    """Make live's scripts count the bytes they have sent; the count is the list's one element."""
    sent = [0]
    inner = world.live.answer

    def counting(turn: Turn) -> None:
        send = turn.send

        def counted(*pieces: bytes) -> None:
            for piece in pieces:
                send(piece)
                sent[0] += len(piece)

        turn.send = counted  # type: ignore[method-assign]
        inner(turn)

    world.live.answer = counting
    return sent


def is_still(seen: list[int], count: int) -> bool:
    """Whether `count`, which was asked for before and has begun to grow, has stayed what it was for half a second; `seen` keeps it."""
    if not count or count != seen[0]:
        seen[:] = [count, 0]
    seen[1] += 1
    # `eventually` asks every 50 ms by then.
    return seen[1] > 10


def test_a_slow_reader_gets_every_byte(make_world: MakeWorld) -> None:
    """Slow but steady is no fault: the answer arrives whole, and the connection serves the next request."""
    world = make_world(settings(limits={"write_timeout": "500ms"}))
    body = bytes(range(256)) * 16384
    world.live.on("/large", answers.ok(body))
    with world.client(receive_buffer=16384) as client:
        for _ in range(2):
            client.send(wire("GET", "/large"))
            stream = client.stream()
            next(stream)
            assert b"".join(piece for piece in stream if isinstance(piece, bytes)) == body
        assert client.get("/well").body == b"ok"


def test_the_last_byte_of_a_blocked_answer_leaves_the_pool_well(make_world: MakeWorld) -> None:
    """An answer that ends while its client is not reading does not leave a deaf connection in the pool."""
    world = make_world(settings(mirror={"percent": 0.0}))
    for size in SIZES:
        world.live.on(f"/{size}", answers.ok(bytes(size)))
        lazy = world.client(receive_buffer=4096)
        lazy.send(wire("GET", f"/{size}"))
        world.live.wait_for(f"/{size}")
        assert is_served(world)
        assert is_served(world)
        assert len(lazy.response().body) == size
        assert lazy.get("/well").status == 200
        lazy.close()


@pytest.mark.parametrize("fields", [(), (("Connection", "close"),)])
def test_an_answer_that_nobody_reads_is_given_up(make_world: MakeWorld, fields: Any) -> None:
    """Whether the connection was to be kept or closed: what is queued for a client that reads nothing is dropped in the end."""
    world = make_world(settings(limits={"write_timeout": "300ms", "idle_timeout": "300ms"}, mirror={"percent": 0.0}))
    sockets = sockets_at_rest(world)
    for size in SIZES:
        world.live.on(f"/{size}", answers.ok(bytes(size)))
        world.client(receive_buffer=4096).send(wire("GET", f"/{size}", *fields))
    world.proxy.settled()
    check_released(world, sockets)


def test_a_broken_answer_that_nobody_reads_is_given_up(make_world: MakeWorld) -> None:
    """The same where live breaks off."""
    world = make_world(settings(limits={"write_timeout": "300ms"}, mirror={"percent": 0.0}))
    sockets = sockets_at_rest(world)
    for size in SIZES:
        world.live.on(f"/{size}", answers.raw_then_close(answers.head(200, [("Content-Length", "99999999")]) + bytes(size)))
        world.client(receive_buffer=4096).send(wire("GET", f"/{size}"))
    world.proxy.settled()
    check_released(world, sockets)


# Gone.

REQUESTS: Final = {
    "sized": wire("POST", "/cut", ("X-Field", "value"), body=b"0123456789"),
    "chunked": chunked_wire("POST", "/cut", pieces=[b"01234", b"56789"], trailers="X-Sum: 1\r\n"),
    "bare": wire("GET", "/cut"),
}


@pytest.mark.parametrize("end", ["reset", "close"])
@pytest.mark.parametrize("request_wire", REQUESTS.values(), ids=REQUESTS.keys())
def test_a_client_may_leave_at_any_byte_of_its_request(make_world: MakeWorld, request_wire: bytes, end: str) -> None:
    """Whatever the byte, nothing is left over, everything is counted, and a request that is not whole never looks whole upstream."""
    world = make_world()
    sockets = sockets_at_rest(world)
    for offset in range(len(request_wire)):
        client = world.client()
        client.send(request_wire[:offset])
        if end == "reset" and offset % 2:
            # Half of them let the proxy see the bytes first.
            client.is_quiet(0.002)
        client.abort() if end == "reset" else client.close()
    world.proxy.settled()
    check_released(world, sockets)
    assert not any(request.is_complete for request in [*world.live.requests, *world.shadow.requests])
    tally = world.proxy.settled()
    counted = sum(tally["routes"]["all"]["responses"].values())
    assert counted == tally["mirrors"][MIRROR]["eligible"]
    assert set(tally["routes"]["all"]["responses"]) <= {"client_gone"}
    assert is_served(world)


ANSWERS: Final = {
    "sized": answers.head(200, [("Content-Length", "10"), ("X-Field", "value")]) + b"0123456789",
    "chunked": answers.head(200, [("Transfer-Encoding", "chunked")]) + b"5\r\n01234\r\n5\r\n56789\r\n0\r\nX-Sum: 1\r\n\r\n",
    "until the end": answers.head(200) + b"0123456789",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
def test_a_client_may_leave_at_any_byte_of_its_answer(make_world: MakeWorld, answer: bytes) -> None:
    """However much of the answer there is: the live leg is cancelled and everything counted."""
    world = make_world()
    sockets = sockets_at_rest(world)
    for offset in range(len(answer)):
        world.live.queue(answers.hang_after(answer[:offset]))
        with world.client() as client:
            client.send(wire("GET", "/cut"))
            world.live.wait_begun("/cut", offset + 1)
            if offset % 2:
                client.is_quiet(0.002)
            client.abort()
    world.proxy.settled()
    check_released(world, sockets)
    eventually(lambda: not world.live.open_connections, "every live leg is cancelled")
    tally = world.proxy.settled()
    assert tally["routes"]["all"]["responses"] == {"client_gone": len(answer)}
    assert world.fates() == {"client_gone": len(answer)}


def test_a_client_that_closes_cancels_a_slow_live(make_world: MakeWorld) -> None:
    """ERR-01: a full close, which looks like a half-close at first, ends the live leg long before its answer is due."""
    world = make_world()
    world.live.answer = answers.hang()
    sockets = sockets_at_rest(world)
    for method, body in (("GET", b""), ("POST", b"abc")):
        client = world.client()
        client.send(wire(method, "/slow", body=body))
        world.live.wait_for("/slow")
        client.close()
        eventually(lambda: not world.live.open_connections, "the live leg is cancelled", patience_s=5.0)
        assert world.live.connections[-1].ended == "peer reset"
        world.live.requests.clear()
    world.proxy.settled()
    check_released(world, sockets)
    assert world.proxy.tally["routes"]["all"]["responses"] == {"client_gone": 2}


@pytest.mark.parametrize("pause_s", [0.0, 1.0])
def test_a_half_closed_client_gets_its_answer(make_world: MakeWorld, pause_s: float) -> None:
    """A client that sends FIN behind its request and keeps reading is no client that left."""
    world = make_world()
    world.live.answer = answers.ok(b"patience", pause_s=pause_s)
    with world.client() as client:
        client.send(wire("POST", "/half", body=b"abc"))
        client.half_close()
        assert client.response("POST").body == b"patience"
        client.expect_end()
    assert world.fates() == {"paired": 1}


def test_a_half_closed_client_gets_all_its_answers(make_world: MakeWorld) -> None:
    """The same for requests that were pipelined ahead of the FIN; what is not whole is dropped."""
    world = make_world()
    world.live.answer = answers.ok(b"one of them", pause_s=0.02)
    for tail in (b"", b"GET /cut HT", wire("POST", "/cut", body=b"abc")[:-1]):
        with world.client() as client:
            client.send(wire("GET", "/many") * 5 + tail)
            client.half_close()
            assert [client.response().body for _ in range(5)] == [b"one of them"] * 5
            client.expect_end()
    assert len(world.live.seen("/many")) == 15
    assert not any(request.is_complete for request in world.live.seen("/cut"))


# Too many.


def test_a_pipeline_that_nobody_reads_stops(make_world: MakeWorld) -> None:
    """Ten thousand requests ahead of the first answer read: memory stays, and the answers come in order."""
    count = 10_000
    world = make_world(settings(mirror={"percent": 0.0}))
    world.live.answer = numbered
    before = rss_bytes(world.proxy.pid)
    requests = b"".join(wire("GET", f"/?{number}", ("X-Padding", "x" * 500)) for number in range(count))
    with world.client(receive_buffer=4096) as client:
        sender = threading.Thread(target=client.send, args=(requests,), daemon=True)
        sender.start()
        begun = [0, 0]
        eventually(lambda: is_still(begun, len(world.live.requests)), "the proxy begins no more requests")
        assert begun[0] < count, "the proxy answers ahead of a client that does not read"
        for number in range(count):
            assert client.response().body == b"%01000d" % number
        sender.join()
    assert peak_rss_bytes(world.proxy.pid) - before < SLACK_BYTES


def numbered(turn: Turn) -> None:
    """A thousand digits: the number after the question mark."""
    turn.send(answers.head(200, [("Content-Length", "1000")]) + b"%01000d" % int(turn.request.target.partition("?")[2]))
