"""What upstreams are told of the client, of the trace and of copies; who is believed; and loops that stop."""

from __future__ import annotations

import contextlib
import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from tests.kit import Origin, WorkerProxy, World, settings
from tests.kit.client import wire
from tests.kit.process import eventually
from tests.kit.wire import ResponseReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeWorld
    from tests.kit.wire import Seen

LOCAL = {"trusted_proxies": ["127.0.0.1/32"]}
PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"

SPOOFED = (
    ("X-Forwarded-For", "10.0.0.1"),
    ("X-Forwarded-Proto", "https"),
    ("X-Forwarded-Host", "evil.example"),
    ("X-Forwarded-Port", "443"),
    ("X-Real-IP", "10.0.0.2"),
    ("Forwarded", "for=10.0.0.3;proto=https"),
)


def forwarding(seen: Seen) -> dict[str, list[str]]:
    """The forwarding fields that an upstream saw, by lower-case name."""
    found: dict[str, list[str]] = {}
    for name, value in seen.fields:
        if name.lower().startswith("x-forwarded-") or name.lower() in ("forwarded", "x-real-ip"):
            found.setdefault(name.lower(), []).append(value)
    return found


# Forwarded and X-Forwarded-*.

MODES: dict[str, dict[str, list[str]]] = {
    "x-forwarded": {"x-forwarded-for": ["127.0.0.1"], "x-forwarded-proto": ["http"], "x-forwarded-host": ["shop.example:81"]},
    "forwarded": {"forwarded": ['for=127.0.0.1;host="shop.example:81";proto=http']},
    "off": {},
}
MODES["both"] = MODES["x-forwarded"] | MODES["forwarded"]


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("said", [(), SPOOFED])
def test_a_stranger_is_described_by_us_alone(make_world: MakeWorld, mode: str, said: tuple[tuple[str, str], ...]) -> None:
    """Whatever an untrusted client says of itself is replaced, in every mode, to live and shadow alike."""
    world = make_world(settings(forwarded=mode))
    with world.client() as client:
        client.send(wire("GET", "/", *said, host="shop.example:81"))
        assert client.response().status == 200
    for leg in world.legs("/"):
        assert forwarding(leg) == MODES[mode]


@pytest.mark.parametrize("spelling", ["x-forwarded-for", "X-FORWARDED-FOR", "X-Forwarded-For"])
def test_spelling_is_no_way_around(world: World, spelling: str) -> None:
    """Field names are compared without letter case."""
    with world.client() as client:
        client.get("/", (spelling, "10.0.0.1"), (spelling, "10.0.0.2"))
    for leg in world.legs("/"):
        assert leg.all("X-Forwarded-For") == ["127.0.0.1"]


def test_a_trusted_proxy_is_believed_and_appended_to(make_world: MakeWorld) -> None:
    """From a trusted peer the chain goes on, line by line in order; scheme, host and port are kept as said."""
    world = make_world(settings(listener=LOCAL, forwarded="both"))
    with world.client() as client:
        client.get("/", *SPOOFED, ("X-Forwarded-For", "10.0.0.9, 10.0.0.8"), ("Forwarded", 'for="[2001:db8::1]"'))
    for leg in world.legs("/"):
        assert forwarding(leg) == {
            "x-forwarded-for": ["10.0.0.1, 10.0.0.9, 10.0.0.8, 127.0.0.1"],
            "x-forwarded-proto": ["https"],
            "x-forwarded-host": ["evil.example"],
            "x-forwarded-port": ["443"],
            "x-real-ip": ["10.0.0.2"],
            "forwarded": ['for=10.0.0.3;proto=https, for="[2001:db8::1]", for=127.0.0.1;host="shop.example";proto=http'],
        }


def test_off_passes_what_a_trusted_proxy_said(make_world: MakeWorld) -> None:
    """With `forwarded: off` we add nothing, and take nothing from a peer that is trusted."""
    world = make_world(settings(listener=LOCAL, forwarded="off"))
    with world.client() as client:
        client.get("/", *SPOOFED)
    live, _ = world.legs("/")
    assert forwarding(live) == {name.lower(): [value] for name, value in SPOOFED}


