"""The record of who was affected: over time, over restarts, and without a unit in clear."""

from __future__ import annotations

import asyncio
import sqlite3
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config import from_plain
from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.config.experiments import Rollout
from shadowproxy.control import exposure_file, exposures
from shadowproxy.control.exposures import Exposures
from shadowproxy.errors import StateError
from shadowproxy.hashspace import digest, salt_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from shadowproxy.config.experiment import Experiment

NOW = 1_790_000_000.0


def experiment(**changed: Any) -> Experiment:
    """One that slows half of all users."""
    part = {"percent": 50, "key": "header:x-user-id"} | changed.pop("slice", {})
    return experiment_from_plain(
        {
            "name": "slow", "owner": "sre", "hypothesis": {"fault": "f", "expect": "e", "impact": "i"},
            "inject": {"routes": ["all"], "faults": [{"delay": "1s"}]}, "slice": part, "duration": "60s",
            "guards": [{"metric": "error_rate", "above": 1}], **changed,
        }
    )  # fmt: skip


def mark(unit: str, salt: str = "slow") -> str:
    """What workers report in place of a unit."""
    return f"{digest(unit.encode(), salt_of(salt)):016x}"


def config(**mirror: Any) -> Any:
    """A config with one mirror, or none."""
    mirrors = [{"to": "shadow", **mirror}] if mirror else []
    return from_plain(
        {
            "listen": ["127.0.0.1:0"], "fleets": {"live": {"endpoints": ["http://127.0.0.1:1"]}, "shadow": {"endpoints": ["http://127.0.0.1:2"]}},
            "routes": [{"name": "all", "live": "live", "mirror": mirrors}],
        }
    )  # fmt: skip


@pytest.fixture
async def record(tmp_path: Path) -> AsyncIterator[Exposures]:
    """An empty record."""
    kept = Exposures(tmp_path / "state.exposures.db", 3600.0, now=lambda: NOW)
    yield kept
    await kept.close()


async def test_a_run_from_its_first_step_to_its_end(record: Exposures) -> None:
    """Steps, faults that are counted together, and an end, as one answer."""
    run = experiment()
    record.note_run("slow-1", run, 25.0, NOW - 100)
    record.note_units("slow-1", {mark("4711"): 2}, NOW - 90)
    record.note_run("slow-1", run, 50.0, NOW - 80)
    record.note_units("slow-1", {mark("4711"): 1, mark("other"): 5, "no digest": 1}, NOW - 70)
    record.note_end("slow-1", "aborted", NOW - 60)
    record.note_units("slow-1", {mark("4711"): 1}, NOW - 59.5)
    (found,) = (await record.whois("4711", NOW))["experiments"]
    assert found["hits"] == {"count": 4, "first": NOW - 90, "last": NOW - 59.5}
    assert (found["id"], found["name"], found["state"], found["effect"], found["unrecorded"]) == ("slow-1", "slow", "aborted", "slowed", 1)
    assert found["place"] is None
    assert found["was"][-1]["until"] == NOW - 60
    assert found["conditions"] == ["routes all"]
    (found,) = (await record.whois("nobody", NOW))["experiments"]
    assert found["hits"] is None


async def test_a_run_that_was_not_noted_leaves_no_record(record: Exposures, tmp_path: Path) -> None:
    """A dry run breaks nothing, so nobody was hit."""
    record.note_units("dry-1", {mark("4711"): 2}, NOW)
    await record.close()
    kept = sqlite3.connect(tmp_path / "state.exposures.db")
    assert kept.execute("SELECT count(*) FROM units").fetchone() == (0,)
    kept.close()


async def test_no_unit_is_written_down(record: Exposures, tmp_path: Path) -> None:
    """Neither those that were hit, nor those that files list, nor the one that is asked about."""
    names = ["hit-unit", "pinned-unit", "denied-unit", "asked-unit", "config-unit", "first-unit", "stable-unit"]
    run = experiment(slice={"pinned": ["pinned-unit"], "deny": ["denied-unit"]})
    record.note_run("slow-1", run, 50.0, NOW, deny=("config-unit",))
    record.note_units("slow-1", {mark("hit-unit"): 1}, NOW)
    record.note_rollout("all-1", "all", Rollout(to="v2", key="client", first=("first-unit",), pinned=("stable-unit",)), 5.0, NOW)
    answer = await record.whois("asked-unit", NOW)
    await record.close()
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir()) + str(answer).encode()
    assert not [name for name in names if name.encode() in kept]
    assert b"slow-1" in kept


