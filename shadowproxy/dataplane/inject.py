"""A fault at work on one request: a leg between the connection to the endpoint and the exchange.

Life of one, in the order of `config.experiment.Fault`::

    dispatch ─▶ throttle ─▶ delay ─▶ abort, reset, half_close, hang, black_hole ─▶ over, without a word to upstream
                                └──▶ the fleet ─▶ upload ─▶ answer (faultedanswer.py)

*   The exchange believes that it waits for a connection: what it does then bounds the client's body.
*   A fault that is bound to endpoints begins when the leg is given a connection to one of them, before anything is sent.
"""

from __future__ import annotations

import asyncio
import time

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.faultedanswer import ASKED, DELAYED, NEW, OVER, SILENT, FaultedAnswer, Run
from shadowproxy.dataplane.forward import FleetRuntime
from shadowproxy.dataplane.madeup import give_answer, give_nothing
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.dataplane.slowsender import SlowSender
from shadowproxy.dataplane.upstream import UpstreamConnection
from shadowproxy.policy.faults import ABORT, BLACK_HOLE, HALF_CLOSE, HANG, INSTEAD_NAMES, NOTHING, RESET, UNHARMED, FaultPlan
from shadowproxy.policy.tenancy import READ_METHODS


class Injection(FaultedAnswer):
    """See the module's text. `held_ns` is how long the request was held back before it went on, which its client has waited too."""

    __slots__ = ("_fleet", "_has_retried", "_is_told", "_since_ns", "held_ns")

    def __init__(self, exchange: Exchange, armed: Run, plan: FaultPlan) -> None:
        super().__init__(exchange, armed, plan)
        self._fleet: FleetRuntime | None = None
        self._has_retried = False
        self._since_ns = 0
        self.held_ns = 0
        # Whether the exchange knows of the connection that is ours.
        self._is_told = False

    # The request.

    def dispatch(self, fleet: FleetRuntime, now_ns: int) -> bool:
        """Let what goes wrong with the request happen, then send it on; False where no endpoint can take it, and nothing was done."""
        exchange = self._exchange
        assert exchange is not None
        self._fleet = fleet
        self.accepts_upgrade = exchange.accepts_upgrade
        self.small_chunks_limit = exchange.small_chunks_limit
        if self._armed.endpoints is not None:
            return self._ask(now_ns)
        return self._begin(now_ns)

    def _begin(self, now_ns: int) -> bool:
        """Throttle, delay, and what takes the answer's place."""
        plan = self._plan
        self._since_ns = now_ns
        if plan.throttle and not plan.memory.admits(plan.throttle / self._armed.workers, now_ns):
            self._count("throttle")
            self._answer_throttled()
            return True
        self._spared = "throttle" if plan.throttle else ""
        if plan.delay is not None:
            self._count("delay")
            self._state = DELAYED
            self._wait_for(plan.delay, "delay")
            return True
        return self._go_on(now_ns)

    def _go_on(self, now_ns: int) -> bool:
        """After the delay: what takes the answer's place, or the fleet."""
        plan = self._plan
        if plan.instead == NOTHING:
            return self._proceed(now_ns)
        self._count(INSTEAD_NAMES[plan.instead])
        fleet = self._fleet
        assert fleet is not None
        if plan.instead in (HANG, BLACK_HOLE):
            self._state = SILENT
            self._wait(plan.hang_ns if plan.instead == HANG else fleet.connect_ns)
        else:
            self._stand_in()
        return True

    def _proceed(self, now_ns: int) -> bool:
        """The request goes on: to the fleet, or to the endpoint whose connection is ours already."""
        if self._state != NEW:
            self.held_ns = now_ns - self._since_ns
        return self._ask(now_ns) if self._connection is None else self._give_connection()

    def _ask(self, now_ns: int, *, wants_fresh: bool = False) -> bool:
        """Have the fleet find a connection."""
        fleet = self._fleet
        exchange = self._exchange
        assert fleet is not None
        assert exchange is not None
        if self._state != NEW:
            # A reload may have replaced it meanwhile.
            fleet = exchange.client.worker.fleets.get(fleet.config.name, fleet)
        self._state = ASKED
        self.waits_until_ns = now_ns + fleet.connect_ns
        return fleet.dispatch(self, now_ns, wants_fresh=wants_fresh)

    def on_connection(self, connection: UpstreamConnection) -> None:
        """A connection is ours. A fault that is bound to endpoints begins or ends here."""
        self.waits_until_ns = 0
        self._connection = connection
        endpoints = self._armed.endpoints
        if endpoints is not None and self._plan is not UNHARMED:
            if connection.endpoint.url.rstrip("/") not in endpoints:
                self._plan = UNHARMED
                self._spared = "endpoint"
            elif not self.kinds:
                # While nothing is sent, silence is not the endpoint's.
                connection.deadline_ns = 0
                self._begin_at_endpoint()
                return
        self._give_connection()

    def _begin_at_endpoint(self) -> None:
        now_ns = time.monotonic_ns()
        plan = self._plan
        if plan.throttle or plan.delay is not None or plan.instead != NOTHING:
            self._begin(now_ns)
        else:
            self._give_connection()

    def _give_connection(self) -> bool:
        exchange = self._exchange
        connection = self._connection
        assert exchange is not None
        assert connection is not None
        self._state = ASKED
        self._is_told = True
        if self._plan.upload and exchange.head.length:
            self._count("upload")
            self._upload = SlowSender(connection, exchange, self._plan.upload)
        exchange.on_connection(connection)
        return True

    def on_blocked(self) -> None:
        """The endpoint reads slowly: the client waits."""
        if self._exchange is not None:
            self._exchange.on_blocked()

    def on_unblocked(self) -> None:
        """It has caught up; but there may be more of a slow upload than it can say."""
        if self._exchange is not None and (self._upload is None or not self._upload.is_full):
            self._exchange.on_unblocked()

    # In place of an answer.

    def _answer_throttled(self) -> None:
        exchange = self._let_go()
        if exchange is not None:
            status = self._plan.throttle_status
            give_answer(exchange, status, self._mark(), b"", b"", code="injected_throttle")

    def _stand_in(self) -> None:
        """Give the client what comes in place of an answer."""
        instead, abort = self._plan.instead, self._plan.abort
        exchange = self._let_go()
        if exchange is None:
            return
        if instead == ABORT and abort is not None:
            give_answer(exchange, abort.status, self._mark(), abort.lines, abort.body, code="injected_abort", counted=abort.counted)
        elif instead == BLACK_HOLE:
            give_answer(exchange, 504, self._mark(), b"", b"", code="injected_black_hole")
        else:
            ended = outcome.TIMEOUT if instead == HANG else outcome.RESET
            give_nothing(exchange, ended, is_reset=instead == RESET, is_half=instead == HALF_CLOSE)

    def _let_go(self) -> Exchange | None:
        """Give a connection back on which nothing was sent, and be over; the exchange is the caller's to end."""
        self._give_back()
        exchange = self._exchange
        self._finish()
        return exchange

    def _give_back(self) -> None:
        """A connection that nothing was sent on is another's; in a round of its own, as that one may give it back too."""
        connection, self._connection = self._connection, None
        if connection is not None and not self._is_told:
            asyncio.get_running_loop().call_soon(connection.give_back, self)

    # What the endpoint says.

    def on_interim(self, head: ResponseHead) -> None:
        """Passed on: who waits for a 100 sends nothing before it."""
        if self._state in (DELAYED, SILENT):
            self._refuse_unasked()
        elif self._exchange is not None:
            self._exchange.on_interim(head)

    def on_answer(self, head: ResponseHead, payload: bytes, *, is_end: bool) -> None:
        """The final head; it goes on now, or when its time has come."""
        if self._state in (DELAYED, SILENT, OVER):
            self._refuse_unasked()
        else:
            super().on_answer(head, payload, is_end=is_end)

    def _refuse_unasked(self) -> None:
        """The endpoint speaks on a connection that nothing was sent on yet: another will do."""
        connection, self._connection = self._connection, None
        if connection is not None and connection.leg is self:
            connection.abandon()

    def on_failure(self, ended: int) -> None:
        """The endpoint is gone: what came before goes on first."""
        exchange = self._exchange
        connection, self._connection = self._connection, None
        if exchange is None:
            return
        if self._upload is not None:
            self._upload.stop()
        if self._head is not None:
            self._failed(exchange, ended)
        elif connection is not None and self._may_ask_again(exchange, connection, ended):
            self._has_retried = self._is_told
            if self._state in (DELAYED, SILENT):
                # Nothing had been sent yet: the connection that was kept for it is just another one that closed.
                return
            self._is_told = False
            exchange.connection = None
            if not self._ask(time.monotonic_ns(), wants_fresh=True):
                self._fail(outcome.OVERFLOW)
        else:
            self._fail(ended)

    def _may_ask_again(self, exchange: Exchange, connection: UpstreamConnection, ended: int) -> bool:
        """Whether this was a kept connection that the endpoint closed as we used it, as `Exchange.on_failure` has it (ERR-03)."""
        if ended != outcome.RESET or self._has_retried:
            return False
        if not self._is_told:
            return True
        is_whole = exchange.is_request_done and not exchange.request_bytes and exchange.head.length == 0
        return is_whole and connection.is_reused and not connection.has_answered_any and exchange.method in READ_METHODS

    def _on_timer(self) -> None:
        if self._state == DELAYED:
            self._timer = None
            if not self._go_on(time.monotonic_ns()):
                self._fail(outcome.OVERFLOW)
        elif self._state == SILENT:
            self._timer = None
            self._stand_in()
        else:
            super()._on_timer()

    # From the run and the exchange.

    def release(self) -> None:
        """No fault from now on: what is held back goes on at once, all of it."""
        if self._state == OVER or self._plan is UNHARMED:
            return
        self._plan = UNHARMED
        self._spared = self._spared or "released"
        self._corruption = None
        self._stop_timer()
        if self._upload is not None:
            self._upload.flush()
        if self._state in (DELAYED, SILENT):
            if not self._proceed(time.monotonic_ns()):
                self._fail(outcome.OVERFLOW)
        else:
            self._release_answer()

    def cancel(self) -> None:
        """The client is gone, or the exchange over."""
        self._spared = self._spared or ("client_gone" if self._head is None or not self._has_ended else "")
        self._give_back()
        self._finish()

    def _finish(self) -> None:
        self._fleet = None
        super()._finish()
