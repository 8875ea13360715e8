"""One connection to an endpoint: reads answers, and hands what it reads to the leg that uses it.

States and what a byte means in each::

    IDLE ──use()──▶ AWAITING ──head──▶ BODY ──last byte──▶ IDLE or CLOSED
                       │  ▲ 1xx           (length, chunked, or until the connection ends)
                       │  └──┘
                       └──101 that was asked for──▶ TUNNEL ──▶ CLOSED

A connection goes back to its pool only when the answer was complete, said that the connection lives on,
had nothing behind it, and the request had been sent whole. A byte that comes while IDLE closes it: it
would be read as the answer to somebody else's request (FRM-13).

How its exchanges end is counted at the endpoint, here, where an answer is still what the endpoint gave: what a fault makes of it
on its way, or makes up in its place, is not the endpoint's. An exchange that we give up is not counted: nobody knows how it would have ended.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, cast

from shadowproxy.dataplane import outcome, tcp
from shadowproxy.dataplane.framing import ChunkedReader
from shadowproxy.dataplane.head import CHUNKED, END_OF_HEAD, UNTIL_CLOSE
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.errors import BadResponse

if TYPE_CHECKING:
    from shadowproxy.dataplane.forward import Endpoint
    from shadowproxy.dataplane.leg import Leg

HEAD_LIMIT: Final = 131072
"""Bytes of an answer's head: twice what we accept from clients; cookies add up."""

INTERIM_LIMIT: Final = 32
"""1xx answers before the final one; more is an attack on us or on the client."""

IDLE: Final = 0
AWAITING: Final = 1
BODY: Final = 2
TUNNEL: Final = 3
CLOSED: Final = 4
_STATES: Final = ("idle", "awaiting", "body", "tunnel", "closed")

_START: Final = b"HTTP/1."


