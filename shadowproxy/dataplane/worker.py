"""A worker process: the data plane, and nothing else in its event loop.

It is given its sockets and its shared words by control, its config over the link, and reports what it has
counted four times a second. All state that connections share lives in `Worker`; one event loop, so no locks.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import mmap
import os
import random
import resource
import socket
import ssl
import sys
import time
import traceback
from collections.abc import Iterable, Iterator
from dataclasses import replace
from email.utils import formatdate
from typing import Any, Final

import uvloop

from shadowproxy.config import from_plain
from shadowproxy.config.model import Config, Fleet, Limits, Listener
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.capture import Purse, told
from shadowproxy.dataplane.deadlines import TICK_NS, Deadlines
from shadowproxy.dataplane.exchange import Exchange
from shadowproxy.dataplane.forward import FleetRuntime
from shadowproxy.dataplane.forwarded import networks
from shadowproxy.dataplane.link import Link
from shadowproxy.dataplane.outcome import name_of
from shadowproxy.dataplane.request_head import RequestHeads
from shadowproxy.dataplane.response_head import ResponseHeads
from shadowproxy.dataplane.tally import Buckets, MirrorTally, RouteTally, add
from shadowproxy.dataplane.tee import READ_PER_TICK, Copy, Tee
from shadowproxy.dataplane.tls import fingerprint, listener_context
from shadowproxy.errors import ShadowproxyError
from shadowproxy.hashspace import Weyl
from shadowproxy.policy import MirrorPolicy, Policy, compile_policy, nanoseconds

BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""

ACCESS_LIMIT: Final = 2000
"""Access log records held between two reports; more are dropped and counted."""

ABORT_ROUNDS: Final = 10
"""Rounds of the event loop until an aborted connection has been told so: one over TCP, two over TLS."""

APART: Final = ":resend"
"""What the name of a fleet ends with that only copies are sent to, beside the one that clients are served by; no config can name it so."""

STALL_NS: Final = 10**9
"""A tick this late is told to control at once."""

GC_THRESHOLDS: Final = (20_000, 20, 50)
"""Young collections every 20,000 net allocations. Requests leave no cycles, so this is for connections that come and go;
start-up objects are frozen out of it."""


class Worker:
    """What the connections of one worker share."""

    def __init__(self, slot: int, words: memoryview) -> None:
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
        """
        config = from_plain(message["config"])
        policy = compile_policy(config, int(message["generation"]))
        slots: dict[str, int] = message["slots"]
        for route in policy.routes:
            for mirror in _with_arms(route.mirrors):
                if not 0 < slots[mirror.key] < len(self.words):
                    raise KeyError(mirror.key)
        fleets: dict[str, FleetRuntime] = {}
        for name, fleet in _fleets(config, policy):
            old = self.fleets.get(name)
            fleets[name] = old if old is not None and old.config == fleet else FleetRuntime(fleet, self.deadlines, self.response_heads)
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
        self.request_heads = RequestHeads(policy.wanted, policy.touched, count_limit=limits.header_count, line_limit=limits.request_line)
        self.limits = limits
        self.config = config
        self.fleets = fleets
        self.policy = policy
        for fleet_runtime in fresh:
            fleet_runtime.start()
        for fleet_runtime in retired:
            fleet_runtime.close()
        # Legs may still wait for a connection of theirs: those have to expire too.
        self.retired = [fleet for fleet in (*self.retired, *retired) if fleet.is_in_use]

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
                "tagged": head.is_tagged,
                "trace": trace.trace_id.decode() if trace is not None else "",
            }
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
        for fleet in self.fleets.values():
            fleet.expire_waiting(now_ns)
        if self.retired:
            for fleet in self.retired:
                fleet.expire_waiting(now_ns)
            self.retired = [fleet for fleet in self.retired if fleet.is_in_use]
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
        """Stop all mirroring under way; the shared word, set by control, keeps new copies from starting."""
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
        }
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


def _fleets(config: Config, policy: Policy) -> Iterator[tuple[str, Fleet]]:
    """Every fleet, and those that copies reach over connections of their own, so that they cannot take those of clients."""
    yield from config.fleets.items()
    apart = {mirror.fleet for route in policy.routes for mirror in _with_arms(route.mirrors) if mirror.is_apart}
    for name in sorted(apart):
        yield name + APART, replace(config.fleets[name], name=name + APART)


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123 -- a read of 40 bytes from the kernel, four times a second
        return int(statm.read().split()[1]) * mmap.PAGESIZE


