"""The process around a Worker: its link to control, its listeners, its ticks and its end."""

from __future__ import annotations

import argparse
import asyncio
import gc
import mmap
import os
import resource
import socket
import ssl
import sys
import time
from typing import Any, Final

import uvloop

from shadowproxy.config import from_plain
from shadowproxy.config.model import Config, Listener
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.deadlines import TICK_NS
from shadowproxy.dataplane.forwarded import networks
from shadowproxy.dataplane.link import Link
from shadowproxy.dataplane.tls import fingerprint, listener_context
from shadowproxy.dataplane.worker import Worker
from shadowproxy.errors import ShadowproxyError
from shadowproxy.policy import nanoseconds

BACKLOG: Final = 4096
"""Connections that may wait to be accepted; the kernel caps it at net.core.somaxconn."""

ABORT_ROUNDS: Final = 10
"""Rounds of the event loop until an aborted connection has been told so: one over TCP, two over TLS."""

STALL_NS: Final = 10**9
"""A tick this late is told to control at once."""

GC_THRESHOLDS: Final = (20_000, 20, 50)
"""Young collections every 20,000 net allocations. Requests leave no cycles, so this is for connections that come and go;
start-up objects are frozen out of it."""


class WorkerProcess:
    """Link, listeners, ticks, drain."""

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
        self._worker.send = self._link.send
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
            self._worker.admissions.flush_statuses()
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
        elif kind == "experiments":
            self._arrange(message)
        elif kind == "recent":
            self._worker.look_backs.set_aside(message)
        elif kind == "look_back":
            self._worker.look_backs.begin(message)
        elif kind == "ledger_done":
            self._worker.admissions.on_ledger_done(message)
        elif kind == "nonces_done":
            self._worker.admissions.on_nonces_done(message)

    def _arrange(self, message: messages.Message) -> None:
        try:
            self._worker.arrange(message)
        except (ShadowproxyError, KeyError, ValueError) as error:
            # What cannot be armed is not: control hears of no exposure, and sees this in the log.
            self._worker.caught(error)

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
        self._worker.experiments.tell()
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
    parser = argparse.ArgumentParser(prog="shadowproxy.dataplane.process")
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    parser.add_argument("--words", type=int, required=True, metavar="FD")
    parser.add_argument("--traces", type=int, metavar="FD")
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
    traces = memoryview(mmap.mmap(options.traces, messages.TRACES_BYTES)) if options.traces is not None else None
    process = WorkerProcess(Worker(options.slot, words, traces), listeners)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(process.run(socket.socket(fileno=options.channel)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
