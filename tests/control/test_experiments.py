"""The governor: what runs has a right to, and it ends, whatever happens."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.playback import verdict_of
from shadowproxy.errors import ExperimentRefused, StateError
from shadowproxy.experiments.journal import first_broken
from shadowproxy.experiments.lifecycle import State
from tests.control.asked import Asked, answer, asked
from tests.control.conftest import Start, plain, until
from tests.control.governed import ACTOR, experiment, exposure, leases_of, running

if TYPE_CHECKING:
    from pathlib import Path

    from shadowproxy.config.experiment import Experiment
    from shadowproxy.control.supervisor import Supervisor
    from shadowproxy.dataplane.messages import Message


def told(supervisor: Supervisor) -> list[Message]:
    """The messages about experiments that workers are sent from now on."""
    sent: list[Message] = []
    broadcast = supervisor.crew.broadcast

    def keep(message: Message) -> None:
        sent.append(message)
        broadcast(message)

    supervisor.arming._broadcast = keep
    return sent


async def entries(supervisor: Supervisor, run: str) -> list[dict[str, Any]]:
    """The run's journal once nothing waits."""
    await until(lambda: not supervisor.governor.journal.waiting, "the journal is written")
    return [json.loads(line) for line in supervisor.governor.journal.lines(run)]


async def test_a_run_from_draft_to_its_end(start: Start) -> None:
    """Admitted, armed with an epoch and a lease, ended by its time; each step on record, and the verdict in the document."""
    supervisor = await start(workers=2)
    sent = told(supervisor)
    run = await running(supervisor, duration="300ms")
    assert run.epoch == 1
    (armed,) = sent[0]["armed"]
    assert (armed["id"], armed["epoch"], armed["percent"], armed["dry"], armed["lease_ns"]) == ("slow-1", 1, 1.0, False, 2_000_000_000)
    assert len(leases_of(supervisor)) == 2
    supervisor.governor.on_exposure(exposure(run, units={"00ff": 3, "0a": 1}))
    supervisor.governor.on_exposure(exposure(run, units={"00ff": 2}))
    await until(lambda: run.life.has_ended, "its time is over")
    assert (run.state, run.code) == (State.COMPLETED, "finished")
    assert not leases_of(supervisor)
    assert sent[-1]["armed"] == []
    document = run.document()
    json.dumps(document)
    assert document["units"] == 2
    assert document["seen"] == 20
    assert document["result"]["verdict"]
    assert [one["event"] for one in document["timeline"]] == ["admitted", "started", "completed"]
    kinds = [one["kind"] for one in await entries(supervisor, run.id)]
    assert kinds[:2] == ["admitted", "armed"]
    assert set(kinds[2:-2]) == {"tick"}
    assert kinds[-2:] == ["decision", "ended"]
    actions = {one["action"] for one in supervisor.audit.latest(10)}
    assert {"experiment.run", "experiment.end"} <= actions
    assert "running" not in repr(supervisor.governor)


async def test_the_verdict_is_replayed_bit_for_bit(start: Start) -> None:
    """From the journal alone, and a changed journal is found out."""
    supervisor = await start()
    run = await running(supervisor, duration="400ms")
    for errors in (0, 1, 2):
        supervisor.governor.on_exposure(exposure(run, errors=errors))
        await asyncio.sleep(0.03)
    await until(lambda: run.life.has_ended, "its time is over")
    await entries(supervisor, run.id)
    again = await verdict_of(run, supervisor.governor.journal)
    assert again["is_same"]
    assert json.dumps(again["result"], sort_keys=True) == json.dumps(run.document()["result"], sort_keys=True)
    path = supervisor.governor.journal.path
    raw = path.read_bytes()
    path.write_bytes(raw.replace(b'"requests":10', b'"requests":11', 1))
    with pytest.raises(StateError, match="line"):
        await verdict_of(run, supervisor.governor.journal)
    path.write_bytes(raw)


