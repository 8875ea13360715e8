"""The ledger: acknowledged means durable, once, and nothing that happens to the file makes it lie."""

from __future__ import annotations

import os
import random
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from shadowproxy.errors import StateError
from shadowproxy.sinks import ledger as module
from shadowproxy.sinks import ledger_file
from shadowproxy.sinks.ledger import Ledger
from shadowproxy.sinks.ledger_query import Filter
from tests.sinks.ledgering import PATIENCE_S, Told, row

ROOT = Path(__file__).parent.parent.parent

Open = Callable[..., Ledger]


@pytest.fixture
def ledger_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Open]:
    """Ledgers that keep everything, closed when the test is over; what is locked is not waited for long."""
    monkeypatch.setattr(ledger_file, "BUSY_TIMEOUT_S", 0.05)
    opened: list[Ledger] = []

    def make(path: Path, **options: Any) -> Ledger:
        opened.append(Ledger(path, 1e9, 1 << 30, **options))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def submit(ledger: Ledger, *rows: dict[str, Any]) -> list[str]:
    """Submit rows together, and return the problems that were told."""
    told = Told()
    ledger.submit(list(rows), told)
    return told.wait()


def until(holds: Callable[[], bool], what: str) -> None:
    """Wait until `holds`."""
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)


def test_what_is_acknowledged_is_there_as_it_was(tmp_path: Path, ledger_at: Open) -> None:
    """Every key comes back, the newest row first, and another process finds it at that moment."""
    ledger = ledger_at(tmp_path / "l.db")
    rows = [row(fate="partitioned", to="test", target="/orders/ü?x=1", body_bytes=0), row(fate="refused", reason="no rule", to="")]
    assert submit(ledger, *rows) == ["", ""]
    found = ledger.rows()
    assert [{name: one[name] for name in rows[0]} for one in found] == rows[::-1]
    assert [(one["status"], one["location"], one["scrubbed"]) for one in found] == [(0, "", 0.0)] * 2
    assert ledger.row(rows[0]["id"]) == found[1]
    assert ledger.row("nobody") is None
    assert "committed=2 waiting=0 ok" in repr(ledger)


def test_nothing_is_there_before_the_first_row(tmp_path: Path, ledger_at: Open) -> None:
    """A proxy without test traffic gets no file; reading one that is not there finds nothing."""
    ledger = ledger_at(tmp_path / "l.db")
    assert (ledger.rows(), ledger.row("x"), list(ledger.pages()), ledger.totals(), ledger.size_bytes()) == ([], None, [], {}, 0)
    assert not list(tmp_path.iterdir())
    ledger.open()
    until((tmp_path / "l.db").exists, "the file is made")
    assert (tmp_path / "l.db").stat().st_mode & 0o777 == 0o600


def test_an_id_is_there_once(tmp_path: Path, ledger_at: Open) -> None:
    """A row that is submitted again is acknowledged again, and written once; the first one counts."""
    ledger = ledger_at(tmp_path / "l.db")
    first = row(target="/first")
    assert submit(ledger, first) == submit(ledger, {**first, "target": "/again"}, row())[:1] == [""]
    assert Counter(one["target"] for one in ledger.rows()) == {"/first": 1, "/orders": 1}
    assert ledger.figures.committed == 2


