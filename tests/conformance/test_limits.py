"""LIM: what a client may ask of the proxy, in bytes and in time."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import pytest

from tests.kit import World, settings
from tests.kit.client import wire
from tests.kit.process import eventually, rss_bytes

if TYPE_CHECKING:
    from tests.conftest import MakeWorld


@pytest.mark.requirement("LIM-01")
@pytest.mark.parametrize("is_split", [False, True])
def test_a_long_request_line_is_414(world: World, is_split: bool) -> None:
    """Over the limit (16 KiB) 414, in one piece or many, and nothing goes upstream."""
    raw = wire("GET", "/" + "a" * 20000)
    with world.client() as client:
        if is_split:
            client.send_split(raw, range(1000, len(raw), 1000))
        else:
            client.send(raw)
        assert client.response().status == 414
        client.expect_end()
    assert world.untouched("/" + "a" * 20000)


@pytest.mark.requirement("LIM-01")
@pytest.mark.parametrize("length", [8000, 16000])
def test_a_request_line_of_8000_octets_is_accepted(world: World, length: int) -> None:
    """RFC 9112 section 3: at least 8000 octets."""
    target = "/" + "a" * (length - 1)
    with world.client() as client:
        assert client.get(target).status == 200
    for leg in world.legs(target):
        assert leg.target == target


@pytest.mark.requirement("LIM-01")
@pytest.mark.parametrize(
    "fields",
    [
        b"X-Long: " + b"a" * 70000 + b"\r\n",
        b"".join(b"X-%d: %b\r\n" % (n, b"a" * 700) for n in range(100)),
        b"".join(b"X-%d: a\r\n" % n for n in range(300)),
    ],
)
@pytest.mark.parametrize("is_split", [False, True])
def test_too_many_fields_are_431(world: World, fields: bytes, is_split: bool) -> None:
    """Over the limits on bytes (64 KiB) and lines (200) 431, in one piece or many."""
    raw = b"GET /431 HTTP/1.1\r\nHost: h\r\n" + fields + b"\r\n"
    with world.client() as client:
        if is_split:
            client.send_split(raw, range(1000, len(raw), 1000))
        else:
            client.send(raw)
        assert client.response().status == 431
        client.expect_end()
    assert world.untouched("/431")


@pytest.mark.requirement("LIM-01")
def test_an_endless_head_is_bounded(world: World) -> None:
    """A client that never ends its head is answered and cut off; what it sends is not kept."""
    before = rss_bytes(world.proxy.pid)
    with world.client() as client:
        client.send(b"GET /endless HTTP/1.1\r\nHost: h\r\n")
        try:
            for _ in range(300):
                client.send(b"X-More: " + b"a" * 100_000)
        except OSError:
            pass
    assert rss_bytes(world.proxy.pid) - before < 8 * 1024 * 1024
    assert world.untouched("/endless")


@pytest.mark.requirement("LIM-02")
@pytest.mark.parametrize("sent", [b"G", b"GET /slow HTTP/1.1\r\n", b"GET /slow HTTP/1.1\r\nHost: h\r\n"])
def test_a_head_that_does_not_come_is_408(make_world: MakeWorld, sent: bytes) -> None:
    """Silence inside a head ends with 408 and a closed connection."""
    world = make_world(settings(limits={"header_timeout": "200ms"}))
    with world.client() as client:
        client.send(sent)
        assert client.response().status == 408
        client.expect_end()


@pytest.mark.requirement("LIM-02")
def test_dripping_does_not_extend_the_head_timeout(make_world: MakeWorld) -> None:
    """Slowloris: one field now and then does not keep a connection beyond the limit."""
    world = make_world(settings(limits={"header_timeout": "400ms"}))
    stop = threading.Event()
    with world.client() as client:
        client.send(b"GET /slowloris HTTP/1.1\r\nHost: h\r\n")

        def drip() -> None:
            while not stop.wait(0.05):
                try:
                    client.send(b"X: y\r\n")
                except OSError:
                    return

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert client.remainder().startswith(b"HTTP/1.1 408")
        finally:
            stop.set()
            dripping.join()
    assert world.untouched("/slowloris")


@pytest.mark.requirement("LIM-02")
@pytest.mark.parametrize(
    "raw", [wire("POST", "/slow", body=b"abc")[:-1], b"POST /slow HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab"]
)
def test_a_body_that_does_not_come_is_408(make_world: MakeWorld, raw: bytes) -> None:
    """Silence inside a body ends the request: 408 to the client, never a complete request to either leg."""
    world = make_world(settings(limits={"body_timeout": "200ms"}))
    with world.client() as client:
        client.send(raw)
        assert client.response().status == 408
        client.expect_end()
    for origin in (world.live, world.shadow):
        seen = origin.wait_begun("/slow")
        eventually(lambda origin=origin, seen=seen: not origin.connections[seen.connection].is_open, "the upstream connection ends")  # type: ignore[misc]
        assert not seen.is_complete


@pytest.mark.requirement("LIM-02")
@pytest.mark.parametrize("has_asked", [False, True])
def test_an_idle_connection_is_closed(make_world: MakeWorld, has_asked: bool) -> None:
    """A connection that asks nothing (any more) ends without an answer."""
    world = make_world(settings(limits={"idle_timeout": "200ms", "header_timeout": "200ms"}))
    with world.client() as client:
        if has_asked:
            assert client.get("/asked").status == 200
        client.expect_end()


@pytest.mark.requirement("LIM-02")
def test_slow_connections_do_not_block_others(make_world: MakeWorld) -> None:
    """With five hundred unfinished heads open, another client is served."""
    world = make_world()
    slow = [world.client() for _ in range(500)]
    for client in slow:
        client.send(b"GET /slow HTTP/1.1\r\nHost: h\r\n")
    with world.client() as client:
        assert client.get("/served").status == 200
    world.legs("/served")


@pytest.mark.requirement("LIM-03")
def test_a_long_body_is_413_at_once(make_world: MakeWorld) -> None:
    """A length over the limit is refused before any of the body is read, and nothing goes upstream."""
    world = make_world(settings(limits={"body": 1000}))
    answer = world.refuses(b"POST /long HTTP/1.1\r\nHost: h\r\nContent-Length: 1001\r\n\r\n", 413)
    assert answer.one("Connection") == "close"
    assert world.untouched("/long")
    with world.client() as client:
        assert client.request("POST", "/fits", body=b"x" * 1000).status == 200
    world.legs("/fits")


@pytest.mark.requirement("LIM-03")
def test_a_chunked_body_over_the_limit_is_413(make_world: MakeWorld) -> None:
    """Chunks are counted as they come: 413 when they are too many, and an aborted request to both legs."""
    world = make_world(settings(limits={"body": 1000}))
    before = rss_bytes(world.proxy.pid)
    with world.client() as client:
        client.send(b"POST /chunks HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
        try:
            for _ in range(2000):
                client.send(b"2000\r\n" + b"x" * 0x2000 + b"\r\n")
        except OSError:
            pass
        assert b" 413 " in client.remainder()[:40]
    assert rss_bytes(world.proxy.pid) - before < 8 * 1024 * 1024
    assert world.untouched("/chunks")
