"""What is left of an error budget, and what an experiment may take of it."""

from __future__ import annotations

import pytest

from shadowproxy.experiments.allowance import Traffic, charge, error_budget, failing_share, faulted_requests
from tests.experiments.cases import experiment

BUSY = Traffic(requests_per_s=100.0, error_rate=0.001, seconds=3600.0, errors=360.0)


def test_the_budget_of_thirty_days() -> None:
    """99.9 % of 100 requests a second: 259,200 bad answers in thirty days, less those that were seen; a tenth of the rest may be spent."""
    found = error_budget(experiment(), BUSY)
    assert found is not None
    assert (round(found.total), found.spent) == (259_200, 360.0)
    assert found.allowed == pytest.approx(0.1 * (259_200 - 360))


def test_what_was_seen_over_more_than_a_period_counts_in_part() -> None:
    """Sixty days of looking are two periods: half of the errors are of this one."""
    found = error_budget(experiment(), Traffic(requests_per_s=1.0, seconds=2 * 2592000.0, errors=100.0))
    assert found is not None
    assert found.spent == 50.0


def test_requests_of_a_period_can_be_given() -> None:
    """Then nobody needs to have seen any; without either there is no budget to speak of."""
    found = error_budget(experiment(budget={"slo": {"requests": 1_000_000, "target": 99}}), None)
    assert found is not None
    assert (round(found.total), found.spent) == (10_000, 0.0)
    assert error_budget(experiment(), None) is None
    assert error_budget(experiment(), Traffic(requests_per_s=0.0)) is None


def test_an_overspent_budget_leaves_nothing() -> None:
    """Not less than nothing; and a promise of 100 % leaves nothing from the start."""
    found = error_budget(experiment(), Traffic(requests_per_s=0.01, seconds=3600.0, errors=1000.0))
    assert found is not None
    assert (found.remaining, found.allowed) == (0.0, 0.0)
    perfect = error_budget(experiment(budget={"slo": {"target": 100}}), BUSY)
    assert perfect is not None
    assert perfect.allowed == 0.0


def test_requests_of_a_ramp() -> None:
    """5 % of 100/s over 300 s are 1,500; a ramp begins with less, and no step outlasts the run."""
    assert faulted_requests(experiment(), BUSY) == pytest.approx(1500)
    ramped = experiment(ramp={"steps": [1, 2, 4, 5], "every": 60})
    assert faulted_requests(ramped, BUSY) == pytest.approx(60 * (1 + 2 + 4) + 120 * 5)
    assert faulted_requests(experiment(ramp={"steps": [2.5, 5], "every": 600}), BUSY) == pytest.approx(2.5 * 300)


@pytest.mark.parametrize(
    ("fault", "share"),
    [
        ({"delay": "1s"}, 0.0),
        ({"abort": {"status": 503}}, 1.0),
        ({"abort": {"status": 503}, "every": 4}, 0.25),
        ({"abort": {"status": 404}}, 0.0),
        ({"abort": {"grpc": 14}}, 1.0),
        ({"abort": {"grpc": 0}}, 0.0),
        ({"reset": True}, 1.0),
        ({"hang": "5s"}, 1.0),
        ({"black_hole": True}, 1.0),
        ({"truncate": 0}, 1.0),
        ({"throttle": {"rate": 5, "status": 503}}, 1.0),
        ({"throttle": {"rate": 5}}, 0.0),
        ({"headers": {"set": {"X-A": "b"}}}, 0.0),
    ],
)
def test_which_faults_fail_requests_by_themselves(fault: dict[str, object], share: float) -> None:
    """Those that replace or break the answer; a delay or a change does only if the client says so."""
    assert failing_share(experiment(inject={"faults": [fault]})) == share


def test_a_guard_bounds_what_it_may_cost() -> None:
    """Expected is what the fault breaks; at most it costs what goes wrong until the guard has seen enough."""
    aborting = experiment(inject={"faults": [{"abort": {"status": 503}}]}, guards=[{"metric": "error_excess", "above": 2, "window": 10}])
    found = charge(aborting, BUSY)
    assert found.most == pytest.approx(0.02 * 1500 + 5 * 10)
    assert found.expected == found.most
    unguarded = charge(experiment(inject={"faults": [{"reset": True}]}, guards=[{"metric": "p99", "above": 1}]), BUSY)
    assert unguarded.expected == unguarded.most == pytest.approx(1500)
    capped = charge(experiment(inject={"faults": [{"reset": True}]}, budget={"requests": 20}), BUSY)
    assert capped.expected == pytest.approx(20)
    slow = charge(experiment(), BUSY)
    assert slow.expected == 0.0
    assert slow.most > 0.0
