"""Control's part in the ledger: workers are told what is durable, and counters and rows can be held against each other."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config import from_plain
from shadowproxy.control import ledger as module
from shadowproxy.control.counts import Counts
from shadowproxy.control.ledger import REMEMBERED, Bookkeeping, Redaction, has_rules
from shadowproxy.redaction import Rules, Scrubber
from tests.control.conftest import plain, until
from tests.sinks.ledgering import row

if TYPE_CHECKING:
    from pathlib import Path

    from shadowproxy.config.model import Config
    from shadowproxy.control.worker import Worker

SCRUBBER = Scrubber(Rules(), b"k" * 32)


class Listening:
    """A worker that keeps what it is told."""

    def __init__(self, counts: Counts) -> None:
        self.account = counts.open(0)
        self.told: list[dict[str, Any]] = []

    def send(self, message: dict[str, Any]) -> None:
        """What control says."""
        self.told.append(message)

    def durable(self) -> set[str]:
        """Ids that it was told are durable."""
        return {one for message in self.told if not message["problem"] for one in message["ids"]}


def config_of(directory: Path, **ledger: Any) -> Config:
    """A config with a rule for tagged writes."""
    routes = [{"name": "all", "live": "live", "test_traffic": {"writes": "live"}}]
    return from_plain(plain(directory, routes=routes, tenancy={"ledger": ledger}))


Make = Callable[..., tuple[Bookkeeping, Listening]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Bookkeepings, each with a worker; closed when the test is over."""
    made: list[Bookkeeping] = []

    def go(**ledger: Any) -> tuple[Bookkeeping, Listening]:
        config, counts = config_of(tmp_path, **ledger), Counts()
        books = Bookkeeping(config, tmp_path / "beside.db", counts)
        books.follow(config, SCRUBBER.target)
        made.append(books)
        return books, Listening(counts)

    yield go
    for books in made:
        await books.close()


def write(books: Bookkeeping, worker: Listening, *rows: dict[str, Any]) -> None:
    """What a worker sends before it carries writes out."""
    books.on_rows(cast("Worker", worker), {"type": "ledger", "rows": list(rows)})


def report(books: Bookkeeping, worker: Listening, route: str = "orders", **counted: int) -> None:
    """A tally of a worker."""
    books.counts.add(worker.account, {"type": "tally", "tests": {route: counted}})


async def test_each_worker_is_told_of_its_rows(make: Make) -> None:
    """By id, once they can be read; what was committed together is told in few messages."""
    books, first = make()
    second = Listening(books.counts)
    rows = [row() for _ in range(40)]
    for number, one in enumerate(rows):
        write(books, first if number % 2 else second, one)
    await until(lambda: len(first.durable() | second.durable()) == 40, "all told")
    assert first.durable() == {one["id"] for one in rows[1::2]}
    assert {one["id"] for one in await asyncio.to_thread(books.ledger.rows)} == {one["id"] for one in rows}
    assert len(first.told) + len(second.told) < 20
    assert all(message["type"] == "ledger_done" for message in first.told)


async def test_secrets_in_targets_are_taken_out(make: Make) -> None:
    """As everywhere: by name and by form; what is needed to undo a write stays."""
    books, worker = make()
    one = row(target="/orders/17/items?access_token=s3cr3t-s3cr3t&size=2")
    write(books, worker, one)
    await until(lambda: bool(worker.told), "told")
    found = await asyncio.to_thread(books.ledger.row, one["id"])
    assert found is not None
    assert found["target"].startswith("/orders/17/items?access_token=")
    assert found["target"].endswith("&size=2")
    assert "s3cr3t" not in found["target"]


async def test_answers_are_noted(make: Make) -> None:
    """A status alone, or with the Location of what was created."""
    books, worker = make()
    one, other = row(), row()
    write(books, worker, one, other)
    books.on_statuses(cast("Worker", worker), {"statuses": {one["id"]: 201, other["id"]: [303, "/orders/7"]}})
    await until(lambda: {found["status"] for found in books.ledger.rows()} == {201, 303}, "both")
    assert {found["location"] for found in books.ledger.rows()} == {"", "/orders/7"}


