"""Rollouts and evacuation drills through a whole proxy: bad versions go back by themselves, good ones reach everybody."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
from typing import TYPE_CHECKING, Any, Self

import pytest

from shadowproxy.hashspace import point
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit.origin import Turn

USERS = [f"user-{number}" for number in range(600)]
ROLLOUT: dict[str, Any] = {
    "to": "v2", "key": "header:x-user", "bake": "300ms", "patience": "2h", "margin": 5, "slower": 100, "steps": [10, 50, 100], "pinned": ["pin"],
    "first": ["qa"],
}  # fmt: skip


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    """The old version and the new one."""
    made = {name: Origin(name) for name in ("v1", "v2")}
    for name, origin in made.items():
        origin.answer = ok(name.encode())
    yield made
    for origin in made.values():
        origin.stop()


def config(origins: dict[str, Origin], **changed: Any) -> dict[str, Any]:
    """One route, on its way from v1 to v2."""
    return {
        "listen": [{"name": "front"}],
        "workers": changed.pop("workers", 1),
        "fleets": {name: {"endpoints": [origin.url]} for name, origin in origins.items()},
        "routes": [{"name": "shop", "live": "v1", "rollout": {**ROLLOUT, **changed}}],
        "limits": {"drain_timeout": "5s"},
        "experiments": {"deny": ["vip"]},
    }


def at(user: str) -> float:
    """The user's point."""
    return point(user.encode(), b"shop")


def rollout(proxy: SupervisedProxy) -> Any:
    """Where the rollout stands."""
    return proxy.api("GET", "/api/v1/rollouts/shop").json()


def order(proxy: SupervisedProxy, name: str, status: int = 200) -> Any:
    """Steer it."""
    answer = proxy.api("POST", f"/api/v1/rollouts/shop/{name}", {"reason": "a test"})
    assert answer.status == status, answer.body
    return answer.json()


def reload(proxy: SupervisedProxy, changed: dict[str, Any]) -> None:
    """Another config comes into force."""
    proxy.write(changed)
    assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200


class Visitors:
    """Users who send requests; remembers who was served by which version."""

    def __init__(self, proxy: SupervisedProxy) -> None:
        # Several connections, which different workers have: a unit is the same to all of them.
        self._clients = [Client(proxy.address("front")) for _ in range(4)]
        self._turn = itertools.cycle(self._clients)
        self.served: dict[str, list[str]] = {}
        self.failed: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for client in self._clients:
            client.close()

    def ask(self, user: str) -> str:
        """One request; returns the version that answered."""
        answer = next(self._turn).get("/", ("X-User", user))
        version = answer.body.decode()
        self.served.setdefault(user, []).append(version)
        if answer.status >= 500:
            self.failed.add(user)
        return version

    def round(self, users: list[str] = USERS) -> None:
        """Each of them once."""
        for user in users:
            self.ask(user)

    def until(self, proxy: SupervisedProxy, *states: str, rounds: int = 60) -> Any:
        """Go on until the rollout is in one of these states."""
        for _ in range(rounds):
            self.round()
            found = rollout(proxy)
            if found["state"] in states:
                return found
        raise AssertionError(f"never {states}: {rollout(proxy)}")


def every(number: int, good: bytes) -> Any:
    """An answer of which one in `number` is a 500."""
    counter = itertools.count(1)

    def answer(turn: Turn) -> None:
        ok(b"broken" if (is_bad := next(counter) % number == 0) else good, status=500 if is_bad else 200)(turn)

    return answer