class UpstreamConnection:
    """See the module's text. Reads, never decides. An asyncio protocol by its methods, so that it can be compiled."""

    __slots__ = (
        "_body", "_interims", "_is_reading_paused", "_left", "_partial", "_until_close", "deadline_ns", "endpoint", "has_answered_any", "is_error", "is_request_sent",
        "is_reusable", "is_reused", "is_write_blocked", "leg", "opened_ns", "state", "transport", "watched_tick",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint) -> None:
        self.endpoint = endpoint
        self.leg: Leg | None = None
        self.transport: asyncio.Transport
        self.state = IDLE
        self.is_reused = False
        self.has_answered_any = False
        self.is_request_sent = False
        self.is_reusable = False
        self.is_error = False
        self.is_write_blocked = False
        self.opened_ns = 0
        self.deadline_ns = 0
        self.watched_tick = 0
        self._partial = b""
        self._body: ChunkedReader | None = None
        self._left = 0
        self._until_close = False
        self._interims = 0
        self._is_reading_paused = False

    def __repr__(self) -> str:
        return f"UpstreamConnection({self.endpoint.authority.decode()}, {_STATES[self.state]}, reused={self.is_reused})"

    # What the leg does with it.

    def use(self, leg: Leg) -> None:
        """Begin an exchange for `leg`; the caller then lets it send."""
        assert self.state == IDLE, self
        self.leg = leg
        self.state = AWAITING
        self.is_request_sent = False
        self.has_answered_any = False
        self._interims = 0

    @property
    def chunks_read(self) -> int:
        """Chunks of the answer so far."""
        return self._body.chunks if self._body is not None else 0

    def send(self, wire: bytes) -> None:
        """Queue bytes towards the endpoint. Never blocks; `on_blocked` tells when to stop."""
        self.transport.write(wire)

    def pause_reading(self, leg: Leg) -> None:
        """Read no more of the answer for now; nothing happens where `leg` has had its last byte and the connection is another's."""
        if self.leg is leg and not self._is_reading_paused:
            self._is_reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self, leg: Leg) -> None:
        """Read on, if it is still `leg` that reads, and not full."""
        if self.leg is leg and self._is_reading_paused and not leg.is_full:
            self._is_reading_paused = False
            self.transport.resume_reading()

    def give_back(self, leg: Leg) -> None:
        """`leg` does not want it after all, and has sent nothing: it is as good as before."""
        if self.leg is leg and self.state != AWAITING:
            # It has been told something that it had not asked for.
            self.abandon()
        elif self.leg is leg:
            self.leg = None
            self.state = IDLE
            self.endpoint.given_back(self)

    def abandon(self) -> None:
        """Give the connection up at once, with a reset: nothing that is still queued goes out (P4)."""
        leg, self.leg = self.leg, None
        if leg is not None:
            self.endpoint.given_up()
        if self.state != CLOSED:
            self.state = CLOSED
            tcp.reset(self.transport)

    def close(self) -> None:
        """Close an idle or finished connection."""
        if self.state != CLOSED:
            self.state = CLOSED
            self.transport.close()

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socket is connected (and the TLS handshake done)."""
        self.transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Bytes from the endpoint."""
        if self.state == AWAITING:
            self._read_head(data)
        elif self.state == BODY:
            self._read_body(data)
        elif self.state == TUNNEL:
            assert self.leg is not None
            self.leg.on_payload(data)
        elif self.state == IDLE:
            self.endpoint.discard_idle(self)

    def eof_received(self) -> bool:
        """The endpoint has sent its last byte."""
        if self.state == TUNNEL:
            assert self.leg is not None
            self.leg.on_end([])
            # TLS cannot stay half open; asyncio complains when asked to.
            return self.transport.can_write_eof()
        if self.state == BODY and self._until_close:
            self._end([])
        elif self.state == IDLE:
            # `connection_lost` comes a round of the loop later: no leg shall have it meanwhile.
            self.endpoint.discard_idle(self)
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        was, self.state = self.state, CLOSED
        leg, self.leg = self.leg, None
        self.endpoint.deadlines.drop(self)
        if leg is not None:
            if was != TUNNEL:
                self.endpoint.errors += 1
            self.endpoint.released(self, is_reusable=False)
            if was == BODY:
                ended = outcome.TRUNCATED
            elif was == TUNNEL:
                ended = outcome.RESET
            else:
                self.endpoint.failed()
                ended = outcome.RESET
            leg.on_failure(ended)
        self.endpoint.lost(self)

    def pause_writing(self) -> None:
        """Our write buffer is over its mark."""
        self.is_write_blocked = True
        if self.leg is not None:
            self.leg.on_blocked()

    def resume_writing(self) -> None:
        """It has drained."""
        self.is_write_blocked = False
        if self.leg is not None:
            self.leg.on_unblocked()

    def on_deadline(self, now_ns: int) -> None:
        """No progress for too long, or kept idle for long enough."""
        if self.state == IDLE:
            self.endpoint.discard_idle(self)
        else:
            if self.state == AWAITING:
                self.endpoint.failed()
            self._fail(outcome.TIMEOUT)

    # Reading.

    def _read_head(self, received: bytes) -> None:
        if self._partial:
            received = self._partial + received
            self._partial = b""
        self.has_answered_any = True
        leg = self.leg
        assert leg is not None
        end = received.find(END_OF_HEAD)
        if end < 0:
            # What does not begin like an answer is not waited for.
            if len(received) > HEAD_LIMIT or not received.startswith(_START[: len(received)]):
                self._fail(outcome.MALFORMED)
            else:
                self._partial = received
            return
        end += 4
        try:
            if end > HEAD_LIMIT:
                raise BadResponse("head_too_long", f"read a head of {end} bytes, limit {HEAD_LIMIT}")
            head = self.endpoint.heads.read(received[:end], leg.method)
        except BadResponse:
            self._fail(outcome.MALFORMED)
            return
        status = head.status
        if status < 200:
            self._read_interim(leg, head, received[end:])
            return
        rest = received[end:]
        # EXP-06: a connection that an upgrade was asked on is not kept, whatever came of it.
        self.is_reusable = head.is_reusable and not leg.accepts_upgrade
        length = head.length
        if length == len(rest):
            # The whole answer in one read: the common case, and the only one that needs no state.
            if status >= 500:
                self.endpoint.errors += 1
            self._release()
            leg.on_answer(head, rest, is_end=True)
            return
        self.is_error = status >= 500
        if length >= 0:
            self._read_sized(leg, head, rest)
        elif length == CHUNKED:
            self._body = ChunkedReader(is_request=False, small_limit=leg.small_chunks_limit)
            self.state = BODY
            self._read_chunked(rest, head)
        else:
            assert length == UNTIL_CLOSE
            self._until_close = True
            self.state = BODY
            leg.on_answer(head, rest, is_end=False)

    def _read_sized(self, leg: Leg, head: ResponseHead, rest: bytes) -> None:
        if len(rest) > head.length:
            # FRM-13: more than was announced. The answer stands; the connection does not.
            self.is_reusable = False
            self._finish()
            leg.on_answer(head, rest[: head.length], is_end=True)
        else:
            self.state = BODY
            self._left = head.length - len(rest)
            leg.on_answer(head, rest, is_end=False)

    def _read_interim(self, leg: Leg, head: ResponseHead, rest: bytes) -> None:
        self._interims += 1
        if head.status == 101:
            if leg.accepts_upgrade and self.is_request_sent:
                self.state = TUNNEL
                leg.on_upgrade(self, head, rest)
            else:
                # EXP-05: nobody asked for it.
                self._fail(outcome.MALFORMED)
            return
        if self._interims > INTERIM_LIMIT:
            self._fail(outcome.MALFORMED)
            return
        leg.on_interim(head)
        if rest and self.leg is leg:
            self._read_head(rest)

    def _read_body(self, received: bytes) -> None:
        leg = self.leg
        assert leg is not None
        if self._body is not None:
            self._read_chunked(received, None)
        elif self._until_close:
            leg.on_payload(received)
        else:
            left = self._left - len(received)
            if left > 0:
                self._left = left
                leg.on_payload(received)
                return
            if left < 0:
                self.is_reusable = False
                received = received[:left]
            leg.on_payload(received)
            if self.leg is leg:
                self._end([])

    def _read_chunked(self, received: bytes, head: ResponseHead | None) -> None:
        body = self._body
        leg = self.leg
        assert body is not None
        assert leg is not None
        try:
            payload = body.feed(received)
        except BadResponse:
            if head is None:
                self._fail(outcome.TRUNCATED)
            else:
                self._fail(outcome.MALFORMED)
            return
        if body.is_done and body.rest:
            self.is_reusable = False
        if head is not None:
            if body.is_done and not body.trailers:
                self._finish()
                leg.on_answer(head, payload, is_end=True)
                return
            leg.on_answer(head, payload, is_end=False)
        elif payload:
            leg.on_payload(payload)
        if body.is_done and self.leg is leg:
            self._end(body.trailers)

    def _end(self, trailers: list[bytes]) -> None:
        leg = self.leg
        assert leg is not None
        self._finish()
        leg.on_end(trailers)

    def _finish(self) -> None:
        """The answer is complete, after more than one read or in chunks: it counts as its status says."""
        if self.is_error:
            self.endpoint.errors += 1
        self._release()

    def _release(self) -> None:
        """The answer is complete: pool the connection, or close it."""
        # EXP-02: nor where the endpoint answered early and has left much of the request unread.
        is_reusable = self.is_reusable and self.is_request_sent and not self._until_close and not self.is_write_blocked
        self.leg = None
        self._body = None
        if is_reusable:
            self.state = IDLE
            self.is_reused = True
            if self._is_reading_paused:
                # The last of it was more than its reader could take at once: the next leg must be able to hear.
                self._is_reading_paused = False
                self.transport.resume_reading()
            self.endpoint.released(self, is_reusable=True)
        else:
            self.close()
            self.endpoint.answered()
            self.endpoint.released(self, is_reusable=False)

    def _fail(self, ended: int) -> None:
        leg, self.leg = self.leg, None
        was, self.state = self.state, CLOSED
        self._body = None
        self.transport.abort()
        if leg is not None:
            if was != TUNNEL:
                self.endpoint.errors += 1
            self.endpoint.released(self, is_reusable=False)
            leg.on_failure(ended)
