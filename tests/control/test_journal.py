"""The journal on disk: what was acknowledged is there, and a disk that fails is said to."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from shadowproxy.control import journal as module
from shadowproxy.control.journal import Journal
from shadowproxy.errors import StateError
from shadowproxy.experiments.journal import Entry, first_broken
from tests.control.conftest import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.fixture
async def journal(tmp_path: Path) -> AsyncIterator[Journal]:
    """One that has been opened."""
    opened = Journal(tmp_path / "a.jsonl")
    assert not await opened.open()
    yield opened
    await asyncio.to_thread(opened.close)


async def read(path: Path) -> list[Entry]:
    """What another process would find."""
    entries: list[Entry] = []
    other = Journal(path)
    assert not await other.open(entries.append)
    other.close()
    return entries


async def test_what_is_acknowledged_is_there(journal: Journal) -> None:
    """Entries come back in order, whole, to whoever opens the file next, and the chain goes on."""
    for number in range(20):
        journal.append("a-1", "tick", {"number": number, "share": 0.1 * number})
    assert not await journal.write("a-1", "ended", {"state": "aborted"})
    found = await read(journal.path)
    assert [one.body.get("number") for one in found] == [*range(20), None]
    assert found[-1].hash == journal.head
    assert journal.of("a-1") == (21, journal.head)
    assert journal.of("b-1") == (0, "")
    assert journal.written == 21
    assert journal.path.stat().st_mode & 0o777 == 0o600
    assert "seq=21" in repr(journal)


async def test_the_lines_of_one_run(journal: Journal) -> None:
    """And not those whose body only speaks of it, or whose id begins alike."""
    journal.append("a-1", "tick", {"n": 1})
    journal.append("a-11", "tick", {"n": 2, "x": {"run": "a-1"}})
    journal.append("b-1", "tick", {"said": '"run":"a-1",'})
    await journal.write("a-1", "ended", {})
    assert [json.loads(line)["kind"] for line in journal.lines("a-1")] == ["tick", "ended"]
    assert not list(journal.lines("c"))


async def test_who_reads_right_after_can_wait_for_the_disk(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """All that was queued is there then, whoever else waits for it too; where nothing waits, so does nobody."""
    await journal.caught_up()
    for number in range(20):
        journal.append("a-1", "tick", {"number": number})
    await asyncio.gather(journal.caught_up(), journal.caught_up(), journal.write("a-1", "ended", {}), journal.caught_up())
    assert len(list(journal.entries("a-1"))) == 21

    blocked = threading.Event()
    monkeypatch.setattr("shadowproxy.control.journal.os.fsync", lambda _: blocked.wait())
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    journal.append("a-1", "tick", {})
    await journal.caught_up()
    assert journal.of("a-1")[0] == 21, "it was waited for, and given up"
    blocked.set()
    await until(lambda: journal.of("a-1")[0] == 22, "the disk is back")


async def test_nothing_is_there_before_the_first(tmp_path: Path) -> None:
    """A journal that has not been read takes nothing, and a file that is not there has no lines."""
    journal = Journal(tmp_path / "a.jsonl")
    assert "has not been read" in await journal.write("a-1", "tick", {})
    assert not list(journal.lines("a-1"))
    journal.close()


@pytest.mark.parametrize("rest", [b'{"body":{"n', b"\0" * 100, b"\n"[:0] + b"x"])
async def test_what_a_crash_tore_is_cut_off(journal: Journal, rest: bytes) -> None:
    """It was never acknowledged; that it was there is an entry, and nothing before it is lost."""
    await journal.write("a-1", "tick", {})
    with journal.path.open("ab") as file:
        file.write(rest)
    found = await read(journal.path)
    assert [one.kind for one in found] == ["tick"]
    found = await read(journal.path)
    assert [one.kind for one in found] == ["tick", "torn"]
    assert found[1].body["bytes"] == len(rest)


@pytest.mark.parametrize("damage", [b"x", b"\n", b"{}\n"])
async def test_a_corrupt_journal_is_named_and_left_alone(journal: Journal, damage: bytes) -> None:
    """With its line; no byte of it is touched, for it is evidence."""
    for number in range(3):
        await journal.write("a-1", "tick", {"n": number})
    raw = journal.path.read_bytes()
    lines = raw.splitlines(keepends=True)
    spoiled = lines[0] + damage + lines[1] + lines[2]
    journal.path.write_bytes(spoiled)
    other = Journal(journal.path)
    problem = await other.open()
    assert "line 2, after entry 1" in problem
    assert "Put the file aside" in problem
    assert problem in await other.write("a-1", "tick", {})
    assert journal.path.read_bytes() == spoiled
    other.close()


async def test_a_full_disk_ends_it_and_leaves_no_trace(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half a line was written when the disk was full: it is cut off, all that waits is refused, and it can be opened again."""
    problems: list[str] = []
    journal._on_failure = problems.append
    await journal.write("a-1", "tick", {"n": 1})
    whole = journal.path.read_bytes()
    real = os.write

    def full(descriptor: int, text: bytes) -> int:
        if threading.current_thread().name != "journal":
            return real(descriptor, text)
        if len(text) <= 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, text[: len(text) - 20])

    monkeypatch.setattr("shadowproxy.control.journal.os.write", full)
    assert "No space left" in await journal.write("a-1", "tick", {"n": 2})
    assert "No space left" in await journal.write("a-1", "tick", {"n": 3})
    assert len(problems) == 1
    assert journal.path.read_bytes() == whole
    assert journal.lost == 2
    monkeypatch.undo()
    assert "No space left" in await journal.write("a-1", "tick", {"n": 4}), "not before somebody has looked"
    assert not await journal.open()
    assert not await journal.write("a-1", "tick", {"n": 5})
    assert [one.body["n"] for one in await read(journal.path)] == [1, 5]


