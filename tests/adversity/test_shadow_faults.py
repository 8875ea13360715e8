"""P1: whatever a shadow does, live is what it is with mirroring off."""

from __future__ import annotations

import contextlib
import gzip
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.adversity.leftovers import check_released, sockets_at_rest
from tests.adversity.peers import Banner, black_hole, early_then_reset, one_byte_at_a_time, storm
from tests.kit import Origin, World, answers, settings
from tests.kit.client import chunked_wire, wire
from tests.kit.network import refused_address
from tests.kit.process import eventually
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeWorld
    from tests.kit.origin import Answer, Turn
    from tests.kit.world import Plain

DATE: Final = ("Date", "Mon, 01 Jan 2024 00:00:00 GMT")
"""Live sends it itself, so that answers are the same bytes every time."""

TIMEOUT_S: Final = 0.6
"""What the mirror gives a copy: the tests of shadows that hang take as long."""

ROUNDS: Final = 3

BODY: Final = bytes(range(256)) * 800

BOMB: Final = gzip.compress(bytes(64 << 20))

CONVERSATION: Final = (
    ("GET", wire("GET", "/small")),
    ("POST", wire("POST", "/small", body=b"abc")),
    ("HEAD", wire("HEAD", "/small")),
    ("POST", wire("POST", "/upload", body=BODY)),
    ("PUT", chunked_wire("PUT", "/upload", pieces=[BODY[:10], BODY[:70_000], BODY[:70_000]])),
    ("GET", wire("GET", "/large")),
    ("GET", wire("GET", "/chunked")),
    ("GET", wire("GET", "/missing")),
)
"""One round on one keep-alive connection."""


@dataclass(frozen=True)
class Fault:
    """A way to fail, and the fates that a copy may then have."""

    answer: Answer
    fates: frozenset[str]
    shadow_status: str = ""
    spares_head: bool = False
    """HEAD, which has no body to spoil, is answered well."""


def fault(name: str, answer: Answer, *fates: str, status: str = "", spares_head: bool = False) -> Any:
    """A parameter of the tests below."""
    if spares_head:
        answer = answers.by_method({"HEAD": answers.ok()}, answer)
    return pytest.param(Fault(answer, frozenset(fates), status, spares_head), id=name)


def chunk_cut_short(turn: Turn) -> None:
    """A chunk that ends before its size says, with RST."""
    turn.read_body()
    turn.send(answers.head(200, [("Transfer-Encoding", "chunked")]) + b"100\r\nabc")
    turn.pause(0.05)
    turn.reset()


def many_fields(count: int, size: int) -> bytes:
    """A head with so many fields, each of so many bytes."""
    lines = b"".join(b"X-%06d: %b\r\n" % (number, b"v" * (size - 12)) for number in range(count))
    return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n" + lines + b"\r\n"


OK_HEAD: Final = b"HTTP/1.1 200 OK\r\n"

