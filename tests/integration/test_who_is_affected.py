"""A real run end to end: who was hit is told afterwards, and the run becomes a report and evidence that verifies."""

from __future__ import annotations

import json
import time
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.policy.slices import ARMS, compile_slice
from tests.cli.conftest import Run, command
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["command"]

EXPERIMENT: dict[str, Any] = {
    "name": "slow", "owner": "shop-sre", "approved_by": "CHG-1204", "duration": "1s",
    "hypothesis": {"fault": "answers are 5 ms late", "expect": "all is well", "impact": "nobody notices"},
    "inject": {"routes": ["all"], "faults": [{"delay": "5ms"}]},
    "slice": {"percent": 40, "key": "header:x-user-id", "deny": ["user-0"]},
    "guards": [{"metric": "error_rate", "above": 50}], "expect": [{"route": "all", "status": [200], "sample": 1000}],
}  # fmt: skip

USERS = [f"user-{number}" for number in range(30)]


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[SupervisedProxy]:
    """A proxy that may hit half of its users."""
    origin = Origin("live")
    config = {
        "listen": [{"name": "front"}], "fleets": {"live": {"endpoints": [origin.url]}}, "routes": [{"name": "all", "live": "live"}],
        "experiments": {"max_percent": 50}, "limits": {"drain_timeout": "2s"},
    }  # fmt: skip
    with SupervisedProxy(config, tmp_path) as running:
        yield running
    origin.stop()


def _sent_until_the_end(proxy: SupervisedProxy, run: str) -> tuple[dict[str, int], dict[str, Any]]:
    """Requests of all users while the run lasts: how many of each came back marked, and the run's document."""
    marked = dict.fromkeys(USERS, 0)
    with Client(proxy.address("front")) as client:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            for user in USERS:
                answer = client.get("/", ("X-User-Id", user))
                assert answer.status == 200
                marked[user] += answer.has("x-shadowproxy-fault")
            document = proxy.api("GET", f"/api/v1/experiments/{run}").json()
            if document["state"] not in {"admitted", "running"}:
                return marked, document
    raise AssertionError("the run never ended")


def test_who_was_hit_is_told_and_the_run_proves_itself(proxy: SupervisedProxy, command: Run, tmp_path: Path) -> None:
    """Each user's answer of whois is what came over the wire; report, evidence and verification say the same run."""
    started = proxy.api("POST", "/api/v1/experiments", {"experiment": EXPERIMENT})
    assert started.status == 201, started.body
    run = started.json()["id"]
    marked, document = _sent_until_the_end(proxy, run)
    assert document["state"] == "completed", document
    policy = compile_slice(experiment_from_plain(EXPERIMENT), 40.0)
    eventually(
        lambda: proxy.api("GET", f"/api/v1/whois?unit={USERS[1]}").json()["experiments"][0]["state"] == "completed", "the end is on record"
    )
    for user in USERS:
        (found,) = proxy.api("GET", f"/api/v1/whois?unit={user}").json()["experiments"]
        arm = ARMS[policy.arm_of(user.encode())]
        assert found["was"][0]["place"] == ("apart" if user == "user-0" else arm)
        assert (found["hits"] or {"count": 0})["count"] == marked[user], (user, found)
    hit = max(marked, key=lambda user: marked[user])
    assert marked[hit] > 0
    ended = command("whois", hit)
    assert ended.returncode == 1, ended.stderr
    assert f"User {hit} got {marked[hit]:,} slowed answer" in ended.stdout
    assert "(completed)." in ended.stdout
    _check_files(command, proxy, run, tmp_path)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir() if "exposures" in path.name)
    assert not [user for user in USERS if user.encode() in kept]


def _check_files(command: Run, proxy: SupervisedProxy, run: str, directory: Path) -> None:
    page, report, packed = directory / "r.html", directory / "r.json", directory / "e.zip"
    for out in (page, report):
        ended = command("experiment", "report", run, "--out", str(out))
        assert ended.returncode == 0, ended.stderr
    assert " different units got it" in page.read_text()
    assert json.loads(report.read_text())["run"]["id"] == run
    ended = command("experiment", "evidence", run, "--out", str(packed))
    assert ended.returncode == 0, ended.stderr
    document = proxy.api("GET", f"/api/v1/experiments/{run}").json()
    journal = next(directory.glob("*.experiments.jsonl"))
    ended = command("experiment", "verify", str(packed), "--journal", str(journal), "--head", document["journal"]["head"])
    assert ended.returncode == 0, ended.stdout + ended.stderr
    with zipfile.ZipFile(packed) as file:
        found = json.loads(file.read("evidence.json"))
    assert found["who"]["approved_by"] == "CHG-1204"
    assert found["outcome"]["state"] == "completed"