async def test_a_sync_that_fails_is_no_success(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel could not write is not acknowledged."""

    def broken(_: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("shadowproxy.control.journal.os.fsync", broken)
    assert "Input/output error" in await journal.write("a-1", "tick", {})


@pytest.mark.parametrize("how", ["removed", "replaced", "added to", "truncated"])
async def test_a_file_that_is_not_ours_any_more_takes_nothing(journal: Journal, how: str) -> None:
    """A write to a file without a name is durable for nobody."""
    await journal.write("a-1", "tick", {"n": 1})
    if how == "removed":
        journal.path.unlink()
    elif how == "replaced":
        journal.path.rename(journal.path.with_suffix(".old"))
        journal.path.write_bytes(b"")
    elif how == "added to":
        with journal.path.open("ab") as file:
            file.write(b"{}\n")
    else:
        os.truncate(journal.path, 0)
    assert str(journal.path) in await journal.write("a-1", "tick", {"n": 2})
    problem = await journal.open()
    if how == "added to":
        assert "line 2" in problem
    else:
        assert not problem, "a new journal begins where there is none"
        assert not await journal.write("a-1", "tick", {"n": 3})


async def test_entries_that_were_there_are_missed(journal: Journal) -> None:
    """A file that was cut back, while we knew what its last entry was, is not gone on with."""
    await journal.write("a-1", "tick", {"n": 1})
    size = journal.path.stat().st_size
    await journal.write("a-1", "tick", {"n": 2})
    os.truncate(journal.path, size)
    assert "missing" in await journal.open()


async def test_a_disk_that_hangs_is_given_up(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told, and the event loop never waited."""
    let_go = threading.Event()
    monkeypatch.setattr("shadowproxy.control.journal.os.fsync", lambda _: let_go.wait())
    monkeypatch.setattr(module, "PATIENCE_S", 0.05)
    waiting = asyncio.ensure_future(journal.write("a-1", "tick", {}))
    await until(lambda: bool(journal.check()), "the disk is given up")
    assert "has not answered" in await waiting
    assert await journal.open(), "the thread is still held"
    let_go.set()
    await until(lambda: not journal.waiting, "the thread is back")
    monkeypatch.undo()
    assert not await journal.open()


async def test_what_waits_is_bounded(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slow disk costs no memory without end."""
    monkeypatch.setattr(module, "WAITING_ENTRIES", 10)
    let_go = threading.Event()
    monkeypatch.setattr("shadowproxy.control.journal.os.fsync", lambda _: let_go.wait())
    for number in range(50):
        journal.append("a-1", "tick", {"n": number})
    let_go.set()
    assert "wait for the disk already" in journal.problem
    assert journal.waiting <= 10


async def test_what_is_no_json_is_refused(journal: Journal) -> None:
    """With its kind, and without harm to the file."""
    assert "kind tick" in await journal.write("a-1", "tick", {"n": float("nan")})
    assert first_broken(journal.path.read_bytes().splitlines(keepends=True)) is None


async def test_a_directory_that_is_not_there(tmp_path: Path) -> None:
    """Is a problem, not an exception."""
    journal = Journal(tmp_path / "gone" / "a.jsonl")
    assert "No such file" in await journal.open()
    journal.close()
    (tmp_path / "d").mkdir()
    with pytest.raises(StateError):
        list(Journal(tmp_path / "d").lines("a-1"))