def test_trust_is_by_address_and_not_by_being_private(make_world: MakeWorld) -> None:
    """Of two loopback addresses only the one in the list is believed."""
    world = make_world(settings(listener={"trusted_proxies": ["127.0.0.9/32", "2001:db8::/32"]}))
    for source, chain in (("127.0.0.9", "10.0.0.1, 127.0.0.9"), ("127.0.0.8", "127.0.0.8")):
        with world.client(source=source) as client:
            client.get(f"/{source}", ("X-Forwarded-For", "10.0.0.1"))
        assert world.live.wait_for(f"/{source}").one("X-Forwarded-For") == chain


def test_requests_of_one_connection_are_described_each_by_itself(make_world: MakeWorld) -> None:
    """What is remembered for a connection does not leak from one request into the next."""
    world = make_world(settings(listener=LOCAL))
    with world.client() as client:
        client.request("GET", "/1", host="one.example")
        client.request("GET", "/2", ("X-Forwarded-For", "10.0.0.1"), host="one.example")
        client.request("GET", "/3", ("Via", "1.1 cache"), host="two.example")
        client.request("GET", "/4", host="one.example")
    expected = {
        "/1": ("127.0.0.1", "one.example", "1.1 shadowproxy"),
        "/2": ("10.0.0.1, 127.0.0.1", "one.example", "1.1 shadowproxy"),
        "/3": ("127.0.0.1", "two.example", "1.1 cache, 1.1 shadowproxy"),
        "/4": ("127.0.0.1", "one.example", "1.1 shadowproxy"),
    }
    for path, values in expected.items():
        for leg in world.legs(path):
            assert (leg.one("X-Forwarded-For"), leg.one("X-Forwarded-Host"), leg.one("Via")) == values


@pytest.mark.parametrize(
    "name", ["X-Forwarded-For", "x-forwarded-host", "Via", "traceparent", "X-Shadow-Mirror", "Forwarded", "x-forwarded-for, via"]
)
def test_connection_cannot_remove_ours(make_world: MakeWorld, name: str) -> None:
    """A client that lists our fields in Connection removes its own at most."""
    world = make_world(settings(forwarded="both"))
    with world.client() as client:
        client.get("/", ("Connection", name))
    live, copy = world.legs("/")
    for leg in (live, copy):
        assert forwarding(leg).keys() == MODES["both"].keys()
        assert leg.one("Via") == "1.1 shadowproxy"
        assert leg.has("traceparent")
    assert copy.has("X-Shadow-Mirror")


@contextlib.contextmanager
def front(address: str, *, is_dual: bool, **listener: Any) -> Iterator[tuple[int, Origin]]:
    """A worker that listens on an IPv6 address; its port and its live origin."""
    with contextlib.ExitStack() as stack:
        live, shadow = Origin("live"), Origin("shadow")
        stack.callback(live.stop)
        stack.callback(shadow.stop)
        bound = stack.enter_context(socket.socket(socket.AF_INET6))
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0 if is_dual else 1)
        bound.bind((address, 0))
        bound.listen()
        port = bound.getsockname()[1]
        config = settings(live={"endpoints": [live.url]}, shadow={"endpoints": [shadow.url]}, forwarded="both", listener=listener)
        config["listen"][0]["address"] = f"[{address}]:{port}"
        proxy = WorkerProxy(yaml.safe_dump(config), {"front": bound})
        try:
            yield port, live
            proxy.stop()
        finally:
            proxy.abandon()


def ask(family: int, address: str, port: int, *fields: tuple[str, str]) -> None:
    """One GET over a socket of `family`."""
    with socket.socket(family) as peer:
        peer.settimeout(15)
        peer.connect((address, port))
        peer.sendall(wire("GET", "/", *fields))
        assert ResponseReader(lambda: peer.recv(65536)).read().status == 200


def test_an_ipv6_client_is_written_as_each_form_wants() -> None:
    """X-Forwarded-For takes a bare IPv6 address, Forwarded a quoted one in brackets."""
    with front("::1", is_dual=False, trusted_proxies=["::1/128"]) as (port, live):
        ask(socket.AF_INET6, "::1", port, ("X-Forwarded-For", "2001:db8::7"))
        seen = live.wait_for("/")
    assert seen.one("X-Forwarded-For") == "2001:db8::7, ::1"
    assert seen.one("Forwarded") == 'for="[::1]";host="shop.example";proto=http'


