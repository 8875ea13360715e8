"""Verdicts end to end: client, proxy, origins, tallies, evidence, document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LIVE_S = 0.004


@pytest.fixture
def origins() -> Iterator[dict[str, Origin]]:
    """Live, shadow and a control fleet of live's build, each answering after 4 ms."""
    made = {name: Origin(name) for name in ("live", "shadow", "control")}
    for origin in made.values():
        origin.answer = ok(b"hello", pause_s=LIVE_S)
    yield made
    for origin in made.values():
        origin.stop()


def config(origins: dict[str, Origin], **mirror: Any) -> dict[str, Any]:
    """Everything mirrored. What this machine adds to answers of 4 ms is none of the versions' doing: latency counts where a test asks for it."""
    mirror = {"judge": {"latency": {"resolution": "1s"}}, **mirror}
    return {
        "listen": [{"name": "front"}],
        "fleets": {name: {"endpoints": [origin.url]} for name, origin in origins.items()},
        "routes": [{"name": "all", "live": "live", "mirror": [{"to": "shadow", **mirror}]}],
        "limits": {"drain_timeout": "5s"},
    }


def verdict(proxy: SupervisedProxy) -> Any:
    """The document of the one mirror."""
    (found,) = proxy.api("GET", "/api/v1/verdict").json()["verdicts"]
    return found


def settled(found: Any) -> int:
    """How many requests have their fate: `eligible` counts one when it is decided on, a pair counts when its slower leg is done."""
    return int(found["pairs"] + sum(found["excluded"].values()))


def served(proxy: SupervisedProxy, count: int) -> Any:
    """Send requests one after the other; the verdict once each of them has its fate."""
    before = settled(verdict(proxy))
    with Client(proxy.address("front")) as client:
        for number in range(count):
            assert client.get(f"/{number}").status == 200
    eventually(lambda: settled(verdict(proxy)) >= before + count, "all requests have their fate", patience_s=60)
    return verdict(proxy)


def test_a_slower_shadow_is_a_regression_of_latency(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Twice as slow on the same requests: named with its ratio and an interval that leaves live's speed out; SLO crossings are counted."""
    origins["shadow"].answer = ok(b"hello", pause_s=3 * LIVE_S)
    with SupervisedProxy(config(origins, judge={"slo": ["100ms"]}), tmp_path) as proxy:
        found = served(proxy, 120)
        assert (found["verdict"], found["cause"]) == ("REGRESSION", "latency"), found["summary"]
        assert found["summary"].startswith("slower than live on the same requests")
        low, high = found["latency"]["interval"]
        assert 1.0 < low < found["latency"]["ratio"] < high
        assert found["latency"]["pairs"] == found["pairs"] == 120
        assert [one["threshold_seconds"] for one in found["slo"]] == [0.1]


def test_a_control_arm_that_is_not_live_makes_the_comparison_invalid(origins: dict[str, Origin], tmp_path: Path) -> None:
    """Whatever the shadow does: a control fleet that fails where live does not tells that the environments differ."""
    origins["control"].answer = ok(b"broken", status=500)
    with SupervisedProxy(config(origins, control={"to": "control"}), tmp_path) as proxy:
        served(proxy, 40)
        eventually(lambda: verdict(proxy)["verdict"] == "INVALID", "the control arm trips", patience_s=60)
        found = verdict(proxy)
        assert found["baseline"] == "control"
        assert found["control"]["is_tripped"]
        assert found["control"]["control_only"] >= 10


def test_with_a_control_arm_the_shadow_answers_to_it(origins: dict[str, Origin], tmp_path: Path) -> None:
    """A shadow with new errors is a regression against control, and the control arm is quiet."""
    origins["shadow"].answer = ok(b"broken", status=503)
    with SupervisedProxy(config(origins, control={"to": "control"}), tmp_path) as proxy:
        served(proxy, 40)
        eventually(lambda: verdict(proxy)["verdict"] == "REGRESSION", "the shadow is found out", patience_s=60)
        found = verdict(proxy)
        assert (found["cause"], found["baseline"]) == ("errors", "control")
        assert "200 -> 503" in found["summary"]
        assert not found["control"]["is_tripped"]


def test_other_endpoints_are_another_question(origins: dict[str, Origin], tmp_path: Path) -> None:
    """After a reload that moves the shadow the evidence begins anew, and the old verdict stands beside it."""
    origins["shadow"].answer = ok(b"broken", status=500)
    with SupervisedProxy(config(origins), tmp_path) as proxy:
        served(proxy, 20)
        eventually(lambda: verdict(proxy)["verdict"] == "REGRESSION", "a regression", patience_s=60)
        moved = config(origins)
        moved["fleets"]["shadow"]["endpoints"] = [origins["control"].url]
        proxy.write(moved)
        proxy.hup()
        eventually(lambda: verdict(proxy)["epoch"] == 2, "a new epoch", patience_s=60)
        found = verdict(proxy)
        assert (found["verdict"], found["pairs"]) == ("UNDECIDED", 0)
        assert (found["previous"]["verdict"], found["previous"]["pairs"]) == ("REGRESSION", 20)
        with Client(proxy.address("front")) as client:
            eventually(lambda: client.get("/") and verdict(proxy)["pairs"] >= 20, "pairs of the new epoch", patience_s=60)
        assert verdict(proxy)["errors"]["shadow_only"] == 0


def test_another_build_is_another_question(origins: dict[str, Origin], tmp_path: Path) -> None:
    """When the shadow's answers name another build, the evidence begins anew, and the verdict names both while both were just seen."""
    origins["shadow"].answer = ok(b"broken", status=500, fields=[("X-Version", "v1")])
    shape = config(origins)
    shape["fleets"]["shadow"]["revision"] = "header:x-version"
    with SupervisedProxy(shape, tmp_path) as proxy:
        served(proxy, 20)
        eventually(lambda: verdict(proxy)["revisions"]["shadow"] == ["v1"], "the build is known", patience_s=60)
        assert verdict(proxy)["verdict"] == "REGRESSION"
        origins["shadow"].answer = ok(b"hello", fields=[("X-Version", "v2")])
        with Client(proxy.address("front")) as client:
            eventually(lambda: client.get("/") and verdict(proxy)["epoch"] == 2, "a new epoch", patience_s=60)
        found = verdict(proxy)
        assert found["previous"]["verdict"] == "REGRESSION"
        assert found["revisions"]["shadow"] == ["v1", "v2"]
        assert found["errors"]["shadow_only"] == 0
