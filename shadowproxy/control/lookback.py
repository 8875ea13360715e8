"""Asks the workers what an experiment would have touched of the last requests.

Twice, since only control can tell which requests are the last of all of them: first when each came, then what an experiment would have
done to those since one moment. A worker that says nothing is given up after ANSWER_S, and told of: it holds up nobody.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import logging
import time
from array import array
from itertools import count
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.experiment_file import experiment_to_plain
from shadowproxy.control.worker import State
from shadowproxy.experiments.domains import confined_to
from shadowproxy.experiments.lookback import LookBack, merged, percents, since

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.config.model import Config
    from shadowproxy.control.worker import Worker
    from shadowproxy.dataplane.messages import Message

_log = logging.getLogger("shadowproxy.control")

REMEMBERED_S: Final = 1.0
"""How long a worker may take to say when its requests came, which it does at once."""

ANSWER_S: Final = 5.0
"""How long it may take for 10,000 requests, which are about a second between those that it serves."""

SERVING: Final = frozenset({State.READY, State.DRAINING})
"""Those that have had requests."""


class LookBacks:
    """Questions about the past, one at a time.

    Args:
        workers: every worker whose process lives, of now.
        config: the one in force.
        now_ns: the monotonic clock that workers read too.
    """

    def __init__(
        self, workers: Callable[[], Sequence[Worker]], config: Callable[[], Config], now_ns: Callable[[], int] = time.monotonic_ns
    ) -> None:
        self.remembered_s = REMEMBERED_S
        self.answer_s = ANSWER_S
        self._workers = workers
        self._config = config
        self._now_ns = now_ns
        self._numbers = count(1)
        self._waiting: dict[tuple[int, int], asyncio.Future[Message]] = {}
        self._turn = asyncio.Lock()

    def __repr__(self) -> str:
        return f"<LookBacks waiting={len(self._waiting)}>"

    def on_message(self, worker: Worker, message: Message) -> None:
        """Take an answer of a worker; one that nobody waits for any more is dropped."""
        waiting = self._waiting.get((worker.pid, int(message["id"])))
        if waiting is not None and not waiting.done():
            waiting.set_result(message)

    async def ask(self, experiment: Experiment) -> LookBack:
        """What `experiment` would have touched. Never raises; takes REMEMBERED_S + ANSWER_S at most, and as long as those that asked before."""
        async with self._turn:
            wanted = self._config().experiments.recent_requests
            workers = [worker for worker in self._workers() if worker.state in SERVING]
            if not wanted or not workers:
                return LookBack(wanted=wanted)
            return await self._ask(experiment, wanted, workers)

    async def _ask(self, experiment: Experiment, wanted: int, workers: list[Worker]) -> LookBack:
        number = next(self._numbers)
        told = await self._answers(workers, {"type": "recent", "id": number}, self.remembered_s)
        arrivals = {worker: times for worker, answer in told.items() if (times := _times(answer)) is not None}
        begun = since(arrivals.values(), wanted)
        empty = sum(not times for times in arrivals.values())
        asked = [worker for worker, times in arrivals.items() if begun is not None and times and times[-1] >= begun]
        question = self._question(experiment) | {"type": "look_back", "id": number, "since": begun}
        found = await self._answers(asked, question, self.answer_s)
        answers = [answer for answer in found.values() if not _problem(answer)]
        silent = len(workers) - len(arrivals) + len(asked) - len(answers)
        known = LookBack(wanted=wanted, workers=len(workers), silent=silent, empty=empty)
        return merged(experiment, answers, known, self._now_ns())

    def _question(self, experiment: Experiment) -> dict[str, Any]:
        config = self._config()
        endpoints = confined_to(experiment, config)
        return {
            "percents": list(percents(experiment)),
            "experiment": experiment_to_plain(experiment),
            "deny": list(config.experiments.deny),
            "endpoints": None if endpoints is None else sorted(endpoints),
        }

    async def _answers(self, workers: Sequence[Worker], message: Message, patience_s: float) -> dict[Worker, Message]:
        """What those workers answer that do so in time."""
        loop = asyncio.get_running_loop()
        waiting = {worker: loop.create_future() for worker in workers}
        self._waiting = {(worker.pid, message["id"]): future for worker, future in waiting.items()}
        try:
            for worker in workers:
                worker.send(message)
            if waiting:
                await asyncio.wait(waiting.values(), timeout=patience_s)
        finally:
            self._waiting = {}
        return {worker: future.result() for worker, future in waiting.items() if future.done()}


def _times(answer: Message) -> array[int] | None:
    """When requests came; None where it cannot be read."""
    try:
        return array("Q", base64.b64decode(answer["times"], validate=True))
    except (KeyError, TypeError, ValueError, binascii.Error):
        return None


def _problem(answer: Message) -> str:
    problem = str(answer.get("problem", "it has no answer in it"))
    if problem:
        _log.error("a worker cannot look back: %s", problem)
    return problem
