"""A fault at work on a request: what the client sees, what upstream is asked, and that nothing of it stays behind."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.dataplane.exchange import HELD_LIMIT
from shadowproxy.dataplane.forward import FleetRuntime
from shadowproxy.logbuckets import bucket
from tests.dataplane.faultroom import FaultRoom
from tests.dataplane.room import ANSWER, REQUEST, Room

if TYPE_CHECKING:
    from tests.dataplane.room import Side

POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"
HEAD_OF_POST = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n"
CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
KEPT_10 = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"
MARK = b"X-Shadowproxy-Fault: drill;"

WAITING: dict[str, dict[str, Any]] = {"delay": {"delay": "1s"}, "hang": {"hang": "1s"}, "black_hole": {"black_hole": True}}


def _problem(client: Side) -> tuple[int, str]:
    head, _, body = client.heard.partition(b"\r\n\r\n")
    assert MARK in head
    return int(head[9:12]), json.loads(body)["code"]


# Delay.


@pytest.mark.parametrize("request_", [REQUEST, POST, CHUNKED + b"5\r\nhello\r\n0\r\n\r\n", b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", KEPT_10])
def test_a_delayed_request_goes_on_as_it_was(request_: bytes) -> None:
    """After its time, whole; its answer says that it was delayed, and the connection lives on."""
    with FaultRoom({"delay": "200ms"}) as room:
        client, live = room.client(), room.upstream("live")
        for _ in range(2):
            client.says(request_)
            room.pass_ms(199)
            assert live.heard == b""
            room.pass_ms(1)
            wire = live.heard
            assert wire.startswith(request_.split(b" ")[0])
            assert (b"hello" in wire) == (b"hello" in request_)
            live.says(ANSWER if not request_.startswith(b"HEAD") else ANSWER[:-2])
            answer = client.heard
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert MARK + b"delay\r\n" in answer
        assert not client.is_over
        assert room.faults() == {"delay": 2}
        assert room.unharmed() == {}
        assert room.responses() == {}
        assert room.arm_of()["responses"] == {"200": 2}


@pytest.mark.parametrize("fault", [{"delay": "2s"}, {"delay": "1s", "first_byte": "1s"}, {"first_byte": "2s"}])
@pytest.mark.parametrize("inject", [{}, {"endpoint": "http://127.0.0.1:9001"}])
def test_what_a_client_waits_for_is_what_its_arm_took(fault: dict[str, Any], inject: dict[str, Any]) -> None:
    """A guard on latency sees what the fault adds, wherever it adds it."""
    with FaultRoom(fault, inject=inject) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        waited_ms = 0
        while True:
            if live.heard:
                live.says(ANSWER)
            if heard := client.heard:
                break
            room.pass_ms(100)
            waited_ms += 100
        assert heard.endswith(b"ok")
        assert waited_ms >= 2000
        (last,) = [exposure["fault"]["last"] for exposure in room.exposures() if exposure["fault"]["last"]]
        assert last == {bucket(waited_ms * 10**6): 1}


def test_a_body_that_comes_during_a_delay_is_held_in_bounds() -> None:
    """Beyond them the client is not read; when the request goes on all of it goes, in order."""
    with FaultRoom({"delay": "200ms"}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (HELD_LIMIT + 9), b"x" * HELD_LIMIT, b"y" * 9)
        assert not client.transport.is_reading
        room.pass_ms(200)
        assert client.transport.is_reading
        assert live.heard.endswith(b"x" * HELD_LIMIT + b"y" * 9)
        live.says(ANSWER)


def test_a_request_behind_a_delayed_one_waits_for_it() -> None:
    """Answers are in order, also where only the first is delayed."""
    with FaultRoom({"delay": "200ms", "every": 2}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(ANSWER)
        client.says(REQUEST + REQUEST)
        live.heard  # noqa: B018  the first
        room.pass_ms(200)
        assert live.heard.count(b"GET / ") == 1
        live.says(ANSWER)
        live.says(ANSWER)
        assert client.heard.count(b"HTTP/1.1 200") == 3
        assert room.unharmed() == {"every": 2}


def test_after_a_delay_an_endpoint_may_have_no_room() -> None:
    """Then the client is told so, and the request counts as faulted."""
    with FaultRoom({"delay": "200ms"}) as room:
        client = room.client()
        room.worker.fleets["live"].max_waiting = 0
        client.says(REQUEST)
        room.pass_ms(200)
        assert client.heard.startswith(b"HTTP/1.1 503 ")
        assert room.faults() == {"delay": 1}


def test_a_fleet_that_was_reloaded_meanwhile_gets_the_request() -> None:
    """And not the one of the old config."""
    with FaultRoom({"delay": "200ms"}) as room:
        client = room.client()
        client.says(REQUEST)
        old = room.worker.fleets["live"]
        fresh = FleetRuntime(replace(old.config, endpoints=("http://127.0.0.1:9009",)), room.worker.deadlines, room.worker.response_heads)
        fresh.max_connections = 0
        room.worker.fleets["live"] = fresh
        room.pass_ms(200)
        live = room.upstream("live")
        assert live.heard
        live.says(ANSWER)
        assert client.heard


# In place of an answer.


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        ({"abort": {"status": 503}}, 503, "injected_abort"),
        ({"black_hole": True}, 504, "injected_black_hole"),
        ({"throttle": {"rate": 0.001, "status": 429}}, 429, "injected_throttle"),
    ],
)
@pytest.mark.parametrize("request_", [REQUEST, POST])
def test_a_made_up_answer_costs_the_connection_nothing(fault: dict[str, Any], status: int, code: str, request_: bytes) -> None:
    """Upstream is not asked; the client may ask again on the same connection."""
    with FaultRoom(fault) as room:
        client, live = room.client(), room.upstream("live")
        if "throttle" in fault:
            client.says(REQUEST)
            live.says(ANSWER)
            assert (client.heard, live.heard[:4]) == (ANSWER, b"GET ")
        for _ in range(2):
            client.says(request_)
            room.pass_ms(60_000 if "black_hole" in fault else 0)
            assert _problem(client) == (status, code)
        assert live.heard == b""
        assert not client.is_over
        (kind,) = fault
        assert room.faults() == {kind: 2}
        assert room.arm_of()["injected"] == {str(status): 2}


def test_a_throttle_is_shared_by_all_workers() -> None:
    """Each admits its part of the rate."""
    with FaultRoom({"throttle": {"rate": 8}}) as room:
        room.arm(4)
        client, live = room.client(), room.upstream("live")
        for _ in range(5):
            client.says(REQUEST)
            if live.heard:
                live.says(ANSWER)
        assert room.faults() == {"throttle": 3}
        assert room.unharmed() == {"throttle": 2}


@pytest.mark.parametrize(
    ("abort", "request_", "expected"),
    [
        ({"status": 418, "body": "tea", "headers": {"X-A": "b"}}, REQUEST, [b"HTTP/1.1 418 ", b"\r\nX-A: b\r\n", b"\r\nContent-Length: 3\r\n", b"\r\n\r\ntea"]),
        ({"status": 418, "body": "tea"}, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", [b"\r\nContent-Length: 3\r\n", b"\r\n\r\n"]),
        ({"status": 503}, b"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", [b"HTTP/1.1 503 ", b"\r\n\r\n"]),
        ({"status": 204}, REQUEST, [b"HTTP/1.1 204 No Content\r\n", b"\r\n\r\n"]),
        ({"status": 200}, REQUEST, [b"HTTP/1.1 200 OK\r\n", b"\r\nContent-Length: 0\r\n", b"\r\n\r\n"]),
        ({"status": 302, "headers": {"Location": "/x"}}, KEPT_10, [b"HTTP/1.1 302 ", b"\r\nConnection: keep-alive\r\n", b"\r\n\r\n"]),
        ({"status": 599}, b"GET / HTTP/1.0\r\n\r\n", [b"HTTP/1.1 599 ", b"\r\nConnection: close\r\n", b"}\n"]),
        ({"grpc": 14}, POST, [b"HTTP/1.1 200 ", b"\r\ngrpc-status: 14\r\n", b"\r\nContent-Length: 0\r\n", b"\r\n\r\n"]),
    ],
)  # fmt: skip
def test_an_abort_is_what_the_experiment_says(abort: dict[str, Any], request_: bytes, expected: list[bytes]) -> None:
    """Status, fields and body, framed for who asked."""
    with FaultRoom({"abort": abort}) as room:
        client = room.client()
        client.says(request_)
        heard = client.heard
        assert all(part in heard for part in expected), heard
        assert heard.endswith(expected[-1])
        assert heard.count(b"\r\n\r\n") == 1
        assert (b"Content-Length" in heard) == (abort["status"] != 204 if "status" in abort else True)


def test_an_abort_before_the_body_was_read_ends_the_connection() -> None:
    """What comes of the body afterwards is discarded and never taken for a request (CVE-2019-20372)."""
    with FaultRoom({"abort": {"status": 503}}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(HEAD_OF_POST)
        heard = client.heard
        assert b"Connection: close\r\n" in heard
        client.says(REQUEST[:5])
        client.says(REQUEST)
        assert client.transport.has_eof
        assert (client.heard, live.heard) == (b"", b"")


def test_pipelined_requests_are_all_aborted() -> None:
    """A thousand in one read, one answer each, in order."""
    with FaultRoom({"abort": {"status": 503}}) as room:
        client = room.client()
        client.says(REQUEST * 1000)
        assert client.heard.count(b"HTTP/1.1 503 ") == 1000
        assert room.faults() == {"abort": 1000}


@pytest.mark.parametrize(
    ("fault", "is_aborted", "has_eof", "outcome"),
    [
        ({"reset": True}, True, False, "reset"),
        ({"half_close": True}, False, True, "reset"),
        ({"hang": "1s"}, False, False, "timeout"),
    ],
)
def test_a_client_that_gets_no_answer(*, fault: dict[str, Any], is_aborted: bool, has_eof: bool, outcome: str) -> None:
    """Its connection ends without a byte, in the way that was asked for; upstream is not asked."""
    with FaultRoom(fault) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        if "hang" in fault:
            room.pass_ms(999)
            assert not client.is_over
            room.pass_ms(1)
        assert (client.heard, live.heard) == (b"", b"")
        assert (client.transport.is_aborted, client.transport.has_eof) == (is_aborted, has_eof)
        assert client.is_over or has_eof
        assert room.arm_of()["injected"] == {outcome: 1}
        client.is_lost()


def test_a_reset_does_not_destroy_answers_that_are_on_their_way() -> None:
    """They belong to earlier requests, which may be anybody's: then the end waits for them."""
    with FaultRoom({"reset": True, "every": 2}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(ANSWER)
        client.transport.unsent = 10
        client.says(REQUEST)
        assert client.is_over
        assert not client.transport.is_aborted
        client.is_lost()


# Slow uploads.


def test_a_slow_upload_goes_out_at_its_rate() -> None:
    """The head at once, the body byte by byte in its time; the answer and the next request are as ever."""
    with FaultRoom({"upload": 10}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(POST)
        assert live.heard.endswith(b"\r\n\r\n")
        for letter in b"hello":
            room.pass_ms(100)
            assert live.heard == bytes([letter])
        live.says(ANSWER)
        assert MARK + b"upload\r\n" in client.heard
        client.says(REQUEST)
        assert live.heard.startswith(b"GET / ")
        live.says(ANSWER)
        assert room.faults() == {"upload": 1}
        assert room.unharmed() == {"nothing": 1}


def test_a_slow_upload_pauses_the_client() -> None:
    """What waits is bounded; the client is read again when most of it has gone."""
    with FaultRoom({"upload": 100_000}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n", b"x" * 100_000)
        assert not client.transport.is_reading
        room.pass_ms(500)
        assert not client.transport.is_reading
        room.pass_ms(400)
        assert client.transport.is_reading
        client.says(b"y" * 100_000)
        room.pass_ms(1100)
        assert live.heard.endswith(b"x" * 100_000 + b"y" * 100_000)
        live.says(ANSWER)
        assert client.heard.startswith(b"HTTP/1.1 200")


def test_an_answer_that_overtakes_a_slow_upload_costs_its_connection() -> None:
    """EXP-02: the endpoint has not read the request, so the connection is nobody's any more."""
    with FaultRoom({"upload": 1}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(POST)
        live.heard  # noqa: B018  the head
        live.says(ANSWER)
        assert client.heard.startswith(b"HTTP/1.1 200")
        assert live.is_over
        assert live.heard == b""
        live.is_lost()


# One endpoint.

TWO = {"fleets": {"live": {"endpoints": ["http://127.0.0.1:9001", "http://127.0.0.1:9002"], "balance": "round_robin"}}}


def _at(*faults: dict[str, Any]) -> FaultRoom:
    return FaultRoom(*faults, inject={"endpoint": "http://127.0.0.1:9002", "active": 1000}, settings=TWO)


@pytest.mark.parametrize(
    "fault", [{"abort": {"status": 503}}, {"delay": "1s"}, {"truncate": 1}, {"upload": 1}, {"throttle": {"rate": 0.001}}]
)
def test_another_endpoint_is_left_alone(fault: dict[str, Any]) -> None:
    """The fault is bound to one; who gets another notices nothing."""
    with _at(fault) as room:
        for _ in range(3):
            client, live = room.client(), room.upstream("live", 0)
            room.worker.fleets["live"].endpoints[1].is_unhealthy = True
            client.says(POST)
            assert live.heard.endswith(b"hello")
            live.says(ANSWER)
            assert client.heard == ANSWER
        assert room.unharmed() == {"endpoint": 3}
        assert room.faults() == {}


@pytest.mark.parametrize("endpoints", [["http://127.0.0.1:9002/"], []])
def test_cells_confine_a_fault_to_their_endpoints(endpoints: list[str]) -> None:
    """With `domain.cells` those endpoints are hit that control names, and no other; nobody is, where it names none or has not said."""
    with FaultRoom({"truncate": 1}, inject={"active": 1000}, settings=TWO, domain={"cells": ["b"]}) as room:
        assert room.run.endpoints == frozenset({""})
        room.arm(1, endpoints=endpoints)
        for number in (0, 1):
            client, live = room.client(), room.upstream("live", number)
            room.worker.fleets["live"].endpoints[number].is_unhealthy = False
            room.worker.fleets["live"].endpoints[1 - number].is_unhealthy = True
            client.says(POST)
            assert live.heard.endswith(b"hello")
            live.says(ANSWER)
            assert (client.heard == ANSWER) == (number == 0 or not endpoints)
        assert room.unharmed() == {"endpoint": 1 if endpoints else 2}


def test_a_fault_at_an_endpoint_begins_when_it_is_chosen() -> None:
    """The delay holds a connection on which nothing is sent; an abort gives it back."""
    with _at({"delay": "200ms", "abort": {"status": 503}, "every": 2}, {"delay": "200ms"}) as room:
        room.worker.fleets["live"].endpoints[0].is_unhealthy = True
        client, live = room.client(), room.upstream("live", 1)
        client.says(REQUEST)
        live.says(ANSWER)
        client.heard, live.heard  # noqa: B018  the first
        client.says(REQUEST)
        assert live.heard == b""
        room.pass_ms(200)
        assert _problem(client) == (503, "injected_abort")
        room.pass_ms(0)
        client.says(REQUEST)
        assert live.heard.startswith(b"GET / ")
        live.says(ANSWER)


def test_many_that_wait_for_an_aborting_endpoint_are_told_one_by_one() -> None:
    """A connection that each of them gives back to the next is no recursion."""
    with _at({"abort": {"status": 503}}) as room:
        room.worker.fleets["live"].endpoints[0].is_unhealthy = True
        clients = [room.client() for _ in range(900)]
        for client in clients:
            client.says(REQUEST)
        room.upstream("live", 1)
        room.pass_ms(1)
        assert all(_problem(client) == (503, "injected_abort") for client in clients)
        assert len(room.worker.fleets["live"].endpoints[1].idle) == 1


@pytest.mark.parametrize(
    "what",
    [b"", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 408 Request Timeout\r\nContent-Length: 5\r\n\r\n"],
)
def test_a_connection_that_ends_while_it_is_held_is_replaced(what: bytes) -> None:
    """Nothing was sent on it: neither its end nor what it says unasked is the answer to the request."""
    with _at({"delay": "200ms"}) as room:
        room.worker.fleets["live"].endpoints[0].is_unhealthy = True
        client, live = room.client(), room.upstream("live", 1)
        client.says(REQUEST)
        room.pass_ms(100)
        if what:
            live.says(what)
        if not live.is_over:
            live.is_lost()
        assert client.heard == b""
        room.pass_ms(100)
        fresh = room.upstream("live", 1)
        assert fresh.heard.startswith(b"GET / ")
        fresh.says(ANSWER)
        assert client.heard.startswith(b"HTTP/1.1 200")


# Upstream fails.


def test_a_kept_connection_that_died_is_replaced_once() -> None:
    """ERR-03 holds for requests with a fault too: they must not fail more often for a reason that is not the fault."""
    with FaultRoom({"delay": "10ms"}) as room:
        client, live = room.client(), room.upstream("live")
        for _ in range(2):
            client.says(REQUEST)
            room.pass_ms(10)
            if b"200" not in client.heard:
                live.says(ANSWER)
                client.heard  # noqa: B018  the first
        client.says(REQUEST)
        room.pass_ms(10)
        live.is_lost(ConnectionResetError())
        fresh = room.upstream("live")
        assert fresh.heard.startswith(b"GET / ")
        fresh.is_lost(ConnectionResetError())
        assert client.heard.startswith(b"HTTP/1.1 502 ")


@pytest.mark.parametrize("request_", [POST, REQUEST])
def test_upstream_that_fails_before_it_answers_is_a_502(request_: bytes) -> None:
    """As without a fault; the request counts as faulted by what happened before."""
    with FaultRoom({"delay": "10ms", "upload": 1000, "truncate": 1}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(request_)
        room.pass_ms(11)
        live.is_lost(ConnectionResetError())
        assert client.heard.startswith(b"HTTP/1.1 502 ")
        assert room.arm_of()["responses"] == {"reset": 1}


# Release and cancel.


@pytest.mark.parametrize("fault", WAITING.values(), ids=WAITING)
@pytest.mark.parametrize("request_", [REQUEST, HEAD_OF_POST])
def test_what_is_held_back_goes_on_when_the_run_is_over(fault: dict[str, Any], request_: bytes) -> None:
    """At once, and unharmed from then on."""
    with FaultRoom(fault, {"truncate": 1, "upload": 1, "corrupt": {"share": 1}, "first_byte": "9s"}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(request_)
        room.pass_ms(500)
        assert live.heard == b""
        room.release()
        assert live.heard.startswith(request_[:5])
        if request_ is HEAD_OF_POST:
            client.says(b"hello")
            assert live.heard == b"hello"
        live.says(ANSWER)
        assert client.heard.endswith(b"\r\n\r\nok")
        assert not client.is_over


def test_a_slow_upload_is_finished_when_the_run_is_over() -> None:
    """What waits goes at once, and what comes later past it."""
    with FaultRoom({"upload": 1}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(HEAD_OF_POST, b"he")
        assert live.heard.endswith(b"\r\n\r\n")
        room.release()
        assert live.heard == b"he"
        client.says(b"llo")
        assert live.heard == b"llo"
        live.says(ANSWER)
        client.says(REQUEST)
        assert live.heard.startswith(b"GET / ")
        live.says(ANSWER)


@pytest.mark.parametrize(
    "fault", [*WAITING.values(), {"upload": 1}, {"first_byte": "1s"}, {"download": 1}], ids=[*WAITING, "upload", "first_byte", "download"]
)
@pytest.mark.parametrize("request_", [POST, HEAD_OF_POST])
def test_a_client_that_leaves_takes_its_fault_with_it(fault: dict[str, Any], request_: bytes) -> None:
    """No timer stays, upstream is told by a reset where it was asked, and nothing happens later."""
    with FaultRoom(fault) as room:
        client, live = room.client(), room.upstream("live")
        client.says(request_)
        asked = bool(live.heard)
        if request_ is POST and asked and "upload" not in fault:
            live.says(ANSWER[:-1])
        client.heard  # noqa: B018  what there is of an answer
        client.is_lost()
        assert live.transport.is_aborted is asked
        room.pass_ms(60_000)
        assert client.heard == live.heard == b""


def test_a_client_that_leaves_while_it_waits_for_a_connection_is_forgotten() -> None:
    """Whatever opens then is somebody else's."""
    with FaultRoom({"delay": "10ms"}) as room:
        client = room.client()
        client.says(REQUEST)
        room.pass_ms(10)
        client.is_lost()
        live = room.upstream("live")
        assert live.heard == b""
        assert len(room.worker.fleets["live"].endpoints[0].idle) == 1


def test_a_client_that_leaves_while_a_connection_is_held_gives_it_back() -> None:
    """Nothing was sent on it."""
    with _at({"delay": "1s"}) as room:
        room.worker.fleets["live"].endpoints[0].is_unhealthy = True
        client, live = room.client(), room.upstream("live", 1)
        client.says(REQUEST)
        client.is_lost()
        room.pass_ms(1)
        assert not live.is_over
        assert len(room.worker.fleets["live"].endpoints[1].idle) == 1


def test_an_injection_shows_itself() -> None:
    """The run, where it is, and what has happened."""
    with FaultRoom({"delay": "1s"}) as room:
        client = room.client()
        client.says(REQUEST)
        assert [repr(injection) for injection in room.run.injections] == ["Injection(drill, delayed, delay)"]
        client.is_lost()


def test_nothing_is_paid_where_nothing_is_armed() -> None:
    """A request of a route that no run is in has no injection."""
    room = Room({"name": "all", "live": "live"})
    client, live = room.client(), room.upstream("live")
    client.says(REQUEST)
    exchange = client.connection.exchange  # type: ignore[union-attr]
    assert exchange is not None
    assert exchange.injection is None
    live.says(ANSWER)
