"""The process around a worker: what becomes of tagged requests that it holds when it is told something else, or ends."""

from __future__ import annotations

import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from tests.data.tag_cases import TAGGED, UNTAGGED, Case
from tests.kit import process
from tests.kit.process import eventually
from tests.kit.tagged import TaggedWorld, ask, wire

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.client import Client
    from tests.kit.tagged import Ask

PLAIN = Case(TAGGED, "canary-7", ("X-Test-Traffic: canary-7",), TAGGED, "canary-7")
NONE = Case(UNTAGGED, "", (), UNTAGGED, "")
MIB = 1024 * 1024


@pytest.fixture
def world() -> Iterator[TaggedWorld]:
    """A worker whose control does not acknowledge rows until it is told to."""
    with TaggedWorld() as made:
        made.proxy.ledger_problem = None
        yield made


def hold(world: TaggedWorld, route: str = "sink") -> tuple[Ask, Client]:
    """A write whose row has been asked for."""
    asked, client = world.begin(ask(PLAIN, route))
    eventually(lambda: world.rows_of(asked.number), "its row is asked for")
    return asked, client


def acknowledge(world: TaggedWorld) -> None:
    """Rows are durable, those asked for so far and all others."""
    world.proxy.ledger_problem = ""
    world.proxy.send({"type": "ledger_done", "ids": list(world.proxy.rows), "problem": ""})


def test_a_reload_while_requests_are_held(world: TaggedWorld) -> None:
    """They go where they were decided to go, or are 503 where that is gone; what comes afterwards goes by the new rules."""
    to_sink, to_partition = hold(world), hold(world, "fleet")
    for route in world.config["routes"]:
        route["test_traffic"] = {"writes": "refuse"}
    world.proxy.told["sinks"] = {}
    world.proxy.apply(world.text())
    acknowledge(world)
    assert world.end(*to_sink) == 503
    assert world.end(*to_partition) == 201
    assert world.send(ask(PLAIN, "live")) == 409
    assert world.send(ask(NONE, "live")) == 200


def test_a_drain_waits_for_what_is_held(world: TaggedWorld) -> None:
    """A row that becomes durable during the drain still sends its write; nobody can connect any more."""
    held = hold(world)
    sockets = process.open_sockets(world.proxy.pid)
    world.proxy.send({"type": "drain", "seconds": 10.0})
    eventually(lambda: process.open_sockets(world.proxy.pid) < sockets, "the listener is closed")
    acknowledge(world)
    assert world.end(*held) == 201
    assert world.proxy.process.wait(15) == 0


def test_a_worker_that_is_killed_has_sent_nothing(world: TaggedWorld) -> None:
    """The client's connection ends without an answer; neither live nor the sink has heard of the write."""
    held, untouched = hold(world), hold(world, "path")
    world.proxy.sigkill()
    assert world.end(*held) == world.end(*untouched) == 0
    assert not world.live.requests + world.sink.requests + world.partition.requests


def test_control_that_dies_takes_what_is_held_with_it(world: TaggedWorld) -> None:
    """Within its patience of five seconds a write is 503, and the worker ends by itself."""
    held = hold(world)
    world.proxy.hang_up()
    assert world.end(*held) == 503
    assert world.proxy.process.wait(15) == 0
    assert not world.live.requests + world.sink.requests


def test_memory_of_held_bodies_is_bounded() -> None:
    """Many slow uploads, in pieces of any size: beyond `memory` 503, and the process stays about as small as that; afterwards there is room again."""
    with TaggedWorld(tenancy={"body_limit": 4 * MIB, "memory": 16 * MIB}) as world:
        world.send(ask(PLAIN, "sink"))
        before = process.rss_bytes(world.proxy.pid)
        head = wire("POST", "/sink/orders", PLAIN.block, extra=b"Transfer-Encoding: chunked\r\n")
        uploads = [world.begin(_upload(head)) for _ in range(32)]

        def pour(client: Client) -> None:
            piece = b"%x\r\n%b\r\n" % (MIB - 1, b"x" * (MIB - 1))
            try:
                for _ in range(3):
                    client.send(piece)
            except ConnectionError:
                return

        threads = [threading.Thread(target=pour, args=[client]) for _, client in uploads]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        tally = world.proxy.tally_where(lambda tally: tally["refusals"]["tagged_bodies_overflow"] >= 16)
        assert tally["refusals"]["tagged_bodies_overflow"] >= 16
        assert process.rss_bytes(world.proxy.pid) - before < 3 * 16 * MIB
        for _, client in uploads:
            client.abort()
        eventually(lambda: world.send(ask(PLAIN, "sink")) == 201, "there is room again")


def _upload(head: bytes) -> Ask:
    return replace(ask(PLAIN, "sink"), wire=head)


def test_small_pieces_take_no_more_than_large_ones() -> None:
    """A body that comes byte by byte is held in about its own size."""
    with TaggedWorld(tenancy={"body_limit": 4 * MIB, "memory": 16 * MIB}) as world:
        world.send(ask(PLAIN, "sink"))
        count = 150_000
        head = wire("POST", "/sink/orders", PLAIN.block, extra=b"Content-Length: %d\r\n" % (2 * count + 1))
        _, client = world.begin(_upload(head))
        before = process.rss_bytes(world.proxy.pid)
        # Segments of two bytes each, where the kernel keeps them apart.
        for _ in range(count // 100):
            for _ in range(100):
                client.socket.send(b"xx")
        eventually(lambda: world.proxy.tally["tests_held"], "it is held")
        assert process.rss_bytes(world.proxy.pid) - before < 4 * MIB
        client.abort()


def test_an_expected_upload_is_asked_for(world: TaggedWorld) -> None:
    """100 comes at once, before anybody upstream hears of the request; the body then goes on with it."""
    acknowledge(world)
    head = wire("POST", "/sink/orders", PLAIN.block, extra=b"Expect: 100-continue\r\nContent-Length: 3\r\n")
    asked, client = world.begin(_upload(head))
    assert client.receive_exactly(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert not world.sink.requests
    client.send(b"a=1")
    assert world.end(asked, client) == 201