async def test_a_guard_ends_it_before_the_call_returns(start: Start) -> None:
    """The message that makes a guard true has taken the lease from every worker when it has been read."""
    supervisor = await start(workers=2)
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run, requests=100, errors=2))
    assert run.is_running
    supervisor.governor.on_exposure(exposure(run, requests=100, errors=100))
    assert run.state is State.ABORTED
    assert not leases_of(supervisor)
    assert not supervisor.arming.armed
    assert run.code not in {"", "internal"}


async def test_what_a_worker_tells_late_is_counted_and_judged_no_more(start: Start) -> None:
    """Requests under way when it ended end too; a verdict that was given does not change."""
    supervisor = await start()
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run))
    supervisor.governor.stop(run, ACTOR, "enough")
    result = json.dumps(run.document()["result"])
    supervisor.governor.on_exposure(exposure(run, errors=3))
    assert run.document()["seen"] == 20
    assert json.dumps(run.document()["result"]) == result
    assert [one["kind"] for one in await entries(supervisor, run.id)][-1] == "late"
    assert run.reason == "stopped by token:test: enough"
    assert run.result["verdict"] == "undecided"
    assert " s of 60 s: stopped by token:test: enough; by then 0 of 10 answers failed with the fault" in run.result["sentence"]
    assert (await verdict_of(run, supervisor.governor.journal))["is_same"]


async def test_what_is_of_no_run_or_another_epoch_is_nothing(start: Start) -> None:
    """A worker that was away speaks of what is over."""
    supervisor = await start()
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run, epoch=run.epoch + 1))
    supervisor.governor.on_exposure({"type": "exposure", "experiments": {"other-1": {"epoch": 1}}})
    assert run.document()["seen"] == 0
    assert run.is_running


@pytest.mark.parametrize("broken", [{"seen": "many"}, {"fault": 7}, {"faults": {"abort": "x"}}, {"units": {"a": None}}])
async def test_what_cannot_be_judged_is_ended(start: Start, broken: dict[str, Any]) -> None:
    """A worker that tells nonsense, or a bug of ours, must not let faults go on unjudged."""
    supervisor = await start()
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run, **broken))
    assert (run.state, run.code) == (State.ABORTED, "internal")
    assert not leases_of(supervisor)


async def test_leases_are_renewed_and_a_new_worker_is_shown_them(start: Start) -> None:
    """While it runs; a worker that replaces a dead one gets the same epoch, in its first policy."""
    supervisor = await start()
    run = await running(supervisor)
    (before,) = leases_of(supervisor)
    await until(lambda: leases_of(supervisor) != [before], "the lease is renewed")
    old = supervisor.crew.workers[0]
    os.kill(old.pid, signal.SIGKILL)
    await until(lambda: bool(supervisor.crew.workers) and supervisor.crew.workers[0].pid != old.pid, "a new worker")
    assert leases_of(supervisor), "before it was told anything"
    (armed,) = supervisor.arming.state()["armed"]
    assert armed["epoch"] == run.epoch == 1
    assert b'"slow-1"' in supervisor.crew._policy()


async def test_a_controller_that_was_away_never_renews(start: Start) -> None:
    """An event loop that stands still for longer than a lease finds its runs expired."""
    supervisor = await start(experiments={"lease": "200ms"})
    run = await running(supervisor)
    time.sleep(0.3)
    await until(lambda: run.life.has_ended, "it expires")
    assert (run.state, run.code) == (State.EXPIRED, "lease")
    assert not leases_of(supervisor)


async def test_a_worker_that_lost_its_lease_ends_the_run(start: Start) -> None:
    """It would never hit anybody there again: half a slice is no experiment."""
    supervisor = await start()
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run, over="lease"))
    assert (run.state, run.code) == (State.EXPIRED, "lease")


