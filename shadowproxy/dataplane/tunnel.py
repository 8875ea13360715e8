"""After a 101: two byte streams, joined until both have ended.

*   Bytes pass as they come. The side that reads slowly stops the reading of the other: what is in between
    is bounded by two write buffers.
*   The end of one stream is passed on behind its last byte, and the other stream goes on (half-close). TLS
    has no half-close: there the end of one stream is the end of both.
*   A client that breaks off is passed on as a break; one that closes is passed on as a close, so that what
    it sent last arrives.
*   The connection to the endpoint is never used for anything else afterwards (EXP-06).
"""

from __future__ import annotations

from time import monotonic_ns
from typing import TYPE_CHECKING, Final

from shadowproxy.dataplane.leg import Leg

if TYPE_CHECKING:
    from shadowproxy.dataplane.accept import ClientConnection
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.upstream import UpstreamConnection

IDLE_NS: Final = 3600 * 10**9
"""Silence of both sides that ends a tunnel: WebSocket pings come far more often."""

LAST_BYTES_NS: Final = 30 * 10**9
"""How long an endpoint may take to read what a client that has closed sent last."""


class Tunnel(Leg):
    """The joint between a client and the endpoint that it was upgraded to. Takes the exchange's place as the connection's leg."""

    __slots__ = (
        "_client",
        "_has_client_ended",
        "_has_upstream_ended",
        "connection",
        "exchange",
    )

    def __init__(self, client: ClientConnection, exchange: Exchange, connection: UpstreamConnection) -> None:
        self.connection = connection
        super().__init__(exchange.method)
        self.accepts_upgrade = True
        self._client = client
        self.exchange = exchange
        self._has_client_ended = False
        self._has_upstream_ended = False
        connection.leg = self
        self._touch()

    def __repr__(self) -> str:
        ends = ("client" if self._has_client_ended else "", "upstream" if self._has_upstream_ended else "")
        return f"Tunnel({self.connection!r}, ended={'+'.join(filter(None, ends)) or '-'})"

    def _touch(self) -> None:
        self.connection.endpoint.deadlines.set(self.connection, monotonic_ns() + IDLE_NS)

    # From the client.

    def send(self, received: bytes) -> None:
        """Bytes from the client. Never blocks; `on_blocked` stops the client."""
        self.exchange.request_bytes += len(received)
        self.connection.send(received)
        self._touch()

    def client_ended(self) -> None:
        """The client has sent its last byte."""
        self._has_client_ended = True
        transport = self.connection.transport
        if self._has_upstream_ended or not transport.can_write_eof():
            self._finish()
        else:
            transport.write_eof()

    def client_lost(self, *, is_clean: bool) -> None:
        """The client's connection is gone."""
        connection = self.connection
        if connection.leg is not self:
            return
        if is_clean:
            connection.leg = None
            connection.endpoint.released(connection, is_reusable=False)
            connection.close()
            connection.endpoint.deadlines.set(connection, monotonic_ns() + LAST_BYTES_NS)
        else:
            connection.abandon()

    def pause(self) -> None:
        """The client reads more slowly than the endpoint sends; its own deadline watches it now."""
        if not self._has_upstream_ended:
            self.connection.transport.pause_reading()
        self.connection.deadline_ns = 0

    def resume(self) -> None:
        """The client has caught up."""
        if not self._has_upstream_ended:
            self.connection.transport.resume_reading()
        self._touch()

    def _finish(self) -> None:
        """Both have sent all they had: what is queued still goes out."""
        self.client_lost(is_clean=True)
        self._client.close_flushed()

    # From the endpoint, as a leg.

    def on_payload(self, payload: bytes) -> None:
        """Bytes from the endpoint."""
        self.exchange.sent += len(payload)
        self._client.transport.write(payload)
        if not self._client.is_write_blocked:
            self._touch()

    def on_end(self, trailers: list[bytes]) -> None:
        """The endpoint has sent its last byte."""
        self._has_upstream_ended = True
        transport = self._client.transport
        if self._has_client_ended or not transport.can_write_eof():
            self._finish()
        else:
            transport.write_eof()

    def on_failure(self, ended: int) -> None:
        """The endpoint is gone, or nobody has said a word for IDLE_NS."""
        self._client.close_flushed()

    def on_blocked(self) -> None:
        """The endpoint reads more slowly than the client sends."""
        self._client.pause_request()

    def on_unblocked(self) -> None:
        """It has caught up."""
        self._client.resume_request()
