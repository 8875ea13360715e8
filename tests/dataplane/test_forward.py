"""Fleets at work: which endpoint, which connection, and who waits."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.leg import Leg
from tests.dataplane.room import ANSWER, Room
from tests.kit import network

if TYPE_CHECKING:
    from shadowproxy.dataplane.upstream import UpstreamConnection


class Waiting(Leg):
    """A leg that remembers what it was given."""

    def __init__(self, waits_until_ns: int = 2**62) -> None:
        super().__init__(b"GET")
        self.waits_until_ns = waits_until_ns
        self.connection: UpstreamConnection | None = None
        self.ended = 0

    def on_connection(self, connection: UpstreamConnection) -> None:
        """The request is sent at once."""
        self.connection = connection
        self.waits_until_ns = 0
        connection.is_request_sent = True

    def on_failure(self, ended: int) -> None:
        """No connection, or it ended."""
        self.ended = ended


def _room(endpoints: int = 1, **live: object) -> Room:
    urls = [f"http://127.0.0.1:{9001 + number}" for number in range(endpoints)]
    return Room({"name": "all", "live": "live"}, fleets={"live": {"endpoints": urls, **live}})


def test_the_connection_used_last_is_used_next() -> None:
    """It is the one least likely to have been closed by the other side."""
    room = _room()
    sides = [room.upstream("live") for _ in range(3)]
    leg = Waiting()
    assert room.worker.fleets["live"].dispatch(leg, 0)
    assert leg.connection is sides[-1].connection


def test_legs_wait_in_line() -> None:
    """The first that opens or comes free goes to who came first; one that was given up meanwhile is passed over."""
    room = _room()
    fleet = room.worker.fleets["live"]
    first, gone, last = Waiting(), Waiting(), Waiting()
    assert all(fleet.dispatch(leg, 0) for leg in (first, gone, last))
    gone.waits_until_ns = 0
    side = room.upstream("live")
    assert first.connection is side.connection
    assert last.connection is None
    side.says(ANSWER)
    assert last.connection is side.connection
    assert gone.connection is None
    assert repr(fleet.endpoints[0]) == "Endpoint(http://127.0.0.1:9001, outstanding=1, idle=0, waiting=0)"


def test_the_line_is_bounded_and_has_an_end() -> None:
    """Beyond max_waiting a leg is not taken; one that has waited too long is told why."""
    room = _room(max_waiting=2)
    fleet = room.worker.fleets["live"]
    patient, hasty = Waiting(), Waiting(5)
    assert fleet.dispatch(patient, 0)
    assert fleet.dispatch(hasty, 0)
    assert not fleet.dispatch(Waiting(), 0)
    assert not fleet.dispatch(Waiting(), 0, may_wait=False)
    fleet.expire_waiting(6)
    assert (patient.ended, hasty.ended) == (0, outcome.OVERFLOW)


@pytest.mark.parametrize("balance", ["least_outstanding", "round_robin"])
def test_endpoints_share_the_work(balance: str) -> None:
    """In turn, or to the one with the least under way."""
    room = _room(2, balance=balance)
    fleet = room.worker.fleets["live"]
    legs = [Waiting() for _ in range(6)]
    for leg in legs:
        fleet.dispatch(leg, 0)
    assert [len(endpoint.waiting) for endpoint in fleet.endpoints] == [3, 3]


def test_least_outstanding_prefers_who_has_less_to_do() -> None:
    """However the turn stands."""
    room = _room(2)
    fleet = room.worker.fleets["live"]
    fleet.endpoints[0].begun = 5
    for _ in range(3):
        fleet.dispatch(Waiting(), 0)
    assert [len(endpoint.waiting) for endpoint in fleet.endpoints] == [0, 3]


def test_an_endpoint_that_keeps_failing_is_left_out_for_a_while() -> None:
    """And one answer forgives; with all of them out, all count as in."""
    room = _room(2, eject={"failures": 3, "period": "10s"})
    fleet = room.worker.fleets["live"]
    bad, good = fleet.endpoints
    bad.failed()
    bad.failed()
    bad.answered()
    bad.failed()
    bad.failed()
    assert bad.is_available(0) is True
    bad.failed()
    assert not bad.is_available(0)
    assert bad.report()["is_ejected"]
    for _ in range(4):
        fleet.dispatch(Waiting(), 0)
    assert [len(bad.waiting), len(good.waiting)] == [0, 4]
    good.is_unhealthy = True
    for _ in range(4):
        fleet.dispatch(Waiting(), 0)
    assert len(bad.waiting) == 4


def test_a_connection_that_could_not_be_opened_costs_the_leg_nothing_while_others_can() -> None:
    """Each other endpoint is tried once; nothing was sent, so nothing is repeated."""
    room = _room(2)
    fleet = room.worker.fleets["live"]
    leg = Waiting()
    fleet.dispatch(leg, 0)
    (first,) = [endpoint for endpoint in fleet.endpoints if endpoint.waiting]
    (second,) = [endpoint for endpoint in fleet.endpoints if endpoint is not first]
    first.waiting.clear()
    fleet.reassign(leg, first, outcome.REFUSED)
    assert list(second.waiting) == [leg]
    second.waiting.clear()
    fleet.reassign(leg, second, outcome.REFUSED)
    assert leg.ended == outcome.REFUSED
    assert leg.waits_until_ns == 0


def test_a_fleet_that_left_the_config_keeps_nothing() -> None:
    """Idle connections close at once, one in use when its exchange is over."""
    room = _room()
    old = room.worker.fleets["live"]
    busy, idle = room.upstream("live"), room.upstream("live")
    leg = Waiting()
    old.endpoints[0].idle.remove(busy.connection)  # type: ignore[arg-type]
    old.endpoints[0].begun += 1
    busy.connection.use(leg)  # type: ignore[union-attr]
    leg.on_connection(busy.connection)  # type: ignore[arg-type]
    room.configure({"name": "all", "live": "live"}, fleets={"live": {"endpoints": ["http://127.0.0.1:9009"]}})
    assert room.worker.fleets["live"] is not old
    assert idle.is_over
    assert not busy.is_over
    busy.says(ANSWER)
    assert busy.is_over


def test_an_idle_connection_is_not_kept_for_ever() -> None:
    """keepalive, and none at all where it is 0."""
    room = _room(keepalive="5s")
    side = room.upstream("live")
    room.pass_time(6)
    assert side.is_over
    assert room.worker.fleets["live"].endpoints[0].idle == []


@pytest.mark.parametrize(
    ("url", "authority", "port", "is_tls"),
    [
        ("http://shop.example", b"shop.example", 80, False),
        ("https://shop.example", b"shop.example", 443, True),
        ("http://[::1]:81", b"[::1]:81", 81, False),
    ],
)
def test_endpoints_know_their_address(url: str, authority: bytes, port: int, is_tls: bool) -> None:
    """As a Host field has it, and as a socket does."""
    room = Room({"name": "all", "live": "live"}, fleets={"live": {"endpoints": [url]}})
    (endpoint,) = room.worker.fleets["live"].endpoints
    assert (endpoint.authority, endpoint.port, endpoint.is_tls) == (authority, port, is_tls)
    assert repr(room.worker.fleets["live"]) == f"FleetRuntime(live, [Endpoint({url}, outstanding=0, idle=0, waiting=0)])"


async def test_a_connection_that_cannot_be_opened_counts_as_an_error_of_its_endpoint() -> None:
    """A try that failed: nothing is outstanding, and the next report begins anew."""
    room = Room({"name": "all", "live": "live"}, fleets={"live": {"endpoints": [f"http://127.0.0.1:{network.free_port()}"]}})
    leg = Waiting()
    room.worker.fleets["live"].max_connections = 1
    assert room.worker.fleets["live"].dispatch(leg, 0)
    async with asyncio.timeout(10):
        while not leg.ended:
            await asyncio.sleep(0.001)
    (endpoint,) = room.worker.fleets["live"].endpoints
    reports = [endpoint.report() for _ in range(2)]
    assert (leg.ended, [(one["ended"], one["errors"], one["outstanding"]) for one in reports]) == (outcome.REFUSED, [(1, 1, 0), (0, 0, 0)])
