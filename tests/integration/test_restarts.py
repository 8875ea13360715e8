"""Evidence over restarts of the whole proxy: asked to stop, killed, and set up anew in between."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    """Live and shadow, which name their builds."""
    made = {name: Origin(name) for name in ("live", "shadow")}
    for origin in made.values():
        origin.answer = ok(b"hello", fields=[("X-Version", "v1")])
    yield made
    for origin in made.values():
        origin.stop()


def config(origins: dict[str, Origin], revision: str = "", **mirror: Any) -> dict[str, Any]:
    """Everything mirrored, and latency no matter: what a busy machine adds is none of the versions' doing."""
    mirror = {"judge": {"latency": {"resolution": "1s"}}, "timeout": "2s", "pair_timeout": "4s", **mirror}
    return {
        "listen": [{"name": "front"}],
        "fleets": {name: {"endpoints": [origin.url], "revision": revision} for name, origin in origins.items()},
        "routes": [{"name": "all", "live": "live", "mirror": [{"to": "shadow", **mirror}]}],
        "limits": {"drain_timeout": "5s"},
    }


def verdict(proxy: SupervisedProxy) -> Any:
    """The document of the one mirror."""
    (found,) = proxy.api("GET", "/api/v1/verdict").json()["verdicts"]
    return found


def ask(proxy: SupervisedProxy, count: int) -> None:
    """Requests one after the other."""
    with Client(proxy.address("front")) as client:
        for number in range(count):
            assert client.get(f"/{number}").status == 200


def rows(directory: Path) -> list[str]:
    """What the state file has of evidence."""
    with sqlite3.connect(directory / "state.db") as connection:
        return [str(value) for (value,) in connection.execute("SELECT value FROM entries WHERE key LIKE 'evidence.%' ORDER BY key")]


def test_a_stop_loses_no_pair(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Stopped right after the last answer, before anything was reported: all pairs are there, and more are added to them."""
    settings = config(origins)
    with SupervisedProxy(settings, tmp_path) as proxy:
        ask(proxy, 40)
    with SupervisedProxy(settings, tmp_path) as proxy:
        found = verdict(proxy)
        assert (found["pairs"], found["epoch"]) == (40, 1)
        ask(proxy, 10)
        eventually(lambda: verdict(proxy)["pairs"] == 50, "the new pairs count beside the old", patience_s=60)
        assert "evidence of all/shadow goes on" in proxy.log()
        assert proxy.api("GET", "/api/v1/compare").json()["mirrors"][0]["pairs"] == 10


def test_an_alarm_survives_a_kill(origins: dict[str, Origin], tmp_path: Path) -> None:
    """A REGRESSION that was written to the log is one after SIGKILL, with the pairs that it was seen at."""
    origins["shadow"].answer = ok(b"broken", status=500)
    settings = config(origins)
    proxy = SupervisedProxy(settings, tmp_path)
    try:
        ask(proxy, 30)
        eventually(lambda: verdict(proxy)["verdict"] == "REGRESSION", "a regression", patience_s=60)
        eventually(lambda: any('"REGRESSION"' in row for row in rows(tmp_path)), "it is written", patience_s=60)
        pairs = verdict(proxy)["pairs"]
    finally:
        proxy.abandon()
    with SupervisedProxy(settings, tmp_path) as proxy:
        found = verdict(proxy)
        assert found["verdict"] == "REGRESSION"
        assert 0 < found["pairs"] <= pairs
        assert found["errors"]["shadow_only"] == found["pairs"]


def test_what_was_deployed_meanwhile_is_not_called_safe_or_bad(origins: dict[str, Origin], tmp_path: Path) -> None:
    """The build that answered before is known: until it answers again the verdict is open, and another begins anew."""
    origins["shadow"].answer = ok(b"broken", status=500, fields=[("X-Version", "v1")])
    settings = config(origins, "header:x-version")
    with SupervisedProxy(settings, tmp_path) as proxy:
        ask(proxy, 30)
        eventually(lambda: verdict(proxy)["verdict"] == "REGRESSION", "a regression", patience_s=60)
        eventually(lambda: verdict(proxy)["revisions"] == {"live": ["v1"], "shadow": ["v1"]}, "the builds are known", patience_s=60)
    with SupervisedProxy(settings, tmp_path) as proxy:
        assert (verdict(proxy)["verdict"], verdict(proxy)["pairs"]) == ("UNDECIDED", 0)
        with Client(proxy.address("front")) as client:
            eventually(lambda: client.get("/") and verdict(proxy)["verdict"] == "REGRESSION", "the same build answers", patience_s=60)
    origins["shadow"].answer = ok(b"hello", fields=[("X-Version", "v2")])
    with SupervisedProxy(settings, tmp_path) as proxy:
        assert verdict(proxy)["verdict"] == "UNDECIDED"
        with Client(proxy.address("front")) as client:
            eventually(lambda: client.get("/") and verdict(proxy)["previous"] is not None, "another build answers", patience_s=60)
        found = verdict(proxy)
        assert (found["previous"]["verdict"], found["errors"]["shadow_only"]) == ("REGRESSION", 0)


def test_another_setup_begins_anew(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Other margins between two runs, and a row that was damaged: no pair of before counts, and the log says why."""
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        ask(proxy, 20)
    changed = config(origins, judge={"alpha": 0.01, "latency": {"resolution": "1s"}})
    with SupervisedProxy(changed, tmp_path) as proxy:
        assert (verdict(proxy)["pairs"], verdict(proxy)["epoch"]) == (0, 2)
        assert "is dropped: the config of its fleets or of the judge has changed" in proxy.log()
        ask(proxy, 5)
    with sqlite3.connect(tmp_path / "state.db") as connection:
        connection.execute("UPDATE entries SET value = substr(value, 1, 100) WHERE key LIKE 'evidence.%'")
    with SupervisedProxy(changed, tmp_path) as proxy:
        assert verdict(proxy)["pairs"] == 0
        assert "cannot be read and is dropped" in proxy.log()


def test_who_asks_for_it_begins_anew(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Durably: not even a kill right after the answer brings the old evidence back."""
    origins["shadow"].answer = ok(b"broken", status=500)
    settings = config(origins)
    proxy = SupervisedProxy(settings, tmp_path)
    try:
        ask(proxy, 30)
        eventually(lambda: verdict(proxy)["verdict"] == "REGRESSION", "a regression", patience_s=60)
        answer = proxy.api("POST", "/api/v1/verdict/restart?route=all", {})
        assert (answer.status, answer.json()) == (200, {"restarted": ["all/shadow"], "is_persisted": True})
        assert proxy.api("POST", "/api/v1/verdict/restart?route=no", {}).status == 404
    finally:
        proxy.abandon()
    with SupervisedProxy(settings, tmp_path) as proxy:
        found = verdict(proxy)
        assert (found["pairs"], found["epoch"], found["previous"]["verdict"]) == (0, 2, "REGRESSION")
