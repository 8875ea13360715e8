"""Evidence in the store: what is written, when, how much, and what a damaged or dead store costs."""

from __future__ import annotations

import asyncio
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import from_plain
from shadowproxy.control import evidencestore
from shadowproxy.control.counts import Counts
from shadowproxy.control.evidencestore import EvidenceStore
from shadowproxy.control.judging import Judging
from shadowproxy.errors import StateError
from shadowproxy.judge.evidence import MirrorEvidence
from shadowproxy.judge.snapshot import dump
from tests.control.conftest import plain, until
from tests.judge.ticks import matrix_tick

if TYPE_CHECKING:
    from shadowproxy.config.model import Config


class Rows:
    """A store in memory, that can be broken."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {}
        self.writes = 0
        self.problem = ""

    async def get(self, key: str) -> str | None:
        """As Store."""
        self._work()
        return self.rows.get(key)

    async def put(self, key: str, value: str) -> None:
        """As Store."""
        self._work()
        self.writes += 1
        self.rows[key] = value

    async def close(self) -> None:
        """As Store."""

    def _work(self) -> None:
        if self.problem:
            raise StateError(self.problem)

    @property
    def kept(self) -> list[str]:
        """The mirrors that have a row, by slot; "" for a free one."""
        return [json.loads(text)["key"] if text else "" for _, text in sorted(self.rows.items())]


def config(directory: Path, *routes: str) -> Config:
    """A config with a mirror on each of `routes`."""
    match = {name: {"path": f"/{name}"} for name in routes}
    return from_plain(
        plain(directory, routes=[{"name": name, "match": match[name], "live": "live", "mirror": [{"to": "shadow"}]} for name in routes])
    )


class Process:
    """One run: a judging and what keeps its evidence."""

    def __init__(self, rows: Rows, config: Config) -> None:
        self.counts = Counts()
        self.judging = Judging(config, self.counts)
        self.account = self.counts.open(0)
        self.store = EvidenceStore(self.judging, rows)

    def see(self, route: str, **cells: int) -> None:
        """A tick."""
        tally: dict[str, Any] = {"type": "tally", "mirrors": {f"{route}/shadow": matrix_tick(**cells)}}
        self.judging.add(self.account, tally)

    def pairs(self) -> dict[str, int]:
        """Of each route."""
        return {case.route: case.evidence.pairs.pairs for case in self.judging.cases}


async def test_what_one_process_wrote_the_next_goes_on_with(tmp_path: Path) -> None:
    """Each mirror with its own; what never got a request takes no row."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a", "b", "c"))
    assert not await first.store.save()
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    first.see("b", **{"200,500": 20})
    assert await first.store.save()
    assert rows.kept == ["a/shadow", "b/shadow"]
    second = Process(rows, config(tmp_path, "c", "b", "a"))
    await second.store.restore()
    assert second.pairs() == {"a": 5, "b": 20, "c": 0}
    assert "2 of 2" in repr(second.store)


async def test_evidence_that_begins_anew_before_it_was_written_leaves_its_verdict(tmp_path: Path) -> None:
    """Who asks for it right after the start finds, after a kill, what was known before."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a"))
    await first.store.restore()
    first.see("a", **{"200,500": 40})
    first.judging.restart("a/shadow", "somebody asked for it")
    assert await first.store.save()
    second = Process(rows, config(tmp_path, "a"))
    await second.store.restore()
    (case,) = second.judging.cases
    assert (second.pairs(), case.epoch) == ({"a": 0}, 2)
    assert case.previous is not None
    assert case.previous.pairs == 40


async def test_only_what_has_changed_is_written(tmp_path: Path) -> None:
    """A quiet mirror costs nothing, and neither does one that was just read."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a", "b"))
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    first.see("b", **{"200,200": 5})
    await first.store.save()
    await first.store.save()
    assert rows.writes == 2
    first.see("a", **{"200,200": 5})
    await first.store.save()
    assert rows.writes == 3
    second = Process(rows, config(tmp_path, "a", "b"))
    await second.store.restore()
    await second.store.save()
    assert rows.writes == 3


async def test_rows_of_mirrors_that_are_gone_are_used_again(tmp_path: Path) -> None:
    """However often mirrors come and go, there are as many rows as there were mirrors at once."""
    rows = Rows()
    process = Process(rows, config(tmp_path, "a"))
    await process.store.restore()
    for number in range(20):
        names = [f"r{number}", f"s{number}"]
        process.judging.configure(config(tmp_path, *names))
        for name in names:
            process.see(name, **{"200,200": 5})
        await process.store.save()
        assert sorted(rows.kept) == [f"{name}/shadow" for name in names]
    later = Process(rows, config(tmp_path, "other"))
    await later.store.restore()
    await later.store.save()
    assert rows.kept == ["", ""]


