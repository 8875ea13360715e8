"""What an experiment costs, and burn rates."""

from __future__ import annotations

import pytest

from shadowproxy.config.experiment import Budget, Sequential
from shadowproxy.experiments.budget import DAY_S, Spending, burn_alerts, burn_rate, factor, is_burning
from shadowproxy.experiments.evidence import Evidence
from shadowproxy.experiments.slicecounts import Counts, Slices


@pytest.mark.parametrize(
    ("days", "factors"),
    [(30, (14.4, 6.0, 3.0, 1.0)), (28, (13.44, 5.6, 2.8, 0.9333)), (7, (13.44, 3.5, 1.4, 0.98))],
)
def test_burn_rate_factors_are_the_published_ones(days: int, factors: tuple[float, ...]) -> None:
    """Of thirty days, four weeks and one week (STATISTICS C10)."""
    alerts = burn_alerts(days * DAY_S)
    assert tuple(alert.factor for alert in alerts) == pytest.approx(factors, abs=5e-5)
    assert [alert.long_s for alert in alerts] == [3600, 21600, 86400, 259200]
    assert all(alert.long_s == 12 * alert.short_s for alert in alerts)


def test_a_burn_rate_of_one_spends_the_budget_in_its_period() -> None:
    """And what spends a fiftieth of thirty days in an hour is 14.4."""
    assert factor(1.0, 30 * DAY_S, 30 * DAY_S) == 1.0
    assert factor(0.02, 30 * DAY_S, 3600) == pytest.approx(14.4)
    assert burn_rate(Counts(1000, 1000, 1), 0.999) == pytest.approx(1.0)
    assert burn_rate(Counts(), 0.999) is None
    assert not is_burning(Counts(), 0.999, 1.0, 0.05)


def test_an_objective_of_everything_has_no_budget() -> None:
    """100 %: any error burns beyond measure, and nothing divides by zero."""
    assert burn_rate(Counts(10, 10, 1), 1.0) == pytest.approx(1e8)
    assert burn_rate(Counts(10, 10, 0), 1.0) == 0.0


def spent(fault: Counts, control: Counts, allowed: float | None = 10.0) -> tuple[float, float, tuple[str, str] | None]:
    """Charge, its upper end, and what is used up."""
    slices, evidence = Slices(fault, control), Evidence(Sequential())
    evidence.add(slices)
    spending = Spending(Budget(), allowed)
    return spending.charge(slices), spending.charge_high(slices, evidence), spending.used_up(slices, evidence)


def test_the_charge_is_what_control_does_not_explain() -> None:
    """Twelve errors of 200 where control has four of 100: eight would have been anyway."""
    charge, high, over = spent(Counts(200, 200, 12), Counts(100, 100, 4))
    assert charge == pytest.approx(4.0)
    assert high == 12.0, "no more than all of them"
    assert over is not None
    assert over[0] == "budget_errors"


def test_what_we_made_up_is_charged() -> None:
    """An answer of ours that is bad is bad for its user."""
    charge, high, over = spent(Counts(11, 0, 0, injected=11, injected_errors=11), Counts(11, 11, 0))
    assert (charge, high) == (11.0, 11.0)
    assert over is not None


def test_no_errors_cost_nothing() -> None:
    """However little is known: the upper end is no more than what was seen."""
    assert spent(Counts(5, 5, 0), Counts(5, 5, 0), allowed=0.0) == (0.0, 0.0, None)
    assert spent(Counts(5, 5, 5), Counts(), allowed=None)[2] is None


def test_an_incident_in_both_is_no_cost_of_the_experiment() -> None:
    """A thousand errors in each of 4,000 answers: the interval of the difference is narrow by then."""
    slices, evidence = Slices(), Evidence(Sequential())
    for _ in range(400):
        tick = Slices(Counts(100, 100, 25), Counts(100, 100, 25))
        slices.add(tick)
        evidence.add(tick)
    spending = Spending(Budget(), 2000.0)
    assert spending.charge(slices) == 0.0
    assert spending.charge_high(slices, evidence) < 0.1 * slices.fault.errors
    assert spending.used_up(slices, evidence) is None


def test_units_and_requests_have_limits_of_their_own() -> None:
    """None while there is none; at the limit it is used up; those that got no fault are not counted."""
    spending = Spending(Budget(units=3, requests=10), None)
    slices, evidence = Slices(), Evidence(Sequential())
    spending.add({"seen": 12, "unharmed": {"deny": 2, "limit": 1}, "units": 2, "repeats": 4})
    assert (spending.requests, spending.units, spending.repeats) == (9, 2, 4)
    assert spending.used_up(slices, evidence) is None
    spending.add({"seen": 1})
    found = spending.used_up(slices, evidence)
    assert found is not None
    assert found[0] == "budget_requests"
    plain = spending.to_plain(slices, evidence)
    assert (plain["units"], plain["units_limit"], plain["requests"], plain["requests_limit"], plain["allowed"]) == (2, 3, 10, 10, None)
    assert Spending(Budget(), None).to_plain(slices, evidence)["units_limit"] is None
