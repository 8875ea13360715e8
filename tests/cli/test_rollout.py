"""`shadowproxy rollout` and `shadowproxy evacuate`: what they print, and their exit codes."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.cli import rollout as module
from shadowproxy.cli.main import main
from tests.kit import Client, SupervisedProxy
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.kit import Origin


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Ended]


@pytest.fixture
def command(shop: SupervisedProxy, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command against the proxy, in this process: there are many."""

    def run(*arguments: str) -> Ended:
        try:
            code = main([*arguments, "--admin", "http://{}:{}".format(*shop.admin), "--token-file", str(shop.directory / "token")])
        except SystemExit as error:
            code = int(str(error.code))
        told = capsys.readouterr()
        return Ended(code, told.out, told.err)

    return run


@pytest.fixture
def shop(live: Origin, shadow: Origin, tmp_path: Path) -> Iterator[SupervisedProxy]:
    """A route on its way from live to shadow, and a fleet over two zones."""
    zones = [{"endpoint": live.url, "zone": "a"}, {"endpoint": shadow.url, "zone": "b"}]
    settings = {
        "listen": [{"name": "front"}],
        "fleets": {
            "live": {"endpoints": [live.url]},
            "v2": {"endpoints": [shadow.url]},
            "both": {"endpoints": [live.url, shadow.url], "labels": zones},
        },
        "routes": [
            {"name": "shop", "match": {"path": "/shop"}, "live": "live", "rollout": {"to": "v2", "steps": [50, 100], "bake": "100ms", "margin": 20, "slower": 100}},
            {"name": "rest", "live": "both"},
        ],
        "limits": {"drain_timeout": "5s"},
    }  # fmt: skip
    with SupervisedProxy(settings, tmp_path) as proxy:
        yield proxy


def test_a_rollout_from_the_command_line(shop: SupervisedProxy, command: Run) -> None:
    """98 before and while it is under way, 0 when it is completed, 99 after it was rolled back; orders say what they did."""
    ended = command("rollout", "status")
    assert (ended.returncode, ended.stdout) == (98, "shop: live → v2  idle  0 %\n")
    ended = command("rollout", "start", "shop", "--reason", "release 7")
    assert ended.returncode == 0
    assert ended.stdout.startswith("shop: live → v2  running  50 %  the rollout begins\n  steps [50] → 100; baked 0 of at least 0.1 s; ")
    assert command("rollout", "status", "shop").returncode == 98
    with Client(shop.address("front")) as client:

        def is_completed() -> bool:
            for _ in range(100):
                assert client.get("/shop").status == 200
            return bool(shop.api("GET", "/api/v1/rollouts/shop").json()["state"] == "completed")

        eventually(is_completed, "it is completed")
    ended = command("rollout", "status", "shop", "--output", "json", "--wait", "1s")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["percent"], document["history"][-1]["code"]) == (0, 100.0, "safe")
    assert "new: " in command("rollout", "status").stdout
    ended = command("rollout", "abort", "shop")
    assert ended.returncode == 0
    assert "rolled back  0 %  aborted by hand" in ended.stdout
    assert command("rollout", "status").returncode == 99


def test_orders_that_are_refused(shop: SupervisedProxy, command: Run) -> None:
    """Exit 1 with the reason, for a state or a route that has none; 2 for what is no order."""
    ended = command("rollout", "pause", "shop")
    assert (ended.returncode, "has not begun" in ended.stderr) == (1, True)
    ended = command("rollout", "status", "rest")
    assert (ended.returncode, "no route of that name has a rollout" in ended.stderr) == (1, True)
    assert command("rollout", "fly", "shop").returncode == 2
    assert command("rollout", "start", "shop", "--wait", "soon").returncode == 2
    assert shop.process.poll() is None


def test_a_drill_from_the_command_line(shop: SupervisedProxy, command: Run) -> None:
    """Until it is ended, or for a time; both say how soon the last new request went there."""
    with Client(shop.address("front")) as client:
        assert client.get("/").status == 200
    ended = command("evacuate", "--fleet", "both", "--zone", "a")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert ended.stdout.startswith("both without zone a  evacuated")
    assert "no new request after " in ended.stdout
    assert command("evacuate", "--fleet", "both", "--zone", "b").returncode == 1
    ended = command("evacuate", "--output", "json")
    assert json.loads(ended.stdout)["evacuations"][0]["workers"] == {"all": 1, "confirmed": 1}
    assert "both without zone a  over" in command("evacuate", "--end").stdout
    ended = command("evacuate", "--fleet", "both", "--zone", "b", "--for", "1s")
    assert (ended.returncode, "its time is over" in ended.stdout) == (0, True)
    assert command("evacuate", "--fleet", "both").returncode == 0
    assert command("evacuate", "--zone", "a").returncode == 2
    assert command("evacuate", "--fleet", "both", "--zone", "a", "--cell", "c").returncode == 2


def arm(requests: int, errors: int) -> dict[str, Any]:
    """An arm as documents have it."""
    return {
        "requests": requests,
        "errors": errors,
        "error_rate": errors / requests if requests else None,
        "p50": 0.0102,
        "p99": 0.25,
        "units": 5,
        "failed_units": 1,
    }


def test_a_rollout_that_went_wrong_reads_well() -> None:
    """Who was affected, what had no unit, and what is not written down; markup in names means nothing."""
    one = {
        "route": "[b]shop", "live": "v1", "to": "v2", "state": "rolled_back", "percent": 0.0, "reason": "errors are worse", "steps": [1, 100], "step_seconds": 3.0,
        "bake": 60, "lacking": "", "halves": {"canary": arm(900, 12), "stable": arm(1000, 1)}, "ring": arm(0, 0), "more": arm(0, 0), "key": "header:x-user",
        "affected": {"units": 1, "harmed_units": 1, "is_exact": False, "requests": 900, "failed_requests": 12}, "without_unit": 1, "problem": "the disk is full",
    }  # fmt: skip
    assert [text.plain for text in module.render(one)] == [
        "[b]shop: v1 → v2  rolled back  0 %  errors are worse",
        "  new: 900 requests, 12 failed (1.333 %), p50 10.2 ms, p99 250 ms",
        "  old, equal share: 1,000 requests, 1 failed (0.1 %), p50 10.2 ms, p99 250 ms",
        "  about 1 unit had the new version, 1 of them an error",
        "  1 request had no header:x-user and stayed with v1",
        "  not written down: the disk is full",
    ]
