"""Rollouts in control: what is durable before what, what a restart, a reload, the kill switch and a broken store do to them."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.arming import Arming
from shadowproxy.control.audit import SYSTEM, Actor, Audit
from shadowproxy.control.rollouts import KEY, Rollouts
from shadowproxy.errors import ControlError, StateError
from tests.control.conftest import until
from tests.control.test_evidencestore import Rows
from tests.experiments.rollout_traffic import halves, side

if TYPE_CHECKING:
    from shadowproxy.config.model import Config

ANN = Actor("token:ann", "127.0.0.1")
GOOD = halves(canary=side({"200": 5000}), stable=side({"200": 5000}))
BAD = halves(canary=side({"500": 20, "200": 20}), stable=side({"200": 40}))


def config(**changed: Any) -> Config:
    """A route with a rollout without a key: each request is its own unit."""
    rollout = {"to": "v2", "bake": "10s", "patience": "1h", **changed.pop("rollout", {})}
    fleets = {name: {"endpoints": [f"http://127.0.0.1:{port}"]} for name, port in (("v1", 1), ("v2", 2), ("v3", 3))}
    return from_plain({
        "listen": ["127.0.0.1:1234"], "admin": {"address": "127.0.0.1:1235"}, "fleets": fleets,
        "routes": [{"name": "shop", "match": {"path": "/shop"}, "live": "v1", "rollout": rollout}, {"name": "rest", "live": "v1"}],
        "experiments": {"deny": ["vip"]}, **changed,
    })  # fmt: skip


class Stage:
    """Rollouts with a clock of their own, and what workers were told."""

    def __init__(self, accepted: Config | None = None, store: Rows | None = None) -> None:
        self.store = store or Rows()
        self.now = 100.0
        self.is_killed = False
        self.told: list[dict[str, Any]] = []
        self.events: list[tuple[str, float]] = []
        self.audit = Audit(None)
        self.config = accepted or config()
        self.rollouts = Rollouts(
            self.config, self.store, self.audit, Arming(self.told.append), is_killed=lambda: self.is_killed,
            on_event=lambda case, event: self.events.append((event, case.percent)), now=lambda: self.now, wall=lambda: 1e9 + self.now,
        )  # fmt: skip

    async def begun(self) -> Stage:
        """With its rollout begun."""
        await self.rollouts.start("shop", ANN)
        return self

    async def counted(self, counts: dict[str, Any], seconds: float = 11.0) -> None:
        """Time passes and a worker tells; what follows is carried out."""
        self.now += seconds
        self.rollouts.on_exposure({"splits": {"shop": {**counts, "epoch": self.case.epoch}}})
        await asyncio.gather(*self.rollouts._tasks)

    @property
    def case(self) -> Any:
        """The one rollout."""
        return self.rollouts.cases["shop"]

    @property
    def share(self) -> float:
        """What workers serve."""
        splits = self.told[-1]["splits"] if self.told else []
        return splits[0]["percent"] if splits else 0.0

    @property
    def stored(self) -> Any:
        """The snapshot in the store."""
        return json.loads(self.store.rows[KEY + "shop"])["snapshot"]


async def test_a_rollout_goes_forward_when_it_is_written() -> None:
    """Each step is in the store when workers hear of it; everything is in the audit log, with who asked."""
    stage = await Stage().begun()
    assert (stage.share, stage.stored["percent"]) == (1.0, 1.0)
    (split,) = stage.told[-1]["splits"]
    assert split == {
        "route": "shop", "live": "v1", "to": "v2", "percent": 1.0, "unit": "", "salt": "", "pinned": [], "first": [], "denied": ["vip"], "epoch": 1,
    }  # fmt: skip
    for share in (5.0, 25.0, 50.0, 100.0):
        await stage.counted(GOOD)
        assert (stage.share, stage.stored["percent"]) == (share, share)
    assert stage.events == [("start", 1.0), ("step", 5.0), ("step", 25.0), ("step", 50.0), ("complete", 100.0)]
    assert stage.case.document()["ended"] == 1e9 + stage.now
    records = [(one["action"], one["actor"], one["before"], one["after"]) for one in stage.audit.latest(10)]
    assert records[-1] == ("rollout.start", "token:ann", "0 %", "1 %")
    assert records[0] == ("rollout.complete", "system", "50 %", "100 %")


async def test_a_bad_version_goes_back_before_anything_is_written() -> None:
    """The way back needs no store; counts of before do not reach the next rollout."""
    stage = await Stage().begun()
    stage.store.problem = "the disk is gone"
    await stage.counted(BAD)
    assert stage.share == 0.0
    assert stage.events[-1] == ("roll_back", 0.0)
    assert "40 requests had the new version, 20 of them failed" in stage.case.document()["reason"]
    assert stage.case.problem == "the disk is gone"
    stage.store.problem = ""
    await stage.rollouts.save()
    assert stage.stored["state"] == "rolled_back"
    await stage.rollouts.start("shop", ANN)
    assert (stage.case.epoch, stage.share) == (2, 1.0)
    stage.rollouts.on_exposure({"splits": {"shop": {**BAD, "epoch": 1}, "gone": {**BAD, "epoch": 1}}})
    assert stage.share == 1.0


async def test_a_store_that_does_not_work_stops_the_way_forward() -> None:
    """Nothing is begun, and no step is taken, that a restart would take back; users stay where they are until it works again."""
    stage = Stage()
    stage.store.problem = "the disk is full"
    with pytest.raises(StateError):
        await stage.rollouts.start("shop", ANN)
    assert not stage.told
    stage.store.problem = ""
    await stage.begun()
    stage.store.problem = "the disk is full"
    await stage.counted(GOOD)
    assert stage.share == 1.0
    assert (stage.case.conductor.state, stage.case.conductor.code) == ("paused", "state")
    with pytest.raises(StateError):
        await stage.rollouts.order("shop", "resume", ANN)
    assert stage.share == 1.0
    stage.store.problem = ""
    await stage.rollouts.order("shop", "resume", ANN)
    assert stage.share == 5.0


async def test_a_last_step_that_was_not_written_is_made_up_for() -> None:
    """Completed is completed: once the store works again everybody gets the new version, also after a restart in between."""
    stage = await Stage(config(rollout={"steps": [50, 100]})).begun()
    stage.store.problem = "the disk is full"
    await stage.counted(GOOD)
    assert (stage.share, stage.case.conductor.state) == (50.0, "completed")
    stage.store.problem = ""
    await stage.rollouts._try_write(stage.case)
    again = Stage(stage.config, store=stage.store)
    await again.rollouts.restore()
    assert again.share == 50.0
    for one in (stage, again):
        await one.rollouts.save()
        assert one.share == 100.0


async def test_who_hangs_up_leaves_nothing_half_done() -> None:
    """A start and a step whose caller is gone while they are written are carried out whole."""
    stage = Stage()
    put = stage.store.put

    async def slow(key: str, value: str) -> None:
        await asyncio.sleep(0.02)
        await put(key, value)

    stage.store.put = slow  # type: ignore[method-assign]
    for name, share in (("start", 1.0), ("promote", 5.0)):
        asked = stage.rollouts.start("shop", ANN) if name == "start" else stage.rollouts.order("shop", name, ANN)
        task = asyncio.ensure_future(asked)
        await asyncio.sleep(0.005)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await asyncio.gather(*stage.rollouts._tasks)
        assert (stage.share, task.cancelled()) == (share, True)


async def test_a_restart_goes_on() -> None:
    """At the step that was written, with the counts of then, at the same second; the time in between does not count."""
    before = await Stage().begun()
    await before.counted(GOOD)
    await before.counted(GOOD, 5.0)
    await before.rollouts.close()
    after = Stage(store=before.store)
    after.now = 9999.0
    await after.rollouts.restore()
    assert after.share == 5.0
    assert after.case.document()["halves"] == before.case.document()["halves"]
    assert after.case.seconds(after.now) == pytest.approx(before.case.seconds(before.now))
    await after.counted(GOOD, 6.0)
    assert after.share == 25.0


async def test_what_is_rolled_back_stays_so_after_a_restart() -> None:
    """And what was paused is paused."""
    stage = await Stage().begun()
    await stage.rollouts.order("shop", "pause", ANN, "lunch")
    again = Stage(store=stage.store)
    await again.rollouts.restore()
    assert (again.case.conductor.state, again.share) == ("paused", 1.0)
    await again.rollouts.order("shop", "abort", ANN)
    last = Stage(store=stage.store)
    await last.rollouts.restore()
    assert (last.case.conductor.state, last.share) == ("rolled_back", 0.0)


@pytest.mark.parametrize("row", ["no json", "{}", '{"version": 99}', "[]"])
async def test_a_row_that_cannot_be_read_is_the_old_version(row: str) -> None:
    """Nothing is guessed: everybody has live, and the rollout can begin anew."""
    store = Rows()
    store.rows[KEY + "shop"] = row
    stage = Stage(store=store)
    await stage.rollouts.restore()
    assert not stage.rollouts.cases
    await stage.begun()
    broken = Stage()
    broken.store.problem = "gone"
    await broken.rollouts.restore()
    assert not broken.rollouts.cases


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"routes": [{"name": "rest", "live": "v1"}]}, "no route shop"),
        ({"routes": [{"name": "shop", "live": "v1"}]}, "no rollout any more"),
        ({"routes": [{"name": "shop", "live": "v3", "rollout": {"to": "v2"}}]}, "live was v1 and is v3"),
        ({"rollout": {"to": "v3"}}, "the new version was v2 and is v3"),
        ({"rollout": {"key": "client"}}, "key or salt"),
        ({"rollout": {"salt": "x"}}, "key or salt"),
    ],
)
async def test_a_config_that_leaves_no_place_ends_it(changed: dict[str, Any], said: str) -> None:
    """Everybody goes back at once, now and when it was changed while control was away."""
    stage = await Stage().begun()
    stage.rollouts.follow(config(**changed))
    assert stage.share == 0.0
    assert (stage.case.conductor.code, said in stage.case.conductor.reason) == ("config", True)
    other = await Stage().begun()
    again = Stage(config(**changed), store=other.store)
    await again.rollouts.restore()
    assert again.share == 0.0


async def test_other_settings_wait_for_the_next_one() -> None:
    """A rollout goes on as it began; who is denied counts at once."""
    stage = await Stage().begun()
    stage.rollouts.follow(config(rollout={"steps": [50, 100]}, experiments={"deny": ["vip", "new"]}))
    assert (stage.share, stage.told[-1]["splits"][0]["denied"]) == (1.0, ["vip", "new"])
    told = len(stage.told)
    stage.rollouts.follow(config(rollout={"bake": "1m"}, experiments={"deny": ["vip", "new"]}))
    assert len(stage.told) == told


async def test_the_new_version_becomes_live() -> None:
    """Once the config says so nothing is split any more, whatever step it was at; then another rollout can begin."""
    stage = await Stage().begun()
    stage.rollouts.follow(config(routes=[{"name": "shop", "live": "v2", "rollout": {"to": "v3"}}]))
    assert stage.share == 0.0
    assert (stage.case.conductor.state, stage.case.is_adopted) == ("completed", True)
    with pytest.raises(ControlError, match="has made v2 live"):
        await stage.rollouts.order("shop", "abort", ANN)
    document = await stage.rollouts.start("shop", ANN)
    assert (document["live"], document["to"], document["epoch"]) == ("v2", "v3", 2)
    assert stage.told[-1]["splits"][0]["to"] == "v3"


async def test_the_kill_switch_pauses() -> None:
    """Users stay where they are, nothing begins or goes forward, back is always possible; also when it was pulled while control was away."""
    stage = await Stage().begun()
    stage.is_killed = True
    stage.rollouts.kill()
    await stage.counted(GOOD)
    assert (stage.share, stage.case.conductor.state) == (1.0, "paused")
    for order in ("resume", "promote", "complete"):
        with pytest.raises(ControlError, match="the kill switch is on"):
            await stage.rollouts.order("shop", order, ANN)
    with pytest.raises(ControlError, match="is paused: abort it"):
        await stage.rollouts.start("shop", ANN)
    await stage.rollouts.order("shop", "abort", ANN)
    assert stage.share == 0.0
    with pytest.raises(ControlError, match="the kill switch is on"):
        await stage.rollouts.start("shop", ANN)
    running = await Stage().begun()
    again = Stage(store=running.store)
    again.is_killed = True
    await again.rollouts.restore()
    assert (again.share, again.case.conductor.state) == (1.0, "paused")


async def test_orders_that_make_no_sense_are_refused() -> None:
    """With a sentence for people; a route without a rollout is nobody's."""
    stage = Stage()
    for name in ("rest", "gone"):
        for asked in (stage.rollouts.start(name, ANN), stage.rollouts.order(name, "pause", ANN)):
            with pytest.raises(KeyError):
                await asked
        with pytest.raises(KeyError):
            stage.rollouts.document(name)
    with pytest.raises(ControlError, match="has not begun"):
        await stage.rollouts.order("shop", "pause", ANN)
    assert stage.rollouts.document("shop")["state"] == "idle"
    await stage.begun()
    with pytest.raises(ControlError, match="cannot be told to resume"):
        await stage.rollouts.order("shop", "resume", ANN)
    assert [one["route"] for one in stage.rollouts.documents()] == ["shop"]
    assert "running" in repr(stage.rollouts)


