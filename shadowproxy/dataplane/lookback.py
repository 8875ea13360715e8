"""What an experiment would have touched of the requests that a worker remembers: a dry run over requests that have been.

Nothing is decided here. Each remembered head is read by `RequestHeads`, routed by the policy in force and put before `Experiments`, as an
`Exchange` that goes nowhere: what would be counted of it on its way to an endpoint is counted of it now. Clock, lease and counters are the
rehearsal's own; the clock shows when the request came, so that limits by the second are those of its time.

Control asks twice, as it alone knows which requests are the last of all workers::

    recent ──▶ set aside what is remembered, tell when each came ──▶ remembered
    look_back, since when ──▶ a few heads, then the event loop, and again ──▶ looked_back

What was set aside is let go of with the answer, with the next question, or KEPT_S later.
"""

from __future__ import annotations

import asyncio
import base64
import random
from array import array
from bisect import bisect_left
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.experiments import Experiments, RunPart
from shadowproxy.dataplane.recent import TOO_LONG
from shadowproxy.dataplane.trace import Trace
from shadowproxy.errors import BadRequest, ShadowproxyError
from shadowproxy.hashspace import Weyl
from shadowproxy.policy import bare_host

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.dataplane.part import Part
    from shadowproxy.dataplane.recent import Remembered
    from shadowproxy.dataplane.worker import Worker

HEADS_AT_ONCE: Final = 25
"""Heads between two turns of the event loop: about a millisecond, by which a request may have to wait for a look back."""

PAUSE_S: Final = 0.001
"""What the event loop has for itself after each turn, at least."""

KEPT_S: Final = 10.0
"""How long what is set aside waits for its question."""

_FOR_EVER: Final = 1 << 62
"""Nanoseconds: a lease that no clock reaches."""


class Rehearsal:
    """A dry run of an experiment at one share, over requests that have been."""

    def __init__(self, question: dict[str, Any], percent: float, start: float, *, is_denying: bool = True) -> None:
        experiment = question["experiment"]
        if not is_denying:
            experiment = {**experiment, "slice": {**experiment.get("slice", {}), "deny": []}}
        words = memoryview(bytearray(messages.WORDS * 8)).cast("Q")
        words[messages.LEASE_WORD] = _FOR_EVER
        self.now_ns = int(question["since"])
        self.percent = percent
        self.control = 0
        self._runs = runs = Experiments(words, lambda _: None)
        runs.clock = lambda: self.now_ns
        runs.later = lambda _seconds, _action: None
        runs.weyl = Weyl(start)
        armed = {
            "id": "look-back",
            "epoch": 1,
            "lease": 0,
            "lease_ns": _FOR_EVER,
            "percent": percent,
            "dry": True,
            "deny": question["deny"] if is_denying else [],
            "endpoints": question["endpoints"],
            "experiment": experiment,
        }
        runs.configure([armed])

    @property
    def wanted(self) -> frozenset[bytes]:
        """The header fields that its decisions look at."""
        return self._runs.wanted

    @property
    def routes(self) -> frozenset[str]:
        """The routes that it names."""
        return frozenset(self._runs.by_route)

    def put(self, exchange: Exchange, fleet: str) -> None:
        """Decide about one request."""
        self.now_ns = exchange.arrived_ns
        parts: list[Part] = []
        exchange.parts = parts
        self._runs.enter(exchange, fleet)
        self.control += any(isinstance(part, RunPart) and not part.is_fault for part in parts)

    def told(self) -> dict[str, Any]:
        """A `Step` of messages.py."""
        (run,) = next(iter(self._runs.by_route.values()))
        report = run.report()
        faults = report["faults"]
        return {
            "percent": self.percent,
            "seen": report["seen"],
            "reads": faults.get("dry_read", 0),
            "writes": faults.get("dry_write", 0),
            "units": list(report["units"]),
            "control": self.control,
        }


