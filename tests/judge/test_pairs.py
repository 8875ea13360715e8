"""Sums over pairs."""

from __future__ import annotations

import random

import pytest

from shadowproxy.judge import mcnemar, symmetry
from shadowproxy.judge.criteria import RHO, Criteria
from shadowproxy.judge.pairs import PairEvidence, Tick, is_error, log_ratio_of
from shadowproxy.judge.symmetry import LogRatio
from tests.judge.ticks import World


@pytest.mark.parametrize(
    ("outcome", "is_one"),
    [("200", False), ("404", False), ("503", True), ("599", True), ("reset", True), ("timeout", True), ("client_gone", False)],
)
def test_errors_are_the_servers(outcome: str, is_one: bool) -> None:
    """A 5xx or no whole answer; the client leaving is not."""
    assert is_error(outcome) == is_one


def test_a_tick_is_read_as_workers_write_it() -> None:
    """Keys are text in JSON; the counts against a control arm have their sums one level up."""
    ratio = {"n": 3, "s1": 0.5, "s2": 0.25, "buckets": {"-3": 1, "4": 2}}
    for counted in (
        {"matrix": {"200,reset": 2}, "ratio": ratio, "slo": {"1000": [1, 2]}},
        {"matrix": {"200,reset": 2}, **ratio, "slo": {"1000": [1, 2]}},
    ):
        tick = Tick.from_tally(counted)
        assert tick == Tick({("200", "reset"): 2}, LogRatio(3, 0.5, 0.25), {-3: 1, 4: 2}, {1000: (1, 2)})
    assert Tick.from_tally({"matrix": {}}) == Tick({}, LogRatio(), {}, {})
    assert log_ratio_of({}) == LogRatio()


def test_each_part_is_its_formula() -> None:
    """Latency is the weighted mean of symmetry and sign; an SLO is McNemar's; SAFE's parts are the margins'."""
    criteria = Criteria(slo_ns=(20_000_000,))
    pairs = PairEvidence(criteria)
    tick = World(random.Random(3), slo_ns=(20_000_000,), slower=1.02).tick(500)
    pairs.add(Tick.from_tally(tick))
    sums = log_ratio_of(tick["ratio"])
    assert pairs.log_e_slower == symmetry.log_e_above(sums, criteria.slower, RHO)
    assert pairs.log_e_not_slower == symmetry.log_e_below(sums, criteria.slower_safe, RHO)
    above, below = pairs.signs
    assert above + below == sums.n
    assert pairs.log_e_sign == mcnemar.log_e_one_sided(above, below)
    live_only, shadow_only = tick["slo"]["20000000"]
    slo = pairs.crossings[20_000_000]
    assert slo.log_e_regression == mcnemar.log_e_one_sided(shadow_only, live_only)
    assert slo.risk.pairs == pairs.pairs == 500
    assert [part.name for part in pairs.regression_parts()] == ["errors", "latency", "slo:20ms"]
    assert [part.name for part in pairs.safety_parts()] == ["errors", "latency", "slo:20ms"]
    assert sum(part.weight for part in pairs.regression_parts()) == pytest.approx(1.0)
    assert sum(part.weight for part in PairEvidence(Criteria()).regression_parts()) == pytest.approx(1.0)
    assert "500" in repr(pairs)