async def test_two_who_start_at_once() -> None:
    """One of them is told that the other was first; there is one rollout."""
    stage = Stage()
    results = await asyncio.gather(stage.rollouts.start("shop", ANN), stage.rollouts.start("shop", SYSTEM), return_exceptions=True)
    assert sum(isinstance(result, ControlError) for result in results) == 1
    assert stage.share == 1.0
    assert json.loads(stage.store.rows[KEY + "shop"])["by"] == stage.case.by


async def test_a_kill_while_it_is_begun() -> None:
    """Nobody gets the new version, now or after a restart."""
    stage = Stage()
    put = stage.store.put

    async def killed(key: str, value: str) -> None:
        stage.is_killed = True
        await put(key, value)

    stage.store.put = killed  # type: ignore[method-assign]
    with pytest.raises(ControlError, match="the kill switch is on"):
        await stage.begun()
    assert not stage.told
    assert stage.stored["state"] == "rolled_back"


async def test_while_a_step_is_written_it_is_no_time_of_the_next() -> None:
    """A store that takes its time makes no step shorter: what comes meanwhile is of the last share."""
    stage = await Stage().begun()
    gate = asyncio.Event()
    put = stage.store.put

    async def slow(key: str, value: str) -> None:
        await gate.wait()
        await put(key, value)

    stage.store.put = slow  # type: ignore[method-assign]
    stage.now += 11.0
    for _ in range(3):
        stage.rollouts.on_exposure({"splits": {"shop": {**GOOD, "epoch": 1}}})
        stage.now += 20.0
        await asyncio.sleep(0)
    assert (stage.share, stage.case.conductor.percent) == (1.0, 5.0)
    gate.set()
    await until(lambda: stage.share == 5.0, "the step is told")


