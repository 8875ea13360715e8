"""What a client gets in place of an answer."""

from __future__ import annotations

from typing import Any

import pytest

from tests.dataplane.faultroom import FaultRoom
from tests.dataplane.room import ANSWER, REQUEST

LOGGED = {"access_log": {"path": "access.log", "sample": 1.0}}


@pytest.mark.parametrize("status", [200, 205, 299, 404, 451, 503, 599])
def test_any_status_is_an_answer(status: int) -> None:
    """Also one that has no phrase of its own; the connection lives on."""
    with FaultRoom({"abort": {"status": status}}) as room:
        client = room.client()
        for _ in range(2):
            client.says(REQUEST)
            heard = client.heard
            assert heard.startswith(b"HTTP/1.1 %d " % status)
            assert b"X-Shadowproxy-Fault: drill;abort\r\n" in heard
            assert heard.count(b"Content-Length: ") == 1
        assert not client.is_over


@pytest.mark.parametrize(("fault", "outcome", "code"), [
    ({"abort": {"status": 503}}, "503", "injected_abort"), ({"throttle": {"rate": 0.001}}, "429", "injected_throttle"),
    ({"reset": True}, "0", "injected_reset"), ({"half_close": True}, "0", "injected_close"),
])  # fmt: skip
def test_what_was_made_up_is_logged_as_such(fault: dict[str, Any], outcome: str, code: str) -> None:
    """Every one, whatever share of answers is logged."""
    with FaultRoom(fault, settings=LOGGED) as room:
        if "throttle" in fault:
            client, live = room.client(), room.upstream("live")
            client.says(REQUEST)
            live.says(ANSWER)
        client = room.client()
        client.says(REQUEST)
        record = room.worker.access[-1]
        assert (record["outcome"], record["refused"], record["route"]) == (outcome, code, "all")
        client.is_lost()


def test_a_grpc_error_is_charged_as_the_error_that_it_is() -> None:
    """Its HTTP status is 200, which no error budget would notice."""
    with FaultRoom({"abort": {"grpc": 14}}) as room:
        client = room.client()
        client.says(REQUEST)
        assert client.heard.startswith(b"HTTP/1.1 200 ")
        assert room.arm_of()["injected"] == {"503": 1}


def test_what_was_made_up_is_no_failure_of_the_route() -> None:
    """Neither an answer of its tally nor a refusal of ours."""
    with FaultRoom({"abort": {"status": 503}}) as room:
        room.client().says(REQUEST)
        report = room.worker.report()
        assert report["routes"]["all"]["responses"] == {}
        assert report["refusals"] == {}
        assert report["clients"]["requests"] == 1


def test_a_draining_worker_ends_the_connection_behind_it() -> None:
    """As with every answer."""
    with FaultRoom({"abort": {"status": 503}}) as room:
        client = room.client()
        room.worker.is_draining = True
        client.says(REQUEST)
        assert b"Connection: close\r\n" in client.heard
        assert client.transport.has_eof


def test_a_tagged_request_may_be_hit() -> None:
    """Its answer is made up as anybody's."""
    with FaultRoom({"abort": {"status": 503}}, slice={"percent": 50, "tagged": True}) as room:
        client, live = room.client(), room.upstream("live")
        client.says(REQUEST)
        live.says(ANSWER)
        assert client.heard == ANSWER
        client.says(b"GET / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: qa\r\n\r\n")
        assert client.heard.startswith(b"HTTP/1.1 503 ")


def test_over_tls_a_half_close_is_a_close() -> None:
    """TLS cannot stay half open."""
    with FaultRoom({"half_close": True}) as room:
        client = room.client(is_tls=True)
        client.says(REQUEST)
        assert client.is_over
        assert not client.transport.has_eof
        client.is_lost()
