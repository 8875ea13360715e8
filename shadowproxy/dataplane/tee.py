"""Copies: the mirrored leg, which cannot hurt live.

What makes that so, by construction:

*   A copy knows its pair and its tee; it knows nothing of the exchange or the client, so there is nothing
    of theirs that it could delay, fail or change. (MIR-07)
*   Nothing here waits. A copy that cannot be sent at once, or that its shadow does not read, is given up
    and counted. (P1, P2)
*   What a copy may hold is bounded three times: bytes of one copy, bytes of all copies of a worker, number
    of copies of a mirror. (P6)
*   What a shadow may send is bounded too: by time, by ANSWER_LIMIT, and by how much all shadows together
    may make this worker read in a tick. (MIR-03)
*   Overload leaves out whole units first: the sampled range shrinks while many copies are under way, so
    that the sessions still mirrored stay complete.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from xxhash import xxh3_64, xxh3_64_intdigest

from shadowproxy.dataplane import gather, outcome
from shadowproxy.dataplane.capture import Allowance, Capture, Kept, Request
from shadowproxy.dataplane.head import CHUNKED, CRLF
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.request_lines import RequestHead
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.dataplane.tally import MirrorTally, Pair, add
from shadowproxy.hashspace import point as point_of
from shadowproxy.logbuckets import bucket
from shadowproxy.policy import COPY, MirrorPolicy, unit_of

if TYPE_CHECKING:
    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.forward import FleetRuntime
    from shadowproxy.dataplane.upstream import UpstreamConnection
    from shadowproxy.dataplane.worker import Worker

MARK: Final = b"X-Shadow-Mirror"
"""The field that marks a copy: the mirror's name and the instance that made it."""

ANSWER_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of one shadow answer that are read; a longer one counts as never finished."""

ANSWER_FREE: Final = 256 * 1024
"""Bytes of each shadow answer that are read as they come, so that ordinary answers are timed without interference."""

READ_PER_TICK: Final = 4 * 1024 * 1024
"""Bytes beyond that which all shadows of a worker may make it read in a tick (67 ms) before they are paused until the next:
about 1.5 ms, so that answers without end stay under 3 % of a core."""

CHUNK_COST: Final = 4096
"""Bytes that a chunk of an answer counts for beside its payload: taking it apart takes as long as reading so many (1.5 us)."""

SMALL_CHUNKS_LIMIT: Final = 4096
"""Chunks under SMALL_CHUNK bytes in one answer: 6 ms, the longest that one read of a shadow's answer may take."""

_SHED_AT_ONCE: Final = frozenset({
    outcome.SHED_IN_FLIGHT, outcome.SHED_RANGE, outcome.SHED_BREAKER, outcome.SHED_MEMORY, outcome.SHED_ERROR,
})  # fmt: skip

BREAKER_LIMIT_NS: Final = 30 * 10**9
"""Longest pause of an open breaker."""

SCALE_FLOOR: Final = 0.01
"""The sampled range shrinks to no less than this part of itself: something must show that the shadow has recovered."""


class Breaker:
    """Stops trying a shadow that only fails. Closed, open until a time, or half-open with one probe under way."""

    __slots__ = ("_failures", "_is_probing", "_open_until_ns", "_period_ns")

    def __init__(self) -> None:
        self._failures = 0
        self._period_ns = 0
        self._open_until_ns = 0
        self._is_probing = False

    def __repr__(self) -> str:
        return f"Breaker({self.state})"

    @property
    def is_tripped(self) -> bool:
        """Open or half-open."""
        return self._open_until_ns != 0

    @property
    def state(self) -> str:
        """`closed`, `open` or `half-open`."""
        if not self._open_until_ns:
            return "closed"
        return "half-open" if self._is_probing else "open"

    def admits(self, now_ns: int) -> bool:
        """Whether a copy may be tried; an open breaker past its time admits one probe."""
        if not self._open_until_ns:
            return True
        if self._is_probing or now_ns < self._open_until_ns:
            return False
        self._is_probing = True
        return True

    def succeeded(self) -> None:
        """A copy got a whole answer."""
        if not self._failures and not self._open_until_ns:
            return
        self._failures = 0
        self._period_ns = 0
        self._open_until_ns = 0
        self._is_probing = False

    def failed(self, now_ns: int, limit: int, period_ns: int) -> None:
        """A copy failed: `limit` in a row open the breaker (0: never) for `period_ns`, doubling while probes fail."""
        if not limit or (self._open_until_ns and not self._is_probing):
            # Copies that were under way when it opened say nothing new.
            return
        self._failures += 1
        if self._is_probing or self._failures >= limit:
            self._period_ns = min(self._period_ns * 2 if self._period_ns and self._is_probing else period_ns, BREAKER_LIMIT_NS)
            self._open_until_ns = now_ns + self._period_ns
            self._is_probing = False
            self._failures = 0

    def cancelled(self) -> None:
        """The probe ended without saying anything about the shadow."""
        self._is_probing = False


