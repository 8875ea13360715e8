"""MIR: the copy, and that nobody else notices it."""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

import pytest
import yaml

from shadowproxy.config import load_text
from shadowproxy.errors import ConfigError
from tests.kit import Origin, World, answers, settings
from tests.kit.client import chunked_wire, wire
from tests.kit.process import eventually, open_sockets, rss_bytes
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from tests.conftest import MakeWorld
    from tests.kit.origin import Answer, Turn

MISBEHAVIOURS: dict[str, Answer] = {
    "500": answers.ok(b"shadow", status=500),
    "cookies": answers.ok(b"shadow", fields=[("Set-Cookie", "shadow=1"), ("Cache-Control", "max-age=99999"), ("Connection", "close")]),
    "redirect": answers.ok(b"", status=301, fields=[("Location", "/redirected")]),
    "reset": answers.reset(),
    "close": answers.close(),
    "hang": answers.hang(),
    "unread": answers.hang_unread(),
    "truncated": answers.raw_then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nshadow"),
    "mid-chunk reset": answers.raw_then_reset(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nshadow"),
    "two answers": answers.raw(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nshadow" * 2),
    "rubbish": answers.raw(b"\0\1\2\r\n\r\n"),
    "101": answers.tunnel(),
    "endless": answers.endless(b"shadow"),
    "drip": answers.drip(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nshadow", pause_s=0.1),
    "early": answers.early(answers.head(200, [("Content-Length", "6")]) + b"shadow", then_close=True),
    "gzip bomb": answers.ok(b"\x1f\x8b\x08" + b"\0" * 1000, fields=[("Content-Encoding", "gzip")]),
}


@pytest.fixture(scope="module")
def impatient_world() -> object:
    """A world whose mirror gives up soon, so that misbehaving shadows can be told apart by what was counted."""
    with World(settings(mirror={"timeout": "500ms"})) as world:
        yield world


@pytest.mark.requirement("MIR-01")
@pytest.mark.parametrize("name", list(MISBEHAVIOURS))
def test_no_misbehaviour_of_a_shadow_reaches_the_client(impatient_world: World, name: str) -> None:
    """Whatever the shadow answers or fails to, live's answers are the client's, byte for byte, on the same connection."""
    world = impatient_world
    world.forget()
    world.shadow.answer = MISBEHAVIOURS[name]
    world.live.answer = answers.ok(b"live", fields=[("Date", "now"), ("X-From", "live")])
    with world.client() as client:
        for body in (b"", b"x" * 100):
            assert client.request("POST" if body else "GET", "/same", body=body).body == b"live"
        expected = b"HTTP/1.1 200 Reason\r\nDate: now\r\nX-From: live\r\nContent-Length: 4\r\n\r\nlive"
        assert bytes(client.received) == expected * 2
    assert not world.live.seen("/redirected")
    assert not world.shadow.seen("/redirected")


@pytest.mark.requirement("MIR-01")
def test_a_shadow_that_refuses_connections_is_only_counted(make_world: MakeWorld) -> None:
    """Nobody listens at the shadow: live answers, and the copies are failed_refused."""
    world = make_world()
    world.shadow.refuse()
    with world.client() as client:
        for _ in range(5):
            assert client.get("/alone").body == b"ok"
    assert world.fates() == {"failed_refused": 5}


@pytest.mark.requirement("MIR-02")
@pytest.mark.parametrize("misbehaviour", ["hang", "unread"])
def test_a_slow_shadow_does_not_delay_the_next_request(make_world: MakeWorld, misbehaviour: str) -> None:
    """Ten requests on one connection are answered while every copy of them is still waiting."""
    world = make_world()
    world.shadow.answer = MISBEHAVIOURS[misbehaviour]
    with world.client() as client:
        for number in range(10):
            assert client.request("POST", f"/next/{number}", body=b"abc").status == 200
    world.proxy.tally_where(lambda tally: tally["mirrors"][MIRROR]["pending"] == 10, "all copies are still under way")


@pytest.mark.requirement("MIR-03")
def test_an_endless_shadow_answer_is_bounded(make_world: MakeWorld) -> None:
    """A shadow that answers without end costs no memory, and ends by the mirror's deadline."""
    world = make_world(settings(mirror={"timeout": "2s"}))
    world.shadow.answer = answers.endless(b"x" * 65536)
    with world.client() as client:
        client.get("/warm")
        before = rss_bytes(world.proxy.pid)
        for _ in range(8):
            assert client.get("/endless").status == 200
    highest = before

    def is_over() -> bool:
        nonlocal highest
        highest = max(highest, rss_bytes(world.proxy.pid))
        return not world.shadow.open_connections

    eventually(is_over, "the endless answers are given up")
    assert highest - before < 16 * 1024 * 1024
    assert world.fates() == {"failed_timeout": 9}


@pytest.mark.requirement("MIR-04")
@pytest.mark.parametrize(
    ("mirror", "shadow"),
    [
        ({"in_flight": 1}, {}),
        ({}, {"max_connections": 1, "max_waiting": 0}),
        ({"body_limit": 0}, {}),
        ({"body_budget": 0}, {}),
        ({"breaker": {"failures": 1}}, {}),
    ],
)
def test_a_local_decision_about_a_copy_does_not_touch_live(
    make_world: MakeWorld, mirror: dict[str, object], shadow: dict[str, object]
) -> None:
    """Shed, overflowing, over budget, breaker open: live answers, and every request has exactly one fate."""
    world = make_world(settings(mirror={"timeout": "300ms", **mirror}, shadow=shadow))
    world.shadow.answer = answers.hang()
    with world.client() as client:
        for number in range(6):
            assert client.request("POST", f"/local/{number}", body=b"x" * 1000).status == 200
        client.send(wire("GET", "/up", ("Connection", "Upgrade"), ("Upgrade", "echo")))
        assert client.response(upgrade="echo").status == 200
    assert sum(world.fates().values()) == 7


@pytest.mark.requirement("MIR-05")
def test_bodies_of_every_kind_are_mirrored(make_world: MakeWorld) -> None:
    """Sized, chunked, empty and absent bodies are the same on both legs with a body limit set."""
    world = make_world(settings(mirror={"body_limit": 1000}))
    kinds = {
        "/sized": wire("POST", "/sized", body=b"x" * 1000),
        "/chunked": chunked_wire("POST", "/chunked", pieces=[b"x" * 500, b"y" * 500]),
        "/zero": b"POST /zero HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n",
        "/no-chunks": chunked_wire("POST", "/no-chunks", pieces=[]),
        "/none": wire("GET", "/none"),
        "/get-with-body": wire("GET", "/get-with-body", body=b"q"),
    }
    with world.client() as client:
        for raw in kinds.values():
            client.send(raw)
            assert client.response().status == 200
    for path in kinds:
        live, shadow = world.legs(path)
        assert live.body == shadow.body
        for name in ("Content-Length", "Transfer-Encoding"):
            assert live.all(name) == shadow.all(name)
    assert world.fates() == {"paired": len(kinds)}


@pytest.mark.requirement("MIR-05")
@pytest.mark.parametrize("raw", [wire("POST", "/over", body=b"x" * 1001), chunked_wire("POST", "/over", pieces=[b"x" * 600, b"y" * 401])])
def test_a_body_over_the_limit_is_not_mirrored(make_world: MakeWorld, raw: bytes) -> None:
    """Live is served in full; the copy never becomes a complete request and is counted too_large."""
    world = make_world(settings(mirror={"body_limit": 1000}))
    world.live.answer = answers.echo()
    with world.client() as client:
        client.send(raw)
        assert len(client.response().body) == 1001
    assert world.fates() == {"too_large": 1}
    assert not any(seen.is_complete for seen in world.shadow.requests)


def _mirror_many(world: World, count: int) -> int:
    """Send `count` requests over eight connections; how much resident memory grew from the first tenth on."""
    baseline = 0

    def run(share: int) -> None:
        with world.client() as client:
            for _ in range(share // 50):
                client.send(wire("GET", "/many") * 50)
                for _ in range(50):
                    assert client.response().status == 200

    for part in (count // 10, count - count // 10):
        threads = [threading.Thread(target=run, args=(part // 8,)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        world.live.requests.clear()
        world.shadow.requests.clear()
        baseline = baseline or rss_bytes(world.proxy.pid)
    return rss_bytes(world.proxy.pid) - baseline


@pytest.mark.requirement("MIR-06")
@pytest.mark.parametrize("misbehaviour", ["two answers", "hang"])
def test_mirroring_many_requests_does_not_grow_memory(make_world: MakeWorld, misbehaviour: str) -> None:
    """Whether copies are answered or pile up: a bounded number is under way, the rest is dropped and counted."""
    world = make_world(settings(mirror={"in_flight": 8, "timeout": "1s"}))
    world.live.keeps_bodies = world.shadow.keeps_bodies = False
    world.shadow.answer = MISBEHAVIOURS[misbehaviour]
    count = 4000
    assert _mirror_many(world, count) < 8 * 1024 * 1024
    fates = world.fates()
    assert sum(fates.values()) == count
    assert open_sockets(world.proxy.pid) < 600


@pytest.mark.deep
@pytest.mark.timeout(3600)
@pytest.mark.requirement("MIR-06")
@pytest.mark.parametrize("misbehaviour", ["500", "reset", "hang"])
def test_a_million_mirrored_requests_do_not_grow_memory(make_world: MakeWorld, misbehaviour: str) -> None:
    """The same, at length."""
    world = make_world(settings(mirror={"in_flight": 64, "timeout": "1s"}))
    world.live.keeps_bodies = world.shadow.keeps_bodies = False
    world.shadow.answer = MISBEHAVIOURS[misbehaviour]
    assert _mirror_many(world, int(os.environ.get("MIRRORED", "1000000"))) < 16 * 1024 * 1024


@pytest.mark.requirement("MIR-07")
def test_mirrors_and_live_share_nothing_that_changes(make_world: MakeWorld) -> None:
    """Two mirrors that change the copy's fields and Host differently leave each other and live alone, on every request."""
    config = settings(mirror={"name": "one", "headers": {"set": {"X-Copy": "one"}, "remove": ["X-Drop"]}, "host": "suffix:-shadow"})
    config["routes"][0]["mirror"].append(
        {
            "to": "second",
            "name": "two",
            "percent": 100,
            "headers": {"set": {"X-Copy": "two", "X-Extra": "2"}},
            "host": "literal:two.example",
        }
    )
    second = Origin("second")
    try:
        config["fleets"]["second"] = {"endpoints": [second.url]}
        world = make_world(config)
        with world.client() as client:
            for number in range(3):
                client.get(f"/mine/{number}", ("X-Copy", "client"), ("X-Drop", "kept"))
        for number in range(3):
            live, one = world.legs(f"/mine/{number}")
            two = second.wait_for(f"/mine/{number}")
            assert [leg.all("X-Copy") for leg in (live, one, two)] == [["client"], ["one"], ["two"]]
            assert [leg.has("X-Drop") for leg in (live, one, two)] == [True, False, True]
            assert [leg.has("X-Extra") for leg in (live, one, two)] == [False, False, True]
            assert [leg.one("Host") for leg in (live, one, two)] == ["shop.example", "shop.example-shadow", "two.example"]
            assert not second.problems()
    finally:
        second.stop()


@pytest.mark.requirement("MIR-07")
def test_a_retry_on_live_does_not_change_the_copy(make_world: MakeWorld) -> None:
    """Live's reused connection closes and the request is sent again: one copy, one answer, the right one."""
    world = make_world()
    world.live.queue(answers.ok(), answers.close(), answers.ok(b"second try"))
    with world.client() as client:
        client.get("/first")
        assert client.get("/retried").body == b"second try"
    assert len(world.live.seen("/retried")) == 2
    assert world.fates() == {"paired": 2}
    assert len(world.shadow.seen("/retried")) == 1


@pytest.mark.requirement("MIR-08")
def test_a_request_without_body_is_mirrored_without_body(world: World) -> None:
    """No length and no coding where the client sent none; Content-Length: 0 where it sent that."""
    with world.client() as client:
        client.get("/bodiless")
        client.send(b"POST /nothing HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n")
        client.response()
    _, shadow = world.legs("/bodiless")
    assert not shadow.has("Content-Length")
    assert not shadow.has("Transfer-Encoding")
    _, shadow = world.legs("/nothing")
    assert shadow.one("Content-Length") == "0"


@pytest.mark.requirement("MIR-09")
@pytest.mark.parametrize("percent", [0, 0.5, 10, 33.3, 100])
def test_the_share_is_exact(make_world: MakeWorld, percent: float) -> None:
    """Of a thousand requests without a key, the configured share is mirrored, to one request."""
    world = make_world(settings(mirror={"percent": percent}))
    with world.client() as client:
        for _ in range(20):
            client.send(wire("GET", "/share") * 50)
            for _ in range(50):
                client.response()
    fates = world.fates()
    assert abs(fates.get("paired", 0) - percent * 10) <= 2, fates
    assert fates.get("paired", 0) + fates.get("not_sampled", 0) == 1000


@pytest.mark.requirement("MIR-09")
def test_a_unit_is_mirrored_as_a_whole(make_world: MakeWorld) -> None:
    """With a key, all requests of a user are mirrored or none."""
    world = make_world(settings(mirror={"percent": 50, "key": "header:x-user"}))
    with world.client() as client:
        for number in range(40):
            for _ in range(3):
                client.get(f"/user/{number}", ("X-User", f"user-{number}"))
    world.proxy.settled()
    counts = {len(world.shadow.seen(f"/user/{number}")) for number in range(40)}
    assert counts == {0, 3}


@pytest.mark.requirement("MIR-09")
@pytest.mark.parametrize("percent", [-1, 100.001, 101, "many", None])
def test_a_share_is_between_0_and_100(percent: object) -> None:
    """Anything else is a config error that names the place."""
    config = settings(mirror={"percent": percent})
    config["listen"][0]["address"] = "127.0.0.1:18080"
    for port, fleet in enumerate(config["fleets"].values()):
        fleet["endpoints"] = [f"http://127.0.0.1:{19001 + port}"]
    with pytest.raises(ConfigError, match="percent"):
        load_text(yaml.safe_dump(config))


@pytest.mark.requirement("MIR-10")
def test_a_copy_is_marked_and_live_is_not(world: World) -> None:
    """The copy says that it is one; a client can neither forge nor remove that."""
    with world.client() as client:
        client.get("/marked", ("X-Shadow-Mirror", "forged"), ("Connection", "X-Shadow-Mirror"))
    live, shadow = world.legs("/marked")
    assert not live.has("X-Shadow-Mirror")
    assert shadow.one("X-Shadow-Mirror").startswith("shadow")


@pytest.mark.requirement("MIR-10")
def test_a_copy_is_never_mirrored_again(make_world: MakeWorld) -> None:
    """A marked request from a proxy that is trusted goes to live only, mark and all."""
    world = make_world(settings(listener={"trusted_proxies": ["127.0.0.0/8"]}))
    with world.client() as client:
        assert client.get("/copy", ("X-Shadow-Mirror", "other;by=someone")).status == 200
    assert world.fates() == {"marked": 1}
    assert world.live.wait_for("/copy").one("X-Shadow-Mirror") == "other;by=someone"
    assert not world.shadow.requests


@pytest.mark.requirement("MIR-11")
def test_a_client_that_leaves_before_its_body_is_complete_takes_the_copy_along(make_world: MakeWorld) -> None:
    """The copy of an unfinished request is given up, and the pair is not compared."""
    world = make_world()
    with world.client() as client:
        client.send(wire("POST", "/leaves", body=b"abc")[:-1])
        world.shadow.wait_begun("/leaves")
        client.abort()
    assert world.fates() == {"client_gone": 1}
    eventually(lambda: not world.shadow.open_connections, "the copy's connection ends")
    assert not world.shadow.seen("/leaves")[0].is_complete


@pytest.mark.requirement("MIR-11")
def test_the_end_of_live_does_not_end_the_copy(make_world: MakeWorld) -> None:
    """A shadow may take longer than live and its client: its answer still makes a pair."""
    world = make_world()
    release = threading.Event()

    def later(turn: Turn) -> None:
        turn.read_body()
        assert release.wait(10)
        turn.send(answers.head(200, [("Content-Length", "2")]) + b"ok")

    world.shadow.answer = later
    with world.client() as client:
        assert client.get("/patient").status == 200
    world.proxy.tally_where(lambda tally: tally["mirrors"][MIRROR]["pending"] == 1)
    release.set()
    assert world.fates() == {"paired": 1}


CREDENTIALS = [("Authorization", "Bearer secret"), ("Cookie", "a=secret"), ("cookie", "b=secret"), ("AUTHORIZATION", "Basic secret")]


@pytest.mark.requirement("MIR-12")
def test_credentials_do_not_reach_the_shadow(world: World) -> None:
    """Authorization, Cookie and Proxy-Authorization stay with live unless a mirror asks for them, in any case and on any line."""
    with world.client() as client:
        client.get("/secret", *CREDENTIALS, ("Proxy-Authorization", "Basic secret"), ("X-Kept", "1"))
    live, shadow = world.legs("/secret")
    assert [field for field in live.fields if field in CREDENTIALS] == CREDENTIALS
    assert "secret" not in repr(shadow.fields)
    assert shadow.one("X-Kept") == "1"
    assert not live.has("Proxy-Authorization"), "it was for us"


@pytest.mark.requirement("MIR-12")
def test_credentials_can_be_kept(make_world: MakeWorld) -> None:
    """`credentials: keep` mirrors them as they came."""
    world = make_world(settings(mirror={"credentials": "keep"}))
    with world.client() as client:
        client.get("/kept", *CREDENTIALS)
    for leg in world.legs("/kept"):
        assert [field for field in leg.fields if field in CREDENTIALS] == CREDENTIALS
