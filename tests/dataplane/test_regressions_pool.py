"""Which connections are kept: none that the next leg could not use at once."""

from __future__ import annotations

from tests.dataplane.stage import OK, Stage, pipe

UPLOAD = b"POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n" + b"a" * 300_000


def test_a_connection_is_out_of_the_pool_as_soon_as_its_end_is_seen() -> None:
    """Between the endpoint's FIN and the end of the transport no leg gets the connection."""
    stage = Stage()
    live = stage.connection("live")
    assert not live.eof_received()
    assert not live.endpoint.idle


def test_a_connection_whose_endpoint_has_not_read_the_request_is_not_reused() -> None:
    """The next upload on it would be queued behind that request, with nobody told to wait."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    pipe(live).is_stuck = True
    client.data_received(UPLOAD)
    assert pipe(client).is_reading_paused
    live.data_received(OK)
    assert pipe(live).is_closed
    assert not live.endpoint.idle
    # The client has its answer and is read again.
    assert pipe(client).sent.endswith(b"ok")
    assert not pipe(client).is_reading_paused


def test_a_connection_that_was_blocked_for_a_while_is_reused() -> None:
    """A large upload that was read whole costs no connection."""
    stage = Stage(mirror={"percent": 0})
    live = stage.connection("live")
    client = stage.client()
    pipe(live).is_stuck = True
    client.data_received(UPLOAD)
    pipe(live).drain()
    live.data_received(OK)
    assert live in live.endpoint.idle
