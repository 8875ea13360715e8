"""Offering a request to mirrors: whatever goes wrong there, live goes on and every request has a fate."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.mirroring import leave_out
from shadowproxy.dataplane.tee import Copy, Tee
from tests.dataplane.room import ANSWER, REQUEST, Room


def test_a_copy_that_cannot_start_costs_itself(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """A defect in a copy is counted as one; the client has its answer."""

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("broken")

    monkeypatch.setattr(Copy, "start", broken)
    client, live = room.client(), room.upstream("live")
    client.says(REQUEST)
    live.says(ANSWER)
    assert client.heard.endswith(b"ok")
    assert room.fates() == {"shed_error": 1}
    assert room.worker.errors == 1


def test_a_capture_that_fails_costs_no_copy(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pair is compared all the same."""

    def broken(*_: object) -> bool:
        raise RuntimeError("broken")

    monkeypatch.setattr(Tee, "wants_capture", broken)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    shadow.says(ANSWER)
    assert room.fates() == {"paired": 1}


@pytest.mark.parametrize("fate", [outcome.INJECTED, outcome.SERVED_ELSEWHERE])
def test_what_is_left_out_is_counted(room: Room, fate: int) -> None:
    """A request that is not live's own is eligible, and ends under its reason."""
    client = room.client()
    client.says(REQUEST)
    room.fates()
    exchange = client.connection.exchange  # type: ignore[union-attr]
    assert exchange is not None
    leave_out(exchange, room.worker.policy.routes[0].mirrors, fate)
    assert room.fates() == {outcome.FATES[fate]: 1}
