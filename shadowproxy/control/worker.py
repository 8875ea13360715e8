"""One worker process as control sees it.

A worker is STARTING until it has applied its first policy, then READY; DRAINING once it
was told to finish; GONE when its process has been reaped. What it had still to say is
read before that, and its shared words are read after it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import mmap
import os
import socket
import subprocess
import time
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shadowproxy.control.channel import Channel
from shadowproxy.dataplane.messages import KILL_WORD, WORDS, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from shadowproxy.control.counts import Account

_log = logging.getLogger("shadowproxy.control")

WORD_BYTES: Final = 8

QUIET_TICKS: Final = 4
"""Ticks of the crew's clock without a word after which a worker no longer counts as ready (2 s)."""

EXIT_PATIENCE_S: Final = 1.0
"""How long a process may outlive its channel before it is killed."""


class State(StrEnum):
    """Where a worker is in its life; it only moves forward."""

    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"
    GONE = "gone"


_NEXT: Final = {
    State.STARTING: {State.READY, State.DRAINING, State.GONE},
    State.READY: {State.DRAINING, State.GONE},
    State.DRAINING: {State.GONE},
    State.GONE: set(),
}


class Worker:
    """A running worker process, its channel and its shared words.

    Args:
        command: the program and its first arguments; the file descriptors are appended.
        slot: its place in the crew, from 0.
        listeners: (name, file descriptor) of each socket it accepts from.
        account: where its tallies are counted.
        traces_fd: the memory of tagged traces that all workers share; stays the caller's.
        on_message: called with the worker and each message but `done`.
        on_end: called once, when the channel has ended, with the reason or "".

    Raises:
        OSError: the process cannot be started.
    """

    def __init__(
        self,
        command: Sequence[str],
        slot: int,
        listeners: Sequence[tuple[str, int]],
        account: Account,
        traces_fd: int,
        *,
        on_message: Callable[[Worker, Message], None],
        on_end: Callable[[Worker, str], None],
    ) -> None:
        self.slot = slot
        self.account = account
        self.state = State.STARTING
        self.generation = 0
        self.started = time.monotonic()
        self.silent_ticks = 0
        self.has_ended = False
        self._on_message = on_message
        self._on_end = on_end
        self._awaited: dict[int, asyncio.Future[None]] = {}
        self._memory = SharedMemory("shadowproxy-words", WORDS * WORD_BYTES)
        self.words = memoryview(self._memory.map).cast("Q")
        words_fd = self._memory.descriptor
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._process = _spawn(
                [*command, "--slot", str(slot)], {"channel": theirs.fileno(), "words": words_fd, "traces": traces_fd}, listeners
            )
        except OSError:
            ours.close()
            self._release_words()
            raise
        finally:
            theirs.close()
        self.pid = self._process.pid
        self._channel = Channel(ours, self._receive, self._ended)

    def __repr__(self) -> str:
        return f"<Worker slot={self.slot} pid={self.pid} {self.state} generation={self.generation}>"

    @property
    def is_alive(self) -> bool:
        """Whether its process has not been reaped yet."""
        return self.state is not State.GONE

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard of it for QUIET_TICKS ticks."""
        return self.silent_ticks >= QUIET_TICKS

    def become(self, state: State) -> None:
        """Move on to `state`."""
        assert state in _NEXT[self.state], f"{self!r} cannot become {state}"
        self.state = state

    def send(self, message: Message) -> None:
        """Send one message. Never blocks."""
        self._channel.send(message)

    def send_frame(self, frame: bytes) -> None:
        """Send one message that has been encoded already. Never blocks."""
        self._channel.send_frame(frame)

    def set_switch(self, *, is_killed: bool) -> None:
        """Set or clear the kill switch in the worker's memory. Takes effect before the worker's next copy."""
        self.words[KILL_WORD] = 1 if is_killed else 0

    def order(self, message: Message) -> asyncio.Future[None]:
        """Send `kill` or `resume`, and return what is done when the worker confirms it or ends."""
        confirmed = asyncio.get_running_loop().create_future()
        if self.is_alive:
            self._awaited[message["id"]] = confirmed
            self.send(message)
        else:
            confirmed.set_result(None)
        return confirmed

    def forget(self, order: int) -> None:
        """Stop waiting for the confirmation of `order`."""
        self._awaited.pop(order, None)

    def end_now(self) -> None:
        """SIGKILL. Works on a stopped process too."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    async def reap(self) -> int:
        """Wait for the process to end, killing it after EXIT_PATIENCE_S, and return its exit status (negative: a signal)."""
        deadline = time.monotonic() + EXIT_PATIENCE_S
        while (status := self._process.poll()) is None:
            if time.monotonic() >= deadline:
                self.end_now()
                deadline = float("inf")
            await asyncio.sleep(0.005)
        return status

    def close(self) -> None:
        """Let go of everything; the process has been reaped."""
        self.become(State.GONE)
        self._channel.close()
        self._release_words()

    def _receive(self, message: Message) -> None:
        self.silent_ticks = 0
        if message["type"] == "done":
            confirmed = self._awaited.pop(message.get("id", -1), None)
            if confirmed is not None and not confirmed.done():
                confirmed.set_result(None)
            return
        self._on_message(self, message)

    def _ended(self, problem: str) -> None:
        self.has_ended = True
        for confirmed in self._awaited.values():
            if not confirmed.done():
                confirmed.set_result(None)
        self._awaited.clear()
        if problem:
            _log.error("worker %d (pid %d): %s", self.slot, self.pid, problem)
        self._on_end(self, problem)

    def _release_words(self) -> None:
        self.words.release()
        self._memory.close()


class SharedMemory:
    """Zeroed memory with a file descriptor to hand to workers.

    Args:
        name: what it is called in /proc.
        size: bytes.
    """

    def __init__(self, name: str, size: int) -> None:
        self.descriptor = os.memfd_create(name, os.MFD_CLOEXEC)
        os.ftruncate(self.descriptor, size)
        self.map = mmap.mmap(self.descriptor, size)

    def close(self) -> None:
        """Let go of it; workers keep theirs."""
        self.map.close()
        os.close(self.descriptor)


def _spawn(command: Sequence[str], descriptors: Mapping[str, int], listeners: Sequence[tuple[str, int]]) -> subprocess.Popen[bytes]:
    arguments = list(command)
    for name, descriptor in descriptors.items():
        arguments += [f"--{name}", str(descriptor)]
    for name, descriptor in listeners:
        arguments += ["--listener", f"{name}={descriptor}"]
    return subprocess.Popen(  # noqa: S603 our own program, no shell
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=2,  # stdout belongs to the access log
        pass_fds=(*descriptors.values(), *(descriptor for _, descriptor in listeners)),
        process_group=0,  # Ctrl-C at a terminal reaches control alone, which then drains the workers
    )
