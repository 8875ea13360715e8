"""Rollouts in a worker: who is served by which version, and how the halves are counted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.splits import TOLD_LIMIT, Told
from shadowproxy.policy.splits import CANARY, CONTROL, STABLE, compile_split
from tests.dataplane.room import ANSWER, MIRRORED, Room

if TYPE_CHECKING:
    from shadowproxy.dataplane import messages

FLEETS: dict[str, Any] = {
    "live": {"endpoints": ["http://127.0.0.1:9001"]},
    "v2": {"endpoints": ["http://127.0.0.1:9003"]},
    "shadow": {"endpoints": ["http://127.0.0.1:9002"]},
}
BROKEN = ANSWER.replace(b"200 OK", b"503 No")


def split(**changed: Any) -> dict[str, Any]:
    """A Split of the protocol."""
    return {
        "route": "all", "live": "live", "to": "v2", "percent": 10.0, "unit": "header:x-user", "salt": "", "pinned": [], "first": [], "denied": [],
        "epoch": 1, **changed,
    }  # fmt: skip


class Stage:
    """A room with a rollout from live to v2, and what it told control."""

    def __init__(self, *splits: dict[str, Any], **settings: Any) -> None:
        self.room = Room(*settings.pop("routes", ({"name": "all", "live": "live"},)), fleets=FLEETS, **settings)
        self.told: list[messages.Message] = []
        self.due: list[Any] = []
        self.room.worker.send = self.told.append
        self.room.worker.experiments._send = self.told.append
        self.room.worker.experiments.later = lambda _, action: self.due.append(action)
        self.arrange(*splits)

    def arrange(self, *splits: dict[str, Any]) -> None:
        """What control says is split from now on."""
        self.room.worker.arrange({"splits": list(splits)})

    def ask(self, user: str | None, answer: bytes = ANSWER) -> str:
        """One request, answered by whoever gets it; returns the fleet."""
        client, live, new = self.room.client(), self.room.upstream("live"), self.room.upstream("v2")
        field = f"X-User: {user}\r\n" if user is not None else ""
        client.says(f"GET /a HTTP/1.1\r\nHost: h\r\n{field}\r\n".encode())
        served = [(name, side) for name, side in (("live", live), ("v2", new)) if side.heard]
        ((name, side),) = served
        side.says(answer)
        assert client.heard
        for other in (live, new):
            other.is_lost()
        return name

    def halves(self, route: str = "all") -> dict[str, Any]:
        """What control was told of the route since the last call."""
        due, self.due = self.due, []
        for action in due:
            action()
        told, self.told[:] = [message for message in self.told if message["type"] == "exposure"], []
        (message,) = told
        found: dict[str, Any] = message["splits"][route]
        return found


def user(place: int, made: dict[str, Any], skip: int = 0) -> str:
    """The name of a user with that place."""
    policy = compile_split(made)
    found = (f"u{number}" for number in range(100_000) if policy.place_of(b"u%d" % number) == place)
    for _ in range(skip):
        next(found)
    return next(found)


def test_each_unit_has_its_version() -> None:
    """Canary units are answered by the new version and all others by live, again and again; both halves are counted, and who was there."""
    made = split()
    stage = Stage(made)
    canary, control, rest = (user(place, made) for place in (CANARY, CONTROL, STABLE))
    for _ in range(3):
        assert [stage.ask(name) for name in (canary, control, rest)] == ["v2", "live", "live"]
    halves = stage.halves()
    assert (halves["epoch"], halves["outside"], halves["without_unit"]) == (1, 3, 0)
    assert halves["canary"]["responses"] == halves["stable"]["responses"] == {"200": 3}
    assert sum(halves["canary"]["last"].values()) == 3
    policy = compile_split(made)
    assert [halves[side]["units"] for side in ("canary", "stable")] == [[policy.digest_of(name.encode())] for name in (canary, control)]
    assert halves["canary"]["failed"] == []
    stage.ask(canary)
    assert stage.halves()["canary"]["units"] == []


def test_failures_name_their_units_once() -> None:
    """A 5xx and a connection that ends count against the half, and the unit is told one time; a client that leaves says nothing."""
    made = split(percent=50.0)
    stage = Stage(made)
    one, other, third = (user(CANARY, made, skip) for skip in range(3))
    stage.ask(one, BROKEN)
    stage.ask(one, BROKEN)
    client, new = stage.room.client(), stage.room.upstream("v2")
    client.says(f"POST /a HTTP/1.1\r\nHost: h\r\nX-User: {other}\r\nContent-Length: 0\r\n\r\n".encode())
    new.says(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nbut")
    new.is_lost()
    client, new = stage.room.client(), stage.room.upstream("v2")
    client.says(f"GET /a HTTP/1.1\r\nHost: h\r\nX-User: {third}\r\n\r\n".encode())
    client.is_lost()
    halves = stage.halves()
    assert halves["canary"]["responses"] == {"503": 2, "truncated": 1, "client_gone": 1}
    policy = compile_split(made)
    assert halves["canary"]["failed"] == [policy.digest_of(name.encode()) for name in (one, other)]


def test_a_step_keeps_the_counts_and_another_start_does_not() -> None:
    """A new share of the same rollout goes on counting; a new epoch counts anew, and what was under way is still told."""
    made = split()
    stage = Stage(made)
    stage.ask(user(CANARY, made))
    stage.arrange(split(percent=100.0))
    assert stage.ask(user(STABLE, made)) == "v2"
    halves = stage.halves()
    assert (halves["canary"]["requests"], halves["more"]["requests"]) == (1, 1)
    client, new = stage.room.client(), stage.room.upstream("v2")
    client.says(f"GET /a HTTP/1.1\r\nHost: h\r\nX-User: {user(CANARY, made)}\r\n\r\n".encode())
    stage.arrange()
    assert not stage.room.worker.splits.routes
    new.says(ANSWER)
    assert stage.halves()["more"]["responses"] == {"200": 1}
    stage.arrange(split(epoch=2))
    assert stage.ask(user(CANARY, made)) == "v2"
    assert stage.halves()["epoch"] == 2


def test_lists_and_requests_without_a_unit() -> None:
    """First ring new, pinned and denied live; without the unit live, counted; at the end all but the denied are on the new version."""
    made = split(first=["ring"], pinned=["pin"], denied=["vip"])
    stage = Stage(made)
    assert [stage.ask(name) for name in ("ring", "pin", "vip", None)] == ["v2", "live", "live", "live"]
    halves = stage.halves()
    assert (halves["ring"]["requests"], halves["outside"], halves["without_unit"]) == (1, 3, 1)
    stage.arrange({**made, "percent": 100.0})
    assert [stage.ask(name) for name in ("ring", "pin", "vip", None)] == ["v2", "v2", "live", "v2"]


def test_without_a_key_requests_are_shared_out_evenly() -> None:
    """40 % of a hundred requests are 40, within one; nobody is named."""
    stage = Stage(split(unit="", percent=40.0))
    served = [stage.ask(None) for _ in range(100)]
    assert 39 <= served.count("v2") <= 41
    halves = stage.halves()
    assert halves["canary"]["requests"] == served.count("v2")
    assert abs(halves["stable"]["requests"] - halves["canary"]["requests"]) <= 2
    assert (halves["canary"]["units"], halves["stable"]["failed"]) == ([], [])


@pytest.mark.parametrize("unit", ["cookie:sid", "client", "segment:1", "trace"])
def test_units_of_every_kind_are_found(unit: str) -> None:
    """What a mirror can sample by, a rollout can: at 100 % it is served by the new version as one that has a unit."""
    stage = Stage(split(unit=unit, percent=100.0))
    client, new = stage.room.client(), stage.room.upstream("v2")
    client.says(b"GET /a HTTP/1.1\r\nHost: h\r\nCookie: sid=7\r\n\r\n")
    assert new.heard
    new.says(ANSWER)
    halves = stage.halves()
    assert (halves["more"]["requests"], halves["without_unit"], len(halves["more"]["units"])) == (1, 0, 1)


def test_only_what_would_go_to_live_is_split() -> None:
    """Not what goes to a partition or a sink, nor another route, nor to a fleet that is not there."""
    route = {"name": "all", "live": "live", "test_traffic": {"writes": {"partition": {"fleet": "live", "headers": {"X-Part": "1"}}}}}
    stage = Stage(split(percent=100.0, unit=""), routes=(route,))
    client, live, new = stage.room.client(), stage.room.upstream("live"), stage.room.upstream("v2")
    stage.room.worker.send = stage.room.answer
    client.says(b"POST /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: t\r\nContent-Length: 0\r\n\r\n")
    assert b"x-part: 1" in live.heard.lower()
    assert not new.heard
    live.says(ANSWER)
    client.says(b"GET /a HTTP/1.1\r\nHost: h\r\nX-Test-Traffic: t\r\n\r\n")
    assert new.heard
    for changed in ({"to": "gone"}, {"live": "other"}, {"route": "other"}):
        stage = Stage(split(percent=100.0, unit="", **changed))
        assert stage.ask(None) == "live"


def test_what_the_new_version_answers_is_not_compared_with_the_shadow() -> None:
    """It is eligible, it ends in a fate of its own, and the law holds."""
    stage = Stage(split(percent=100.0, unit=""), routes=(MIRRORED,))
    shadow = stage.room.upstream("shadow")
    assert stage.ask(None) == "v2"
    assert not shadow.heard
    fates = {fate: count for fate, count in stage.room.fates().items() if count}
    assert fates == {"served_elsewhere": 1}


def test_a_split_that_cannot_be_used_changes_nothing() -> None:
    """All or nothing: the rollouts that were under way are."""
    stage = Stage(split(percent=100.0, unit=""))
    with pytest.raises(ValueError, match="from 0 to 100"):
        stage.arrange(split(percent=0.0, unit=""), split(route="x", percent=101.0))
    assert stage.ask(None) == "v2"


def test_what_was_told_is_bounded() -> None:
    """Beyond the limit it is forgotten, and told again: control knows."""
    told = Told()
    for number in range(TOLD_LIMIT + 1):
        told.add(number)
    assert len(told.take()) == TOLD_LIMIT + 1
    told.add(0)
    told.add(0)
    assert told.take() == [0]
    assert repr(told) == "Told(2 known, 0 to tell)"


def test_an_evacuated_zone_gets_no_new_request() -> None:
    """At once, as long as the fleet has other endpoints; what is under way goes on, and control is told."""
    urls = [f"http://127.0.0.1:{port}" for port in (9001, 9003, 9004)]
    labels = [{"endpoint": urls[0], "zone": "a"}, {"endpoint": urls[1], "zone": "b"}]
    fleets = {**FLEETS, "live": {"endpoints": urls, "labels": labels, "balance": "round_robin"}}
    room = Room({"name": "all", "live": "live"}, fleets=fleets)
    told: list[messages.Message] = []
    room.worker.send = told.append
    sides = [room.upstream("live", number) for number in range(3)]
    clients = [room.client() for _ in range(3)]
    for client in clients:
        client.says(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert all(side.heard for side in sides)
    room.worker.arrange({"evacuated": [{"fleet": "live", "label": "zone", "value": "a"}]})
    assert told == [{"type": "evacuated", "under_way": {"live": {urls[0]: 1}}}]
    for side in sides:
        side.says(ANSWER)
    assert all(client.heard for client in clients)
    for _ in range(4):
        clients[0].says(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
        assert not sides[0].heard
        (side,) = [one for one in sides[1:] if one.heard]
        side.says(ANSWER)
    report = room.worker.fleets["live"].report()
    assert [report[url]["late"] for url in urls] == [0, 0, 0]
    assert not report[urls[0]]["is_ejected"]
    room.worker.arrange(
        {
            "evacuated": [{"fleet": "live", "label": "zone", "value": zone} for zone in ("a", "b")]
            + [{"fleet": "live", "label": "cell", "value": ""}]
        }
    )
    assert room.worker.fleets["live"].endpoints[2].is_evacuated is False
    room.worker.arrange({})
    assert not any(endpoint.is_evacuated for endpoint in room.worker.fleets["live"].endpoints)


def test_with_nobody_else_the_evacuated_serve_on() -> None:
    """Nothing is better than something: requests are not failed for a drill, but each is counted as late."""
    urls = ["http://127.0.0.1:9001", "http://127.0.0.1:9003"]
    labels = [{"endpoint": url, "zone": "a"} for url in urls]
    room = Room({"name": "all", "live": "live"}, fleets={**FLEETS, "live": {"endpoints": urls, "labels": labels}})
    room.worker.arrange({"evacuated": [{"fleet": "live", "label": "zone", "value": "a"}]})
    sides = [room.upstream("live", number) for number in range(2)]
    room.client().says(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert sum(bool(side.heard) for side in sides) == 1
    report = room.worker.fleets["live"].report()
    assert sum(report[url]["late"] for url in urls) == 1
    assert room.worker.fleets["live"].report()[urls[0]]["late"] == 0


def test_a_drill_fails_no_request_that_could_be_served() -> None:
    """With the others refusing connections, or known to be unwell, the evacuated endpoint is asked before an ejected one."""
    urls = ["http://127.0.0.1:9001", "http://127.0.0.1:9003"]
    labels = [{"endpoint": urls[0], "zone": "a"}]
    room = Room({"name": "all", "live": "live"}, fleets={**FLEETS, "live": {"endpoints": urls, "labels": labels}})
    room.worker.arrange({"evacuated": [{"fleet": "live", "label": "zone", "value": "a"}]})
    fleet = room.worker.fleets["live"]
    evacuated, other = fleet.endpoints
    evacuated_side = room.upstream("live", 0)
    fleet.max_connections = 1
    fleet.max_waiting = 5
    leg = Leg(b"GET")
    leg.waits_until_ns = 1
    fleet.reassign(leg, other, outcome.REFUSED)
    assert evacuated.late == 1
    assert evacuated.outstanding == 1
    evacuated_side.is_lost()
    other.is_unhealthy = True
    assert fleet._choose(0, None) is evacuated
    evacuated.is_unhealthy = True
    assert fleet._choose(0, None) in fleet.endpoints
