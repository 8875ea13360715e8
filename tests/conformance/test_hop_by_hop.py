"""HBH: fields that belong to a connection (RFC 9110 section 7.6.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import World, answers
from tests.kit.client import chunked_wire, wire

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.mark.requirement("HBH-01")
def test_fields_named_by_connection_are_removed(world: World) -> None:
    """Connection and every field that it names, in any letter case and on any line, reach neither live nor shadow."""
    fields = [
        ("Connection", "X-Foo, x-bar"),
        ("X-Foo", "1"),
        ("X-Bar", "2"),
        ("connection", "X-BAZ"),
        ("x-baz", "3"),
        ("X-Foo", "again"),
        ("X-Kept", "4"),
    ]
    with world.client() as client:
        assert client.get("/named", *fields).status == 200
    for leg in world.legs("/named"):
        for name in ("Connection", "X-Foo", "X-Bar", "X-Baz"):
            assert not leg.has(name), (name, leg)
        assert leg.one("X-Kept") == "4"


@pytest.mark.requirement("HBH-02")
def test_fields_named_by_connection_are_removed_from_answers(world: World) -> None:
    """The same holds for what live answers."""
    world.live.answer = answers.ok(b"up", fields=[("Connection", "X-Up, close"), ("X-Up", "1"), ("X-Stays", "2")])
    with world.client() as client:
        answer = client.get("/answered")
        assert not answer.has("X-Up")
        assert "X-Up" not in "".join(answer.all("Connection"))
        assert answer.one("X-Stays") == "2"
        assert client.get("/again").status == 200, "live's close is not the client's"
    world.legs("/again")


@pytest.mark.requirement("HBH-03")
def test_hop_by_hop_fields_are_removed_unasked(world: World) -> None:
    """Fields that are hop-by-hop by nature are removed although nothing names them."""
    hop = [
        ("Proxy-Connection", "keep-alive"), ("Keep-Alive", "timeout=5"), ("TE", "gzip"), ("Upgrade", "websocket"), ("Proxy-Authenticate", "Basic"),
        ("Proxy-Authorization", "Basic Zm9v"),
    ]  # fmt: skip
    with world.client() as client:
        assert client.get("/unasked", *hop).status == 200
    for leg in world.legs("/unasked"):
        for name, _ in hop:
            assert not leg.has(name), (name, leg)


@pytest.mark.requirement("HBH-03")
def test_framing_fields_are_generated_anew(world: World) -> None:
    """A chunked body goes on with our own Transfer-Encoding, once, and with its trailers."""
    with world.client() as client:
        client.send(chunked_wire("POST", "/anew", ("Trailer", "X-Sum"), pieces=[b"ab", b"c"], trailers="X-Sum: 3\r\n"))
        assert client.response().status == 200
    for leg in world.legs("/anew"):
        assert leg.one("Transfer-Encoding") == "chunked"
        assert not leg.has("Content-Length")
        assert leg.body == b"abc"
        assert leg.trailers == (("X-Sum", "3"),)


@pytest.mark.requirement("HBH-04")
@pytest.mark.parametrize("first", ["", " ", ",", " , ,", "keep-alive"])
def test_an_empty_connection_line_hides_nothing(world: World, first: str) -> None:
    """A first Connection line that names nothing does not protect what the second one names."""
    with world.client() as client:
        client.send(f"GET /hidden HTTP/1.1\r\nHost: h\r\nConnection:{first}\r\nConnection: X-Foo\r\nX-Foo: 1\r\n\r\n".encode())
        assert client.response().status == 200
    for leg in world.legs("/hidden"):
        assert not leg.has("X-Foo")
        assert not leg.has("Connection")


OURS = ("X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "Via", "traceparent")


@pytest.mark.requirement("HBH-05")
@pytest.mark.parametrize("spelling", [str.lower, str.upper, str.title])
def test_a_client_cannot_nominate_our_fields_away(world: World, spelling: Callable[[str], str]) -> None:
    """Fields that the proxy adds, the tag and the request id survive a Connection list that names them, in any case."""
    named = [*OURS, "x-test-traffic", "x-request-id", "x-shadow-mirror"]
    listed = "close, " + ", ".join(spelling(name) for name in named)
    with world.client() as client:
        assert client.get("/nominated", ("Connection", listed), ("X-Test-Traffic", "true"), ("X-Request-Id", "r1")).status == 200
    live, shadow = world.legs("/nominated")
    for leg in (live, shadow):
        for name in OURS:
            assert leg.has(name), (name, leg)
        assert leg.one("X-Test-Traffic") == "true"
        assert leg.one("X-Request-Id") == "r1"
    assert shadow.has("X-Shadow-Mirror"), "the copy is marked"


@pytest.mark.requirement("HBH-06")
@pytest.mark.parametrize("nominated", ["Content-Length", "content-length", "Host", "Authorization", "Content-Type"])
def test_a_nomination_does_not_corrupt_a_request(world: World, nominated: str) -> None:
    """A Connection list that names what frames, routes or authorises a request is ignored in that: nothing is dropped silently."""
    fields = [("Connection", nominated), ("Authorization", "Bearer t"), ("Content-Type", "text/plain")]
    with world.client() as client:
        assert client.request("POST", "/corrupt", *fields, body=b"abc").status == 200
        assert client.get("/next").status == 200
    live, shadow = world.legs("/corrupt")
    for leg in (live, shadow):
        assert leg.body == b"abc"
        assert leg.one("Content-Length") == "3"
        assert leg.one("Host") == "shop.example"
        assert leg.one("Content-Type") == "text/plain"
    assert live.one("Authorization") == "Bearer t"


@pytest.mark.requirement("HBH-06")
def test_a_nominated_coding_still_frames(world: World) -> None:
    """Connection: Transfer-Encoding does not turn a chunked body into pipelined requests."""
    with world.client() as client:
        client.send(
            chunked_wire("POST", "/coded", ("Connection", "Transfer-Encoding"), pieces=[b"GET /smuggled HTTP/1.1\r\nHost: h\r\n\r\n"])
        )
        assert client.response().status == 200
    for leg in world.legs("/coded"):
        assert leg.body.startswith(b"GET /smuggled")
    assert not world.live.seen("/smuggled")
    assert not world.shadow.seen("/smuggled")


@pytest.mark.requirement("HBH-07")
@pytest.mark.parametrize(("sent", "survives"), [("trailers", True), ("gzip;q=0.5, trailers", True), ("Trailers", True), ("gzip", False)])
def test_te_trailers_survives(world: World, sent: str, survives: bool) -> None:
    """TE: trailers is passed on with a Connection: TE of our own; nothing else of TE is."""
    with world.client() as client:
        client.send(wire("GET", "/te", ("TE", sent), ("Connection", "TE")))
        assert client.response().status == 200
    for leg in world.legs("/te"):
        assert leg.all("TE") == (["trailers"] if survives else [])
        assert leg.all("Connection") == (["TE"] if survives else [])
