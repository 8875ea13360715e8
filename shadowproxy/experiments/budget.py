"""What an experiment may cost: error budget, units and requests; and burn rates (STATISTICS C10).

The *charge* of a run is what it adds to the bad answers of its users: those that it makes up itself, and those of the fault slice
beyond what the control slice says would have been bad anyway,

    charge = injected errors + max(0, errors - control errors * answers / control answers)

How many would have been bad anyway is an estimate, the others were counted. So the charge is at most all of them, and at most what the upper end
of the interval of the excess says; the run is over when that, the lesser of the two, is more than what is allowed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge.rates import share_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.config.experiment import Budget
    from shadowproxy.experiments.evidence import Evidence
    from shadowproxy.experiments.slicecounts import Counts, Slices

DAY_S: Final = 86400.0

SHORT_SHARE: Final = 1 / 12
"""The short window's part of the long one: five minutes of an hour."""


@dataclass(frozen=True, slots=True)
class BurnAlert:
    """Spending `share` of a period's error budget within `long_s`; over, when the long and the short window are above `factor`."""

    share: float
    long_s: float
    short_s: float
    factor: float


_MONTH: Final = ((0.02, 3600.0, 300.0), (0.05, 6 * 3600.0, 1800.0), (0.10, DAY_S, 2 * 3600.0), (0.10, 3 * DAY_S, 6 * 3600.0))
_WEEK: Final = ((0.08, 3600.0, 300.0), (0.125, 6 * 3600.0, 1800.0), (0.20, DAY_S, 2 * 3600.0), (0.42, 3 * DAY_S, 6 * 3600.0))

_WEEK_S: Final = 7 * DAY_S


def factor(share: float, period_s: float, long_s: float) -> float:
    """The burn rate that spends `share` of the error budget of `period_s` within `long_s`; 1 spends all of it in just the period."""
    return share * period_s / long_s


def burn_alerts(period_s: float) -> tuple[BurnAlert, ...]:
    """The usual alerts of an objective over `period_s`, the most urgent first: 14.4, 6, 3 and 1 for thirty days."""
    shares = _WEEK if period_s <= _WEEK_S else _MONTH
    return tuple(BurnAlert(share, long_s, short_s, factor(share, period_s, long_s)) for share, long_s, short_s in shares)


def burn_rate(counts: Counts, target: float) -> float | None:
    """The error rate over the one that spends the budget in just its period; None without answers.

    Args:
        counts: of a slice, in a window.
        target: share of good answers that is promised, from 0 to 1; 1 leaves no budget, so that any error is beyond measure.

    """
    rate = counts.error_rate
    if rate is None:
        return None
    return rate / max(1.0 - target, 1e-9)


def is_burning(counts: Counts, target: float, bound: float, alpha: float) -> bool:
    """Whether the burn rate is above `bound` and chance does not explain it: the interval of the error rate is above it, too.

    At low traffic one error of ten answers is a burn rate of a hundred and says nothing; three are needed.
    """
    rate = burn_rate(counts, target)
    return rate is not None and rate > bound and share_interval(counts.errors, counts.answered, alpha)[0] > bound * (1.0 - target)


class Spending:
    """What a run has cost so far, against what it may.

    Attributes:
        units: different ones with the fault.
        requests: in the slice and not left unharmed, those under way included.
        repeats: most faults of one unit.

    """

    def __init__(self, budget: Budget, allowed: float | None) -> None:
        """Begin with nothing spent; `allowed` bad answers may be added, None for no limit."""
        self.budget = budget
        self.allowed = allowed
        self.units = self.requests = self.repeats = 0

    def add(self, counts: Mapping[str, Any]) -> None:
        """Count what a tick tells of who was hit."""
        self.requests += counts.get("seen", 0) - sum(counts.get("unharmed", {}).values())
        self.units = max(self.units, counts.get("units", 0))
        self.repeats = max(self.repeats, counts.get("repeats", 0))

    def charge(self, slices: Slices) -> float:
        """Bad answers that the run added, as far as can be told."""
        fault, control = slices.fault, slices.control
        anyway = control.errors * fault.answered / control.answered if control.answered else 0.0
        return fault.injected_errors + max(0.0, fault.errors - anyway)

    def charge_high(self, slices: Slices, evidence: Evidence) -> float:
        """As many as it may have added at the most."""
        fault = slices.fault
        excess = max(0.0, evidence.difference.interval(evidence.alpha)[1]) * fault.answered
        return fault.injected_errors + min(float(fault.errors), excess)

    def used_up(self, slices: Slices, evidence: Evidence) -> tuple[str, str] | None:
        """The code and the sentence of what is used up, if anything is."""
        limits = self.budget
        if limits.units and self.units >= limits.units:
            return "budget_units", f"{self.units:,} different units have had the fault, and no more than {limits.units:,} may"
        if limits.requests and self.requests >= limits.requests:
            return "budget_requests", f"{self.requests:,} requests have had the fault, and no more than {limits.requests:,} may"
        if self.allowed is None or slices.fault.injected_errors + slices.fault.errors <= self.allowed:
            return None
        high = self.charge_high(slices, evidence)
        if high <= self.allowed:
            return None
        likely = self.charge(slices)
        return "budget_errors", f"the experiment has cost {likely:,.1f} bad answers, perhaps {high:,.1f}, and may cost {self.allowed:,.1f}"

    def to_plain(self, slices: Slices, evidence: Evidence) -> dict[str, Any]:
        """As run documents have it; a limit of None is none."""
        return {
            "charge": self.charge(slices),
            "charge_high": self.charge_high(slices, evidence),
            "allowed": self.allowed,
            "units": self.units,
            "units_limit": self.budget.units or None,
            "requests": self.requests,
            "requests_limit": self.budget.requests or None,
        }
