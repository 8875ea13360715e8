"""The files of a journal: whatever ends the process while one takes the place of another, no entry is lost and the chain is whole."""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowproxy.config import from_plain
from shadowproxy.control.journal import Journal
from shadowproxy.control.segments import HOLE_BYTES, Segments, Whole, number_of
from shadowproxy.errors import StateError
from shadowproxy.experiments.journal import Chain, Entry, canonical, read
from shadowproxy.experiments.lifecycle import State
from tests.control.conftest import Start, plain, until
from tests.control.governed import ACTOR, exposure, running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

STEPS = ("open", "write", "fsync", "link", "sync", "replace", "last sync")
"""Of a turn, in their order."""


class Cut:
    """A journal that is turned on demand."""

    def __init__(self, directory: Path, **standing: object) -> None:
        self.failures: list[str] = []
        self.journal = Journal(directory / "a.jsonl", self.failures.append, standing=lambda: dict(standing))

    async def turn(self) -> None:
        """Begin a new segment now."""
        self.journal.segment_bytes = 1
        self.journal.check()
        self.journal.segment_bytes = sys.maxsize
        await until(lambda: not self.journal._is_turning or bool(self.journal.problem), "a new segment")

    async def grows_on(self) -> None:
        """Where no new segment can begin, the present one is written to."""
        self.journal.segment_bytes = 1
        self.journal.check()
        assert not await self.write("b-1")
        assert self.journal.segment_bytes == sys.maxsize
        assert not self.failures
        assert len(self.journal.path.read_bytes().splitlines()) == 10

    async def fill(self, *runs: str) -> None:
        """Segments, one of each run, and the present one of the last."""
        for run in runs[:-1]:
            await self.write(run)
            await self.turn()
        await self.write(runs[-1])

    async def write(self, run: str) -> str:
        """A whole run."""
        for kind in ("admitted", "armed", "tick", "ended"):
            self.journal.append(run, kind, {"of": run})
        return await self.journal.write(run, "late", {})


@pytest.fixture
async def cut(tmp_path: Path) -> AsyncIterator[Cut]:
    """One that has been opened."""
    made = Cut(tmp_path, epoch=7)
    assert not await made.journal.open()
    yield made
    await asyncio.to_thread(made.journal.close)


def whole(path: Path) -> list[Entry]:
    """All entries that are there, verified over all files."""
    chain, found = Chain(), []
    for file in Segments(path).opened():
        found += list(read(Whole(file), chain))
    return found


async def reopened(path: Path) -> tuple[Journal, list[Entry]]:
    """What the next process finds."""
    seen: list[Entry] = []
    journal = Journal(path)
    assert not await journal.open(seen.append), journal.problem
    return journal, seen


async def test_the_files_in_the_order_of_their_names_are_the_journal(cut: Cut, tmp_path: Path) -> None:
    """Each header follows from the entry before it and says what a start needs."""
    await cut.fill("a-1", "b-1", "c-1")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["a.000001.jsonl", "a.000002.jsonl", "a.jsonl"]
    lines = b"".join((tmp_path / name).read_bytes() for name in names).splitlines()
    entries = list(read(lines))
    assert entries == whole(cut.journal.path)
    assert [one.seq for one in entries] == list(range(1, 18))
    headers = [one for one in entries if one.kind == "segment"]
    assert [one.body["segment"] for one in headers] == [2, 3]
    assert headers[1].body["standing"] == {"epoch": 7}
    assert [row[:2] for row in headers[1].body["runs"]] == [["a-1", 5], ["", 1], ["b-1", 5]]
    assert all((tmp_path / name).stat().st_mode & 0o777 == 0o600 for name in names)


async def test_a_start_reads_the_present_file_and_what_became_of_runs(cut: Cut) -> None:
    """Not the ticks of before; counts, heads and the chain go on."""
    await cut.fill("a-1", "b-1", "c-1")
    await cut.turn()
    other, seen = await reopened(cut.journal.path)
    assert [(one.run, one.kind) for one in seen] == [
        *[(run, kind) for run in ("a-1", "b-1", "c-1") for kind in ("admitted", "armed", "ended")],
        ("", "segment"),
    ]
    assert other.head == cut.journal.head
    assert [other.of(run) for run in ("a-1", "b-1")] == [cut.journal.of(run) for run in ("a-1", "b-1")]
    assert other.of("a-1")[0] == 5
    assert not await other.write("a-1", "late", {})
    assert other.of("a-1")[0] == 6
    assert whole(cut.journal.path)[-1].nth == 6
    other.close()


