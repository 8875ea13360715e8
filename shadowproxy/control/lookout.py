"""Answers that workers sampled are looked at on a thread, so that nothing in them holds up the abort of an experiment.

The event loop must end a fault within a tenth of a second, and one megabyte of JSON takes ten milliseconds to read. So samples
wait here, a bounded number of them, for one thread per run; what does not fit is dropped and counted.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.expectations import Expectations

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from shadowproxy.config.experiment import Expectation

_log = logging.getLogger("shadowproxy.control")

WAITING: Final = 256
"""Samples that wait, at most 90 KiB each."""

BATCH: Final = 16
"""Samples between two looks at the clock: how late the counts are while many wait."""


class Lookout:
    """The expectations of one run, and what they found. Needs a running event loop. Never blocks. May drop.

    Args:
        expectations: of the experiment.

    Raises:
        ValueError: one cannot be compiled.
    """

    def __init__(self, expectations: Sequence[Expectation]) -> None:
        self.dropped = 0
        """Samples that came faster than they could be looked at."""
        self._expectations = Expectations(expectations)
        self._counts = self._told = self._expectations.counts()
        self._waiting: deque[Mapping[str, Any]] = deque()
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="expectations")
        self._looking: asyncio.Future[None] | None = None
        self._is_closed = False

    def __repr__(self) -> str:
        return f"<Lookout {self._counts} waiting={len(self._waiting)} dropped={self.dropped}>"

    def offer(self, samples: Iterable[Mapping[str, Any]]) -> None:
        """Have `samples` of an Exposure looked at, soon."""
        if not len(self._expectations) or self._is_closed:
            return
        for sample in samples:
            if len(self._waiting) >= WAITING:
                self.dropped += 1
            else:
                self._waiting.append(sample)
        self._go_on()

    def counts(self) -> dict[str, list[int]]:
        """{index of the expectation: [held, looked at]} since the run began."""
        return {index: list(pair) for index, pair in self._counts.items()}

    def take(self) -> dict[str, list[int]]:
        """What has been added to `counts` since this was asked last: the `expect` of a tick. Expectations without news are left out."""
        told, self._told = self._told, self._counts
        news = {index: [now - before for now, before in zip(pair, told[index], strict=True)] for index, pair in self._counts.items()}
        return {index: pair for index, pair in news.items() if any(pair)}

    def unknown(self) -> dict[str, int]:
        """{index of the expectation: answers of which nobody can say}, for reports; as of the last batch."""
        return self._expectations.unknown()

    def problems(self) -> dict[str, str]:
        """{index of the expectation: why it cannot be judged any more}."""
        return self._expectations.problems()

    def told(self) -> dict[str, Any]:
        """What was not judged, and why, as a run document has it: {"unknown", "dropped", "problems"}."""
        return {"unknown": self.unknown(), "dropped": self.dropped, "problems": self.problems()}

    async def settle(self) -> None:
        """Wait until everything that was offered has been looked at."""
        while self._looking is not None:
            await asyncio.wait([self._looking])
            # The callback that starts the next batch runs after those who wait were woken.
            await asyncio.sleep(0)

    async def close(self) -> None:
        """Look at nothing more, once the batch that the thread is at has ended."""
        self._is_closed = True
        self._waiting.clear()
        await self.settle()
        self._thread.shutdown(wait=False)

    def _go_on(self) -> None:
        if self._looking is not None or not self._waiting:
            return
        batch = [self._waiting.popleft() for _ in range(min(BATCH, len(self._waiting)))]
        self._looking = asyncio.get_running_loop().run_in_executor(self._thread, self._expectations.add, batch)
        self._looking.add_done_callback(self._looked)

    def _looked(self, looking: asyncio.Future[None]) -> None:
        self._looking = None
        if not looking.cancelled() and (error := looking.exception()) is not None:
            _log.error("a batch of an experiment's answers could not be looked at: %r", error)
        self._counts = self._expectations.counts()
        if not self._is_closed:
            self._go_on()
