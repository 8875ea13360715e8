"""What a metric is."""

from __future__ import annotations

import dataclasses

import pytest

from shadowproxy.control import metrics, rollout_metrics
from shadowproxy.control.metric_spec import COUNTER, GAUGE, HISTOGRAM, Spec


def test_every_metric_is_of_a_kind_and_named_once() -> None:
    """Whoever names them."""
    assert {spec.kind for spec in metrics.SPECS} == {COUNTER, GAUGE, HISTOGRAM}
    assert len({spec.name for spec in metrics.SPECS}) == len(metrics.SPECS)
    assert set(rollout_metrics.SPECS) <= set(metrics.SPECS)


def test_a_spec_does_not_change() -> None:
    """It is a value."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Spec("a", GAUGE, "b", (), "c").name = "d"  # type: ignore[misc]