def test_an_ipv4_client_of_a_dual_stack_listener_is_an_ipv4_client() -> None:
    """The kernel shows it as ::ffff:127.0.0.1; upstreams and the list of trusted proxies see 127.0.0.1."""
    with front("::", is_dual=True, **LOCAL) as (port, live):
        ask(socket.AF_INET, "127.0.0.1", port, ("X-Forwarded-For", "10.0.0.1"))
        seen = live.wait_for("/")
    assert seen.one("X-Forwarded-For") == "10.0.0.1, 127.0.0.1"
    assert seen.one("Forwarded") == 'for=127.0.0.1;host="shop.example";proto=http'


# Trace context.


def parts(seen: Seen) -> tuple[str, str, str]:
    """Trace id, span id and flags of a well-formed traceparent."""
    value = seen.one("traceparent")
    assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}", value), value
    _, trace, span, flags = value.split("-")
    assert trace.strip("0")
    assert span.strip("0")
    return trace, span, flags


def test_a_trace_is_begun_where_there_is_none(world: World) -> None:
    """Without traceparent each request begins a trace of its own; the copy is in it, as another span."""
    with world.client() as client:
        client.get("/a")
        client.get("/b")
    traces = set()
    for path in ("/a", "/b"):
        live, copy = (parts(leg) for leg in world.legs(path))
        assert live[0] == copy[0]
        assert live[1] != copy[1]
        assert live[2] == copy[2] == "01"
        traces.add(live[0])
    assert len(traces) == 2


def test_a_trace_is_carried_on(world: World) -> None:
    """Live gets the client's traceparent and tracestate as they came; the copy another span id and the same flags."""
    with world.client() as client:
        client.get("/", ("traceparent", PARENT), ("tracestate", "a=1,b=2"), ("tracestate", "c=3"))
    live, copy = world.legs("/")
    assert live.one("traceparent") == PARENT
    assert parts(copy)[0] == PARENT[3:35]
    assert parts(copy)[1] != PARENT[36:52]
    assert parts(copy)[2] == "00"
    assert live.all("tracestate") == copy.all("tracestate") == ["a=1,b=2", "c=3"]


@pytest.mark.parametrize(
    "value",
    [
        "",
        "nonsense",
        PARENT.upper(),
        PARENT[:-1],
        PARENT + "-extra",
        PARENT.replace("00-", "ff-", 1),
        "00-" + "0" * 32 + PARENT[35:],
        PARENT[:36] + "0" * 16 + "-01",
        PARENT.replace("0af", "0xf"),
    ],
)
def test_a_trace_that_cannot_be_read_is_begun_anew(world: World, value: str) -> None:
    """W3C Trace Context section 3.2: an invalid traceparent is replaced, and its tracestate goes with it."""
    with world.client() as client:
        client.get("/", ("traceparent", value), ("tracestate", "a=1"), ("X-After", "kept"))
    for leg in world.legs("/"):
        assert parts(leg)[0] != PARENT[3:35]
        assert not leg.has("tracestate")
        assert leg.one("X-After") == "kept"


def test_two_traces_are_none(world: World) -> None:
    """Two traceparent fields cannot both be right: a new trace begins."""
    with world.client() as client:
        client.get("/", ("traceparent", PARENT), ("Traceparent", PARENT))
    for leg in world.legs("/"):
        assert parts(leg)[0] != PARENT[3:35]


def test_a_later_version_is_carried_on(world: World) -> None:
    """A traceparent of a version to come passes to live as it is; the copy speaks version 00 in the same trace."""
    later = "01" + PARENT[2:] + "-more"
    with world.client() as client:
        client.get("/", ("traceparent", later))
    live, copy = world.legs("/")
    assert live.one("traceparent") == later
    assert parts(copy)[0] == PARENT[3:35]


# Marks and loops.


def test_copies_are_marked_and_live_is_not(world: World) -> None:
    """Only the copy carries X-Shadow-Mirror: the mirror's name and who made it."""
    with world.client() as client:
        client.get("/")
    live, copy = world.legs("/")
    assert not live.has("X-Shadow-Mirror")
    assert copy.one("X-Shadow-Mirror").startswith("shadow;by=")