class Tee:
    """One mirror of one route at work. Outlives config generations: `configure` replaces its policy and fleet."""

    __slots__ = ("allowance", "arm", "breaker", "copies", "fleet", "mark", "policy", "scale", "tally", "worker")

    def __init__(self, worker: Worker, tally: MirrorTally) -> None:
        self.worker = worker
        self.arm: Tee | None = None
        self.allowance = Allowance(0.0, 0)
        self.tally = tally
        self.copies: set[Copy] = set()
        self.breaker = Breaker()
        self.scale = 1.0

    def __repr__(self) -> str:
        return f"Tee({self.policy.key}, copies={len(self.copies)}, scale={self.scale:.2f}, {self.breaker!r})"

    def configure(self, policy: MirrorPolicy, fleet: FleetRuntime, arm: Tee | None, *, is_control: bool) -> None:
        """Work by `policy` from now on; copies under way are not touched.

        Args:
            policy: the mirror's.
            fleet: where its copies go.
            arm: the tee that gets copies of what this one copies.
            is_control: whether this is itself a control arm.
        """
        self.policy = policy
        self.fleet = fleet
        self.arm = arm
        self.allowance = Allowance(policy.captured, time.monotonic_ns())
        self.tally.configure(
            resolution_ns=policy.resolution_ns,
            thresholds_ns=policy.slo_ns,
            timeout_ns=policy.timeout_ns,
            is_arm=is_control,
            has_arm=policy.is_compared,
        )
        self.mark = b"%b: %b;by=%b\r\n%b" % (MARK, policy.name.encode(), self.worker.instance, policy.added)

    def point(self, exchange: Exchange, draw: float) -> float:
        """The unit's place in the hash space; `draw` where the mirror has no unit or the request carries none."""
        unit = self.policy.unit
        if unit is None:
            return draw
        assert exchange.trace is not None
        head = exchange.head
        found = unit_of(unit, exchange.path, head.fields, exchange.client.address, exchange.trace.trace_id)
        return draw if found is None else point_of(found, self.policy.salt)

    def offer(self, exchange: Exchange, point: float, forwarded: bytes) -> Copy | None:
        """Count the request as eligible, decide, and make the copy where it is to be mirrored.

        Args:
            exchange: the live side, read for the request only.
            point: the unit's place.
            forwarded: the forwarding fields, with CRLF.
        """
        tally = self.tally
        tally.words[tally.word] += 1
        try:
            fate = self._fate(exchange, point)
            if fate == COPY:
                if self.policy.is_scrubbed:
                    return self.worker.scrubber.copy(self, exchange, forwarded)
                wire = self._head(exchange, forwarded)
                arrived_ns = exchange.arrived_ns
                return Copy(self, tally.open(arrived_ns, arrived_ns + self.policy.pair_timeout_ns), exchange, wire)
        except Exception as error:  # noqa: BLE001  promise P1 by construction: whatever is wrong here, live goes on
            self.worker.caught(error)
            fate = outcome.SHED_ERROR
        tally.fates[fate] += 1
        if fate <= outcome.HOLDOUT:
            if exchange.control_tees is None:
                exchange.control_tees = []
            exchange.control_tees.append(self)
        elif fate in _SHED_AT_ONCE:
            if exchange.shed_tees is None:
                exchange.shed_tees = []
            exchange.shed_tees.append(self)
        return None

    def offer_to_arm(self, exchange: Exchange, copy: Copy, captured: Request | None, forwarded: bytes) -> Copy | None:
        """What goes to a mirror goes to its arm too, so that what differs by nature is known."""
        if self.arm is None:
            return None
        second = self.arm.offer(exchange, 0.0, forwarded)
        if second is None:
            return None
        pair = second.pair
        pair.is_arm = True
        if self.policy.is_compared:
            pair.partner = copy.pair
            copy.pair.partner = pair
        if copy.pair.capture is not None and captured is not None:
            second.capture(captured)
        return second

    def leave_out(self, fate: int) -> None:
        """Count a request that could be copied and for that reason is not, whatever the policy would say."""
        self.tally.words[self.tally.word] += 1
        self.tally.fates[fate] += 1

    def wants_capture(self, now_ns: int) -> bool:
        """Whether the pair that begins now is to be kept whole, as far as this mirror's allowance and the memory go."""
        return self.worker.purse.held < self.policy.capture_memory and self.allowance.take(now_ns)

    def _fate(self, exchange: Exchange, point: float) -> int:
        """COPY, or why the request is not copied: the policy's reasons first, then the state of things."""
        worker = self.worker
        policy = self.policy
        head = exchange.head
        fate = policy.decide(
            exchange.method,
            head.length,
            is_upgrade=bool(head.upgrade),
            is_marked=bool(head.mark) and exchange.client.forwarded.is_trusted,
            point=point,
            scale=self.scale,
        )
        if fate != COPY:
            return fate
        if worker.words[0]:
            return outcome.KILLED
        if len(self.copies) >= policy.in_flight:
            return outcome.SHED_IN_FLIGHT
        if head.length and worker.tee_held >= worker.limits.tee_memory:
            return outcome.SHED_MEMORY
        if self.breaker.is_tripped and not self.breaker.admits(exchange.arrived_ns):
            return outcome.SHED_BREAKER
        return COPY

    def _head(self, exchange: Exchange, forwarded: bytes) -> bytes:
        """The copy's head: the client's lines by this mirror's rules, our fields, the mark."""
        head = exchange.head
        policy = self.policy
        common = head.copies.get(policy)
        if common is None:
            common = head.copies[policy] = copied_lines(head, policy, self.fleet.endpoints[0].authority)
        assert exchange.trace is not None
        return b"".join((
            exchange.method, b" ", exchange.target, b" HTTP/1.1\r\n",
            common,
            forwarded,
            exchange.trace.copy_line(),
            b"Transfer-Encoding: chunked\r\n" if head.length == CHUNKED else b"",
            b"TE: trailers\r\nConnection: TE\r\n" if head.te_trailers else b"",
            self.mark,
            CRLF,
        ))  # fmt: skip

    def unmirrored(self, last_ns: int) -> None:
        """A request that was eligible and left out on purpose took `last_ns` on live: what mirroring is compared with."""
        add(self.tally.holdout_last, last_ns)

    def shed(self, last: int) -> None:
        """A request that should have been copied and was not took live until bucket `last`: what the comparison lacks."""
        self.tally.shed_last[last] = self.tally.shed_last.get(last, 0) + 1

    def tick(self, now_ns: int) -> None:
        """Once a tick: the overload scale follows the copies under way, and late pairs are resolved."""
        load = len(self.copies) / self.policy.in_flight
        if load > 0.5:
            self.scale = max(self.scale * 0.9, SCALE_FLOOR)
        elif self.scale < 1.0 and load < 0.25:
            self.scale = min(self.scale * 1.05 + 0.001, 1.0)
        if self.tally.ring:
            self.tally.expire(now_ns)
        for copy in self.copies:
            copy.count_held()

    def kill(self) -> None:
        """Stop every copy under way; what is queued for a shadow is not sent."""
        for copy in list(self.copies):
            copy.abandon(outcome.KILLED)