@pytest.mark.parametrize("how", ["api", "signal", "file"])
async def test_the_kill_switch_ends_every_run(start: Start, tmp_path: Path, how: str) -> None:
    """However it is pulled; resume does not bring them back, and nothing begins meanwhile."""
    file = tmp_path / "stop"
    supervisor = await start(experiments={"kill_file": str(file), "at_once": 4}, workers=2)
    one = await running(supervisor, name="one", inject={"routes": ["all"], "faults": [{"abort": {"status": 503}}]})
    if how == "api":
        waiting = asyncio.ensure_future(supervisor.switch.set(ACTOR, is_killed=True))
        await asyncio.sleep(0)  # the call has begun, and awaits its first confirmation
        assert not leases_of(supervisor)
        await waiting
    elif how == "signal":
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR2, supervisor.kill_by_signal)
        os.kill(os.getpid(), signal.SIGUSR2)
    else:
        file.touch()
    await until(lambda: one.life.has_ended, "it is killed")
    assert (one.state, one.code) == (State.KILLED, "kill_switch")
    assert "the kill switch was pulled by" in one.result["sentence"]
    assert not leases_of(supervisor)
    with pytest.raises(ExperimentRefused, match="kill switch"):
        await supervisor.governor.submit(experiment(), ACTOR)
    file.unlink(missing_ok=True)
    await until(lambda: supervisor.switch.is_on, "the switch is on")
    await supervisor.switch.set(ACTOR, is_killed=False)
    assert one.life.has_ended
    assert not supervisor.arming.armed
    assert not leases_of(supervisor)


async def test_a_kill_before_it_has_begun(start: Start) -> None:
    """Between its admission and its first fault: it never begins."""
    supervisor = await start()
    run = await supervisor.governor.submit(experiment(), ACTOR)
    await supervisor.switch.set(ACTOR, is_killed=True)
    await until(lambda: run.life.has_ended, "it ends")
    assert run.state is State.KILLED
    assert run.started is None or run.ended is not None
    assert not leases_of(supervisor)


async def test_the_kill_file_holds_as_long_as_it_is_there(start: Start, tmp_path: Path) -> None:
    """A resume with the file still there does not last."""
    file = tmp_path / "stop"
    supervisor = await start(experiments={"kill_file": str(file)})
    file.touch()
    await until(lambda: supervisor.switch.is_on, "the file is seen")
    await supervisor.switch.set(ACTOR, is_killed=False)
    await until(lambda: supervisor.switch.is_on, "the file is seen again")
    file.unlink()


async def test_every_reason_against_it_at_once(start: Start) -> None:
    """And none of it is run, armed, or given a number."""
    supervisor = await start()
    with pytest.raises(ExperimentRefused) as refused:
        await supervisor.governor.submit(
            experiment(slice={"percent": 20}, inject={"routes": ["nowhere"], "faults": [{"reset": True}]}), ACTOR, force=""
        )
    assert {one["code"] for one in refused.value.refusals} >= {"max_percent", "unknown_route"}
    assert not supervisor.governor.runs
    assert supervisor.governor.refused == 1
    assert supervisor.audit.latest(1)[0]["result"] == "refused"


async def test_glass_is_broken_on_record(start: Start) -> None:
    """What a person may overrule is overruled, and says so in run, journal and audit."""
    supervisor = await start()
    run = await supervisor.governor.submit(experiment(slice={"percent": 20}), ACTOR, force="we must know today")
    assert run.admission[0]["is_overridden"]
    assert (await entries(supervisor, run.id))[0]["body"]["force"] == "we must know today"
    assert any("we must know today" in one.get("detail", "") for one in supervisor.audit.latest(5))


