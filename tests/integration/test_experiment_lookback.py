"""What an experiment would have touched, asked of a running instance with two workers."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.hashspace import point
from tests.control.governed import plain
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PATH = "/api/v1/experiments"
USERS = [f"u{number}" for number in range(40)]
REMEMBERED = 100


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[SupervisedProxy]:
    """Two workers that remember a hundred requests each, and two routes."""
    live = Origin("live")
    config = {
        "workers": 2,
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}},
        "routes": [{"name": "other", "live": "live", "match": {"path": "/other"}}, {"name": "all", "live": "live"}],
        "experiments": {"recent_requests": REMEMBERED, "max_percent": 50, "deny": ["vip"]},
    }
    with SupervisedProxy(config, tmp_path) as running:
        yield running
    live.stop()


def wide(**changed: Any) -> dict[str, Any]:
    """An experiment on half of the users."""
    return plain(slice={"percent": 50, "key": "header:x-user-id"}, **changed)


def look_back(proxy: SupervisedProxy, **changed: Any) -> dict[str, Any]:
    """What a plan says of the past."""
    answer = proxy.api("POST", f"{PATH}/plan", {"experiment": wide(**changed)})
    assert answer.status == 200, answer.body
    document: dict[str, Any] = answer.json()["look_back"]
    return document


def status(proxy: SupervisedProxy) -> list[dict[str, Any]]:
    """The workers."""
    workers: list[dict[str, Any]] = proxy.api("GET", "/api/v1/status").json()["workers"]
    return workers


def is_hit(user: str) -> bool:
    """Whether the slice of the experiment has that user."""
    return user != "vip" and point(user.encode(), b"slow") < 0.5


def ask(proxy: SupervisedProxy, method: str, path: str, *users: str) -> None:
    """A request of each user, over a connection of its own: the kernel gives it to one worker or the other."""
    for user in users:
        with Client(proxy.address("front")) as client:
            assert client.request(method, path, ("x-user-id", user)).status == 200


def test_known_traffic_is_told_exactly(proxy: SupervisedProxy) -> None:
    """Of known requests over both workers: looked at, touched, writes and users are what they were; the run has it on record."""
    assert "nothing is known of past requests" in look_back(proxy)["sentence"]
    ask(proxy, "GET", "/other", *USERS[:10])
    ask(proxy, "GET", "/a", *USERS, "vip", "vip")
    ask(proxy, "POST", "/a?q=secret-of-hers", *USERS[:20])
    found = look_back(proxy)
    reads, writes = sum(map(is_hit, USERS)), sum(map(is_hit, USERS[:20]))
    (step,) = found["steps"]
    assert (found["requests"], found["of_routes"], found["silent"], found["workers"]) == (72, 62, 0, 2)
    assert (step["touched"], step["writes"], step["units"]) == (reads + writes, writes, reads)
    said = f"this would have touched {reads + writes}, {writes} of them writes; {reads} different units"
    assert found["sentence"].startswith("over the last 72 requests (")
    assert said in found["sentence"]
    only_writes = look_back(proxy, inject={"routes": ["all"], "faults": [{"delay": "1s"}], "methods": ["POST"]})["steps"][0]
    assert (only_writes["touched"], only_writes["writes"]) == (writes, writes)
    run = proxy.api("POST", PATH, {"experiment": wide(), "dry_run": True}).json()
    assert said in run["look_back"]["sentence"]
    lines = proxy.api("GET", f"{PATH}/{run['id']}/journal").body.splitlines()
    admitted = next(one for one in map(json.loads, lines) if one["kind"] == "admitted")
    assert said in admitted["body"]["look_back"]["sentence"]
    everything = proxy.api("GET", f"{PATH}/{run['id']}").body + b"".join(lines)
    assert b"secret-of-hers" not in everything


def test_the_last_of_both_workers_and_what_a_restart_forgets(proxy: SupervisedProxy) -> None:
    """A hundred of all are looked at, the newest; a worker that has begun anew remembers nothing, which is said."""
    ask(proxy, "GET", "/other", *USERS)
    ask(proxy, "GET", "/a", *USERS, *USERS, *USERS)
    found = look_back(proxy)
    assert (found["requests"], found["of_routes"]) == (REMEMBERED, REMEMBERED)
    before = {worker["pid"] for worker in status(proxy)}
    for pid in before:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: not before & {worker["pid"] for worker in status(proxy)}, "both are gone")
    eventually(lambda: [worker["state"] for worker in status(proxy)] == ["ready", "ready"], "the new ones serve")
    empty = look_back(proxy)
    assert (empty["requests"], empty["empty"]) == (0, 2)
    assert empty["sentence"] == "nothing is known of past requests: none is remembered yet"
