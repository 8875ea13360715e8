"""The ledger under the whole proxy: rows come before writes, the law survives killed workers, and a dead disk costs tests alone."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy, answers
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.origin import Turn

TAG = ("X-Test-Traffic", "canary-7")


@pytest.fixture
def live() -> Iterator[Origin]:
    """The live service."""
    origin = Origin("live")
    yield origin
    origin.stop()


@pytest.fixture
def test() -> Iterator[Origin]:
    """The test partition."""
    origin = Origin("test")
    yield origin
    origin.stop()


def config(live: Origin, test: Origin, **changed: Any) -> dict[str, Any]:
    """Tagged writes to /orders reach the test fleet, those to /reviews live, by rule."""
    return {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}, "test": {"endpoints": [test.url]}},
        "routes": [
            {"name": "orders", "match": {"path": "/orders"}, "live": "live", "test_traffic": {"writes": {"partition": {"fleet": "test"}}}},
            {"name": "reviews", "match": {"path": "/reviews"}, "live": "live", "test_traffic": {"writes": "live"}},
            {"name": "rest", "live": "live"},
        ],
        "limits": {"drain_timeout": "5s"},
        **changed,
    }


def rows_of(directory: Path) -> list[tuple[str, str]]:
    """Target and fate of every row, read from the file as another process would."""
    with closing(sqlite3.connect(directory / "state.ledger.db")) as database:
        return database.execute("SELECT target, fate FROM writes ORDER BY seq").fetchall()


def test_a_row_is_on_the_disk_before_its_write_is_carried_out(live: Origin, test: Origin, tmp_path: Path) -> None:
    """At the moment in which a service receives a tagged write another process can read its row; a refused one has a row too."""
    known: list[bool] = []

    def look(turn: Turn) -> None:
        known.append((turn.request.target, fates[turn.request.target]) in rows_of(tmp_path))
        answers.ok(b"")(turn)

    fates = {"/orders/1": "partitioned", "/reviews/1": "passed"}
    test.on("/orders/1", look)
    live.on("/reviews/1", look)
    with SupervisedProxy(config(live, test), tmp_path) as proxy, Client(proxy.address("front")) as user:
        for target in fates:
            assert user.request("POST", target, TAG, body=b"x").status == 200
        assert user.request("POST", "/other", TAG, body=b"x").status == 409
        assert user.request("POST", "/other", body=b"x").status == 200
    assert known == [True, True]
    assert rows_of(tmp_path) == [("/orders/1", "partitioned"), ("/reviews/1", "passed"), ("/other", "refused")]


def test_what_was_created_can_be_deleted_by_the_scrub_list(live: Origin, test: Origin, tmp_path: Path) -> None:
    """Its Location is suggested; asked for through the proxy with the same tag, it goes where the write went."""
    test.on("/orders", answers.ok(b"", status=201, fields=[("Location", "/orders/17")]))
    with SupervisedProxy(config(live, test), tmp_path) as proxy, Client(proxy.address("front")) as user:
        assert user.request("POST", "/orders", TAG, body=b"x").status == 201
        found: list[dict[str, Any]] = []

        def is_known() -> bool:
            found[:] = map(json.loads, proxy.api("GET", "/api/v1/ledger/scrub").body.splitlines())
            return bool(found[0]["location"])

        eventually(is_known, "the answer is noted")
        assert (found[0]["undo"], found[0]["undo_method"], found[0]["undo_target"]) == ("delete", "DELETE", "/orders/17")
        assert user.request(found[0]["undo_method"], found[0]["undo_target"], ("X-Test-Traffic", found[0]["tenant"])).status == 200
        assert test.seen("/orders/17")
        assert not live.requests


def test_the_law_survives_killed_workers(live: Origin, test: Origin, tmp_path: Path) -> None:
    """SIGKILL over and over, under load: counters and rows add up all the same, and whatever reached a service has one row."""
    answered: list[str] = []
    is_over = threading.Event()

    def write(name: str, address: tuple[str, int]) -> None:
        number = 0
        while not is_over.is_set():
            number += 1
            target = f"/{'orders' if number % 3 else 'reviews'}/{name}-{number}"
            try:
                with Client(address) as user:
                    if user.request("POST", target, TAG, body=b"x").status == 200:
                        answered.append(target)
            except Exception:  # noqa: BLE001  whatever the end of a worker looks like from here
                time.sleep(0.01)

    with SupervisedProxy(config(live, test, workers=2), tmp_path) as proxy:
        writers = [threading.Thread(target=write, args=(name, proxy.address("front"))) for name in "abcd"]
        for writer in writers:
            writer.start()
        chance = random.Random(8)
        for _ in range(5):
            before = len(answered)
            eventually(lambda before=before: len(answered) > before + 40, "writes go on")  # type: ignore[misc]
            os.kill(chance.choice(proxy.workers()), signal.SIGKILL)
            eventually(lambda: len(proxy.workers()) == 2, "another worker")
        is_over.set()
        for writer in writers:
            writer.join()
        law = proxy.api("GET", "/api/v1/ledger/law?check=1").json()
        assert law["is_kept"], json.dumps(law, indent=1)
        assert law["is_compared"]
        assert all(one["pending"] == 0 for one in law["routes"])
    rows = Counter(target for target, _ in rows_of(tmp_path))
    received = {seen.target for origin in (live, test) for seen in origin.requests}
    assert set(answered) <= received <= set(rows)
    assert set(rows.values()) == {1}


def test_a_ledger_that_is_down_costs_tests_alone(live: Origin, test: Origin, tmp_path: Path) -> None:
    """Tagged writes are 503 and reach nobody; all else goes on, and it is said; a reload with another place heals it."""
    broken = config(live, test, tenancy={"ledger": {"path": "/proc/ledger.db"}})
    with SupervisedProxy(broken, tmp_path) as proxy, Client(proxy.address("front")) as user:
        eventually(lambda: not proxy.api("GET", "/api/v1/status").json()["ledger"]["is_up"], "known before the first write")
        for target in ("/orders", "/reviews", "/other"):
            assert user.request("POST", target, TAG, body=b"x").status == 503
        assert not live.requests
        assert not test.requests
        assert user.request("POST", "/orders", body=b"x").status == 200
        assert user.request("GET", "/orders", TAG).status == 200
        assert proxy.is_ready()
        assert "shadowproxy_ledger_up 0.0" in proxy.api("GET", "/metrics").body.decode()
        assert proxy.api("GET", "/api/v1/ledger/law?check=1").json()["is_kept"]
        proxy.write(config(live, test, tenancy={"ledger": {"path": str(tmp_path / "state.ledger.db")}}))
        assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200
        assert user.request("POST", "/orders", TAG, body=b"x").status == 200
        assert proxy.api("GET", "/api/v1/status").json()["ledger"]["is_up"]
        log = proxy.log()
    assert log.count("tagged writes are refused, the ledger does not work") == 1
    assert rows_of(tmp_path) == [("/orders", "partitioned")]


def test_a_restart_goes_on_with_the_same_ledger(live: Origin, test: Origin, tmp_path: Path) -> None:
    """SIGKILL of control: rows of before are there, and do not disturb the law of after."""
    first = SupervisedProxy(config(live, test), tmp_path)
    with Client(first.address("front")) as user:
        for _ in range(3):
            assert user.request("POST", "/orders", TAG, body=b"x").status == 200
    first.abandon()
    assert len(rows_of(tmp_path)) == 3
    with SupervisedProxy(config(live, test), tmp_path) as proxy, Client(proxy.address("front")) as user:
        assert user.request("POST", "/orders", TAG, body=b"x").status == 200
        law = proxy.api("GET", "/api/v1/ledger/law?check=1").json()
        assert law["is_kept"]
        assert law["routes"][0]["rows"]["partitioned"] == 1
    assert len(rows_of(tmp_path)) == 4
