"""What the connections of a worker share. Processes are tested in tests/integration and tests/control."""

from __future__ import annotations

import json

import pytest

from shadowproxy.dataplane.messages import Decoder, encode
from shadowproxy.errors import ShadowproxyError
from tests.dataplane.room import ANSWER, INSTANCE, MIRRORED, REQUEST, Room


def test_a_report_can_be_sent_and_begins_anew(room: Room) -> None:
    """One JSON frame; deltas are counted once, gauges are what they are."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST)
    live.says(ANSWER)
    shadow.says(ANSWER)
    client.says(b"nonsense")
    (report,) = Decoder().feed(encode(room.worker.report()))
    assert report["type"] == "tally"
    assert report["routes"]["all"]["responses"] == {"200": 1}
    assert report["mirrors"]["all/shadow"]["fates"] == {"paired": 1}
    assert report["refusals"] == {"malformed_head": 1}
    assert report["clients"] == {"accepted": 1, "open": 1, "requests": 2, "turned_away": 0}
    assert report["process"]["rss_bytes"] > 0
    again = room.worker.report()
    assert again["routes"]["all"]["responses"] == {}
    assert again["refusals"] == {}
    assert again["clients"] == {"accepted": 0, "open": 1, "requests": 0, "turned_away": 0}


def test_a_reload_keeps_counters_breakers_and_what_is_in_flight(room: Room) -> None:
    """The request goes on under the config that it began with; the tee outlives it."""
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    tee = room.worker.tees["all/shadow"]
    client.says(REQUEST)
    room.configure(MIRRORED, limits={"connections": 7})
    assert room.worker.tees["all/shadow"] is tee
    assert room.worker.limits.connections == 7
    live.says(ANSWER)
    shadow.says(ANSWER)
    assert client.heard == ANSWER
    assert room.fates() == {"paired": 1}


def test_a_config_that_cannot_be_used_changes_nothing(room: Room) -> None:
    """It is refused whole."""
    worker = room.worker
    before = (worker.policy, worker.config, worker.fleets)
    with pytest.raises((ShadowproxyError, KeyError)):
        worker.configure({"type": "policy", "generation": 2, "config": {"listen": []}, "slots": {}, "instance": "x"})
    assert (worker.policy, worker.config, worker.fleets) == before


@pytest.mark.parametrize(
    ("mark", "is_own"),
    [(b"m;by=" + INSTANCE.encode(), True), (b"x, m;by=" + INSTANCE.encode(), True), (b"m;by=other", False), (b"-", False)],
)
def test_a_worker_knows_its_own_copies(room: Room, mark: bytes, is_own: bool) -> None:
    """Among whatever other proxies have marked."""
    assert room.worker.is_own_mark(mark) is is_own


def test_requests_are_logged_as_sampled_and_refusals_always() -> None:
    """With what a reader of a log asks for, and in bounds."""
    room = Room(access_log={"path": "stdout", "sample": 1.0})
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(b"GET /a?b HTTP/1.1\r\nHost: shop.example\r\nX-Test-Traffic: 1\r\n\r\n")
    live.says(ANSWER)
    client.says(b"nonsense")
    answered, refused = room.worker.report()["access"]
    json.dumps(answered)
    expected = {
        "client": "192.0.2.1",
        "method": "GET",
        "host": "shop.example",
        "target": "/a?b",
        "route": "all",
        "outcome": "200",
        "mirrored": 1,
        "tagged": True,
    }
    assert {name: answered[name] for name in expected} == expected
    assert (refused["outcome"], refused["refused"]) == ("400", "malformed_head")
    assert room.worker.report()["access"] == []


def test_every_answer_without_a_date_gets_one(room: Room) -> None:
    """RFC 9110 section 6.6.1; one that has a date keeps it."""
    client, live = room.client(), room.upstream("live")
    room.upstream("shadow")
    client.says(REQUEST)
    live.says(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert room.worker.date_line in client.heard
