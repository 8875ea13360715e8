"""P6: memory is what the configuration says, however many requests, connections and failures there were."""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import threading
import time
from typing import TYPE_CHECKING, Any, Final

import pytest
import uvloop
import yaml

from shadowproxy.config import load_text, to_plain
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.worker import Worker
from tests.adversity.kill_latency import Sink
from tests.adversity.leftovers import check_released, sockets_at_rest
from tests.kit import WorkerProxy, answers, network, settings
from tests.kit.client import wire
from tests.kit.process import eventually, rss_bytes

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterator

    from tests.conftest import MakeWorld

MIB: Final = 1 << 20

IS_DEEP: Final = os.environ.get("DEEP") == "1"

REQUESTS: Final = 1_000_000 if IS_DEEP else 100_000

DEPTH: Final = 100
"""Requests in one write: the worker is busy, not the test."""


@contextlib.contextmanager
def busy_worker(**mirror: Any) -> Iterator[tuple[WorkerProxy, network.Address]]:
    """A worker between origins that answer as fast as they can."""
    with contextlib.ExitStack() as stack:
        live, shadow = stack.enter_context(Sink()), stack.enter_context(Sink())
        listener = stack.enter_context(contextlib.closing(network.listening(reuse_port=True, backlog=4096)))
        address = network.address_of(listener)
        plain = settings(
            mirror=mirror,
            live={"endpoints": [live.url]},
            shadow={"endpoints": [shadow.url]},
            listener={"address": "{}:{}".format(*address)},
        )
        proxy = WorkerProxy(yaml.safe_dump(plain), {"front": listener})
        stack.callback(proxy.abandon)
        yield proxy, address
        proxy.stop()


