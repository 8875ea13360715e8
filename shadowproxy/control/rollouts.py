"""Rollouts of an instance: one a route, conducted by what workers tell, told to workers as splits, and kept over restarts.

The rules of this file:

* before more units get the new version the step is durable; going back is told to workers first and written afterwards. So
  a restart never takes the new version away from somebody who had it, and nothing delays the way back;
* a restart of control goes on at the step that was written, at the same second of it: what dies with it is at most SAVE_S of counts;
* a rollout goes on with the settings that it began with. A reload ends it when route, fleets, key or salt are no longer what they
  were, and it is over when the new version has become live;
* the kill switch pauses: no further step, and users stay where they are. What it paused goes on only by hand;
* a store that does not work pauses too, as the next step could not be kept.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.audit import SYSTEM
from shadowproxy.control.rollout_case import Case
from shadowproxy.errors import ControlError, StateError
from shadowproxy.experiments.rollout import COMPLETED, PAUSED, ROLLED_BACK, RUNNING, RolloutConductor, RolloutDecision, RolloutTick

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from shadowproxy.config.experiments import Rollout
    from shadowproxy.config.model import Config, Route
    from shadowproxy.control.arming import Arming
    from shadowproxy.control.audit import Actor, Audit
    from shadowproxy.store import Store

_log = logging.getLogger("shadowproxy.control")

Plain = dict[str, Any]

TICK_S: Final = 0.5
"""Seconds between ticks without counts: bakes and patience end on time even without traffic."""

SAVE_S: Final = 5.0
"""Seconds between two rows of a rollout whose counts change: what a process that is killed can lose of them."""

KEY: Final = "rollout."
"""Of the rows in the store: one a route."""


class Rollouts:
    """All rollouts of one instance. Used from one event loop.

    Args:
        config: the config in force.
        store: where they are kept.
        audit: where every order and every decision is recorded.
        arming: tells workers.
        is_killed: whether the kill switch is on.
        on_event: called with a case and what has happened to it (start, step, roll_back, ...), after workers were told.
        now: the monotonic clock, in seconds.
        wall: the clock of records, in Unix seconds.
    """

    def __init__(
        self,
        config: Config,
        store: Store,
        audit: Audit,
        arming: Arming,
        *,
        is_killed: Callable[[], bool] = lambda: False,
        on_event: Callable[[Case, str], None] = lambda *_: None,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.cases: dict[str, Case] = {}
        self._config = config
        self._store = store
        self._audit = audit
        self._arming = arming
        self._is_killed = is_killed
        self._on_event = on_event
        self._now = now
        self._wall = wall
        self._tasks: set[asyncio.Task[None]] = set()
        self._writing = asyncio.Lock()
        self._told: list[Plain] = []

    def __repr__(self) -> str:
        return f"<Rollouts {[(case.route, case.conductor.state, case.percent) for case in self.cases.values()]}>"

    # What people see and order.

    def documents(self) -> list[Plain]:
        """Every rollout that the config has or that was begun, by route."""
        routes = {route.name: route for route in self._config.routes if route.rollout is not None or route.name in self.cases}
        return [self.document(name) for name in routes]

    def document(self, route: str) -> Plain:
        """The rollout of a route, begun or not.

        Raises:
            KeyError: the route has none.
        """
        case = self.cases.get(route)
        if case is not None:
            return case.document()
        found, rollout = self._route(route)
        idle = Case(route, 0, found.live, "", 0.0, RolloutConductor(rollout))
        return {**idle.document(), "id": None, "started": None}

    async def start(self, route: str, actor: Actor, why: str = "", request_id: str = "") -> Plain:
        """Begin the rollout of a route.

        Raises:
            KeyError: the route has none.
            ControlError: one is under way, the kill switch is on, or the config makes no sense of it any more.
            StateError: it cannot be written down; nothing was begun.
        """
        found, rollout = self._route(route)
        old = self.cases.get(route)
        if old is not None and old.conductor.state != ROLLED_BACK and not old.is_adopted:
            raise ControlError(f"the rollout of {route} is {_said(old.conductor.state)}: abort it before another begins")
        self._refuse_while_killed("start")
        now = self._now()
        case = Case(
            route, old.epoch + 1 if old is not None else 1, found.live, actor.name, self._wall(), RolloutConductor(rollout), since=now
        )
        # Whoever asked may hang up: what was begun is finished.
        await asyncio.shield(self._spawn(self._begin(case, old, actor, why, request_id)))
        return case.document()

    async def order(self, route: str, order: str, actor: Actor, why: str = "", request_id: str = "") -> Plain:
        """Pause, resume, promote, complete or abort the rollout of a route.

        Raises:
            KeyError: the route has none.
            ControlError: it is in no state for that, or the kill switch is on and more users would get the new version.
            StateError: the next step cannot be written down; it is paused instead.
        """
        case = self.cases.get(route)
        if case is None:
            self._route(route)
            raise ControlError(f"the rollout of {route} has not begun")
        if case.is_adopted:
            raise ControlError(f"the rollout of {route} is over: the config has made {case.rollout.to} live")
        if order in {"resume", "promote", "complete"}:
            self._refuse_while_killed(order)
        said = f"{actor.name}: {why}" if why else actor.name
        try:
            decision = case.conductor.order(order, case.seconds(self._now()), said)
        except ValueError as error:
            raise ControlError(str(error)) from None
        if order in {"promote", "complete", "resume"}:
            await asyncio.shield(self._spawn(self._advance(case, decision, actor, why, request_id)))
            if case.problem:
                raise StateError(case.problem)
        else:
            self._carry_out(case, decision, actor, why, request_id)
            await self._try_write(case)
        return case.document()

    # What happens to them.

    def on_exposure(self, message: Mapping[str, Any]) -> None:
        """Take up what one worker tells of splits, and carry out what follows from it before returning.

        Raises:
            KeyError: it lacks a member.
        """
        for route, counts in message.get("splits", {}).items():
            case = self.cases.get(route)
            if case is not None and counts["epoch"] == case.epoch:
                self._tick(case, dict(counts))

    def follow(self, config: Config) -> None:
        """Take up a config that has come into force: rollouts that it leaves no place for are over."""
        self._config = config
        routes = {route.name: route for route in config.routes}
        for case in self.cases.values():
            if case.conductor.state == ROLLED_BACK or case.is_adopted:
                continue
            route = routes.get(case.route)
            if route is not None and route.live == case.rollout.to and case.rollout.to in config.fleets:
                self._adopt(case)
            elif why := _gone(case, route, config):
                self._carry_out(case, case.conductor.roll_back("config", f"the config has changed: {why}"))
                self._spawn(self._try_write(case))
        self._tell()

    def kill(self) -> None:
        """Pause what is under way, as the kill switch does: users stay where they are. Never blocks."""
        for case in self.cases.values():
            if case.conductor.state == RUNNING:
                self._carry_out(case, case.conductor.pause("killed", "paused by the kill switch; users stay where they are"))
                self._spawn(self._try_write(case))

    async def restore(self) -> None:
        """Take up what the last run left, before workers start. Never raises; a store that cannot be read has nothing."""
        for route in self._config.routes:
            try:
                text = await self._store.get(KEY + route.name)
            except StateError as error:
                _log.warning("rollouts of the last run are lost, the store cannot be read: %s", error)
                return
            if not text:
                continue
            try:
                self.cases[route.name] = case = Case.from_row(text, self._now())
            except (LookupError, TypeError, ValueError, RecursionError) as error:
                _log.error("the rollout of %s cannot be read and is over, everybody has the old version: %s", route.name, error)
                continue
            if case.is_open:
                _log.warning("the rollout of %s to %s goes on at %g %%", case.route, case.rollout.to, case.percent)
                self._audit.record(SYSTEM, "rollout.continue", "ok", after=f"{case.percent:g} %", detail=case.id)
        self.follow(self._config)
        if self._is_killed():
            self.kill()

    async def keep(self) -> None:
        """Tick and write, for as long as the task runs."""
        saved = self._now()
        while True:
            await asyncio.sleep(TICK_S)
            for case in list(self.cases.values()):
                try:
                    if case.is_open:
                        self._tick(case, {})
                except Exception:  # noqa: BLE001  a bug in one rollout must not end the watch over the others
                    _log.exception("rollout of %s", case.route)
            if self._now() - saved >= SAVE_S:
                await self.save()
                saved = self._now()

    async def save(self) -> None:
        """Write what has changed, and finish what could not be written before. Never raises."""
        for case in list(self.cases.values()):
            conductor = case.conductor
            if conductor.state == COMPLETED and case.percent < conductor.percent and not case.is_adopted:
                await self._advance(case, RolloutDecision("complete", conductor.percent, conductor.code, conductor.reason))
            elif case.mark != case.written:
                await self._try_write(case)

    async def close(self) -> None:
        """Finish what was begun, and write everything a last time. Never raises."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.save()

    # How.

    def _route(self, name: str) -> tuple[Route, Rollout]:
        for route in self._config.routes:
            if route.name == name and route.rollout is not None:
                return route, route.rollout
        raise KeyError(name)

    def _refuse_while_killed(self, order: str) -> None:
        if self._is_killed():
            raise ControlError(f"the kill switch is on: `shadowproxy resume` first, then {order} the rollout")

    def _tick(self, case: Case, counts: Plain) -> None:
        conductor = case.conductor
        # While a step is being written down workers serve the last one: that is no time of the new one.
        is_told = case.percent == conductor.percent
        seconds = round(case.seconds(self._now()), 3) if is_told else conductor.seconds
        decision = conductor.tick(RolloutTick(seconds, counts))
        if decision.action in {"step", "complete"}:
            self._spawn(self._advance(case, decision))
        elif decision.action != "stay":
            self._carry_out(case, decision)
            self._spawn(self._try_write(case))

    async def _begin(self, case: Case, old: Case | None, actor: Actor, why: str, request_id: str) -> None:
        decision = case.conductor.start()
        await self._write(case, decision.percent)
        first = self.cases.get(case.route)
        if first is not None and first is not old:
            await self._try_write(first)
            raise ControlError(f"the rollout of {case.route} was begun by somebody else meanwhile")
        if self._is_killed():
            case.conductor.roll_back("killed", "the kill switch was pulled while it was being begun")
            await self._try_write(case)
            self._refuse_while_killed("start")
        self.cases[case.route] = case
        self._carry_out(case, decision, actor, why, request_id, event="start")

    async def _advance(self, case: Case, decision: RolloutDecision, actor: Actor = SYSTEM, why: str = "", request_id: str = "") -> None:
        """More users get the new version, once that is durable, and unless it was paused meanwhile: then once it is resumed."""
        try:
            await self._write(case, decision.percent)
        except StateError as error:
            if case.conductor.state == RUNNING:
                reason = f"the step to {decision.percent:g} % cannot be written down: {error}"
                self._carry_out(case, case.conductor.pause("state", reason), actor, why, request_id)
            case.problem = str(error)
            return
        if case.conductor.state in {RUNNING, COMPLETED}:
            self._carry_out(case, decision, actor, why, request_id)
        elif case.conductor.state == PAUSED:
            await self._try_write(case)

    def _carry_out(
        self, case: Case, decision: RolloutDecision, actor: Actor = SYSTEM, why: str = "", request_id: str = "", *, event: str = ""
    ) -> None:
        """Tell workers, then everybody else. What goes forward has been written."""
        before = case.percent
        if decision.action in {"step", "complete", "resume", "roll_back"}:
            case.percent = decision.percent
        self._tell()
        over = case.conductor.state in {ROLLED_BACK, COMPLETED}
        case.ended = self._wall() if over else None
        event = event or decision.action
        level = logging.ERROR if decision.action == "roll_back" else logging.WARNING
        _log.log(level, "rollout of %s to %s: %s at %g %%: %s", case.route, case.rollout.to, event, case.percent, decision.reason)
        self._audit.record(
            actor, f"rollout.{event}", "ok", before=f"{before:g} %", after=f"{case.percent:g} %",
            detail=f"{case.id}: {decision.reason}" + (f" ({why})" if why and why not in decision.reason else ""), request_id=request_id,
        )  # fmt: skip
        self._on_event(case, event)

    def _adopt(self, case: Case) -> None:
        """The new version has become live: nothing is left to split."""
        if case.conductor.state in {RUNNING, PAUSED}:
            self._carry_out(case, case.conductor.order("complete", case.seconds(self._now()), "the config has made it live"))
        case.is_adopted = True
        self._spawn(self._try_write(case))

    def _tell(self) -> None:
        """Tell workers all splits there are, where that is news."""
        denied = self._config.experiments.deny
        splits = [split for case in self.cases.values() if (split := case.split(denied)) is not None]
        if splits != self._told:
            self._told = splits
            self._arming.split(splits)

    async def _write(self, case: Case, pending: float = 0.0) -> None:
        """Make a rollout durable as it is now, and the share that workers are told of next.

        Raises:
            StateError: the store does not work.
        """
        async with self._writing:
            mark = case.mark
            text = await asyncio.to_thread(json.dumps, case.plain(pending), separators=(",", ":"))
            await self._store.put(KEY + case.route, text)
            case.written, case.problem = mark, ""

    async def _try_write(self, case: Case) -> None:
        try:
            await self._write(case)
        except StateError as error:
            case.problem = str(error)
            _log.error("rollout of %s: what has happened is not written down: %s", case.route, error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task


def _gone(case: Case, route: Route | None, config: Config) -> str:
    """Why a config leaves no place for a rollout; empty when it does."""
    if route is None:
        return f"there is no route {case.route} any more"
    now = route.rollout
    if now is None:
        return f"route {case.route} has no rollout any more"
    if route.live != case.live or case.live not in config.fleets:
        return f"live was {case.live} and is {route.live}"
    if now.to != case.rollout.to or now.to not in config.fleets:
        return f"the new version was {case.rollout.to} and is {now.to}"
    if (now.key, now.salt) != (case.rollout.key, case.rollout.salt):
        return "key or salt would move every unit"
    return ""


def _said(state: str) -> str:
    return state.replace("_", " ")
