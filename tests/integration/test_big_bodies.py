"""Bodies far larger than memory allows for: they stream, both ways, mirrored or too large for it."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING, Any, Final

import pytest

from tests.kit import Client, Origin, answers, settings
from tests.kit.client import wire
from tests.kit.process import eventually, peak_rss_bytes, rss_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.conftest import MakeWorld
    from tests.kit import World
    from tests.kit.origin import Turn

MIB: Final = 1 << 20

SIZE: Final = (1024 if os.environ.get("DEEP") == "1" else 256) * MIB

GROWTH_LIMIT: Final = 16 * MIB
"""What a body of any size may add to a worker's memory."""

PIECE: Final = bytes(range(256)) * 256
"""64 KiB, the same over and over: no 16-byte window of it looks like another."""


def pieces(size: int) -> Iterator[bytes]:
    """So many bytes, piece by piece."""
    whole, rest = divmod(size, len(PIECE))
    for _ in range(whole):
        yield PIECE
    if rest:
        yield PIECE[:rest]


def digest_of(size: int) -> str:
    """What the receiver of so many bytes must have read."""
    digest = hashlib.blake2b()
    for piece in pieces(size):
        digest.update(piece)
    return digest.hexdigest()


class Meter:
    """An answer that reads a body without keeping it: digest, size, and the moment of its first byte."""

    def __init__(self) -> None:
        self.first = threading.Event()
        self._digest = hashlib.blake2b()

    def __call__(self, turn: Turn) -> None:
        """Read, and answer with the digest."""
        for piece in turn.pieces():
            self.first.set()
            self._digest.update(piece)
        body = self._digest.hexdigest().encode()
        turn.send(answers.head(200, [("Content-Length", str(len(body)))]) + body)


def download(size: int, *, is_chunked: bool) -> Any:
    """An answer of so many bytes, made as it goes."""

    def answer(turn: Turn) -> None:
        turn.read_body()
        framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(size))
        turn.send(answers.head(200, [framing]))
        for piece in pieces(size):
            turn.send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            turn.send(b"0\r\n\r\n")

    return answer


@pytest.fixture
def big_world(make_world: MakeWorld) -> World:
    """Origins that keep no bodies around a worker that mirrors them up to 1 MiB."""
    live, shadow = Origin("live", keeps_bodies=False), Origin("shadow", keeps_bodies=False)
    world = make_world(settings(mirror={"body_limit": "1MiB", "timeout": "60s"}), live=live, shadow=shadow)
    with world.client() as client:
        assert client.get("/warm").status == 200
    world.proxy.settled()
    return world


def upload(client: Client, size: int, meter: Meter, *, is_chunked: bool) -> str:
    """Send so many bytes, the last only when live has read the first; return what live answered."""
    framing = ("Transfer-Encoding", "chunked") if is_chunked else ("Content-Length", str(size))
    client.send(wire("PUT", "/big", framing))
    sent = 0
    for piece in pieces(size):
        sent += len(piece)
        if sent >= size:
            assert meter.first.wait(15), "live must read before the client has sent all"
        client.send(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
    if is_chunked:
        client.send(b"0\r\n\r\n")
    response = client.response("PUT")
    assert response.status == 200
    return response.body.decode()


@pytest.mark.slow
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
def test_a_big_upload_streams(big_world: World, is_chunked: bool) -> None:
    """Live reads it whole while the client sends it; the copy of a chunked one is given up at its limit; memory stays."""
    meter = Meter()
    big_world.live.on("/big", meter)
    before = rss_bytes(big_world.proxy.pid)
    with big_world.client() as client:
        assert upload(client, SIZE, meter, is_chunked=is_chunked) == digest_of(SIZE)
        assert client.get("/next").status == 200
    fates = big_world.fates()
    assert fates == {"paired": 2, "too_large": 1}
    assert peak_rss_bytes(big_world.proxy.pid) - before < GROWTH_LIMIT
    assert not any(request.is_complete for request in big_world.shadow.seen("/big"))


@pytest.mark.slow
@pytest.mark.parametrize("is_chunked", [False, True], ids=["sized", "chunked"])
def test_a_big_download_streams(big_world: World, is_chunked: bool) -> None:
    """The client reads it whole, at its own pace; a shadow that answers as much is cut off; memory stays."""
    for origin in (big_world.live, big_world.shadow):
        origin.on("/big", download(SIZE, is_chunked=is_chunked))
    before = rss_bytes(big_world.proxy.pid)
    digest = hashlib.blake2b()
    with big_world.client() as client:
        client.send(wire("GET", "/big"))
        stream = client.stream()
        next(stream)
        for piece in stream:
            assert isinstance(piece, bytes)
            digest.update(piece)
            client.received.clear()
        assert digest.hexdigest() == digest_of(SIZE)
        assert client.get("/next").status == 200
    assert big_world.fates() == {"paired": 2, "failed_timeout": 1}
    assert peak_rss_bytes(big_world.proxy.pid) - before < GROWTH_LIMIT


def test_many_uploads_to_a_shadow_that_reads_nothing(make_world: MakeWorld) -> None:
    """The worker's budget for all copies holds: what is over it is shed, live reads everything, memory stays."""
    # The kernel takes almost 3 MiB of each before a byte has to be held.
    count, size = 10, 6 * MIB
    live, shadow = Origin("live", keeps_bodies=False), Origin("shadow", keeps_bodies=False, receive_buffer=4096)
    limits = {"tee_memory": "8MiB"}
    world = make_world(
        settings(mirror={"body_limit": "64MiB", "body_budget": "64MiB", "timeout": "60s"}, limits=limits), live=live, shadow=shadow
    )
    shadow.answer = answers.hang_unread()
    live.answer = answers.ok()
    world.proxy.tally_where(lambda tally: tally.get("process"))
    before = rss_bytes(world.proxy.pid)
    clients = [world.client() for _ in range(count)]
    for client in clients:
        client.send(wire("PUT", "/big", ("Content-Length", str(size))))
    world.live.wait_begun("/big", count)
    held = 0
    for _ in range(size // len(PIECE)):
        for client in clients:
            client.send(PIECE)
        held = max(held, world.proxy.tally["mirrors"]["all/shadow"]["held"])
    for client in clients:
        assert client.response("PUT").status == 200
    assert sum(request.body_bytes == size for request in live.seen("/big")) == count
    tally = world.proxy.tally_where(lambda tally: tally["mirrors"]["all/shadow"]["fates"].get("shed_memory", 0) > 0)
    assert held <= 8 * MIB
    assert tally["mirrors"]["all/shadow"]["held"] <= 8 * MIB
    # What is held, and what the allocator keeps of what was held before.
    assert peak_rss_bytes(world.proxy.pid) - before < GROWTH_LIMIT + 2 * 8 * MIB
    world.proxy.kill()
    eventually(lambda: world.proxy.tally["mirrors"]["all/shadow"]["held"] == 0, "nothing is held any more")