def test_a_bad_version_goes_back_by_itself(origins: dict[str, Origin], tmp_path: Path) -> None:
    """One percent of new errors: it is rolled back at the first step, says how many users were affected, and the log of what was done has it."""
    origins["v2"].answer = every(100, b"v2")
    with SupervisedProxy(config(origins, steps=[20, 50, 100], margin=0.5, workers=2), tmp_path) as proxy, Visitors(proxy) as visitors:
        order(proxy, "start")
        found = visitors.until(proxy, "rolled_back", "completed")
        assert (found["state"], found["code"], found["percent"]) == ("rolled_back", "errors", 0.0)
        assert [event["percent"] for event in found["history"]] == [20.0, 20.0]
        new = {user for user, versions in visitors.served.items() if set(versions) - {"v1"}}
        assert new == {user for user in USERS if at(user) < 0.2}
        eventually(lambda: rollout(proxy)["affected"]["units"] == len(new), "every affected user is counted")
        assert re.search(rf"; {len(new)} units affected, \d+ of them by errors \(\d+ requests had the new version", found["reason"])
        eventually(lambda: rollout(proxy)["affected"]["harmed_units"] == len(visitors.failed) >= 8, "and every one that was harmed")
        visitors.served.clear()
        visitors.round()
        assert {version for versions in visitors.served.values() for version in versions} == {"v1"}
        records = proxy.api("GET", "/api/v1/audit").json()["records"]
        assert [one["action"] for one in records if one["action"].startswith("rollout")] == ["rollout.roll_back", "rollout.start"]
        order(proxy, "abort", 409)

        def journaled() -> list[str]:
            entries = [json.loads(line) for line in journal.read_text().splitlines()]
            return [entry["body"]["event"] for entry in entries if entry["run"] == "rollout/shop-1"]

        (journal,) = tmp_path.glob("*.experiments.jsonl")
        eventually(lambda: journaled() == ["start", "roll_back"], "the journal has it, with the evidence")


