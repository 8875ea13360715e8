"""What an experiment will take, before anything runs: requests, users, minutes, and how much of the error budget.

The tests that are planned are those that the conductor runs (`experiments.evidence`, STATISTICS C3, C5, C6 and C7), asked where their evidence will be if what
comes is like what was, and the fault has the stated effect. They are projections of an average course: half of all runs take longer. Nothing is decided by them.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, inf, log, log1p, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.experiments.allowance import charge, error_budget
from shadowproxy.experiments.evidence import FIRST_SHARE, LATE_RATIOS, RATIOS
from shadowproxy.judge import betting
from shadowproxy.judge.boundaries import BetaBinomialMixture
from shadowproxy.judge.planning import until
from shadowproxy.judge.quantiles import T_OPT
from shadowproxy.judge.special import log_sum_exp
from shadowproxy.logbuckets import ACCURACY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowproxy.config.experiment import Experiment, Sequential
    from shadowproxy.experiments.allowance import Traffic

TAIL: Final = 0.99
"""The quantile whose excess a run's document states."""

SLOWER: Final = 0.5
"""Half as long again: the effect on the p99 that is planned for unless another is given."""

MOST_ERRORS: Final = 100_000
"""Of the abort detector: beyond it, it hardly drifts."""

LUCK: Final = 0.35
"""Standard deviations. A test that may end at any moment ends at a lucky one: half of all runs have ended where evidence would be enough with so much luck.

Of a walk with drift it is between 0.25 and 0.4 (the median of an inverse Gaussian law); simulations of the tests agree, see its tests.
"""

LATE_LUCK: Final = 0.45
"""The same of the abort detector, whose bets begin at every error: one of them at a lucky one."""

_NORMAL: Final = NormalDist()


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """What is to be seen if the fault does it.

    Attributes:
        errors: share of answers that fail beyond those of control, above 0 and up to 1.
        slower: by how much the p99 is longer, as a part of control's, above 0.

    """

    errors: float
    slower: float = SLOWER

    @classmethod
    def of(cls, experiment: Experiment) -> Effect:
        """Return the effect that the experiment's ramp asks about: `sequential.margin`."""
        return cls(errors=max(experiment.sequential.margin, 0.001) / 100.0)


