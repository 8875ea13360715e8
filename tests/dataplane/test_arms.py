"""Arms: what went to a mirror goes to its control arm too, or now and then to live once more."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.dataplane import outcome
from tests.dataplane.room import ANSWER, MIRRORED, REQUEST, Room, Side

FLEETS = {
    "live": {"endpoints": ["http://127.0.0.1:9001"]},
    "shadow": {"endpoints": ["http://127.0.0.1:9002"]},
    "stable": {"endpoints": ["http://127.0.0.1:9003"]},
}
POST = REQUEST.replace(b"GET", b"POST", 1).replace(b"\r\n\r\n", b"\r\nContent-Length: 0\r\n\r\n")


def _room(**mirror: object) -> Room:
    return Room(MIRRORED | {"mirror": [MIRRORED["mirror"][0] | {"capture": {"per_second": 1000}} | mirror]}, fleets=FLEETS)


def _reports(room: Room) -> dict[str, Any]:
    reports: dict[str, Any] = room.worker.report()["mirrors"]
    return reports


def _answer(*sides: Side) -> None:
    """Whoever was asked answers."""
    for side in sides:
        if side.heard:
            side.says(ANSWER)


def test_the_shadow_is_compared_with_the_control_arm() -> None:
    """Three answers to one request: live with each, and the shadow with the control arm."""
    room = _room(control={"to": "stable"})
    client, live, shadow, stable = room.client(), *(room.upstream(name) for name in ("live", "shadow", "stable"))
    client.says(REQUEST)
    copies = shadow.heard, stable.heard
    assert copies[0].replace(b"Mirror: shadow;", b"Mirror: shadow.control;").split(b"\r\n")[:1] == copies[1].split(b"\r\n")[:1]
    assert b"X-Shadow-Mirror: shadow.control;by=" in copies[1]
    stable.says(ANSWER)
    shadow.says(ANSWER.replace(b"200 OK", b"404 No"))
    live.says(ANSWER)
    reports = _reports(room)
    assert reports["all/shadow"]["matrix"] == {"200,404": 1}
    assert reports["all/shadow.control"]["matrix"] == {"200,200": 1}
    assert reports["all/shadow"]["versus"]["matrix"] == {"200,404": 1}
    assert (reports["all/shadow"]["versus"]["n"], reports["all/shadow.control"]["back"]["n"]) == (1, 1)
    told = [pair for message in room.worker.captured() for pair in message["pairs"]]
    assert {pair["mirror"] for pair in told} == {"all/shadow", "all/shadow.control"}
    assert len({pair["id"] for pair in told}) == 1


@pytest.mark.parametrize("mirror", [{"percent": 30}, {"methods": ["POST"]}, {"holdout": 50}])
def test_the_control_arm_gets_what_the_mirror_gets_and_nothing_else(mirror: dict[str, Any]) -> None:
    """Whatever the mirror left out is not even eligible for its arm."""
    room = _room(control={"to": "stable"}, **mirror)
    client, sides = room.client(), [room.upstream(fleet) for fleet in FLEETS]
    for number in range(60):
        client.says(POST if number % 2 else REQUEST)
        _answer(*sides)
    reports = _reports(room)
    copied = reports["all/shadow"]["fates"]["paired"]
    assert 0 < copied < 60
    assert reports["all/shadow.control"]["eligible"] == reports["all/shadow.control"]["fates"]["paired"] == copied
    assert sum(reports["all/shadow"]["versus"]["matrix"].values()) == copied


def test_an_arm_that_fails_costs_the_mirror_nothing() -> None:
    """The pair with the shadow counts; that with the arm is a failure of the arm."""
    room = _room(control={"to": "stable"})
    client, live, shadow, stable = room.client(), *(room.upstream(name) for name in ("live", "shadow", "stable"))
    client.says(REQUEST)
    live.says(ANSWER)
    shadow.says(ANSWER)
    stable.is_lost()
    reports = _reports(room)
    assert reports["all/shadow"]["fates"] == {"paired": 1}
    assert reports["all/shadow.control"]["fates"] == {"failed_reset": 1}
    assert reports["all/shadow"]["versus"]["matrix"] == {"reset,200": 1}


def test_live_is_asked_once_more_over_connections_of_its_own() -> None:
    """With the client's own credentials, marked; and never over a connection that clients' requests use."""
    room = _room(resend=100)
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(REQUEST.replace(b"\r\n\r\n", b"\r\nCookie: a=b\r\n\r\n"))
    assert live.heard.count(b"HTTP/1.1\r\n") == 1
    again = room.upstream("live:resend")
    heard = again.heard
    assert b"\r\nCookie: a=b\r\n" in heard
    assert b"X-Shadow-Mirror: shadow.resend;by=" in heard
    assert b"Cookie" not in shadow.heard
    live.says(ANSWER)
    again.says(ANSWER)
    reports = _reports(room)
    assert reports["all/shadow.resend"]["matrix"] == {"200,200": 1}
    assert "versus" not in reports["all/shadow"]


def test_only_safe_requests_are_sent_again_and_only_the_share_of_them() -> None:
    """A POST reaches live once, whatever the config says; of the rest about the share does."""
    room = _room(resend=25, methods=["GET", "POST"], in_flight=10_000)
    client, sides = room.client(), [room.upstream(fleet) for fleet in ("live", "shadow", "live:resend")]
    for number in range(400):
        client.says(POST if number % 2 else REQUEST)
        _answer(*sides)
    fates = _reports(room)["all/shadow.resend"]["fates"]
    assert abs(fates.pop("paired") - 50) <= 5, "the sequence of draws is nearly even"
    assert not fates


def test_live_is_never_busy_with_many_of_them() -> None:
    """A live that has become slow is not loaded further."""
    room = _room(resend=100)
    client = [room.client() for _ in range(20)]
    for one in client:
        one.says(REQUEST)
    assert len(room.worker.tees["all/shadow.resend"].copies) == 4
    assert room.worker.tees["all/shadow.resend"].tally.fates[outcome.SHED_IN_FLIGHT] == 16


def test_the_kill_switch_stops_arms_too() -> None:
    """Every copy is a copy."""
    room = _room(control={"to": "stable"})
    client, stable = room.client(), room.upstream("stable")
    client.says(REQUEST)
    room.worker.kill()
    assert stable.is_over
    assert not room.worker.tees["all/shadow.control"].copies