def test_a_good_version_reaches_everybody(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Step by step; nobody goes back and forth, pinned users are the last, denied ones never move, and the first ring is first."""
    with SupervisedProxy(config(origins), tmp_path) as proxy, Visitors(proxy) as visitors:
        assert rollout(proxy)["state"] == "idle"
        order(proxy, "start")
        order(proxy, "start", 409)
        assert [visitors.ask(user) for user in ("qa", "pin", "vip")] == ["v2", "v1", "v1"]
        found = visitors.until(proxy, "rolled_back", "completed")
        assert (found["state"], found["percent"]) == ("completed", 100.0), found["reason"]
        assert [event["code"] for event in found["history"]] == ["start", "safe", "safe"]
        visitors.round()
        for user, versions in visitors.served.items():
            if user not in {"vip", "pin"}:
                assert versions == sorted(versions), user
                assert versions[-1] == "v2"
            if at(user) < 0.1 and user != "pin":
                assert versions[0] == "v2" or user == "vip"
        assert [visitors.ask(user) for user in ("pin", "vip")] == ["v2", "v1"]
        reload(proxy, {**config(origins), "routes": [{"name": "shop", "live": "v2"}]})
        assert visitors.ask("vip") == "v2"
        assert rollout(proxy)["is_adopted"] is True


def test_a_restart_goes_on_where_it_was(origins: dict[str, Origin], tmp_path: Path) -> None:
    """A worker is killed, then control: nobody who had the new version loses it, counts go on, and it completes."""
    settings = config(origins, bake="1h")
    proxy = SupervisedProxy(settings, tmp_path)
    try:
        with Visitors(proxy) as visitors:
            order(proxy, "start")
            order(proxy, "promote")
            visitors.round()
            eventually(lambda: rollout(proxy)["halves"]["canary"]["requests"] > 200, "they are counted")
        (worker,) = proxy.workers()
        os.kill(worker, signal.SIGKILL)
        eventually(lambda: len(set(proxy.workers()) - {worker}) == 1 and proxy.is_ready(), "the worker is replaced")
        with Visitors(proxy) as visitors:
            visitors.round(USERS[:50])
            assert all((versions == ["v2"]) == (at(user) < 0.5) for user, versions in visitors.served.items())
    finally:
        proxy.abandon()
    with SupervisedProxy(settings, tmp_path) as proxy, Visitors(proxy) as visitors:
        found = rollout(proxy)
        assert (found["state"], found["percent"], found["epoch"]) == ("running", 50.0, 1)
        visitors.round()
        assert {user for user, versions in visitors.served.items() if versions == ["v2"]} == {user for user in USERS if at(user) < 0.5}
        assert "goes on at 50 %" in proxy.log()
        assert order(proxy, "complete")["state"] == "completed"
        visitors.round()
        assert all(versions[-1] == "v2" for versions in visitors.served.values())
        assert order(proxy, "abort")["state"] == "rolled_back"
        assert visitors.ask(USERS[0]) == "v1"


def test_the_kill_switch_leaves_users_where_they_are(origins: dict[str, Origin], tmp_path: Path) -> None:
    """It pauses: no step, no way forward until somebody resumes both; and a config that changes the key ends the rollout."""
    with SupervisedProxy(config(origins, bake="1h"), tmp_path) as proxy, Visitors(proxy) as visitors:
        order(proxy, "start")
        user = next(user for user in USERS if at(user) < 0.1)
        assert visitors.ask(user) == "v2"
        proxy.api("POST", "/api/v1/kill", {})
        assert (rollout(proxy)["state"], rollout(proxy)["code"]) == ("paused", "killed")
        assert visitors.ask(user) == "v2"
        for name in ("resume", "promote", "complete"):
            assert "the kill switch is on" in order(proxy, name, 409)["detail"]
        proxy.api("POST", "/api/v1/resume", {})
        assert rollout(proxy)["state"] == "paused"
        assert order(proxy, "resume")["state"] == "running"
        reload(proxy, config(origins, bake="1h", key="client"))
        assert (rollout(proxy)["state"], rollout(proxy)["code"]) == ("rolled_back", "config")
        assert visitors.ask(user) == "v1"


def test_a_zone_is_evacuated_and_comes_back(tmp_path: Path) -> None:
    """Within a moment no new request goes there, nobody notices, it is measured, and it comes back by itself; nothing left is refused."""
    zones = {name: Origin(name) for name in ("a", "b")}
    for name, origin in zones.items():
        origin.answer = ok(name.encode())
    urls = [origin.url for origin in zones.values()]
    fleet = {
        "endpoints": urls,
        "balance": "round_robin",
        "labels": [{"endpoint": url, "zone": name} for url, name in zip(urls, zones, strict=True)],
    }
    settings = {
        "listen": [{"name": "front"}],
        "workers": 2,
        "fleets": {"live": fleet},
        "routes": [{"name": "shop", "live": "live"}],
        "limits": {"drain_timeout": "5s"},
    }
    try:
        with SupervisedProxy(settings, tmp_path) as proxy:
            clients = [Client(proxy.address("front")) for _ in range(6)]

            def served() -> set[str]:
                answers = [client.get("/") for client in clients for _ in range(4)]
                assert {answer.status for answer in answers} == {200}
                return {answer.body.decode() for answer in answers}

            def drill() -> Any:
                return proxy.api("GET", "/api/v1/evacuations").json()["evacuations"][0]

            assert served() == {"a", "b"}
            body = {"fleet": "live", "label": "zone", "value": "a", "seconds": 2}
            assert proxy.api("POST", "/api/v1/evacuations", body).status == 200
            eventually(lambda: drill()["last_new_request_s"] is not None, "both workers confirm")
            assert served() == {"b"}
            for refused in ({**body, "value": "b"}, body, {**body, "value": "moon"}):
                assert proxy.api("POST", "/api/v1/evacuations", refused).status == 409
            eventually(lambda: drill()["drained_s"] is not None or drill()["is_over"], "it is empty")
            eventually(lambda: drill()["is_over"], "it ends by itself")
            found = drill()
            assert (found["late"], found["workers"], found["reason"]) == (0, {"all": 2, "confirmed": 2}, "its time is over")
            assert found["during"]["requests"] >= 24
            assert found["during"]["errors"] == 0
            eventually(lambda: served() == {"a", "b"}, "it is back")
            for client in clients:
                client.close()
    finally:
        for origin in zones.values():
            origin.stop()
