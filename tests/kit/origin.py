"""An origin server that records every byte it receives and answers by script.

    origin = Origin("live")
    origin.answer = answers.ok(b"hello")          # what every request gets, unless
    origin.on("/orders", answers.hang())          # its path has an answer of its own, or
    origin.queue(answers.reset(), answers.ok())   # answers were queued: one each, in order of arrival
    origin.wait_for("/orders").one("Via")         # what arrived

One thread accepts, one thread serves each connection; a script runs in its connection's thread and
may block. `stop` ends them all. `problems` is what was illegal about the bytes that arrived: a world
asks for it at the end of every test, whatever the test was about.
"""

from __future__ import annotations

import contextlib
import ssl
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from tests.kit import law, network
from tests.kit.process import eventually
from tests.kit.wire import RequestReader, Seen, Truncated, WireError, seen_of

if TYPE_CHECKING:
    from socket import socket

    from tests.kit.network import Address

Answer = Callable[["Turn"], None]

RECORD_LIMIT: Final = 32 * 1024 * 1024
"""Bytes of one connection that are recorded; what is longer is read, counted and not kept."""

_POLL_S: Final = 0.5


class Stopped(Exception):
    """The origin is stopping; ends a script that was waiting."""


@dataclass(slots=True)
class Connection:
    """One connection to an origin."""

    index: int
    peer: Address
    raw: bytearray = field(default_factory=bytearray)
    received_bytes: int = 0
    turns: int = 0
    ended: str = ""
    """How it ended: "" while open, else "peer" (FIN), "peer reset" (RST), "closed", "reset" or "stopped" (by us)."""
    checked_bytes: int = 0
    violations: list[str] = field(default_factory=list)
    malformed: str = ""
    """What h11 said about bytes that it refused."""

    @property
    def is_open(self) -> bool:
        """Whether neither side has ended it."""
        return not self.ended


class Turn:
    """One request at an origin, from its head on: what a script works with.

    `request` is recorded already; its body grows as `read_body` or `pieces` reads it.
    """

    def __init__(self, origin: Origin, connection: Connection, peer: socket, reader: RequestReader, request: Seen) -> None:
        self.origin = origin
        self.connection = connection
        self.request = request
        self._peer = peer
        self._reader = reader

    def pieces(self) -> Iterator[bytes]:
        """The request's body as it arrives.

        Raises:
            Truncated: the proxy gave the request up.
        """
        for piece in self._reader.body():
            if self.origin.keeps_bodies:
                self.request.body += piece
            self.request.body_bytes += len(piece)
            yield piece
        self.request.trailers = self._reader.trailers
        self.request.is_complete = True

    def read_body(self) -> bytes:
        """The request's body, whole. Reads nothing when it was read before."""
        if not self.request.is_complete:
            for _ in self.pieces():
                pass
        return self.request.body

    def send(self, *pieces: bytes) -> None:
        """Send bytes as they are, one segment each piece; waits for as long as the proxy does not read.

        Raises:
            Stopped: the origin stops first.
            ConnectionError: the proxy gave the connection up.
        """
        for piece in pieces:
            view = memoryview(piece)
            while view:
                try:
                    view = view[self._peer.send(view) :]
                except TimeoutError:
                    if self.origin.stopping.is_set():
                        raise Stopped from None

    def receive(self) -> bytes:
        """Raw bytes behind the head or the request, for tunnels; b"" at the end of the stream."""
        if self._reader.rest:
            rest, self._reader.rest = self._reader.rest, b""
            return rest
        return self.origin.pull(self.connection, self._peer)

    def pause(self, seconds: float) -> None:
        """Wait, unless the origin stops.

        Raises:
            Stopped: it did.
        """
        if self.origin.stopping.wait(seconds):
            raise Stopped

    def hang(self) -> None:
        """Do nothing until the proxy gives the connection up.

        Raises:
            Stopped: the origin stops first.
        """
        with contextlib.suppress(ConnectionError):
            while self.origin.pull(self.connection, self._peer):
                pass

    def half_close(self) -> None:
        """Send FIN and keep reading."""
        network.half_close(self._peer)

    def close(self) -> None:
        """Send FIN and stop reading."""
        self.connection.ended = self.connection.ended or "closed"
        network.wake(self._peer)
        self._peer.close()

    def reset(self) -> None:
        """Send RST."""
        self.connection.ended = self.connection.ended or "reset"
        network.reset(self._peer)


