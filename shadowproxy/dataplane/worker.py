"""A worker process: the data plane, and nothing else in its event loop.

It is given its sockets and its shared words by control, its config over the link, and reports what it has
counted four times a second. All state that connections share lives in `Worker`; one event loop, so no locks.
"""

from __future__ import annotations

import base64
import mmap
import os
import random
import resource
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Final

from shadowproxy.config import from_plain
from shadowproxy.config.declare import Seconds
from shadowproxy.config.model import Config, Ejection, Fleet, Limits
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.admission import Admissions
from shadowproxy.dataplane.capture import Purse, told
from shadowproxy.dataplane.deadlines import Deadlines
from shadowproxy.dataplane.distort import field_of
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.experiments import Experiments
from shadowproxy.dataplane.forward import FleetRuntime
from shadowproxy.dataplane.gate import Gate, gate_of
from shadowproxy.dataplane.lookback import LookBacks
from shadowproxy.dataplane.madeup import MARK_NAME
from shadowproxy.dataplane.outcome import name_of
from shadowproxy.dataplane.recent import Recent
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.response_head import ResponseHeads
from shadowproxy.dataplane.scrub import Scrubber
from shadowproxy.dataplane.splits import Splits
from shadowproxy.dataplane.tally import Buckets, MirrorTally, RouteTally, add
from shadowproxy.dataplane.tee import READ_PER_TICK, Copy, Tee
from shadowproxy.dataplane.traces import Traces
from shadowproxy.hashspace import Weyl
from shadowproxy.passports import Terms
from shadowproxy.policy import MirrorPolicy, Policy, compile_policy, nanoseconds
from shadowproxy.policy.tenancy import SINK_FLEET

ACCESS_LIMIT: Final = 2000
"""Access log records held between two reports; more are dropped and counted."""

APART: Final = ":resend"
"""What the name of a fleet ends with that only copies are sent to, beside the one that clients are served by; no config can name it so."""

SINK_PATIENCE: Final = Seconds(75.0)
"""How long a sink may think: its latency may be 60 s, and what it asks live has a time of its own. Control ends one that is stuck sooner."""