@dataclass(frozen=True, slots=True)
class Stage:
    """One step of the ramp as it will go on average.

    Attributes:
        percent: of the units with the fault.
        from_s: when it begins, in seconds since the run began.
        seconds: how long it lasts; None if it never ends by itself.
        requests: with the fault in that time.
        needed: requests of each slice until it is shown to be safe; None if it never is.

    """

    percent: float
    from_s: float
    seconds: float | None
    requests: float | None
    needed: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What an experiment will take. Sizes are requests of each slice; None is never, or unknown."""

    experiment: Experiment
    traffic: Traffic
    effect: Effect
    detect: int | None
    abort: int | None
    tail: int | None
    stages: tuple[Stage, ...]

    @property
    def rate(self) -> float:
        """Requests a second in the fault slice at its full share."""
        return self.traffic.requests_per_s * self.experiment.slice.percent / 100.0

    def seconds_to(self, requests: int | None) -> float | None:
        """Return when each slice will have had so many requests, the ramp included; None for never."""
        if requests is None:
            return None
        left = float(requests)
        for stage in self.stages:
            rate = self.traffic.requests_per_s * stage.percent / 100.0
            if rate <= 0:
                return None
            if stage.seconds is None or left <= rate * stage.seconds or stage is self.stages[-1]:
                return stage.from_s + left / rate
            left -= rate * stage.seconds
        return None

    @property
    def full_s(self) -> float | None:
        """When the full share is reached, in seconds; None if a step before is never shown to be safe."""
        return None if any(stage.seconds is None for stage in self.stages) else self.stages[-1].from_s

    @property
    def needed_s(self) -> float | None:
        """How long it must run: through its ramp, and until the effect on errors is seen."""
        seen, full = self.seconds_to(self.detect), self.full_s
        return None if seen is None or full is None else max(seen, full)

    @property
    def is_enough(self) -> bool:
        """Whether `duration` suffices."""
        return self.needed_s is not None and self.needed_s <= self.experiment.duration

    @property
    def requests(self) -> float:
        """Requests with the fault until `duration` ends it, if its ramp takes what it will on average."""
        found = 0.0
        for stage in self.stages:
            left = max(0.0, self.experiment.duration - stage.from_s)
            found += self.traffic.requests_per_s * stage.percent / 100.0 * min(left, left if stage.seconds is None else stage.seconds)
        return found

    @property
    def units(self) -> float | None:
        """Different units with the fault, at most; None if it is not known how many come."""
        if self.traffic.units_per_s is None:
            return None
        found = self.traffic.units_per_s * self.experiment.duration * self.experiment.slice.percent / 100.0
        return min(found, self.experiment.budget.units or inf)

    def to_plain(self) -> dict[str, Any]:
        """Return it as JSON says it, with sentences for people."""
        budget, cost = error_budget(self.experiment, self.traffic), charge(self.experiment, self.traffic, self.requests)
        seen = (("errors", self.detect), ("abort", self.abort), ("p99", self.tail))
        return {
            "name": self.experiment.name,
            "traffic": {
                name: getattr(self.traffic, name) for name in ("requests_per_s", "error_rate", "units_per_s", "p50", "p99", "seconds")
            },
            "effect": {"errors": self.effect.errors, "slower": self.effect.slower},
            "detect": {name: {"requests": size, "seconds": self.seconds_to(size)} for name, size in seen},
            "ramp": [{name: getattr(stage, name) for name in Stage.__slots__} for stage in self.stages],
            "requests": self.requests,
            "units": self.units,
            "charge": {"expected": cost.expected, "most": cost.most},
            "budget": None
            if budget is None
            else {"total": budget.total, "spent": budget.spent, "remaining": budget.remaining, "allowed": budget.allowed},
            "duration": self.experiment.duration,
            "needed_s": self.needed_s,
            "is_enough": self.is_enough,
            "sentences": list(sentences(self)),
        }


def plan(experiment: Experiment, traffic: Traffic, effect: Effect | None = None) -> Plan:
    """Return what `experiment` will take if traffic stays what it was.

    Args:
        experiment: what is planned.
        traffic: of its observed routes.
        effect: what is to be seen; by default `sequential.margin` points of errors, and a p99 that is SLOWER.

    """
    effect = effect or Effect.of(experiment)
    sequential = experiment.sequential
    return Plan(
        experiment=experiment,
        traffic=traffic,
        effect=effect,
        detect=to_detect(traffic.error_rate, effect.errors, sequential),
        abort=to_abort(traffic.error_rate, effect.errors, sequential),
        tail=to_see_slower(traffic.p50, traffic.p99, effect.slower, sequential.alpha),
        stages=tuple(_stages(experiment, traffic)),
    )


def to_detect(error_rate: float, excess: float, sequential: Sequential) -> int | None:
    """Return the requests of each slice until it is shown that the slice with the fault fails more often.

    Args:
        error_rate: of control, from 0 to 1.
        excess: how much more fails, from 0 to 1.
        sequential: whose alpha is kept.

    """
    bad = min(1.0, error_rate + excess)

    def log_e_after(requests: float) -> float:
        errors, others = _lucky(requests * bad, requests * error_rate)
        grown = [log(FIRST_SHARE) + errors * log(ratio) - (errors + others) * log1p((ratio - 1) / 2) for ratio in RATIOS]
        return log_sum_exp([*grown, log(1 - FIRST_SHARE) + log(len(RATIOS)) - log1p(log1p(errors + others))]) - log(len(RATIOS))

    return until(log_e_after, log(1 / sequential.alpha)) if bad > error_rate else None


def to_abort(error_rate: float, excess: float, sequential: Sequential) -> int | None:
    """Return the requests of each slice until the abort detector is at its run length, however late the harm begins."""
    bad = min(1.0, error_rate + excess)
    share = bad / (bad + error_rate) if bad > 0 else 0.5
    drifts = [share * log(ratio) - log1p((ratio - 1) / 2) for ratio in LATE_RATIOS]
    chains = [0.0 for _ in LATE_RATIOS]
    for errors in range(1, MOST_ERRORS):
        chains = [min((chain + 1.0) * exp(drift), 1e300) for chain, drift in zip(chains, drifts, strict=True)]
        if sum(chains) / len(chains) >= sequential.run_length:
            best = max(zip(drifts, LATE_RATIOS, strict=True))
            spread = share * (1 - share) * log(best[1]) ** 2
            step = LATE_LUCK * sqrt(spread / (best[0] * log(sequential.run_length)))
            # The root of 1 - s**2 = step * s: what is left of the mean course with that much luck.
            left = (sqrt(step * step + 4) - step) / 2
            return round(errors * left * left / (bad + error_rate))
    return None


def _lucky(errors: float, others: float) -> tuple[float, float]:
    """Return what two counts with these means are with LUCK: more of the first, fewer of the second; half an error is that it comes whole."""
    spread = sqrt(errors + others)
    return (max(0.0, errors + LUCK * errors / spread - 0.5), max(0.0, others - LUCK * others / spread)) if spread else (0.0, 0.0)


def to_be_safe(error_rate: float, margin: float, alpha: float) -> int | None:
    """Return the requests of each slice until a step is shown to be safe, if the fault does no harm.

    Args:
        error_rate: of both slices, from 0 to 1.
        margin: a step is safe when it fails more often by less than this share.
        alpha: chance that it is called safe wrongly.

    """
    if margin <= 0:
        return None

    def log_e_after(requests: float) -> float:
        # An answer fails in both slices of a pair by chance only, which is left out: it would be too hopeful.
        failed = min(requests * error_rate, requests / 2)
        minus, plus = _lucky(failed, failed)
        return betting.log_capital(plus, max(0.0, requests - plus - minus), minus, margin, betting.NOT_WORSE)

    return until(log_e_after, log(1 / alpha))


def to_see_slower(p50: float | None, p99: float | None, slower: float, alpha: float) -> int | None:
    """Return the requests of each slice until the interval of the p99's excess is above 0, for latencies like a lognormal distribution's.

    Args:
        p50: median of control in seconds; None if not known.
        p99: its 99th percentile.
        slower: by how much the p99 with the fault is longer, as a part of control's.
        alpha: of the interval.

    """
    if p50 is None or p99 is None or p50 <= 0 or slower <= 0:
        return None
    sigma = log(max(p99, p50 * (1 + ACCURACY)) / p50) / _NORMAL.inv_cdf(TAIL)
    variance, threshold = TAIL * (1 - TAIL), log(2 / alpha)
    above = BetaBinomialMixture.tuned(variance * T_OPT, alpha / 2, g=1 - TAIL, h=TAIL)
    under = BetaBinomialMixture.tuned(variance * T_OPT, alpha / 2, g=TAIL, h=1 - TAIL)

    def gap_after(requests: float) -> float:
        if requests < 1:
            return -inf
        low = TAIL - above.bound(variance * requests, threshold) / requests
        high = TAIL + under.bound(variance * requests, threshold) / requests
        if low <= 0 or high >= 1:
            return -inf
        # Intervals end at the edges of buckets: one bucket's width is lost.
        return log1p(slower) - 2 * ACCURACY - sigma * (_NORMAL.inv_cdf(high) - _NORMAL.inv_cdf(low))

    return until(gap_after, 0.0)


def _stages(experiment: Experiment, traffic: Traffic) -> Iterator[Stage]:
    steps = experiment.ramp.steps or (experiment.slice.percent,)
    sequential = experiment.sequential
    begins = 0.0
    needed = to_be_safe(traffic.error_rate, sequential.margin / 100.0, sequential.alpha / len(steps))
    for number, percent in enumerate(steps, 1):
        rate = traffic.requests_per_s * percent / 100.0
        if number == len(steps):
            seconds = max(0.0, experiment.duration - begins)
            yield Stage(percent, begins, seconds, rate * seconds, needed)
            return
        if needed is None or rate <= 0:
            yield Stage(percent, begins, None, None, needed)
            return
        seconds = max(float(experiment.ramp.every), needed / rate)
        yield Stage(percent, begins, seconds, rate * seconds, needed)
        begins += seconds


def sentences(planned: Plan) -> Iterator[str]:
    """Yield what a plan says to people, the most important first."""
    experiment, traffic, effect = planned.experiment, planned.traffic, planned.effect
    if traffic.requests_per_s <= 0:
        yield "its routes have no requests now: nothing can be seen"
        return
    yield (
        f"at {traffic.requests_per_s:,.3g} requests a second, {experiment.slice.percent:g} % are {planned.rate:,.3g} a second with the fault, and as many are only watched"
    )
    yield from _of_duration(planned)
    points = f"{100 * effect.errors:.3g} point{'s' * (effect.errors != 0.01)} more errors than {100 * traffic.error_rate:.3g} %"
    yield _seen(planned, planned.detect, points)
    yield _seen(planned, planned.abort, f"to abort for {points}, however late they begin,", is_whole=False)
    yield _seen(planned, planned.tail, f"a p99 that is {100 * effect.slower:.3g} % longer")
    yield from _of_cost(planned)


def _seen(planned: Plan, size: int | None, what: str, *, is_whole: bool = True) -> str:
    subject = f"to see {what}" if is_whole else what
    if size is None:
        known = planned.traffic.p99 is None and "p99" in what
        return f"{subject}: not known, for no latency was seen" if known else f"{subject} takes more requests than will ever come"
    seconds = planned.seconds_to(size) if is_whole else size / planned.rate if planned.rate else None
    return f"{subject} takes about {size:,} requests of each slice" + (f", {duration(seconds)}" if seconds is not None else "")


def _of_duration(planned: Plan) -> Iterator[str]:
    given = duration(planned.experiment.duration)
    for stage in planned.stages:
        if stage.seconds is None:
            yield f"the step of {stage.percent:g} % is never shown to be safe: choose a greater sequential.margin"
    if planned.full_s and len(planned.stages) > 1:
        yield f"the full share is reached after {duration(planned.full_s)}, if every step is safe"
    if planned.needed_s is None:
        yield f"its duration of {given} does not suffice, nor would any"
    elif planned.is_enough:
        yield f"its duration of {given} suffices: about {duration(planned.needed_s)} are needed"
    else:
        yield f"its duration of {given} does not suffice: about {duration(planned.needed_s)} are needed, or a larger slice"


def _of_cost(planned: Plan) -> Iterator[str]:
    units = planned.units
    yield f"about {planned.requests:,.0f} requests get the fault" + (
        f", of at most {units:,.0f} different units" if units is not None else ""
    )
    budget, cost = error_budget(planned.experiment, planned.traffic), charge(planned.experiment, planned.traffic, planned.requests)
    if budget is None:
        yield "how much error budget that is, nobody knows: give budget.slo.requests"
        return
    share = f", {100 * cost.expected / budget.remaining:.2g} % of what remains" if budget.remaining > 0 else ""
    yield (
        f"it is expected to cost {cost.expected:,.0f} bad answers{share}, at most {cost.most:,.0f} before a guard ends it; "
        f"it may cost {budget.allowed:,.0f}"
    )


def duration(seconds: float) -> str:
    """Return a duration in the words of people."""
    for size, word in ((86400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * size:
            return f"{seconds / size:.3g} {word}"
    return f"{seconds:.3g} seconds"


@dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """What a run that broke nothing would have touched.

    Attributes:
        seen: requests of its routes, in the slice or not.
        touched: those that would have got the fault.
        writes: of these, those that write.
        seconds: for how long it was looked.

    """

    seen: int
    touched: int
    writes: int
    seconds: float

    @property
    def sentence(self) -> str:
        """What it says to people."""
        return f"over {self.seen:,} requests in {duration(self.seconds)} this would have touched {self.touched:,}, {self.writes:,} of them writes"


def dry_report(totals: dict[str, Any], seconds: float) -> DryRun:
    """Return what a dry run would have touched.

    Args:
        totals: sums of what workers told (`Exposure` of dataplane/messages.py), of which `seen`, `outside`, `faults` with the kinds `dry_read` and
            `dry_write`, and the requests of `fault` and `control` are looked at.
        seconds: how long the run lasted.

    """
    faults = totals.get("faults", {})
    reads, writes = int(faults.get("dry_read", 0)), int(faults.get("dry_write", 0))
    fault, control = (int(totals.get(arm, {}).get("requests", 0)) for arm in ("fault", "control"))
    # Of the slice workers count what the fault concerns, and what was answered on observed routes: mostly the same requests.
    seen = int(totals.get("outside", 0)) + control + max(fault, int(totals.get("seen", 0)))
    return DryRun(seen=seen, touched=reads + writes, writes=writes, seconds=seconds)
