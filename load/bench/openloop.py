"""Open-loop load: requests leave on a schedule, whatever the answers do.

A latency counts from the moment a request was *due*, so that a proxy that stalls is charged for
every request that had to wait behind the stall (no coordinated omission). Due times come from a
kernel timer (timerfd), because the event loop's own timers have a grain of a millisecond.
Connections are kept alive and used in turn: each carries a second, third, ... request.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import os
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from itertools import cycle
from typing import TYPE_CHECKING, Final, cast

import httptools
import uvloop

from load.bench.latencies import Latencies
from load.bench.processes import BenchError

if TYPE_CHECKING:
    from load.bench.scenarios import Scenario

CLOCK_MONOTONIC: Final = 1
TFD_FLAGS: Final = os.O_NONBLOCK | os.O_CLOEXEC
TFD_TIMER_ABSTIME: Final = 1
GRACE_S: Final = 3.0
"""How long answers may take after the last request was due; then they count as unanswered."""

LATE_US: Final = 5000.0
"""Lateness of the generator's p99 from which a sample says nothing."""

LATE: Final = "the load generator was late: the machine is busy with something else"

_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class _Schedule(ctypes.Structure):
    _fields_ = (("interval", _Timespec), ("first", _Timespec))


def periodic_timer(first_ns: int, interval_ns: int) -> int:
    """A descriptor that becomes readable at `first_ns` of the monotonic clock and every interval after.

    Raises:
        BenchError: the kernel refuses.
    """
    descriptor: int = _libc.timerfd_create(CLOCK_MONOTONIC, TFD_FLAGS)
    schedule = _Schedule(_Timespec(*divmod(interval_ns, 10**9)), _Timespec(*divmod(first_ns, 10**9)))
    if descriptor < 0 or _libc.timerfd_settime(descriptor, TFD_TIMER_ABSTIME, ctypes.byref(schedule), None):
        raise BenchError(f"timerfd: {os.strerror(ctypes.get_errno())}")
    return descriptor


@dataclass(frozen=True, slots=True)
class Load:
    """What to send.

    Args:
        port: of 127.0.0.1.
        request: the whole request, head and body; or several, which are sent in turn.
        answer: bytes that every answer's body must have.
        rate: requests a second.
        seconds: for how long requests are due.
        connections: at most one request each at a time.
        warm_up_s: how long the same load runs before it is measured.
    """

    port: int
    request: bytes | tuple[bytes, ...]
    answer: int
    rate: int
    seconds: float
    connections: int = 64
    warm_up_s: float = 0.5


@dataclass(slots=True)
class Sample:
    """What came of it. `lateness` is the generator's own: from due to the callback that sends."""

    due: int = 0
    answered: int = 0
    latencies: Latencies = field(default_factory=Latencies)
    lateness: Latencies = field(default_factory=Latencies)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def is_late(self) -> bool:
        """Whether the generator itself was held up: then the latencies are not the proxy's."""
        return self.lateness.total > 0 and self.lateness.quantile_us(0.99) > LATE_US


class _Connection(asyncio.Protocol):
    """One kept-alive connection, at most one request at a time."""

    def __init__(self, generator: _Generator) -> None:
        self._generator = generator
        self._due_ns = 0
        self._length = 0
        self.is_open = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        self._parser = httptools.HttpResponseParser(self)
        self.is_open = True
        self._generator.release(self)

    def send(self, due_ns: int) -> None:
        self._due_ns = due_ns
        self.transport.write(next(self._generator.requests))

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._fail("malformed")

    def on_message_begin(self) -> None:
        self._length = 0

    def on_body(self, body: bytes) -> None:
        self._length += len(body)

    def on_message_complete(self) -> None:
        if not self._due_ns:
            self._generator.sample.errors["unasked"] += 1
            self.transport.abort()
            return
        due_ns, self._due_ns = self._due_ns, 0
        status = self._parser.get_status_code()
        problem = "" if status == 200 else f"status {status}"
        if not problem and self._length != self._generator.load.answer:
            problem = "length"
        self._generator.ended(due_ns, problem)
        if not self._parser.should_keep_alive():
            self._generator.sample.errors["connection closed"] += bool(not problem and self._generator.is_measuring(due_ns))
            self.transport.close()
        elif self.is_open:
            self._generator.release(self)

    def _fail(self, problem: str) -> None:
        due_ns, self._due_ns = self._due_ns, 0
        if due_ns:
            self._generator.ended(due_ns, problem)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self.is_open = False
        if self._due_ns:
            due_ns, self._due_ns = self._due_ns, 0
            self._generator.ended(due_ns, "reset" if exc else "closed")
        self._generator.lost()

    def give_up(self) -> None:
        if self._due_ns:
            self._fail("unanswered")
        else:
            self.transport.close()


