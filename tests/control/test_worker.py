"""One worker process: its life, its words, its end."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from shadowproxy.control.counts import Counts
from shadowproxy.control.worker import State, Worker
from tests.control.conftest import FAKE, until
from tests.kit.process import is_alive

if TYPE_CHECKING:
    from shadowproxy.dataplane.messages import Message


class Heard:
    """What a worker said."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.ends: list[str] = []

    def start(self, mode: str = "good") -> Worker:
        """Start a fake worker."""
        return Worker(
            (sys.executable, str(FAKE), mode), 0, [], Counts().open(0), sys.stderr.fileno(),
            on_message=lambda _, message: self.messages.append(message), on_end=lambda _, problem: self.ends.append(problem),
        )  # fmt: skip


async def test_a_life() -> None:
    """Ready, drained, reaped; its last report comes before its end, and its words are read after."""
    heard = Heard()
    worker = heard.start()
    worker.send({"type": "policy", "generation": 1, "slots": {"a/b": 4}})
    await until(lambda: any(m["type"] == "applied" for m in heard.messages), "applied")
    worker.become(State.READY)
    confirmed = worker.order({"type": "kill", "id": 1})
    await confirmed
    worker.become(State.DRAINING)
    worker.send({"type": "drain", "seconds": 1.0})
    await until(lambda: bool(heard.ends), "the end")
    assert heard.messages[-1]["type"] == "tally"
    assert await worker.reap() == 0
    assert worker.words[4] == 5
    pid = worker.pid
    worker.close()
    assert not worker.is_alive
    assert not is_alive(pid)


async def test_the_switch_is_seen_without_a_message() -> None:
    """The kill word is shared memory: it holds even while the worker is stopped."""
    heard = Heard()
    worker = heard.start()
    os.kill(worker.pid, signal.SIGSTOP)
    worker.set_switch(is_killed=True)
    assert worker.words[0] == 1
    worker.set_switch(is_killed=False)
    assert worker.words[0] == 0
    worker.end_now()
    assert await worker.reap() == -signal.SIGKILL
    worker.close()


async def test_a_process_that_outlives_its_channel_is_killed() -> None:
    """Reaping does not wait for ever."""
    heard = Heard()
    worker = heard.start("stubborn")
    os.kill(worker.pid, signal.SIGSTOP)
    assert await worker.reap() == -signal.SIGKILL
    worker.close()
    worker.end_now()


async def test_states_only_move_forward() -> None:
    """A worker that has gone cannot serve again."""
    heard = Heard()
    worker = heard.start("exit")
    assert await worker.reap() == 3
    worker.close()
    with pytest.raises(AssertionError, match="cannot become ready"):
        worker.become(State.READY)
    confirmed = worker.order({"type": "kill", "id": 2})
    assert confirmed.done()


async def test_it_inherits_only_what_it_is_given() -> None:
    """No descriptor of another worker, client or file reaches a worker."""
    heard = Heard()
    worker = heard.start()
    await until(lambda: bool(heard.messages), "ready")
    held = [str(link.readlink()) for link in Path(f"/proc/{worker.pid}/fd").iterdir()]
    sockets = [link for link in held if link.startswith("socket:")]
    assert len(sockets) == 1
    worker.end_now()
    await worker.reap()
    worker.close()
