"""What sinks keep: apart by tenant, bounded, and there after SIGKILL."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from shadowproxy.errors import StateError
from shadowproxy.sinks import shelf as shelf_module
from shadowproxy.sinks.shelf import Bounds, Shelf

if TYPE_CHECKING:
    from pathlib import Path

NAMES = st.sampled_from(["a", "b"])
KEYS = st.sampled_from(["1", "2", "3"])
COLLECTIONS = st.sampled_from(["/orders", "/orders/1/items", "/orders/1%2F2/items", "/orders2"])


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever is done, a shelf is a dictionary of dictionaries."""

    def __init__(self) -> None:
        super().__init__()
        self.shelf = Shelf()
        self.model: dict[tuple[str, str], dict[tuple[str, str], str | None]] = {}

    @rule(sink=NAMES, tenant=NAMES, collection=COLLECTIONS, key=KEYS, body=st.none() | st.text(max_size=5))
    def put(self, sink: str, tenant: str, collection: str, key: str, body: str | None) -> None:
        """Keep or replace."""
        before = self.shelf.get(sink, tenant, collection, key)
        item = self.shelf.put(sink, tenant, collection, key, body)
        assert item.version == (before.version + 1 if before else 1)
        self.model.setdefault((sink, tenant), {})[collection, key] = body

    @rule(sink=NAMES, tenant=NAMES, collection=COLLECTIONS, key=KEYS)
    def drop(self, sink: str, tenant: str, collection: str, key: str) -> None:
        """Forget one."""
        there = (collection, key) in self.model.get((sink, tenant), {})
        assert self.shelf.drop(sink, tenant, collection, key) is there
        self.model.get((sink, tenant), {}).pop((collection, key), None)

    @rule(sink=NAMES, tenant=NAMES)
    def drop_below(self, sink: str, tenant: str) -> None:
        """Forget what belongs to an order, and not what belongs to one of a longer name."""
        held = self.model.get((sink, tenant), {})
        gone = [spot for spot in held if spot[0].startswith("/orders/1/")]
        assert self.shelf.drop_below(sink, tenant, "/orders/1") == len(gone)
        for spot in gone:
            del held[spot]

    @rule(sink=NAMES, tenant=NAMES)
    def reset(self, sink: str, tenant: str) -> None:
        """Forget a tenant in a sink; its counters begin again."""
        assert self.shelf.reset(sink, tenant) == len(self.model.pop((sink, tenant), {}))
        assert self.shelf.count(sink, tenant, "n") == 1
        assert self.shelf.count(sink, tenant, "n") == 2
        self.shelf.reset(sink, tenant)

    @invariant()
    def holds(self) -> None:
        """Every item is there with its body, for its tenant and for nobody else."""
        for sink in ("a", "b"):
            assert self.shelf.kept(sink)[0] == sum(len(held) for (one, _), held in self.model.items() if one == sink)
            assert self.shelf.tenants(sink) == {
                tenant: len(held) for (one, tenant), held in sorted(self.model.items()) if one == sink and held
            }
            for tenant in ("a", "b"):
                found = {(item.collection, item.id): item.body for item in self.shelf.contents(sink, tenant, 1000)}
                assert found == self.model.get((sink, tenant), {})


TestAgainstADictionary = AgainstADictionary.TestCase


def test_order_is_that_of_creation() -> None:
    """A change does not move an item."""
    shelf = Shelf()
    for key in ("b", "a", "c"):
        shelf.put("s", "t", "/x", key, key)
    shelf.put("s", "t", "/x", "b", "changed")
    assert [item.id for item in shelf.of_collection("s", "t", "/x")] == ["b", "a", "c"]
    assert [item.id for item in shelf.contents("s", "t", 2)] == ["b", "c"]