FAULTS: Final = (
    fault("never answers", answers.hang(), "failed_timeout"),
    fault("never reads", answers.hang_unread(), "failed_timeout", "shed_lag"),
    fault("reads a byte a second", one_byte_at_a_time(), "failed_timeout", "shed_lag"),
    fault("answers late", answers.ok(pause_s=3.0), "failed_timeout"),
    fault("answers slowly", answers.ok(pause_s=0.1), "paired", status="200"),
    fault("resets before the head", answers.reset(), "failed_reset"),
    fault("closes before the head", answers.close(), "failed_reset"),
    fault("resets inside the head", answers.raw_then_reset(b"HTTP/1.1 200 OK\r\nConte"), "failed_reset"),
    fault("resets inside the body", answers.raw_then_reset(OK_HEAD + b"Content-Length: 9\r\n\r\nabc"), "failed_truncated", spares_head=True),
    fault("resets inside a chunk", chunk_cut_short, "failed_truncated", spares_head=True),
    fault("closes inside the body", answers.raw_then_close(OK_HEAD + b"Content-Length: 9\r\n\r\nabc"), "failed_truncated", spares_head=True),
    fault("closes before the last chunk", answers.raw_then_close(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n"), "failed_truncated", spares_head=True),
    fault("breaks its chunks", answers.raw(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n", b"zz\r\n"), "failed_truncated", "failed_malformed", spares_head=True),
    fault("hangs inside the head", answers.hang_after(b"HTTP/1.1 200 OK\r\nConte"), "failed_timeout"),
    fault("hangs inside the body", answers.hang_after(OK_HEAD + b"Content-Length: 9\r\n\r\nabc"), "failed_timeout", spares_head=True),
    fault("hangs inside a chunk", answers.hang_after(OK_HEAD + b"Transfer-Encoding: chunked\r\n\r\n9\r\nabc"), "failed_timeout", spares_head=True),
    fault("streams without end", answers.endless(), "failed_timeout", spares_head=True),
    fault("sends a head of 1 MB", answers.raw(many_fields(10, 100_000)), "failed_malformed"),
    fault("sends 10,000 fields", answers.raw(many_fields(10_000, 20)), "failed_malformed"),
    fault("sends a status line of garbage", answers.raw(b"\x16\x03\x01 what is this\r\n\r\n"), "failed_malformed"),
    fault("sends two lengths", answers.raw(OK_HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok"), "failed_malformed"),
    fault("sends length and coding", answers.raw(OK_HEAD + b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"), "failed_malformed"),
    fault("sends NUL in the head", answers.raw(OK_HEAD + b"X: a\0b\r\nContent-Length: 0\r\n\r\n"), "failed_malformed"),
    fault("switches protocols unasked", answers.raw(answers.head(101, [("Upgrade", "x"), ("Connection", "upgrade")])), "failed_malformed"),
    fault("sends 100 and 103 without end", storm(answers.head(100) + answers.head(103, [("Link", "</a>")]), 200), "failed_malformed"),
    fault("sends some 100 and 103", storm(answers.head(100) + answers.head(103), 3), "paired", status="200"),
    fault("redirects to itself", answers.ok(b"", status=302, fields=[("Location", "/small"), ("Set-Cookie", "a=b")]), "paired", status="302"),
    fault("sends a zip bomb", answers.ok(BOMB, fields=[("Content-Encoding", "gzip")]), "paired", status="200"),
    fault("answers before it reads", answers.early(OK_HEAD + b"Content-Length: 0\r\n\r\n", then_close=True), "paired", "failed_reset", status="200"),
    fault("answers and resets unread", early_then_reset(OK_HEAD + b"Content-Length: 0\r\n\r\n"), "paired", "failed_reset", status="200"),
    fault("drips its head", answers.drip(OK_HEAD + b"Content-Length: 0\r\n\r\n", pause_s=0.1), "failed_timeout"),
    fault("sends more than announced", answers.raw(OK_HEAD + b"Content-Length: 2\r\n\r\nok" + OK_HEAD * 3), "paired", status="200"),
    fault("closes after every answer", answers.raw_then_close(OK_HEAD + b"Content-Length: 2\r\nConnection: close\r\n\r\nok"), "paired", status="200"),
    fault("ends its answer by closing", answers.raw_then_close(OK_HEAD + b"\r\nok"), "paired", status="200"),
    fault("answers 500", answers.ok(status=500), "paired", status="500"),
)  # fmt: skip


def config(**mirror: Any) -> Plain:
    """Everything mirrored, with little patience."""
    return settings(mirror={"timeout": f"{TIMEOUT_S}s", **mirror}, shadow={"connect_timeout": "500ms"})


def script_live(live: Origin) -> None:
    """Answers of every kind, the same bytes each time."""
    live.on("/small", answers.ok(b"hello", fields=[DATE]))
    live.on("/upload", answers.ok(b"thank you", status=201, fields=[DATE]))
    live.on("/large", answers.ok(BODY, fields=[DATE]))
    live.on("/chunked", answers.chunked([b"abc", BODY[:5000]], fields=[DATE], trailers=[("X-Sum", "1")]))
    live.on("/missing", answers.ok(b"nothing here", status=404, fields=[DATE]))


def converse(world: World, rounds: int = ROUNDS) -> list[object]:
    """Hold the conversation on one connection; return the answers: every byte, or their parts where they came in chunks."""
    answered: list[object] = []
    with world.client() as client:
        for _ in range(rounds):
            for method, request in CONVERSATION:
                before = len(client.received)
                client.send(request)
                response = client.response(method)
                # Where a chunk ends is where a read ended.
                answered.append(response if response.has("Transfer-Encoding") else bytes(client.received[before:]))
    return answered


@pytest.fixture(scope="module")
def unmirrored() -> list[object]:
    """What the conversation is with mirroring off."""
    plain = config()
    plain["routes"][0]["mirror"] = []
    with World(plain) as world:
        script_live(world.live)
        return converse(world)


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_shadow_leaves_live_as_it_is(make_world: MakeWorld, unmirrored: list[object], fault: Fault) -> None:
    """Same bytes, no error, the next request on the same connection served; copies end in their class and leave nothing."""
    world = make_world(config())
    script_live(world.live)
    world.shadow.answer = fault.answer
    sockets = sockets_at_rest(world)
    assert converse(world) == unmirrored
    fates = world.fates()
    assert sum(fates.values()) == ROUNDS * len(CONVERSATION)
    check_matrix(world, fault)
    if fault.spares_head:
        assert fates.pop("paired") == ROUNDS
    assert set(fates) <= fault.fates, fates
    check_released(world, sockets)
    responses = world.proxy.tally["routes"]["all"]["responses"]
    assert set(responses) <= {"200", "201", "404"}, responses


def check_matrix(world: World, fault: Fault) -> None:
    """A leg that was cut short is no evidence about bodies, and a status is what the shadow said."""
    mirror = world.proxy.tally["mirrors"][MIRROR]
    compared = mirror["bodies"]["equal"] + mirror["bodies"]["different"]
    assert compared == mirror["fates"].get("paired", 0), mirror
    shadows = {cell.partition(",")[2] for cell in mirror["matrix"]}
    if fault.shadow_status:
        assert fault.shadow_status in shadows
    elif not fault.spares_head:
        assert not any(shadow.isdigit() for shadow in shadows), mirror["matrix"]


@contextlib.contextmanager
def refusing() -> Iterator[str]:
    """The URL of an endpoint that refuses connections."""
    yield "http://{}:{}".format(*refused_address())


@contextlib.contextmanager
def unresolvable() -> Iterator[str]:
    """The URL of an endpoint whose name does not exist (RFC 6761 section 6.4)."""
    yield "http://shadow.invalid:80"


@contextlib.contextmanager
def speaking_first() -> Iterator[str]:
    """An endpoint that sends before it is asked."""
    with Banner(b"220 mail.example ready\r\n") as banner:
        yield banner.url


@contextlib.contextmanager
def not_speaking_tls() -> Iterator[str]:
    """An https endpoint that answers the handshake in plain text."""
    with Banner(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n") as banner:
        yield banner.url.replace("http:", "https:")


@pytest.mark.parametrize(
    ("endpoint", "fates"),
    [
        pytest.param(refusing, {"failed_refused"}, id="refuses"),
        pytest.param(black_hole, {"failed_connect_timeout", "shed_lag"}, id="black hole"),
        pytest.param(unresolvable, {"failed_unreachable", "failed_connect_timeout"}, id="no such name"),
        pytest.param(speaking_first, {"failed_reset", "failed_malformed"}, id="speaks first"),
        pytest.param(not_speaking_tls, {"failed_tls", "failed_reset"}, id="no TLS"),
    ],
)
def test_a_shadow_that_cannot_be_reached(make_world: MakeWorld, unmirrored: list[object], endpoint: Any, fates: set[str]) -> None:
    """The same promise where no connection comes about at all."""
    with endpoint() as url:
        plain = config()
        plain["fleets"]["shadow"]["endpoints"] = [url]
        world = make_world(plain)
        script_live(world.live)
        sockets = sockets_at_rest(world)
        assert converse(world) == unmirrored
        found = world.fates()
        assert sum(found.values()) == ROUNDS * len(CONVERSATION)
        assert set(found) <= fates, found
        check_released(world, sockets)


def test_the_breaker_spares_a_dead_shadow_and_tries_it_again(make_world: MakeWorld) -> None:
    """After `failures` in a row copies are shed; one probe at a time asks again; a whole answer closes the breaker."""
    plain = config(breaker={"failures": 3, "period": "100ms"})
    world = make_world(plain)
    script_live(world.live)
    address = world.shadow.address
    world.shadow.stop()
    with world.client() as client:

        def state_after_a_request() -> str:
            assert client.get("/small").status == 200
            return str(world.proxy.tally.get("mirrors", {}).get(MIRROR, {}).get("breaker"))

        eventually(lambda: state_after_a_request() == "open", "the breaker opens")
        eventually(lambda: world.fates().get("shed_breaker"), "copies are shed")
        refused = world.proxy.tally["mirrors"][MIRROR]["fates"]["failed_refused"]
        assert refused >= 3
        revived = Origin("revived", address=address)
        try:
            eventually(lambda: state_after_a_request() == "closed", "the breaker closes")
            eventually(lambda: revived.requests, "the shadow is asked again")
        finally:
            revived.stop()


def test_a_hundred_hanging_copies_leave_nothing(make_world: MakeWorld) -> None:
    """Past `in_flight` copies are shed at once; all that were under way end by their deadline."""
    world = make_world(config(in_flight=20))
    script_live(world.live)
    world.shadow.answer = answers.hang()
    sockets = sockets_at_rest(world)
    with world.client() as client:
        for _ in range(100):
            assert client.get("/small").body == b"hello"
    fates = world.fates()
    assert fates.pop("failed_timeout") >= 5
    assert set(fates) <= {"shed_in_flight", "shed_range"}, fates
    check_released(world, sockets)
