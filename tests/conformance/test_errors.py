"""ERR: what happens when a client or an upstream fails (RFC 9110 sections 9.2.2 and 15.6)."""

from __future__ import annotations

import itertools
import json
from typing import TYPE_CHECKING

import pytest

from tests.kit import Response, World, answers, settings
from tests.kit.client import wire
from tests.kit.network import HOST, free_port
from tests.kit.process import eventually

if TYPE_CHECKING:
    from tests.conftest import MakeWorld
    from tests.kit.origin import Answer


def _is_problem(answer: Response, status: int) -> None:
    """Assert that an answer is a problem document of ours that gives nothing away."""
    assert answer.status == status, answer
    assert answer.one("Content-Type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == status
    assert problem["code"]
    assert b"Traceback" not in answer.body
    assert b".py" not in answer.body


@pytest.mark.requirement("ERR-01")
@pytest.mark.parametrize("way", ["reset", "close", "close mid-answer"])
def test_a_client_that_leaves_cancels_live(world: World, way: str) -> None:
    """When the client is gone the live call is given up, before its answer or, at its next byte, inside of it.

    Inside an answer a FIN alone says nothing: a client may half-close and read on. The next byte tells.
    """
    is_begun = way == "close mid-answer"
    if is_begun:
        world.live.on("/gone", answers.drip(answers.head(200, [("Content-Length", "100000")]) + b"x" * 100000))
    else:
        world.live.on("/gone", answers.hang())
    with world.client() as client:
        client.send(wire("GET", "/gone"))
        seen = world.live.wait_begun("/gone")
        if is_begun:
            next(client.stream())
        if way == "reset":
            client.abort()
    eventually(lambda: not world.live.connections[seen.connection].is_open, "the live call ends with its client")


@pytest.mark.requirement("ERR-01")
def test_a_client_that_leaves_is_counted(make_world: MakeWorld) -> None:
    """Its request is client_gone in the comparison, never a pair."""
    world = make_world()
    world.live.answer = answers.hang()
    with world.client() as client:
        client.send(wire("GET", "/gone"))
        world.legs("/gone")
        client.abort()
    eventually(lambda: not world.live.open_connections, "the live call ends with its client")
    assert world.fates() == {"client_gone": 1}


@pytest.mark.requirement("ERR-02")
def test_a_refused_connection_is_502(make_world: MakeWorld) -> None:
    """Nobody listens: 502, and the client's connection lives on."""
    world = make_world(settings(live={"endpoints": [f"http://{HOST}:{free_port()}"]}))
    with world.client() as client:
        _is_problem(client.get("/refused"), 502)
        _is_problem(client.request("POST", "/refused", body=b"abc"), 502)
    world.shadow.wait_for("/refused", 2)


@pytest.mark.requirement("ERR-02")
@pytest.mark.parametrize("answer", [answers.close(), answers.reset(), answers.raw_then_close(b"HTTP/1.1 200 O")])
def test_an_upstream_that_hangs_up_is_502(world: World, answer: Answer) -> None:
    """The end before a head is complete: 502."""
    world.live.answer = answer
    with world.client() as client:
        _is_problem(client.request("POST", "/hang-up", body=b"abc"), 502)


@pytest.mark.requirement("ERR-02")
@pytest.mark.parametrize("fleet", [{"header_timeout": "200ms"}, {"timeout": "200ms"}])
def test_an_upstream_that_keeps_silent_is_504(make_world: MakeWorld, fleet: dict[str, str]) -> None:
    """No answer within the fleet's limits: 504, and the upstream connection is given up."""
    world = make_world(settings(live=fleet))
    world.live.answer = answers.hang()
    with world.client() as client:
        _is_problem(client.get("/silent"), 504)
    eventually(lambda: not world.live.open_connections, "the upstream connection ends")


@pytest.mark.requirement("ERR-02")
@pytest.mark.parametrize("fleet", [{"idle_timeout": "200ms"}, {"timeout": "300ms"}])
def test_silence_inside_an_answer_is_an_abort(make_world: MakeWorld, fleet: dict[str, str]) -> None:
    """After the head was sent the truth is a broken connection."""
    world = make_world(settings(live=fleet))
    world.live.answer = answers.hang_after(answers.head(200, [("Content-Length", "10")]), b"part")
    with world.client() as client:
        client.send(wire("GET", "/stalls"))
        assert client.remainder().endswith(b"part")


@pytest.mark.requirement("ERR-02")
def test_no_route_is_a_problem_of_ours(make_world: MakeWorld) -> None:
    """A request that no route takes is answered 404 and goes nowhere."""
    config = settings()
    config["routes"][0]["match"] = {"path": "/orders"}
    world = make_world(config)
    with world.client() as client:
        _is_problem(client.get("/elsewhere"), 404)
        assert client.get("/orders/7").status == 200
        _is_problem(client.request("POST", "/orders2", body=b"abc"), 404)
        assert client.get("/orders").status == 200
    assert not world.live.seen("/elsewhere")
    assert world.live.wait_for("/orders").connection == world.live.seen("/orders/7")[0].connection


@pytest.mark.requirement("ERR-02")
def test_no_free_connection_is_503(make_world: MakeWorld) -> None:
    """Beyond the fleet's connections and queue: 503, at once."""
    world = make_world(settings(live={"max_connections": 1, "max_waiting": 0}))
    world.live.on("/busy", answers.hang())
    with world.client() as first, world.client() as second:
        first.send(wire("GET", "/busy"))
        world.live.wait_begun("/busy")
        _is_problem(second.get("/other"), 503)


_PATHS = (f"/reused/{number}" for number in itertools.count())


def _reused(world: World, method: str, failure: Answer, body: bytes = b"") -> tuple[int, str]:
    """Make one request that succeeds, then one of `method` that meets `failure` on the reused connection; its status and path."""
    first, second = next(_PATHS), next(_PATHS)
    world.live.on(second, answers.in_turn(failure, answers.ok()))
    world.shadow.on(second, answers.in_turn(failure, answers.ok()))
    with world.client() as client:
        assert client.get(first).status == 200
        world.legs(first)
        world.proxy.settled()
        status = client.request(method, second, body=body).status
    assert world.live.seen(second)[0].connection == world.live.seen(first)[0].connection
    return status, second


@pytest.mark.requirement("ERR-03")
@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize("failure", [answers.close(), answers.reset()])
def test_what_is_not_idempotent_is_never_retried(world: World, method: str, failure: Answer) -> None:
    """Live reads the whole request and hangs up on a reused connection: one attempt, 502."""
    status, path = _reused(world, method, failure, b"abc")
    assert status == 502
    assert len(world.live.seen(path)) == 1


@pytest.mark.requirement("ERR-03")
def test_an_idempotent_request_is_retried_once_on_a_reused_connection(world: World) -> None:
    """A GET that met a connection about to close is sent again, on another one; its copy is not."""
    status, path = _reused(world, "GET", answers.close())
    assert status == 200
    assert len(world.live.seen(path)) == 2
    world.shadow.wait_for(path)
    world.proxy.settled()
    assert len(world.shadow.seen(path)) == 1, "mirrors are never retried"


@pytest.mark.requirement("ERR-03")
@pytest.mark.parametrize("failure", [answers.raw_then_close(b"HTTP/1.1 200 OK\r\n"), answers.raw_then_close(b"H")])
def test_nothing_is_retried_after_a_byte_of_an_answer(world: World, failure: Answer) -> None:
    """Once an answer has begun, the request was seen: no second attempt."""
    status, path = _reused(world, "GET", failure)
    assert status == 502
    assert len(world.live.seen(path)) == 1


@pytest.mark.requirement("ERR-03")
def test_nothing_is_retried_on_a_fresh_connection(make_world: MakeWorld) -> None:
    """A connection that never worked says nothing about timing: one attempt."""
    world = make_world()
    world.live.on("/fresh", answers.close())
    with world.client() as client:
        assert client.get("/fresh").status == 502
    assert len(world.live.seen("/fresh")) == 1


MALFORMED = [
    b"HTTP/1.1 200 OK\r\nX: a\rb\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\nY: b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\x01b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
    b"HTTP/1.1 200 OK\r\nX : a\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nabc",
    b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nab",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"HTTP/1.1 200 O\x0cK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\x7f\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 20 OK\r\n\r\n",
    b"HTTP/1.1 2000 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1 099 OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTQ/1.1 200 OK\r\n\r\n",
    b"\x15\x03\x01\x00\x02\x02\x46",
    b"SSH-2.0-OpenSSH_9.2\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: " + b"a" * 1_000_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"X: a\r\n" * 10_000 + b"\r\n",
]


@pytest.mark.requirement("ERR-05")
@pytest.mark.parametrize("raw", MALFORMED, ids=lambda raw: repr(raw[:60]))
def test_a_malformed_answer_is_502(world: World, raw: bytes) -> None:
    """Nothing of an answer that is not HTTP reaches the client, and its connection is discarded; on a shadow nobody notices."""
    bad = answers.raw_then_close(raw)
    world.live.on("/bad", bad)
    world.shadow.on("/good", bad)
    with world.client() as client:
        _is_problem(client.get("/bad"), 502)
        assert client.get("/good").body == b"ok"
        assert client.get("/good").body == b"ok"
    used = world.live.seen("/bad")[0].connection
    assert all(request.connection != used for request in world.live.seen("/good"))


@pytest.mark.requirement("ERR-05")
def test_a_malformed_answer_of_a_shadow_is_counted(make_world: MakeWorld) -> None:
    """The comparison says malformed, not match or mismatch."""
    world = make_world()
    world.shadow.answer = answers.raw_then_close(MALFORMED[0])
    with world.client() as client:
        assert client.get("/").status == 200
    assert world.fates() == {"failed_malformed": 1}


@pytest.mark.requirement("ERR-06")
@pytest.mark.parametrize(
    "raw",
    [
        b"rubbish\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\n",
    ],
)
def test_doubtful_framing_closes_the_connection(world: World, raw: bytes) -> None:
    """An error answer about framing says Connection: close, and what follows is never a request."""
    answer = world.refuses(raw + b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
    assert answer.one("Connection") == "close"
    _is_problem(answer, 400)
    assert world.untouched("/", "/smuggled")


@pytest.mark.requirement("ERR-06")
def test_a_refusal_inside_a_body_closes_the_connection(world: World) -> None:
    """A chunk that goes wrong after the request was begun: 400 to the client, an aborted request to both legs."""
    with world.client() as client:
        client.send(b"POST /mid HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        begun = [(origin, origin.wait_begun("/mid")) for origin in (world.live, world.shadow)]
        client.send(b"zzz\r\n")
        answer = client.response()
        _is_problem(answer, 400)
        assert answer.one("Connection") == "close"
        client.expect_end()
    for origin, seen in begun:
        eventually(lambda origin=origin, seen=seen: not origin.connections[seen.connection].is_open, "the upstream connection ends")  # type: ignore[misc]
        assert not seen.is_complete


@pytest.mark.requirement("ERR-06")
@pytest.mark.parametrize(
    ("fields", "status"),
    [
        (b"Via: " + b"1.1 shadowproxy," * 8 + b"\r\nContent-Length: 100\r\n", 508),
        (b"X-Test-Traffic: 1\r\nContent-Length: 99999999\r\n", 413),
    ],
)
def test_a_local_answer_before_the_body_closes_the_connection(world: World, fields: bytes, status: int) -> None:
    """A request refused by policy while its body is still to come leaves no connection on which that body could be a request (CVE-2019-20372)."""
    with world.client() as client:
        client.send(b"POST /refused HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n")
        answer = client.response()
        _is_problem(answer, status)
        assert answer.one("Connection") == "close"
        client.send(b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n")
        client.expect_end()
    assert world.untouched("/smuggled", "/refused")
