"""The breaker in the orders of events that sockets seldom show: one probe at a time, and late failures are no news."""

from __future__ import annotations

from typing import Any

from tests.dataplane.stage import GET, MIRROR, OK, Stage

SECOND_NS = 10**9

POST = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"


def opened(stage: Stage) -> Any:
    """The mirror's breaker, which two failures have opened."""
    tee = stage.worker.tees[MIRROR]
    for _ in range(2):
        tee.breaker.failed(stage.now_ns, 2, SECOND_NS)
    assert tee.breaker.state == "open"
    return tee.breaker


def test_failures_of_copies_that_were_under_way_do_not_put_the_probe_off() -> None:
    """An open breaker opens no further: its pause began with the failures that opened it."""
    breaker = opened(Stage(mirror={"breaker": {"failures": 2}}))
    now_ns = breaker._open_until_ns - SECOND_NS
    for _ in range(100):
        breaker.failed(now_ns + SECOND_NS // 2, 2, SECOND_NS)
    assert not breaker.admits(now_ns + SECOND_NS - 1)
    assert breaker.admits(now_ns + SECOND_NS)


def test_a_probe_that_fails_doubles_the_pause() -> None:
    """Up to half a minute, and from the start again after a success."""
    breaker = opened(Stage(mirror={"breaker": {"failures": 2}}))
    for pause_s in (2, 4, 8, 16, 30, 30):
        at_ns = breaker._open_until_ns
        assert breaker.admits(at_ns)
        breaker.failed(at_ns, 2, SECOND_NS)
        assert breaker._open_until_ns == at_ns + pause_s * SECOND_NS
    breaker.succeeded()
    assert breaker.state == "closed"
    breaker.failed(0, 2, SECOND_NS)
    breaker.failed(1, 2, SECOND_NS)
    assert breaker._open_until_ns == 1 + SECOND_NS


def test_a_copy_that_is_given_up_makes_no_room_for_a_second_probe() -> None:
    """Only the probe itself can end the probing."""
    stage = Stage(mirror={"breaker": {"failures": 2, "period": "1s"}})
    tee = stage.worker.tees[MIRROR]
    lives = [stage.connection("live") for _ in range(3)]
    shadows = [stage.connection("shadow") for _ in range(3)]
    early = stage.client()
    early.data_received(POST)
    assert len(tee.copies) == 1
    breaker = opened(stage)
    breaker._open_until_ns = 1
    stage.client().data_received(GET)
    assert breaker.state == "half-open"
    assert len(tee.copies) == 2
    early.connection_lost(None)
    assert len(tee.copies) == 1
    assert breaker.state == "half-open"
    stage.client().data_received(GET)
    assert len(tee.copies) == 1
    for connection in (*lives, *shadows):
        if connection.leg is not None:
            connection.data_received(OK)
    assert breaker.state == "closed"
