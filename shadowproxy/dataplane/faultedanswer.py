"""The answer's half of a fault: what becomes of an answer between its endpoint and the exchange.

    answer ─▶ first_byte ─▶ headers ─▶ corrupt ─▶ truncate ─▶ download, dribble ─▶ the exchange

*   What waits of an answer is bounded by HOLD_LIMIT and one read: beyond it the endpoint is not read. It is damaged when
    it goes on and not before, so that what goes on after a release is whole.
*   When the endpoint has said its last byte its connection is another's: from then on the exchange has none.
*   An answer that a fault has touched says so (`X-Shadowproxy-Fault: experiment;kinds`). Each injection that ends has
    counted at least one kind, or is spared for one reason.
*   Whatever ends it, `_finish` cancels its timers and drops its references.
"""

from __future__ import annotations

import asyncio
import time
from random import random
from typing import Any, Final, Protocol

from shadowproxy.config.experiment import Experiment
from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.damage import JSON_LIMIT, damaged, is_damageable
from shadowproxy.dataplane.distort import RARE, Corruption, Pacer, altered_head, draw_mask
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.madeup import MARK_LINE
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.dataplane.slowsender import SlowSender, seconds_until
from shadowproxy.dataplane.upstream import UpstreamConnection
from shadowproxy.policy.delays import DelayPlan
from shadowproxy.policy.faults import FaultPlan

HOLD_LIMIT: Final = 262144
"""Bytes of an answer that wait before the endpoint is not read; it is again when a quarter of that is left."""

# What it waits for.
NEW: Final = 0
DELAYED: Final = 1
SILENT: Final = 2
ASKED: Final = 3
HOLDING: Final = 4
GATHERING: Final = 5
PACING: Final = 6
PASSING: Final = 7
OVER: Final = 8
_STATES: Final = ("new", "delayed", "silent", "asked", "holding", "gathering", "pacing", "passing", "over")


class Run(Protocol):
    """What an injection needs of the run that it belongs to (`experiments.Armed`)."""

    experiment: Experiment
    workers: int
    endpoints: frozenset[str] | None

    def count(self, kind: str) -> None:
        """A fault of that kind has happened."""

    def spare(self, why: str) -> None:
        """An injection did nothing in the end."""

    def forget(self, injection: Any) -> None:
        """An injection has nothing left to do."""


