"""Endpoints of the live fleet that fail: what the client is told, what is tried again, and what never is."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config import load_text
from shadowproxy.dataplane.deadlines import Deadlines
from shadowproxy.dataplane.forward import FleetRuntime
from shadowproxy.dataplane.response_head import ResponseHeads
from tests.adversity.leftovers import check_released, sockets_at_rest
from tests.adversity.peers import Banner, black_hole, storm
from tests.kit import Origin, Truncated, answers, settings
from tests.kit.client import chunked_wire, wire
from tests.kit.network import refused_address
from tests.kit.process import eventually
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeWorld
    from tests.kit import World
    from tests.kit.origin import Answer, Turn

PATIENCE = {"connect_timeout": "300ms", "header_timeout": "400ms", "idle_timeout": "400ms"}
"""A live fleet that is given up soon."""


@pytest.fixture
def origins() -> Iterator[list[Origin]]:
    """Three endpoints that say which one they are."""
    three = [Origin(f"live{number}") for number in range(3)]
    for origin in three:
        origin.answer = answers.ok(origin.name.encode())
    yield three
    for origin in three:
        origin.stop()


def problem(response: Any) -> tuple[int, str]:
    """Status and code of a problem document."""
    assert response.one("Content-Type") == "application/problem+json"
    return response.status, json.loads(response.body)["code"]


def responses(world: World) -> dict[str, int]:
    """What the route's clients were answered, settled."""
    counted: dict[str, int] = world.proxy.settled()["routes"]["all"]["responses"]
    return counted


# One endpoint.


@pytest.mark.parametrize(
    ("answer", "expected", "outcome"),
    [
        pytest.param(answers.close(), (502, "upstream_reset"), "reset", id="closes"),
        pytest.param(answers.reset(), (502, "upstream_reset"), "reset", id="resets"),
        pytest.param(answers.raw_then_close(b"HTTP/1.1 200 OK\r\nX"), (502, "upstream_reset"), "reset", id="cut inside the head"),
        pytest.param(answers.hang(), (504, "upstream_timeout"), "timeout", id="hangs"),
        pytest.param(answers.hang_after(b"HTTP/1.1 200 OK\r\nX"), (504, "upstream_timeout"), "timeout", id="hangs inside the head"),
        pytest.param(answers.raw(b"220 mail.example\r\n\r\n"), (502, "upstream_malformed"), "malformed", id="no HTTP"),
        pytest.param(answers.raw(answers.head(101)), (502, "upstream_malformed"), "malformed", id="101 unasked"),
        pytest.param(storm(answers.head(103), 200), (502, "upstream_malformed"), "malformed", id="103 storm"),
        pytest.param(answers.raw(answers.head(200, [("Content-Length", "1"), ("Content-Length", "2")]) + b"ok"), (502, "upstream_malformed"), "malformed", id="two lengths"),
    ],
)  # fmt: skip
def test_no_answer_is_a_clear_problem(make_world: MakeWorld, answer: Answer, expected: tuple[int, str], outcome: str) -> None:
    """The client is told what happened, its connection serves the next request, and a failing live is evidence like any other."""
    world = make_world(settings(live=PATIENCE))
    sockets = sockets_at_rest(world)
    with world.client() as client:
        for method, body in (("GET", b""), ("POST", b"abc"), ("HEAD", b"")):
            world.live.on("/faulty", answer)
            response = client.request(method, "/faulty", body=body)
            assert response.status == expected[0]
            if method != "HEAD":
                assert problem(response) == expected
            assert client.get("/well").status == 200
    assert responses(world) == {outcome: 3, "200": 3}
    assert world.fates() == {"paired": 6}
    assert world.proxy.tally["mirrors"][MIRROR]["matrix"] == {f"{outcome},200": 3, "200,200": 3}
    check_released(world, sockets)


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """The URL of an endpoint that refuses connections."""
    yield "http://{}:{}".format(*refused_address())


@contextlib.contextmanager
def speaking_first() -> Iterator[str]:
    """An endpoint that sends before it is asked."""
    with Banner(b"220 mail.example ready\r\n") as banner:
        yield banner.url


@pytest.mark.parametrize(
    ("endpoint", "expected"),
    [
        pytest.param(refusing, {(502, "upstream_refused")}, id="refuses"),
        pytest.param(black_hole, {(504, "upstream_connect_timeout")}, id="black hole"),
        pytest.param(speaking_first, {(502, "upstream_reset"), (502, "upstream_malformed")}, id="speaks first"),
    ],
)
def test_no_connection_is_a_clear_problem(make_world: MakeWorld, endpoint: Any, expected: set[tuple[int, str]]) -> None:
    """The same where no connection comes about; the request is mirrored all the same."""
    with endpoint() as url:
        world = make_world(settings(live={**PATIENCE, "endpoints": [url]}))
        with world.client() as client:
            for _ in range(3):
                assert problem(client.get("/a")) in expected
                assert problem(client.request("POST", "/a", body=b"abc")) in expected
        assert world.fates() == {"paired": 6}