def test_rows_of_many_threads_share_commits(tmp_path: Path, ledger_at: Open) -> None:
    """Group commit: all are there, each is told once, and there are fewer commits than rows."""
    ledger = ledger_at(tmp_path / "l.db")
    told = Told()
    ids = [[f"{thread}-{number}" for number in range(200)] for thread in range(4)]

    def write(mine: list[str]) -> None:
        for one in mine:
            ledger.submit([row(id=one)], told)

    threads = [threading.Thread(target=write, args=(mine,)) for mine in ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(told.wait(800)) == {""}
    assert told.calls == 800
    assert told.threads == {"ledger"}
    assert {one["id"] for page in ledger.pages() for one in page} == {one for mine in ids for one in mine}
    assert ledger.figures.latency.total() < 400


def test_answers_are_noted_later(tmp_path: Path, ledger_at: Open) -> None:
    """A status, and where what was created is; the last that was said counts, and an unknown id does no harm."""
    ledger = ledger_at(tmp_path / "l.db")
    one, other = row(), row()
    assert submit(ledger, one, other) == ["", ""]
    ledger.update(one["id"], 201, "/orders/7")
    ledger.update(other["id"], 503)
    ledger.update("nobody", 200)
    ledger.update(other["id"], 200)
    until(lambda: [found["status"] for found in ledger.rows()] == [200, 201], "both statuses")
    ledger.update(one["id"], 202)
    until(lambda: ledger.rows()[1]["status"] == 202, "another status")
    assert ledger.rows()[1]["location"] == "/orders/7"


def test_answers_outlast_a_ledger_that_is_down(tmp_path: Path, ledger_at: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """A status that could not be written is written when that is possible again."""
    monkeypatch.setattr(module, "CHECK_S", 0.05)
    ledger = ledger_at(tmp_path / "l.db")
    one = row()
    submit(ledger, one)
    other = sqlite3.connect(tmp_path / "l.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    ledger.update(one["id"], 201)
    until(lambda: "locked" in ledger.problem, "refused")
    other.execute("ROLLBACK")
    other.close()
    until(lambda: ledger.rows()[0]["status"] == 201, "noted")


def test_statuses_wait_in_bounds(tmp_path: Path, ledger_at: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """What there is no room for is dropped and counted; the rows are there."""
    monkeypatch.setattr(module, "WAITING_STATUSES", 2)
    monkeypatch.setattr(module, "STATUS_S", 60.0)
    ledger = ledger_at(tmp_path / "l.db")
    for number in range(5):
        ledger.update(str(number), 200)
    assert ledger.figures.dropped_statuses == 3


def test_secrets_do_not_reach_the_disk(tmp_path: Path, ledger_at: Open) -> None:
    """Neither in a target nor in a location, in the file or in its log."""
    ledger = ledger_at(tmp_path / "l.db", redact=lambda text: text.replace("hunter2", "*"))
    one = row(target="/login?password=hunter2")
    assert submit(ledger, one) == [""]
    ledger.update(one["id"], 201, "/sessions/hunter2")
    until(lambda: ledger.rows()[0]["location"] == "/sessions/*", "the location")
    assert ledger.rows()[0]["target"] == "/login?password=*"
    written = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert b"/login?password=*" in written
    assert b"hunter2" not in written


def test_marks_are_idempotent_and_for_what_can_be_undone(tmp_path: Path, ledger_at: Open) -> None:
    """The first time counts; what a sink took needs no undoing and is not marked."""
    clock = iter(range(100, 1000))
    ledger = ledger_at(tmp_path / "l.db", now=lambda: float(next(clock)))
    rows = [row(fate=fate) for fate in ("sunk", "refused", "partitioned", "passed")]
    submit(ledger, *rows)
    marked = []
    for _ in range(2):
        told = Told()
        ledger.mark([one["id"] for one in rows] + ["nobody"], told)
        assert set(told.wait()) == {""}
        marked.append({one["fate"]: one["scrubbed"] for one in ledger.rows()})
    assert marked[0] == marked[1]
    assert marked[0]["sunk"] == marked[0]["refused"] == 0 < marked[0]["passed"]


def test_a_row_that_cannot_be_written_costs_nobody_else(tmp_path: Path, ledger_at: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lone surrogates, missing keys, numbers that are none: their own submission is refused, those beside it are durable."""
    monkeypatch.setattr(module, "COMMIT_INTERVAL_S", 0.1)
    ledger = ledger_at(tmp_path / "l.db")
    assert submit(ledger, row()) == [""]  # what follows within the interval is one batch
    bad = [row(tenant="\ud800"), row(host=None), row(time="soon"), row(body_bytes=1 << 70), row(time=float("nan"))]
    short = row()
    del short["digest"]
    told = Told()
    good = [row() for _ in range(3)]
    for one in [good[0], *bad, short, good[1], good[2]]:
        ledger.submit([one], told)
    told.wait(9)
    assert {name for name, problem in told.problems.items() if not problem} == {one["id"] for one in good}
    assert len(ledger.rows()) == 4
    assert ledger.figures.refused == 6
    assert not ledger.problem


def test_the_queue_is_bounded(tmp_path: Path, ledger_at: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows, or bytes of targets, that there is no room for are refused at once, by the thread that brought them."""
    monkeypatch.setattr(module, "COMMIT_INTERVAL_S", 0.2)
    monkeypatch.setattr(module, "WAITING_ROWS", 3)
    monkeypatch.setattr(module, "WAITING_BYTES", 100)
    ledger = ledger_at(tmp_path / "l.db")
    submit(ledger, row())
    kept, refused = Told(), Told()
    ledger.submit([row(), row()], kept)
    ledger.submit([row(), row()], refused)
    ledger.submit([row(target="/" * 99)], refused)
    assert refused.threads == {threading.current_thread().name}
    assert all("2 rows wait for the disk already" in problem for problem in refused.problems.values())
    assert kept.wait() == ["", ""]
    until(lambda: ledger.waiting == 0, "room")
    assert submit(ledger, row(), row()) == ["", ""]


def test_whoever_fails_when_told_stops_nobody(tmp_path: Path, ledger_at: Open, caplog: pytest.LogCaptureFixture) -> None:
    """A callback that raises is logged; the next is called."""
    ledger = ledger_at(tmp_path / "l.db")

    def fail(ids: list[str], problem: str) -> None:
        raise RuntimeError(ids, problem)

    ledger.submit([row()], fail)
    assert submit(ledger, row()) == [""]
    assert "nobody can be told" in caplog.text


def test_a_bug_while_writing_is_a_problem_and_not_the_end(tmp_path: Path, ledger_at: Open) -> None:
    """Whatever a redaction raises refuses the rows, and the thread lives."""
    is_broken = True

    def redact(text: str) -> str:
        if is_broken:
            raise RuntimeError("broken")
        return text

    ledger = ledger_at(tmp_path / "l.db", redact=redact)
    assert submit(ledger, row()) == ["the ledger cannot write; the log has the details"]
    is_broken = False
    assert submit(ledger, row()) == [""]


def test_a_close_finishes_what_is_queued(tmp_path: Path, ledger_at: Open) -> None:
    """What was taken is written, statuses too; what comes later is refused. A second close does nothing."""
    ledger = ledger_at(tmp_path / "l.db")
    told, one = Told(), row()
    ledger.submit([one, *(row() for _ in range(500))], told)
    ledger.update(one["id"], 201)
    ledger.close()
    assert set(told.problems.values()) == {""}
    assert [path.name for path in tmp_path.iterdir()] == ["l.db"]
    assert ledger.row(one["id"])["status"] == 201  # type: ignore[index]
    assert submit(ledger, row()) == [f"{tmp_path / 'l.db'}: closed"]
    ledger.close()
    assert len(ledger.rows(limit=1000)) == 501


def test_totals_are_of_this_run(tmp_path: Path, ledger_at: Open) -> None:
    """Rows of an earlier run are not counted, those that have left since are."""
    first = ledger_at(tmp_path / "l.db")
    submit(first, row(), row())
    first.close()
    second = ledger_at(tmp_path / "l.db")
    submit(second, row(), row(fate="passed"), row(route="rest"))
    expected = {("orders", "sunk"): 1, ("orders", "passed"): 1, ("rest", "sunk"): 1}
    assert second.totals() == expected
    second.configure(0.0, 1 << 30, str)
    until(lambda: not second.rows(), "all rows leave")
    assert second.totals() == expected


# -- what can happen to a file


def test_a_lock_of_somebody_else_is_a_problem_until_it_goes(tmp_path: Path, ledger_at: Open, caplog: pytest.LogCaptureFixture) -> None:
    """Refused while it is locked, said once, and healed without a restart."""
    ledger = ledger_at(tmp_path / "l.db")
    submit(ledger, row())
    other = sqlite3.connect(tmp_path / "l.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for _ in range(3):
        assert "locked" in submit(ledger, row())[0]
    assert "locked" in ledger.problem
    other.execute("ROLLBACK")
    other.close()
    until(lambda: not ledger.problem, "healed without a row")
    assert submit(ledger, row()) == [""]
    assert len(ledger.rows()) == 2
    assert [record.levelname for record in caplog.records] == ["CRITICAL", "WARNING"]


def test_a_place_that_cannot_be_written_is_a_problem(ledger_at: Open) -> None:
    """A read-only file system, a directory that is not there, one in the file's place."""
    for path in ("/proc/l.db", "/nowhere/at/all/l.db", "/tmp"):
        ledger = ledger_at(Path(path))
        assert path in submit(ledger, row())[0]


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 600 KiB."""
    disk = Path(tempfile.mkdtemp(prefix="small-disk-"))  # what pytest removes must not be mounted
    try:
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=600k", "none", str(disk)], check=False, capture_output=True).returncode:
            pytest.skip("cannot mount a file system here; see the test with RLIMIT_FSIZE")
        yield disk
        subprocess.run(["umount", "--lazy", str(disk)], check=True)
    finally:
        disk.rmdir()


def test_a_file_system_that_becomes_read_only(small_disk: Path, ledger_at: Open) -> None:
    """As the kernel makes it when a disk fails: refused, and healed when it can be written to again."""
    ledger = ledger_at(small_disk / "l.db")
    submit(ledger, row())
    ledger.close()
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    ledger = ledger_at(small_disk / "l.db")
    assert str(small_disk) in submit(ledger, row())[0]
    assert len(ledger.rows()) == 1
    subprocess.run(["mount", "-o", "remount,rw", str(small_disk)], check=True)
    assert submit(ledger, row()) == [""]
    assert len(ledger.rows()) == 2
    ledger.close()


def test_a_file_that_is_none_is_set_aside(tmp_path: Path, ledger_at: Open, caplog: pytest.LogCaptureFixture) -> None:
    """The rows that met it are refused; it is renamed as it is, loudly; then a fresh file works."""
    path = tmp_path / "l.db"
    garbage = b"not a database" * 500
    path.write_bytes(garbage)
    ledger = ledger_at(path)
    (problem,) = submit(ledger, row())
    assert "not a database" in problem
    assert ledger.aside in problem
    assert Path(ledger.aside).read_bytes() == garbage
    assert Path(ledger.aside).name.startswith("l.db.corrupt-")
    assert submit(ledger, row()) == [""]
    assert ledger.figures.set_aside == 1
    assert caplog.records[0].levelname == "CRITICAL"


def test_a_file_that_breaks_is_set_aside_with_its_rows(tmp_path: Path, ledger_at: Open) -> None:
    """A damaged page: what was acknowledged before is in the renamed file, and nothing is acknowledged that is not in the new one."""
    path = tmp_path / "l.db"
    first = ledger_at(path)
    submit(first, *(row() for _ in range(500)))
    first.close()
    size = path.stat().st_size
    with path.open("r+b") as file:
        for place in range(4096, size, 4096):  # all but the schema
            file.seek(place)
            file.write(b"\xff" * 64)
    second = ledger_at(path)
    assert "malformed" in submit(second, row())[0]
    assert Path(second.aside).stat().st_size >= size
    one = row()
    assert submit(second, one) == [""]
    assert [found["id"] for found in second.rows()] == [one["id"]]
    assert second.totals() == {("orders", "sunk"): 1}


@pytest.mark.parametrize("suffix", ["", "-wal"])
def test_a_file_that_was_removed_is_not_written_to_in_vain(tmp_path: Path, ledger_at: Open, suffix: str) -> None:
    """A removed file takes commits and keeps none: they are refused, and the next ones are in a new file."""
    path = tmp_path / "l.db"
    ledger = ledger_at(path)
    submit(ledger, row())
    Path(f"{path}{suffix}").unlink()
    (problem,) = submit(ledger, row())
    assert "removed or replaced" in problem
    one = row()
    assert submit(ledger, one) == [""]
    assert ledger.row(one["id"])


def test_a_file_that_was_replaced_is_noticed(tmp_path: Path, ledger_at: Open) -> None:
    """As when somebody rotates it like a log."""
    path = tmp_path / "l.db"
    ledger = ledger_at(path)
    submit(ledger, row())
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").rename(f"{tmp_path / 'old.db'}{suffix}")
    path.touch()
    assert "removed or replaced" in submit(ledger, row())[0]
    assert submit(ledger, row()) == [""]
    assert len(ledger.rows()) == 1


def test_another_programs_database_is_left_alone(tmp_path: Path, ledger_at: Open) -> None:
    """The path names a database of something else, or of a newer version: refused, not set aside, not changed by a byte."""
    for name, statements, expected in (
        ("state.db", ["CREATE TABLE entries (key TEXT)"], "not a ledger"),
        ("new.db", [f"PRAGMA application_id = {ledger_file.APPLICATION_ID}", "PRAGMA user_version = 99"], "newer version"),
    ):
        other = sqlite3.connect(tmp_path / name)
        for statement in statements:
            other.execute(statement)
        other.close()
        before = (tmp_path / name).read_bytes()
        ledger = ledger_at(tmp_path / name)
        assert expected in submit(ledger, row())[0]
        with pytest.raises(StateError):
            ledger.rows()
        assert (tmp_path / name).read_bytes() == before
        assert not ledger.aside


def test_a_full_disk_refuses_and_heals(small_disk: Path, ledger_at: Open) -> None:
    """Refused when it is full; nothing acknowledged is lost, and room is noticed."""
    ballast = small_disk / "ballast"
    ballast.write_bytes(b"\0" * 200_000)
    ledger = ledger_at(small_disk / "l.db")
    told, batches = Told(), 0
    while not any(told.problems.values()):
        batches += 1
        ledger.submit([row(target="/" + "x" * 500) for _ in range(20)], told)
        told.wait(batches)
        assert batches < 1000
    assert any("full" in problem for problem in told.problems.values())
    ballast.unlink()
    until(lambda: not ledger.problem, "healed without a row")
    one = row()
    assert submit(ledger, one) == [""]
    durable = {name for name, problem in told.problems.items() if not problem} | {one["id"]}
    found = [each["id"] for page in ledger.pages() for each in page]
    assert durable <= set(found)
    assert len(found) == len(set(found))
    ledger.close()


# -- real processes


def spawn(path: Path, prefix: str, *more: str) -> subprocess.Popen[bytes]:
    """A process that writes until it is killed."""
    command = [sys.executable, "-m", "tests.sinks.ledger_process", str(path), prefix, *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT)


def test_a_file_that_may_not_grow_refuses_and_heals(tmp_path: Path, ledger_at: Open) -> None:
    """RLIMIT_FSIZE in a process of its own: rows are refused at the limit, and acknowledged once it is lifted."""
    process = spawn(tmp_path / "l.db", "a", str(300 * 1024))
    assert process.stdout is not None
    durable, phase = set(), 0
    try:
        for line in process.stdout:
            text = line.decode().strip()
            if text.startswith("!"):
                if phase == 0:
                    process.send_signal(signal.SIGUSR1)
                    phase = 1
                continue
            durable.add(text)
            phase = 2 if phase == 1 else phase
            if phase == 2:
                break
    finally:
        process.kill()
        durable |= {line.decode().strip() for line in process.stdout.read().splitlines() if not line.startswith(b"!")}
        process.stdout.close()
        process.wait()
    assert phase == 2
    found = [one["id"] for page in ledger_at(tmp_path / "l.db").pages() for one in page]
    assert durable <= set(found)
    assert len(found) == len(set(found))


def test_no_acknowledged_row_is_lost_by_sigkill(tmp_path: Path, ledger_at: Open) -> None:
    """Writers are killed at random moments, over and over: what they were told is durable is there, and nothing is twice."""
    chance = random.Random(4)
    durable: set[str] = set()
    for turn in range(6):
        process = spawn(tmp_path / "l.db", str(turn))
        assert process.stdout is not None
        wanted, read = chance.randrange(1, 600), b""
        while read.count(b"\n") < wanted:
            read += process.stdout.read1()  # type: ignore[attr-defined]
        process.kill()
        read += process.stdout.read()
        process.stdout.close()
        process.wait()
        durable |= set(read[: read.rindex(b"\n")].decode().split("\n"))
    assert not {one for one in durable if one.startswith("!")}
    found = [one["id"] for page in ledger_at(tmp_path / "l.db").pages() for one in page]
    assert durable <= set(found)
    assert len(found) == len(set(found))


def test_what_is_acknowledged_was_synced(tmp_path: Path) -> None:
    """By its system calls: whenever a row is acknowledged, nothing that was written waits for fdatasync."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: that commits are synced is shown by their settings alone")
    log = tmp_path / "calls"
    command = [strace, "-f", "-e", "trace=pwrite64,fdatasync,fsync,write", "-e", "signal=none", "-o", str(log), sys.executable]
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [*command, "-m", "tests.sinks.ledger_process", str(tmp_path / "l.db"), "a"],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=said, process_group=0,
        )  # fmt: skip
    assert process.stdout is not None
    acknowledged = sum(1 for _ in zip(range(300), process.stdout, strict=False))
    os.killpg(process.pid, signal.SIGKILL)  # strace alone would let go of what it traces
    process.stdout.close()
    process.wait()
    if not acknowledged:
        pytest.skip(f"strace cannot trace here: {(tmp_path / 'said').read_text()[-200:]!r}")
    waiting, syncs, acks = 0, 0, 0
    for line in log.read_text().splitlines():
        call = line.split(None, 1)[1]
        if call.startswith("pwrite64("):
            waiting += 1
        elif re.match(r"(fdatasync|fsync)\(.*= 0$", call) or re.match(r"<\.\.\. (fdatasync|fsync) resumed.*= 0$", call):
            waiting = 0
            syncs += 1
        elif re.match(r'write\(1, "(! )?a-', call):
            acks += 1
            assert not waiting, f"{waiting} writes were not synced at {line}"
    assert acks >= 100
    assert syncs > 2


def test_readers_do_not_hold_up_the_writer(tmp_path: Path, ledger_at: Open) -> None:
    """A reader that stops in the middle of an export keeps nobody from committing, and sees each row once."""
    ledger = ledger_at(tmp_path / "l.db")
    submit(ledger, *(row() for _ in range(1200)))
    reading = ledger.pages(Filter(route="orders"))
    seen = [one["id"] for one in next(reading)]
    assert submit(ledger, row(id="later")) == [""]
    seen += [one["id"] for page in reading for one in page]
    assert len(seen) == len(set(seen)) == 1200
    assert "later" not in seen