def test_the_oldest_of_the_largest_tenant_goes_first() -> None:
    """A tenant that fills the sink loses its own, not others'; what was just written stays."""
    shelf = Shelf()
    shelf.bound("s", Bounds(items=10))
    shelf.put("s", "small", "/x", "1", "mine")
    for number in range(50):
        shelf.put("s", "large", "/x", str(number), "x")
        assert shelf.get("s", "large", "/x", str(number)) is not None
    assert shelf.get("s", "small", "/x", "1") is not None
    assert shelf.kept("s")[0] == 10
    assert shelf.evicted["s"] == 41
    assert [item.id for item in shelf.of_collection("s", "large", "/x")] == [str(number) for number in range(41, 50)]


def test_bytes_are_bounded() -> None:
    """By all that is kept, and by each item."""
    shelf = Shelf()
    shelf.bound("s", Bounds(size=10_000))
    for number in range(100):
        shelf.put("s", str(number % 3), "/x", str(number), "x" * 900)
        assert shelf.kept("s")[1] <= 10_000
    with pytest.raises(StateError, match="limit 10000"):
        shelf.put("s", "a", "/x", "big", "x" * 10_000)


def test_what_is_too_old_goes() -> None:
    """By the last change; counters too."""
    now = [1000.0]
    shelf = Shelf(now=lambda: now[0])
    shelf.bound("s", Bounds(age_s=60))
    shelf.put("s", "t", "/x", "old", "1")
    shelf.put("s", "t", "/x", "new", "1")
    assert shelf.count("s", "t", "n") == 1
    now[0] += 50
    shelf.put("s", "t", "/x", "new", "2")
    now[0] += 50
    shelf.expire()
    shelf.expire()
    assert [item.id for item in shelf.of_collection("s", "t", "/x")] == ["new"]
    assert shelf.kept("s")[0] == 1
    assert shelf.count("s", "t", "n") == 1


def test_everything_is_there_in_the_next_process(tmp_path: Path) -> None:
    """Items, order, counters and totals; the file is for its owner only."""
    path = tmp_path / "s.db"
    with Shelf(str(path)) as shelf:
        shelf.put("s", "t", "/x", "2", "b", over_live=True)
        shelf.put("s", "t", "/x", "1", None)
        shelf.count("s", "t", "n", 7)
        before, kept = shelf.of_collection("s", "t", "/x"), shelf.kept("s")
    assert path.stat().st_mode & 0o077 == 0
    with Shelf(str(path)) as again:
        assert (again.of_collection("s", "t", "/x"), again.kept("s")) == (before, kept)
        assert again.count("s", "t", "n", 7) == 8
        assert again.put("s", "t", "/x", "3", "c").version == 1
        assert [item.id for item in again.of_collection("s", "t", "/x")] == ["2", "1", "3"]


def test_what_was_said_to_be_kept_survives_sigkill(tmp_path: Path) -> None:
    """A process that writes until it is killed has lost nothing of what it had acknowledged."""
    program = (
        "import sys; from shadowproxy.sinks.shelf import Shelf\nshelf = Shelf(sys.argv[1])\n"
        "for n in range(1_000_000):\n    shelf.put('s', 't', '/x', str(n), 'x'); print(n, flush=True)\n"
    )
    path = tmp_path / "s.db"
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE, text=True) as writing:
        assert writing.stdout is not None
        for _ in range(200):
            acknowledged = int(writing.stdout.readline())
        writing.kill()
        rest = writing.stdout.read().split("\n")
        acknowledged = max([acknowledged, *(int(line) for line in rest[:-1] if line)])
    with Shelf(str(path)) as shelf:
        assert len(shelf.of_collection("s", "t", "/x")) > acknowledged