async def test_the_same_experiment_does_not_run_twice(start: Start) -> None:
    """Also not when both are asked for at the same moment; afterwards it gets the next number and a higher epoch."""
    supervisor = await start()
    asked = [supervisor.governor.submit(experiment(), ACTOR) for _ in range(3)]
    answers = await asyncio.gather(*asked, return_exceptions=True)
    assert sum(isinstance(one, ExperimentRefused) for one in answers) == 2
    (run,) = supervisor.governor.active
    await until(lambda: run.is_running, "it runs")
    supervisor.governor.stop(run, ACTOR)
    again = await running(supervisor)
    assert (again.id, again.epoch) == ("slow-2", 2)
    assert supervisor.governor.find("slow") is again
    assert supervisor.governor.find("slow-1") is run


async def test_a_dry_run_is_told_so(start: Start) -> None:
    """Workers decide and count, and break nothing."""
    supervisor = await start()
    run = await supervisor.governor.submit(experiment(), ACTOR, is_dry=True)
    await until(lambda: run.is_running, "it runs")
    assert supervisor.arming.armed[0]["dry"]
    assert run.document()["is_dry"]


async def test_a_stop_of_the_proxy_ends_what_runs(start: Start) -> None:
    """Before its workers are drained: nobody is hit by a fault that nobody watches."""
    supervisor = await start()
    run = await running(supervisor)
    supervisor.stop()
    assert (run.state, run.code) == (State.ABORTED, "shutdown")
    assert not leases_of(supervisor)
    await supervisor.end()
    lines = supervisor.governor.journal.path.read_bytes().splitlines(keepends=True)
    assert first_broken(lines) is None
    assert json.loads(lines[-1])["kind"] in {"ended", "late"}


async def test_a_config_without_its_route_ends_it(start: Start, tmp_path: Path) -> None:
    """And one that only changes something else does not; deny lists reach what runs."""
    supervisor = await start()
    run = await running(supervisor)
    config = from_plain(plain(tmp_path, experiments={"deny": ["ada"]}, admin={"address": "127.0.0.1:0"}))
    await supervisor.configs.change(config, ACTOR, "config.put")
    assert run.is_running
    assert supervisor.arming.armed[0]["deny"] == ["ada"]
    routes = [{"name": "other", "live": "live"}]
    await supervisor.configs.change(from_plain(plain(tmp_path, routes=routes)), ACTOR, "config.put")
    assert (run.state, run.code) == (State.ABORTED, "config")
    assert "'all'" in run.reason


async def test_nothing_survives_a_restart(start: Start) -> None:
    """What was running when control died is closed, is never armed, and its epoch is never used again."""
    first = await start()
    run = await running(first)
    first.governor.on_exposure(exposure(run, units={"0a": 1}))
    await entries(first, run.id)
    first.governor.journal.close()  # from here on as if SIGKILLed: nothing more is written
    first.governor.journal.problem = "dead"
    await first.end()
    second = await start()
    found = None

    def is_closed() -> bool:
        nonlocal found
        found = second.governor.find("slow-1")
        return found is not None and found.life.has_ended

    await until(is_closed, "the run is known and closed")
    assert found is not None
    assert (found.state, found.code) == (State.ABORTED, "restart")
    assert not second.arming.armed
    assert not leases_of(second)
    document = found.document()
    assert (document["epoch"], document["units"], document["seen"]) == (1, 1, 10)
    assert "ended without ending it" in document["result"]["sentence"]
    assert "by then 0 of 10 answers failed with the fault" in document["result"]["sentence"]
    await until(lambda: not second.governor.journal.waiting, "its end is written")
    assert (await verdict_of(found, second.governor.journal))["is_same"]
    again = await running(second)
    assert (again.id, again.epoch) == ("slow-2", 2)
    kinds = [one["body"]["code"] for one in await entries(second, "slow-1") if one["kind"] == "ended"]
    assert kinds == ["restart"]


