"""The worker's end of the socket to control."""

from __future__ import annotations

from typing import Any, cast

import pytest

from shadowproxy.dataplane.link import BACKLOG_LIMIT, Link
from shadowproxy.dataplane.messages import Decoder, encode
from tests.dataplane.room import FakeTransport


class Worker:
    """What a link tells."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.is_alone = False
        self.transport = FakeTransport("")
        self.link = Link(self.messages.append, self._gone)
        self.link.connection_made(cast("Any", self.transport))

    def _gone(self) -> None:
        self.is_alone = True


def test_frames_are_carried_out_in_order() -> None:
    """Also several of one read, and one of several."""
    worker = Worker()
    wire = encode({"type": "a"}) + encode({"type": "b"}) + encode({"type": "c"})
    worker.link.data_received(wire[:20])
    worker.link.data_received(wire[20:])
    assert [message["type"] for message in worker.messages] == ["a", "b", "c"]


def test_a_frame_that_cannot_be_read_ends_the_link() -> None:
    """And so the worker: what control says next cannot be trusted to begin anywhere."""
    worker = Worker()
    worker.link.data_received(b"\0\0\0\x02[]")
    assert worker.transport.is_aborted
    assert worker.messages == []
    worker.link.connection_lost(None)
    assert worker.is_alone


def test_what_is_sent_is_one_frame_each() -> None:
    """And nothing once the socket is closing."""
    worker = Worker()
    worker.link.send({"type": "ready", "pid": 1})
    assert Decoder().feed(bytes(worker.transport.written)) == [{"type": "ready", "pid": 1}]
    worker.transport.close()
    worker.transport.written.clear()
    worker.link.send({"type": "tally"})
    assert not worker.transport.written


@pytest.mark.parametrize(("unsent", "is_closed", "is_backed_up"), [(0, False, False), (BACKLOG_LIMIT + 1, False, True), (0, True, True)])
def test_a_control_that_does_not_read_gets_no_tallies(unsent: int, is_closed: bool, is_backed_up: bool) -> None:
    """They add up in the worker instead, where they cost nothing more."""
    worker = Worker()
    worker.transport.unsent = unsent
    worker.transport.is_closed = is_closed
    assert worker.link.is_backed_up is is_backed_up