class WorkerProcess:
    """The process around a Worker: link, listeners, ticks, drain."""

    def __init__(self, worker: Worker, listeners: dict[str, list[socket.socket]]) -> None:
        self._worker = worker
        self._sockets = listeners
        self._servers: dict[str, list[asyncio.Server]] = {}
        self._restarts: set[asyncio.Task[None]] = set()
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._fingerprints: dict[str, tuple[bytes, ...]] = {}
        self._link: Link
        self._loop: asyncio.AbstractEventLoop
        self._next_tick_ns = 0
        self._next_report_ns = 0
        self._is_serving = False
        self._over: asyncio.Future[None]

    async def run(self, channel: socket.socket) -> None:
        """Serve until control says drain or goes away."""
        loop = self._loop = asyncio.get_running_loop()
        self._over = loop.create_future()
        loop.set_exception_handler(self._on_error)
        # Whole before the first frame can come, which may be before the connection is awaited to its end.
        self._link = Link(self._on_message, self._on_control_gone)
        self._next_tick_ns = time.monotonic_ns() + TICK_NS
        self._worker.tick(time.monotonic_ns(), 0)
        await loop.create_unix_connection(lambda: self._link, sock=channel)
        loop.call_later(TICK_NS / 1e9, self._tick)
        self._link.send({"type": "ready", "pid": os.getpid()})
        await self._over

    def _on_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """An exception nobody caught: counted, shown at most once a second, and never the end of the process."""
        self._worker.caught(context.get("exception") or RuntimeError(context.get("message")))

    def _tick(self) -> None:
        now_ns = time.monotonic_ns()
        late_ns = now_ns - self._next_tick_ns
        try:
            self._worker.tick(now_ns, max(late_ns, 0))
        except Exception as error:  # noqa: BLE001 -- counted and shown; a worker without ticks has no timeouts and no tallies
            self._worker.caught(error)
        if late_ns > STALL_NS:
            self._link.send({"type": "stalled", "seconds": late_ns / 1e9})
        if now_ns >= self._next_report_ns:
            self._next_report_ns = now_ns + nanoseconds(messages.REPORT_S)
            self._report()
        self._next_tick_ns = max(self._next_tick_ns + TICK_NS, now_ns)
        self._loop.call_later(max(self._next_tick_ns - now_ns, 0) / 1e9, self._tick)

    def _report(self) -> None:
        if self._is_serving and not self._link.is_backed_up:
            self._link.send(self._worker.report())
            try:
                for message in self._worker.captured():
                    self._link.send(message)
            except Exception as error:  # noqa: BLE001 -- a pair that cannot be told costs itself; without ticks the worker has no timeouts
                self._worker.caught(error)

    def _on_message(self, message: messages.Message) -> None:
        kind = message["type"]
        if kind == "policy":
            self._apply(message)
        elif kind == "kill":
            self._worker.words[messages.KILL_WORD] = 1
            self._worker.kill()
            self._link.send({"type": "done", "id": message["id"]})
        elif kind == "resume":
            # The word is control's to clear: a late resume must not undo the kill that came after it.
            self._link.send({"type": "done", "id": message["id"]})
        elif kind == "drain":
            self._begin_drain(float(message["seconds"]))
        elif kind == "rotate":
            self._rotate()

    def _apply(self, message: messages.Message) -> None:
        generation = int(message["generation"])
        try:
            # Read before anything is replaced: a certificate that cannot be used refuses the whole policy.
            certificates = self._read_certificates(from_plain(message["config"]))
            self._worker.configure(message)
            self._replace_certificates(*certificates)
        except (ShadowproxyError, OSError, KeyError, ValueError) as error:
            self._link.send({"type": "refused", "generation": generation, "problem": str(error)})
            return
        if not self._is_serving:
            self._is_serving = True
            self._loop.create_task(self._listen(generation)).add_done_callback(self._on_listening)
        else:
            self._link.send({"type": "applied", "generation": generation})

    def _rotate(self) -> None:
        """Read TLS files again: handshakes from now on show what they say, connections that are open stay."""
        try:
            certificates = self._read_certificates(self._worker.config)
            for fleet in self._worker.fleets.values():
                fleet.read_tls()
        except OSError as error:
            # Of a generation that is applied already: control knows that a rotation failed, and that the old files stay.
            self._link.send({"type": "refused", "generation": self._worker.policy.generation, "problem": str(error)})
            return
        self._replace_certificates(*certificates)

    def _read_certificates(self, config: Config) -> tuple[dict[str, ssl.SSLContext], dict[str, tuple[bytes, ...]]]:
        """Contexts and fingerprints by listener.

        Raises:
            OSError: a file cannot be used.
        """
        contexts: dict[str, ssl.SSLContext] = {}
        fingerprints: dict[str, tuple[bytes, ...]] = {}
        for listener in config.listen:
            name = listener.name
            if listener.tls is None or name not in self._sockets:
                continue
            fingerprints[name] = found = fingerprint(listener.tls)
            is_new = found != self._fingerprints.get(name)
            contexts[name] = listener_context(listener.tls) if is_new else self._contexts[name]
        return contexts, fingerprints

    def _replace_certificates(self, contexts: dict[str, ssl.SSLContext], fingerprints: dict[str, tuple[bytes, ...]]) -> None:
        """Let listeners take new contexts. A listener's queue outlives its server, so no client notices."""
        changed = [
            listener for listener in self._worker.config.listen if contexts.get(listener.name) is not self._contexts.get(listener.name)
        ]
        self._contexts = contexts
        self._fingerprints = fingerprints
        if self._is_serving and not self._worker.is_draining:
            for listener in changed:
                for server in self._servers.pop(listener.name, ()):
                    server.close()
                task = self._loop.create_task(self._serve(listener))
                self._restarts.add(task)
                task.add_done_callback(self._on_listening)
                task.add_done_callback(self._restarts.discard)

    async def _listen(self, generation: int) -> None:
        for listener in self._worker.config.listen:
            await self._serve(listener)
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
        self._link.send({"type": "applied", "generation": generation})

    def _on_listening(self, task: asyncio.Task[None]) -> None:
        """A worker that cannot listen is of no use: control sees it end and starts another."""
        error = task.exception()
        if error is not None:
            self._on_error(self._loop, {"exception": error})
            self._finish()

    async def _serve(self, listener: Listener) -> None:
        worker = self._worker
        trusted = networks(listener.trusted_proxies)
        name = listener.name
        context = self._contexts.get(name)
        servers = self._servers.setdefault(name, [])
        for sock in self._sockets.get(name, ()):
            server = await self._loop.create_server(
                lambda: ClientConnection(worker, name, trusted),  # type: ignore[arg-type,return-value]  # a protocol by its methods
                # A server closes its socket; the queue of clients behind it is kept by ours.
                sock=sock.dup(),
                backlog=BACKLOG,
                ssl=context,
                ssl_handshake_timeout=worker.limits.header_timeout if context is not None else None,
            )
            servers.append(server)

    def _begin_drain(self, seconds: float) -> None:
        worker = self._worker
        if worker.is_draining:
            return
        worker.is_draining = True
        for servers in self._servers.values():
            for server in servers:
                server.close()
        for client in list(worker.clients):
            client.drain()
        self._loop.create_task(self._drain(seconds)).add_done_callback(lambda _: self._finish())

    def _finish(self) -> None:
        if not self._over.done():
            self._over.set_result(None)

    async def _drain(self, seconds: float) -> None:
        """Wait for requests and copies in flight, bounded; report what is left."""
        end = self._loop.time() + seconds
        worker = self._worker
        while self._loop.time() < end and (worker.clients or any(tee.copies for tee in worker.tees.values())):  # noqa: ASYNC110  once a life; no event on every end
            await asyncio.sleep(0.02)
        for client in list(worker.clients):
            client.transport.abort()
        worker.kill()
        for _ in range(ABORT_ROUNDS):
            await asyncio.sleep(0)
            if not worker.clients:
                break
        for tee in worker.tees.values():
            tee.tally.expire(time.monotonic_ns())
        self._report()
        await asyncio.sleep(0.01)

    def _on_control_gone(self) -> None:
        self._worker.words[messages.KILL_WORD] = 1
        self._worker.kill()
        self._begin_drain(self._worker.limits.drain_timeout if self._is_serving else 0.0)


def main(arguments: list[str] | None = None) -> int:
    """Run one worker; control passes the file descriptors (see messages.py).

    Returns:
        0 after a drain.
    """
    parser = argparse.ArgumentParser(prog="shadowproxy.dataplane.worker")
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    parser.add_argument("--words", type=int, required=True, metavar="FD")
    parser.add_argument("--slot", type=int, required=True)
    parser.add_argument("--listener", action="append", default=[], metavar="NAME=FD")
    options = parser.parse_args(arguments)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    words = memoryview(mmap.mmap(options.words, messages.WORDS * 8)).cast("Q")
    listeners: dict[str, list[socket.socket]] = {}
    for text in options.listener:
        name, _, fd = text.rpartition("=")
        listeners.setdefault(name, []).append(socket.socket(fileno=int(fd)))
    process = WorkerProcess(Worker(options.slot, words), listeners)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(process.run(socket.socket(fileno=options.channel)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
