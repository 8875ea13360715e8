"""Which pairs are kept, how many, for how long, and where."""

from __future__ import annotations

import asyncio
import base64
import json
import sqlite3
from typing import TYPE_CHECKING, Any

from shadowproxy.control import exemplars as module
from shadowproxy.control.exemplars import KEPT_S, PER_REASON, REASONS_LIMIT, SLOTS, Exemplars
from shadowproxy.errors import StateError
from shadowproxy.redaction import Scrubbed
from shadowproxy.store.sqlite import SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def capture(
    name: str, *, mirror: str = "all/shadow", live: str = "200", shadow: str = "200", live_ns: int = 1_000_000, shadow_ns: int = 1_000_000, at: float = 1000.0,
    body: bytes = b"", **more: Any,
) -> Scrubbed:  # fmt: skip
    """A scrubbed pair."""
    coded = base64.b64encode(body).decode()
    answers = {
        arm: {"outcome": outcome, "first_ns": 1, "last_ns": last, "headers": [["Content-Type", "text/plain"]], "body": coded, "cut": False}
        for arm, outcome, last in (("live", live, live_ns), ("shadow", shadow, shadow_ns))
    }
    request = {"method": "GET", "target": f"/{name}", "headers": [["Host", "h"]], "body": "", "cut": False}
    return Scrubbed({"id": name, "mirror": mirror, "at": at, "trace": "ab" * 16, "request": request, **answers, **more})


class NoStore:
    """A store that does not work, or remembers in memory."""

    problem = ""

    def __init__(self, *, works: bool = True) -> None:
        self.entries: dict[str, str] = {}
        self.works = works

    async def get(self, key: str) -> str | None:
        """The value, or the failure."""
        if not self.works:
            raise StateError("broken")
        return self.entries.get(key)

    async def put(self, key: str, value: str) -> None:
        """Remember, or fail."""
        if not self.works:
            raise StateError("broken")
        self.entries[key] = value

    async def close(self) -> None:
        """Nothing to do."""


def test_a_pair_that_agrees_is_not_kept() -> None:
    """Same outcome, about as fast: there is nothing to see."""
    kept = Exemplars(NoStore())
    assert kept.offer(capture("a", shadow_ns=1_100_000)) is None
    assert kept.offer(Scrubbed({})) is None
    assert (len(kept), kept.offered) == (0, 2)


def test_the_worst_latency_stays() -> None:
    """Of many slow pairs those with the largest ratio are kept, worst first."""
    kept = Exemplars(NoStore())
    for ratio in (2, 9, 3, 8, 4, 7, 5, 6):
        kept.offer(capture(f"r{ratio}", shadow_ns=ratio * 1_000_000))
    assert [one["why"][0]["ratio"] for one in kept.find()] == [9.0, 8.0, 7.0, 6.0, 5.0]


def test_transitions_rank_by_what_they_cost() -> None:
    """A new error before another class, that before another status, and what got better last; latency below them all."""
    kept = Exemplars(NoStore())
    for shadow in ("201", "404", "timeout"):
        kept.offer(capture(shadow, shadow=shadow))
    kept.offer(capture("better", live="503"))
    kept.offer(capture("slow", shadow_ns=1_000_000_000))
    assert [one["request"]["target"] for one in kept.find()] == ["/timeout", "/404", "/201", "/better", "/slow"]


def test_latency_of_failures_is_no_reason() -> None:
    """How long a timeout took says nothing about the shadow's speed."""
    kept = Exemplars(NoStore())
    name = kept.offer(capture("a", shadow="timeout", shadow_ns=10**9))
    assert [one["kind"] for one in (kept.get(str(name)) or {})["why"]] == ["transition"]


def test_each_reason_has_its_own_few_and_the_newer_wins_slowly() -> None:
    """A reason is full after a few pairs; a later minute replaces them, the same minute does not."""
    kept = Exemplars(NoStore())
    first = [kept.offer(capture(f"a{n}", shadow="500", at=1000.0 + n)) for n in range(PER_REASON)]
    assert None not in first
    assert kept.offer(capture("b", shadow="500", at=1010.0)) is None
    assert kept.offer(capture("c", shadow="502", at=1010.0)) is not None
    assert kept.offer(capture("d", shadow="500", at=1100.0)) is not None
    assert len(kept) == PER_REASON + 1


def test_a_pair_with_several_reasons_is_kept_once() -> None:
    """And goes when the last of them lets it go."""
    kept = Exemplars(NoStore())
    name = kept.offer(capture("a", shadow="500"), [{"path": "$.x", "kind": "value"}, {"path": "$.y", "kind": "missing"}])
    assert len(kept) == 1
    assert kept.offer(capture("a", shadow="500")) == name
    assert kept.ids("all/shadow", path="$.y") == [name]
    for n in range(PER_REASON):
        kept.offer(capture(f"b{n}", shadow="500", at=2000.0))
    assert kept.get(str(name)) is not None
    for n in range(2 * PER_REASON):
        kept.offer(capture(f"c{n}", at=2000.0), [{"path": f"$.{'xy'[n % 2]}", "kind": "value"}])
    assert kept.get(str(name)) is None


def test_reasons_of_one_mirror_are_bounded_and_the_mildest_makes_room() -> None:
    """Fields without end cannot drive out a new error."""
    kept = Exemplars(NoStore())
    for n in range(REASONS_LIMIT + 20):
        kept.offer(capture(f"f{n}"), [{"path": f"$.f{n}", "kind": "value"}])
    assert len(kept) == REASONS_LIMIT
    assert kept.offer(capture("bad", shadow="504")) is not None
    assert len(kept) == REASONS_LIMIT


