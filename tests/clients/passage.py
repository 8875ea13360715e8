"""What passes between a client and a server, recorded on both sides of the proxy.

    client ─▶ front ─▶ proxy ─▶ live relay ─▶ live server
                             ╰─▶ shadow relay ─▶ shadow server

`front` is the one address that clients are told. Its target is the proxy, or the live server itself: then
the same client, with the same URL, goes direct. Relays pass bytes and keep them; what they kept is read by
h11 afterwards, so that the recording cannot mend what it records.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from tests.kit import World, network, settings
from tests.kit.process import eventually
from tests.kit.wire import Fields, RequestReader, Response, ResponseReader, Seen, Truncated, seen_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from types import TracebackType

    from tests.kit.network import Address

HOP_BY_HOP: Final = frozenset({
    "connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "transfer-encoding", "upgrade", "expect",
    "http2-settings",
})  # fmt: skip
OURS: Final = frozenset({"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "via", "traceparent", "x-shadow-mirror"})
CREDENTIALS: Final = frozenset({"authorization", "cookie"})


@dataclass(slots=True)
class Recorded:
    """One connection's bytes, both ways."""

    up: bytearray = field(default_factory=bytearray)
    down: bytearray = field(default_factory=bytearray)


@dataclass(frozen=True, slots=True)
class Asked:
    """A request, as far as a proxy may not change it."""

    method: str
    target: str
    fields: Fields
    body: bytes
    trailers: Fields


@dataclass(frozen=True, slots=True)
class Answered:
    """An answer, as far as a proxy may not change it."""

    method: str
    target: str
    status: int
    reason: str
    fields: Fields
    body: bytes
    trailers: Fields


