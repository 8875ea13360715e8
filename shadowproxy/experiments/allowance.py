"""What is left of an error budget, and what an experiment may take of it (STATISTICS C10).

A budget is a number of bad answers: (1 - target) of the answers of a period. What was seen to be bad is spent; what was
before anyone looked is unknown, and sentences say for how long was looked. An experiment's charge is what goes wrong in the
fault slice beyond what goes wrong in the control slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.config.experiment import Metric

if TYPE_CHECKING:
    from shadowproxy.config.experiment import Experiment, Fault, Slo

OK: Final = 0
"""Of gRPC: the one status that is not an error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What the observed routes of an experiment had of requests lately.

    Attributes:
        requests_per_s: all of them, with and without a unit.
        error_rate: share of bad answers, from 0 to 1.
        seconds: for how long it was looked.
        errors: bad answers in that time; what is known to be spent of the budget.
        units_per_s: units that were not seen before, a second; None if not known.
        p50: median time to the last byte in seconds, None if not known.
        p99: its 99th percentile.

    """

    requests_per_s: float
    error_rate: float = 0.0
    seconds: float = 0.0
    errors: float = 0.0
    units_per_s: float | None = None
    p50: float | None = None
    p99: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorBudget:
    """The error budget of an objective now, in bad answers.

    Attributes:
        total: of a whole period.
        spent: that are known.
        share: of the remainder that the experiment may spend, from 0 to 1.

    """

    total: float
    spent: float
    share: float

    @property
    def remaining(self) -> float:
        """What is left, at least 0."""
        return max(0.0, self.total - self.spent)

    @property
    def allowed(self) -> float:
        """Bad answers that the experiment may add: what the conductor is given as `error_budget`."""
        return self.share * self.remaining


@dataclass(frozen=True, slots=True)
class Charge:
    """Bad answers that an experiment is thought to cost.

    Attributes:
        expected: if faults fail exactly the answers that they replace or break.
        most: if every faulted request fails until a guard ends it.

    """

    expected: float
    most: float


def error_budget(experiment: Experiment, traffic: Traffic | None) -> ErrorBudget | None:
    """Return the error budget that `experiment` spends of; None while nobody knows how many answers a period has."""
    slo: Slo = experiment.budget.slo
    requests = slo.requests or (traffic.requests_per_s * slo.period if traffic is not None else 0.0)
    if requests <= 0:
        return None
    spent = traffic.errors * min(1.0, slo.period / traffic.seconds) if traffic is not None and traffic.seconds > 0 else 0.0
    return ErrorBudget(total=(1.0 - slo.target / 100.0) * requests, spent=spent, share=experiment.budget.error_budget / 100.0)


def charge(experiment: Experiment, traffic: Traffic, requests: float | None = None) -> Charge:
    """Return what the whole run is thought to cost.

    Args:
        experiment: what is planned.
        traffic: of its observed routes.
        requests: in the fault slice; by default as many as there are when no step of the ramp lasts longer than it must.

    """
    faulted = faulted_requests(experiment, traffic) if requests is None else requests
    if experiment.budget.requests:
        faulted = min(faulted, experiment.budget.requests)
    fails = failing_share(experiment)
    bound, reaction_s = _guarded(experiment)
    # Until a guard has seen enough, every faulted request may fail.
    unguarded = traffic.requests_per_s * experiment.slice.percent / 100.0 * reaction_s
    most = min(faulted, bound * faulted + unguarded)
    return Charge(min(fails * faulted, most), most)


def faulted_requests(experiment: Experiment, traffic: Traffic) -> float:
    """Return how many requests of the whole run are in the fault slice, its ramp included, at the present rate."""
    shares = [(share, experiment.ramp.every) for share in experiment.ramp.steps[:-1]]
    requests, rest_s = 0.0, float(experiment.duration)
    for percent, every_s in shares:
        step_s = min(every_s, rest_s)
        requests += traffic.requests_per_s * percent / 100.0 * step_s
        rest_s -= step_s
    return requests + traffic.requests_per_s * experiment.slice.percent / 100.0 * rest_s


def failing_share(experiment: Experiment) -> float:
    """Return the share of faulted requests that fail by the fault itself, from 0 to 1: a delay or a changed field fails none."""
    return max((1.0 / fault.every for fault in experiment.inject.faults if _fails(fault)), default=0.0)


def _fails(fault: Fault) -> bool:
    is_bad_answer = fault.abort is not None and (fault.abort.status >= 500 or fault.abort.grpc > OK)
    is_throttled = fault.throttle is not None and fault.throttle.status >= 500
    return is_bad_answer or is_throttled or fault.reset or fault.half_close or fault.hang > 0 or fault.black_hole or fault.truncate >= 0


def _guarded(experiment: Experiment) -> tuple[float, float]:
    """Return the least error share that a guard ends the run at, and how long that may take."""
    found = [
        (guard.above / 100.0, guard.window + guard.hold)
        for guard in experiment.guards
        if guard.metric in (Metric.ERROR_RATE, Metric.ERROR_EXCESS) and guard.above is not None and guard.window > 0
    ]
    return min(found, default=(1.0, 0.0))
