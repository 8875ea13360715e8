"""P4: the kill switch, under load, with copies in flight, and with the worker not listening."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

import pytest

from shadowproxy.dataplane.messages import KILL_WORD
from tests.adversity.kill_latency import measure, percentile
from tests.adversity.leftovers import check_released, sockets_at_rest
from tests.kit import answers, settings
from tests.kit.client import wire
from tests.kit.process import eventually
from tests.kit.world import MIRROR

if TYPE_CHECKING:
    from tests.conftest import MakeWorld

BOUND_MS = 2000.0
"""Twenty times the promise: test machines stall, and the number itself is on the benchmark page."""


def test_percentiles() -> None:
    """Nearest rank: the smallest value that so large a share does not exceed."""
    values = [float(number) for number in range(1, 101)]
    assert [percentile(values, share) for share in (0.001, 0.5, 0.99, 1.0)] == [1.0, 50.0, 99.0, 100.0]
    assert percentile([7.0], 0.99) == 7.0


@pytest.mark.parametrize("tries", [pytest.param(5, id="few"), pytest.param(50, id="many", marks=pytest.mark.deep)])
def test_no_shadow_byte_after_the_kill(tries: int) -> None:
    """With sixteen uploads being copied as they stream, no byte reaches the shadow once the kill was acknowledged; live goes on."""
    measured = measure(tries, uploads=16)
    for name, values in measured.items():
        print(f"{name}: p50 {percentile(values, 0.5):.1f}, p99 {percentile(values, 0.99):.1f} over {tries} tries")
    assert measured["from_return_ms"][-1] < BOUND_MS


def test_a_kill_ends_copies_of_every_kind(make_world: MakeWorld) -> None:
    """Waiting for a connection, sent and unanswered, half answered, half uploaded: all end as killed, and live answers all of them."""
    world = make_world(settings(mirror={"timeout": "60s"}, shadow={"max_connections": 3}))
    sockets = sockets_at_rest(world)
    world.shadow.on("/unanswered", answers.hang())
    world.shadow.on("/half", answers.hang_after(answers.head(200, [("Content-Length", "9")]) + b"abc"))
    uploading = world.client()
    uploading.send(wire("POST", "/upload", body=b"0123456789")[:-5])
    world.shadow.wait_begun("/upload")
    with world.client() as client:
        for path in ("/unanswered", "/half", "/waiting", "/waiting"):
            assert client.get(path).status == 200
    world.shadow.wait_for("/half")
    world.proxy.kill()
    eventually(lambda: not world.shadow.open_connections, "every connection with a copy is gone")
    assert all(connection.ended == "peer reset" for connection in world.shadow.connections)
    uploading.send(b"56789")
    assert uploading.response("POST").status == 200
    assert world.live.wait_for("/upload").body == b"0123456789"
    uploading.close()
    assert world.fates() == {"killed": 5}
    assert not world.shadow.seen("/waiting")
    check_released(world, sockets)


def test_resume_mirrors_again(make_world: MakeWorld) -> None:
    """Kill and resume as often as one likes, twice in a row as well: killed in between, mirrored after."""
    world = make_world()
    with world.client() as client:
        for number in range(5):
            world.proxy.kill()
            world.proxy.kill()
            assert client.get("/killed").status == 200
            world.proxy.resume()
            world.proxy.resume()
            assert client.get("/copied").status == 200
            # Whole, too: the next kill would end a copy whose answer is on its way.
            world.proxy.tally_where(lambda tally, paired=number + 1: tally["mirrors"][MIRROR]["fates"]["paired"] == paired)  # type: ignore[misc]
    assert world.fates() == {"killed": 5, "paired": 5}
    assert not world.shadow.seen("/killed")


def test_a_reload_does_not_resume(make_world: MakeWorld) -> None:
    """A policy that says killed, and a word that says so, both hold through a reload."""
    world = make_world()
    world.proxy.kill()
    world.apply(settings(mirror={"timeout": "4s"}))
    assert world.ask(wire("GET", "/a")).status == 200
    assert world.fates() == {"killed": 1}
    assert not world.shadow.requests


def test_the_shared_word_holds_before_the_message_is_read(make_world: MakeWorld) -> None:
    """A worker that was stopped when the switch was pulled sends no copy when it goes on, though no message told it."""
    world = make_world()
    uploading = world.client()
    uploading.send(wire("POST", "/upload", body=b"0123456789")[:-5])
    world.shadow.wait_begun("/upload")
    clients = [world.client() for _ in range(10)]
    os.kill(world.proxy.pid, signal.SIGSTOP)
    try:
        for client in clients:
            client.send(wire("GET", "/late"))
        uploading.send(b"56789")
        world.proxy.set_word(KILL_WORD, 1)
    finally:
        os.kill(world.proxy.pid, signal.SIGCONT)
    for client in clients:
        assert client.response().status == 200
    assert uploading.response("POST").status == 200
    assert world.fates() == {"killed": 11}
    assert not world.shadow.seen("/late")
    assert not any(request.is_complete for request in world.shadow.seen("/upload"))
    assert world.proxy.tally["mirrors"][MIRROR]["eligible"] == 11
    world.proxy.resume()


def test_a_kill_reaches_a_worker_that_was_stopped(make_world: MakeWorld) -> None:
    """The order waits in the socket: the worker carries it out as soon as it runs."""
    world = make_world(settings(mirror={"timeout": "60s"}))
    world.shadow.answer = answers.hang()
    assert world.ask(wire("GET", "/a")).status == 200
    world.shadow.wait_for("/a")
    os.kill(world.proxy.pid, signal.SIGSTOP)
    world.proxy.set_word(KILL_WORD, 1)
    world.proxy.send({"type": "kill", "id": 10_000})
    time.sleep(0.05)
    assert world.shadow.open_connections
    os.kill(world.proxy.pid, signal.SIGCONT)
    eventually(lambda: not world.shadow.open_connections, "the copy is gone")
    assert world.fates() == {"killed": 1}
