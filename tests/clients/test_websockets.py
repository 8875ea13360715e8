"""WebSockets with the `websockets` library at both ends: frames, pings, closes and large messages through a tunnel."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import World, settings

if TYPE_CHECKING:
    from collections.abc import Iterator

client = pytest.importorskip("websockets.sync.client", reason="websockets is not installed (group clients)", exc_type=ImportError)
server = pytest.importorskip("websockets.sync.server")
exceptions = pytest.importorskip("websockets.exceptions")

MIB = 1024 * 1024


class Echo:
    """An echo server that notes how each connection closed."""

    def __init__(self) -> None:
        self.closes: list[tuple[int, str]] = []
        self.paths: list[str] = []
        self.refuses = False
        self._closed = threading.Condition()
        self.server = server.serve(
            self._talk, "127.0.0.1", 0, max_size=64 * MIB, subprotocols=["chat.v2", "chat.v1"], process_request=self._admit
        )
        self._thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        """What a fleet's endpoints list."""
        host, port = self.server.socket.getsockname()[:2]
        return f"http://{host}:{port}"

    def _admit(self, connection: Any, _request: Any) -> Any:
        return connection.respond(403, "not today\n") if self.refuses else None

    def _talk(self, connection: Any) -> None:
        self.paths.append(connection.request.path)
        with contextlib.suppress(exceptions.ConnectionClosed):
            for message in connection:
                if message == "close with 4001":
                    connection.close(4001, "as you wish")
                    break
                if message == "flood":
                    for number in range(2000):
                        connection.send(b"%08d" % number + b"f" * 8192)
                    continue
                connection.send(message)
        with self._closed:
            self.closes.append((connection.protocol.close_code, connection.protocol.close_reason))
            self._closed.notify_all()

    def closed(self, count: int = 1) -> tuple[int, str]:
        """How the `count`th connection closed; waits for it."""
        with self._closed:
            assert self._closed.wait_for(lambda: len(self.closes) >= count, 15)
            return self.closes[count - 1]

    def stop(self) -> None:
        """End the server."""
        self.server.shutdown()
        self._thread.join(15)


@pytest.fixture
def echo() -> Iterator[Echo]:
    """A live echo server."""
    echo = Echo()
    yield echo
    echo.stop()


@pytest.fixture
def world(echo: Echo) -> Iterator[World]:
    """The proxy before it; its mirror must stay silent."""
    with World(settings(live={"endpoints": [echo.url]})) as world:
        yield world
        assert world.shadow.requests == []
        assert world.fates().keys() == {"upgrade"}


def connected(world: World, path: str = "/chat", **options: Any) -> Any:
    """A WebSocket through the proxy."""
    host, port = world.address
    return client.connect(f"ws://{host}:{port}{path}", proxy=None, max_size=64 * MIB, subprotocols=["chat.v1"], **options)


def test_text_and_binary_echo(world: World, echo: Echo) -> None:
    """Messages of every kind and size come back as they were, in order; the handshake's path and subprotocol hold."""
    with connected(world, "/chat?room=1&x=%2F") as socket:
        assert socket.subprotocol == "chat.v1"
        for message in ("", "ü€😀", b"", bytes(range(256)), "x" * 125, "x" * 126, b"y" * 65535, b"y" * 65536, b"z" * (8 * MIB)):
            socket.send(message)
            assert socket.recv(timeout=15) == message
    assert echo.closed() == (1000, "")
    assert echo.paths == ["/chat?room=1&x=%2F"]


def test_fragments_and_compression(world: World) -> None:
    """Fragmented messages and permessage-deflate pass; the extension is negotiated end to end."""
    with connected(world) as socket:
        assert "permessage-deflate" in socket.response.headers["Sec-WebSocket-Extensions"]
        socket.send(iter(["one ", "two ", "three"]))
        assert socket.recv(timeout=15) == "one two three"
        socket.send("a" * MIB)
        assert socket.recv(timeout=15) == "a" * MIB


def test_pings_are_answered_by_the_far_end(world: World) -> None:
    """A ping travels to the server, its pong back."""
    with connected(world) as socket:
        for _ in range(3):
            assert socket.ping().wait(15)


@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1001, "going away"), (3000, "ünïcode"), (4999, "x" * 100)])
def test_close_codes_reach_the_server(world: World, echo: Echo, code: int, reason: str) -> None:
    """The code and reason of a client's close arrive."""
    with connected(world) as socket:
        socket.close(code, reason)
    assert echo.closed() == (code, reason)


def test_close_codes_reach_the_client(world: World) -> None:
    """The code and reason of a server's close arrive."""
    with connected(world) as socket:
        socket.send("close with 4001")
        with pytest.raises(exceptions.ConnectionClosedError) as closed:
            socket.recv(timeout=15)
        assert closed.value.rcvd is not None
        assert (closed.value.rcvd.code, closed.value.rcvd.reason) == (4001, "as you wish")


def test_a_client_that_vanishes_is_seen_to_vanish(world: World, echo: Echo) -> None:
    """A connection that breaks without a close frame is 1006 at the server."""
    with connected(world) as socket:
        socket.send("hello")
        assert socket.recv(timeout=15) == "hello"
        socket.socket.shutdown(2)
    assert echo.closed()[0] in (1006, None)


def test_a_flood_to_a_slow_reader_arrives_whole(world: World) -> None:
    """16 MiB in one direction while the client reads nothing at first: all of it arrives, in order."""
    with connected(world, max_queue=4) as socket:
        socket.send("flood")
        for number in range(2000):
            message = socket.recv(timeout=15)
            assert message[:8] == b"%08d" % number
            assert len(message) == 8200


def test_many_at_once(world: World) -> None:
    """Tunnels side by side keep their messages apart."""
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(connected(world)) for _ in range(20)]
        for number, socket in enumerate(sockets):
            socket.send(f"message {number}")
        assert [socket.recv(timeout=15) for socket in sockets] == [f"message {number}" for number in range(20)]


def test_a_refused_handshake_is_an_answer(world: World, echo: Echo) -> None:
    """A handshake that the server refuses reaches the client as the server's own status."""
    echo.refuses = True
    with pytest.raises(exceptions.InvalidStatus) as refused, connected(world):
        pass
    assert refused.value.response.status_code == 403
    assert refused.value.response.body == b"not today\n"
