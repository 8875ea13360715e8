"""Active health checks: what takes an endpoint out, what brings it back, and when they end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.dataplane.health import Health
from tests.adversity.peers import Banner, black_hole
from tests.kit import Origin, answers, settings
from tests.kit.client import wire
from tests.kit.network import refused_address
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeWorld
    from tests.kit import World
    from tests.kit.origin import Answer

CHECK = {"path": "/health?deep=1", "interval": "50ms", "timeout": "300ms", "unhealthy": 2, "healthy": 2}


@pytest.fixture
def other() -> Iterator[Origin]:
    """A second live endpoint."""
    origin = Origin("other")
    yield origin
    origin.stop()


def fleet(*urls: str, **check: Any) -> dict[str, Any]:
    """A live fleet of these endpoints whose health is checked."""
    return {"endpoints": list(urls), "health": {**CHECK, **check}}


def is_out(world: World, url: str) -> bool:
    """Whether the worker says that the endpoint is left out."""
    return bool(world.proxy.tally.get("fleets", {}).get("live", {}).get(url, {}).get("is_ejected"))


@pytest.mark.parametrize(
    ("checks", "expected"),
    [
        ("", False),
        ("fff", True),
        ("ff", False),
        ("ffpff", False),
        ("ffpfff", True),
        ("fffp", True),
        ("fffpp", False),
        ("fffpfp", True),
        ("fffpfpp", False),
        ("fffppff", False),
        ("ppppfff", True),
    ],
)
def test_only_checks_in_a_row_count(checks: str, expected: bool) -> None:
    """Three failures in a row take out, two passes in a row bring back; anything between begins the row anew."""
    health = Health(unhealthy=3, healthy=2)
    for check in checks:
        health.checked(has_passed=check == "p")
    assert health.is_unhealthy is expected


def test_repr_says_how_far_it_is() -> None:
    """The text names the state and both numbers."""
    health = Health(unhealthy=3, healthy=2)
    health.checked(has_passed=False)
    assert repr(health) == "Health(in, 1 of 3 checks against it)"


@pytest.mark.parametrize(
    "failing",
    [
        pytest.param(answers.ok(status=503), id="another status"),
        pytest.param(answers.ok(status=302), id="a redirect is not followed"),
        pytest.param(answers.hang(), id="no answer in time"),
        pytest.param(answers.close(), id="closed"),
        pytest.param(answers.reset(), id="reset"),
        pytest.param(answers.raw_then_close(b"HTTP/1.1 200 O"), id="cut short"),
        pytest.param(answers.raw(b"220 mail.example ready\r\n\r\n"), id="not HTTP"),
        pytest.param(answers.raw(answers.head(103) * 100), id="interim answers only"),
        pytest.param(answers.raw(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 400_000), id="a head without end"),
        pytest.param(answers.drip(answers.head(200), pause_s=0.1), id="a head that drips"),
    ],
)
def test_failing_checks_take_an_endpoint_out_and_passing_ones_bring_it_back(make_world: MakeWorld, other: Origin, failing: Answer) -> None:
    """While its checks fail an endpoint gets no requests, though it would answer them; then it gets its share again."""
    live = Origin("live")
    live.on("/health", failing)
    world = make_world(settings(live=fleet(live.url, other.url)), live=live)
    eventually(lambda: is_out(world, live.url), "the endpoint is left out")
    world.proxy.settled()
    already = len(live.seen("/a"))
    with world.client() as client:
        for _ in range(10):
            assert client.get("/a").status == 200
    assert len(live.seen("/a")) == already
    check = live.wait_for("/health")
    assert check.target == "/health?deep=1"
    assert check.one("Host") == live.authority
    assert check.one("Connection") == "close"
    live.on("/health", answers.ok(status=204))
    eventually(lambda: not is_out(world, live.url), "the endpoint is back")
    eventually(lambda: world.ask(wire("GET", "/b")).status == 200 and live.seen("/b"), "it gets requests")
    assert not is_out(world, other.url)


@pytest.mark.parametrize("kind", ["refused", "black hole", "speaks first"])
def test_an_endpoint_that_cannot_be_reached_is_unhealthy(make_world: MakeWorld, kind: str) -> None:
    """Failing to connect is a failed check, and no error of the worker's."""
    refused = "http://{}:{}".format(*refused_address())
    with black_hole() as hole, Banner(b"hello\r\n\r\n") as banner:
        url = {"refused": refused, "black hole": hole, "speaks first": banner.url}[kind]
        origin = Origin("live")
        world = make_world(settings(live=fleet(url, origin.url)), live=origin)
        eventually(lambda: is_out(world, url), "the endpoint is left out")
        with world.client() as client:
            for _ in range(5):
                assert client.get("/a").status == 200


def test_with_every_endpoint_out_all_are_tried(make_world: MakeWorld, other: Origin) -> None:
    """Checks that fail everywhere, as with a wrong path, do not turn a working fleet away."""
    live = Origin("live")
    for origin in (live, other):
        origin.on("/health", answers.ok(status=404))
    world = make_world(settings(live=fleet(live.url, other.url)), live=live)
    eventually(lambda: is_out(world, live.url) and is_out(world, other.url), "both are out")
    assert world.ask(wire("GET", "/a")).status == 200


def test_checks_end_when_the_fleet_leaves_the_config(make_world: MakeWorld) -> None:
    """A reload without health checks stops them, and an endpoint that was out is in again; an unchanged fleet keeps one watch."""
    world = make_world(settings(live={"health": CHECK}))
    world.live.on("/health", answers.ok(status=500))
    eventually(lambda: is_out(world, world.live.url), "the endpoint is left out")
    world.apply(settings(live={"health": CHECK}, limits={"header_timeout": "5s"}))
    world.apply(settings())
    eventually(lambda: not is_out(world, world.live.url), "the endpoint is in")
    world.proxy.settled()
    count = len(world.live.seen("/health"))
    world.proxy.settled()
    assert len(world.live.seen("/health")) == count


def test_a_drain_does_not_wait_for_checks(make_world: MakeWorld) -> None:
    """A worker with a check under way ends at once and without a word."""
    world = make_world(settings(live={"health": CHECK | {"timeout": "60s"}}))
    world.live.on("/health", answers.hang())
    world.live.wait_for("/health")
