r"""A raw client: it sends what it is told, in the segments it is told, and reads answers with h11.

with Client(world.address) as client:
    client.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    assert client.response().status == 200
    client.expect_end()
"""

from __future__ import annotations

import itertools
import socket
from typing import TYPE_CHECKING, Self

from tests.kit import network
from tests.kit.wire import Response, ResponseReader, Truncated

if TYPE_CHECKING:
    import ssl
    from collections.abc import Iterator, Sequence
    from types import TracebackType

    from tests.kit.network import Address


class Client:
    """One connection to the proxy.

    Args:
        address: host and port.
        source: local address to come from, such as 127.0.0.7; any by default.
        receive_buffer: SO_RCVBUF in bytes; small for a client that reads slowly.
        tls: speak TLS with this context.
        server_name: for SNI and the certificate check.
    """

    def __init__(
        self,
        address: Address,
        *,
        source: str = "",
        receive_buffer: int = 0,
        tls: ssl.SSLContext | None = None,
        server_name: str = "localhost",
    ) -> None:
        peer = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        try:
            peer.settimeout(network.PATIENCE_S)
            peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if receive_buffer:
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            if source:
                peer.bind((source, 0))
            peer.connect(address)
            self.socket = tls.wrap_socket(peer, server_hostname=server_name) if tls else peer
        except OSError:
            peer.close()
            raise
        self.received = bytearray()
        """Every byte that came, for tests about bytes."""
        self._reader = ResponseReader(self._pull)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, where: TracebackType | None) -> None:
        self.close()

    @property
    def source(self) -> Address:
        """Our own host and port."""
        return network.address_of(self.socket)

    def send(self, *pieces: bytes) -> None:
        """Send bytes as they are, one segment each piece where the kernel agrees."""
        for piece in pieces:
            self.socket.sendall(piece)

    def send_bytewise(self, wire: bytes) -> None:
        """Send one byte a segment."""
        for at in range(len(wire)):
            self.socket.sendall(wire[at : at + 1])

    def send_split(self, wire: bytes, offsets: Sequence[int]) -> None:
        """Send in segments that begin at 0 and at each offset."""
        edges = [0, *sorted(offsets), len(wire)]
        for start, end in itertools.pairwise(edges):
            if start < end:
                self.socket.sendall(wire[start:end])

    def response(self, method: str = "GET", *, version: str = "1.1", upgrade: str = "") -> Response:
        """The next answer; the arguments are those of `ResponseReader.read`.

        Raises:
            Truncated: the connection ends before the answer does.
            WireError: the answer is malformed.
        """
        return self._reader.read(method, version=version, upgrade=upgrade)

    def stream(self, method: str = "GET", *, version: str = "1.1") -> Iterator[Response | bytes]:
        """The next answer as soon as its head is there, then its body piece by piece."""
        return self._reader.stream(method, version=version)

    def request(self, method: str, target: str, *fields: tuple[str, str], body: bytes = b"", host: str = "shop.example") -> Response:
        """Send a request with Host, these fields and Content-Length where there is a body; return the answer."""
        self.send(wire(method, target, *fields, body=body, host=host))
        return self.response(method)

    def get(self, target: str, *fields: tuple[str, str]) -> Response:
        """A GET and its answer."""
        return self.request("GET", target, *fields)

    def receive(self) -> bytes:
        """Raw bytes, for tunnels: those read too far with an answer first; b"" at the end."""
        if self._reader.rest:
            rest, self._reader.rest = self._reader.rest, b""
            return rest
        return self._pull()

    def receive_exactly(self, count: int) -> bytes:
        """`count` raw bytes.

        Raises:
            Truncated: the connection ends first.
        """
        got = b""
        while len(got) < count:
            received = self.receive()
            if not received:
                raise Truncated(f"{len(got)} of {count} bytes, then the end")
            got += received
        self._reader.rest = got[count:]
        return got[:count]

    def remainder(self) -> bytes:
        """Everything until the proxy ends the connection, by FIN or by RST."""
        got = b""
        try:
            while received := self.receive():
                got += received
        except ConnectionError:
            pass
        return got

    def expect_end(self) -> None:
        """Assert that the proxy ends the connection without another byte."""
        left = self.remainder()
        assert not left, f"the proxy sent {left[:200]!r} where the end was expected"

    def is_quiet(self, seconds: float) -> bool:
        """Whether nothing arrives, and nothing ends, for so long."""
        self.socket.settimeout(seconds)
        try:
            received = self.socket.recv(65536)
        except TimeoutError:
            return True
        except ConnectionError:
            return False
        finally:
            self.socket.settimeout(network.PATIENCE_S)
        self.received += received
        self._reader.rest += received
        return False

    def half_close(self) -> None:
        """Send FIN and keep reading."""
        network.half_close(self.socket)

    def abort(self) -> None:
        """Send RST."""
        network.reset(self.socket)

    def close(self) -> None:
        """End the connection with FIN (RST by the kernel where bytes were left unread)."""
        self.socket.close()

    def _pull(self) -> bytes:
        received = self.socket.recv(65536)
        self.received += received
        return received


def wire(method: str, target: str, *fields: tuple[str, str], body: bytes = b"", host: str = "shop.example") -> bytes:
    """A request as bytes: Host first, then `fields`, then Content-Length where there is a body."""
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}", *(f"{name}: {value}" for name, value in fields)]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def chunked_wire(
    method: str, target: str, *fields: tuple[str, str], pieces: Sequence[bytes], trailers: str = "", host: str = "shop.example"
) -> bytes:
    """The same with a chunked body; `trailers` are whole lines with their CRLF."""
    start = wire(method, target, *fields, ("Transfer-Encoding", "chunked"), host=host)
    return start + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n" + trailers.encode("latin-1") + b"\r\n"
