"""Metrics of rollouts and drills."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.control.rollout_metrics import SPECS, collect
from tests.control.test_evacuations import Stage as Drills
from tests.control.test_rollouts import BAD, Stage

if TYPE_CHECKING:
    from shadowproxy.control.evacuations import Evacuations
    from shadowproxy.control.rollouts import Rollouts


def collected(rollouts: Rollouts, evacuations: Evacuations) -> dict[tuple[str, ...], float]:
    """Samples by name and labels."""
    samples: dict[tuple[str, ...], Any] = {}

    def add(name: str, value: float, *labels: str) -> None:
        samples[name, *labels] = value

    collect(rollouts, evacuations, add)
    return samples


async def test_every_metric_has_a_sample() -> None:
    """With the labels that it says, before and after a rollout has gone wrong."""
    stage, drills = Stage(), Drills()
    drills.begin()
    drills.count({}, late=2)
    idle = collected(stage.rollouts, drills.drills)
    assert idle["rollout_state", "shop", "v2", "idle"] == 1
    await stage.begun()
    assert collected(stage.rollouts, drills.drills)["rollout_share_ratio", "shop", "v2"] == 0.01
    await stage.counted(BAD)
    samples = collected(stage.rollouts, drills.drills)
    assert samples["rollout_state", "shop", "v2", "rolled_back"] == 1
    assert samples["rollout_state", "shop", "v2", "running"] == 0
    assert samples["rollout_errors_total", "shop", "v2", "canary"] == 20
    assert samples["rollout_units", "shop", "v2"] == 40
    assert samples["rollout_log_e_nats", "shop", "v2", "errors"] > samples["rollout_threshold_nats", "shop", "v2", "errors"]
    assert (samples["evacuations",], samples["evacuation_late_requests_total", "live", "http://127.0.0.1:1"]) == (1, 2)
    assert {name for name, *_ in samples} == {spec.name.removeprefix("shadowproxy_") for spec in SPECS}
    labels = {spec.name.removeprefix("shadowproxy_"): len(spec.labels) for spec in SPECS}
    assert all(labels[name] == len(rest) for name, *rest in samples)