@pytest.mark.parametrize(
    "name", ["X-Shadow-Mirror", "x-shadow-mirror", "X_Shadow_Mirror", "X.Shadow.Mirror", "X-Shadow-Other", "X-Fault-Delay"]
)
def test_a_stranger_cannot_mark(make_world: MakeWorld, name: str) -> None:
    """A mark or control field of an untrusted client is taken off: its request is mirrored like any other."""
    world = make_world()
    with world.client() as client:
        client.get("/", (name, "shadow;by=someone"))
    live, copy = world.legs("/")
    assert not live.has(name)
    assert "someone" not in copy.one("X-Shadow-Mirror")
    assert world.fates() == {"paired": 1}


def test_a_trusted_mark_is_believed_and_carried_on(make_world: MakeWorld) -> None:
    """A request that a trusted proxy marked is not mirrored again, and stays marked for live."""
    world = make_world(settings(listener=LOCAL))
    with world.client() as client:
        client.get("/", ("X-Shadow-Mirror", "shadow;by=someone"))
    assert world.live.wait_for("/").one("X-Shadow-Mirror") == "shadow;by=someone"
    assert world.fates() == {"marked": 1}
    assert world.shadow.requests == []


def test_our_own_mark_is_a_loop(world: World) -> None:
    """A copy that comes back to the proxy that made it gets 508 and goes no further, trusted or not."""
    with world.client() as client:
        client.get("/first")
        _, copy = world.legs("/first")
        answer = client.get("/second", ("X-Shadow-Mirror", copy.one("X-Shadow-Mirror")))
        assert answer.status == 508
        assert b'"mirror_loop"' in answer.body
    assert world.live.seen("/second") == []


@contextlib.contextmanager
def pair(trust: dict[str, Any], *, second_live: bool = False) -> Iterator[tuple[World, World]]:
    """Two proxies, the first of which mirrors to the second; that one mirrors to the first, or has it for live."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(World(settings(listener=trust)))
        back = {"endpoints": [f"http://127.0.0.1:{first.address[1]}"]}
        second = stack.enter_context(
            World(settings(listener=trust, live=back)) if second_live else World(settings(listener=trust, shadow=back))
        )
        first.apply(settings(listener=trust, shadow={"endpoints": [f"http://127.0.0.1:{second.address[1]}"]}))
        yield first, second


def test_two_proxies_that_mirror_to_each_other_stop() -> None:
    """Without trust between them the marks are not believed: Via counts the rounds, and the storm is a few requests long."""
    with pair({}) as (first, second):
        with first.client() as client:
            assert client.get("/storm").status == 200
        eventually(
            lambda: second.proxy.settled()["refusals"].get("mirror_loop", 0) + first.proxy.settled()["refusals"].get("mirror_loop", 0),
            "508",
        )
        total = len(first.live.seen("/storm")) + len(second.live.seen("/storm"))
        assert 2 <= total <= 8


def test_two_proxies_that_trust_each_other_mirror_once() -> None:
    """With trust the first mark is enough: each live sees the request once."""
    with pair(LOCAL) as (first, second):
        with first.client() as client:
            assert client.get("/once").status == 200
        second.live.wait_for("/once")
        assert first.fates() == {"paired": 1}
        assert second.fates() == {"marked": 1}
        assert len(first.live.seen("/once")) == len(second.live.seen("/once")) == 1


def test_a_mirror_whose_live_leads_back_stops_at_once() -> None:
    """The mark is carried through the second proxy, so the first knows its own copy: 508 for the copy, one request for live."""
    with pair(LOCAL, second_live=True) as (first, _):
        with first.client() as client:
            assert client.get("/around").status == 200
        tally = first.proxy.settled()
        assert tally["mirrors"]["all/shadow"]["matrix"] == {"200,508": 1}
        assert len(first.live.seen("/around")) == 1


def test_a_live_loop_is_508() -> None:
    """Two proxies that have each other for live: the client gets 508 after a few rounds."""
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(World(settings(mirror={"methods": ["DELETE"]})))
        back = {"endpoints": [f"http://127.0.0.1:{first.address[1]}"]}
        second = stack.enter_context(World(settings(live=back, mirror={"methods": ["DELETE"]})))
        there = {"endpoints": [f"http://127.0.0.1:{second.address[1]}"]}
        first.apply(settings(live=there, mirror={"methods": ["DELETE"]}))
        with first.client() as client:
            assert client.get("/").status == 508
