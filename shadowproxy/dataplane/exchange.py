"""One request and its answer: the live leg, and what is owed to the client.

Life: `begin` routes the request, dispatches the live leg and then, in the same callback, offers the
request to the route's mirrors. Request payload goes to live first and to the copies after it. Answer
bytes go to the client as they come. Only the live leg can delay, fail or end any of this: a copy is an
object that an exchange sends to and never waits for, reads from or is called by.

The client is told 502, 503 or 504 only while nothing of an answer has been sent; after that the truth is
a broken connection (FRM-10).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64, xxh3_64_intdigest

from shadowproxy.dataplane import gather, outcome
from shadowproxy.dataplane.admission import Admission
from shadowproxy.dataplane.forwarded import hop_lines, is_looping
from shadowproxy.dataplane.framing import LAST_CHUNK, chunk, last_chunk
from shadowproxy.dataplane.head import CHUNKED, CRLF
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.mirroring import leave_out, mirror, stop_copies
from shadowproxy.dataplane.problem import STATUS_OF_FAILURE
from shadowproxy.dataplane.recent import HEAD_LIMIT, TOO_LONG
from shadowproxy.dataplane.request_head import RequestParts
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.dataplane.tagging import rewritten
from shadowproxy.dataplane.tally import RouteTally
from shadowproxy.dataplane.tee import ANSWER_FREE, ANSWER_LIMIT, MARK
from shadowproxy.dataplane.trace import Trace
from shadowproxy.dataplane.tunnel import Tunnel
from shadowproxy.logbuckets import bucket
from shadowproxy.policy import MirrorPolicy, RoutePolicy, bare_host
from shadowproxy.policy.rewrite import RewritePolicy
from shadowproxy.policy.tenancy import READ_METHODS

if TYPE_CHECKING:
    from shadowproxy.dataplane.accept import ClientConnection
    from shadowproxy.dataplane.capture import Request
    from shadowproxy.dataplane.forward import FleetRuntime
    from shadowproxy.dataplane.inject import Injection
    from shadowproxy.dataplane.part import Part
    from shadowproxy.dataplane.tally import Pair
    from shadowproxy.dataplane.tee import Copy, Tee
    from shadowproxy.dataplane.upstream import UpstreamConnection

NOTHING_HELD: Final = 421
"""What a sink answers that was asked before live and holds nothing about it (RFC 9110 section 15.5.20)."""

HELD_LIMIT: Final = 65536
"""Request bytes held while no connection is open yet, before the client is paused."""


class Exchange(Leg):
    """The live leg of one request (see `upstream.Leg`), and its client's view of it."""

    __slots__ = (
        "_digest", "_fleet", "_has_retried", "_hasher", "_held", "_out", "_payload", "_received", "_tally", "admission", "answer", "arrived_ns", "captured", "client",
        "connection", "control_tees", "copies", "dispatched_ns", "first_ns", "has_continued", "head", "injection", "is_answer_done", "is_request_done",
        "pairs", "parts", "path", "raw_head", "request_bytes", "route_name", "sent", "shed_tees", "target", "trace", "wire",
    )  # fmt: skip

    def __init__(self, client: ClientConnection, parts: RequestParts, arrived_ns: int, raw_head: bytes) -> None:
        method, self.target, self.path, self.head = parts
        super().__init__(method)
        self.client = client
        self.arrived_ns = arrived_ns
        self.raw_head = raw_head
        self.connection: UpstreamConnection | None = None
        self.copies: list[Copy] | None = None
        self.control_tees: list[Tee] | None = None
        self.shed_tees: list[Tee] | None = None
        self.parts: list[Part] | None = None
        self.injection: Injection | None = None
        self.answer: ResponseHead | None = None
        self.dispatched_ns = 0
        self.first_ns = 0
        self.is_request_done = False
        self.is_answer_done = False
        self.has_continued = False
        self.request_bytes = 0
        self.sent = 0
        self.wire = b""
        self.trace: Trace | None = None
        self.route_name = ""
        self._fleet: FleetRuntime | None = None
        self._tally: RouteTally | None = None
        self.pairs: list[Pair] | None = None
        self.admission: Admission | None = None
        self.captured: Request | None = None
        self._held: list[bytes] | None = None
        self._hasher: xxh3_64 | None = None
        self._digest = 0
        self._has_retried = False
        self._out = 0
        self._payload = b""
        self._received = 0

    def __repr__(self) -> str:
        status = self.answer.status if self.answer is not None else "-"
        return f"Exchange({self.method.decode('latin-1')} {self.target.decode('latin-1')}, route={self.route_name or '-'}, status={status}, copies={len(self.copies or ())})"

    # The request.

    def begin(self, payload: bytes, *, is_end: bool) -> None:
        """Route, dispatch live, offer to mirrors.

        `payload` is what came of a sized body with the head, and `is_end` says it is all; a chunked body
        comes through `on_request_payload` alone.
        """
        client = self.client
        worker = client.worker
        head = self.head
        self.is_request_done = is_end
        self.request_bytes = len(payload)
        if head.tenant or (client.gate is not None and client.gate.is_egress):
            self.admission = Admission(self, worker.admissions)
            if self.admission.begin(payload, is_end=is_end):
                return
            self.admission = None
        policy = worker.policy
        host = bare_host(head.authority) if policy.asks_host else b""
        route = policy.find(client.listener, host, self.path, self.method, head.fields)
        if route is None:
            client.refuse(404, "no_route", "no route takes this request")
            return
        self.route_name = route.name
        if (head.mark and worker.is_own_mark(head.mark)) or is_looping(head):
            client.refuse(508, "mirror_loop", "this request has been through this proxy before")
            return
        if head.max_forwards == 0 and self.method in (b"OPTIONS", b"TRACE"):
            client.answer_locally(self.method)
            return
        if route.rewrite is not None:
            self._rewrite(route.rewrite, b"", worker.fleets[route.live])
        self._tally = worker.route_tallies[route.name]
        self._send(route.live, payload, route.mirrors, is_end=is_end)

    def _send(self, fleet_name: str, payload: bytes, mirrors: tuple[MirrorPolicy, ...], *, is_end: bool) -> None:
        """Dispatch the live leg to a fleet, then offer the request to mirrors."""
        client = self.client
        worker = client.worker
        head = self.head
        if self.route_name in worker.splits.routes:
            fleet_name, mirrors = worker.splits.divert(self, fleet_name, mirrors)
        self._fleet = fleet = worker.fleets[fleet_name]
        trace = self.trace
        if trace is None:
            trace = self.trace = Trace(head.traceparent)
        self.accepts_upgrade = bool(head.upgrade)
        forwarded = client.forwarded.lines(head)
        self.wire = b"".join((
            self.method, b" ", self.target, b" HTTP/1.1\r\n",
            head.common,
            forwarded,
            trace.live_line(),
            # Only a proxy that we know can say that a request is a copy; what others say does not go on.
            b"%b: %b\r\n" % (MARK, head.mark) if head.mark and client.forwarded.is_trusted else b"",
            hop_lines(head, fleet.endpoints[0].authority, is_request_done=self.is_request_done),
            CRLF,
        ))  # fmt: skip
        self._payload = payload
        now_ns = self.arrived_ns
        self.waits_until_ns = now_ns + fleet.connect_ns
        if self.admission is None or not self.admission.asks:
            # Where a sink is asked first, only the answer that the client gets is anybody's business.
            raw_head = self.raw_head
            worker.recent.note((raw_head if len(raw_head) <= HEAD_LIMIT else TOO_LONG, now_ns, client.address, client.listener))
            experiments = worker.experiments
            if self.route_name in experiments.by_route and experiments.enter(self, fleet_name) is not None:
                self._inject(fleet, mirrors)
                return
        if not fleet.dispatch(self, now_ns):
            self._fail(outcome.OVERFLOW)
            return
        if mirrors:
            mirror(self, mirrors, forwarded, payload, is_end=is_end)

    def _inject(self, fleet: FleetRuntime, mirrors: tuple[MirrorPolicy, ...]) -> None:
        """Go on with a fault: what comes of it is neither the route's doing nor to be compared with a shadow's answer."""
        injection = self.injection
        assert injection is not None
        self._tally = RouteTally()
        leave_out(self, mirrors, outcome.INJECTED)
        if not injection.dispatch(fleet, self.arrived_ns):
            self._fail(outcome.OVERFLOW)

    def take_part(self, part: Part) -> None:
        """Be counted in a slice or a half."""
        if self.parts is None:
            self.parts = []
        self.parts.append(part)

    @property
    def leg(self) -> Leg:
        """What the connection knows as its leg."""
        return self if self.injection is None else self.injection

    def _rewrite(self, rewrite: RewritePolicy, tenant: bytes, fleet: FleetRuntime) -> None:
        """Change what a rule changes for the fleet that gets the request; heads are shared, so it gets one of its own."""
        self.target = rewrite.target(self.target, tenant)
        self.head = rewritten(self.head, rewrite, tenant, fleet.endpoints[0].authority)

    def admitted(self, admission: Admission, route: RoutePolicy, body: bytes, trailers: list[bytes]) -> None:
        """A tagged request may go on, to where it was decided to; its body is whole."""
        worker = self.client.worker
        destination = admission.destination
        assert destination is not None
        fleet = admission.asks or destination.fleet
        # A mirror that a reload has taken away meanwhile gets nothing more.
        mirrors = route.mirrors if not admission.is_diverted and admission.policy is worker.policy else ()
        # What a mock or a partition answers is not how live does.
        self._tally = worker.admissions.tally(route.name).answers if admission.is_diverted else worker.route_tallies[route.name]
        if fleet not in worker.fleets:
            # Decided before a reload took the fleet away.
            self._fail(outcome.OVERFLOW)
            return
        for rewrite in () if admission.asks else destination.rewrites:
            self._rewrite(rewrite, self.head.tenant, worker.fleets[fleet])
        # What waited for control has waited at no endpoint's account.
        self.arrived_ns = time.monotonic_ns()
        if self.head.length == CHUNKED:
            self.is_request_done = False
            self._send(fleet, b"", mirrors, is_end=False)
            self.request_bytes = 0
            self.on_request_payload(body, is_end=True, trailers=trailers)
        else:
            self._send(fleet, body, mirrors, is_end=True)

    def on_connection(self, connection: UpstreamConnection) -> None:
        """A connection is ours: the head goes out, with what has come of the body."""
        client = self.client
        self.connection = connection
        self.waits_until_ns = 0
        now_ns = time.monotonic_ns()
        self.dispatched_ns = now_ns
        payload = self._payload
        if self._held is not None:
            payload = b"".join([payload, *self._held])
            self._held = None
            client.resume_request()
        connection.is_request_sent = self.is_request_done
        if payload:
            gather.write(connection.transport, self.wire, payload)
        else:
            connection.transport.write(self.wire)
        if client.is_write_blocked:
            connection.pause_reading(self.leg)
        self._watch(now_ns)

    def watch(self) -> None:
        """The client reads again: the endpoint's silence counts again."""
        if not self.leg.is_full:
            self._watch(time.monotonic_ns())

    def _watch(self, now_ns: int) -> None:
        """Set the connection's deadline: header or body silence, within the fleet's total."""
        assert self._fleet is not None
        fleet = self._fleet
        deadline_ns = now_ns + (fleet.header_ns if self.answer is None else fleet.idle_ns)
        if fleet.total_ns:
            deadline_ns = min(deadline_ns, self.dispatched_ns + fleet.total_ns)
        # An endpoint that waits for our client is not silent; `watch` is called when the client reads on.
        if self.connection is not None and not self.client.is_write_blocked:
            fleet.deadlines.set(self.connection, deadline_ns)

    def on_request_payload(self, payload: bytes, *, is_end: bool, trailers: list[bytes]) -> None:
        """More of the request's body from the client."""
        self.request_bytes += len(payload)
        if self._fleet is None:
            self.is_request_done = is_end
            if self.admission is not None:
                self.admission.add(payload, is_end=is_end, trailers=trailers)
            return
        if self.captured is not None:
            self.captured.body.add(payload)
        if self.head.length >= 0:
            wire = payload
        else:
            wire = chunk(payload) if payload else b""
            if is_end:
                wire += last_chunk(trailers)
        self.is_request_done = is_end
        connection = self.connection
        if connection is not None:
            if is_end:
                connection.is_request_sent = True
            if wire:
                connection.send(wire)
            self._watch(time.monotonic_ns())
        elif not self.is_answer_done:
            if self._held is None:
                self._held = []
            self._held.append(wire)
            if sum(map(len, self._held)) > HELD_LIMIT:
                self.client.pause_request()
        if self.copies is not None:
            for copy in self.copies:
                try:
                    copy.send(wire, len(payload), is_end=is_end)
                except Exception as error:  # noqa: BLE001  as in _mirror
                    self.client.worker.caught(error)
                    copy.abandon(outcome.SHED_ERROR)

    def on_blocked(self) -> None:
        """Live reads more slowly than the client sends: the client waits."""
        self.client.pause_request()

    def on_unblocked(self) -> None:
        """Live has caught up."""
        self.client.resume_request()

    # The answer.

    def on_interim(self, head: ResponseHead) -> None:
        """100, 102, 103: relayed to clients that may see them (RFC 9110 section 15.2)."""
        if self.head.is_http10 or (head.status == 100 and (not self.head.expects_continue or self.has_continued)):
            return
        self.has_continued = self.has_continued or head.status == 100
        self.client.transport.write(head.wire + CRLF)

    def on_answer(self, head: ResponseHead, payload: bytes, *, is_end: bool) -> None:
        """The final head: it goes to the client together with the payload that came with it."""
        client = self.client
        request = self.head
        now_ns = time.monotonic_ns()
        if self.admission is not None and self.admission.asks and head.status == NOTHING_HELD:
            self._ask_live(self.admission, is_end=is_end)
            return
        self.first_ns = now_ns - self.dispatched_ns
        self.answer = head
        self._received = len(payload)
        if self.captured is not None:
            self.captured.live.head = head.wire
            self.captured.live.add(payload)
        if self.pairs is not None:
            if is_end:
                self._digest = xxh3_64_intdigest(payload)
            else:
                self._hasher = xxh3_64(payload)
        extra = b""
        body = payload
        if head.length < 0:
            # Chunked or until the end of the connection: chunked to those who can read it (FRM-10).
            if request.is_http10:
                self._out = _RAW
                client.is_last = True
            else:
                self._out = _CHUNKED
                extra = b"Transfer-Encoding: chunked\r\n"
                payload = chunk(payload) if payload else b""
                if is_end:
                    payload += LAST_CHUNK
        if not head.has_date:
            extra += client.worker.date_line
        if not self.is_request_done or not request.is_keep_alive or client.is_last:
            client.is_last = True
            extra += b"Connection: close\r\n"
        elif request.is_http10:
            extra += b"Connection: keep-alive\r\n"
        wire = b"".join((head.wire, extra, CRLF))
        self.sent += len(wire) + len(payload)
        gather.write(client.transport, wire, payload)
        if self.parts is not None:
            for part in self.parts:
                part.on_answer(self, head, body)
        if is_end:
            self.connection = None
            self._complete(now_ns)
        else:
            self._watch(now_ns)

    def _ask_live(self, admission: Admission, *, is_end: bool) -> None:
        """The sink that was asked first holds nothing about this read."""
        connection, self.connection = self.connection, None
        if connection is not None and not is_end:
            connection.abandon()
        admission.asks = ""
        assert admission.route is not None
        self.admitted(admission, admission.route, b"", [])

    def on_payload(self, payload: bytes) -> None:
        """More of the answer."""
        client = self.client
        self._received += len(payload)
        if self._hasher is not None:
            self._hasher.update(payload)
        if self.captured is not None:
            self.captured.live.add(payload)
        if self.parts is not None:
            for part in self.parts:
                part.on_payload(payload)
        if self._out == _CHUNKED:
            size_line = b"%x\r\n" % len(payload)
            self.sent += len(size_line) + len(payload) + 2
            client.transport.writelines((size_line, payload, CRLF))
        else:
            self.sent += len(payload)
            client.transport.write(payload)
        self._watch(time.monotonic_ns())

    def on_end(self, trailers: list[bytes]) -> None:
        """The answer is whole."""
        self.connection = None
        if self._out == _CHUNKED:
            wire = last_chunk(trailers)
            self.sent += len(wire)
            self.client.transport.write(wire)
        self._complete(time.monotonic_ns())

    def _complete(self, now_ns: int) -> None:
        assert self.answer is not None
        assert self._tally is not None
        self.is_answer_done = True
        status = self.answer.status
        first_ns = self.first_ns
        last_ns = now_ns - self.dispatched_ns
        # The whole answer in one read, the common case, has one latency.
        last = bucket(last_ns)
        first = last if first_ns == last_ns else bucket(first_ns)
        tally = self._tally
        tally.answered(status, first, last)
        tally.received += self.request_bytes
        tally.sent += self.sent
        if self.admission is not None:
            self.admission.answered(status)
        if self.parts is not None:
            seen = last if self.injection is None else bucket(last_ns + self.injection.held_ns)
            for part in self.parts:
                part.answered(status, seen)
        if self.pairs is not None:
            digest = self._hasher.intdigest() if self._hasher is not None else self._digest
            for pair in self.pairs:
                self._end_pair(pair, status, first, last, last_ns, digest)
        if self.control_tees is not None:
            for tee in self.control_tees:
                tee.unmirrored(last_ns)
        if self.shed_tees is not None:
            for tee in self.shed_tees:
                tee.shed(last)
        if not self.is_request_done:
            stop_copies(self, outcome.CLIENT_LEFT)
        if self.injection is not None:
            self._end_injection()
        self.client.on_exchange_done(self, status)

    def _end_injection(self) -> None:
        injection, self.injection = self.injection, None
        if injection is not None:
            injection.cancel()

    def injected(self, status: int) -> None:
        """The client has got what a fault made up, a status or an outcome, in place of an answer: this is over; what goes to it is the fault's doing."""
        self.is_answer_done = True
        if self.admission is not None:
            self.admission.answered(status if status >= 100 else 0)
        if self.parts is not None:
            for part in self.parts:
                part.injected(status)
        self._end_injection()

    def _end_pair(self, pair: Pair, ended: int, first: int, last: int, last_ns: int, digest: int | None) -> None:  # noqa: PLR0917  per request
        """Tell a pair how this leg ended, in a copy's terms (tally.py)."""
        timeout_ns = pair.tally.timeout_ns
        if self._has_retried:
            ended = outcome.RESET
        elif self._received > ANSWER_LIMIT or 0 < timeout_ns < last_ns + self.dispatched_ns - self.arrived_ns:
            ended = outcome.TIMEOUT
        if self._received > ANSWER_FREE:
            pair.is_untimed = True
        pair.live_ended(ended, first, last, last_ns, digest)

    # Everything that goes wrong.

    def on_failure(self, ended: int) -> None:
        """The live leg is over without a whole answer."""
        connection, self.connection = self.connection, None
        if self.answer is not None:
            self._abort_answer(ended)
            return
        # ERR-03: a kept connection that the endpoint closed just as we used it. Safe methods only, once, nothing received.
        may_retry = (
            ended == outcome.RESET
            and connection is not None
            and connection.is_reused
            and not connection.has_answered_any
            and not self._has_retried
            and self.method in READ_METHODS
            and self.is_request_done
            and self.injection is None
            and self.head.length >= 0
            and self.request_bytes == len(self._payload)
        )
        if may_retry:
            assert self._fleet is not None
            self._has_retried = True
            now_ns = time.monotonic_ns()
            self.waits_until_ns = now_ns + self._fleet.connect_ns
            if self._fleet.dispatch(self, now_ns, wants_fresh=True):
                return
        self._fail(ended)

    def _fail(self, ended: int) -> None:
        """No answer has begun: the client is told."""
        self.is_answer_done = True
        status, code, detail = STATUS_OF_FAILURE[ended]
        if self.admission is not None and self.admission.is_diverted:
            status, code = 503, "test_destination_unavailable"
        self._conclude(ended, status)
        self.client.refuse(status, code, detail)

    def _abort_answer(self, ended: int) -> None:
        """An answer has begun and will not be completed: the client must not take it for whole."""
        self.is_answer_done = True
        assert self.answer is not None
        self._conclude(outcome.TRUNCATED if ended == outcome.RESET else ended, self.answer.status)
        self.client.break_off(is_framed=self._out != _RAW)

    def on_client_gone(self) -> None:
        """The client left before its answer was complete: upstream is told, by a reset."""
        if self.is_answer_done:
            return
        self.is_answer_done = True
        self.waits_until_ns = 0
        if self.admission is not None:
            self.admission.on_client_gone()
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()
        self._end_injection()
        if self.parts is not None:
            for part in self.parts:
                part.client_gone()
        stop_copies(self, outcome.CLIENT_LEFT)
        if self.pairs is not None:
            for pair in self.pairs:
                pair.exclude(outcome.CLIENT_LEFT)
        if self._tally is not None:
            self._tally.answered(outcome.CLIENT_GONE, 0, 0)

    def _conclude(self, ended: int, status: int) -> None:
        """Count a failed live leg, and its pairs: a failing live is evidence too. `status` is what the client was told."""
        now_ns = time.monotonic_ns()
        if self.admission is not None:
            self.admission.answered(status)
        if self.parts is not None:
            for part in self.parts:
                part.failed(ended)
        self._end_injection()
        if self._tally is not None:
            self._tally.answered(ended, 0, 0)
            self._tally.received += self.request_bytes
        if not self.is_request_done:
            stop_copies(self, outcome.CLIENT_LEFT)
        if self.pairs is not None:
            spent_ns = now_ns - (self.dispatched_ns or self.arrived_ns)
            spent = bucket(spent_ns)
            for pair in self.pairs:
                self._end_pair(pair, ended, 0, spent, spent_ns, None)

    # Upgrades.

    def on_upgrade(self, connection: UpstreamConnection, head: ResponseHead, rest: bytes) -> None:
        """101: the head is relayed, then bytes pass both ways until either side ends."""
        self.answer = head
        self.is_answer_done = True
        self.connection = None
        now_ns = time.monotonic_ns()
        self.first_ns = now_ns - self.dispatched_ns
        if self.admission is not None:
            self.admission.answered(101)
        if self._tally is not None:
            self._tally.answered(101, bucket(self.first_ns), bucket(self.first_ns))
        if self.parts is not None:
            for part in self.parts:
                part.answered(101, bucket(self.first_ns))
        wire = b"%bConnection: Upgrade\r\nUpgrade: %b\r\n\r\n%b" % (head.wire, head.upgrade or self.head.upgrade, rest)
        self.sent += len(wire)
        self.client.transport.write(wire)
        self.client.begin_tunnel(Tunnel(self.client, self, connection))

    def on_tunnel_over(self) -> None:
        """The client's side of the tunnel is gone: what passed is counted."""
        if self._tally is not None:
            self._tally.received += self.request_bytes
            self._tally.sent += self.sent


# How answer payload goes to the client.
_PLAIN: Final = 0
_CHUNKED: Final = 1
_RAW: Final = 2
