"""The client's side of a connection: requests come in, one exchange at a time, answers go out in order.

States and what a byte means in each::

    IDLE ──first byte──▶ HEAD ──head, no body──▶ WAIT ──answer sent──▶ IDLE, or CLOSING where it was the last
                          │                        ▲
                          └──head──▶ BODY ──last───┘
    WAIT ──101──▶ TUNNEL
    any ──refused──▶ CLOSING ──client's end, or LINGER──▶ gone

WAIT without an exchange: the answer is queued, and no further request is begun until the client has read of it.

*   Bytes that come during WAIT belong to the next request: they are kept (PIPELINE_LIMIT), and the socket is
    not read beyond that. So pipelining is bounded in bytes, answers are in order, and nothing is parsed early.
*   What follows a request in the same read is looked at before that request is forwarded: bytes that can
    be no next request mean that the framing is in doubt, and then nothing of the read goes upstream.
*   After a refusal nothing more is parsed. The connection lingers, reading and discarding, so that the
    answer is not destroyed by a reset (RFC 9112 section 9.6).
*   A client that closes its sending side may still want the answer (half-close) or may be gone; TCP does
    not tell. An HTTP/1.1 client is asked: an interim 100 is harmless to the first and draws a reset from
    the second, which then cancels the live leg. The loop does not read past a FIN and so never sees that
    reset: the socket's state is looked at every GONE_CHECK_NS.
*   Whatever is queued for a client is bounded, and so is the time in which it reads none of it (`write_timeout`),
    also while the connection is being closed.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, cast

from shadowproxy.dataplane import tcp
from shadowproxy.dataplane.admission import CONTINUE
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.forwarded import ForwardedFields, Networks, plain_address
from shadowproxy.dataplane.framing import ChunkedReader
from shadowproxy.dataplane.head import CHUNKED
from shadowproxy.dataplane.headbuffer import HeadBuffer, vet
from shadowproxy.dataplane.problem import final_recipient, problem
from shadowproxy.dataplane.request_head import RequestParts
from shadowproxy.errors import BadRequest

if TYPE_CHECKING:
    from shadowproxy.dataplane.gate import Gate
    from shadowproxy.dataplane.tunnel import Tunnel
    from shadowproxy.dataplane.worker import Worker

PIPELINE_LIMIT: Final = 65536
"""Bytes of further requests kept while one is being answered."""

LINGER_S: Final = 2.0
LINGER_LIMIT: Final = 1048576
"""Bytes discarded after a refusal before the connection is cut."""

CONTINUE_AFTER_NS: Final = 10**9
"""How long a client that expects 100 waits for live to say it before we do."""

DRAIN_IDLE_NS: Final = 10**9
"""How long an idle connection may still send a request once a stop was asked for."""

GONE_CHECK_NS: Final = 250_000_000
"""How often a half-closed connection is asked whether its client is still there."""

IDLE: Final = 0
HEAD: Final = 1
BODY: Final = 2
WAIT: Final = 3
TUNNEL: Final = 4
CLOSING: Final = 5
_STATES: Final = ("idle", "head", "body", "wait", "tunnel", "closing")


class ClientConnection:
    """See the module's text. An asyncio protocol by its methods and not by inheritance, so that it can be compiled."""

    __slots__ = (
        "_body", "_buffer", "_discarded", "_has_eof", "_is_pumping", "_is_reading_paused", "_left", "_pending", "_tunnel", "_unsent",
        "address", "deadline_ns", "exchange", "forwarded", "gate", "is_last", "is_write_blocked", "listener", "scheme", "state", "transport",
        "trusted", "watched_tick", "worker",
    )  # fmt: skip

    def __init__(self, worker: Worker, listener: str, trusted: Networks) -> None:
        self.worker = worker
        self.listener = listener
        self.trusted = trusted
        self.state = IDLE
        self.exchange: Exchange | None = None
        self.is_last = False
        self.is_write_blocked = False
        self.deadline_ns = 0
        self.watched_tick = 0
        self.transport: asyncio.Transport
        self.address = b""
        self.scheme = b"http"
        self.gate: Gate | None = worker.gates.get(listener)
        self.forwarded: ForwardedFields
        self._buffer: HeadBuffer | None = None
        self._pending = b""
        self._left = 0
        self._body: ChunkedReader | None = None
        self._tunnel: Tunnel | None = None
        self._has_eof = False
        self._is_pumping = False
        self._is_reading_paused = False
        self._discarded = 0
        self._unsent = 0

    def __repr__(self) -> str:
        return f"ClientConnection({self.address.decode()}, {_STATES[self.state]}, {self.exchange!r})"

    # What asyncio tells.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client has connected (and finished the TLS handshake)."""
        self.transport = cast("asyncio.Transport", transport)
        worker = self.worker
        peer = transport.get_extra_info("peername")
        host = plain_address(str(peer[0])) if peer else ""
        self.address = host.encode()
        self.scheme = scheme = b"https" if transport.get_extra_info("ssl_object") is not None else b"http"
        if not worker.admit_client(self):
            self.state = CLOSING
            self.transport.abort()
            return
        self.forwarded = ForwardedFields(host, scheme, self.trusted, worker.config.forwarded)
        worker.deadlines.set(self, time.monotonic_ns() + worker.header_ns)
        if worker.is_draining:
            # Accepted just before the stop: it is served like those that were here already.
            self.drain()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        state = self.state
        if state == IDLE:
            # The common case, a whole request without a body whose fields were read before, needs none of what follows.
            parts = self.worker.request_heads.recall(data)
            if parts is not None and not parts[3].length:
                self.state = WAIT
                self.deadline_ns = 0
                self.exchange = exchange = Exchange(self, parts, time.monotonic_ns(), data)
                exchange.begin(b"", is_end=True)
            else:
                self._read(data)
        elif state == HEAD:
            self._read(data)
        elif state == BODY:
            self._read_body(data)
        elif state == WAIT:
            self._keep(data)
        elif state == TUNNEL:
            if self._tunnel is not None:
                self._tunnel.send(data)
        else:
            self._discarded += len(data)
            if self._discarded > LINGER_LIMIT:
                self.transport.abort()

    def eof_received(self) -> bool:
        """The client has sent its last byte; see the module's text on half-closed clients."""
        self._has_eof = True
        # TLS cannot stay half open; asyncio complains when asked to.
        can_stay = self.transport.can_write_eof()
        if self.state == TUNNEL and self._tunnel is not None:
            self._tunnel.client_ended()
            return can_stay
        if self.state == WAIT and can_stay:
            # Requests that have come whole are answered, all of them.
            self.is_last = self.is_last or not self._pending
            exchange = self.exchange
            if exchange is not None and exchange.answer is None and not exchange.head.is_http10:
                self.transport.write(CONTINUE)
            if not self.is_write_blocked:
                self.worker.deadlines.set(self, time.monotonic_ns() + GONE_CHECK_NS)
            return True
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is gone, whoever ended it."""
        self.state = CLOSING
        exchange, self.exchange = self.exchange, None
        if exchange is not None:
            exchange.on_client_gone()
        tunnel, self._tunnel = self._tunnel, None
        if tunnel is not None:
            tunnel.client_lost(is_clean=exc is None and self._has_eof)
            tunnel.exchange.on_tunnel_over()
            self.worker.requests += 1
            if self.worker.access_sample:
                self.worker.log_access(self, tunnel.exchange, 101)
        self._pending = b""
        self._body = None
        self._buffer = None
        self.worker.deadlines.drop(self)
        self.worker.release_client(self)

    def pause_writing(self) -> None:
        """The client reads more slowly than live answers: live waits."""
        self.is_write_blocked = True
        self._unsent = self.transport.get_write_buffer_size()
        worker = self.worker
        worker.deadlines.set(self, time.monotonic_ns() + worker.write_ns)
        if self._tunnel is not None:
            self._tunnel.pause()
            return
        exchange = self.exchange
        upstream = exchange.connection if exchange is not None else None
        if exchange is not None and upstream is not None and upstream.leg is exchange.leg:
            upstream.pause_reading(exchange.leg)
            # Waiting for the client is not the endpoint's silence.
            upstream.deadline_ns = 0

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.is_write_blocked = False
        if self.state == CLOSING:
            return
        self.deadline_ns = 0
        exchange = self.exchange
        if self._tunnel is not None:
            self._tunnel.resume()
        elif exchange is None:
            self._next()
        else:
            if self.state == BODY:
                self._await_more()
            elif self._has_eof:
                self.worker.deadlines.set(self, time.monotonic_ns() + GONE_CHECK_NS)
            if exchange.connection is not None:
                exchange.connection.resume_reading(exchange.leg)
                exchange.watch()

    def on_deadline(self, now_ns: int) -> None:
        """Too slow, or idle for long enough."""
        unsent = self.transport.get_write_buffer_size()
        if unsent and (self.is_write_blocked or self.state == CLOSING or self.state == IDLE):
            # Between requests nobody has noted yet how much is unsent: then any change counts.
            if unsent < self._unsent or (self.state == IDLE and unsent != self._unsent):
                # It reads, slowly.
                self._unsent = unsent
                self.worker.deadlines.set(self, now_ns + self.worker.write_ns)
            else:
                self.transport.abort()
        elif self.state == WAIT and self._has_eof:
            if tcp.is_reset(self.transport):
                self.transport.abort()
            else:
                self.worker.deadlines.set(self, now_ns + GONE_CHECK_NS)
        elif self.state == HEAD and self.exchange is None:
            self.refuse(408, "head_timeout", "the request head did not come in time")
        elif self.state == BODY:
            exchange = self.exchange
            if exchange is not None and exchange.head.expects_continue and not exchange.has_continued and exchange.answer is None:
                # Live keeps silent; a client may wait for a 100 for ever (RFC 9110 section 10.1.1).
                exchange.has_continued = True
                self.transport.write(CONTINUE)
                self.worker.deadlines.set(self, now_ns + self.worker.body_ns)
            elif exchange is not None and exchange.answer is None:
                self._refuse_unfinished(408, "body_timeout", "the request body did not come in time")
            else:
                self.transport.abort()
        elif (self.state == CLOSING or self.state == IDLE) and not unsent:
            self.transport.close()
        else:
            self.transport.abort()

    # Requests.

    def _read(self, received: bytes) -> None:
        """Bytes at the start of, or inside, a head; then as many whole requests as can be begun."""
        if self._is_pumping:
            self._pending += received
            return
        self._is_pumping = True
        self._pending = received
        try:
            while self._pending and (self.state == IDLE or self.state == HEAD):
                received, self._pending = self._pending, b""
                self._read_head(received)
        finally:
            self._is_pumping = False
        if len(self._pending) > PIPELINE_LIMIT:
            self.pause_request()
        if self._has_eof and self.state in (IDLE, HEAD, BODY):
            self.close_flushed()

    def _read_head(self, received: bytes) -> None:
        now_ns = time.monotonic_ns()
        worker = self.worker
        buffer = self._buffer
        if buffer is None:
            buffer = self._buffer = HeadBuffer()
        try:
            whole = buffer.take(received, worker.limits)
            if whole is None:
                if buffer.has_begun and self.state == IDLE:
                    self.state = HEAD
                    worker.deadlines.set(self, now_ns + worker.header_ns)
                return
            self._buffer = None
            self.state = HEAD
            parts = worker.request_heads.read(whole[0])
            head = parts[3]
            limit = worker.limits.body
            if limit and head.length > limit:
                raise BadRequest(413, "body_too_large", f"the body is {head.length} bytes, limit {limit}")
            if whole[1]:
                self._begin_with(parts, whole, now_ns)
                return
        except BadRequest as error:
            self.refuse(error.status, error.code, error.detail, is_head=buffer.asks_for_head(received))
            return
        self.exchange = exchange = Exchange(self, parts, now_ns, whole[0])
        if head.length:
            self._expect_body(head.length, now_ns, expects_continue=head.expects_continue)
            exchange.begin(b"", is_end=False)
        else:
            self.state = WAIT
            self.deadline_ns = 0
            exchange.begin(b"", is_end=True)

    def _expect_body(self, length: int, now_ns: int, *, expects_continue: bool) -> None:
        self.state = BODY
        if length == CHUNKED:
            self._body = ChunkedReader(is_request=True)
        else:
            self._left = length
        wait_ns = CONTINUE_AFTER_NS if expects_continue else self.worker.body_ns
        self.worker.deadlines.set(self, now_ns + wait_ns)

    def _begin_with(self, parts: RequestParts, whole: tuple[bytes, bytes], now_ns: int) -> None:
        """A head with bytes behind it: body, next request, or neither.

        Raises:
            BadRequest: what follows can be no body and no request; nothing has been forwarded.
        """
        head = parts[3]
        raw_head, rest = whole
        if head.length == CHUNKED:
            body = ChunkedReader(is_request=True)
            payload = body.feed(rest)
            self._check_size(len(payload))
            if body.is_done:
                vet(self.worker.request_heads, head, body.rest)
            self.exchange = exchange = Exchange(self, parts, now_ns, raw_head)
            self._expect_body(head.length, now_ns, expects_continue=head.expects_continue)
            self._body = body
            exchange.begin(b"", is_end=False)
            if exchange.client.exchange is exchange:  # mypyc would take self.exchange for what was assigned to it above
                self._forward_payload(exchange, payload, body)
            return
        payload = rest[: head.length]
        rest = rest[head.length :]
        if rest:
            vet(self.worker.request_heads, head, rest)
        self.exchange = exchange = Exchange(self, parts, now_ns, raw_head)
        is_end = len(payload) == head.length
        if is_end:
            self.state = WAIT
            self.deadline_ns = 0
            if head.upgrade and rest:
                self._keep_for_tunnel(rest)
            elif head.is_keep_alive:
                self._pending = rest
        else:
            self._expect_body(head.length, now_ns, expects_continue=head.expects_continue)
            self._left = head.length - len(payload)
        exchange.begin(payload, is_end=is_end)

    def _check_size(self, size: int) -> None:
        limit = self.worker.limits.body
        if limit and size > limit:
            raise BadRequest(413, "body_too_large", f"read {size} bytes of a body, limit {limit}")

    def _read_body(self, received: bytes) -> None:
        exchange = self.exchange
        assert exchange is not None
        body = self._body
        if body is None:
            left = self._left - len(received)
            if left < 0:
                rest = received[left:]
                received = received[:left]
                self._left = 0
                self._finish_body(rest, exchange)
            elif left == 0:
                self._left = 0
                self._finish_body(b"", exchange)
            else:
                self._left = left
                self._await_more()
            exchange.on_request_payload(received, is_end=left <= 0, trailers=[])
            return
        try:
            payload = body.feed(received)
            self._check_size(exchange.request_bytes + len(payload))
        except BadRequest as error:
            self._refuse_unfinished(error.status, error.code, error.detail)
            return
        self._forward_payload(exchange, payload, body)

    def _forward_payload(self, exchange: Exchange, payload: bytes, body: ChunkedReader) -> None:
        if body.is_done:
            self._finish_body(body.rest, exchange)
        else:
            self._await_more()
        if payload or body.is_done:
            exchange.on_request_payload(payload, is_end=body.is_done, trailers=body.trailers)

    def _await_more(self) -> None:
        if not self._is_reading_paused:
            self.worker.deadlines.set(self, time.monotonic_ns() + self.worker.body_ns)

    def _finish_body(self, rest: bytes, exchange: Exchange) -> None:
        self._body = None
        self.state = WAIT
        self.deadline_ns = 0
        if rest and (exchange.head.is_keep_alive or exchange.head.upgrade):
            self._keep(rest)

    def _keep(self, received: bytes) -> None:
        """Bytes of the next request, while this one is being answered."""
        exchange = self.exchange
        if exchange is not None and exchange.head.upgrade:
            self._keep_for_tunnel(received)
            return
        if self.is_last or (exchange is not None and not exchange.head.is_keep_alive):
            # FRM-15: nothing follows a last request.
            self._discarded += len(received)
            if self._discarded > LINGER_LIMIT:
                self.transport.abort()
            return
        self._pending += received
        if len(self._pending) > PIPELINE_LIMIT:
            self.pause_request()

    def _keep_for_tunnel(self, received: bytes) -> None:
        """Bytes behind a request to upgrade: the tunnel's if it opens, else nobody's.

        EXP-05: nothing of them goes upstream before the 101, and without one they cannot be told from a request.
        """
        self.is_last = True
        self._pending += received
        if len(self._pending) > PIPELINE_LIMIT:
            self.pause_request()

    def pause_request(self) -> None:
        """Stop reading from the client."""
        if not self._is_reading_paused and not self.transport.is_closing():
            self._is_reading_paused = True
            self.transport.pause_reading()
            if self.state == BODY:
                self.deadline_ns = 0

    def resume_request(self) -> None:
        """Read on."""
        if self._is_reading_paused and not self.transport.is_closing():
            self._is_reading_paused = False
            self.transport.resume_reading()
            if self.state == BODY:
                self._await_more()

    # Answers.

    def on_exchange_done(self, exchange: Exchange, status: int) -> None:
        """The answer is on its way to the client, whole."""
        self.exchange = None
        worker = self.worker
        worker.requests += 1
        if worker.access_sample:
            worker.log_access(self, exchange, status)
        self.is_last = self.is_last or not exchange.is_request_done
        self._next()

    def _next(self) -> None:
        """Begin the next request, or wait for it."""
        if self.is_last:
            self._close_softly()
            return
        if self.is_write_blocked:
            # Who does not read answers gets no more of them: begun requests would pile up their answers here.
            self.state = WAIT
            return
        self.state = IDLE
        self.worker.deadlines.set(self, time.monotonic_ns() + self.worker.idle_ns)
        if self._is_reading_paused:
            self.resume_request()
        if self._pending and not self._is_pumping:
            pending, self._pending = self._pending, b""
            self._read(pending)
        elif self._has_eof and not self._pending:
            self.close_flushed()

    def refuse(self, status: int, code: str, detail: str, *, is_head: bool = False, counted: str = "") -> None:
        """Answer with a problem document; the request's framing decides whether the connection survives. Counted as `counted`, else `code`."""
        exchange, self.exchange = self.exchange, None
        worker = self.worker
        reason = counted or code
        worker.refusals[reason] = worker.refusals.get(reason, 0) + 1
        is_whole = exchange is not None and exchange.is_request_done
        if not is_whole or exchange is None or not exchange.head.is_keep_alive or worker.is_draining:
            self.is_last = True
        is_head = is_head or (exchange is not None and exchange.method == b"HEAD")
        self.transport.write(problem(status, code, detail, date_line=worker.date_line, is_last=self.is_last, is_head=is_head))
        if worker.access_sample:
            worker.log_refusal(self, exchange, status, code)
        self.after_local_answer()

    def after_local_answer(self) -> None:
        """An answer that is nobody's but ours has been sent."""
        self.worker.requests += 1
        self._next()

    def _refuse_unfinished(self, status: int, code: str, detail: str) -> None:
        """The request's body cannot go on: upstream and copies are told by a reset, the client by a problem."""
        exchange, self.exchange = self.exchange, None
        has_begun = exchange is not None and exchange.answer is not None
        if exchange is not None:
            exchange.on_client_gone()
        if has_begun:
            self.break_off(is_framed=True)
        else:
            self.refuse(status, code, detail)

    def answer_locally(self, method: bytes) -> None:
        """Max-Forwards has reached 0: we are the final recipient (RFC 9110 section 7.6.2)."""
        self.exchange = None
        self.is_last = self.is_last or self.state == BODY
        self.transport.write(final_recipient(method, date_line=self.worker.date_line, is_last=self.is_last))
        self.after_local_answer()

    def break_off(self, *, is_framed: bool) -> None:
        """An answer will not be completed: end the connection so that the client cannot take it for whole.

        A framed answer (length, chunks) shows that by itself, so what is queued is flushed; one that ends
        with the connection can only be broken by a reset.
        """
        self.exchange = None
        if is_framed:
            self.close_flushed()
        else:
            self.state = CLOSING
            tcp.reset(self.transport)

    def _close_softly(self) -> None:
        """Send the end of our side, and discard what still comes until the client has ended its own."""
        if self._has_eof or not self.transport.can_write_eof():
            self.close_flushed()
            return
        self.state = CLOSING
        self._pending = b""
        self.resume_request()
        try:
            self.transport.write_eof()
        except OSError:
            self.transport.abort()
            return
        self._unsent = self.transport.get_write_buffer_size()
        wait_ns = self.worker.write_ns if self._unsent else round(LINGER_S * 1e9)
        self.worker.deadlines.set(self, time.monotonic_ns() + wait_ns)

    def close_flushed(self) -> None:
        """Close once what is queued has been sent, which a client that reads nothing cannot put off for ever."""
        self.state = CLOSING
        self._pending = b""
        self._unsent = self.transport.get_write_buffer_size()
        if self._unsent:
            self.worker.deadlines.set(self, time.monotonic_ns() + self.worker.write_ns)
        self.transport.close()

    # Tunnels.

    def begin_tunnel(self, tunnel: Tunnel) -> None:
        """101 has been sent: bytes pass both ways from now on."""
        self.exchange = None
        self.state = TUNNEL
        self._tunnel = tunnel
        if self.is_write_blocked:
            tunnel.pause()
        else:
            self.deadline_ns = 0
        self.resume_request()
        pending, self._pending = self._pending, b""
        if pending:
            tunnel.send(pending)
        if self._has_eof:
            tunnel.client_ended()

    # Draining.

    def drain(self) -> None:
        """A stop was asked for: finish the request under way and take no other, or one more where none is.

        A connection that waits is not cut at once: its next request may be on its way, and would meet a reset.
        """
        self.is_last = True
        if self.state == IDLE:
            deadline_ns = time.monotonic_ns() + DRAIN_IDLE_NS
            if not self.deadline_ns or self.deadline_ns > deadline_ns:
                self.worker.deadlines.set(self, deadline_ns)
