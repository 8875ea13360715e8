"""Workers: replaced when they die, counted out, and never able to hold control up."""

from __future__ import annotations

import os
import signal
from typing import TYPE_CHECKING

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control import crew as crew_module
from shadowproxy.control.worker import State
from shadowproxy.errors import ControlError
from tests.control.conftest import Start, plain, until

if TYPE_CHECKING:
    from shadowproxy.control.supervisor import Supervisor

KEY = "all/shadow"


def reported(supervisor: Supervisor, eligible: int) -> bool:
    """Whether that many eligible requests are counted."""
    return supervisor.counts.mirrors[KEY].eligible >= eligible


async def test_a_killed_worker_is_replaced_and_counted_out(start: Start) -> None:
    """After SIGKILL another worker serves in its place, and what it had not reported is lost, by name and number."""
    supervisor = await start()
    await until(lambda: reported(supervisor, 3), "the first report")
    assert supervisor.counts.is_conserved(KEY)
    victim = supervisor.crew.workers[0].pid
    os.kill(victim, signal.SIGKILL)
    await until(lambda: [w.pid for w in supervisor.crew.workers] != [victim] and supervisor.is_ready, "a replacement")
    await until(lambda: reported(supervisor, 8), "the replacement's report")
    totals = supervisor.counts.mirrors[KEY]
    assert totals.eligible == 5 + 3
    assert totals.fates["lost"] == 3
    assert supervisor.counts.pending(KEY) == 1
    assert supervisor.counts.is_conserved(KEY)
    assert supervisor.crew.restarts_of(0) == 1


async def test_a_worker_that_keeps_dying_is_replaced_ever_more_slowly(start: Start) -> None:
    """More than five deaths in ten seconds are a crash loop: attempts are spaced out, and readiness is denied."""
    supervisor = await start("exit")
    await until(lambda: supervisor.crew.places[0].delay > 0, "a pause between attempts")
    assert not supervisor.is_ready
    assert supervisor.crew.places[0].delay <= crew_module.RESPAWN_LIMIT_S


async def test_a_silent_worker_is_not_ready_and_then_replaced(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that says nothing first loses its readiness and then its life."""
    monkeypatch.setattr(crew_module, "TICK_S", 0.02)
    supervisor = await start("silent")
    pid = supervisor.crew.workers[0].pid
    await until(lambda: not supervisor.is_ready, "denied readiness")
    await until(lambda: bool(supervisor.crew.workers) and supervisor.crew.workers[0].pid != pid, "a replacement")


@pytest.mark.parametrize("mode", ["garbage", "unknown"])
async def test_nonsense_from_a_worker_does_not_reach_control(start: Start, mode: str) -> None:
    """Bytes that are no frame end that worker; messages that cannot be read are counted; control goes on."""
    supervisor = await start(mode)
    if mode == "garbage":
        await until(lambda: supervisor.crew.restarts > 0, "a replacement")
    else:
        await until(lambda: supervisor.crew.bad_messages == 2, "two unreadable messages")
        assert supervisor.is_ready


async def test_new_workers_start_with_the_switch_as_it_is(start: Start) -> None:
    """A replacement of a dead worker starts killed when the switch is on."""
    supervisor = await start()
    supervisor.crew.switch(1, is_killed=True)
    old = supervisor.crew.workers[0]
    os.kill(old.pid, signal.SIGKILL)
    await until(lambda: supervisor.is_ready and supervisor.crew.workers[0] is not old, "a replacement")
    assert supervisor.crew.workers[0].words[0] == 1


async def test_rolling_replacement_keeps_the_old_until_the_new_serve(start: Start, tmp_path: object) -> None:
    """A change of the workers' number starts a new set beside the old and drains the old only then."""
    supervisor = await start()
    old = supervisor.crew.workers[0]
    config = from_plain({**plain(tmp_path), "workers": 2, "state": supervisor.config.state})  # type: ignore[arg-type]
    supervisor.listeners.open(config.listen, 2)
    await supervisor.crew.roll(config, 2)
    assert old.state in {State.DRAINING, State.GONE}
    assert len([w for w in supervisor.crew.workers if w.state is State.READY]) == 2
    await until(lambda: old.state is State.GONE, "the old worker's end")


async def test_a_rolling_replacement_that_fails_leaves_the_old_serving(start: Start) -> None:
    """When new workers do not come up, the old ones go on as if nothing had been asked."""
    supervisor = await start()
    old = supervisor.crew.workers[0]
    supervisor.crew._command = ["/nonexistent/worker"]
    with pytest.raises(ControlError, match="did not come up"):
        await supervisor.crew.roll(supervisor.config, 2)
    assert supervisor.crew.workers == [old]
    assert supervisor.is_ready
    assert supervisor.crew.places[0].worker is old


async def test_a_failed_rotation_is_not_a_refused_policy(start: Start) -> None:
    """A worker that cannot read its TLS files again keeps serving; the problem is there to read until the next rotation."""
    supervisor = await start()
    worker = supervisor.crew.workers[0]
    supervisor.crew._receive(worker, {"type": "refused", "generation": worker.generation, "problem": "no such file"})
    assert supervisor.configs.problem == "no such file"
    assert supervisor.is_ready
    supervisor.crew.rotate()
    assert supervisor.configs.problem == ""