def ask_many(address: network.Address, count: int) -> None:
    """So many GETs on one connection, DEPTH at a time, each answered 200."""
    batch = wire("GET", "/a", ("X-User", "u-1"), ("Cookie", "a=b")) * DEPTH
    with contextlib.closing(network.connected(address)) as peer:
        for _ in range(count // DEPTH):
            peer.sendall(batch)
            received = b""
            while received.count(b"\r\n\r\nok") < DEPTH:
                more = peer.recv(1 << 18)
                assert more, received
                received += more
            assert received.count(b" 200 OK\r\n") == DEPTH


@pytest.mark.slow
@pytest.mark.timeout(3600 if IS_DEEP else 180)
def test_mirrored_requests_leave_no_memory_behind() -> None:
    """A hundred thousand of them: no growth after the first tenth."""
    with busy_worker() as (proxy, address):
        ask_many(address, REQUESTS // 10)
        proxy.settled()
        before = rss_bytes(proxy.pid)
        ask_many(address, REQUESTS)
        assert proxy.fates("all/shadow").get("paired", 0) > REQUESTS // 2
        assert rss_bytes(proxy.pid) - before < 4 * MIB


@pytest.mark.slow
def test_connections_leave_no_memory_behind() -> None:
    """Twenty thousand clients that come, ask and go, every third without a word and every seventh with a reset."""
    count = 20_000
    with busy_worker() as (proxy, address):

        def churn(clients: int) -> None:
            request = wire("GET", "/a")
            for number in range(clients):
                peer = network.connected(address)
                if number % 3:
                    peer.sendall(request)
                    if number % 7:
                        assert peer.recv(4096).startswith(b"HTTP/1.1 200")
                # RST spares the machine's ports.
                network.reset(peer)

        churn(count // 5)
        proxy.settled()
        before = rss_bytes(proxy.pid)
        churn(count)
        proxy.settled()
        assert proxy.tally["clients"]["open"] == 0
        assert rss_bytes(proxy.pid) - before < 4 * MIB


@pytest.mark.slow
def test_copies_that_fail_leave_no_memory_behind(make_world: MakeWorld) -> None:
    """Thousands of copies that hang, are reset or are shed cost nothing once they are over."""
    world = make_world(settings(mirror={"timeout": "100ms"}))
    world.shadow.answer = answers.in_turn(
        answers.reset(), answers.hang(), answers.raw(b"garbage\r\n\r\n"), answers.ok(bytes(5000)), answers.reset()
    )
    sockets = sockets_at_rest(world)

    def ask(count: int) -> None:
        with world.client() as client:
            for _ in range(count):
                assert client.get("/a").status == 200

    ask(500)
    world.proxy.settled()
    check_released(world, sockets)
    before = rss_bytes(world.proxy.pid)
    ask(3000)
    world.proxy.settled()
    check_released(world, sockets)
    assert rss_bytes(world.proxy.pid) - before < 4 * MIB


def test_connections_over_the_limit_are_turned_away(make_world: MakeWorld) -> None:
    """The cap holds, those inside are served, and a place that comes free is taken."""
    world = make_world(settings(limits={"connections": 10}))
    inside = [world.client() for _ in range(10)]
    for client in inside:
        assert client.get("/a").status == 200
    for _ in range(5):
        with world.client() as outside:
            outside.expect_end()
    assert all(client.get("/b").status == 200 for client in inside)
    inside.pop().close()

    def is_let_in() -> bool:
        with world.client() as client, contextlib.suppress(OSError):
            client.send(wire("GET", "/c"))
            return client.socket.recv(12) == b"HTTP/1.1 200"
        return False

    eventually(is_let_in, "the free place is taken")
    assert world.proxy.settled()["clients"]["turned_away"] >= 5


def test_idle_connections_come_and_go(make_world: MakeWorld) -> None:
    """A thousand kept-alive connections at once: all served, all closed after the idle timeout, none kept by the wheel."""
    world = make_world(settings(limits={"idle_timeout": "1s"}, mirror={"percent": 0.0}))
    sockets = sockets_at_rest(world)
    clients = [world.client() for _ in range(1000)]
    for client in clients:
        client.send(wire("GET", "/a"))
    for client in clients:
        assert client.response().status == 200
    for client in clients:
        client.expect_end()
    world.proxy.settled()
    check_released(world, sockets)


class OneWorker:
    """A Worker in this process, on a uvloop in a thread: what it leaves to the collector can be counted."""

    def __init__(self, live: str, shadow: str) -> None:
        self._listener = network.listening()
        self.address = network.address_of(self._listener)
        plain = settings(
            live={"endpoints": [live]}, shadow={"endpoints": [shadow]}, listener={"address": "{}:{}".format(*self.address)}
        )  # fmt: skip
        words = memoryview(mmap.mmap(-1, messages.WORDS * 8)).cast("Q")
        self.worker = Worker(0, words)
        self._policy = {
            "generation": 1,
            "config": to_plain(load_text(yaml.safe_dump(plain)).config),
            "slots": {"all/shadow": 1},
            "instance": "i",
        }
        self._ready = threading.Event()
        self._over: asyncio.Event
        self._loop: asyncio.AbstractEventLoop
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(network.PATIENCE_S)

    def stop(self) -> None:
        """End the loop."""
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(network.PATIENCE_S)

    def _run(self) -> None:
        import asyncio

        async def serve() -> None:
            self._loop = asyncio.get_running_loop()
            self._over = asyncio.Event()
            self.worker.configure(self._policy)
            self.worker.tick(time.monotonic_ns(), 0)
            server = await self._loop.create_server(
                lambda: ClientConnection(self.worker, "front", ()),  # type: ignore[arg-type,return-value]  # a protocol by its methods
                sock=self._listener,
            )
            self._ready.set()
            await self._over.wait()
            server.close()
            for fleet in self.worker.fleets.values():
                fleet.close()
            await asyncio.sleep(0.05)

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve())


def test_requests_leave_nothing_to_the_collector() -> None:
    """No reference cycle per request, mirrored or not: with the collector off, two thousand of them leave it next to nothing."""
    count = 2000
    with Sink() as live, Sink() as shadow:
        proxy = OneWorker(live.url, shadow.url)
        try:
            ask_many(proxy.address, 2 * DEPTH)
            gc.collect()
            gc.disable()
            try:
                ask_many(proxy.address, count)
                eventually(lambda: not proxy.worker.tees["all/shadow"].copies, "every copy is over")
                left = gc.collect()
            finally:
                gc.enable()
            assert left < count // 10
        finally:
            proxy.stop()
