"""Who was affected, kept for as long as `experiments.remember` says: what `whois` answers from.

Beside the state file, `NAME.exposures.db` has what experiments, rollouts and mirrors covered over time, and, of each unit that
got a fault, its digest, when first and last, and how often. The rules of this file:

* no unit is written down, and none is logged: digests under the salt of what they are a part of, also those of listed units;
* `note_*` never blocks, never raises and costs the event loop a queue entry: a thread writes, GATHER_S together. A process that
  is killed loses as much;
* what was going on when control ended without saying so counts as over from the last sign of life on (every ALIVE_S);
* bounded: UNITS_LIMIT units and SHARES_LIMIT experiments, rollouts and mirrors. Beyond it units are counted, but not on record;
* a file that does not work costs its own records and nothing else. `problem` says so, and answers say that they are not complete.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.exposure_file import ExposureFile, FileProblem
from shadowproxy.control.exposure_shares import share_of_mirror, share_of_rollout, share_of_run
from shadowproxy.errors import StateError
from shadowproxy.experiments.affected import Step, plain
from shadowproxy.hashspace import digest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.config.experiments import Rollout
    from shadowproxy.config.model import Config
    from shadowproxy.control.rollout_case import Case
    from shadowproxy.experiments.affected import Share

_log = logging.getLogger("shadowproxy.control")

GATHER_S: Final = 0.25
"""How long records are gathered before they are written together."""

ALIVE_S: Final = 10.0
"""Seconds between signs of life, and between looks for what is too old."""

QUEUE_LIMIT: Final = 10_000
"""Records that may wait for a slow disk: minutes of exposures of many workers; more are dropped and counted."""

ANSWER_S: Final = 10.0
"""Longest wait for an answer."""


class Exposures:
    """The record of one instance.

    Args:
        path: of the file; it is made (mode 0600) with the first record.
        remember: seconds that what has ended stays on record.
        now: the clock, in unix seconds.
    """

    def __init__(self, path: Path, remember: float, now: Callable[[], float] = time.time) -> None:
        self.path = path
        self.remember = remember
        self.problem = ""
        self.dropped = 0
        """Records that were not written."""
        self._now = now
        self._queue: queue.Queue[tuple[Callable[[ExposureFile], Any], _Asked | None] | None] = queue.Queue(QUEUE_LIMIT)
        self._thread: threading.Thread | None = None
        self._mirrors: set[str] = set()
        self._noted: dict[str, tuple[object, ...]] = {}

    def __repr__(self) -> str:
        return f"<Exposures {str(self.path)!r} {self.problem or 'ok'}>"

    def note_run(
        self, run: str, experiment: Experiment, percent: float, at: float, *, deny: tuple[str, ...] = (), is_paused: bool = False
    ) -> None:
        """Say that a run covers `percent` of the units from now on: when it is armed, at each step, pause and resumption.

        Args:
            run: its id.
            experiment: what runs.
            percent: share of the present step.
            at: when, in unix seconds.
            deny: units that the config leaves alone, beside those of the experiment.
            is_paused: nothing is injected until it is said again.
        """
        self._step(share_of_run(run, experiment, deny), Step(at, percent, is_paused))

    def note_units(self, run: str, units: Mapping[str, int], at: float) -> None:
        """Say which units got the fault: `units` of an Exposure, as control heard of it at `at`.

        Args:
            run: id of a run; one that was not noted (a dry run) leaves no record.
            units: faults by the unit's digest, 16 hex digits.
            at: when, in unix seconds.
        """
        if units:
            self._put(lambda file: file.add_units(run, units, at))

    def note_rollout(self, rollout: str, route: str, plan: Rollout, percent: float, at: float, *, deny: tuple[str, ...] = ()) -> None:
        """Say that a rollout sends `percent` of the units to the new version from now on: at its start and at each step.

        Args:
            rollout: its id, one for each start, such as `checkout-3`.
            route: whose it is.
            plan: as the config has it.
            percent: share of the present step.
            at: when, in unix seconds.
            deny: units that the config leaves alone.
        """
        self._step(share_of_rollout(rollout, route, plan, deny), Step(at, percent))

    def note_case(self, case: Case, at: float, *, deny: tuple[str, ...] = ()) -> None:
        """Say how a rollout stands: after each of its events, and when it is taken up after a restart."""
        if case.is_open:
            self.note_rollout(case.id, case.route, case.rollout, case.percent, at, deny=deny)
        else:
            self.note_end(case.id, str(case.conductor.state), at)

    def note_end(self, of: str, state: str, at: float) -> None:
        """Say that a run or a rollout is over.

        Args:
            of: its id.
            state: how it ended: completed, aborted, expired, killed; promoted, rolled back.
            at: when, in unix seconds.
        """
        self._noted.pop(of, None)
        self._put(lambda file: file.end(of, state, at))

    def note_mirrors(self, config: Config, at: float) -> None:
        """Say which mirrors there are from now on: at the start and with each config that comes into force."""
        self.remember = config.experiments.remember
        present = [(share_of_mirror(route, mirror), mirror.percent) for route in config.routes for mirror in route.mirror]
        ids = {share.id for share, _ in present}
        for gone in self._mirrors - ids:
            self.note_end(gone, "", at)
        self._mirrors = ids
        for share, percent in present:
            self._step(share, Step(at, percent))

    async def whois(self, unit: str | bytes, now: float, *, since: float = 0.0, key: str = "") -> dict[str, Any]:
        """What a unit is and was a part of. The unit is in no record, no log and not in the answer.

        Args:
            unit: a user, tenant, session or whatever keys name, as requests carry it.
            now: in unix seconds.
            since: what ended before it is left out; unix seconds.
            key: only what goes by this key, such as `header:x-user-id`; empty for all.

        Returns:
            {"now", "since", "remembered_since", "is_complete", "problem", "experiments", "rollouts", "mirrors"}, the last three lists of
            `experiments.affected.plain`, the newest first.

        Raises:
            StateError: the record cannot be read.
        """
        raw = unit.encode(errors="surrogateescape") if isinstance(unit, str) else unit
        oldest = max(since, now - self.remember)

        def look(file: ExposureFile) -> list[tuple[str, Mapping[str, object]]]:
            found = []
            for share in file.shares(oldest, key):
                mark = digest(raw, share.salt)
                found.append((str(share.kind), plain(share, mark, file.hits(share.id, mark), since=oldest)))
            return found

        answered = await self._ask(look)
        return {
            "now": now,
            "since": oldest,
            "remembered_since": now - self.remember,
            "is_complete": not self.dropped and not self.problem,
            "problem": self.problem,
            **{f"{kind}s": [one for of, one in answered if of == kind] for kind in ("experiment", "rollout", "mirror")},
        }

    async def flush(self) -> None:
        """Wait until everything that was noted is written.

        Raises:
            StateError: it cannot be.
        """
        await self._ask(lambda _: None)

    async def close(self) -> None:
        """Write what is left, within ANSWER_S, and close the file. What goes on is over from now on."""
        thread = self._thread
        if thread is None:
            return
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(None)
            await asyncio.to_thread(thread.join, ANSWER_S)

    def _step(self, share: Share, step: Step) -> None:
        """Record a step unless it repeats the one before."""
        mark = (share, step.percent, step.is_paused)
        if self._noted.get(share.id) == mark:
            return
        self._noted[share.id] = mark
        self._put(lambda file: file.step(share, step))

    def _put(self, work: Callable[[ExposureFile], Any], asked: _Asked | None = None) -> bool:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="exposures", daemon=True)
            self._thread.start()
        try:
            self._queue.put_nowait((work, asked))
        except queue.Full:
            self.dropped += 1
            return False
        return True

    async def _ask(self, work: Callable[[ExposureFile], Any]) -> Any:
        asked = _Asked(asyncio.get_running_loop())
        if not self._put(work, asked):
            raise StateError(f"{self.path}: {QUEUE_LIMIT} records wait for the disk")
        try:
            async with asyncio.timeout(ANSWER_S):
                return await asked.answer
        except TimeoutError:
            raise StateError(f"{self.path}: no answer from the disk within {ANSWER_S:g} s") from None

    def _run(self) -> None:
        """The thread: gathers, writes together, answers, and looks for what is too old."""
        file = ExposureFile(self.path)
        is_ending = False
        looked = time.monotonic()
        while not is_ending:
            batch, is_ending = self._gather(looked + ALIVE_S)
            if batch:
                self._carry_out(file, batch)
            if time.monotonic() >= looked + ALIVE_S or is_ending:
                looked = time.monotonic()
                self._carry_out(file, [(self._last if is_ending else self._tend, None)], is_record=False)
        file.close()

    def _gather(self, until: float) -> tuple[list[tuple[Callable[[ExposureFile], Any], _Asked | None]], bool]:
        """What is to be done together, and whether it is the last: all that comes within GATHER_S, or up to a question."""
        batch: list[tuple[Callable[[ExposureFile], Any], _Asked | None]] = []
        ends = until
        while len(batch) < QUEUE_LIMIT:
            try:
                one = self._queue.get(timeout=max(0.0, ends - time.monotonic()))
            except queue.Empty:
                break
            if one is None:
                return batch, True
            ends = ends if batch else min(until, time.monotonic() + GATHER_S)
            batch.append(one)
            if one[1] is not None:
                break
        return batch, False

    def _tend(self, file: ExposureFile) -> None:
        file.live(self._now())
        file.forget(self._now() - self.remember)

    def _last(self, file: ExposureFile) -> None:
        file.live(self._now())

    def _carry_out(
        self, file: ExposureFile, batch: list[tuple[Callable[[ExposureFile], Any], _Asked | None]], *, is_record: bool = True
    ) -> None:
        try:
            answers = file.together([work for work, _ in batch])
        except FileProblem as error:
            self.dropped += sum(asked is None for _, asked in batch) if is_record else 0
            if str(error) != self.problem:
                _log.error("who is affected by experiments is not on record: %s", error)
            self.problem = str(error)
            for _, asked in batch:
                if asked is not None:
                    asked.settle(None, self.problem)
            return
        self.problem = ""
        for (_, asked), answer in zip(batch, answers, strict=True):
            if asked is not None:
                asked.settle(answer, "")


class _Asked:
    """A question to the thread, and where its answer goes."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.answer: asyncio.Future[Any] = loop.create_future()

    def settle(self, value: Any, problem: str) -> None:
        """Answer, from the thread."""
        with contextlib.suppress(RuntimeError):  # the loop may have ended while the disk was slow
            self._loop.call_soon_threadsafe(self._settle, value, problem)

    def _settle(self, value: Any, problem: str) -> None:
        if self.answer.done():
            return
        if problem:
            self.answer.set_exception(StateError(problem))
        else:
            self.answer.set_result(value)