def test_memory_is_bounded_in_bytes_and_the_mildest_goes() -> None:
    """However large captures are; one too large for itself is kept without bodies."""
    kept = Exemplars(NoStore(), bytes_limit=200_000)
    bad = kept.offer(capture("bad", shadow="504", body=b"x" * 20_000))
    for n in range(40):
        kept.offer(capture(f"m{n}", mirror=f"all/m{n}", shadow_ns=5_000_000, body=b"y" * 20_000))
    assert kept.held_bytes <= 200_000
    assert kept.get(str(bad)) is not None
    kept = Exemplars(NoStore())
    huge = kept.get(str(kept.offer(capture("huge", shadow="504", body=b"x" * 800_000)))) or {}
    assert huge["live"]["body"] == ""
    assert huge["live"]["dropped"] == {"reason": "too large to keep", "bytes": 800_000, "digest": ""}


def test_slots_are_bounded() -> None:
    """More mirrors than slots: the mildest give theirs up."""
    kept = Exemplars(NoStore())
    for n in range(SLOTS + 30):
        assert kept.offer(capture(f"m{n}", mirror=f"all/m{n}", shadow="500", at=1000.0 + n))
    assert len(kept) == SLOTS


def test_age_ends_an_exemplar() -> None:
    """Captured traffic is not kept for ever."""
    kept = Exemplars(NoStore())
    kept.offer(capture("old", shadow="500", at=0.0))
    kept.offer(capture("new", shadow="500", at=KEPT_S))
    kept.forget(KEPT_S + 1.0)
    assert [one["request"]["target"] for one in kept.find()] == ["/new"]


def test_the_document_has_everything() -> None:
    """Request, answers, seconds, trace, why; the control arm when there is one."""
    kept = Exemplars(NoStore())
    given = capture(
        "a",
        shadow="500",
        shadow_ns=2_500_000,
        control={"outcome": "200", "first_ns": None, "last_ns": 7, "headers": [], "body": "", "cut": False},
    )
    document = kept.get(str(kept.offer(given))) or {}
    assert (document["route"], document["mirror"], document["trace"], document["at"]) == ("all", "shadow", "ab" * 16, 1000.0)
    assert document["shadow"]["last_seconds"] == 0.0025
    assert "last_ns" not in document["shadow"]
    assert document["control"]["first_seconds"] is None
    assert repr(kept) == f"<Exemplars 1 of 1 offered, {kept.held_bytes} bytes>"


async def test_exemplars_survive_a_restart(tmp_path: Path) -> None:
    """They are in the state file, ranks and all; what made room is no longer in it."""
    store = SqliteStore(str(tmp_path / "s.db"))
    kept = Exemplars(store, "r1")
    names = [kept.offer(capture(f"a{n}", shadow_ns=(n + 2) * 1_000_000, at=10.0)) for n in range(PER_REASON)]
    await kept.flush()
    gone = names[0]
    kept.offer(capture("worse", shadow_ns=99_000_000, at=10.0))
    await kept.flush()
    await store.close()
    store = SqliteStore(str(tmp_path / "s.db"))
    again = Exemplars(store, "r1")
    await again.restore(20.0)
    assert again.find() == kept.find()
    assert [again.get(one["id"]) for one in again.find()] == [kept.get(one["id"]) for one in kept.find()]
    assert again.get(str(gone)) is None
    await store.close()
    with sqlite3.connect(tmp_path / "s.db") as connection:
        rows = connection.execute("SELECT value FROM entries").fetchall()
    connection.close()
    assert not any(str(gone) in value for (value,) in rows)


async def test_exemplars_of_other_redaction_rules_are_dropped() -> None:
    """What was scrubbed before a field was configured may hold that field: at a restart, and at a reload."""
    store = NoStore()
    kept = Exemplars(store, "before")
    kept.offer(capture("a", shadow="500"))
    await kept.flush()
    again = Exemplars(store, "after")
    await again.restore(1000.0)
    await again.flush()
    assert len(again) == 0
    assert not any(store.entries.values())
    kept.follow("before")
    assert len(kept) == 1
    kept.follow("after")
    assert len(kept) == 0


async def test_a_store_that_does_not_work_costs_nothing_else() -> None:
    """Nothing raises; once it works again everything is written."""
    store = NoStore(works=False)
    kept = Exemplars(store)
    await kept.restore(0.0)
    kept.offer(capture("a", shadow="500"))
    await kept.flush()
    assert len(kept) == 1
    store.works = True
    await kept.flush()
    assert len(store.entries) == 1


async def test_what_is_no_exemplar_in_the_store_is_replaced() -> None:
    """A damaged entry is nobody's problem."""
    store = NoStore()
    for slot, text in enumerate(["nonsense", "[]", "{}", json.dumps({"document": {"id": 1}, "at": "x"})]):
        store.entries[f"exemplar.{slot}"] = text
    kept = Exemplars(store)
    await kept.restore(0.0)
    await kept.flush()
    assert len(kept) == 0
    assert set(store.entries.values()) == {""}


async def test_the_task_writes_what_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without being asked, soon after."""
    monkeypatch.setattr(module, "FLUSH_S", 0.0)
    monkeypatch.setattr(module, "KEPT_S", float("inf"))
    store = NoStore()
    kept = Exemplars(store)
    task = asyncio.get_running_loop().create_task(kept.keep())
    kept.offer(capture("a", shadow="500"))
    async with asyncio.timeout(20):
        while not store.entries:
            await asyncio.sleep(0.001)
    task.cancel()