class FaultedAnswer(Leg):
    """See the module's text. `kinds` are the faults that have happened to its request; what happens before an answer is `inject.Injection`'s."""

    __slots__ = (
        "_armed", "_connection", "_corruption", "_ended", "_exchange", "_given", "_has_ended", "_head", "_held", "_pacer", "_plan", "_spared", "_state",
        "_timer", "_trailers", "_upload", "kinds",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, armed: Run, plan: FaultPlan) -> None:
        super().__init__(exchange.method)
        self._exchange: Exchange | None = exchange
        self._armed = armed
        self._plan = plan
        self._state = NEW
        self._timer: asyncio.TimerHandle | None = None
        self._spared = ""
        self.kinds: list[str] = []
        self._connection: UpstreamConnection | None = None
        self._upload: SlowSender | None = None
        # The answer, as far as it has come and has not gone on.
        self._head: ResponseHead | None = None
        self._held = bytearray()
        self._has_ended = False
        self._trailers: list[bytes] = []
        self._ended = 0
        self._pacer: Pacer | None = None
        self._corruption: Corruption | None = None
        self._given = 0

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._armed.experiment.name}, {_STATES[self._state]}, {'+'.join(self.kinds) or '-'})"

    # The answer.

    def on_answer(self, head: ResponseHead, payload: bytes, *, is_end: bool) -> None:
        """The final head; it goes on now, or when its time has come."""
        self._head = head
        self._has_ended = is_end
        if is_end:
            self._upstream_over()
        self._held += payload
        plan = self._plan
        if plan.first_byte is not None:
            self._count("first_byte")
            self._state = HOLDING
            self._wait_for(plan.first_byte, "first_byte")
            self._touch()
        else:
            self._gather()

    def on_payload(self, payload: bytes) -> None:
        """More of the answer."""
        state = self._state
        if state == PASSING:
            self._pass(payload)
            return
        if state == PACING:
            pacer = self._pacer
            assert pacer is not None
            now_ns = time.monotonic_ns()
            pacer.put(payload, now_ns)
            self._wait_for_piece(now_ns)
        else:
            self._held += payload
            if state == GATHERING and len(self._held) > JSON_LIMIT:
                self._spared = "json"
                self._open()
        self._touch()

    def on_end(self, trailers: list[bytes]) -> None:
        """The endpoint has said all."""
        self._upstream_over()
        self._has_ended = True
        self._trailers = trailers
        self._settle()

    def on_upgrade(self, connection: UpstreamConnection, head: ResponseHead, rest: bytes) -> None:
        """101: from now on it is no answer, and passes."""
        exchange = self._exchange
        self._connection = None
        self._spared = self._spared or "upgrade"
        self._finish()
        if exchange is not None:
            exchange.on_upgrade(connection, head, rest)

    def _failed(self, exchange: Exchange, ended: int) -> None:
        """The endpoint is gone inside its answer: what came before goes on first."""
        exchange.connection = None
        self._ended = ended
        self._settle()

    # How it goes on.

    def _settle(self) -> None:
        """The endpoint's side is over: so is the answer, when nothing of it waits any longer."""
        if self._state == GATHERING:
            self._open()
        elif self._state == PASSING or (self._state == PACING and not len(self._paced())):
            self._close()

    def _gather(self) -> None:
        """Wait for the whole of a body that is to be read, where it can be; then begin."""
        head = self._head
        assert head is not None
        if self._plan.damage and head.length and not self._has_ended and not self._ended:
            if is_damageable(head) and len(self._held) <= JSON_LIMIT:
                self._state = GATHERING
                self._touch()
                return
            self._spared = "json"
        self._open()

    def _open(self) -> None:
        """Begin the answer towards the client: the head, with what is there of the body."""
        exchange = self._exchange
        head = self._head
        assert exchange is not None
        assert head is not None
        plan = self._plan
        payload = bytes(self._held)
        self._held.clear()
        length = head.length
        if length and plan.damage and self._has_ended:
            other = damaged(payload, plan.damage) if is_damageable(head) and len(payload) <= JSON_LIMIT else None
            if other is None:
                self._spared = "json"
            else:
                self._count("corrupt")
                payload = other
                length = len(other) if length >= 0 else length
        if plan.removed or plan.added:
            self._count("headers")
        planned = self._planned(length)
        if self.kinds or planned:
            head = altered_head(head, plan.removed, plan.added + self._mark(planned), length)
        if plan.corrupt and length:
            memory = plan.memory
            if plan.corrupt > RARE and not memory.mask:
                memory.mask = draw_mask(plan.corrupt, random)
            self._corruption = Corruption(plan.corrupt, random, memory.mask)
        if not planned and self._has_ended and not self._trailers and not self._ended:
            exchange.on_answer(head, payload, is_end=True)
            self._finish()
            return
        self._begin_body(exchange, head, payload, length)

    def _begin_body(self, exchange: Exchange, head: ResponseHead, payload: bytes, length: int) -> None:
        if self._plan.is_paced and length:
            self._state = PACING
            now_ns = time.monotonic_ns()
            pacer = self._pacer = Pacer(self._plan.download, self._plan.dribble, self._plan.dribble_ns, now_ns)
            for kind, is_wanted in (("download", self._plan.download), ("dribble", self._plan.dribble)):
                if is_wanted:
                    self._count(kind)
            exchange.on_answer(head, b"", is_end=False)
            if payload:
                pacer.put(payload, now_ns)
                self._wait_for_piece(now_ns)
            self._touch()
        else:
            self._state = PASSING
            exchange.on_answer(head, b"", is_end=False)
            if payload:
                self._pass(payload)
        self._settle_if_over()

    def _settle_if_over(self) -> None:
        if self._has_ended or self._ended:
            self._settle()

    def _planned(self, length: int) -> list[str]:
        """What is about to happen to the body, if it is long enough."""
        plan = self._plan
        if not length:
            self._spared = self._spared or ("no_body" if plan.corrupt or plan.damage or plan.truncate >= 0 or plan.is_paced else "")
            return []
        planned = ["corrupt"] if plan.corrupt else []
        if plan.truncate >= 0 and not 0 <= length <= plan.truncate:
            planned.append("truncate")
        elif plan.truncate >= 0:
            self._spared = self._spared or "short"
        if plan.download:
            planned.append("download")
        if plan.dribble:
            planned.append("dribble")
        return planned

    def _pass(self, payload: bytes) -> None:
        """Some of the body goes on: damaged, up to where the connection breaks."""
        exchange = self._exchange
        if exchange is None:
            return
        plan = self._plan
        limit = plan.truncate
        is_cut = 0 <= limit < self._given + len(payload)
        if is_cut:
            payload = payload[: limit - self._given]
        self._given += len(payload)
        if self._corruption is not None:
            before = self._corruption.changed
            payload = self._corruption.apply(payload)
            if self._corruption.changed > before and "corrupt" not in self.kinds:
                self._count("corrupt")
        if payload:
            exchange.on_payload(payload)
        if is_cut and self._exchange is not None:
            self._count("truncate")
            self._break_off(outcome.TRUNCATED)

    def _paced(self) -> Pacer:
        assert self._pacer is not None
        return self._pacer

    def _on_piece(self) -> None:
        """It is time for the next piece of the body."""
        now_ns = time.monotonic_ns()
        piece = self._paced().take(now_ns)
        if piece:
            self._pass(piece)
        if self._state == PACING:
            if len(self._paced()):
                self._wait_for_piece(now_ns)
            self._touch()
            self._settle_if_over()

    def _close(self) -> None:
        """All that came has gone on: so does the end, or the failure."""
        exchange = self._exchange
        if exchange is None:
            return
        if self._ended:
            self._break_off(self._ended)
            return
        trailers = self._trailers
        self._spared = self._spared or "short"
        exchange.on_end(trailers)
        self._finish()

    def _break_off(self, ended: int) -> None:
        """The client must not take the answer for whole."""
        exchange = self._exchange
        connection, self._connection = self._connection, None
        assert exchange is not None
        exchange.connection = None
        if connection is not None and connection.leg is self:
            connection.abandon()
        self._spared = self._spared or "upstream_failed"
        exchange.on_failure(ended)
        self._finish()

    def _fail(self, ended: int) -> None:
        """There is no answer to begin."""
        exchange = self._exchange
        if exchange is not None:
            self._spared = self._spared or "upstream_failed"
            exchange.on_failure(ended)
            self._finish()

    def _upstream_over(self) -> None:
        """The endpoint's connection is another's from now on, also for the exchange."""
        self._connection = None
        if self._exchange is not None:
            self._exchange.connection = None

    # Reading.

    def _touch(self) -> None:
        """Read on or not, by how much waits; and see that waiting for us is not taken for the endpoint's silence."""
        connection = self._connection
        exchange = self._exchange
        if connection is None or exchange is None or connection.leg is not self:
            return
        waiting = len(self._held) + (len(self._pacer) if self._pacer is not None else 0)
        limit = JSON_LIMIT if self._state == GATHERING else HOLD_LIMIT
        if waiting > limit:
            self.is_full = True
            connection.pause_reading(self)
        elif self.is_full and (waiting <= limit // 4 or self._state == GATHERING):
            self.is_full = False
            if not exchange.client.is_write_blocked:
                connection.resume_reading(self)
        if self.is_full or exchange.client.is_write_blocked:
            connection.deadline_ns = 0
            return
        fleet = connection.endpoint.fleet
        deadline_ns = time.monotonic_ns() + fleet.idle_ns
        fleet.deadlines.set(connection, min(deadline_ns, exchange.dispatched_ns + fleet.total_ns) if fleet.total_ns else deadline_ns)

    # Time.

    def _wait_for(self, plan: DelayPlan, name: str) -> None:
        self._wait(self._plan.memory.draw(name, plan, random))

    def _wait(self, delay_ns: int) -> None:
        self._timer = asyncio.get_running_loop().call_later(seconds_until(delay_ns, 0), self._on_timer)

    def _wait_for_piece(self, now_ns: int) -> None:
        if self._timer is None and len(self._paced()):
            self._timer = asyncio.get_running_loop().call_later(seconds_until(self._paced().due_ns(), now_ns), self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if self._state == HOLDING:
            self._gather()
            self._touch()
        elif self._state == PACING:
            self._on_piece()

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _release_answer(self) -> None:
        """What is held back of the answer goes on at once, all of it."""
        if self._state in (HOLDING, GATHERING):
            self._open()
            self._touch()
        elif self._state == PACING:
            payload = self._paced().rest()
            self._state = PASSING
            if payload:
                self._pass(payload)
            self._touch()
            self._settle_if_over()

    def _count(self, kind: str) -> None:
        self.kinds.append(kind)
        self._armed.count(kind)

    def _mark(self, planned: list[str] | None = None) -> bytes:
        """The field line that says what was done to an answer."""
        kinds = dict.fromkeys([*self.kinds, *(planned or ())])
        return MARK_LINE % (self._armed.experiment.name.encode(), "+".join(kinds).encode())

    def _finish(self) -> None:
        if self._state == OVER:
            return
        self._state = OVER
        self.waits_until_ns = 0
        self._stop_timer()
        upload, self._upload = self._upload, None
        if upload is not None:
            upload.stop()
        self._exchange = None
        self._connection = None
        self._pacer = None
        self._corruption = None
        self._held.clear()
        if not self.kinds:
            self._armed.spare(self._spared or "nothing")
        self._armed.forget(self)
