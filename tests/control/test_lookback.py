"""How control asks workers about the past."""

from __future__ import annotations

import asyncio
import base64
from array import array
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

from shadowproxy.control.lookback import LookBacks
from shadowproxy.control.worker import State
from tests.control.governed import experiment

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowproxy.config.model import Config
    from shadowproxy.control.worker import Worker

SECOND = 10**9

CONFIG = cast(
    "Config", SimpleNamespace(experiments=SimpleNamespace(recent_requests=4, deny=("vip",)), fleets={}, routes=())
)  # fmt: skip


class Told:
    """A worker of which requests are known by when they came. `mood` is what it does with a message; it answers by default."""

    def __init__(self, pid: int, arrivals: Sequence[int], mood: Callable[[dict[str, Any]], dict[str, Any] | None] | None = None) -> None:
        self.pid = pid
        self.state = State.READY
        self.heard: list[dict[str, Any]] = []
        self.house: LookBacks
        self._arrivals = arrivals
        self._mood = mood or self.answer

    def send(self, message: dict[str, Any]) -> None:
        """Hear a message, and answer it in a while."""
        self.heard.append(message)
        answer = self._mood(message)
        if answer is not None:
            asyncio.get_running_loop().call_soon(self.house.on_message, cast("Worker", self), {"id": message["id"], **answer})

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """As a worker does: every request is touched."""
        if message["type"] == "recent":
            return {"type": "remembered", "times": base64.b64encode(array("Q", self._arrivals).tobytes()).decode()}
        seen = [one for one in self._arrivals if one >= message["since"]]
        step = {"percent": 1.0, "seen": len(seen), "reads": len(seen), "writes": 0, "units": [f"{one:x}" for one in seen], "control": 0}
        counts = {"requests": len(seen), "first": seen[0], "of_routes": len(seen), "denied": 0, "too_long": 0, "unread": 0}
        return {"type": "looked_back", "problem": "", **counts, "steps": [step]}


def house(*workers: Told, config: Config = CONFIG) -> LookBacks:
    """Who asks these workers, with little patience."""
    made = LookBacks(lambda: cast("list[Worker]", list(workers)), lambda: config, lambda: 100 * SECOND)
    made.remembered_s = made.answer_s = 0.05
    for worker in workers:
        worker.house = made
    return made


async def test_the_last_requests_of_all_workers_are_counted() -> None:
    """Four are wanted: the newest three of one and the newest of the other; one that is older than all of them is not asked twice."""
    busy, slow, idle = Told(1, [60 * SECOND, 70 * SECOND, 80 * SECOND, 90 * SECOND]), Told(2, [10 * SECOND, 75 * SECOND]), Told(3, [5])
    found = await house(busy, slow, idle).ask(experiment())
    assert (found.requests, found.steps[0].touched, found.seconds) == (4, 4, 30.0)
    assert [message["type"] for message in busy.heard] == ["recent", "look_back"]
    assert busy.heard[1]["deny"] == ["vip"]
    assert [message["type"] for message in idle.heard] == ["recent"]


async def test_one_that_does_not_answer_is_said_and_waited_for_no_longer() -> None:
    """Silent at first, silent later, and one with a problem: each is told as missing, the others count."""

    def later(message: dict[str, Any]) -> dict[str, Any] | None:
        return Told(0, [99]).answer(message) if message["type"] == "recent" else None

    def wrong(message: dict[str, Any]) -> dict[str, Any]:
        return later(message) or {"type": "looked_back", "problem": "it is broken"}

    workers = Told(1, [90 * SECOND]), Told(2, [], lambda _: None), Told(3, [], later), Told(4, [], wrong)
    found = await house(*workers).ask(experiment())
    assert (found.workers, found.silent, found.requests) == (4, 3, 1)
    assert "3 of 4 workers did not answer in time" in found.sentence


async def test_nothing_to_ask() -> None:
    """No worker serves, nothing is to be remembered, or nothing was: nothing is known, and it is said why."""
    starting = Told(1, [1])
    starting.state = State.STARTING
    assert "no worker answers" in (await house(starting).ask(experiment())).sentence
    assert starting.heard == []
    none = cast("Config", SimpleNamespace(experiments=SimpleNamespace(recent_requests=0)))
    assert "recent_requests is 0" in (await house(Told(1, [1]), config=none).ask(experiment())).sentence
    found = await house(Told(1, []), Told(2, [])).ask(experiment())
    assert (found.empty, found.requests) == (2, 0)
    assert "none is remembered yet" in found.sentence


async def test_a_worker_that_answers_nonsense_counts_as_silent() -> None:
    """What it remembers cannot be read: it is missing, as if it had said nothing. A late answer is dropped."""
    odd = Told(1, [], lambda _: {"type": "remembered", "times": "?"})
    asked = house(odd, Told(2, [90 * SECOND]))
    found = await asked.ask(experiment())
    assert (found.silent, found.requests) == (1, 1)
    asked.on_message(cast("Worker", odd), {"type": "remembered", "id": 1, "times": ""})


async def test_questions_are_asked_one_after_another() -> None:
    """A worker keeps what it remembers for one question at a time: two that are asked at once do not spoil each other's."""
    worker = Told(1, [90 * SECOND])
    asked = house(worker)
    found = await asyncio.gather(*(asked.ask(experiment()) for _ in range(3)))
    assert [one.requests for one in found] == [1, 1, 1]
    assert [message["id"] for message in worker.heard] == [1, 1, 2, 2, 3, 3]