async def test_a_run_is_read_over_segments(cut: Cut) -> None:
    """Its lines and its entries, from the file that it begins in to the one that it ends in, and no others."""
    for run in ("old-1", "long-1"):
        await cut.journal.write(run, "admitted", {})
        await cut.turn()
    for number in range(3):
        await cut.journal.write("long-1", "tick", {"n": number})
        await cut.turn()
    await cut.journal.write("long-1", "ended", {})
    await cut.turn()
    await cut.journal.write("new-1", "admitted", {})
    other, _ = await reopened(cut.journal.path)
    for journal in (cut.journal, other):
        assert [one.kind for one in journal.entries("long-1")] == ["admitted", "tick", "tick", "tick", "ended"]
        assert len(list(journal.lines("long-1"))) == 5
        assert [one.run for one in journal.entries("old-1")] == ["old-1"]
        assert not list(journal.lines("nobody-1"))
    segments = Segments(cut.journal.path)
    segments.older(1).write_bytes(b"x\n")
    assert len(list(other.entries("long-1"))) == 5, "what is older than the run is not its affair"
    with pytest.raises(StateError, match=r"a.000001.jsonl: line 1"):
        list(other.entries("old-1"))
    segments.older(4).unlink()
    with pytest.raises(StateError, match=r"a.000004.jsonl: this part of the journal is missing"):
        list(other.entries("long-1"))
    other.close()


async def test_a_file_that_is_turned_under_a_reader_is_read_to_its_end(cut: Cut) -> None:
    """Whichever moment it is."""
    await cut.journal.write("a-1", "admitted", {})
    await cut.journal.write("a-1", "tick", {})
    reader = cut.journal.lines("a-1")
    next(reader)
    await cut.turn()
    await cut.turn()
    assert len(list(reader)) == 1
    files = Segments(cut.journal.path).opened()
    next(files)
    await cut.turn()
    assert [number_of(file) for file in files] == [2, 3, 4]


async def test_the_oldest_are_removed_and_the_rest_is_whole_from_there(cut: Cut, tmp_path: Path) -> None:
    """Two at a turn at most, never one after one that stays; verification begins at the header of the first that is there."""
    await cut.fill("a-1", "b-1", "c-1", "d-1", "e-1")
    cut.journal.keep_s = 1000.0
    for number in (1, 2, 3):
        os.utime(tmp_path / f"a.00000{number}.jsonl", (1, 1))
    await cut.turn()
    assert Segments(cut.journal.path).numbers() == [3, 4, 5]
    await cut.turn()
    await cut.turn()
    assert Segments(cut.journal.path).numbers() == [4, 5, 6, 7]
    found = whole(cut.journal.path)
    assert (found[0].kind, found[0].seq) == ("segment", 18)
    other, seen = await reopened(cut.journal.path)
    assert {one.run for one in seen if one.run} == {"d-1", "e-1"}
    assert len(list(other.entries("d-1"))) == 5
    other.close()
    with pytest.raises(StateError, match=r"a.000002.jsonl: this part of the journal is missing"):
        list(cut.journal.entries("b-1"))


async def test_a_journal_of_one_file_becomes_the_first_segment(cut: Cut) -> None:
    """As an earlier version wrote it, without any header."""
    await cut.fill("a-1")
    old = cut.journal.path.read_bytes()
    other = Journal(cut.journal.path)
    assert not await other.open()
    other.segment_bytes = 1
    other.check()
    await until(lambda: other._number == 2, "a new segment")
    assert Segments(cut.journal.path).older(1).read_bytes() == old
    assert len(whole(cut.journal.path)) == 6
    other.close()


