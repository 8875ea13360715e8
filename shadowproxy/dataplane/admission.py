"""A tagged request, until it may go on: believed, whole, decided on and written down, in this order.

    trust ──▶ body ──▶ passport's digest and nonce ──▶ route, read or write, where to ──▶ ledger ──▶ the exchange goes on
      403     413, 503   403                              404, 409                          503

It is held until its body is there, since what it is (a rule may look at the body), whether it is what was signed and
what the ledger says of it are known only then; so tagged bodies are bounded, each and all together. A write goes on
only after control has said that its row is durable. Whatever goes wrong on the way refuses it: it never becomes
normal traffic (promise P3). What it began under, listener's gate and policy, is what it is judged by, whatever is reloaded meanwhile.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import time
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.tenancy import LostTags
from shadowproxy.dataplane.forwarded import is_looping
from shadowproxy.dataplane.gate import TAG, TRACE, Gate, without_passport
from shadowproxy.dataplane.head import CRLF
from shadowproxy.dataplane.tagging import with_tag
from shadowproxy.dataplane.tally import TenancyTally
from shadowproxy.dataplane.trace import Trace
from shadowproxy.errors import BadRequest, PassportRefused
from shadowproxy.passports import Digest, Pending, Reason, refused
from shadowproxy.policy import bare_host
from shadowproxy.policy.tenancy import LIVE, REFUSE, TO_UNDO, UNRULED, DestinationPolicy, refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.messages import Message
    from shadowproxy.dataplane.traces import Traces
    from shadowproxy.policy import RoutePolicy

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

FRESH: Final = "fresh"
"""What control says of a passport that was not used before; of others it says why they are refused."""

WAIT_NS: Final = 5 * 10**9
"""How long control may take over a row or a nonce before the request is answered 503."""

LEAKS_LIMIT: Final = 200
"""Calls that lost their tag, told to control in one report; more are only counted."""

LOCATION_LIMIT: Final = 2048
"""Characters of a Location that are told to control."""

CLIENT_LEFT: Final = 499
"""Status of a write that was written down and never sent, as its client left."""


class Admissions:
    """What the tagged requests of one worker share. `send` queues a message to control."""

    def __init__(self, slot: int, send: Callable[[Message], None], traces: Traces | None) -> None:
        self.traces = traces
        self.tallies: dict[str, TenancyTally] = {}
        self.body_limit = 0
        self.memory = 0
        self.held = 0
        self.leaks: list[dict[str, Any]] = []
        self.leaks_dropped = 0
        self._send = send
        self._prefix = f"{slot:x}-{os.getpid():x}-"
        self._count = 0
        self._rows: list[dict[str, Any]] = []
        self._waiting: dict[str, tuple[int, Admission]] = {}
        self._nonces: list[tuple[str, list[Any]]] = []
        self._asked: dict[int, list[str]] = {}
        self._statuses: dict[str, int | list[int | str]] = {}
        self._is_flush_due = False
        self.soon: Callable[[Callable[[], None]], object] = _soon

    def tally(self, route: str) -> TenancyTally:
        """The counters of one route's tagged writes."""
        tally = self.tallies.get(route)
        if tally is None:
            tally = self.tallies[route] = TenancyTally()
        return tally

    def next_id(self) -> str:
        """The id of the next row: unique, and in the order of time."""
        self._count += 1
        return f"{time.time_ns():016x}-{self._prefix}{self._count:x}"

    def write_down(self, row: dict[str, Any], admission: Admission) -> None:
        """Have a row made durable; `admission` is told."""
        self._rows.append(row)
        self._waiting[row["id"]] = time.monotonic_ns() + WAIT_NS, admission
        self._flush_soon()

    def ask_if_fresh(self, admission: Admission) -> None:
        """Have control look up a nonce; `admission` is told."""
        self._waiting[admission.id] = time.monotonic_ns() + WAIT_NS, admission
        self._nonces.append((admission.id, admission.nonce))
        self._flush_soon()

    def status(self, row: str, status: int, location: str = "") -> None:
        """Note how a write was answered in the end, and where what it created is; nobody waits for that."""
        self._statuses[row] = [status, location] if location else status

    def _flush_soon(self) -> None:
        """Everything of this round of the loop goes in one message."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self.soon(self._flush)

    def _flush(self) -> None:
        self._is_flush_due = False
        if self._rows:
            rows, self._rows = self._rows, []
            self._send({"type": "ledger", "rows": rows})
        if self._nonces:
            nonces, self._nonces = self._nonces, []
            self._count += 1
            self._asked[self._count] = [key for key, _ in nonces]
            self._send({"type": "nonces", "id": self._count, "nonces": [nonce for _, nonce in nonces]})

    def flush_statuses(self) -> None:
        """Tell control how writes were answered since the last call."""
        if self._statuses:
            statuses, self._statuses = self._statuses, {}
            self._send({"type": "ledger_status", "statuses": statuses})

    def on_ledger_done(self, message: Message) -> None:
        """Rows are durable, or cannot be made so."""
        problem = str(message["problem"])
        for row in message["ids"]:
            waiting = self._waiting.pop(row, None)
            if waiting is not None:
                waiting[1].on_row(problem)

    def on_nonces_done(self, message: Message) -> None:
        """Control has looked nonces up."""
        for key, use in zip(self._asked.pop(int(message["id"]), ()), message["uses"], strict=False):
            waiting = self._waiting.pop(key, None)
            if waiting is not None:
                waiting[1].on_nonce(use)

    def expire(self, now_ns: int) -> None:
        """Give up on what control has not answered. Those that have waited longest come first."""
        while self._waiting:
            key, (until_ns, admission) = next(iter(self._waiting.items()))
            if until_ns > now_ns:
                return
            del self._waiting[key]
            admission.on_silence()
        # Nobody waits: what was asked is not answered any more.
        self._asked.clear()

    def leak(self, record: dict[str, Any]) -> None:
        """A call has lost its tag."""
        if len(self.leaks) >= LEAKS_LIMIT:
            self.leaks_dropped += 1
        else:
            self.leaks.append(record)

    def report(self) -> dict[str, Any]:
        """What goes into a tally; the deltas begin anew."""
        leaks, self.leaks = self.leaks, []
        dropped, self.leaks_dropped = self.leaks_dropped, 0
        return {
            "tests": {name: tally.report() for name, tally in self.tallies.items()},
            "tests_held": self.held,
            "leaks": leaks,
            "leaks_dropped": dropped,
        }


def _soon(action: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_soon(action)


class Admission:
    """One tagged request. `destination` and `route` are there once it has been decided on; `id` names its row, if it is a write."""

    __slots__ = (
        "_body", "_claim", "_digest", "_gate", "_hash", "_is_over", "_is_write", "_origin", "_pieces", "_shared", "_size", "_trailers",
        "asks", "destination", "exchange", "id", "nonce", "policy", "route", "tally",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, shared: Admissions) -> None:
        self.exchange = exchange
        self._shared = shared
        self.policy = exchange.client.worker.policy
        self._gate = exchange.client.gate
        # One buffer and not a list of what came: pieces of two bytes would take fifty each.
        self._pieces: bytearray | None = None
        self._body = b""
        self._hash = hashlib.sha256()
        self._size = 0
        self._trailers: list[bytes] = []
        self._claim: Pending | None = None
        self._digest: Digest | None = None
        self._origin = TAG
        self._is_write = False
        self._is_over = False
        self.id = ""
        self.nonce: list[Any] = []
        self.asks = ""
        self.destination: DestinationPolicy | None = None
        self.route: RoutePolicy | None = None
        self.tally: TenancyTally | None = None

    def __repr__(self) -> str:
        to = self.destination.to if self.destination is not None else "undecided"
        return f"Admission({self.exchange!r}, {self._origin}, {to})"

    # Trust.

    def begin(self, payload: bytes, *, is_end: bool) -> bool:
        """Take a request over; False where it is none of ours, and goes on as any other."""
        exchange = self.exchange
        client = exchange.client
        head = exchange.head
        gate = self._gate
        exchange.trace = Trace(head.traceparent)
        if gate is not None:
            assert self._shared.traces is not None
            origin = gate.origin(head, self._shared.traces)
            if origin is None:
                return False
            self._origin, tenant = origin
            if self._origin == TRACE and not self._recover(tenant):
                return gate.lost is LostTags.REFUSE
            if self._origin != TAG:
                exchange.head = with_tag(head, tenant)
            elif not self._believe(gate):
                return True
        if self._fits(head.length, head.length):
            if head.expects_continue and not is_end:
                exchange.has_continued = True
                client.transport.write(CONTINUE)
                client.worker.deadlines.set(client, exchange.arrived_ns + client.worker.body_ns)
            self.add(payload, is_end=is_end, trailers=[])
        return True

    def _believe(self, gate: Gate) -> bool:
        """Whether the tag counts; if not the request has been refused."""
        exchange = self.exchange
        try:
            self._claim = gate.admit(exchange)
            if self._claim is not None:
                self._digest = self._claim.digest()
                exchange.head = without_passport(exchange.head)
        except BadRequest as error:
            self._give_up(error.status, error.code, error.detail)
            return False
        except PassportRefused as error:
            self._refuse_passport(error)
            return False
        return True

    def _refuse_passport(self, error: PassportRefused) -> None:
        self._close()
        self.exchange.client.refuse(403, f"passport_{error.told}", error.detail, counted=f"passport_{error.reason}")

    def _recover(self, tenant: bytes) -> bool:
        """A call of a tagged trace has lost its tag: told to control; whether it is to be treated as tagged."""
        exchange = self.exchange
        client = exchange.client
        gate = self._gate
        assert gate is not None
        assert exchange.trace is not None
        self._shared.leak(
            {
                "time": time.time(),
                "service": gate.caller(exchange.head, client.address),
                "trace": exchange.trace.trace_id.decode(),
                "tenant": tenant.decode(),
                "listener": client.listener,
                "method": exchange.method.decode("latin-1"),
                "host": exchange.head.authority.decode("latin-1"),
                "path": exchange.path.decode("latin-1"),
                "action": str(gate.lost),
            }
        )
        if gate.lost is LostTags.REFUSE:
            self._give_up(409, "lost_tag", "the call belongs to a tagged trace and has lost its tag (X-Test-Traffic, baggage)")
        return gate.lost is LostTags.RETAG

    # The body.

    def _fits(self, whole: int, more: int) -> bool:
        """Whether `more` bytes can be held of a body that has `whole` then; if not the request has been refused."""
        shared = self._shared
        if whole > shared.body_limit:
            self._give_up(
                413, "tagged_body_too_large", f"a tagged request's body is held until it is whole, limit {shared.body_limit} bytes"
            )
            return False
        if more > 0 and shared.held + more > shared.memory:
            self._give_up(503, "tagged_bodies_overflow", "too many bytes of tagged requests are held")
            return False
        return True

    def add(self, payload: bytes, *, is_end: bool, trailers: list[bytes]) -> None:
        """More of the body."""
        if self._is_over:
            return
        size = len(payload)
        if size:
            if not self._fits(self._size + size, size):
                return
            self._size += size
            self._shared.held += size
            # As it comes, so that a large body holds up nobody at its end.
            self._hash.update(payload)
            if self._digest is not None:
                self._digest.update(payload)
        if self._pieces is not None:
            self._pieces += payload
        elif is_end:
            self._body = payload
        else:
            self._pieces = bytearray(payload)
        if is_end:
            if self._pieces is not None:
                self._body = bytes(self._pieces)
                self._pieces = None
            self._trailers = trailers
            self._on_whole()

    def _on_whole(self) -> None:
        if self._claim is None:
            self._decide()
            return
        assert self._digest is not None
        try:
            passport = self._claim.finish(self._digest)
        except PassportRefused as error:
            self._refuse_passport(error)
            return
        self.nonce = [passport.keyid, passport.nonce, passport.expires]
        self.id = self._shared.next_id()
        self._shared.ask_if_fresh(self)

    def on_nonce(self, use: str) -> None:
        """Control knows whether this passport was seen before."""
        if self._is_over:
            return
        if use == FRESH:
            self.nonce = []
            self._decide()
        else:
            self._refuse_passport(refused(Reason(use)))

    # The decision.

    def _decide(self) -> None:
        exchange = self.exchange
        client = exchange.client
        worker = client.worker
        head = exchange.head
        policy = self.policy
        host = bare_host(head.authority) if policy.asks_host else b""
        route = self.route = policy.find(client.listener, host, exchange.path, exchange.method, head.fields)
        is_egress = self._gate is not None and self._gate.is_egress
        if route is None:
            self._give_up(404, "no_route", "no route takes this request")
            return
        exchange.route_name = route.name
        if (head.mark and not is_egress and worker.is_own_mark(head.mark)) or is_looping(head):
            self._give_up(508, "mirror_loop", "this request has been through this proxy before")
            return
        if head.max_forwards == 0 and exchange.method in (b"OPTIONS", b"TRACE"):
            self._close()
            client.answer_locally(exchange.method)
            return
        if self._shared.traces is not None and self._origin in (TAG, TRACE):
            assert exchange.trace is not None
            self._shared.traces.add(exchange.trace.trace_id, head.tenant)
        is_write, destination = route.tests.decide(exchange.method, exchange.target, head.lines, self._body, is_upgrade=bool(head.upgrade))
        self._is_write = is_write
        self.destination = destination
        if is_write:
            self._write_down(route, destination)
            return
        if destination.kind == LIVE and not head.length:
            self.asks = route.tests.asks
        self._go_on()

    def _write_down(self, route: RoutePolicy, destination: DestinationPolicy) -> None:
        exchange = self.exchange
        client = exchange.client
        head = exchange.head
        assert exchange.trace is not None
        self.tally = self._shared.tally(route.name)
        self.tally.begin()
        self.id = self.id or self._shared.next_id()
        row = {
            "id": self.id,
            "time": time.time(),
            "trace": exchange.trace.trace_id.decode(),
            "tenant": head.tenant.decode(),
            "listener": client.listener,
            "route": route.name,
            "method": exchange.method.decode("latin-1"),
            "host": head.authority.decode("latin-1"),
            "target": exchange.target.decode("latin-1"),
            "digest": self._hash.hexdigest(),
            "body_bytes": self._size,
            "fate": destination.fate,
            "reason": refusal(destination, route.name)[0] if destination.fate == "refused" else "",
            "to": destination.to,
            "origin": self._origin,
            "client": client.address.decode(),
        }
        self._shared.write_down(row, self)

    def on_row(self, problem: str) -> None:
        """The row is durable, unless there is a problem."""
        assert self.tally is not None
        assert self.destination is not None
        if problem:
            self.tally.end("refused")
            self._answer(503, "ledger_unavailable", "the write could not be written down, so it was not carried out")
            return
        self.tally.end(self.destination.fate)
        if self._is_over:
            self._shared.status(self.id, CLIENT_LEFT)
        else:
            self._go_on()

    def on_silence(self) -> None:
        """Control has not answered in time."""
        if self.tally is not None:
            self.tally.end("refused")
            self._shared.status(self.id, 503)
        self._answer(503, "control_unavailable", "the control process did not answer in time")

    def _answer(self, status: int, code: str, detail: str) -> None:
        if not self._is_over:
            self._give_up(status, code, detail)

    def _go_on(self) -> None:
        """Refuse the request, or let it go where it was decided to."""
        destination = self.destination
        route = self.route
        assert destination is not None
        assert route is not None
        if destination.kind in (REFUSE, UNRULED):
            code, detail = refusal(destination, route.name)
            if self.id and self.tally is not None:
                self._shared.status(self.id, 409)
            self._give_up(409, code, detail)
            return
        self._is_over = True
        # Its bytes stay counted until it is answered: until then they are held for whoever it goes to.
        body, self._body = self._body, b""
        self.exchange.admitted(self, route, body, self._trailers)

    # The end.

    @property
    def is_diverted(self) -> bool:
        """Whether the request goes somewhere else than live."""
        return bool(self.asks) or (self.destination is not None and self.destination.kind != LIVE)

    def answered(self, status: int) -> None:
        """The exchange is over: `status` of the answer."""
        self._let_go()
        if self._is_write:
            self._shared.status(self.id, status, self._location())

    def _location(self) -> str:
        """Where what was created is, if live or a partition said so: it is how a write is undone."""
        answer = self.exchange.answer
        if answer is None or self.destination is None or self.destination.fate not in TO_UNDO:
            return ""
        for line in answer.wire.split(CRLF):
            if line[:9].lower() == b"location:":
                return line[9:].strip(b" \t").decode("latin-1")[:LOCATION_LIMIT]
        return ""

    def on_client_gone(self) -> None:
        """The client left. A row that was asked for comes all the same, and says that nothing was sent."""
        if self.tally is not None and self._is_over:
            self._shared.status(self.id, CLIENT_LEFT)
        self._close()

    def _let_go(self) -> None:
        self._shared.held -= self._size
        self._size = 0
        self._pieces = None
        self._body = b""

    def _close(self) -> None:
        self._is_over = True
        self._let_go()

    def _give_up(self, status: int, code: str, detail: str) -> None:
        self._close()
        self.exchange.client.refuse(status, code, detail)
