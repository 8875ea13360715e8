"""Samples are looked at beside the event loop, in order and within bounds."""

from __future__ import annotations

import asyncio
import base64
import threading
from typing import TYPE_CHECKING, Any

from shadowproxy.config.experiment import Expectation
from shadowproxy.control.lookout import BATCH, WAITING, Lookout
from shadowproxy.experiments.expectations import Expectations

if TYPE_CHECKING:
    import pytest


def sample(text: str, status: int = 200) -> dict[str, Any]:
    """An answer of route `r`."""
    return {"route": "r", "status": status, "headers": [], "body": base64.b64encode(text.encode()).decode(), "cut": False}


async def test_what_was_found_is_told_once() -> None:
    """`counts` is since the run began, `take` is what has been added: a tick's part."""
    lookout = Lookout([Expectation(route="r", contains="top"), Expectation(route="r")])
    lookout.offer([sample("top"), sample("x")])
    await lookout.settle()
    assert lookout.take() == {"0": [1, 2], "1": [2, 2]}
    assert lookout.take() == {}
    lookout.offer([sample("top", 500)])
    await lookout.settle()
    assert lookout.take() == {"0": [0, 1], "1": [0, 1]}
    assert lookout.counts() == {"0": [1, 3], "1": [2, 3]}
    assert lookout.unknown() == {"0": 0, "1": 0}
    assert lookout.told() == {"unknown": {"0": 0, "1": 0}, "dropped": 0, "problems": {}}
    await lookout.close()


async def test_more_than_can_wait_is_dropped_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that is held up holds up nobody: samples wait up to a limit, and the loop goes on."""
    gate = threading.Event()
    add = Expectations.add
    monkeypatch.setattr(Expectations, "add", lambda self, batch: (gate.wait(30), add(self, batch))[1])
    lookout = Lookout([Expectation(route="r")])
    lookout.offer([sample("x")] * (WAITING + BATCH))
    assert lookout.dropped == BATCH
    lookout.offer([sample("x")] * (BATCH + 3))
    assert lookout.dropped == BATCH + 3
    assert lookout.counts() == {"0": [0, 0]}
    gate.set()
    await lookout.settle()
    assert lookout.counts() == {"0": [WAITING + BATCH, WAITING + BATCH]}
    await lookout.close()


async def test_a_closed_one_looks_at_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Closing drops what waits, and no thread stays behind."""
    before = threading.active_count()
    lookout = Lookout([Expectation(route="r")])
    lookout.offer([sample("x")] * WAITING)
    await lookout.close()
    held, looked_at = lookout.counts()["0"]
    assert held == looked_at <= BATCH
    lookout.offer([sample("x")])
    await asyncio.sleep(0)
    assert lookout.counts() == {"0": [held, looked_at]}
    assert "waiting=0" in repr(lookout)
    for _ in range(1000):
        if threading.active_count() <= before:
            break
        await asyncio.sleep(0.01)
    assert threading.active_count() <= before


async def test_without_expectations_nothing_is_looked_at() -> None:
    """Most runs expect nothing of bodies."""
    lookout = Lookout([])
    lookout.offer([sample("x")])
    assert lookout.take() == {}
    assert lookout.dropped == 0
    await lookout.close()


async def test_a_failure_costs_its_batch_alone(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What no one foresaw is logged, and the next batch is looked at."""
    add = Expectations.add
    failures = [MemoryError()]

    def fails_once(self: Expectations, batch: Any) -> None:
        if failures:
            raise failures.pop()
        add(self, batch)

    monkeypatch.setattr(Expectations, "add", fails_once)
    lookout = Lookout([Expectation(route="r")])
    lookout.offer([sample("x")] * (BATCH + 1))
    await lookout.settle()
    assert lookout.counts() == {"0": [1, 1]}
    assert "could not be looked at: MemoryError()" in caplog.text
    await lookout.close()