_CHILD = """
import asyncio, os, signal, sys
from pathlib import Path
from shadowproxy.config import from_plain
from shadowproxy.control.journal import Journal
step, path = sys.argv[1], Path(sys.argv[2])

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

def after(count, real):
    def call(*arguments, **named):
        nonlocal count
        count -= 1
        return die() if count < 0 else real(*arguments, **named)
    return call

async def main():
    journal = Journal(path)
    assert not await journal.open(), journal.problem
    for number in range(20):
        assert not await journal.write("a-1", "tick", {"n": number})
    print(journal.head, flush=True)
    name, count = {"open": ("open", 0), "write": ("write", 0), "fsync": ("fsync", 0), "link": ("link", 0), "sync": ("fsync", 1),
                   "replace": ("replace", 0), "last sync": ("fsync", 2)}[step]
    setattr(os, name, after(count, getattr(os, name)))
    journal.segment_bytes = 1
    journal.check()
    await asyncio.sleep(60)

asyncio.run(main())
"""


@pytest.mark.parametrize("step", STEPS)
async def test_a_process_that_is_killed_at_any_step_of_a_turn(tmp_path: Path, step: str) -> None:
    """What was acknowledged is there, the chain is whole, and the next process goes on and can turn."""
    path = tmp_path / "a.jsonl"
    ended = await asyncio.to_thread(
        subprocess.run, [sys.executable, "-c", _CHILD, step, str(path)], capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    other, _ = await reopened(path)
    assert not list(tmp_path.glob("*.new"))
    entries = whole(path)
    assert [one.body["n"] for one in entries if one.kind == "tick"] == list(range(20))
    assert ended.stdout.strip() in {other.head, entries[-1].prev}
    assert not await other.write("a-1", "tick", {"n": 20})
    other.segment_bytes = 1
    number = other._number
    other.check()
    await until(lambda: other._number > number or bool(other.problem), "a new segment")
    assert not await other.write("a-1", "tick", {"n": 21})
    assert [one.nth for one in whole(path) if one.run == "a-1"] == list(range(1, 23))
    other.close()


@pytest.mark.parametrize("call", ["open", "write", "fsync", "link", "replace"])
async def test_a_full_disk_at_any_step_ends_runs_and_costs_no_entry(cut: Cut, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    """It is a failure of the journal as any other; once there is room it goes on, and turns."""
    await cut.fill("a-1")

    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(f"shadowproxy.control.segments.os.{call}", full)
    await cut.turn()
    assert "No space left" in cut.journal.problem
    assert len(cut.failures) == 1
    monkeypatch.undo()
    assert not await cut.journal.open()
    await cut.turn()
    assert not await cut.write("b-1")
    assert [one.run for one in whole(cut.journal.path) if one.kind == "ended"] == ["a-1", "b-1"]


async def test_a_file_system_without_links_keeps_one_file(
    cut: Cut, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Said once in the log; no run ends because of it."""
    await cut.fill("a-1")

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr("shadowproxy.control.segments.os.link", refused)
    await cut.grows_on()
    assert "Operation not permitted" in caplog.text
    assert not Segments(cut.journal.path).numbers()


async def test_a_file_of_that_name_is_not_overwritten(cut: Cut, caplog: pytest.LogCaptureFixture) -> None:
    """Whoever put it there: it is named, nothing of it is touched, and no run ends because of it."""
    await cut.fill("a-1")
    there = Segments(cut.journal.path).older(1)
    there.write_bytes(b"precious")
    await cut.grows_on()
    assert f"it cannot be called {there.name}: File exists" in caplog.text
    assert there.read_bytes() == b"precious"


async def test_a_file_that_is_moved_away_is_said_and_the_chain_goes_on(cut: Cut, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """As logrotate would do: runs end, the next file follows from the one that was moved, and numbers go on."""
    await cut.fill("a-1", "b-1")
    cut.journal.path.rename(tmp_path / "a.jsonl.1")
    assert "moved away or removed while it was in use" in await cut.write("c-1")
    assert not await cut.journal.open()
    assert "moved away while it was in use" in caplog.text
    assert not await cut.write("c-1")
    files = [tmp_path / name for name in ("a.000001.jsonl", "a.jsonl.1", "a.jsonl")]
    assert [one.seq for one in read(b"".join(file.read_bytes() for file in files).splitlines())] == list(range(1, 18))
    other, seen = await reopened(cut.journal.path)
    assert seen[0].body["standing"] == {"epoch": 7}
    other.close()


async def test_a_file_that_is_missing_at_the_start_is_asked_for(cut: Cut) -> None:
    """Older segments show that there was one: no run begins before somebody has put it back, and nothing is made in its place."""
    await cut.fill("a-1", "b-1")
    raw = cut.journal.path.read_bytes()
    cut.journal.path.unlink()
    other = Journal(cut.journal.path)
    assert "older segments are, the last a.000001.jsonl" in await other.open()
    assert not cut.journal.path.exists()
    cut.journal.path.write_bytes(raw)
    assert not await other.open()
    other.close()


@pytest.mark.parametrize("left", [b"", b'{"half'])
async def test_a_file_with_nothing_whole_is_no_new_beginning(cut: Cut, left: bytes) -> None:
    """Where older segments show that there was one: neither for the process that wrote it nor for the next."""
    await cut.fill("a-1", "b-1")
    cut.journal.path.write_bytes(left)
    other = Journal(cut.journal.path)
    assert await other.open()
    other.close()
    assert bool(await cut.journal.open()) == bool(left), "what it knows itself it can go on from"


async def test_a_disk_that_is_full_when_the_file_was_moved_away(cut: Cut, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a header is no beginning: the next try makes a whole one."""
    await cut.fill("a-1")
    cut.journal.path.unlink()
    real = os.write

    def half(descriptor: int, text: bytes) -> int:
        if len(text) < 50:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, text[: len(text) - 40])

    monkeypatch.setattr("shadowproxy.control.journal.os.write", half)
    assert "No space left" in await cut.journal.open()
    monkeypatch.undo()
    assert not await cut.journal.open()
    assert not await cut.write("b-1")
    assert [one.seq for one in whole(cut.journal.path)] == list(range(6, 12))


@pytest.mark.parametrize("rest", [b"\0" * 4000 + b'half":1}\n{"whole":1}\n', b'{"body\0\0\0\n', b"\0\n"])
async def test_holes_that_a_power_cut_left_are_torn(cut: Cut, rest: bytes) -> None:
    """The file had grown, but not all of what was to be in it had reached the disk: all of that was acknowledged to nobody."""
    await cut.fill("a-1")
    with cut.journal.path.open("ab") as file:
        file.write(rest)
    other, _ = await reopened(cut.journal.path)
    entries = whole(cut.journal.path)
    assert (entries[-1].kind, entries[-1].body["bytes"]) == ("torn", len(rest))
    other.close()


async def test_a_hole_far_from_the_end_is_damage(cut: Cut) -> None:
    """A disk that lost a sector must not cost what stands behind it."""
    await cut.fill("a-1")
    with cut.journal.path.open("ab") as file:
        file.write(b"\0\n" + b"x" * HOLE_BYTES + b"\n")
    raw = cut.journal.path.read_bytes()
    other = Journal(cut.journal.path)
    assert "line 6, after entry 5" in await other.open()
    assert cut.journal.path.read_bytes() == raw
    other.close()


async def test_runs_over_segments_and_a_restart(start: Start) -> None:
    """One that was over before, and one in the middle of which a segment began: both are as they were, and numbers and epochs go on."""
    first = await start()
    over = await running(first, name="over")
    first.governor.on_exposure(exposure(over, units={"0a": 3}))
    first.governor.stop(over, ACTOR, "enough")
    run = await running(first)
    journal = first.governor.journal
    for number in range(3):
        first.governor.on_exposure(exposure(run, units={"0a": 1, "0b": 1}))
        journal.segment_bytes = 1
        await until(lambda number=number: journal._number > number + 1, "a segment begins in the middle of it")  # type: ignore[misc]
        journal.segment_bytes = sys.maxsize
    await until(lambda: not journal.waiting, "all is written")
    journal.close()  # from here on as if SIGKILLed: nothing more is written
    journal.problem = "dead"
    before = over.document()
    await first.end()
    second = await start()
    await until(lambda: (found := second.governor.find("slow-1")) is not None and found.life.has_ended, "the run is known and closed")
    found, ended = second.governor.find("slow-1"), second.governor.find("over-1")
    assert found is not None
    assert ended is not None
    assert (found.state, found.code) == (State.ABORTED, "restart")
    totals = found.document()
    assert (totals["units"], totals["seen"], totals["epoch"]) == (2, 30, 2)
    assert (ended.state, ended.code) == (State.ABORTED, "stopped")
    shown = {name: value for name, value in before.items() if name not in {"journal", "created", "ended"}}
    assert {name: ended.document()[name] for name in shown} == shown
    await until(lambda: not second.governor.journal.waiting, "its end is written")
    assert [one.kind for one in second.governor.journal.entries("slow-1")].count("tick") >= 3
    again = await running(second)
    assert (again.id, again.epoch) == ("slow-2", 3)
    assert [one.seq for one in whole(second.governor.journal.path)][:3] == [1, 2, 3]


async def test_the_config_says_how_long_segments_are(start: Start, tmp_path: Path) -> None:
    """At the start, and with each config that comes into force."""
    supervisor = await start(experiments={"journal_segment": "64KiB", "journal_keep": "2d"})
    journal = supervisor.governor.journal
    assert (journal.segment_bytes, journal.keep_s) == (65536, 172_800.0)
    supervisor.governor.follow(from_plain(plain(tmp_path)))
    assert (journal.segment_bytes, journal.keep_s) == (64 * 1024 * 1024, 90 * 86_400.0)


async def test_a_header_that_leads_nowhere_is_said(cut: Cut) -> None:
    """Whoever can make hashes can write what he likes, but not stop the process with it."""
    await cut.fill("a-1")
    chain = Chain()
    body = {"segment": 2, "runs": [["a-1", 1, "00", [["x"], 3]]], "standing": {}}
    cut.journal.path.write_bytes(chain.write(1.0, "", "segment", canonical(body)) + b"\n")
    other = Journal(cut.journal.path)
    assert "its first line says where nothing can be" in await other.open()
    other.close()


@given(st.lists(st.sampled_from(["write", "write", "turn", "restart", "tear", "hole", "kill", "move"]), max_size=14))
@settings(max_examples=25)
def test_whatever_happens_in_whatever_order_nothing_that_was_acknowledged_is_lost(happens: list[str]) -> None:
    """Writes, turns, restarts, torn ends, a crash in the middle of a turn: one chain, and each run counts its own without a gap."""
    with tempfile.TemporaryDirectory() as directory:
        asyncio.run(_all_of(happens, Path(directory)))


async def _all_of(happens: list[str], directory: Path) -> None:
    cut, said = Cut(directory), 0
    assert not await cut.journal.open()
    for what in happens:
        present = cut.journal.path
        match what:
            case "write":
                assert not await cut.journal.write(f"a-{said % 3}", "tick", {"n": said})
                said += 1
            case "turn":
                await cut.turn()
            case "move" if said:
                await cut.turn()  # so that there is a segment before and a name to move it to
                present.rename(Segments(present).older(cut.journal._number))
                assert not await cut.journal.open()
            case _:
                await asyncio.to_thread(cut.journal.close)
                with present.open("ab") as file:
                    file.write({"tear": b'{"body":', "hole": b"\0\0{}\n"}.get(what, b""))
                if what == "kill":
                    os.link(present, Segments(present).older(cut.journal._number))
                    present.with_name(f"{present.name}.new").write_bytes(b"{}")
                cut = Cut(directory)
                assert not await cut.journal.open()
    entries = whole(cut.journal.path)
    assert [one.body["n"] for one in entries if one.kind == "tick"] == list(range(said))
    assert [one.seq for one in entries] == list(range(1, len(entries) + 1))
    for run in ("a-0", "a-1", "a-2"):
        nths = [one.nth for one in entries if one.run == run]
        assert nths == list(range(1, len(nths) + 1))
        assert cut.journal.of(run)[0] == len(nths)
        assert [one.nth for one in cut.journal.entries(run)] == nths
    await asyncio.to_thread(cut.journal.close)