async def test_what_a_dead_control_left_is_closed_as_that_and_nothing_else(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """As long as it is worked out what was known of it, neither the kill switch nor the silence of whoever waited for it ends it in another way."""
    first = await start()
    run = await first.governor.submit(experiment(), ACTOR, attached_s=2)
    await until(lambda: run.is_running, "it runs")
    await entries(first, run.id)
    first.governor.journal.close()
    first.governor.journal.problem = "dead"
    await first.end()
    asked, known = asyncio.Event(), asyncio.Event()

    async def slow(*_: object) -> None:
        asked.set()
        await known.wait()

    monkeypatch.setattr("shadowproxy.control.experiments.known_of", slow)
    second = await start()
    await asked.wait()
    second.governor._end_abandoned(0.5)
    second.governor.kill("pulled")
    assert not second.governor.runs
    known.set()
    await until(lambda: bool(second.governor.runs) and not second.governor.active, "it is closed")
    found = second.governor.find("slow-1")
    assert found is not None
    assert (found.code, found.attachment is not None) == ("restart", True)


@pytest.mark.parametrize("lost", ["store", "journal"])
async def test_an_epoch_is_never_used_again(start: Start, tmp_path: Path, lost: str) -> None:
    """Store and journal each know it, so that one of them may be gone."""
    first = await start()
    run = await running(first)
    first.governor.stop(run, ACTOR)
    await first.end()
    for file in tmp_path.glob("state.db*" if lost == "store" else "state.experiments.jsonl"):
        file.unlink()
    second = await start()
    assert (await running(second)).epoch == 2


async def test_a_store_that_does_not_work_holds_nothing_up(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """An end does not ask it, and a beginning asks it for a second at most."""
    supervisor = await start()

    async def broken(*_: object) -> None:
        raise StateError("gone")

    monkeypatch.setattr(supervisor.store, "put", broken)
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run, requests=100, errors=100))
    assert run.state is State.ABORTED


