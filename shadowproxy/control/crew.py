"""The worker processes: started, replaced, told what to do, and counted out.

A place in the crew is filled for as long as control runs. A worker that dies is replaced
at once; one that dies over and over is replaced ever more slowly, up to RESPAWN_LIMIT_S. A
worker that says nothing for SILENCE_TICKS ticks is killed and replaced: it reports four
times a second, so it is stuck or stopped.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowproxy.config import to_plain
from shadowproxy.config.arms import arms
from shadowproxy.control.slots import Slots
from shadowproxy.control.worker import SharedMemory, State, Worker
from shadowproxy.dataplane import messages
from shadowproxy.errors import ControlError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
    from typing import Any

    from shadowproxy.config.model import Config
    from shadowproxy.control.counts import Account, Counts
    from shadowproxy.control.listeners import Listeners
    from shadowproxy.dataplane.messages import Message

_log = logging.getLogger("shadowproxy.control")

TICK_S: Final = 0.5
"""How often silence is looked at. Ticks are counted, not seconds: a suspended machine must not kill its workers on waking."""

SILENCE_TICKS: Final = 20
"""Ticks without a word after which a worker is replaced (10 s)."""

CRASH_WINDOW_S: Final = 10.0
CRASHES_ALLOWED: Final = 5
RESPAWN_FIRST_S: Final = 0.5
RESPAWN_LIMIT_S: Final = 5.0

START_PATIENCE_S: Final = 20.0
"""How long a rolling replacement waits for its new workers."""

APPLY_PATIENCE_S: Final = 5.0
"""How long a reload waits for workers to say that they applied it."""

DRAIN_GRACE_S: Final = 1.0
"""Beyond the drain timeout, for a worker's last report."""


@dataclass(slots=True, eq=False)
class Place:
    """One slot of the crew and who fills it."""

    slot: int
    size: int
    worker: Worker | None = None
    restarts: int = 0
    delay: float = 0.0
    deaths: deque[float] = field(default_factory=lambda: deque(maxlen=CRASHES_ALLOWED + 1))


@dataclass(frozen=True, slots=True)
class Orders:
    """What every worker must know: the config in force."""

    config: Config
    generation: int
    slots: dict[str, int]