def test_two_processes_cannot_keep_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each would count what it has not seen."""
    monkeypatch.setattr(shelf_module, "LOCK_PATIENCE_S", 0.1)
    path = str(tmp_path / "s.db")
    with Shelf(path), pytest.raises(StateError, match="another process"):
        Shelf(path)
    Shelf(path).close()
    with pytest.raises(StateError, match="No such file"):
        Shelf(str(tmp_path / "no" / "s.db"))


def test_a_file_that_is_no_database_is_a_problem_until_it_is_gone(tmp_path: Path) -> None:
    """Calls fail, with the reason; once the cause is gone the next call works."""
    path = tmp_path / "s.db"
    path.write_bytes(b"not a database, and longer than its header would be" * 50)
    shelf = Shelf(str(path))
    with pytest.raises(StateError, match="not a database"):
        shelf.put("s", "t", "/x", "1", "1")
    assert "not a database" in shelf.problem
    path.unlink()
    shelf.put("s", "t", "/x", "1", "1")
    assert shelf.problem == ""
    assert repr(shelf).endswith("1 items>")
    shelf.close()


def test_a_write_that_fails_is_undone() -> None:
    """Half a transaction is none."""
    shelf = Shelf()
    shelf.put("s", "t", "/x", "1", "1")
    with pytest.raises(StateError):
        shelf.put("s", "t", "/x", "2", "\ud800")
    assert [item.id for item in shelf.of_collection("s", "t", "/x")] == ["1"]
    shelf.put("s", "t", "/x", "3", "1")


async def test_writes_of_one_turn_are_committed_together(tmp_path: Path) -> None:
    """Each waits for the commit, and another process then sees all of them."""
    path = str(tmp_path / "s.db")
    shelf = Shelf(path)
    shelf.is_grouped = True
    commits: list[str] = []

    async def write(number: int) -> None:
        shelf.put("s", "t", "/x", str(number), "x")
        await shelf.committed(shelf.losses)
        commits.append(_seen(path))

    await asyncio.gather(*(write(number) for number in range(20)))
    assert commits == ["20"] * 20
    await shelf.committed(shelf.losses)
    shelf.put("s", "t", "/x", "late", "x")
    shelf.close()
    assert _seen(path) == "21"


async def test_a_commit_that_fails_is_told_to_all_who_wait(tmp_path: Path) -> None:
    """None of the writes is there, none is acknowledged, and the next one works."""
    shelf = Shelf(str(tmp_path / "s.db"))
    shelf.is_grouped = True
    losses = shelf.losses
    shelf.put("s", "t", "/x", "1", "x")
    assert shelf._connection is not None
    shelf._connection.execute("PRAGMA max_page_count = 1")
    waiting = [asyncio.ensure_future(shelf.committed(losses)) for _ in range(3)]
    with pytest.raises(StateError, match="full"):
        shelf.put("s", "t", "/x", "2", "x" * 1_000_000)
    for one in waiting:
        with pytest.raises(StateError):
            await one
    assert shelf.of_collection("s", "t", "/x") == []
    assert shelf.kept("s") == (0, 0)
    shelf.put("s", "t", "/x", "3", "x")
    await shelf.committed(shelf.losses)
    assert shelf.kept("s")[0] == 1
    shelf.close()


def _seen(path: str) -> str:
    """How many items another connection sees."""
    with contextlib.closing(sqlite3.connect(path)) as other:
        return str(other.execute("SELECT COUNT(*) FROM items").fetchone()[0])


def test_counters_are_bounded_too() -> None:
    """However many names somebody takes, at the next look the newest are left."""
    now = [1000.0]
    shelf = Shelf(now=lambda: now[0])
    shelf.bound("s", Bounds(items=10))
    for number in range(50):
        now[0] += 0.001
        shelf.count("s", f"tenant-{number}", "n")
    shelf.expire()
    assert shelf.count("s", "tenant-49", "n") == 2
    assert shelf.count("s", "tenant-0", "n") == 1


def test_what_is_shown_at_once_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The newest, as far as they fit."""
    monkeypatch.setattr(shelf_module, "CONTENTS_BYTES", 1000)
    shelf = Shelf()
    for number in range(20):
        shelf.put("s", "t", "/x", str(number), "x" * 300)
    assert [item.id for item in shelf.contents("s", "t", 100)] == ["19", "18", "17"]


def test_no_more_goes_than_must() -> None:
    """When large items are too many bytes, as many go as make room, and a hundredth."""
    shelf = Shelf()
    shelf.bound("s", Bounds(items=10_000, size=1_000_000))
    for number in range(30):
        shelf.put("s", "t", "/x", str(number), "x" * 100_000)
        assert len(shelf.of_collection("s", "t", "/x")) == min(number + 1, 9)
