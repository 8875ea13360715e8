"""The kill switch: immediate, confirmed, durable, idempotent."""

from __future__ import annotations

import os
import signal
import time
from typing import TYPE_CHECKING

from shadowproxy.control.audit import Actor
from shadowproxy.control.killswitch import BUDGET_S
from tests.control.conftest import Start, until

if TYPE_CHECKING:
    from pathlib import Path

ACTOR = Actor("token:test", "127.0.0.1")


async def test_every_worker_confirms(start: Start) -> None:
    """A kill sets each worker's word, is confirmed by each, and is durable."""
    supervisor = await start(workers=2)
    switched = await supervisor.switch.set(ACTOR, is_killed=True)
    assert switched.is_complete
    assert switched.is_persisted
    assert [worker.words[0] for worker in supervisor.crew.workers] == [1, 1]
    assert (await supervisor.switch.set(ACTOR, is_killed=False)).is_complete
    assert [worker.words[0] for worker in supervisor.crew.workers] == [0, 0]


async def test_a_stopped_worker_is_named_and_its_word_is_set(start: Start) -> None:
    """A worker that cannot answer does not hold the call up beyond its budget, is named, and copies nothing new."""
    supervisor = await start(workers=2)
    stopped = supervisor.crew.workers[1]
    os.kill(stopped.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        switched = await supervisor.switch.set(ACTOR, is_killed=True)
        assert not switched.is_complete
        assert [worker.slot for worker in switched.workers if not worker.is_confirmed] == [1]
        assert stopped.words[0] == 1
        assert time.monotonic() - began >= BUDGET_S
    finally:
        os.kill(stopped.pid, signal.SIGCONT)


async def test_a_mute_worker_is_named(start: Start) -> None:
    """A worker that never confirms is reported as such."""
    supervisor = await start("mute")
    switched = await supervisor.switch.set(ACTOR, is_killed=True)
    assert [worker.is_confirmed for worker in switched.workers] == [False]


async def test_a_kill_survives_a_restart(start: Start) -> None:
    """A new control process starts killed when the last one was."""
    first = await start()
    await first.switch.set(ACTOR, is_killed=True)
    await first.end()
    second = await start()
    assert second.switch.is_on
    assert second.crew.workers[0].words[0] == 1
    await second.switch.set(ACTOR, is_killed=False)
    await second.end()
    assert not (await start()).switch.is_on


async def test_a_lost_store_does_not_resume(start: Start, tmp_path: Path) -> None:
    """When the state file is gone the audit log still knows that the switch was pulled."""
    first = await start()
    await first.switch.set(ACTOR, is_killed=True)
    await first.end()
    for file in tmp_path.glob("state.db*"):
        file.unlink()
    assert (await start()).switch.is_on


async def test_it_is_idempotent_and_audited(start: Start) -> None:
    """A kill of what is killed changes nothing, and both are on record with who asked."""
    supervisor = await start()
    first = await supervisor.switch.set(ACTOR, is_killed=True)
    again = await supervisor.switch.set(ACTOR, is_killed=True)
    assert (first.was_killed, again.was_killed, again.is_killed) == (False, True, True)
    newest = supervisor.audit.latest(2)
    assert [(one["action"], one["actor"], one["before"], one["after"]) for one in newest] == [
        ("kill", "token:test", "killed", "killed"),
        ("kill", "token:test", "mirroring", "killed"),
    ]


async def test_a_kill_outlasts_a_reload(start: Start, tmp_path: object) -> None:
    """A new policy does not resume mirroring."""
    supervisor = await start()
    await supervisor.switch.set(ACTOR, is_killed=True)
    await supervisor.crew.apply(supervisor.config, 2)
    assert supervisor.crew.workers[0].words[0] == 1
    assert supervisor.switch.is_on


async def test_a_dying_worker_confirms_by_dying(start: Start) -> None:
    """A worker that ends while a confirmation is awaited copies nothing any more, which is what was asked."""
    supervisor = await start("mute")
    worker = supervisor.crew.workers[0]
    confirmed = supervisor.crew.switch(7, is_killed=True)[0][1]
    os.kill(worker.pid, signal.SIGKILL)
    await until(confirmed.done, "confirmation")