class Worker:
    """What the connections of one worker share."""

    def __init__(self, slot: int, words: memoryview, traces: memoryview | None = None) -> None:
        now_ns = time.monotonic_ns()
        self.slot = slot
        self.words = words
        self.instance = b""
        self.config: Config
        self.policy: Policy
        self.limits: Limits
        self.request_heads: RequestHeads
        self.response_heads = ResponseHeads()
        self.deadlines = Deadlines(now_ns)
        self.fleets: dict[str, FleetRuntime] = {}
        self.retired: list[FleetRuntime] = []
        self.tees: dict[str, Tee] = {}
        self.route_tallies: dict[str, RouteTally] = {}
        self.weyl = Weyl(random.random())  # noqa: S311  spreads workers over the sequence, guards nothing
        self.arm_weyl = Weyl(random.random())  # noqa: S311  as above
        self.purse = Purse()
        self.scrubber = Scrubber(self)
        self.gates: dict[str, Gate] = {}
        table = traces if traces is not None else memoryview(bytearray(messages.TRACES_BYTES))
        self.admissions = Admissions(slot, self._tell, Traces(table))
        self.recent = Recent()
        self.look_backs = LookBacks(self, self._tell)
        self.experiments = Experiments(words, self._tell)
        self.splits = Splits(self.experiments.tell_soon)
        self.experiments.splits_report = self.splits.report
        self.send: Callable[[messages.Message], None] | None = None
        self._captures = 0
        self._capture_prefix = f"{slot}-{os.getpid()}-{now_ns // 10**9:x}-"
        self.clients: set[ClientConnection] = set()
        self.refusals: dict[str, int] = {}
        self.accepted = self.requests = self.turned_away = self.errors = 0
        self.tee_held = 0
        self.shadow_read_left = READ_PER_TICK
        self.paused_copies: list[Copy] = []
        self.access_sample = 0.0
        self.access: list[dict[str, Any]] = []
        self.access_dropped = 0
        self.is_draining = False
        self.date_line = b""
        self.header_ns = self.body_ns = self.idle_ns = self.write_ns = 0
        self._lag: Buckets = {}
        self._date_s = 0
        self._last_trace_s = 0.0

    # Config.

    def configure(self, message: messages.Message) -> None:
        """Replace the policy whole. What is in flight goes on under the one that it began with.

        Raises:
            ShadowproxyError: it cannot be used; nothing has changed.
            OSError: a TLS file cannot be read; nothing has changed.
            KeyError: a mirror has no slot among the shared words; nothing has changed.
            ValueError: a mirror scrubs its copies, and there is no key; nothing has changed.
        """
        config = from_plain(message["config"])
        policy = compile_policy(config, int(message["generation"]))
        slots: dict[str, int] = message["slots"]
        for route in policy.routes:
            for mirror in _with_arms(route.mirrors):
                if not 0 < slots[mirror.key] < len(self.words):
                    raise KeyError(mirror.key)
        fleets: dict[str, FleetRuntime] = {}
        terms = Terms(
            keys={name: base64.b64decode(secret) for name, secret in message.get("passport_keys", {}).items()},
            lifetime_s=config.tenancy.passports.lifetime,
            skew_s=config.tenancy.passports.skew,
            since=float(message.get("since", 0.0)),
        )
        gates = {listener.name: gate for listener in config.listen if (gate := gate_of(listener, terms)) is not None}
        for name, fleet in _fleets(config, policy, message.get("sinks", {})):
            old = self.fleets.get(name)
            fleets[name] = old if old is not None and old.config == fleet else FleetRuntime(fleet, self.deadlines, self.response_heads)
        is_scrubbed = any(mirror.is_scrubbed for route in policy.routes for mirror in _with_arms(route.mirrors))
        self.scrubber.configure(message.get("redaction_key", ""), config.redaction, is_wanted=is_scrubbed)
        retired = [fleet for fleet in self.fleets.values() if fleet not in fleets.values()]
        fresh = [fleet for fleet in fleets.values() if fleet not in self.fleets.values()]
        self.instance = message["instance"].encode()
        for route in policy.routes:
            self.route_tallies.setdefault(route.name, RouteTally())
            for mirror in route.mirrors:
                arm = None
                if mirror.arm is not None:
                    arm = self._tee(mirror.arm, slots)
                    fleet_name = mirror.arm.fleet + APART if mirror.arm.is_apart else mirror.arm.fleet
                    arm.configure(mirror.arm, fleets[fleet_name], None, is_control=mirror.is_compared)
                self._tee(mirror, slots).configure(mirror, fleets[mirror.fleet], arm, is_control=False)
        limits = config.limits
        self.header_ns = nanoseconds(limits.header_timeout)
        self.body_ns = nanoseconds(limits.body_timeout)
        self.idle_ns = nanoseconds(limits.idle_timeout)
        self.write_ns = nanoseconds(limits.write_timeout)
        self.access_sample = config.access_log.sample if config.access_log.path else 0.0
        self.limits = limits
        self.config = config
        self.gates = gates
        self.recent.resize(config.experiments.recent_requests)
        self.admissions.body_limit = config.tenancy.body_limit
        self.admissions.memory = config.tenancy.memory
        for client in self.clients:
            client.gate = gates.get(client.listener)
        self.fleets = fleets
        self.policy = policy
        self.arrange(message.get("experiments", {}))
        self._read_heads()
        for fleet_runtime in fresh:
            fleet_runtime.start()
        for fleet_runtime in retired:
            fleet_runtime.close()
        # Legs may still wait for a connection of theirs: those have to expire too.
        self.retired = [fleet for fleet in (*self.retired, *retired) if fleet.is_in_use]

    def arrange(self, message: messages.Message) -> None:
        """Make experiments what an `experiments` message says.

        Raises:
            ShadowproxyError: one of them cannot be used; nothing has changed.
            KeyError, ValueError: a split cannot be used; experiments and rollouts are what they were.
        """
        wanted = self.experiments.wanted | self.splits.wanted
        self.evacuate(message.get("evacuated", []))
        self.splits.configure(message.get("splits", []))
        self.experiments.configure(message.get("armed", []))
        if self.experiments.wanted | self.splits.wanted != wanted:
            self._read_heads()

    def evacuate(self, evacuated: list[dict[str, Any]]) -> None:
        """Give no new requests to endpoints with these labels, as long as their fleets have others, and tell control that it is done."""
        under_way = {
            name: fleet.evacuate({(one["label"], one["value"]) for one in evacuated if one["fleet"] == name})
            for name, fleet in self.fleets.items()
        }
        if evacuated:
            self._tell({"type": "evacuated", "under_way": {name: endpoints for name, endpoints in under_way.items() if endpoints}})

    def _read_heads(self) -> None:
        """Look at those header fields from now on that policy and experiments ask for."""
        self.request_heads = self.reader_of(self.experiments.wanted | self.splits.wanted)

    def reader_of(self, wanted: frozenset[bytes]) -> RequestHeads:
        """What reads heads as the policy in force asks, and the values of the fields `wanted` too."""
        policy, limits = self.policy, self.limits
        return RequestHeads(
            policy.wanted | wanted,
            policy.touched,
            policy.tags,
            count_limit=limits.header_count,
            line_limit=limits.request_line,
            bytes_limit=limits.head,
        )

    def _tee(self, mirror: MirrorPolicy, slots: dict[str, int]) -> Tee:
        """The tee of a mirror, which is made when it is new."""
        tee = self.tees.get(mirror.key)
        if tee is None:
            tee = self.tees[mirror.key] = Tee(self, MirrorTally(mirror.key, self.words, slots[mirror.key]))
        return tee

    def next_capture(self) -> str:
        """The identity of the request that is captured next: unique among the workers of this proxy."""
        self._captures += 1
        return f"{self._capture_prefix}{self._captures}"

    def _tell(self, message: messages.Message) -> None:
        """Queue a message to control; without one nothing is answered, and what waits for it is refused in time."""
        if self.send is not None:
            self.send(message)

    def is_own_mark(self, mark: bytes) -> bool:
        """Whether a mark was made by this proxy: then the request has come round."""
        return b";by=" + self.instance in mark

    # Clients.

    def admit_client(self, client: ClientConnection) -> bool:
        """Whether one more client connection is allowed."""
        if len(self.clients) >= self.limits.connections:
            self.turned_away += 1
            return False
        self.clients.add(client)
        self.accepted += 1
        return True

    def release_client(self, client: ClientConnection) -> None:
        """The connection is gone."""
        self.clients.discard(client)

    def log_access(self, client: ClientConnection, exchange: Exchange, status: int) -> None:
        """Keep one access log record, if the sample takes it. Never blocks; drops what does not fit."""
        if status < 500 and self.access_sample < 1.0 and random.random() >= self.access_sample:  # noqa: S311  a sample, guards nothing
            return
        head = exchange.head
        trace = exchange.trace
        answer = exchange.answer
        fault = field_of(answer, b"x-shadowproxy-fault") if answer is not None and MARK_NAME in answer.wire else b""
        self._keep_record(
            {
                "time": time.time(),
                "listener": client.listener,
                "client": client.address.decode(),
                "method": exchange.method.decode("latin-1"),
                "host": head.authority.decode("latin-1"),
                "target": exchange.target.decode("latin-1"),
                "route": exchange.route_name,
                "outcome": name_of(status),
                "received_bytes": exchange.request_bytes,
                "sent_bytes": exchange.sent,
                "first_byte_ms": round(exchange.first_ns / 1e6, 3),
                "last_byte_ms": round((time.monotonic_ns() - exchange.arrived_ns) / 1e6, 3),
                "mirrored": len(exchange.copies or ()),
                "tagged": bool(head.tenant),
                "trace": trace.trace_id.decode() if trace is not None else "",
            }
            | ({"fault": fault.decode("latin-1")} if fault else {})
        )

    def log_refusal(self, client: ClientConnection, exchange: Exchange | None, status: int, code: str) -> None:
        """Keep a record of a local answer; these are always logged."""
        record: dict[str, Any] = {"time": time.time(), "listener": client.listener, "client": client.address.decode()}
        if exchange is not None:
            head = exchange.head
            record["method"] = exchange.method.decode("latin-1")
            record["host"] = head.authority.decode("latin-1")
            record["target"] = exchange.target.decode("latin-1")
            record["route"] = exchange.route_name
        self._keep_record(record | {"outcome": str(status), "refused": code})

    def _keep_record(self, record: dict[str, Any]) -> None:
        if len(self.access) >= ACCESS_LIMIT:
            self.access_dropped += 1
        else:
            self.access.append(record)

    def caught(self, error: BaseException) -> None:
        """A defect of ours: counted, shown at most once a second, and never the end of the process."""
        self.errors += 1
        now_s = time.monotonic()
        if now_s - self._last_trace_s > 1.0:
            self._last_trace_s = now_s
            sys.stderr.write(f"shadowproxy worker {self.slot}: {''.join(traceback.format_exception(error))}\n")

    # Time.

    def tick(self, now_ns: int, late_ns: int) -> None:
        """Once every TICK_NS: expire, resolve, adapt."""
        add(self._lag, late_ns)
        seconds = int(time.time())
        if seconds != self._date_s:
            self._date_s = seconds
            self.date_line = f"Date: {formatdate(seconds, usegmt=True)}\r\n".encode()
        self.deadlines.advance(now_ns)
        for tee in self.tees.values():
            tee.tick(now_ns)
        self.admissions.expire(now_ns)
        self.experiments.tick(now_ns)
        for fleet in self.fleets.values():
            fleet.expire_waiting(now_ns)
        if self.retired:
            for fleet in self.retired:
                fleet.expire_waiting(now_ns)
            self.retired = [fleet for fleet in self.retired if fleet.is_in_use]
        self.scrubber.tick(now_ns)
        # What was read beyond the budget is paid back first.
        self.shadow_read_left = min(self.shadow_read_left, 0) + READ_PER_TICK
        if self.paused_copies and self.shadow_read_left > 0:
            paused, self.paused_copies = self.paused_copies, []
            for copy in paused:
                copy.resume()

    def pause_copies(self) -> None:
        """Shadows have had their share of this tick: answers under way are read on in a later one."""
        for tee in self.tees.values():
            for copy in tee.copies:
                if copy.is_long and not copy.is_paused:
                    copy.pause()
                    self.paused_copies.append(copy)

    def kill(self) -> None:
        """Stop all mirroring and all faults under way; the shared word, set by control, keeps new ones from starting."""
        self.experiments.end("killed")
        for tee in self.tees.values():
            tee.kill()

    def report(self) -> messages.Message:
        """One tally (messages.py); the deltas begin anew."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        now_ns = time.monotonic_ns()
        mirrors: dict[str, Any] = {}
        for key, tee in self.tees.items():
            mirrors[key] = tee.tally.report(now_ns) | {
                "range": tee.scale,
                "breaker": tee.breaker.state,
                "in_flight": len(tee.copies),
                "held": self.tee_held,
            }
        report: messages.Message = {
            "type": "tally",
            "routes": {name: tally.report() for name, tally in self.route_tallies.items()},
            "mirrors": mirrors,
            "refusals": self.refusals,
            "fleets": {name: fleet.report() for name, fleet in self.fleets.items()},
            "clients": {"accepted": self.accepted, "open": len(self.clients), "requests": self.requests, "turned_away": self.turned_away},
            "process": {
                "cpu_seconds": usage.ru_utime + usage.ru_stime,
                "rss_bytes": _resident_bytes(),
                "lag_ns": self._lag,
                "errors": self.errors,
            },
            "access": self.access,
            "access_dropped": self.access_dropped,
        } | self.admissions.report()
        self.refusals = {}
        self.accepted = self.requests = self.turned_away = self.errors = self.access_dropped = 0
        self._lag = {}
        self.access = []
        return report

    def captured(self) -> Iterator[messages.Message]:
        """The pairs that were kept whole and have been admitted since the last call, a message each; they are let go."""
        now_ns = time.monotonic_ns()
        for tee in self.tees.values():
            pairs, tee.tally.captured = tee.tally.captured, []
            for pair in pairs:
                capture, pair.capture = pair.capture, None
                if capture is not None:
                    yield {"type": "captured", "pairs": [told(pair, capture, now_ns)]}
                    capture.release()


def _with_arms(mirrors: Iterable[MirrorPolicy]) -> Iterator[MirrorPolicy]:
    for mirror in mirrors:
        yield mirror
        if mirror.arm is not None:
            yield mirror.arm


def _fleets(config: Config, policy: Policy, sinks: dict[str, str]) -> Iterator[tuple[str, Fleet]]:
    """Every fleet, the sinks, and those that copies reach over connections of their own, so that they cannot take those of clients."""
    yield from config.fleets.items()
    for name, url in sinks.items():
        yield SINK_FLEET + name, Fleet(name=SINK_FLEET + name, endpoints=(url,), eject=Ejection(failures=0), header_timeout=SINK_PATIENCE)
    apart = {mirror.fleet for route in policy.routes for mirror in _with_arms(route.mirrors) if mirror.is_apart}
    for name in sorted(apart):
        yield name + APART, replace(config.fleets[name], name=name + APART)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 -- a read of 40 bytes from the kernel, four times a second
        return int(statm.read().split()[1]) * mmap.PAGESIZE
