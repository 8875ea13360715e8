"""The governor: what runs, since when, by which right, and that it ends.

Of a run that begins::

    submit ──▶ admission ──▶ journal ──▶ probes well? ──▶ epoch ──▶ journal ──▶ lease, then the message to workers

Of what workers tell, at once and in the same call::

    exposure ──▶ tick ──▶ conductor ──▶ decision ──▶ carried out ──▶ journal

And of every end, whoever wants it: the lease is taken back from the memory of all workers, then they are told, and only then is
it written down. So nothing that can hang (a disk, a store, a probe, somebody who is notified) stands before the end of a fault.

What cannot be judged or written down is ended: a bug in the conductor, a message that cannot be read, a journal that does not work.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.control.attachments import Attachment
from shadowproxy.control.audit import SYSTEM, Actor
from shadowproxy.control.epochs import Epochs
from shadowproxy.control.journal import Journal
from shadowproxy.control.leases import Leases
from shadowproxy.control.playback import known_of
from shadowproxy.control.runs import RUNS_KEPT, Past, Plain, Run
from shadowproxy.errors import ExperimentRefused
from shadowproxy.experiments.admission import Circumstances, admit, refusals
from shadowproxy.experiments.allowance import error_budget
from shadowproxy.experiments.calendar import BLOCKOUT
from shadowproxy.experiments.lifecycle import State

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from pathlib import Path

    from shadowproxy.config.experiment import Experiment, Level
    from shadowproxy.config.model import Config
    from shadowproxy.control.arming import Arming
    from shadowproxy.control.audit import Audit
    from shadowproxy.control.equipment import Equipment
    from shadowproxy.control.leases import Words
    from shadowproxy.experiments.admission import Admission
    from shadowproxy.experiments.conductor import Decision
    from shadowproxy.store import Store

_log = logging.getLogger("shadowproxy.control")

PULSE_S: Final = 0.05
"""How often leases, and what is late, are looked at. The shortest lease is 0.2 s."""

TICK_S: Final = 0.1
"""How often a conductor is asked when nothing is told: durations end, and probes change."""

CLOSURES_S: Final = 1.0
"""How often blockouts are looked at while something runs."""

_GONE: Final = frozenset({"unknown_route", "unknown_fleet", "unknown_endpoint", "unknown_cell"})
"""Refusals that end a run when a new config brings them about."""


class Governor:
    """All runs of an instance.

    Args:
        config: in force.
        journal: path of the journal.
        words: the shared words of every living worker.
        arming: where armed runs are told to workers.
        store: keeps the epoch.
        audit: who asked for what.
        equipment: the parts that judge.
    """

    def __init__(
        self,
        config: Config,
        journal: Path,
        words: Callable[[], Iterable[Words]],
        *,
        arming: Arming,
        store: Store,
        audit: Audit,
        equipment: Equipment,
    ) -> None:
        self.journal = Journal(journal, self._on_journal_failure, standing=lambda: self._past.standing(self.runs))
        self.journal.configure(config.experiments)
        self.leases = Leases(words)
        self.ends: dict[tuple[str, str], int] = {}
        """Runs that have ended since the start, by state and code."""
        self.refused = 0
        self._config = config
        self._arming = arming
        self._epochs = Epochs(store)
        self._audit = audit
        self._equipment = equipment
        self._runs: dict[str, Run] = {}
        self._past = Past()
        self._owed: list[tuple[str, Plain]] = []
        self._restored = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._wake = asyncio.Event()
        self._is_closing = False
        self._next_tick = self._next_look = self._last_beat = 0.0
        self._pulse: asyncio.Task[None] | None = None

    def __repr__(self) -> str:
        return f"<Governor {self.active} {self.journal!r}>"

    @property
    def runs(self) -> list[Run]:
        """Every run that can be shown, the newest last: in the order in which they came, as a clock may have been set back since."""
        return list(self._runs.values())

    @property
    def active(self) -> list[Run]:
        """Those that have not ended."""
        return [run for run in self._runs.values() if not run.life.has_ended]

    def find(self, run: str) -> Run | None:
        """The run of that id; of a name alone, its newest."""
        named = self._runs.get(run)
        if named is not None:
            return named
        return next((one for one in reversed(self.runs) if one.experiment.name == run), None)

    # -- before anything runs

    async def restore(self) -> None:
        """Read the journal, and close what an earlier control process left unfinished. Nothing of it is armed again."""
        self._pulse = asyncio.get_running_loop().create_task(self._keep())
        try:
            await self._take_up()
        finally:
            self._restored.set()

    async def _take_up(self) -> None:
        problem = await self.journal.open(self._past.visit)
        if problem:
            _log.critical("no experiment begins: the journal does not work: %s", problem)
        await self._epochs.restore(self._past.epoch)
        unfinished = [run for run in self._past.runs.values() if not run.life.has_ended]
        for run in unfinished:
            run.conductor = await known_of(run, self.journal)
        self._runs |= self._past.runs  # only now: nothing else must end those first
        for run in unfinished:
            said = "the control process that ran it ended without ending it; its faults ended with their lease"
            self.end(run, State.ABORTED, "restart", said)

    async def submit(
        self,
        experiment: Experiment,
        actor: Actor,
        *,
        is_dry: bool = False,
        force: str = "",
        attached_s: float | None = None,
        request_id: str = "",
    ) -> Run:
        """Have an experiment admitted, and begin it as soon as its probes are known to be well.

        Args:
            experiment: what is to be run.
            actor: who asks.
            is_dry: decide and count, break nothing.
            force: why rules of the house shall not count; "" if they do.
            attached_s: end it when nobody has said `keep` for so long; None for a run that goes on by itself.
            request_id: of the request that asks.

        Raises:
            ExperimentRefused: it may not begin, with every reason.
        """
        await self._restored.wait()
        if self.journal.problem and not self.active:
            await self._mend()
        unsteady, past = await asyncio.gather(self._unsteady(experiment), self._equipment.look_back(experiment))
        # From here to where it is known nothing is awaited: of two that are asked for at once, the second must meet the first.
        run = Run(self._past.numbers.get(experiment.name, 0) + 1, experiment, actor.name, is_dry=is_dry, force=force.strip())
        answer = admit(experiment, self._circumstances(experiment, unsteady), force)
        run.admission = answer.to_plain()
        run.look_back = past.to_plain()
        run.attachment = Attachment(attached_s) if attached_s is not None else None
        run.lease = self.leases.take(self._config.experiments.lease) if answer.is_admitted else None
        if run.lease is None:
            raise self._refuse(run, answer, actor, request_id)
        self._past.numbers[experiment.name] = run.number
        self._runs[run.id] = run
        self._wake.set()
        asked = {"submitted_by": run.submitted_by, "source": actor.source, "dry": is_dry, "force": run.force, "attached": attached_s}
        found = {"experiment": run.plain, "admission": run.admission, "look_back": run.look_back}
        problem = await self.journal.write(run.id, "admitted", found | asked)
        if run.life.has_ended:
            return run
        if problem:
            self.end(run, State.ABORTED, "journal", problem)
            return run
        run.life.become(State.ADMITTED)
        run.note("admitted", run.terms)
        self._audit.record(actor, "experiment.run", "ok", after=run.id, detail=f"{_intent(run)}; {run.force}", request_id=request_id)
        self._announce(run, "admitted")
        self._spawn(self._begin(run))
        return run

    async def check(self, experiment: Experiment, force: str = "") -> Admission:
        """Whether it would be admitted now, and why not. Its probes are asked, as they would be."""
        return admit(experiment, self._circumstances(experiment, await self._unsteady(experiment)), force)

    # -- while it runs

    def on_exposure(self, message: Mapping[str, Any]) -> None:
        """Take up what one worker tells of runs, and carry out what follows from it before returning."""
        for name, exposure in message.get("experiments", {}).items():
            run = self._runs.get(name)
            if run is None or exposure.get("epoch") != run.epoch:
                continue
            with self._ends_on_error(run):
                run.totals.add(exposure)
                self._equipment.on_units(run, exposure.get("units", {}), exposure.get("units_dropped", 0))
                if not run.is_running:
                    counts = {
                        part: exposure[part]
                        for part in ("fault", "control", "faults", "unharmed", "seen", "hit", "outside")
                        if part in exposure
                    }
                    self.journal.append(run.id, "late", {"counts": counts})
                    continue
                if run.lookout is not None:
                    run.lookout.offer(exposure.get("samples", ()))
                self._tick(run, dict(exposure))
                if run.is_running and exposure.get("over"):
                    self.end(run, State.EXPIRED, str(exposure["over"]), "a worker found that the lease was not renewed in time")

    def show_leases(self, words: Words) -> None:
        """Give a worker that has just been made the leases of what runs."""
        self.leases.show(words)

    def follow(self, config: Config) -> None:
        """Take up a config that has come into force; what it leaves no place for ends."""
        self._config = config
        self.journal.configure(config.experiments)
        for run in self.active:
            found = [one for one in refusals(run.experiment, self._circumstances(run.experiment, beside=run)) if one.code in _GONE]
            if found:
                self.end(run, State.ABORTED, "config", found[0].sentence)
            elif run.is_running:
                self._tell(run)

    def keep(self, run: Run) -> None:
        """Whoever waits for an attached run is there. Of others, and of one that has ended, this says nothing."""
        if run.attachment is not None:
            run.attachment.keep()

    # -- every end

    def stop(self, run: Run, actor: Actor, reason: str = "", request_id: str = "") -> None:
        """End a run because a person wants it. Nothing happens to one that has ended."""
        if not run.life.has_ended:
            said = f"stopped by {actor.name}" + (f": {reason}" if reason else "")
            self.end(run, State.ABORTED, "stopped", said, actor=actor, request_id=request_id)

    def kill(self, reason: str) -> None:
        """End everything, as the kill switch does."""
        self._end_all(State.KILLED, "kill_switch", reason)

    def shut_down(self) -> None:
        """End everything, as control ends; nothing begins any more."""
        self._is_closing = True
        self._end_all(State.ABORTED, "shutdown", "the proxy is being stopped")

    def end(self, run: Run, state: State, code: str, reason: str, *, actor: Actor = SYSTEM, request_id: str = "") -> None:
        """End a run: first the lease, then the message, then the journal. Never blocks, never raises; idempotent."""
        if run.life.has_ended:
            return
        self._release(run)
        run.end(State.ABORTED if run.state is State.DRAFT else state, code, reason)
        key = (str(run.state), code)
        self.ends[key] = self.ends.get(key, 0) + 1
        _log.warning("experiment %s is %s (%s): %s", run.id, run.state, code, reason)
        self._write_end(run)
        self._audit.record(actor, "experiment.end", "ok", before=run.id, after=run.state, detail=f"{code}: {reason}", request_id=request_id)
        self._announce(run, str(run.state))
        self._forget_oldest()
        if not self._is_closing:
            self._spawn(self._finish(run))

    def _release(self, run: Run) -> None:
        """From now on no worker breaks anything for it."""
        if run.lease is not None:
            self.leases.end(run.lease)
        self._arming.disarm(run.id)

    async def close(self) -> None:
        """Finish the journal and everything that was begun, within about two seconds."""
        self.shut_down()
        for task in [self._pulse, *self._tasks]:
            if task is not None:
                task.cancel()
        for run in self._runs.values():
            with contextlib.suppress(Exception):  # what a run was watched with; nothing of it matters any more
                await self._put_away(run)
        await asyncio.to_thread(self.journal.close)

    # -- one run

    async def _begin(self, run: Run) -> None:
        try:
            run.prober = self._equipment.probe(run.experiment)
            run.lookout = self._equipment.look(run.experiment)
            objections = await run.prober.prepare()
            if objections and not run.life.has_ended:
                self.end(run, State.ABORTED, "steady_state", "; ".join(objections))
            if run.life.has_ended:
                return
            run.epoch = await self._epochs.take()
            if run.life.has_ended or run.prober is None:
                return
            run.steady = run.prober.steady
            budget = error_budget(run.experiment, self._equipment.traffic(run.experiment))
            run.error_budget = budget.allowed if budget is not None else None
            run.neighbours = self._equipment.cells(run)
            contained = run.neighbours.told() if run.neighbours is not None else None
            run.conductor = self._equipment.conduct(run.experiment, error_budget=run.error_budget, steady=run.steady, containment=contained)
            told = {
                "epoch": run.epoch,
                "percent": run.percent,
                "error_budget": run.error_budget,
                "steady": run.steady,
                "containment": contained,
            }
            problem = await self.journal.write(run.id, "armed", told)
            if not run.life.has_ended and not problem:
                self._arm(run)
        except Exception as error:  # noqa: BLE001  a bug must not leave a run that is neither begun nor ended
            _log.exception("experiment %s cannot begin", run.id)
            self.end(run, State.ABORTED, "internal", f"it cannot begin: {error}")

    def _arm(self, run: Run) -> None:
        """The first moment at which workers may break something."""
        assert run.lease is not None
        if self._equipment.is_killed():
            self.end(run, State.KILLED, "kill_switch", "the kill switch was pulled before it began")
            return
        run.start()
        self.leases.begin(run.lease)
        self._tell(run)
        self._wake.set()
        _log.warning("experiment %s runs: %s", run.id, _intent(run))
        self._announce(run, "started")

    def _tell(self, run: Run) -> None:
        assert run.lease is not None
        self._arming.arm(run.armed(run.lease.index, run.lease.length_ns, self._config))

    def _tick(self, run: Run, counts: Plain) -> None:
        """Ask the conductor, and do what it says."""
        assert run.conductor is not None
        tick = run.tick(counts)
        decision = run.conductor.tick(tick)
        if decision.action == "end":
            self._release(run)  # the making of text stands before no end
        self.journal.append(run.id, "tick", tick.to_plain())
        if decision.action != "go":
            self.journal.append(run.id, "decision", _plain(decision))
            self._carry_out(run, decision)

    def _carry_out(self, run: Run, decision: Decision) -> None:
        if decision.action == "end":
            self.end(run, State(decision.state), decision.code, decision.reason)
            return
        if run.life.has_ended:  # the journal took the decision badly
            return
        run.is_paused = decision.action == "pause"
        run.percent = decision.percent or run.percent
        self._tell(run)
        run.note(decision.action, decision.reason)
        _log.info("experiment %s: %s to %g %%: %s", run.id, decision.action, decision.percent, decision.reason)
        self._audit.record(SYSTEM, f"experiment.{decision.action}", "ok", after=run.id, detail=f"{decision.percent:g} %: {decision.reason}")
        self._announce(run, decision.action)

    def _write_end(self, run: Run) -> None:
        seconds = None
        try:
            seconds = run.conclude()
            document = run.document()
        except Exception:  # noqa: BLE001  an end is written down, whatever the conductor can say of it
            _log.exception("experiment %s has no result", run.id)
            document = {}
        for name in ("experiment", "admission", "look_back", "journal"):
            document.pop(name, None)
        body = {"state": str(run.state), "code": run.code, "reason": run.reason, "seconds": seconds, "document": document}
        if self.journal.problem:
            self._owed.append((run.id, body))
        else:
            self.journal.append(run.id, "ended", body)

    async def _finish(self, run: Run) -> None:
        """See whether the system is well after it, and let go of what it was watched with."""
        if run.started is not None and run.prober is not None and run.experiment.steady_state:
            with contextlib.suppress(Exception):  # the run has ended; that it cannot be said is a sentence, too
                objections = await run.prober.check()
                run.note("steady_state", "; ".join(objections) or "as it was before")
        with contextlib.suppress(Exception):
            await self._put_away(run)

    async def _put_away(self, run: Run) -> None:
        run.totals.forget_units()
        prober, run.prober = run.prober, None
        lookout, run.lookout = run.lookout, None
        if lookout is not None:
            await lookout.close()
        if prober is not None:
            await prober.close()

    def _announce(self, run: Run, event: str) -> None:
        """Pass on what happened; that somebody cannot be told keeps no other run from its end."""
        try:
            self._equipment.on_event(run, event)
        except Exception:  # noqa: BLE001  as above
            _log.exception("nobody can be told that %s is %s", run.id, event)

    # -- all of them

    async def _keep(self) -> None:
        """Renew leases, and let time pass for runs of which nothing is told."""
        while True:
            await (asyncio.sleep(PULSE_S) if self.active else self._rest())
            try:
                self._beat(time.monotonic())
            except Exception:  # noqa: BLE001  a run whose time does not pass would never end
                _log.exception("experiments cannot be watched")
                self._end_all(State.ABORTED, "internal", "they cannot be watched any more; the log has the details")

    def _beat(self, now: float) -> None:
        self._renew()
        self._end_abandoned(now - self._last_beat)
        self._last_beat = now
        if now >= self._next_tick:
            self._next_tick = now + TICK_S
            self.journal.check()
            self._tick_all()
        if now >= self._next_look:
            self._next_look = now + CLOSURES_S
            self._end_in_blockouts()

    def _renew(self) -> None:
        for run in self.active:
            if run.is_running and run.lease is not None and not self.leases.renew(run.lease):
                self.end(run, State.EXPIRED, "lease", "the lease was not renewed in time: control was held up for longer than it lasts")

    def _end_abandoned(self, seconds: float) -> None:
        for run in self.active:
            if run.attachment is None or run.state is State.DRAFT:  # who asked has no answer yet, and cannot know what to keep
                continue
            run.attachment.pass_time(seconds)
            if run.attachment.is_gone:
                said = f"the command that waits for it was not heard of for {run.attachment.patience_s:g} s, and it was begun to end with that command"
                self.end(run, State.ABORTED, "client_gone", said)

    def _tick_all(self) -> None:
        for run in self.active:
            if run.is_running:
                with self._ends_on_error(run):
                    self._tick(run, {})

    async def _rest(self) -> None:
        self._wake.clear()
        await self._wake.wait()

    def _end_in_blockouts(self) -> None:
        for run in self.active:
            with self._ends_on_error(run):
                # A calendar that cannot be read lets nothing begin; what runs is ended by blockouts that are known to hold.
                closures = [one for one in self._equipment.closures() if one.code == BLOCKOUT]
                if closures and not run.force:
                    self.end(run, State.ABORTED, closures[0].code, closures[0].sentence)

    def _end_all(self, state: State, code: str, reason: str) -> None:
        # All leases first: the second run must not wait for what is said of the first.
        for run in self.active:
            if run.lease is not None:
                self.leases.end(run.lease)
        for run in self.active:
            self.end(run, state, code, reason)

    def _on_journal_failure(self, problem: str) -> None:
        self._end_all(State.ABORTED, "journal", problem)

    @contextlib.contextmanager
    def _ends_on_error(self, run: Run) -> Any:
        """What cannot be judged is ended."""
        try:
            yield
        except Exception as error:  # noqa: BLE001  whatever it is, faults must not go on unjudged
            _log.exception("experiment %s cannot be judged", run.id)
            self.end(run, State.ABORTED, "internal", f"it cannot be judged: {type(error).__name__}: {error}")

    async def _unsteady(self, experiment: Experiment) -> tuple[str, ...]:
        """Why the system is not well, as far as that is soon known."""
        if not experiment.steady_state:
            return ()
        prober = self._equipment.probe(experiment)
        try:
            return tuple(await prober.look())
        finally:
            await prober.close()

    def _circumstances(self, experiment: Experiment, unsteady: tuple[str, ...] = (), *, beside: Run | None = None) -> Circumstances:
        equipment = self._equipment
        return Circumstances(
            now=datetime.now(UTC),
            config=self._config,
            running=tuple(run.experiment for run in self.active if run is not beside),
            rollouts=equipment.rollouts(),
            closures=equipment.closures(),
            is_killed=equipment.is_killed() or self._is_closing,
            is_journal_writable=not self.journal.problem,
            unsteady=unsteady,
            completed=self._completed(experiment.name),
            traffic=equipment.traffic(experiment),
        )

    def _completed(self, name: str) -> frozenset[Level]:
        done = [run for run in self._runs.values() if run.state is State.COMPLETED and run.experiment.name == name and not run.is_dry]
        return frozenset(run.experiment.domain.level for run in done)

    def _refuse(self, run: Run, answer: Admission, actor: Actor, request_id: str) -> ExperimentRefused:
        self.refused += 1
        found = run.admission if not answer.is_admitted else []
        if not found:
            found = [
                {"code": "lease", "sentence": "no lease is free: too many runs have begun within half a minute", "is_overridden": False}
            ]
        detail = "; ".join(f"{one['code']}: {one['sentence']}" for one in found)
        self._audit.record(actor, "experiment.run", "refused", after=run.experiment.name, detail=detail, request_id=request_id)
        if not self.journal.problem:
            self.journal.append("", "refused", {"name": run.experiment.name, "by": actor.name, "admission": found, "force": run.force})
        return ExperimentRefused(run.experiment.name, found)

    async def _mend(self) -> None:
        """Try a journal that did not work again, and write down what it is owed."""
        if await self.journal.open():
            return
        owed, self._owed = self._owed, []
        for index, (run, body) in enumerate(owed):
            if await self.journal.write(run, "ended", body):
                self._owed = owed[index:]
                return
        _log.warning("the journal of experiments works again")

    def _forget_oldest(self) -> None:
        ended = [run for run in self.runs if run.life.has_ended]
        for run in ended[: max(0, len(ended) - RUNS_KEPT)]:
            del self._runs[run.id]

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _intent(run: Run) -> str:
    said = f"{run.experiment.name} by {run.experiment.owner}, up to {run.experiment.slice.percent:g} % of {', '.join(run.experiment.inject.routes)}"
    return said + (", dry" if run.is_dry else "")


def _plain(decision: Decision) -> Plain:
    return {name: getattr(decision, name) for name in ("action", "state", "code", "reason", "percent")}