async def test_what_was_dropped_does_not_come_back(tmp_path: Path) -> None:
    """Evidence of another setup is cleared from the store: going back to that setup later does not go on with it."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a"))
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    await first.store.save()
    for name in ("b", "a"):
        later = Process(rows, config(tmp_path, name))
        await later.store.restore()
        await later.store.save()
        assert later.pairs() == {name: 0}


@pytest.mark.parametrize(
    "text", ["{", "[]", "7", '"x"', '{"key": "a/shadow"}', '{"key": 1}', "[" * 100_000, '{"key": "a/shadow", "builds": []}']
)
async def test_a_row_that_cannot_be_read_costs_itself(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """And a line in the log; the rows behind it are read."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a", "b"))
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    first.see("b", **{"200,200": 6})
    await first.store.save()
    rows.rows["evidence.0"] = text
    second = Process(rows, config(tmp_path, "a", "b"))
    await second.store.restore()
    assert second.pairs() == {"a": 0, "b": 6}
    assert "dropped" in caplog.text or "key" in text


async def test_two_rows_of_one_mirror_count_once(tmp_path: Path) -> None:
    """Nobody is judged twice on the same pairs."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a"))
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    await first.store.save()
    rows.rows["evidence.1"] = rows.rows["evidence.0"]
    second = Process(rows, config(tmp_path, "a"))
    await second.store.restore()
    assert second.pairs() == {"a": 5}
    await second.store.save()
    assert rows.kept == ["a/shadow", ""]


async def test_a_store_that_does_not_work_hurts_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """At the start: nothing is known, which is said. Later: it is tried again, and what has grown since is written."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a"))
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    await first.store.save()
    rows.problem = "disk on fire"
    second = Process(rows, config(tmp_path, "a"))
    await second.store.restore()
    assert "disk on fire" in caplog.text
    second.see("a", **{"200,200": 3})
    assert not await second.store.save()
    rows.problem = ""
    assert await second.store.save()
    assert rows.kept == ["a/shadow"]
    third = Process(rows, config(tmp_path, "a"))
    await third.store.restore()
    assert third.pairs() == {"a": 3}


async def test_a_row_has_a_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """What is larger is not kept, which is said once."""
    monkeypatch.setattr(evidencestore, "ROW_LIMIT", 300)
    rows = Rows()
    process = Process(rows, config(tmp_path, "a"))
    await process.store.restore()
    for _ in range(3):
        process.see("a", **{"200,200": 5})
        assert await process.store.save()
    assert rows.kept == [""]
    assert caplog.text.count("is not kept over restarts") == 1


async def test_a_turn_is_written_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not after the usual pause: an alarm that people have seen is not lost with the process."""
    monkeypatch.setattr(evidencestore, "SAVE_S", 1e6)
    rows = Rows()
    process = Process(rows, config(tmp_path, "a"))
    await process.store.restore()
    task = asyncio.get_running_loop().create_task(process.store.keep())
    try:
        process.see("a", **{"200,500": 20})
        await until(lambda: rows.writes > 0, "written")
        process.judging.restart("a/shadow", "test")
        await until(lambda: json.loads(rows.rows["evidence.0"])["epoch"] == 2, "written again")
    finally:
        task.cancel()


LIVES = st.lists(
    st.one_of(
        st.tuples(
            st.sampled_from(["a", "b"]), st.dictionaries(st.sampled_from(["200,200", "200,500", "500,200"]), st.integers(1, 9), min_size=1)
        ),
        st.sampled_from(["save", "kill", "stop", "anew"]),
    ),
    max_size=30,
)


@given(steps=LIVES)
def test_evidence_is_that_of_what_was_seen_and_written(steps: list[Any]) -> None:
    """However often a process is killed or stopped: what it goes on with is a beginning of what it had seen, the same for both mirrors, to the last count."""

    async def live(directory: Path) -> None:
        rows, settings = Rows(), config(directory, "a", "b")
        seen: dict[str, list[dict[str, int]]] = {"a": [], "b": []}
        written = {name: list(ticks) for name, ticks in seen.items()}
        process = Process(rows, settings)
        await process.store.restore()
        for step in steps:
            if isinstance(step, tuple):
                route, cells = step
                process.see(route, **cells)
                seen[route].append(cells)
            elif step == "anew":
                process.judging.restart("a/shadow", "test")
                process.account = process.counts.open(len(process.counts.accounts))  # the worker of before has pairs under way
                seen["a"] = []
            else:
                if step != "kill":
                    assert await process.store.save()
                    written = {name: list(ticks) for name, ticks in seen.items()}
                if step != "save":
                    process = Process(rows, settings)
                    await process.store.restore()
                    seen = {name: list(ticks) for name, ticks in written.items()}
            for case in process.judging.cases:
                expected = MirrorEvidence(case.criteria)
                for cells in seen[case.route]:
                    expected.add(matrix_tick(**cells))
                assert dump(case.evidence) == dump(expected)

    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(live(Path(directory)))


async def test_a_build_that_is_first_seen_is_written_too(tmp_path: Path) -> None:
    """It adds nothing to the evidence, and is what the next process must wait for."""
    rows = Rows()
    first = Process(rows, config(tmp_path, "a"))
    await first.store.restore()
    first.see("a", **{"200,200": 5})
    assert await first.store.save()
    first.judging.seen_revision("shadow", "v1")
    assert await first.store.save()
    assert json.loads(rows.rows["evidence.0"])["builds"] == {"shadow": ["v1"]}
    assert await first.store.save()
    assert rows.writes == 2