class LookBack:
    """One question, over requests that were set aside."""

    def __init__(self, worker: Worker, question: dict[str, Any], remembered: list[Remembered]) -> None:
        self._worker = worker
        self._rest = remembered[bisect_left(remembered, int(question["since"]), key=itemgetter(1)) :]
        self._next = 0
        self._too_long = self._unread = self._of_routes = 0
        # The same draws in all of them, for requests that have no unit: a smaller share is then a part of the larger.
        start = random.random()  # noqa: S311  spreads requests over the sequence, guards nothing
        self._steps = [Rehearsal(question, float(percent), start) for percent in question["percents"]]
        self._undenied: Rehearsal | None = None
        if question["deny"] or experiment_from_plain(question["experiment"]).slice.deny:
            self._undenied = Rehearsal(question, self._steps[-1].percent, start, is_denying=False)
        self._policy = worker.policy
        self._heads = worker.reader_of(frozenset().union(*(one.wanted for one in self._rehearsals)))
        self._client = ClientConnection(worker, "", ())

    def __repr__(self) -> str:
        return f"LookBack({self._next} of {len(self._rest)} requests)"

    @property
    def _rehearsals(self) -> list[Rehearsal]:
        return self._steps if self._undenied is None else [*self._steps, self._undenied]

    def go_on(self) -> bool:
        """Look at some more requests; whether that were all."""
        end = min(self._next + HEADS_AT_ONCE, len(self._rest))
        for one in self._rest[self._next : end]:
            self._look_at(one)
        self._next = end
        return end == len(self._rest)

    def _look_at(self, one: Remembered) -> None:
        raw_head, arrived_ns, address, listener = one
        if raw_head == TOO_LONG:
            self._too_long += 1
            return
        try:
            parts = self._heads.read(raw_head)
        except BadRequest:
            # The limits were others when it came.
            self._unread += 1
            return
        method, _, path, head = parts
        host = bare_host(head.authority) if self._policy.asks_host else b""
        route = self._policy.find(listener, host, path, method, head.fields)
        if route is None or route.name not in self._steps[-1].routes:
            return
        self._of_routes += 1
        client = self._client
        client.address, client.listener = address, listener
        exchange = Exchange(client, parts, arrived_ns, raw_head)
        exchange.route_name = route.name
        exchange.trace = Trace(head.traceparent)
        for rehearsal in self._rehearsals:
            rehearsal.put(exchange, route.live)

    def told(self) -> dict[str, Any]:
        """The counts, as a `looked_back` of messages.py has them."""
        steps = [step.told() for step in self._steps]
        denied = 0
        if self._undenied is not None:
            undenied = self._undenied.told()
            denied = max(0, undenied["reads"] + undenied["writes"] - steps[-1]["reads"] - steps[-1]["writes"])
        return {
            "requests": len(self._rest),
            "first": self._rest[0][1] if self._rest else 0,
            "too_long": self._too_long,
            "unread": self._unread,
            "of_routes": self._of_routes,
            "denied": denied,
            "steps": steps,
        }


class LookBacks:
    """Control's questions to one worker, one at a time: a new one takes the place of one that is not answered yet.

    Args:
        worker: whose requests are looked at.
        tell: sends a message to control.
    """

    def __init__(self, worker: Worker, tell: Callable[[messages.Message], None]) -> None:
        self.later: Callable[[float, Callable[[], None]], object] = _later
        self._worker = worker
        self._tell = tell
        self._id = 0
        self._aside: list[Remembered] = []
        self._under_way: LookBack | None = None

    def __repr__(self) -> str:
        return f"LookBacks({self._under_way or f'{len(self._aside)} set aside'})"

    def set_aside(self, message: messages.Message) -> None:
        """Keep what is remembered for a question, and tell when each request came."""
        asked = self._id = int(message["id"])
        self._under_way = None
        self._aside = self._worker.recent.remembered()
        times = array("Q", [arrived_ns for _, arrived_ns, _, _ in self._aside])
        self._tell({"type": "remembered", "id": asked, "times": base64.b64encode(times.tobytes()).decode()})
        self.later(KEPT_S, lambda: self._let_go(asked))

    def begin(self, message: messages.Message) -> None:
        """Answer a question about what was set aside for it, in a while."""
        asked = int(message["id"])
        if asked != self._id:
            self._tell({"type": "looked_back", "id": asked, "problem": "what it asks for was not kept"})
            return
        aside, self._aside = self._aside, []
        try:
            self._under_way = LookBack(self._worker, message, aside)
        except (ShadowproxyError, KeyError, TypeError, ValueError) as error:
            self._tell({"type": "looked_back", "id": asked, "problem": str(error)})
            return
        self._go_on(asked)

    def _go_on(self, asked: int) -> None:
        under_way = self._under_way
        if under_way is None or asked != self._id:
            return
        try:
            if not under_way.go_on():
                self.later(PAUSE_S, lambda: self._go_on(asked))
                return
            answer = {"problem": "", **under_way.told()}
        except Exception as error:  # noqa: BLE001  counted and told; nothing that is asked of a worker may cost its clients anything
            self._worker.caught(error)
            answer = {"problem": f"{type(error).__name__} in a worker; its log has the details"}
        self._let_go(asked)
        self._tell({"type": "looked_back", "id": asked, **answer})

    def _let_go(self, asked: int) -> None:
        if asked == self._id:
            self._aside = []
            self._under_way = None


def _later(seconds: float, action: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, action)
