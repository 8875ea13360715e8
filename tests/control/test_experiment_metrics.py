"""Metrics of experiments: of the newest run of each name, and as long as somebody may scrape it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from shadowproxy.control import experiment_metrics
from shadowproxy.control.experiment_metrics import collect
from tests.control.governed import ACTOR, exposure, running

if TYPE_CHECKING:
    import pytest

    from tests.control.conftest import Start

Samples = dict[tuple[str, ...], float]


def samples(supervisor: Any) -> Samples:
    """By name and labels."""
    found: Samples = {}

    def add(name: str, value: float, *labels: str) -> None:
        assert (name, *labels) not in found
        found[name, *labels] = value

    collect(supervisor.governor, add)
    return found


async def test_a_run_is_seen_while_it_lasts_and_a_while_after(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its share, what it did, its errors; then how it ended."""
    supervisor = await start()
    run = await running(supervisor)
    supervisor.governor.on_exposure(exposure(run, errors=2, units={"0a": 1}, responses={}))
    found = samples(supervisor)
    assert found["experiment_runs", "running"] == 1
    assert found["experiment_share_ratio", "slow"] == 0.01
    assert found["experiment_seen_total", "slow"] == 10
    assert found["experiment_faults_total", "slow", "abort"] == 2
    assert found["experiment_unharmed_total", "slow", "every"] == 8
    assert found["experiment_errors_total", "slow", "control"] == 0
    assert found["experiment_units", "slow"] == 1
    assert found["experiment_journal_up",] == 1
    supervisor.governor.stop(run, ACTOR)
    found = samples(supervisor)
    assert found["experiment_ended_total", "aborted", "stopped"] == 1
    assert found["experiment_share_ratio", "slow"] == 0
    assert found["experiment_errors_total", "slow", "control"] == 0
    monkeypatch.setattr(experiment_metrics, "SHOWN_S", -1.0)
    assert ("experiment_units", "slow") not in samples(supervisor)