def copied_lines(head: RequestHead, policy: MirrorPolicy, endpoint: bytes) -> bytes:
    """The client's lines by a mirror's header rules, each with CRLF; `endpoint` is the Host where the client sent none."""
    # Between two CRLFs, so that no line is taken for the end of a longer one.
    lines = CRLF + head.common
    for name, line in head.touched:
        if name in policy.removed:
            before, found, behind = lines.partition(CRLF + line + CRLF)
            lines = before + CRLF + behind if found else before
        elif name == b"host" and policy.host_mode != "preserve":
            host = _rewritten_host(line[5:].strip(b" \t"), policy.host_mode, policy.host_text)
            lines = lines.replace(CRLF + line + CRLF, b"\r\nHost: %b\r\n" % host, 1)
    return lines[2:] if head.authority else b"Host: %b%b" % (endpoint, lines)


def _rewritten_host(host: bytes, mode: str, text: bytes) -> bytes:
    if mode == "literal":
        return text
    name, colon, port = host.rpartition(b":")
    if colon and port.isdigit():
        return name + text + b":" + port
    return host + text


class Copy(Leg):
    """One mirrored leg (see `upstream.Leg`). Ends exactly once, in `_end`."""

    __slots__ = (
        "_chunks", "_cost", "_first_ns", "_has_ended", "_hasher", "_held", "_is_probe", "_is_request_done", "_kept", "_queued", "_received", "_sent", "_started_ns", "_status", "_wire",
        "connection", "dispatched_ns", "is_paused", "pair", "tee",
    )  # fmt: skip

    def __init__(self, tee: Tee, pair: Pair, exchange: Exchange, wire: bytes) -> None:
        self.tee = tee
        self.pair = pair
        super().__init__(exchange.method)
        self.small_chunks_limit = SMALL_CHUNKS_LIMIT
        self.connection: UpstreamConnection | None = None
        self.dispatched_ns = 0
        self.is_paused = False
        # A breaker that is not closed has admitted this copy only to see how the shadow does.
        self._is_probe = tee.breaker.is_tripped
        self._chunks = 0
        self._wire = wire
        self._started_ns = exchange.arrived_ns
        self._queued: list[bytes] | None = None
        self._held = 0
        self._sent = 0
        self._cost = 0
        self._received = 0
        self._is_request_done = False
        self._has_ended = False
        self._hasher: xxh3_64 | None = None
        self._first_ns = 0
        self._status = 0
        self._kept: Kept | None = None

    def __repr__(self) -> str:
        state = "ended" if self._has_ended else ("waiting" if self.connection is None else "sent")
        return f"Copy({self.tee.policy.key}, {self.method.decode('latin-1')}, {state})"

    def capture(self, request: Request) -> None:
        """Keep the pair whole."""
        capture = Capture(self.tee.policy.key, request, self.tee.policy.capture_body)
        self.pair.capture = capture
        self._kept = capture.shadow

    def start(self, payload: bytes, *, is_end: bool) -> None:
        """Send the head, and what has come of the body, as soon as a connection is there."""
        tee = self.tee
        tee.copies.add(self)
        if payload:
            self._queued = [payload]
            self._sent = self._held = len(payload)
            tee.worker.tee_held += self._held
        self._is_request_done = is_end
        now_ns = self._started_ns
        self.waits_until_ns = now_ns + min(tee.fleet.connect_ns, tee.policy.timeout_ns)
        if not tee.fleet.dispatch(self, now_ns):
            self._end(0, fate=outcome.SHED_NO_ENDPOINT)

    def send(self, wire: bytes, size: int, *, is_end: bool) -> None:
        """More of the request's body: `size` bytes of payload, framed as live gets them. May drop the copy; never blocks."""
        if self._has_ended:
            return
        self._is_request_done = is_end
        if not wire:
            if is_end and self.connection is not None:
                self.connection.is_request_sent = True
            return
        tee = self.tee
        policy = tee.policy
        if tee.worker.words[0]:
            # Control has pulled the switch; its message has not been read yet.
            self.abandon(outcome.KILLED)
            return
        self._sent += size
        if self._sent > policy.body_limit:
            self.abandon(outcome.TOO_LARGE)
            return
        connection = self.connection
        if connection is None:
            if self._queued is None:
                self._queued = []
            self._queued.append(wire)
            held = self._held + len(wire)
        else:
            connection.is_request_sent = is_end
            connection.send(wire)
            held = connection.transport.get_write_buffer_size()
        worker = tee.worker
        worker.tee_held += held - self._held
        self._held = held
        if held > policy.body_budget:
            self.abandon(outcome.SHED_LAG)
        elif worker.tee_held > worker.limits.tee_memory:
            self.abandon(outcome.SHED_MEMORY)

    def count_held(self) -> None:
        """Find out what the shadow has read since the last piece: held bytes are a worker's shared budget."""
        if self._held and self.connection is not None:
            held = self.connection.transport.get_write_buffer_size()
            self.tee.worker.tee_held += held - self._held
            self._held = held

    def abandon(self, fate: int) -> None:
        """Give the copy up; its pair is not compared."""
        if self._has_ended:
            return
        self.waits_until_ns = 0
        connection, self.connection = self.connection, None
        if connection is not None:
            connection.abandon()
        self._end(0, fate=fate)

    def _end(self, ended: int, *, digest: int | None = None, fate: int = -1, now_ns: int = 0) -> None:
        """The one end of a copy: with an outcome to compare, or with the fate of one that is not."""
        self._has_ended = True
        tee = self.tee
        tee.copies.discard(self)
        if self._held:
            tee.worker.tee_held -= self._held
            self._held = 0
        self._queued = None
        pair = self.pair
        if fate >= 0:
            if self._is_probe:
                tee.breaker.cancelled()
            pair.exclude(fate)
            return
        if not now_ns:
            now_ns = time.monotonic_ns()
        if ended >= 100:
            tee.breaker.succeeded()
        else:
            tee.breaker.failed(now_ns, tee.policy.breaker_failures, tee.policy.breaker_period_ns)
        last_ns = now_ns - (self.dispatched_ns or self._started_ns)
        last = bucket(last_ns)
        if self._cost > ANSWER_FREE:
            pair.is_untimed = True
        pair.shadow_ended(ended, last if last_ns == self._first_ns else bucket(self._first_ns), last, last_ns, digest)

    # As a leg.

    def on_connection(self, connection: UpstreamConnection) -> None:
        """A connection is ours: send what there is."""
        self.connection = connection
        if self.tee.worker.words[0]:
            self.abandon(outcome.KILLED)
            return
        self.waits_until_ns = 0
        connection.is_request_sent = self._is_request_done
        self.dispatched_ns = time.monotonic_ns()
        queued = self._queued
        if queued is None:
            connection.transport.write(self._wire)
        else:
            gather.write(connection.transport, self._wire, queued[0] if len(queued) == 1 else b"".join(queued))
            self._queued = None
        self._wire = b""
        # From the start and not from here: connecting is part of what a shadow may take.
        self.tee.fleet.deadlines.set(connection, self._started_ns + self.tee.policy.timeout_ns)

    def on_interim(self, head: ResponseHead) -> None:
        """Not ours to relay."""

    def on_answer(self, head: ResponseHead, payload: bytes, *, is_end: bool) -> None:
        """The final head, with the payload that came with it: only counted."""
        now_ns = time.monotonic_ns()
        self._first_ns = now_ns - self.dispatched_ns
        self._status = head.status
        if self._kept is not None:
            self._kept.head = head.wire
            self._kept.add(payload)
        if is_end:
            self.connection = None
            self._end(head.status, digest=xxh3_64_intdigest(payload), now_ns=now_ns)
        else:
            self._hasher = xxh3_64(payload)
            self._account(len(payload))

    def on_payload(self, payload: bytes) -> None:
        """More of an answer that nobody will see."""
        if self._hasher is not None:
            self._hasher.update(payload)
        if self._kept is not None:
            self._kept.add(payload)
        self._account(len(payload))

    def _account(self, size: int) -> None:
        self._received += size
        worker = self.tee.worker
        connection = self.connection
        if connection is None:
            return
        chunks = connection.chunks_read
        cost = size + (chunks - self._chunks) * CHUNK_COST
        self._chunks = chunks
        self._cost += cost
        beyond = self._cost - ANSWER_FREE
        if beyond > 0:
            worker.shadow_read_left -= min(cost, beyond)
        if self._received > ANSWER_LIMIT:
            self.connection = None
            connection.abandon()
            self._end(outcome.TIMEOUT)
        elif worker.shadow_read_left < 0:
            # All such answers: each that is ready to be read would cost another read in this round of the loop.
            worker.pause_copies()

    @property
    def is_long(self) -> bool:
        """Whether the shadow is in the middle of an answer that is past what is free."""
        return self._cost > ANSWER_FREE and self.connection is not None

    def pause(self) -> None:
        """Read no more of the answer until `resume`."""
        self.is_paused = True
        if self.connection is not None:
            self.connection.pause_reading(self)

    def resume(self) -> None:
        """A new tick: read on."""
        self.is_paused = False
        if self.connection is not None:
            self.connection.resume_reading(self)

    def on_end(self, trailers: list[bytes]) -> None:
        """The answer is whole."""
        self.connection = None
        self._end(self._status, digest=self._hasher.intdigest() if self._hasher is not None else 0)

    def on_failure(self, ended: int) -> None:
        """The shadow failed: an outcome, compared like any other."""
        self.connection = None
        if self._has_ended:
            return
        if ended == outcome.OVERFLOW:
            self._end(0, fate=outcome.SHED_NO_ENDPOINT)
        else:
            self._end(ended)

    def on_upgrade(self, connection: UpstreamConnection, head: ResponseHead, rest: bytes) -> None:
        """Cannot happen: upgrades are not mirrored and `accepts_upgrade` is false."""
        raise AssertionError(connection)

    def on_blocked(self) -> None:
        """The budget in `send` decides, not the socket."""

    def on_unblocked(self) -> None:
        """See on_blocked."""
