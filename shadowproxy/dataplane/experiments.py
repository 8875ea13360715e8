"""Experiments in a worker: who is hit is decided here, once a request, and only while somebody who can stop it is there.

A run is armed by a message and exists while its lease, a shared word, is later than now. Control renews the lease; a
control process that is dead, frozen or whose clock jumped does not, or writes one that is too long, and then the run is over
in this worker for good: a later renewal finds nothing to renew. The kill switch, another word, is read before each decision too.

For every request of the routes that a run injects into or observes::

    outside | control | fault ──▶ kill word, lease ──▶ does the fault concern it? ──▶ limits ──▶ Injection
                                     over                 (none of its business)      unharmed, by reason

so each request in the slice that the fault concerns ends in one counter: at every moment `seen = hit + unharmed + under way`.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.experiment import Attempts, HeaderFaults
from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.dataplane import messages, outcome
from shadowproxy.dataplane.capture import Allowance, Kept, Purse
from shadowproxy.dataplane.inject import Injection
from shadowproxy.dataplane.part import ArmTally, Part
from shadowproxy.hashspace import Weyl, point_at
from shadowproxy.hashspace import digest as digest_of
from shadowproxy.policy.faults import FaultPlan, compile_faults, requested
from shadowproxy.policy.slices import CONTROL, FAULT, OUTSIDE, compile_slice
from shadowproxy.policy.tenancy import READ_METHODS
from shadowproxy.policy.units import unit_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.dataplane.exchange import Exchange
    from shadowproxy.dataplane.response_lines import ResponseHead

UNITS_LIMIT: Final = 100_000
"""Different units with a fault that a worker remembers of one run; beyond it new ones are left alone."""

OVER_KEPT: Final = 16
"""Runs that are over and still counted: more cannot end while a request lasts."""

SAMPLES_MEMORY: Final = 4 * 1024 * 1024
"""Bytes of answers that a worker holds for expectations."""

ENVOY_FIELDS: Final = frozenset({
    b"x-envoy-fault-abort-grpc-request", b"x-envoy-fault-abort-request", b"x-envoy-fault-abort-request-percentage", b"x-envoy-fault-delay-request",
    b"x-envoy-fault-delay-request-percentage", b"x-envoy-fault-throughput-response", b"x-envoy-fault-throughput-response-percentage",
})  # fmt: skip
ATTEMPT_FIELDS: Final = (b"x-envoy-attempt-count", b"retry-attempt")
"""How often a client has tried: from 1 in the first, from 0 in the second."""


class Armed:
    """One run, as far as this worker is concerned."""

    def __init__(self, message: dict[str, Any], shared: Experiments) -> None:
        self.id = str(message["id"])
        self.epoch = int(message["epoch"])
        self.experiment = experiment_from_plain(message["experiment"])
        self.fault = ArmTally()
        self.control = ArmTally()
        self.over = ""
        self.workers = 1
        self.injections: set[Injection] = set()
        self.is_changed = True
        self._shared = shared
        self._has_lived = False
        self._faults: dict[str, int] = {}
        self._unharmed: dict[str, int] = {}
        self._outside = self._seen = self._hit = self._units_dropped = 0
        self._units: dict[int, int] = {}
        self._fresh_units: dict[int, int] = {}
        self._turn = 0
        inject = self.experiment.inject
        self.routes = frozenset(inject.routes)
        self.observed = frozenset(self.experiment.observe or inject.routes)
        self._methods = frozenset(method.encode() for method in inject.methods)
        self._prefix = inject.path.encode().rstrip(b"/")
        self._plan = compile_faults(inject.faults)
        self._allowance = Allowance(inject.per_second, shared.clock())
        self._samples: list[Sampled] = []
        self._sampling = {one.route: Allowance(one.sample, shared.clock()) for one in self.experiment.expect}
        self.follow(message)

    def __repr__(self) -> str:
        return f"Armed({self.id}, epoch={self.epoch}, {self.over or 'armed'}, injections={len(self.injections)})"

    def follow(self, message: dict[str, Any]) -> None:
        """Take up another step of the ramp, or a pause."""
        self.slice = compile_slice(
            self.experiment, float(message["percent"]), tuple(message.get("deny", ())), is_paused=bool(message.get("paused", False))
        )
        self._is_open = self.slice.is_open
        self.is_dry = bool(message.get("dry", False))
        self.workers = max(1, int(message.get("workers", 1)))
        endpoints = message.get("endpoints")
        if endpoints is None and (self.experiment.inject.endpoint or self.experiment.domain.cells):
            # Whoever is confined and is not told to what hits nobody else.
            endpoints = [self.experiment.inject.endpoint]
        self.endpoints: frozenset[str] | None = None if endpoints is None else frozenset(url.rstrip("/") for url in endpoints)
        self._lease = messages.LEASE_WORD + int(message["lease"])
        self._longest_ns = int(message["lease_ns"]) * 3 // 2
        if not self.slice.is_hitting:
            self.release()

    @property
    def wanted(self) -> frozenset[bytes]:
        """The header fields that decisions look at."""
        inject = self.experiment.inject
        wanted = set(self.slice.wanted)
        if inject.envoy_headers.accept is not HeaderFaults.OFF:
            wanted |= ENVOY_FIELDS
        if inject.attempts is Attempts.FIRST:
            wanted |= set(ATTEMPT_FIELDS)
        return frozenset(wanted)

    # Whether it exists.

    def is_live(self, now_ns: int) -> bool:
        """Whether faults may happen: neither killed nor over, and its lease is valid. A lease that has lapsed once ends the run."""
        if self.over:
            return False
        words = self._shared.words
        if words[messages.KILL_WORD]:
            self.end("killed")
            return False
        expiry_ns = words[self._lease]
        if now_ns < expiry_ns <= now_ns + self._longest_ns:
            self._has_lived = True
            return True
        # A worker that has just started has not been given its lease yet, which control does within a third of it.
        if self._has_lived or expiry_ns:
            self.end("lease")
        return False

    def end(self, why: str) -> None:
        """No fault any more, for good: what is held back goes on at once."""
        if not self.over:
            self.over = why
            self.tell_soon()
        self.release()

    def release(self) -> None:
        """Let everything go on that is held back."""
        for injection in list(self.injections):
            injection.release()

    # One request.

    def enter(self, exchange: Exchange, route: str, fleet: str) -> Injection | None:
        """Decide about one request: note its arm, and return what is to happen to it, if anything."""
        head = exchange.head
        policy = self.slice
        arm = OUTSIDE
        digest = -1
        # Most requests of a route that a run names are outside: written out, this costs them half as much.
        if (self._is_open and not head.tenant) or policy.takes(head.fields, head.tenant):
            unit: bytes | None = None
            point = 0.0
            if policy.unit is None:
                point = self._shared.weyl.next()
            else:
                assert exchange.trace is not None
                unit = unit_of(policy.unit, exchange.path, head.fields, exchange.client.address, exchange.trace.trace_id)
                if unit is not None:
                    digest = digest_of(unit, policy.salt)
                    point = point_at(digest)
            arm = policy.arm(unit, point)
        self.is_changed = True
        if not self._shared.is_telling:
            self._shared.tell_soon()
        if arm == OUTSIDE:
            self._outside += 1
            return None
        if route in self.observed:
            exchange.take_part(RunPart(self, self.fault if arm == FAULT else self.control, route, is_fault=arm == FAULT))
        if arm == CONTROL or route not in self.routes or not self._concerns(exchange, fleet):
            return None
        return self._inject(exchange, digest)

    def _concerns(self, exchange: Exchange, fleet: str) -> bool:
        inject = self.experiment.inject
        if inject.fleet and fleet != inject.fleet:
            return False
        if self._methods and exchange.method not in self._methods:
            return False
        prefix = self._prefix
        return not prefix or exchange.path == prefix or exchange.path.startswith(prefix + b"/")

    def _inject(self, exchange: Exchange, digest: int) -> Injection | None:
        """A request in the slice that the fault concerns: hit it, or count why not."""
        self._seen += 1
        now_ns = self._shared.clock()
        plan = self._plan
        envoy = self.experiment.inject.envoy_headers
        if envoy.accept is HeaderFaults.ANY or (envoy.accept is HeaderFaults.TAGGED and exchange.head.tenant):
            plan = requested(exchange.head.fields, envoy, random.random) or plan  # a draw of a share, guards nothing
        why = self._spared(exchange, plan, digest, now_ns)
        if why:
            self._unharmed[why] = self._unharmed.get(why, 0) + 1
            return None
        if digest >= 0:
            self._units[digest] = self._units.get(digest, 0) + 1
            self._fresh_units[digest] = self._fresh_units.get(digest, 0) + 1
        if self.is_dry:
            self._hit += 1
            self.count("dry_read" if exchange.method in READ_METHODS else "dry_write")
            return None
        assert plan is not None
        injection = Injection(exchange, self, plan)
        self.injections.add(injection)
        return injection

    def _spared(self, exchange: Exchange, plan: FaultPlan | None, digest: int, now_ns: int) -> str:
        """Why a request in the slice gets no fault; empty where it does."""
        inject = self.experiment.inject
        if not self.is_live(now_ns):
            return self.over or "lease"
        if not self.slice.is_hitting:
            return "paused"
        if plan is None:
            return "nothing_asked"
        if exchange.injection is not None:
            return "other_run"
        if exchange.head.upgrade:
            return "upgrade"
        if inject.attempts is Attempts.FIRST and _is_retry(exchange):
            return "attempt"
        before = self._units.get(digest, 0)
        budget = self.experiment.budget
        if digest >= 0 and not before and len(self._units) >= (min(budget.units, UNITS_LIMIT) or UNITS_LIMIT):
            self._units_dropped += 1
            return "units"
        if budget.repeats and before >= budget.repeats:
            return "repeats"
        if plan.first and (before if digest >= 0 else self._turn) >= plan.first:
            return "first"
        self._turn += 1
        if plan.every > 1 and self._turn % plan.every:
            return "every"
        if len(self.injections) >= inject.active:
            return "active"
        if inject.per_second and not self._allowance.take(now_ns):
            return "per_second"
        return ""

    # What injections and parts tell.

    def count(self, kind: str) -> None:
        """A fault of that kind has happened."""
        self._faults[kind] = self._faults.get(kind, 0) + 1
        self.tell_soon()

    def spare(self, why: str) -> None:
        """An injection did nothing in the end, for that reason."""
        self._unharmed[why] = self._unharmed.get(why, 0) + 1
        self.tell_soon()

    def forget(self, injection: Injection) -> None:
        """An injection has nothing left to do."""
        self.injections.discard(injection)
        self._hit += bool(injection.kinds)
        self.tell_soon()

    def sample(self, route: str) -> Sampled | None:
        """Room for one answer of that route, where an expectation looks at it and it is its turn."""
        allowance = self._sampling.get(route)
        shared = self._shared
        if allowance is None or shared.purse.held >= SAMPLES_MEMORY or not allowance.take(shared.clock()):
            return None
        return Sampled(Kept(shared.purse, messages.SAMPLE_BYTES, SAMPLES_MEMORY), route)

    def keep(self, sampled: Sampled) -> None:
        """An answer that is to be looked at is whole, or will never be."""
        self._samples.append(sampled)

    def tell_soon(self) -> None:
        """Something has changed that control is to hear of."""
        self.is_changed = True
        self._shared.tell_soon()

    def report(self) -> dict[str, Any]:
        """An `Exposure` of messages.py; its deltas begin anew."""
        self.is_changed = False
        samples, self._samples = self._samples, []
        report: dict[str, Any] = {
            "epoch": self.epoch,
            "fault": self.fault.report(),
            "control": self.control.report(),
            "outside": self._outside,
            "faults": self._faults,
            "unharmed": self._unharmed,
            "seen": self._seen,
            "hit": self._hit,
            "units": {f"{digest:016x}": count for digest, count in self._fresh_units.items()},
            "units_dropped": self._units_dropped,
            "samples": [sampled.plain() for sampled in samples],
            "over": self.over,
        }
        for sampled in samples:
            sampled.kept.release()
        self._outside = self._seen = self._hit = self._units_dropped = 0
        self._faults, self._unharmed, self._fresh_units = {}, {}, {}
        return report


class Sampled:
    """One answer that expectations look at."""

    __slots__ = ("kept", "route", "status")

    def __init__(self, kept: Kept, route: str) -> None:
        self.kept = kept
        self.route = route
        self.status = 0

    def plain(self) -> dict[str, Any]:
        """A `Sample` of messages.py."""
        return {"route": self.route, "status": self.status, **self.kept.plain()}


class RunPart(Part):
    """One exchange in an arm of a run."""

    __slots__ = ("_armed", "_route", "_sampled", "_tally", "is_fault")

    def __init__(self, armed: Armed, tally: ArmTally, route: str, *, is_fault: bool) -> None:
        self._armed = armed
        self._tally = tally
        self._route = route
        self.is_fault = is_fault
        self._sampled: Sampled | None = None

    def on_answer(self, exchange: Exchange, head: ResponseHead, payload: bytes) -> None:
        """Keep it, if an expectation is to look at it. An answer to HEAD has no body, and tells nothing of what GET would bring."""
        sampled = self._armed.sample(self._route) if self.is_fault and exchange.method != b"HEAD" else None
        if sampled is not None:
            self._sampled = sampled
            sampled.status = head.status
            sampled.kept.head = head.wire
            sampled.kept.add(payload)

    def on_payload(self, payload: bytes) -> None:
        """More of what is kept."""
        if self._sampled is not None:
            self._sampled.kept.add(payload)

    def answered(self, status: int, last: int) -> None:
        """Count it."""
        self._tally.answered(status, last)
        sampled, self._sampled = self._sampled, None
        if sampled is not None:
            self._armed.keep(sampled)
        self._armed.tell_soon()

    def failed(self, ended: int) -> None:
        """Count it. Whoever waited for an answer got none: to an expectation that is one that is wrong, and not one less."""
        self._tally.failed(ended)
        if self.is_fault and (sampled := self._sampled or self._armed.sample(self._route)) is not None:
            self._sampled = None
            sampled.status = 0
            self._armed.keep(sampled)
        self._let_go()

    def injected(self, status: int) -> None:
        """Count it apart."""
        self._tally.was_injected(status)
        self._let_go()

    def client_gone(self) -> None:
        """Count it."""
        self._tally.failed(outcome.CLIENT_GONE)
        self._let_go()

    def _let_go(self) -> None:
        sampled, self._sampled = self._sampled, None
        if sampled is not None:
            sampled.kept.release()
        self._armed.tell_soon()


class Experiments:
    """All runs of a worker.

    `by_route` has the runs that inject into or observe a route: empty while nothing is armed, which is all that other requests pay for.
    """

    def __init__(self, words: memoryview, send: Callable[[messages.Message], None]) -> None:
        self.words = words
        self.by_route: dict[str, tuple[Armed, ...]] = {}
        self.wanted: frozenset[bytes] = frozenset()
        self.weyl = Weyl(random.random())  # noqa: S311  as those of the worker
        self.purse = Purse()
        self.splits_report: Callable[[], dict[str, Any]] = dict
        self.later: Callable[[float, Callable[[], None]], object] = _later
        self.clock: Callable[[], int] = time.monotonic_ns
        self._send = send
        self._armed: dict[str, Armed] = {}
        self._over: list[Armed] = []
        self._epochs: dict[str, int] = {}
        self.is_telling = False

    def __repr__(self) -> str:
        return f"Experiments({list(self._armed.values())})"

    def configure(self, armed: list[dict[str, Any]]) -> None:
        """Make what is armed what control says, and nothing else.

        Raises:
            ConfigError: an experiment cannot be used; nothing has changed.
        """
        kept: dict[str, Armed] = {}
        fresh = [one for one in armed if one["id"] not in self._armed and int(one["epoch"]) > self._epochs.get(one["id"], -1)]
        made = [Armed(one, self) for one in fresh]
        for one in armed:
            known = self._armed.get(one["id"])
            if known is not None and known.epoch == int(one["epoch"]):
                known.follow(one)
                kept[known.id] = known
        for run in made:
            kept[run.id] = run
            self._epochs[run.id] = run.epoch
        for run in self._armed.values():
            if run.id not in kept:
                run.end("ended")
                self._over.append(run)
        self._armed = kept
        by_route: dict[str, tuple[Armed, ...]] = {}
        for run in kept.values():
            for route in sorted(run.routes | run.observed):
                by_route[route] = (*by_route.get(route, ()), run)
        self.by_route = by_route
        self.wanted = frozenset().union(*(run.wanted for run in kept.values()))
        if self._armed or self._over:
            self.tell_soon()

    def enter(self, exchange: Exchange, fleet: str) -> Injection | None:
        """Decide about one request for every run that its route is in; the first fault counts."""
        for run in self.by_route.get(exchange.route_name, ()):
            injection = run.enter(exchange, exchange.route_name, fleet)
            if injection is not None:
                exchange.injection = injection
        return exchange.injection

    def tick(self, now_ns: int) -> None:
        """Once a tick: runs whose lease has lapsed are over, and nothing of theirs is held back any longer."""
        for run in self._armed.values():
            run.is_live(now_ns)

    def end(self, why: str) -> None:
        """All runs are over, for good."""
        for run in self._armed.values():
            run.end(why)

    def tell_soon(self) -> None:
        """Tell control what has changed, within EXPOSURE_S."""
        if not self.is_telling:
            self.is_telling = True
            self.later(messages.EXPOSURE_S, self.tell)

    def tell(self) -> None:
        """Tell control what has changed since the last time."""
        self.is_telling = False
        runs = [run for run in (*self._armed.values(), *self._over) if run.is_changed]
        # Requests that were under way when a run ended still tell how they fared.
        self._over = self._over[-OVER_KEPT:]
        splits = self.splits_report()
        if runs or splits:
            self._send({"type": "exposure", "experiments": {run.id: run.report() for run in runs}, "splits": splits})


def _is_retry(exchange: Exchange) -> bool:
    """Whether a client says that it has tried before."""
    for name, first in zip(ATTEMPT_FIELDS, (1, 0), strict=True):
        values = exchange.head.fields.get(name)
        if values and values[0].isdigit() and len(values[0]) < 10 and int(values[0]) > first:
            return True
    return False


def _later(seconds: float, action: Callable[[], None]) -> None:
    asyncio.get_running_loop().call_later(seconds, action)