async def test_pauses_and_listed_units(record: Exposures) -> None:
    """A paused run keeps its slices but hits nobody; pinned units are in it, denied ones never."""
    run = experiment(slice={"percent": 0.001, "pinned": ["in"], "deny": ["out"]})
    record.note_run("slow-1", run, 0.001, NOW - 10, deny=("vip",))
    record.note_run("slow-1", run, 0.001, NOW - 5, deny=("vip",), is_paused=True)
    record.note_run("slow-1", run, 0.001, NOW - 4, deny=("vip",), is_paused=True)
    assert [(await record.whois(unit, NOW))["experiments"][0]["place"] for unit in ("in", "out", "vip")] == ["fault", "apart", "apart"]
    found = (await record.whois("in", NOW))["experiments"][0]
    assert [one["is_paused"] for one in found["was"]] == [False, True]
    assert found["is_paused"]


async def test_mirrors_follow_the_config(record: Exposures) -> None:
    """A share that changes is another step, another salt another mirror, and one that is gone is over."""
    record.note_mirrors(config(percent=100.0, key="client"), NOW - 50)
    record.note_mirrors(config(percent=100.0, key="client"), NOW - 45)
    record.note_mirrors(config(percent=0.0, key="client"), NOW - 40)
    record.note_mirrors(config(percent=100.0, key="client", salt="other"), NOW - 30)
    record.note_mirrors(config(), NOW - 20)
    newest, oldest = (await record.whois("10.0.0.1", NOW))["mirrors"]
    assert [(one["place"], one["since"], one["until"]) for one in newest["was"]] == [("copied", NOW - 30, NOW - 20)]
    assert [(one["place"], one["since"], one["until"]) for one in oldest["was"]] == [("copied", NOW - 50, NOW - 40)]
    assert newest["name"] == oldest["name"] == "all/shadow"
    assert newest["to"] == "shadow"


async def test_only_what_goes_by_a_key_or_is_young_enough(record: Exposures) -> None:
    """`key` and `since` leave things out, and so does what is remembered."""
    record.note_run("slow-1", experiment(), 50.0, NOW - 100)
    record.note_end("slow-1", "completed", NOW - 90)
    record.note_run("slow-2", experiment(slice={"key": "cookie:user"}), 50.0, NOW)
    assert [one["id"] for one in (await record.whois("u", NOW))["experiments"]] == ["slow-2", "slow-1"]
    assert [one["id"] for one in (await record.whois("u", NOW, key="cookie:user"))["experiments"]] == ["slow-2"]
    assert [one["id"] for one in (await record.whois("u", NOW, since=NOW - 50))["experiments"]] == ["slow-2"]
    assert [one["id"] for one in (await record.whois("u", NOW + 3550))["experiments"]] == ["slow-2"]


async def test_a_restart_ends_what_was_going_on(tmp_path: Path) -> None:
    """What was under way counts as over since the last sign of life, keeps its hits, and mirrors go on."""
    path = tmp_path / "e.db"
    first = Exposures(path, 3600.0, now=lambda: NOW)
    first.note_run("slow-1", experiment(), 50.0, NOW - 100)
    first.note_mirrors(config(percent=100.0, key="client"), NOW - 100)
    first.note_units("slow-1", {mark("u"): 3}, NOW - 90)
    await first.close()
    again = Exposures(path, 3600.0, now=lambda: NOW + 60)
    again.note_mirrors(config(percent=100.0, key="client"), NOW + 60)
    answer = await again.whois("u", NOW + 100)
    (run,) = answer["experiments"]
    (mirror,) = answer["mirrors"]
    assert (run["state"], run["place"], run["hits"]["count"]) == ("interrupted", None, 3)
    assert [(one["since"], one["until"]) for one in mirror["was"]] == [(NOW - 100, NOW), (NOW + 60, None)]
    again.note_end("slow-1", "expired", NOW + 61)
    (run,) = (await again.whois("u", NOW + 100))["experiments"]
    assert run["state"] == "expired"
    await again.close()


async def test_a_killed_process_leaves_what_it_had_written(tmp_path: Path) -> None:
    """Without a last word: what was going on is over since the last that is known of it, and its hits are there."""
    killed = Exposures(tmp_path / "e.db", 3600.0, now=lambda: NOW)
    killed.note_run("slow-1", experiment(), 50.0, NOW - 100)
    killed.note_units("slow-1", {mark("u"): 3}, NOW - 90)
    await killed.flush()
    after = Exposures(tmp_path / "e.db", 3600.0, now=lambda: NOW)
    (run,) = (await after.whois("u", NOW))["experiments"]
    assert (run["state"], run["was"][-1]["until"], run["hits"]["count"]) == ("interrupted", NOW - 90, 3)
    await after.close()
    await killed.close()


