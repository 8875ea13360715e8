"""Backpressure in the orders of events that sockets seldom show: who is blocked is waited for, bounded and not blamed."""

from __future__ import annotations

import time

from tests.dataplane.stage import GET, OK, Stage, pipe

BIG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 200_000
UPGRADE = b"GET /a HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
SWITCHED = b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"


def test_a_client_that_pipelines_without_end_is_read_no_faster_than_it_is_answered() -> None:
    """What is kept does not grow with the number of requests answered."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    burst = GET * 2000
    client.data_received(burst)
    for _ in range(50):
        if not pipe(client).is_reading_paused:
            client.data_received(burst)
        live.data_received(OK)
    assert pipe(client).is_reading_paused
    assert len(client._pending) < 65_536 + 2 * len(burst)
    # It is read on once what was kept has been used up.
    while pipe(client).is_reading_paused:
        live.data_received(OK)
    assert len(client._pending) <= 65_536


def test_an_endpoint_whose_answer_blocks_the_client_at_once_is_not_timed() -> None:
    """A client that reads slowly is watched by write_timeout, not by the endpoint's idle timeout."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    pipe(client).is_stuck = True
    client.data_received(GET)
    live.data_received(BIG)
    assert pipe(live).is_reading_paused
    assert live.deadline_ns == 0
    assert client.deadline_ns
    pipe(client).drain()
    assert not pipe(live).is_reading_paused
    assert live.deadline_ns


def test_a_total_timeout_that_ran_out_while_the_client_was_blocked_still_ends_the_answer() -> None:
    """No connection goes unwatched."""
    stage = Stage(mirror={"percent": 0}, live={"timeout": "1s"})
    live = stage.connection("live")
    client = stage.client()
    pipe(client).is_stuck = True
    client.data_received(GET)
    live.data_received(BIG)
    exchange = client.exchange
    assert exchange is not None
    # As if it had been dispatched ten seconds ago.
    exchange.dispatched_ns -= 10 * 10**9
    pipe(client).drain()
    stage.worker.tick(time.monotonic_ns() + 2 * 10**8, 0)
    assert pipe(live).is_aborted
    assert pipe(client).is_closed


def test_a_connection_got_while_the_client_is_blocked_is_not_read() -> None:
    """An interim answer of ours can fill the buffer before there is a connection whose reading could be paused."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    endpoint = live.endpoint
    endpoint.idle.clear()
    endpoint.opening = 1
    pipe(client).is_stuck = True
    pipe(client).unsent = 65_530
    client.data_received(b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
    client.on_deadline(time.monotonic_ns())
    assert client.is_write_blocked
    endpoint._serve(live)
    assert pipe(live).is_reading_paused
    pipe(client).drain()
    assert not pipe(live).is_reading_paused


def test_a_tunnel_that_begins_with_a_blocked_client_has_a_deadline() -> None:
    """A client that never reads what came with the 101 is cut off after write_timeout."""
    stage = Stage()
    live = stage.connection("live")
    client = stage.client()
    pipe(client).is_stuck = True
    client.data_received(UPGRADE)
    live.data_received(SWITCHED + b"x" * 100_000)
    assert pipe(live).is_reading_paused
    assert client.deadline_ns
    client.on_deadline(client.deadline_ns)
    assert pipe(client).is_aborted


def test_an_idle_client_that_still_reads_its_last_answer_is_not_cut_off() -> None:
    """The idle timeout is about requests that do not come, not about answers that take long."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    pipe(client).is_stuck = True
    client.data_received(GET)
    live.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 30000\r\n\r\n" + b"x" * 30_000)
    now_ns = time.monotonic_ns()
    client.on_deadline(now_ns)
    pipe(client).unsent -= 10_000
    client.on_deadline(now_ns)
    assert not pipe(client).is_aborted
    # It has stopped reading.
    client.on_deadline(now_ns)
    assert pipe(client).is_aborted