def _plain_ok(turn: Turn) -> None:
    turn.read_body()
    turn.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n" + (b"" if turn.request.method == "HEAD" else b"ok"))


class Origin:
    """A recording, scripted HTTP/1 server on a port of its own; starts when constructed.

    Args:
        name: in failures.
        tls: serve HTTPS with this context.
        address: where to listen; a free loopback port by default.
        keeps_bodies: record bodies and raw bytes; without, they are only counted (for gigabytes).
        receive_buffer: SO_RCVBUF in bytes, to feel backpressure early; 0 keeps the system's.
    """

    def __init__(
        self,
        name: str = "origin",
        *,
        tls: ssl.SSLContext | None = None,
        address: Address = (network.HOST, 0),
        keeps_bodies: bool = True,
        receive_buffer: int = 0,
    ) -> None:
        self.name = name
        self.keeps_bodies = keeps_bodies
        self.answer: Answer = _plain_ok
        self.requests: list[Seen] = []
        self.connections: list[Connection] = []
        self.stopping = threading.Event()
        self._tls = tls
        self._routes: dict[str, Answer] = {}
        self._queue: deque[Answer] = deque()
        self._errors: list[str] = []
        self._lock = threading.Lock()
        self._sockets: set[socket] = set()
        self._threads: list[threading.Thread] = []
        self._listener = network.listening(address)
        if receive_buffer:
            self._listener.setsockopt(1, 8, receive_buffer)  # SOL_SOCKET, SO_RCVBUF: inherited by what is accepted
        self.address = network.address_of(self._listener)
        self._acceptor = threading.Thread(target=self._accept, name=f"{name}-accept", daemon=True)
        self._acceptor.start()

    def __repr__(self) -> str:
        return f"<Origin {self.name} at {self.authority}: {len(self.requests)} requests on {len(self.connections)} connections>"

    @property
    def authority(self) -> str:
        """host:port."""
        return f"{self.address[0]}:{self.address[1]}"

    @property
    def url(self) -> str:
        """What a fleet's endpoints list."""
        return f"{'https' if self._tls else 'http'}://{self.authority}"

    @property
    def open_connections(self) -> list[Connection]:
        """Connections that neither side has ended."""
        return [connection for connection in self.connections if connection.is_open]

    def on(self, path: str, answer: Answer) -> None:
        """Give every request for `path` (the query aside) this answer."""
        self._routes[path] = answer

    def queue(self, *answers: Answer) -> None:
        """Give the next requests these answers, one each, before any other."""
        self._queue.extend(answers)

    def seen(self, path: str) -> list[Seen]:
        """Requests for `path` (the query aside), in order of arrival, complete or not."""
        return [request for request in list(self.requests) if request.target.partition("?")[0] == path]

    def wait_for(self, path: str, count: int = 1) -> Seen:
        """The last of the first `count` complete requests for `path`; waits until it is there."""
        what = f"{count} complete requests for {path} at {self.name}"
        complete = eventually(
            lambda: len(found := [request for request in self.seen(path) if request.is_complete]) >= count and found, what
        )
        assert complete
        return complete[count - 1]

    def wait_begun(self, path: str, count: int = 1) -> Seen:
        """The same, for requests whose head has arrived."""
        begun = eventually(lambda: len(found := self.seen(path)) >= count and found, f"{count} requests for {path} at {self.name}")
        assert begun
        return begun[count - 1]

    def forget(self) -> None:
        """Drop scripts and records of requests; connections and their bytes stay on record."""
        self.answer = _plain_ok
        self._routes.clear()
        self._queue.clear()
        self.requests.clear()

    def problems(self) -> list[str]:
        """What no peer should have sent, and scripts that broke; empty when all is well."""
        found = list(self._errors)
        for connection in list(self.connections):
            if connection.malformed:
                found.append(f"{self.name}: connection {connection.index}: h11 refuses: {connection.malformed}")
            if connection.received_bytes == len(connection.raw) != connection.checked_bytes:
                # Suites ask after every test: what has not changed is not read again.
                connection.checked_bytes = connection.received_bytes
                connection.violations = law.violations(bytes(connection.raw))
            found += [f"{self.name}: connection {connection.index}: {problem}" for problem in connection.violations]
        return found

    def stop(self) -> None:
        """End every connection and thread. Idempotent."""
        self.stopping.set()
        network.wake(self._listener)
        self._listener.close()
        with self._lock:
            remaining = list(self._sockets)
        for peer in remaining:
            network.wake(peer)
        self._acceptor.join(network.PATIENCE_S)
        for thread in self._threads:
            thread.join(network.PATIENCE_S)
            assert not thread.is_alive(), f"{thread.name} does not end"

    def refuse(self) -> None:
        """Stop listening, so that new connections are refused; open ones stay."""
        network.wake(self._listener)
        self._listener.close()

    def pull(self, connection: Connection, peer: socket) -> bytes:
        """Receive and record.

        Raises:
            Stopped: the origin is stopping.
            ConnectionError: the connection was reset.
        """
        while True:
            try:
                received = peer.recv(65536)
            except TimeoutError:
                if self.stopping.is_set():
                    raise Stopped from None
                continue
            except ConnectionError:
                connection.ended = connection.ended or "peer reset"
                raise
            if self.stopping.is_set() and not received:
                raise Stopped
            connection.received_bytes += len(received)
            if self.keeps_bodies and len(connection.raw) + len(received) <= RECORD_LIMIT:
                connection.raw += received
            if not received:
                connection.ended = connection.ended or "peer"
            return received

    def _accept(self) -> None:
        while not self.stopping.is_set():
            try:
                peer, address = self._listener.accept()
            except OSError:
                return
            with self._lock:
                connection = Connection(len(self.connections), address)
                self.connections.append(connection)
                self._sockets.add(peer)
                thread = threading.Thread(target=self._serve, args=(connection, peer), name=f"{self.name}-{connection.index}", daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: Connection, accepted: socket) -> None:
        peer = accepted
        try:
            peer.settimeout(_POLL_S)
            peer.setsockopt(6, 1, 1)  # IPPROTO_TCP, TCP_NODELAY: a script's pieces are segments
            if self._tls:
                peer.settimeout(network.PATIENCE_S)
                peer = self._tls.wrap_socket(accepted, server_side=True)
                peer.settimeout(_POLL_S)
                with self._lock:
                    self._sockets.add(peer)
            self._converse(connection, peer)
        except Stopped:
            connection.ended = connection.ended or "stopped"
        except Truncated:
            pass
        except WireError as problem:
            connection.malformed = str(problem)
        except (ConnectionError, TimeoutError, ssl.SSLError):
            connection.ended = connection.ended or "peer reset"
        except OSError as problem:
            if not connection.ended and not self.stopping.is_set():
                self._errors.append(f"{self.name}: {problem!r}")
        except Exception:  # noqa: BLE001 - a broken script must fail its test, not vanish with its thread
            self._errors.append(f"{self.name}: {traceback.format_exc()}")
        finally:
            connection.ended = connection.ended or "closed"
            network.wake(peer)
            peer.close()
            accepted.close()
            with self._lock:
                self._sockets.discard(peer)
                self._sockets.discard(accepted)

    def _converse(self, connection: Connection, peer: socket) -> None:
        reader = RequestReader(lambda: self.pull(connection, peer))
        while connection.is_open:
            head = reader.head()
            if head is None:
                return
            request = seen_of(head, connection.index)
            connection.turns += 1
            with self._lock:
                self.requests.append(request)
                path = request.target.partition("?")[0]
                answer = self._queue.popleft() if self._queue else self._routes.get(path, self.answer)
            turn = Turn(self, connection, peer, reader, request)
            answer(turn)
            if connection.is_open:
                turn.read_body()
