"""The kill switch for mirroring and experiments: immediate in memory, then confirmed, then durable.

The order matters. Setting the shared word of every worker is synchronous and needs
nothing else to work: not the store, not the workers' event loops, not their sockets. Only
then are confirmations awaited, for at most BUDGET_S, and the state written.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import StateError

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.control.audit import Actor, Audit
    from shadowproxy.control.crew import Crew
    from shadowproxy.store import Store

_log = logging.getLogger("shadowproxy.control")

BUDGET_S: Final = 0.1
"""How long a call waits for workers to confirm (DESIGN P4)."""

PERSIST_BUDGET_S: Final = 1.0
"""How long a call waits for the store, once every worker has been told."""

KEY: Final = "killed"


@dataclass(frozen=True, slots=True)
class Confirmation:
    """What one worker made of the switch."""

    slot: int
    pid: int
    is_confirmed: bool
    seconds: float


@dataclass(frozen=True, slots=True)
class Switched:
    """The result of pulling or releasing the switch."""

    is_killed: bool
    was_killed: bool
    is_persisted: bool
    workers: tuple[Confirmation, ...]

    @property
    def is_complete(self) -> bool:
        """Whether every worker has confirmed."""
        return all(worker.is_confirmed for worker in self.workers)


class KillSwitch:
    """Whether mirroring is stopped, here and in every worker, now and after a restart."""

    def __init__(self, crew: Crew, store: Store, audit: Audit, on_kill: Callable[[Actor], None] = lambda _: None) -> None:
        self._crew = crew
        self._store = store
        self._audit = audit
        self._on_kill = on_kill
        self._orders = 0

    @property
    def is_on(self) -> bool:
        """Whether mirroring is stopped."""
        return self._crew.is_killed

    async def restore(self) -> None:
        """Take up the state of the last run, before workers start. When the store cannot be read, or is new, the audit log decides."""
        try:
            kept = await self._store.get(KEY)
        except StateError:
            kept = None
        is_killed = self._audit.last_action(("kill", "resume")) == "kill" if kept is None else kept == "true"
        self._crew.is_killed = is_killed
        if is_killed:
            _log.critical("the kill switch is on, as it was left: nothing is mirrored until `shadowproxy resume`")

    async def set(self, actor: Actor, *, is_killed: bool, request_id: str = "") -> Switched:
        """Pull or release the switch. Idempotent.

        When this returns every worker's shared word is set, so that no worker starts another copy; workers
        that have confirmed have also closed the copies under way.
        """
        was_killed = self._crew.is_killed
        self._orders += 1
        order = self._orders
        started = time.monotonic()
        waited = self._crew.switch(order, is_killed=is_killed)
        if is_killed:
            self._on_kill(actor)
        action = "kill" if is_killed else "resume"
        _log.critical("%s by %s from %s: mirroring %s", action, actor.name, actor.source, "stops" if is_killed else "resumes")
        persisting = asyncio.ensure_future(self._persist(is_killed=is_killed))
        seconds: dict[int, float] = {}
        for worker, confirmed in waited:
            confirmed.add_done_callback(_stopwatch(seconds, worker.pid, started))
        if waited:
            await asyncio.wait([confirmed for _, confirmed in waited], timeout=BUDGET_S)
        confirmations = []
        for worker, confirmed in waited:
            worker.forget(order)
            confirmations.append(
                Confirmation(worker.slot, worker.pid, confirmed.done(), round(seconds.get(worker.pid, time.monotonic() - started), 6))
            )
        done, _ = await asyncio.wait([persisting], timeout=PERSIST_BUDGET_S)
        switched = Switched(is_killed, was_killed, bool(done) and persisting.result(), tuple(confirmations))
        self._account(switched, action, actor, request_id)
        return switched

    async def _persist(self, *, is_killed: bool) -> bool:
        try:
            await self._store.put(KEY, "true" if is_killed else "false")
        except StateError as error:
            _log.error("the kill switch works in memory only: %s", error)
            return False
        return True

    def _account(self, switched: Switched, action: str, actor: Actor, request_id: str) -> None:
        silent = [worker.slot for worker in switched.workers if not worker.is_confirmed]
        if silent:
            _log.critical("%s: workers %s have not confirmed within %g ms; their switch is set", action, silent, BUDGET_S * 1000)
        detail = "" if switched.is_persisted else "in memory only"
        if silent:
            detail = f"{detail}; " * bool(detail) + f"unconfirmed workers: {silent}"
        states = {True: "killed", False: "mirroring"}
        self._audit.record(
            actor, action, "ok", before=states[switched.was_killed], after=states[switched.is_killed], detail=detail, request_id=request_id
        )


def _stopwatch(seconds: dict[int, float], pid: int, started: float) -> Callable[[object], None]:
    """What writes down, when called, how long worker `pid` took."""

    def stop(_: object) -> None:
        seconds.setdefault(pid, time.monotonic() - started)

    return stop