async def test_a_ledger_that_is_down_is_told_to_workers_and_shown(make: Make) -> None:
    """Not one row is called durable, and the state says why."""
    books, worker = make(path="/nowhere/ledger.db")
    write(books, worker, row())
    await until(lambda: bool(worker.told), "told")
    assert not worker.durable()
    state = books.state()
    assert not state["is_up"]
    assert "/nowhere/ledger.db" in state["problem"]


async def test_the_place_is_known_at_the_start(make: Make, tmp_path: Path) -> None:
    """With rules for writes the file is opened at once, without them only when there is a row."""
    books, _ = make()
    await until((tmp_path / "beside.db").exists, "opened")
    assert books.ledger.path == str(tmp_path / "beside.db")
    assert not has_rules(from_plain(plain(tmp_path)))
    assert has_rules(config_of(tmp_path))
    books, _ = make(path="/nowhere/ledger.db")
    await until(lambda: not books.state()["is_up"], "known")


async def test_a_reload_moves_the_ledger_and_loses_nothing(make: Make, tmp_path: Path) -> None:
    """What was queued is written to the old file, what comes later to the new one; limits change without that."""
    books, worker = make()
    before, after = row(), row()
    write(books, worker, before)
    books.follow(config_of(tmp_path, path=str(tmp_path / "new.db"), retention="1d"), SCRUBBER.target)
    write(books, worker, after)
    await until(lambda: worker.durable() == {before["id"], after["id"]}, "both")
    assert [one["id"] for one in books.ledger.rows()] == [after["id"]]
    books.follow(config_of(tmp_path, path=str(tmp_path / "new.db"), retention="2h", max_size="5MiB"), SCRUBBER.target)
    assert (books.ledger.retention.retention_s, books.ledger.retention.max_bytes) == (7200.0, 5 << 20)
    checked = await books.check()
    assert not checked["is_compared"]
    assert checked["is_kept"]


async def test_marks_answer_when_they_are_durable(make: Make) -> None:
    """Empty, or why not."""
    books, worker = make()
    one = row(fate="passed")
    write(books, worker, one)
    assert await books.mark([one["id"]]) == ""
    found = await asyncio.to_thread(books.ledger.row, one["id"])
    assert found is not None
    assert found["scrubbed"] > 0
    await books.close()
    assert "closed" in await books.mark([one["id"]])


async def test_a_message_that_cannot_be_read_is_not_answered(make: Make) -> None:
    """The crew counts it; other rows of other messages are not touched."""
    books, worker = make()
    messages: list[dict[str, Any]] = [{}, {"rows": [{}]}, {"rows": [7]}]
    for message in messages:
        with pytest.raises((KeyError, TypeError)):
            books.on_rows(cast("Worker", worker), message)
    write(books, worker, row())
    await until(lambda: bool(worker.told), "told")


# -- the law


async def checked(books: Bookkeeping, *workers: Listening) -> dict[str, Any]:
    """What `check` says while these workers report as they do."""
    checking = asyncio.create_task(books.check())
    while not checking.done():
        for worker in workers:
            books.counts.add(worker.account, {"type": "tally"})
        await asyncio.sleep(0.01)
    return await checking


async def test_counters_and_rows_that_agree(make: Make) -> None:
    """Rows of every fate, one that was refused without a row, and one whose answer is still owed."""
    books, worker = make()
    write(books, worker, row(), row(fate="partitioned"), row(fate="passed"), row(fate="refused"), row())
    await until(lambda: len(worker.durable()) == 5, "durable")
    report(books, worker, seen=6, sunk=1, partitioned=1, passed=1, refused=2, pending=1)
    found = await checked(books, worker)
    assert found["is_kept"]
    assert found["is_compared"]
    (law,) = found["routes"]
    assert law["fates"] == {"sunk": 1, "partitioned": 1, "refused": 2, "passed": 1, "lost": 0}
    assert law["rows"] == {"sunk": 2, "partitioned": 1, "refused": 1, "passed": 1}
    assert (law["seen"], law["pending"], law["is_conserved"], law["problems"]) == (6, 1, True, [])