async def test_what_is_old_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run goes with its units and steps once it has been over for `remember`; one that goes on stays."""
    monkeypatch.setattr(exposures, "ALIVE_S", 0.05)
    clock = [NOW]
    record = Exposures(tmp_path / "e.db", 60.0, now=lambda: clock[0])
    for run in ("slow-1", "slow-2"):
        record.note_run(run, experiment(), 50.0, NOW)
        record.note_units(run, {mark("u"): 1}, NOW)
    record.note_end("slow-1", "completed", NOW)
    await record.flush()
    clock[0] = NOW + 61
    async with asyncio.timeout(10):
        while len((await record.whois("u", NOW))["experiments"]) == 2:
            await asyncio.sleep(0.05)
    await record.close()
    kept = sqlite3.connect(tmp_path / "e.db")
    assert [kept.execute(f"SELECT DISTINCT id FROM {table}").fetchall() for table in ("shares", "steps", "units")] == [[("slow-2",)]] * 3
    kept.close()


async def test_a_full_record_counts_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond the limit known units are still counted, and new ones are said to be missing."""
    monkeypatch.setattr(exposures, "ALIVE_S", 0.05)
    monkeypatch.setattr(exposure_file, "UNITS_LIMIT", 1)
    record = Exposures(tmp_path / "e.db", 60.0, now=lambda: NOW)
    record.note_run("slow-1", experiment(), 50.0, NOW)
    record.note_units("slow-1", {mark("known"): 1}, NOW)
    await record.flush()
    await asyncio.sleep(0.3)
    record.note_units("slow-1", {mark("known"): 1, mark("new"): 1, "no digest": 1}, NOW)
    (known,) = (await record.whois("known", NOW))["experiments"]
    (new,) = (await record.whois("new", NOW))["experiments"]
    assert known["hits"]["count"] == 2
    assert (new["hits"], new["unrecorded"]) == (None, 2)
    await record.close()


async def test_a_file_that_does_not_work_hurts_nobody(tmp_path: Path) -> None:
    """Notes are taken, lost and counted; a question is answered with the reason."""
    for path in (tmp_path / "absent" / "e.db", tmp_path / "text.db"):
        if path.parent.exists():
            path.write_text("this is no database" * 100)
        record = Exposures(path, 60.0)
        record.note_run("slow-1", experiment(), 50.0, NOW)
        with pytest.raises(StateError, match=path.name):
            await record.whois("u", NOW)
        await record.close()
        assert record.dropped == 1
        assert str(path) in record.problem


async def test_a_record_that_was_never_used_has_no_file(tmp_path: Path) -> None:
    """Closing it is nothing."""
    record = Exposures(tmp_path / "e.db", 60.0)
    await record.close()
    assert not (tmp_path / "e.db").exists()


async def test_a_clock_that_is_set_back_changes_no_order(record: Exposures) -> None:
    """What was said last counts, whatever time it was then."""
    record.note_run("slow-1", experiment(slice={"pinned": ["in"]}), 10.0, NOW)
    record.note_run("slow-1", experiment(slice={"pinned": ["in"]}), 20.0, NOW - 3600)
    record.note_end("slow-1", "completed", NOW - 3500)
    (found,) = (await record.whois("in", NOW))["experiments"]
    assert found["place"] is None


@dataclass
class Case:
    """What a rollout tells of itself."""

    percent: float
    is_open: bool = True
    state: str = "running"
    id: str = "all-1"
    route: str = "all"
    rollout: Rollout = field(default_factory=lambda: Rollout(to="v2", key="client", first=("ring",), pinned=("last",)))

    @property
    def conductor(self) -> Case:
        """Which knows its state."""
        return self


async def test_a_rollout_from_its_first_step_to_its_end(record: Exposures, tmp_path: Path) -> None:
    """Steps, a restart in the middle, and how it ended; its rings and pinned units count."""
    record._now = lambda: NOW - 40
    record.note_case(Case(10.0), NOW - 50, deny=("vip",))  # type: ignore[arg-type]
    await record.close()
    again = Exposures(tmp_path / "state.exposures.db", 3600.0, now=lambda: NOW)
    again.note_case(Case(10.0), NOW - 30, deny=("vip",))  # type: ignore[arg-type]
    again.note_case(Case(50.0), NOW - 20, deny=("vip",))  # type: ignore[arg-type]
    places = {unit: (await again.whois(unit, NOW))["rollouts"][0]["place"] for unit in ("ring", "last", "vip")}
    assert places == {"ring": "canary", "last": "apart", "vip": "apart"}
    again.note_case(Case(0.0, is_open=False, state="rolled_back"), NOW - 10, deny=("vip",))  # type: ignore[arg-type]
    (found,) = (await again.whois("ring", NOW))["rollouts"]
    assert (found["state"], found["place"], found["to"]) == ("rolled_back", None, "v2")
    assert found["was"][-1]["until"] == NOW - 10
    await again.close()
