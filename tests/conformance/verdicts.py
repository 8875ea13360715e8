"""Raw requests through a world, and whether what became of them is what their verdict asks.

The verdicts:

accept      the client gets a 2xx that came from live, and live and shadow read the same request
reject      4xx, 5xx or a closed connection; nothing complete goes upstream, live or shadow
either      free
no_success  an unfinished message must not become a complete request, nor a 2xx

Whatever the verdict: what goes upstream is unambiguous (tests/kit/law.py, over whole connections, in
`World.stop`), the shadow never sees a complete request that live did not see, answers are well-formed,
none is a 500, and the connection ends once the client has half-closed it.

Two rules of interpretation:

1.  Sent whole, a `reject` means that nothing of the bytes is forwarded, even where a complete request
    stands before the offending byte: the proxy has seen both when it decides.
2.  Sent byte by byte, a complete request before the offending byte is forwarded before that byte exists.
    Exactly those requests (`complete_before_fault`, by llhttp) may then go upstream; the connection must
    still end.

Every case comes from a loopback address of its own: X-Forwarded-For then tells, on either leg and over
pooled connections, which case a request belongs to.
"""

from __future__ import annotations

import selectors
import socket
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import httptools

from tests.kit import network
from tests.kit.wire import ResponseReader, WireError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tests.kit import Seen, World

BATCH: Final = 96
"""Connections at once: few enough for the default limits, many enough that no byte waits for a reply."""


@dataclass(frozen=True, slots=True)
class Case:
    """Raw bytes of one client connection and the verdict on them."""

    id: str
    expect: str
    raw: bytes


@dataclass(slots=True)
class Result:
    """What became of a case."""

    case: Case
    is_bytewise: bool
    received: bytes = b""
    is_ended: bool = False
    live: list[Seen] = field(default_factory=list)
    shadow: list[Seen] = field(default_factory=list)

    def failures(self) -> list[str]:
        """Why the verdict is not met; empty when it is."""
        found: list[str] = []
        statuses = self._statuses(found)
        # Copies of pipelined requests may overtake each other on different connections.
        live = sorted(_essence(request) for request in self.live if request.is_complete)
        shadow = sorted(_essence(request) for request in self.shadow if request.is_complete)
        successes = sum(200 <= status < 300 for status in statuses)
        if not self.is_ended:
            found.append("the connection does not end")
        if 500 in statuses:
            found.append("a 500")
        if any(request not in live for request in shadow):
            found.append(f"shadow got {shadow}, live {live}")
        if self.case.expect == "accept":
            if not statuses or not 200 <= statuses[0] < 300 or not live:
                found.append(f"answered {statuses} {self.received[:300]!r}, {len(live)} requests to live")
            if live != shadow:
                found.append(f"live got {live}, shadow {shadow}")
        elif self.case.expect in {"reject", "no_success"}:
            allowed = complete_before_fault(self.case.raw) if self.is_bytewise else 0
            if len(live) > allowed or len(shadow) > allowed:
                found.append(f"{len(live)} complete requests to live, {len(shadow)} to shadow; {allowed} allowed: {live or shadow}")
            if successes > allowed:
                found.append(f"answered {statuses}, {allowed} successes allowed")
        return [f"{failure} (sent {'byte by byte' if self.is_bytewise else 'whole'}: {self.case.raw[:300]!r})" for failure in found]

    def _statuses(self, found: list[str]) -> list[int]:
        """Final statuses in order; what is not a whole answer goes to `found`."""
        pieces = [self.received]
        reader = ResponseReader(lambda: pieces.pop() if pieces else b"")
        statuses: list[int] = []
        method = "HEAD" if self.case.raw.lstrip(b"\r\n").startswith(b"HEAD ") else "GET"
        while (pieces and pieces[0]) or reader.rest:
            try:
                statuses.append(reader.read(method).status)
            except WireError as problem:
                found.append(f"a malformed answer: {problem}: {self.received[:300]!r}")
                break
        return statuses


def deliver(world: World, cases: Sequence[Case], *, is_bytewise: bool, net: int) -> list[Result]:
    """Send every case on a connection of its own, half-close it, and collect what became of them all.

    Args:
        world: one that mirrors every method.
        cases: at most 60000.
        is_bytewise: one byte a segment; the connections of a batch take turns, so that a byte is read before the next.
        net: second byte of the source addresses, 1 to 254; one for each call on the same world.
    """
    by_source: dict[str, Result] = {}
    for number, case in enumerate(cases):
        by_source[f"127.{net}.{number // 250}.{number % 250 + 1}"] = Result(case, is_bytewise)
    sources = list(by_source)
    for start in range(0, len(sources), BATCH):
        _deliver_batch(world.address, {source: by_source[source] for source in sources[start : start + BATCH]})
    world.proxy.settled()
    for origin, leg in ((world.live, "live"), (world.shadow, "shadow")):
        for request in list(origin.requests):
            result = by_source.get((request.all("X-Forwarded-For") or [""])[-1].rpartition(",")[2].strip())
            if result is not None:
                (result.live if leg == "live" else result.shadow).append(request)
    return list(by_source.values())


def complete_before_fault(raw: bytes) -> int:
    """How many requests llhttp completes before the byte that it refuses; 0 where it refuses none."""
    complete = 0

    class Counter:
        def on_message_complete(self) -> None:
            nonlocal complete
            complete += 1

    parser = httptools.HttpRequestParser(Counter())
    try:
        for at in range(len(raw)):
            parser.feed_data(raw[at : at + 1])
    except httptools.HttpParserUpgrade:
        return 0
    except httptools.HttpParserError:
        return complete
    return 0


def _essence(request: Seen) -> tuple[str, str, bytes]:
    return request.method, request.target, request.body


def _deliver_batch(address: network.Address, batch: dict[str, Result]) -> None:
    with selectors.DefaultSelector() as selector:
        left: dict[socket.socket, bytes] = {}
        for source, result in batch.items():
            peer = socket.socket()
            peer.settimeout(network.PATIENCE_S)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            peer.bind((source, 0))
            peer.connect(address)
            peer.setblocking(False)
            selector.register(peer, selectors.EVENT_READ, result)
            left[peer] = result.case.raw
        while left:
            for peer in list(left):
                _send_some(peer, left, selector)
            _receive(selector, 0.0)
        deadline = time.monotonic() + network.PATIENCE_S
        while selector.get_map() and time.monotonic() < deadline:
            _receive(selector, 0.2)
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()


def _send_some(peer: socket.socket, left: dict[socket.socket, bytes], selector: selectors.BaseSelector) -> None:
    if peer.fileno() < 0:
        del left[peer]
        return
    result: Result = selector.get_key(peer).data
    wire = left[peer]
    try:
        sent = peer.send(wire[:1] if result.is_bytewise else wire)
    except BlockingIOError:
        return
    except OSError:  # the proxy has ended the connection: what it said is still to be read
        del left[peer]
        return
    left[peer] = wire[sent:]
    if not left[peer]:
        del left[peer]
        network.half_close(peer)


def _receive(selector: selectors.BaseSelector, timeout_s: float) -> None:
    for key, _ in selector.select(timeout_s):
        peer = key.fileobj
        assert isinstance(peer, socket.socket)
        try:
            received = peer.recv(65536)
        except BlockingIOError:
            continue
        except OSError:
            received = b""
        key.data.received += received
        if not received:
            key.data.is_ended = True
            selector.unregister(peer)
            peer.close()