def test_an_upload_to_a_dead_live_is_answered(make_world: MakeWorld) -> None:
    """502 comes while the body is still being sent; the connection ends after it, for its framing is open."""
    with refusing() as url:
        world = make_world(settings(live={**PATIENCE, "endpoints": [url]}))
        for request in (wire("POST", "/a", body=bytes(1_000_000)), chunked_wire("POST", "/a", pieces=[bytes(100_000)] * 10)):
            with world.client() as client:
                client.send(request[:200_000])
                assert client.response("POST").status == 502
                client.remainder()
        world.proxy.settled()


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(answers.hang_after(answers.head(200, [("Content-Length", "9")]) + b"abc"), id="silence in a sized body"),
        pytest.param(answers.hang_after(answers.head(200, [("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n"), id="silence in chunks"),
        pytest.param(answers.hang_after(answers.head(200) + b"abc"), id="silence in a body until the end"),
        pytest.param(answers.raw_then_reset(answers.head(200, [("Content-Length", "9")]) + b"abc"), id="reset in a sized body"),
        pytest.param(answers.raw_then_reset(answers.head(200, [("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n"), id="reset in chunks"),
        pytest.param(answers.raw_then_reset(answers.head(200) + b"abc"), id="reset in a body until the end"),
        pytest.param(answers.raw_then_close(answers.head(200, [("Content-Length", "9")]) + b"abc"), id="end in a sized body"),
        pytest.param(answers.raw_then_close(answers.head(200, [("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n"), id="end in chunks"),
    ],
)
@pytest.mark.parametrize("version", ["1.1", "1.0"])
def test_an_answer_that_breaks_off_never_looks_whole(make_world: MakeWorld, answer: Answer, version: str) -> None:
    """After the head the truth is a broken connection: for every framing and for HTTP/1.0 clients, too."""
    world = make_world(settings(live=PATIENCE))
    world.live.on("/faulty", answer)
    with world.client() as client:
        client.send(f"GET /faulty HTTP/{version}\r\nHost: shop.example\r\n\r\n".encode())
        with pytest.raises(Truncated):
            client.response(version=version)
    counted = responses(world)
    assert sum(counted.values()) == 1
    assert set(counted) <= {"truncated", "timeout"}
    mirror = world.proxy.tally["mirrors"][MIRROR]
    assert mirror["fates"] == {"paired": 1}
    assert mirror["bodies"] == {"equal": 0, "different": 0, "unknown": 1}


def test_broken_chunks_never_look_whole(make_world: MakeWorld) -> None:
    """502 where they come with the head, so that nothing has been sent yet; else a connection that breaks off."""
    world = make_world()
    start = answers.head(200, [("Transfer-Encoding", "chunked")]) + b"3\r\nabc\r\n"
    world.live.on("/at-once", answers.raw(start + b"zzz\r\n"))
    world.live.on("/later", answers.in_turn(breaks_its_chunks(start)))
    with world.client() as client:
        assert problem(client.get("/at-once")) == (502, "upstream_malformed")
        client.send(wire("GET", "/later"))
        stream = client.stream()
        next(stream)
        with pytest.raises(Truncated):
            list(stream)
    assert sum(responses(world).values()) == 2
    bodies = world.proxy.tally["mirrors"][MIRROR]["bodies"]
    assert bodies == {"equal": 0, "different": 0, "unknown": 2}


def breaks_its_chunks(start: bytes) -> Answer:
    """A good beginning, and garbage once the proxy has read it."""

    def answer(turn: Turn) -> None:
        turn.send(start)
        turn.pause(0.3)
        turn.send(b"zzz\r\n")

    return answer


def test_a_total_timeout_ends_a_stream(make_world: MakeWorld) -> None:
    """`timeout` bounds an answer that never falls silent."""
    world = make_world(settings(live={"timeout": "500ms"}))
    world.live.answer = answers.chunked([b"x"] * 1000, pause_s=0.02)
    with world.client() as client, pytest.raises(Truncated):
        client.get("/")
    assert responses(world) == {"timeout": 1}


# Again, or never again.


def swallow(turn: Turn) -> None:
    """Reads the whole request and hangs up without a byte."""
    turn.read_body()
    turn.close()


@pytest.mark.parametrize("how", [answers.close(), answers.reset()])
@pytest.mark.parametrize(
    ("method", "body", "attempts"),
    [
        ("GET", b"", 2),
        ("HEAD", b"", 2),
        ("OPTIONS", b"", 2),
        ("POST", b"abc", 1),
        ("PUT", b"abc", 1),
        ("DELETE", b"", 1),
        ("PATCH", b"abc", 1),
    ],
)
def test_only_a_safe_request_on_a_used_connection_is_tried_again(
    make_world: MakeWorld, method: str, body: bytes, attempts: int, how: Answer
) -> None:
    """ERR-03: a kept connection that is dropped unanswered: safe methods go out once more, on a fresh one; the others never."""
    world = make_world()
    with world.client() as client:
        assert client.get("/warm").status == 200
        world.live.on("/drop", answers.in_turn(how, answers.ok()))
        response = client.request(method, "/drop", body=body)
        assert response.status == (200 if attempts == 2 else 502)
    world.proxy.settled()
    seen = world.live.seen("/drop")
    assert len(seen) == attempts
    assert world.fates() == {"paired": 2}
    assert len(world.shadow.seen("/drop")) == 1
    if attempts == 2:
        assert seen[0].connection != seen[1].connection


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_fresh_connection_that_drops_is_not_tried_again(make_world: MakeWorld, method: str) -> None:
    """The endpoint failed: asking twice would double every failure."""
    world = make_world()
    world.live.answer = swallow
    with world.client() as client:
        assert client.request(method, "/drop").status == 502
    assert len(world.live.seen("/drop")) == 1


def test_a_request_is_tried_again_once(make_world: MakeWorld) -> None:
    """Two drops in a row are an answer."""
    world = make_world()
    with world.client() as client:
        assert client.get("/warm").status == 200
        world.live.on("/drop", swallow)
        assert client.get("/drop").status == 502
    assert len(world.live.seen("/drop")) == 2


def test_what_has_answered_a_byte_is_not_tried_again(make_world: MakeWorld) -> None:
    """A single byte of an answer shows that the request was taken in."""
    world = make_world()
    with world.client() as client:
        assert client.get("/warm").status == 200
        world.live.on("/drop", answers.raw_then_close(b"H"))
        assert client.get("/drop").status == 502
    assert len(world.live.seen("/drop")) == 1


def test_kept_connections_that_live_closes_are_not_used(make_world: MakeWorld) -> None:
    """An endpoint that restarts costs no request, not even one that may not be repeated."""
    live = Origin("live")
    world = make_world(settings(), live=live)
    with world.client() as client:
        for _ in range(5):
            assert client.request("POST", "/a", body=b"abc").status == 200
            live.stop()
            live = Origin("live", address=live.address)
            world.live = live
            eventually(lambda: idle(world) == 0, "the worker has noticed")


def idle(world: World) -> int:
    """Idle connections to live."""
    world.proxy.settled()
    return sum(endpoint["idle"] for endpoint in world.proxy.tally["fleets"]["live"].values())


# Several endpoints.


def ask_for(world: World, count: int, path: str = "/a") -> list[bytes]:
    """The bodies of so many answers, each 200, on one connection."""
    with world.client() as client:
        bodies = []
        for _ in range(count):
            response = client.get(path)
            assert response.status == 200
            bodies.append(response.body)
        return bodies


def fleet(origins: list[Origin], *more: str, **options: Any) -> dict[str, Any]:
    """A live fleet of these endpoints."""
    return {"endpoints": [*(origin.url for origin in origins), *more], **PATIENCE, **options}


def ejected(world: World) -> set[str]:
    """URLs of the live endpoints that are left out."""
    endpoints = world.proxy.tally.get("fleets", {}).get("live", {})
    return {url for url, endpoint in endpoints.items() if endpoint["is_ejected"]}


@pytest.mark.parametrize("endpoint", [refusing, black_hole])
@pytest.mark.parametrize("balance", ["round_robin", "least_outstanding"])
def test_one_dead_endpoint_costs_no_request(make_world: MakeWorld, origins: list[Origin], endpoint: Any, balance: str) -> None:
    """What was never sent is sent elsewhere: every request is answered, and the dead endpoint is left out after a few."""
    with endpoint() as url:
        world = make_world(settings(live=fleet(origins[:2], url, balance=balance, eject={"failures": 3, "period": "60s"})))
        assert set(ask_for(world, 30)) == {b"live0", b"live1"}
        eventually(lambda: ejected(world) == {url}, "the dead endpoint is left out")
        assert responses(world) == {"200": 30}
        connects = world.proxy.tally["fleets"]["live"][url]["failures"]
        assert sum(connects.values()) in range(3, 6), connects


async def test_one_dead_address_of_a_name_costs_no_request(origins: list[Origin]) -> None:
    """A name with several addresses works while one of them does: an address that swallows handshakes has its share of the time only."""
    host, port = origins[0].address
    with black_hole(("127.0.0.7", port)):
        config = load_text(SEVERAL_ADDRESSES.format(port=port)).config
        fleet = FleetRuntime(config.fleets["live"], Deadlines(0), ResponseHeads())
        endpoint = fleet.endpoints[0]
        endpoint.addresses._found = [(socket.AF_INET, "127.0.0.7"), (socket.AF_INET, host)]
        endpoint.addresses._resolved_at = time.monotonic()
        for connects in range(1, 4):
            await endpoint._open()
            assert endpoint.connects == connects
        assert not endpoint.failures
        fleet.close()


SEVERAL_ADDRESSES = """
listen: ["127.0.0.1:1"]
fleets: {{live: {{endpoints: ["http://several.example:{port}"], connect_timeout: 500ms}}}}
routes: [{{live: live}}]
"""


def test_an_ejected_endpoint_returns(make_world: MakeWorld, origins: list[Origin]) -> None:
    """After its period it is tried again, and has its share."""
    address = origins[2].address
    world = make_world(settings(live=fleet(origins, balance="round_robin", eject={"failures": 2, "period": "300ms"})))
    assert set(ask_for(world, 6)) == {b"live0", b"live1", b"live2"}
    origins[2].stop()
    assert set(ask_for(world, 20)) <= {b"live0", b"live1"}
    eventually(lambda: ejected(world) == {origins[2].url}, "it is left out")
    origins[2] = Origin("live2", address=address)
    origins[2].answer = answers.ok(b"again")
    eventually(lambda: b"again" in ask_for(world, 3), "it is back")
    eventually(lambda: not ejected(world), "nobody is left out")


def test_with_all_endpoints_dead_every_request_ends(make_world: MakeWorld) -> None:
    """Each endpoint is tried at most once a request: no storm of connections, and a clear answer."""
    urls = ["http://{}:{}".format(*refused_address()) for _ in range(3)]
    world = make_world(settings(live={**PATIENCE, "endpoints": urls}))
    with world.client() as client:
        for _ in range(10):
            assert problem(client.get("/a")) == (502, "upstream_refused")
    failures = [endpoint["failures"]["refused"] for endpoint in world.proxy.settled()["fleets"]["live"].values()]
    assert sum(failures) == 30, failures


def test_an_endpoint_that_closes_after_each_answer_is_well(make_world: MakeWorld, origins: list[Origin]) -> None:
    """Failures count in a row only: whole answers in between begin the row anew, kept connection or not."""
    live = origins[0]
    world = make_world(settings(live=fleet([live], eject={"failures": 2, "period": "60s"})))
    good = answers.raw_then_close(answers.head(200, [("Content-Length", "2"), ("Connection", "close")]) + b"ok")
    with world.client() as client:
        for _ in range(5):
            live.queue(answers.reset(), good)
            assert client.get("/a").status == 502
            assert client.get("/a").status == 200
    world.proxy.settled()
    assert not ejected(world)


def test_failures_together_eject_once(make_world: MakeWorld, origins: list[Origin]) -> None:
    """A burst of failures at once is one event: the endpoint is out for one period, not for ten."""
    world = make_world(settings(live=fleet(origins[:2], balance="round_robin", eject={"failures": 2, "period": "1s"})))
    origins[1].on("/burst", answers.hang())
    clients = [world.client() for _ in range(40)]
    for client in clients:
        client.send(wire("GET", "/burst"))
    for client in clients:
        assert client.response().status in (200, 504)
    eventually(lambda: b"live1" in ask_for(world, 2), "it is back soon", patience_s=6.0)


def test_round_robin_takes_turns(make_world: MakeWorld, origins: list[Origin]) -> None:
    """Each of three gets each third request."""
    world = make_world(settings(live=fleet(origins, balance="round_robin")))
    bodies = ask_for(world, 30)
    assert {body: bodies.count(body) for body in bodies} == {b"live0": 10, b"live1": 10, b"live2": 10}
    assert all(len(set(bodies[at : at + 3])) == 3 for at in range(0, 30, 3))


def test_least_outstanding_spares_the_busy(make_world: MakeWorld, origins: list[Origin]) -> None:
    """An endpoint that is slow to answer gets no more than its share of the waiting."""
    release = 5
    origins[0].answer = answers.ok(b"live0", pause_s=0.3)
    world = make_world(settings(live=fleet(origins, balance="least_outstanding", header_timeout="10s")))
    clients = [world.client() for _ in range(release)]
    for client in clients:
        client.send(wire("GET", "/slow"))
    eventually(lambda: sum(len(origin.seen("/slow")) for origin in origins) == release, "all are under way or answered")
    busy = len(origins[0].seen("/slow"))
    bodies = [ask_for(world, 1)[0] for _ in range(10)] if origins[0].open_connections else []
    for client in clients:
        assert client.response().status == 200
    assert busy <= 3
    assert bodies.count(b"live0") <= 2