async def test_a_pause_holds_a_step_that_is_being_written() -> None:
    """The kill switch, pulled in that moment: nobody else gets the new version, now or after a restart, until it is resumed."""
    stage = await Stage().begun()
    gate = asyncio.Event()
    put = stage.store.put

    async def slow(key: str, value: str) -> None:
        await gate.wait()
        await put(key, value)

    stage.store.put = slow  # type: ignore[method-assign]
    stage.now += 11.0
    stage.rollouts.on_exposure({"splits": {"shop": {**GOOD, "epoch": 1}}})
    await asyncio.sleep(0)
    stage.rollouts.kill()
    gate.set()
    await asyncio.gather(*stage.rollouts._tasks)
    assert (stage.share, stage.case.conductor.state, stage.case.conductor.percent) == (1.0, "paused", 5.0)
    again = Stage(store=stage.store)
    await again.rollouts.restore()
    assert (again.share, again.case.conductor.state) == (1.0, "paused")
    for one in (stage, again):
        await one.rollouts.order("shop", "resume", ANN)
        assert one.share == 5.0


async def test_the_clock_ticks_without_traffic(monkeypatch: pytest.MonkeyPatch) -> None:
    """Patience ends by itself, and counts are written every now and then; a bug in one rollout does not end the watch."""
    monkeypatch.setattr("shadowproxy.control.rollouts.TICK_S", 0.01)
    stage = await Stage().begun()
    task = asyncio.ensure_future(stage.rollouts.keep())
    try:
        stage.case.conductor.rollout = replace(stage.case.rollout, patience=1.0)
        stage.now += 6.0
        await until(lambda: stage.share == 0.0, "patience ends")
        await until(lambda: stage.stored["state"] == "rolled_back", "it is written")
    finally:
        task.cancel()
    await stage.rollouts.close()
