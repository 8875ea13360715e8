"""The process of the sinks, as control sees it: started, told the config, replaced when it dies, asked, and counted.

Control owns one listening loopback socket a sink and lends it out, so that a sink keeps its address and what waits in its queue
while the process is replaced. Without sinks in the config there is no process.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import socket
import subprocess
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config import to_plain
from shadowproxy.control.channel import Channel
from shadowproxy.errors import ControlError, StateError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from shadowproxy.config.model import Config
    from shadowproxy.dataplane.messages import Message

_log = logging.getLogger("shadowproxy.control")

COMMAND: Final = (sys.executable, "-m", "shadowproxy.sinks.server")
HOST: Final = "127.0.0.1"
BACKLOG: Final = 4096

TICK_S: Final = 0.5
SILENCE_TICKS: Final = 20
"""Ticks without a word after which the process is replaced (10 s): it reports every second."""

CRASH_WINDOW_S: Final = 10.0
CRASHES_ALLOWED: Final = 5
RESPAWN_FIRST_S: Final = 0.5
RESPAWN_LIMIT_S: Final = 5.0

ASK_PATIENCE_S: Final = 5.0
"""How long a question may take."""

END_PATIENCE_S: Final = 5.0
"""How long the process may take to end when told to."""


@dataclass(slots=True)
class SinkCounts:
    """What one sink has done since control started, and what it keeps now."""

    requests: Counter[str] = field(default_factory=Counter)
    items: int = 0
    bytes: int = 0
    evicted: int = 0
    in_flight: int = 0
    problem: str = ""


@dataclass(eq=False, slots=True)
class Running:
    """One process: its end of the channel, and which sockets it has."""

    process: subprocess.Popen[bytes]
    channel: Channel
    lending: socket.socket
    given: set[str]
    silent_ticks: int = 0


class SinkHouse:
    """Keeps the process of the sinks.

    Args:
        state: the file where sinks keep things.
        command: the program and its first arguments.
    """

    def __init__(self, state: Path, command: Sequence[str] = COMMAND) -> None:
        self.counts: dict[str, SinkCounts] = {}
        self.restarts = 0
        self.problem = ""
        self._state = state
        self._command = command
        self._config: Config | None = None
        self._sockets: dict[str, socket.socket] = {}
        self._running: Running | None = None
        self._deaths: deque[float] = deque(maxlen=CRASHES_ALLOWED + 1)
        self._delay = 0.0
        self._asked: dict[int, asyncio.Future[Any]] = {}
        self._numbers = itertools.count(1)
        self._is_ending = False
        self._tasks: set[asyncio.Task[None]] = set()

    def __repr__(self) -> str:
        return f"<SinkHouse pid={self.pid} {sorted(self._sockets)}>"

    @property
    def pid(self) -> int:
        """The process; 0 when there is none."""
        return self._running.process.pid if self._running else 0

    @property
    def addresses(self) -> dict[str, str]:
        """The URL of each sink."""
        return {name: f"http://{HOST}:{one.getsockname()[1]}" for name, one in self._sockets.items()}

    def tell(self, config: Config) -> Message:
        """What workers must know with `config`: where its sinks are. Binds a socket for each that has none.

        Raises:
            ControlError: no socket can be had.
        """
        for name in config.sinks:
            if name not in self._sockets:
                self._sockets[name] = _bound(name)
        return {"sinks": {name: url for name, url in self.addresses.items() if name in config.sinks}}

    def follow(self, config: Config) -> None:
        """Put `config` in force. Never blocks; a sink that is new answers what has queued up when it gets there.

        Raises:
            ControlError: no socket can be had.
        """
        self.tell(config)
        self._config = config
        self.counts = {name: self.counts.get(name, SinkCounts()) for name in config.sinks}
        if config.sinks and self._running is None and not self._is_ending:
            if not self._tasks:
                self._spawn_task(self._watch_silence())
            self._start()
        elif self._running is not None:
            self._send_config(self._running)
        for name in [name for name in self._sockets if name not in config.sinks]:
            self._sockets.pop(name).close()

    async def ask(self, kind: str, sink: str, **more: Any) -> Any:
        """The answer to `items`, `tenants` or `reset` (see `sinks.server`).

        Raises:
            StateError: the process does not answer, or what it keeps cannot be read.
        """
        running = self._running
        if running is None:
            raise StateError("the sinks do not run at the moment")
        number = next(self._numbers)
        answer = self._asked[number] = asyncio.get_running_loop().create_future()
        running.channel.send({"type": kind, "id": number, "sink": sink, **more})
        try:
            async with asyncio.timeout(ASK_PATIENCE_S):
                return await answer
        except TimeoutError:
            raise StateError(f"the sinks have not answered in {ASK_PATIENCE_S:g} s") from None
        finally:
            self._asked.pop(number, None)

    async def end(self) -> None:
        """Let the process finish what is in flight, and end it. Idempotent."""
        self._is_ending = True
        running = self._running
        if running is not None:
            running.channel.send({"type": "drain"})
            await _reaped(running.process, END_PATIENCE_S)
            await asyncio.sleep(0)  # its last report may lie in the socket
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if running is not None:
            running.channel.close()
            running.lending.close()
        self._running = None
        for one in self._sockets.values():
            one.close()
        self._sockets.clear()

    # -- the process

    def _start(self) -> None:
        if self._is_ending or self._running is not None or not self._sockets:
            return
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        lending, lent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        lending.setblocking(False)
        lenders = {name: one.fileno() for name, one in self._sockets.items()}
        arguments = [*self._command, "--channel", str(theirs.fileno()), "--lent", str(lent.fileno()), "--state", str(self._state)]
        for name, descriptor in lenders.items():
            arguments += ["--listener", f"{name}={descriptor}"]
        try:
            process = subprocess.Popen(  # noqa: S603  our own program, no shell
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=2,  # stdout belongs to the access log
                pass_fds=(theirs.fileno(), lent.fileno(), *lenders.values()),
                process_group=0,  # Ctrl-C at a terminal reaches control alone
            )
        except OSError as error:
            self.problem = f"cannot be started: {error.strerror}"
            _log.error("the sinks %s", self.problem)
            ours.close()
            lending.close()
            self._respawn()
            return
        finally:
            theirs.close()
            lent.close()
        running = Running(
            process, Channel(ours, lambda message: self._receive(running, message), lambda _: self._ended(running)), lending, set(lenders)
        )
        self._running = running
        self._send_config(running)

    def _send_config(self, running: Running) -> None:
        assert self._config is not None
        for name, one in self._sockets.items():
            if name in self._config.sinks and name not in running.given:
                with contextlib.suppress(OSError):  # it has ended: its successor gets them all
                    socket.send_fds(running.lending, [name.encode()], [one.fileno()])
                    running.given.add(name)
        running.given &= set(self._config.sinks)
        running.channel.send({"type": "config", "config": to_plain(self._config)})

    def _receive(self, running: Running, message: Message) -> None:
        running.silent_ticks = 0
        try:
            self._read(message)
        except (KeyError, TypeError, ValueError, AttributeError):
            _log.exception("the sinks (pid %d) sent a message that cannot be read", running.process.pid)

    def _read(self, message: Message) -> None:
        match message["type"]:
            case "counts":
                self.problem = message["problem"]
                for name, counted in message["sinks"].items():
                    if name in self.counts:
                        _add(self.counts[name], counted)
            case "applied":
                for name, counts in self.counts.items():
                    counts.problem = message["problems"].get(name, "")
            case "refused":
                self.problem = message["problem"]
                _log.error("the sinks refused the config: %s", self.problem)
            case "answer":
                self._settle(message["id"], message["value"], message["problem"])
            case other:
                raise ValueError(f"unknown type {other!r}")

    def _settle(self, number: int, value: Any, problem: str) -> None:
        answer = self._asked.get(number)
        if answer is None or answer.done():
            return
        if problem:
            answer.set_exception(StateError(problem))
        else:
            answer.set_result(value)

    def _ended(self, running: Running) -> None:
        running.lending.close()
        if self._running is running:
            self._running = None
        for number in list(self._asked):
            self._settle(number, None, "the sinks have ended")
        for counts in self.counts.values():
            counts.in_flight = 0
        if not self._is_ending:
            self._spawn_task(self._replace(running))

    async def _replace(self, running: Running) -> None:
        status = await _reaped(running.process, 1.0)
        ending = f"were ended by signal {-status}" if status < 0 else f"exited with status {status}"
        _log.error("the sinks (pid %d) %s", running.process.pid, ending)
        self._respawn()

    def _respawn(self) -> None:
        now = time.monotonic()
        self.restarts += 1
        self._deaths.append(now)
        if sum(now - death < CRASH_WINDOW_S for death in self._deaths) > CRASHES_ALLOWED:
            self._delay = min(RESPAWN_LIMIT_S, self._delay * 2 or RESPAWN_FIRST_S)
            _log.critical(
                "the sinks died more than %d times within %g s: next attempt in %g s", CRASHES_ALLOWED, CRASH_WINDOW_S, self._delay
            )
        else:
            self._delay = 0.0
        asyncio.get_running_loop().call_later(self._delay, self._start)

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            running = self._running
            if running is not None:
                running.silent_ticks += 1
                if running.silent_ticks == SILENCE_TICKS:
                    _log.critical(
                        "the sinks (pid %d) have said nothing for %g s: replacing them", running.process.pid, SILENCE_TICKS * TICK_S
                    )
                    running.process.kill()

    def _spawn_task(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _add(counts: SinkCounts, counted: dict[str, Any]) -> None:
    counts.requests.update({str(status): int(count) for status, count in counted["requests"].items()})
    counts.evicted += int(counted["evicted"])
    counts.items, counts.bytes, counts.in_flight = int(counted["items"]), int(counted["bytes"]), int(counted["in_flight"])


async def _reaped(process: subprocess.Popen[bytes], patience_s: float) -> int:
    """Wait for a process to end, killing it after `patience_s`, and return its exit status (negative: a signal)."""
    deadline = time.monotonic() + patience_s
    while (status := process.poll()) is None:
        if time.monotonic() >= deadline:
            process.kill()
            deadline = float("inf")
        await asyncio.sleep(0.005)
    return status


def _bound(name: str) -> socket.socket:
    try:
        opened = socket.create_server((HOST, 0), backlog=BACKLOG)
    except OSError as error:
        raise ControlError(f"sink {name}: cannot listen on {HOST}: {error.strerror}") from None
    opened.setblocking(False)
    return opened
