"""The wheel: no deadline is lost, whatever order things come in."""

from __future__ import annotations

import asyncio
import time

import pytest

from shadowproxy.dataplane.deadlines import TICK_NS, Deadlines
from shadowproxy.dataplane.process import WorkerProcess
from tests.dataplane.stage import Stage


class Thing:
    """Something that can time out."""

    def __init__(self) -> None:
        self.deadline_ns = 0
        self.watched_tick = 0
        self.expired = 0

    def on_deadline(self, now_ns: int) -> None:
        """Count."""
        self.expired += 1


@pytest.mark.parametrize("ticks_ago", [0, 1, 2, 50])
def test_a_deadline_that_has_passed_when_it_is_set_fires_at_the_next_tick(ticks_ago: int) -> None:
    """A total timeout that ran out while the client was blocked still ends the leg once it reads on."""
    now_ns = 1000 * TICK_NS
    wheel = Deadlines(now_ns)
    thing = Thing()
    wheel.advance(now_ns)
    wheel.set(thing, now_ns - ticks_ago * TICK_NS)
    wheel.advance(now_ns + TICK_NS)
    assert thing.expired == 1
    wheel.set(thing, now_ns + 3 * TICK_NS)
    for tick in range(2, 6):
        wheel.advance(now_ns + tick * TICK_NS)
    assert thing.expired == 2
    assert len(wheel) == 0


class Broken(Thing):
    """Something whose timeout is a mistake."""

    def on_deadline(self, now_ns: int) -> None:
        """Fail."""
        raise RuntimeError("a mistake")


def test_a_mistake_in_one_timeout_leaves_the_others_watched() -> None:
    """All that is due has its turn, then the mistake is told."""
    now_ns = 1000 * TICK_NS
    wheel = Deadlines(now_ns)
    things = [Thing(), Broken(), Thing(), Thing()]
    for thing in things:
        wheel.set(thing, now_ns)
    later = Thing()
    wheel.set(later, now_ns + TICK_NS)
    with pytest.raises(RuntimeError, match="a mistake"):
        wheel.advance(now_ns + 3 * TICK_NS)
    assert [thing.expired for thing in (*things, later)] == [1, 0, 1, 1, 1]


def test_a_tick_that_fails_is_followed_by_the_next(capsys: pytest.CaptureFixture[str]) -> None:
    """The error is counted and shown; timeouts, tallies and expiry go on."""

    async def two_ticks() -> int:
        stage = Stage()
        process = WorkerProcess(stage.worker, {})
        process._loop = asyncio.get_running_loop()
        process._next_tick_ns = time.monotonic_ns()
        stage.worker.deadlines.set(Broken(), time.monotonic_ns())
        thing = Thing()
        process._tick()
        stage.worker.deadlines.set(thing, time.monotonic_ns())
        async with asyncio.timeout(30):
            while not (thing.expired and stage.worker.errors):
                await asyncio.sleep(0.01)
        return stage.worker.errors

    assert asyncio.run(two_ticks()) == 1
    assert "a mistake" in capsys.readouterr().err