class Relay:
    """Passes bytes between whoever connects and `target`, and keeps them."""

    def __init__(self, target: Address) -> None:
        self.target = target
        self.records: list[Recorded] = []
        self._listener = network.listening()
        self._sockets: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._start(self._accept)

    @property
    def address(self) -> Address:
        """Where to connect."""
        return network.address_of(self._listener)

    @property
    def url(self) -> str:
        """The same, as a URL."""
        host, port = self.address
        return f"http://{host}:{port}"

    def _start(self, run: Callable[[], None]) -> None:
        thread = threading.Thread(target=run, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            try:
                far = network.connected(self.target)
            except OSError:
                network.reset(near)
                continue
            far.settimeout(None)
            near.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            record = Recorded()
            with self._lock:
                self.records.append(record)
                self._sockets |= {near, far}
            self._start(lambda near=near, far=far, kept=record.up: self._pass(near, far, kept))  # type: ignore[misc]
            self._start(lambda near=near, far=far, kept=record.down: self._pass(far, near, kept))  # type: ignore[misc]

    def _pass(self, source: socket.socket, sink: socket.socket, kept: bytearray) -> None:
        try:
            while received := source.recv(65536):
                kept += received
                sink.sendall(received)
            network.half_close(sink)
        except OSError:
            network.wake(source)
            network.wake(sink)

    def exchanges(self) -> list[tuple[Seen, Response | None]]:
        """Requests in the order of their connections, with their answers (None where the answer was not whole)."""
        found: list[tuple[Seen, Response | None]] = []
        for record in list(self.records):
            requests = RequestReader(_once(bytes(record.up)))
            responses = ResponseReader(_once(bytes(record.down)))
            while (head := requests.head()) is not None:
                request = seen_of(head, 0)
                request.body = b"".join(requests.body())
                request.trailers = requests.trailers
                found.append((request, responses.read(request.method, version=request.version) if record.down else None))
        return found

    def forget(self) -> None:
        """Drop what was recorded so far; connections that are kept go on with the next request."""
        for record in self.records:
            record.up.clear()
            record.down.clear()

    def stop(self) -> None:
        """End everything."""
        network.wake(self._listener)
        self._listener.close()
        with self._lock:
            for peer in self._sockets:
                network.wake(peer)
        for thread in self._threads:
            thread.join(network.PATIENCE_S)
        for peer in self._sockets:
            peer.close()


def _once(stream: bytes) -> Callable[[], bytes]:
    """A recorded stream as something to pull from: all of it, then its end."""
    left = [stream]
    return lambda: left.pop() if left else b""


def without(fields: Fields, *names: Collection[str]) -> Fields:
    """Fields in their order and spelling, without those named."""
    return tuple((name, value) for name, value in fields if not any(name.lower() in known for known in names))


class Passage:
    """The proxy between a front relay and two servers.

    Args:
        live: the live server.
        shadow: another one like it.
        mirror: settings of the mirror; by default all methods with credentials kept, so that copies are whole.
        top: further settings.
    """

    def __init__(self, live: Address, shadow: Address, *, mirror: dict[str, Any] | None = None, **top: Any) -> None:
        self._stack = contextlib.ExitStack()
        with contextlib.ExitStack() as undo:
            self.live = self._relay(undo, live)
            self.shadow = self._relay(undo, shadow)
            config = settings(
                live={"endpoints": [self.live.url]},
                shadow={"endpoints": [self.shadow.url]},
                mirror={"credentials": "keep", "body_limit": "64MiB", "body_budget": "64MiB", "timeout": "30s", **(mirror or {})},
                **top,
            )
            self.world = undo.enter_context(World(config))
            self.front = self._relay(undo, self.world.address)
            self.direct = live
            self._stack = undo.pop_all()

    @staticmethod
    def _relay(undo: contextlib.ExitStack, target: Address) -> Relay:
        relay = Relay(target)
        undo.callback(relay.stop)
        return relay

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        self._stack.__exit__(kind, value, where)

    @property
    def url(self) -> str:
        """What clients are told."""
        return self.front.url

    def go_direct(self) -> None:
        """From now on the front leads to the live server itself."""
        self.front.target = self.direct

    def go_through(self) -> None:
        """From now on the front leads to the proxy."""
        self.front.target = self.world.address

    def forget(self) -> None:
        """Drop all records. Nothing may be under way: `check` or `settle` comes first."""
        for relay in (self.front, self.live, self.shadow):
            relay.forget()

    def settle(self) -> None:
        """Wait until no copy is under way."""
        self.world.proxy.settled()

    def check(self, *, origin_form: bool = False, is_mirrored: bool = True) -> list[Answered]:
        """Compare both sides of the proxy since `forget`; what the client saw, in no particular order.

        Args:
            origin_form: the client sent absolute targets, which the proxy turns into paths.
            is_mirrored: the shadow must have seen each request too.

        Raises:
            AssertionError: anything differs but what is between two hops.
        """
        if not is_mirrored:
            self.settle()
        front = self.front.exchanges()
        said = sorted((_asked(request, origin_form=origin_form) for request, _ in front), key=repr)
        live = self.live.exchanges()
        assert sorted((_asked(request) for request, _ in live), key=repr) == said, "live was asked something else"
        if is_mirrored:
            # Waiting for the shadow's answers takes milliseconds, waiting for the worker's counts a second.
            eventually(lambda: _count_whole(self.shadow) >= len(said), "the shadow has answered every copy")
            copies = sorted((_asked(request) for request, _ in self.shadow.exchanges()), key=repr)
            assert copies == said, "the shadow was asked something else"
        heard = sorted((_answered(*pair, origin_form=origin_form) for pair in front), key=repr)
        assert heard == sorted((_answered(*pair) for pair in live), key=repr), "the client heard something else than live said"
        assert heard, "nothing passed"
        return heard

    def heard_direct(self) -> list[Answered]:
        """What the client heard since `forget`, going direct."""
        return sorted((_answered(*pair) for pair in self.front.exchanges()), key=repr)


def _count_whole(relay: Relay) -> int:
    try:
        return sum(answer is not None for _, answer in relay.exchanges())
    except Truncated:
        return 0


def _path(target: str) -> str:
    return "/" + target.partition("://")[2].partition("/")[2] if "://" in target[:8] else target


def _asked(request: Seen, *, origin_form: bool = False) -> Asked:
    target = _path(request.target) if origin_form else request.target
    return Asked(request.method, target, without(request.fields, HOP_BY_HOP, OURS), request.body, request.trailers)


def _answered(request: Seen, response: Response | None, *, origin_form: bool = False) -> Answered:
    assert response is not None, f"no answer to {request.method} {request.target}"
    target = _path(request.target) if origin_form else request.target
    fields = without(response.fields, HOP_BY_HOP, {"date"})
    return Answered(request.method, target, response.status, response.reason, fields, response.body, response.trailers)