async def test_a_write_without_a_row_is_found(make: Make) -> None:
    """The worst there is: it was carried out, and nobody can find it."""
    books, worker = make()
    write(books, worker, row())
    await until(lambda: bool(worker.durable()), "durable")
    report(books, worker, seen=2, sunk=2)
    found = await checked(books, worker)
    assert not found["is_kept"]
    assert found["routes"][0]["problems"] == ["2 were counted as sunk, the ledger has 1 of them"]


async def test_a_row_that_nobody_counted_is_found(make: Make) -> None:
    """More rows than writes seen, in a file that this instance alone should write to."""
    books, worker = make()
    write(books, worker, row())
    await until(lambda: bool(worker.durable()), "durable")
    books.ledger.submit([row(), row(route="rest")], lambda *_: None)
    await until(lambda: len(books.ledger.rows()) == 3, "written")
    report(books, worker, seen=1, sunk=1)
    problems = {one["route"]: one["problems"] for one in (await checked(books, worker))["routes"]}
    assert problems == {"orders": ["the ledger has 2 rows, 1 writes were seen"], "rest": ["the ledger has 1 rows, 0 writes were seen"]}


async def test_a_worker_that_is_silent_is_no_finding(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may know of the row; that a write has no row is found all the same."""
    monkeypatch.setattr(module, "SETTLE_S", 0.1)
    books, worker = make()
    write(books, worker, row())
    await until(lambda: bool(worker.durable()), "durable")
    assert (await books.check())["is_kept"]
    report(books, worker, seen=2, sunk=2)
    assert not (await books.check())["is_kept"]


async def test_counters_that_do_not_add_up_are_found(make: Make) -> None:
    """The law itself."""
    books, worker = make()
    report(books, worker, seen=3, refused=1, pending=1)
    found = await checked(books, worker)
    assert found["routes"][0]["problems"] == ["3 seen are not the sum of the fates and 1 pending"]


async def test_a_killed_worker_leaves_no_gap(make: Make) -> None:
    """What it had written down and not reported is lost, seen, and in the ledger; also when the commit comes after its end."""
    books, worker = make()
    write(books, worker, row(), row())
    await until(lambda: len(worker.durable()) == 2, "durable")
    report(books, worker, seen=1, sunk=0, pending=1)
    write(books, worker, row())
    books.counts.close(worker.account, (), {})
    await until(lambda: len(worker.durable()) == 3, "durable")
    found = await checked(books, worker)
    assert found["is_kept"]
    assert found["routes"][0]["seen"] == found["routes"][0]["fates"]["lost"] == 3


# -- redaction


@given(st.from_regex(r"(?:/(?:[A-Za-z][A-Za-z-]{0,15}|[0-9]{1,8}))*/?", fullmatch=True))
def test_what_is_passed_at_once_is_what_the_scrubber_says(target: str) -> None:
    """The short way changes nothing."""
    assert Redaction(SCRUBBER.target)(target) == SCRUBBER.target(target)


def test_what_is_remembered_is_bounded_and_right() -> None:
    """The redaction is asked once for each target, as long as not too many come between."""
    asked: list[str] = []

    def redact(target: str) -> str:
        asked.append(target)
        return target.upper()

    redaction = Redaction(redact)
    assert [redaction("/a?b=1"), redaction("/a?b=1"), redaction("/plain/7")] == ["/A?B=1", "/A?B=1", "/plain/7"]
    assert asked == ["/a?b=1"]
    for number in range(2 * REMEMBERED):
        redaction(f"/a?b={number}")
    assert len(redaction._known) <= REMEMBERED


async def test_the_state_is_shown_without_a_file(tmp_path: Path) -> None:
    """Before there is a row there is nothing to be wrong."""
    state = Bookkeeping(from_plain(plain(tmp_path)), tmp_path / "l.db", Counts()).state()
    assert [state[name] for name in ("is_up", "problem", "bytes", "recorded", "set_aside")] == [True, None, 0, 0, None]