class Crew:
    """All workers, those that are being drained included.

    Args:
        command: the worker program and its first arguments.
        listeners: the sockets to lend out.
        counts: where tallies go.
        on_access: called with the access records of each tally.
        on_tally: called with each tally and its worker's account, once it is added to the counts.
        on_captured: called with the pairs that a worker kept whole.
        on_message: what else takes messages of workers, by their type; it answers the worker, if it does, by `Worker.send`.
        tell: what else workers must know with a config: merged into each `policy` message.
        on_start: called with each new worker before it is told anything: the last moment to set its shared words.
    """

    def __init__(
        self,
        command: Sequence[str],
        listeners: Listeners,
        counts: Counts,
        instance: str,
        *,
        on_access: Callable[[list[dict[str, Any]]], None],
        on_tally: Callable[[Account, Message], None],
        on_captured: Callable[[list[dict[str, Any]]], None] = lambda _: None,
        on_message: Mapping[str, Callable[[Worker, Message], None]] | None = None,
        tell: Callable[[Config], Message] = lambda _: {},
        on_start: Callable[[Worker], None] = lambda _: None,
    ) -> None:
        self.is_killed = False
        self.restarts = 0
        self.bad_messages = 0
        self.rotation_problem = ""
        self._command = command
        self._listeners = listeners
        self._counts = counts
        self._instance = instance
        self._on_access = on_access
        self._on_tally = on_tally
        self._on_captured = on_captured
        self._on_message = dict(on_message or {})
        self._tell = tell
        self._on_start = on_start
        self._traces = SharedMemory("shadowproxy-traces", messages.TRACES_BYTES)
        self._slots = Slots()
        self._orders: Orders | None = None
        self._places: list[Place] = []
        self._workers: set[Worker] = set()
        self._reported: dict[tuple[Worker, int], str] = {}
        self._news = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._is_ending = False
        self._watch = asyncio.get_running_loop().create_task(self._watch_silence())

    def __repr__(self) -> str:
        return f"<Crew {sorted(self._workers, key=lambda worker: worker.slot)}>"

    @property
    def places(self) -> Sequence[Place]:
        """The slots, in order."""
        return self._places

    @property
    def workers(self) -> list[Worker]:
        """Every worker whose process lives, by slot, those that are draining too."""
        return sorted(self._workers, key=lambda worker: (worker.slot, worker.started))

    @property
    def is_ready(self) -> bool:
        """Whether at least one worker serves."""
        return not self._is_ending and any(w.state is State.READY and not w.is_silent for w in self._workers)

    def restarts_of(self, slot: int) -> int:
        """How often the worker of `slot` was started again after a death."""
        return next((place.restarts for place in self._places if place.slot == slot), 0)

    async def start(self, config: Config, generation: int) -> None:
        """Start the workers of `config` and wait until all of them serve, or give up waiting when they keep dying.

        Raises:
            ControlError: the policy was refused, or a worker cannot be started.
        """
        self._set_orders(config, generation)
        self._places = [Place(slot, config.workers) for slot in range(config.workers)]
        for place in self._places:
            self._fill(place)
        await self._settled(self._places, generation, START_PATIENCE_S)
        refusal = self._refusal(generation)
        if refusal:
            raise ControlError(refusal)

    async def apply(self, config: Config, generation: int) -> list[int]:
        """Send a new policy to every worker and wait until they have answered.

        Returns:
            The slots of workers that have not answered in APPLY_PATIENCE_S; they will apply it when they can.

        Raises:
            ControlError: a worker refused it, and the old one has been sent again to all.
        """
        before = self._orders
        assert before is not None
        self._set_orders(config, generation)
        self._send_policy()
        await self._settled(self._places, generation, APPLY_PATIENCE_S)
        refusal = self._refusal(generation)
        if refusal:
            self._set_orders(before.config, generation + 1)
            self._send_policy()
            raise ControlError(refusal)
        return [p.slot for p in self._places if p.worker is None or p.worker.generation < generation]

    async def roll(self, config: Config, generation: int) -> None:
        """Replace every worker: start new ones beside the old, and drain the old when all the new serve.

        Raises:
            ControlError: the new workers did not come up; they have been ended and the old ones serve on.
        """
        before, old = self._orders, self._places
        assert before is not None
        self._set_orders(config, generation)
        known = {place.slot: place.restarts for place in old}
        new = [Place(slot, config.workers, restarts=known.get(slot, 0)) for slot in range(config.workers)]
        self._places = new
        for place in new:
            self._fill(place)
        await self._settled(new, generation, START_PATIENCE_S, is_fatal=True)
        if not all(_serves(place, generation) for place in new):
            refusal = self._refusal(generation) or "the new workers did not come up"
            self._abandon(new, old, before)
            raise ControlError(refusal)
        for place in old:
            if place.worker is not None:
                self._drain(place.worker, config.limits.drain_timeout)

    def _abandon(self, new: Sequence[Place], old: list[Place], before: Orders) -> None:
        """Undo a rolling replacement that did not come off."""
        self._places = old
        self._set_orders(before.config, before.generation)
        for place in new:
            if place.worker is not None:
                place.worker.end_now()
        for place in old:  # one that died meanwhile found no place of its own
            if place.worker is None or place.worker.has_ended:
                self._refill(place)

    def rotate(self) -> None:
        """Have every worker read TLS files again. Never blocks; what cannot be read becomes `rotation_problem`."""
        self.rotation_problem = ""
        for worker in self._workers:
            worker.send({"type": "rotate"})

    def repeat_policy(self) -> None:
        """Tell every worker the policy again: what `tell` adds to it has changed. Never blocks."""
        self._send_policy()

    def broadcast(self, message: Message) -> None:
        """Send one message to every worker, those that are draining too. Never blocks."""
        frame = messages.encode(message)
        for worker in self._workers:
            worker.send_frame(frame)

    def switch(self, order: int, *, is_killed: bool) -> list[tuple[Worker, asyncio.Future[None]]]:
        """Stop or resume mirroring everywhere: shared words first, then the message.

        Returns:
            Each worker with what is done when it has confirmed. One that is still starting has nothing to stop, and is done.
        """
        self.is_killed = is_killed
        for worker in self._workers:
            worker.set_switch(is_killed=is_killed)
        message = {"type": "kill" if is_killed else "resume", "id": order}
        waited = []
        for worker in self.workers:
            confirmed = worker.order(message)
            if worker.state is State.STARTING and not confirmed.done():
                confirmed.set_result(None)
            waited.append((worker, confirmed))
        return waited

    def stop_replacing(self) -> None:
        """From now on a worker that ends stays ended."""
        self._is_ending = True
        self._news.set()

    async def drain(self, seconds: float) -> None:
        """Let every worker finish what is in flight, for at most `seconds`, and end."""
        self._is_ending = True
        for worker in self.workers:
            self._drain(worker, seconds)
        while self._workers:
            await self._changed(1.0)
        self._watch.cancel()
        await asyncio.gather(self._watch, *self._tasks, return_exceptions=True)
        self._traces.close()

    def end_now(self) -> None:
        """SIGKILL every worker; `drain` then returns as soon as they have been counted out."""
        self._is_ending = True
        for worker in self._workers:
            worker.end_now()

    # -- one worker

    def _fill(self, place: Place) -> None:
        orders = self._orders
        if self._is_ending or place not in self._places or orders is None:
            return
        lent = self._listeners.lent(orders.config.listen, place.slot, place.size)
        account = self._counts.open(place.slot)
        try:
            worker = Worker(self._command, place.slot, lent, account, self._traces.descriptor, on_message=self._receive, on_end=self._ended)
        except OSError as error:
            self._counts.close(account, (), {})
            _log.error("worker %d cannot be started: %s", place.slot, error.strerror)
            self._refill(place)
            return
        place.worker = worker
        self._workers.add(worker)
        worker.set_switch(is_killed=self.is_killed)
        self._on_start(worker)
        worker.send_frame(self._policy())

    def _refill(self, place: Place) -> None:
        """Replace a worker that has ended: at once, or later when that happens too often."""
        now = time.monotonic()
        place.worker = None
        place.deaths.append(now)
        place.restarts += 1
        self.restarts += 1
        recent = sum(1 for death in place.deaths if now - death < CRASH_WINDOW_S)
        if recent > CRASHES_ALLOWED:
            place.delay = min(RESPAWN_LIMIT_S, place.delay * 2 or RESPAWN_FIRST_S)
            _log.critical("worker %d died %d times within %g s: next attempt in %g s", place.slot, recent, CRASH_WINDOW_S, place.delay)
        else:
            place.delay = 0.0
        asyncio.get_running_loop().call_later(place.delay, self._fill, place)
        self._news.set()

    def _receive(self, worker: Worker, message: Message) -> None:
        try:
            self._read(worker, message)
        except (KeyError, TypeError, ValueError, AttributeError):
            self.bad_messages += 1
            _log.exception("worker %d (pid %d) sent a message that cannot be read", worker.slot, worker.pid)

    def _read(self, worker: Worker, message: Message) -> None:
        match message["type"]:
            case "tally":
                self._counts.add(worker.account, message)
                self._on_tally(worker.account, message)
                if message.get("access"):
                    self._on_access(message["access"])
            case "captured":
                self._on_captured(message["pairs"])
            case "applied":
                worker.generation = message["generation"]
                if worker.state is State.STARTING:
                    worker.become(State.READY)
                self._news.set()
            case "refused":
                problem = str(message.get("problem", "refused"))
                if worker.generation and message["generation"] == worker.generation:
                    self.rotation_problem = problem
                    _log.error("worker %d (pid %d) keeps the old TLS files: %s", worker.slot, worker.pid, problem)
                    return
                self._reported[worker, message["generation"]] = problem
                self._news.set()
                if worker.state is State.STARTING:  # it has no older policy to serve with
                    worker.end_now()
            case "stalled":
                self._counts.add_stall(worker.account, message["seconds"])
                _log.warning("worker %d (pid %d) was held up for %.3f s", worker.slot, worker.pid, message["seconds"])
            case "ready":
                pass
            case other:
                handler = self._on_message.get(other)
                if handler is None:
                    raise ValueError(f"unknown type {other!r}")
                handler(worker, message)

    def _ended(self, worker: Worker, problem: str) -> None:
        if problem:
            worker.end_now()
        is_expected = worker.state is State.DRAINING or self._is_ending
        place = next((p for p in self._places if p.worker is worker), None)
        if place is not None and not is_expected:
            self._refill(place)
        self._spawn_task(self._count_out(worker, is_expected=is_expected))

    async def _count_out(self, worker: Worker, *, is_expected: bool) -> None:
        status = await worker.reap()
        try:
            lost = self._counts.close(worker.account, worker.words, self._slots.known)
        finally:
            self._workers.discard(worker)
            self._slots.release(worker.pid)
            self._reported = {key: problem for key, problem in self._reported.items() if key[0] is not worker}
            worker.close()
            self._news.set()
        if is_expected and status == 0:
            _log.info("worker %d (pid %d) finished", worker.slot, worker.pid)
        else:
            _log.error("worker %d (pid %d) %s; %d requests have no known fate", worker.slot, worker.pid, _ending(status), lost)

    def _drain(self, worker: Worker, seconds: float) -> None:
        if worker.state in {State.STARTING, State.READY}:
            worker.become(State.DRAINING)
            worker.send({"type": "drain", "seconds": seconds})
            self._spawn_task(self._end_after(worker, seconds + DRAIN_GRACE_S))

    async def _end_after(self, worker: Worker, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while worker.is_alive and (left := deadline - time.monotonic()) > 0:
            await self._changed(left)
        if worker.is_alive:
            _log.warning("worker %d (pid %d) did not finish in %g s", worker.slot, worker.pid, seconds)
            worker.end_now()

    # -- all of them

    def _set_orders(self, config: Config, generation: int) -> None:
        keys = [f"{route.name}/{mirror.name}" for route in config.routes for mirror in arms(route)]
        slots = self._slots.assign(keys, (worker.pid for worker in self._workers))
        self._counts.declare([route.name for route in config.routes], keys)
        self._orders = Orders(config, generation, slots)

    def _policy(self) -> bytes:
        """The policy in force as a frame. The kill switch in it is of now; the shared word decides."""
        orders = self._orders
        assert orders is not None
        message: Message = {
            "type": "policy",
            "generation": orders.generation,
            "config": to_plain(orders.config),
            "slots": orders.slots,
            "killed": self.is_killed,
            "instance": self._instance,
        } | self._tell(orders.config)
        return messages.encode(message)

    def _send_policy(self) -> None:
        frame = self._policy()
        for worker in self._workers:
            worker.send_frame(frame)

    def _refusal(self, generation: int) -> str:
        return next((problem for (_, refused), problem in self._reported.items() if refused == generation), "")

    async def _settled(self, places: Iterable[Place], generation: int, patience: float, *, is_fatal: bool = False) -> None:
        """Wait until each of `places` serves `generation`, one refused it, or patience ends; with `is_fatal` also when one has died."""
        waited = list(places)
        restarts = sum(place.restarts for place in waited)
        deadline = time.monotonic() + patience
        while (left := deadline - time.monotonic()) > 0 and not self._is_ending:
            if all(_serves(place, generation) for place in waited) or self._refusal(generation):
                return
            deaths = sum(place.restarts for place in waited) - restarts
            if deaths > (0 if is_fatal else CRASHES_ALLOWED * len(waited)):
                return
            await self._changed(left)

    async def _changed(self, seconds: float) -> None:
        """Wait for news of any worker, for at most `seconds`."""
        self._news.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._news.wait()
        except TimeoutError:
            return

    def _spawn_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _watch_silence(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            for worker in self._workers:
                worker.silent_ticks += 1
                if worker.silent_ticks == SILENCE_TICKS:
                    _log.critical(
                        "worker %d (pid %d) has said nothing for %g s: replacing it", worker.slot, worker.pid, SILENCE_TICKS * TICK_S
                    )
                    worker.end_now()


def _serves(place: Place, generation: int) -> bool:
    worker = place.worker
    return worker is not None and worker.state is State.READY and worker.generation >= generation


def _ending(status: int) -> str:
    return f"was ended by signal {-status}" if status < 0 else f"exited with status {status}"