async def test_a_journal_that_fails_ends_what_runs_and_lets_nothing_begin(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live does not notice; once the disk works again, what is owed is written, and experiments begin again."""
    supervisor = await start()
    run = await running(supervisor)
    real = os.fsync

    def full(descriptor: int) -> None:
        if descriptor == supervisor.governor.journal._descriptor:
            raise OSError(28, "No space left on device")
        real(descriptor)

    monkeypatch.setattr("shadowproxy.control.journal.os.fsync", full)
    await until(lambda: run.life.has_ended, "it is aborted")
    assert (run.state, run.code) == (State.ABORTED, "journal")
    assert "No space left" in run.reason
    assert not leases_of(supervisor)
    with pytest.raises(ExperimentRefused, match="journal"):
        await supervisor.governor.submit(experiment(name="other"), ACTOR)
    monkeypatch.undo()
    await running(supervisor, name="third")
    assert [one["kind"] for one in await entries(supervisor, run.id)][-1] == "ended"
    assert supervisor.crew.is_ready


async def test_a_corrupt_journal_at_the_start_lets_nothing_begin(start: Start, tmp_path: Path) -> None:
    """It is said where it is broken, and live is served."""
    (tmp_path / "state.experiments.jsonl").write_bytes(b"nonsense\n")
    supervisor = await start()
    with pytest.raises(ExperimentRefused, match="journal"):
        await supervisor.governor.submit(experiment(), ACTOR)
    assert "line 1" in supervisor.governor.journal.problem
    assert supervisor.crew.is_ready
    (tmp_path / "state.experiments.jsonl").rename(tmp_path / "aside")
    await running(supervisor)


def on_orders(server: Asked, **bounds: Any) -> Experiment:
    """An experiment whose steady state is the rate that `server` tells."""
    probes = [{"name": "orders", "url": f"{server.url}/stats", "json": "$.rate", "every": "100ms"}]
    return experiment(probes=probes, steady_state=[{"probe": "orders", **bounds}])


async def test_nothing_is_admitted_while_the_system_is_not_well(start: Start) -> None:
    """A refusal like any other, with the value and its range, on record; no reason overrules it, and a plan says it too."""
    supervisor = await start()
    governor = supervisor.governor
    async with asked(answer({"rate": 3})) as server:
        unwell = on_orders(server, above=5)
        with pytest.raises(ExperimentRefused) as refused:
            await governor.submit(unwell, ACTOR, force="we must know today")
        (one,) = refused.value.refusals
        assert one == {"code": "steady_state", "sentence": "probe orders is 3, and must be at least 5", "is_overridden": False}
        assert not (await governor.check(unwell)).is_admitted
        assert (await governor.check(on_orders(server, above=2))).is_admitted
    assert not governor.runs
    await until(lambda: not governor.journal.waiting, "the journal is written")
    (refusal,) = [json.loads(line) for line in governor.journal.lines("")]
    assert refusal["body"]["force"] == "we must know today"
    assert refusal["body"]["admission"] == refused.value.refusals


async def test_it_is_looked_at_again_before_the_first_fault(start: Start) -> None:
    """What was well when it was asked for, and is not any more when it is to be armed, never begins."""
    supervisor = await start()
    said = [answer({"rate": 9})]
    async with asked(lambda _: said.pop() if said else answer({"rate": 3})) as server:
        run = await supervisor.governor.submit(on_orders(server, above=5), ACTOR)
        await until(lambda: run.life.has_ended, "it ends")
    assert (run.state, run.code, run.started) == (State.ABORTED, "steady_state", None)
    assert run.reason == "probe orders is 3, and must be at least 5"
    assert not leases_of(supervisor)


async def test_two_that_are_asked_for_at_once_do_not_share_a_number(start: Start) -> None:
    """However long their probes take to answer."""
    supervisor = await start()
    async with asked(answer({"rate": 9})) as server:
        both = [supervisor.governor.submit(on_orders(server, above=5), ACTOR) for _ in range(2)]
        answers = await asyncio.gather(*both, return_exceptions=True)
    assert sum(isinstance(one, ExperimentRefused) for one in answers) == 1
    assert [run.id for run in supervisor.governor.runs] == ["slow-1"]


async def test_an_attached_run_ends_with_the_command_that_waits_for_it(start: Start) -> None:
    """Whoever else looks keeps nothing alive, control's own lateness ends nothing, and a word in time does."""
    supervisor = await start(experiments={"at_once": 2})
    governor = supervisor.governor
    run = await governor.submit(experiment(), ACTOR, attached_s=3600)
    other = await governor.submit(experiment(name="other"), ACTOR, force="beside it")
    await until(lambda: run.is_running and other.is_running, "both run")
    governor._end_abandoned(1e6)
    assert run.is_running
    for _ in range(7000):
        governor._end_abandoned(0.5)
    run.document()
    assert governor.find(run.id) is run
    governor.keep(run)
    for _ in range(7000):
        governor._end_abandoned(0.5)
    assert run.is_running
    for _ in range(300):
        governor._end_abandoned(0.5)
    assert (run.state, run.code) == (State.ABORTED, "client_gone")
    assert "not heard of for 3600 s" in run.reason
    assert len(leases_of(supervisor)) == 1
    assert other.is_running
    governor.keep(run)
    governor.keep(other)
    assert run.life.has_ended
    assert (await entries(supervisor, run.id))[0]["body"]["attached"] == 3600


async def test_whoever_is_told_keeps_no_run_from_its_end(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the record of who was affected, nor a notification, nor the calendar stands before it."""
    supervisor = await start(workers=2)
    one = await running(supervisor)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(supervisor.exposures, "note_end", broken)
    supervisor.governor.kill("now")
    assert one.life.has_ended
    assert not leases_of(supervisor)
    monkeypatch.undo()
    other = await running(supervisor, name="other")
    monkeypatch.setattr(supervisor.governor, "_renew", broken)
    await until(lambda: other.life.has_ended, "what cannot be watched is ended")
    assert (other.state, other.code) == (State.ABORTED, "internal")