class _Generator:
    """The schedule, the idle connections and the requests that wait for one."""

    def __init__(self, load: Load) -> None:
        self.load = load
        self.sample = Sample()
        self.requests = cycle((load.request,) if isinstance(load.request, bytes) else load.request)
        self._idle: deque[_Connection] = deque()
        self._waiting: deque[int] = deque()
        self._connections: set[_Connection] = set()
        self._reconnecting: set[asyncio.Task[None]] = set()
        self._is_over = False

    def is_measuring(self, due_ns: int) -> bool:
        """Whether a request due then is past the warm-up."""
        return due_ns >= self._measured_from_ns

    def release(self, connection: _Connection) -> None:
        """A connection is free."""
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def ended(self, due_ns: int, problem: str) -> None:
        """A request has its answer, or never will."""
        if not self.is_measuring(due_ns):
            return
        self.sample.latencies.add(time.monotonic_ns() - due_ns)
        if problem:
            self.sample.errors[problem] += 1
        else:
            self.sample.answered += 1

    def lost(self) -> None:
        """Replace a connection that ended during the run."""
        if not self._is_over:
            task = asyncio.get_running_loop().create_task(self._connect())
            self._reconnecting.add(task)
            task.add_done_callback(self._reconnecting.discard)

    async def _connect(self) -> None:
        connection = _Connection(self)
        try:
            await asyncio.get_running_loop().create_connection(lambda: connection, "127.0.0.1", self.load.port)
        except OSError:
            self.sample.errors["connect"] += 1
            await asyncio.sleep(0.05)
            self.lost()
        else:
            self._connections.add(connection)

    def _on_timer(self) -> None:
        expirations = int.from_bytes(os.read(self._timer, 8), "little")
        now_ns = time.monotonic_ns()
        for _ in range(expirations):
            if self._sent >= self._planned:
                self._schedule_is_over.set()
                return
            due_ns = self._start_ns + self._sent * self._interval_ns
            self._sent += 1
            if due_ns >= self._measured_from_ns:
                self.sample.due += 1
                self.sample.lateness.add(now_ns - due_ns)
            self._dispatch(due_ns)

    def _dispatch(self, due_ns: int) -> None:
        while self._idle:
            connection = self._idle.popleft()
            if connection.is_open:
                connection.send(due_ns)
                return
        self._waiting.append(due_ns)

    async def run(self) -> Sample:
        """Connect, send on schedule, wait for the last answers."""
        load = self.load
        loop = asyncio.get_running_loop()
        self._measured_from_ns = 0
        for _ in range(load.connections):
            await self._connect()
        self._interval_ns = 10**9 // load.rate
        self._planned = int((load.warm_up_s + load.seconds) * load.rate)
        self._sent = 0
        self._start_ns = time.monotonic_ns() + 20_000_000
        self._measured_from_ns = self._start_ns + int(load.warm_up_s * 1e9)
        self._schedule_is_over = asyncio.Event()
        self._timer = periodic_timer(self._start_ns, self._interval_ns)
        loop.add_reader(self._timer, self._on_timer)
        try:
            await self._schedule_is_over.wait()
        finally:
            loop.remove_reader(self._timer)
            os.close(self._timer)
        await self._finish()
        return self.sample

    async def _finish(self) -> None:
        deadline_ns = time.monotonic_ns() + int(GRACE_S * 1e9)
        # Polled: an event would cost a comparison per answer while it is measured.
        while self.sample.latencies.total < self.sample.due and time.monotonic_ns() < deadline_ns:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
        self._is_over = True
        for task in self._reconnecting:
            task.cancel()
        for due_ns in self._waiting:
            self.ended(due_ns, "unanswered")
        self._waiting.clear()
        for connection in self._connections:
            if connection.is_open:
                connection.give_up()
        await asyncio.sleep(0.05)


def request_of(scenario: Scenario, headers: tuple[tuple[str, str], ...], path: str = "") -> bytes:
    """The bytes of a scenario's request, to its own path or another."""
    lines = [f"{scenario.method} {path or scenario.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers)]
    if scenario.upload:
        lines.append(f"Content-Length: {scenario.upload}")
    return "\r\n".join([*lines, "", ""]).encode() + b"x" * scenario.upload


def run(load: Load) -> Sample:
    """Send a load from this process and return what came of it.

    The collector is off meanwhile: its pauses would be charged to the proxy.

    Raises:
        BenchError: the kernel has no timers to give.
    """
    gc.collect()
    gc.disable()
    try:
        return uvloop.run(_Generator(load).run())
    finally:
        gc.enable()
