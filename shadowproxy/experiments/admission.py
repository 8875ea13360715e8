"""Who may begin an experiment when: every reason against it at once, and which of them a person may overrule.

Pure: what is known of the instance is handed over as `Circumstances`. Break-glass (a reason given with `--force`) overrules
what is a rule of the house (blockouts, budgets, exclusivity, sizes, levels). It never overrules what would make the experiment
unstoppable, unexplainable or meaningless: no abort condition, the kill switch, a journal that cannot be written, slices that meet.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.experiment import Level, Metric
from shadowproxy.experiments.allowance import charge, error_budget
from shadowproxy.experiments.domains import LEVELS, conflicts, domain_of, domain_of_rollout, fleets_of, labels_of, overlap

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import datetime

    from shadowproxy.config.experiment import Experiment, Guard
    from shadowproxy.config.model import Config
    from shadowproxy.experiments.allowance import Traffic
    from shadowproxy.experiments.calendar import Closure

ABORTING: Final = frozenset(
    {Metric.ERROR_RATE, Metric.ERROR_EXCESS, Metric.P50, Metric.P99, Metric.P99_EXCESS, Metric.BURN_RATE, Metric.PROBE}
)
"""Metrics that tell of harm. Units and repeats only count how far the experiment went, which it does by being one."""

RUSH: Final = 4.0
"""Traffic may grow to so many times what it is before a guard counts as one that cannot trip."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """One reason why an experiment may not begin.

    Attributes:
        code: stable, for programs.
        sentence: what is wrong and, where there is one, what would help.
        may_be_overridden: whether break-glass overrules it.

    """

    code: str
    sentence: str
    may_be_overridden: bool = False

    def to_plain(self, *, is_overridden: bool = False) -> dict[str, Any]:
        """Return it as a run document's `admission` shows it."""
        return {"code": self.code, "sentence": self.sentence, "is_overridden": is_overridden}


@dataclass(frozen=True, slots=True, kw_only=True)
class Circumstances:
    """What is known of the instance at the moment of asking.

    Attributes:
        now: wall clock, with a time zone.
        config: the one in force.
        running: experiments that are admitted or running.
        rollouts: names of routes whose rollout is under way (paused ones too).
        closures: blockouts that hold now, and calendars that cannot be read (`control.calendars`).
        is_killed: whether the kill switch is pulled.
        is_journal_writable: whether the journal took its last entry.
        unsteady: why the system is not well, each a sentence; empty when it is, or nothing is asked of it.
        completed: levels at which a run of this experiment's name was completed, by the journal.
        traffic: of the experiment's observed routes; None if nothing was seen yet.

    """

    now: datetime
    config: Config
    running: tuple[Experiment, ...] = ()
    rollouts: frozenset[str] = frozenset()
    closures: tuple[Closure, ...] = ()
    is_killed: bool = False
    is_journal_writable: bool = True
    unsteady: tuple[str, ...] = ()
    completed: frozenset[Level] = frozenset()
    traffic: Traffic | None = None


@dataclass(frozen=True, slots=True)
class Admission:
    """The answer to a request to begin.

    Attributes:
        is_admitted: whether it may begin.
        refusals: every reason against it, those that were overruled included.
        force: the break-glass reason, empty if there was none.

    """

    is_admitted: bool
    refusals: tuple[Refusal, ...]
    force: str = ""

    def to_plain(self) -> list[dict[str, Any]]:
        """Return the `admission` of a run document."""
        return [refusal.to_plain(is_overridden=bool(self.force) and refusal.may_be_overridden) for refusal in self.refusals]


def admit(experiment: Experiment, circumstances: Circumstances, force: str = "") -> Admission:
    """Decide whether `experiment` may begin; `force` is the reason why rules of the house shall not count."""
    reason = force.strip()
    found = tuple(refusals(experiment, circumstances))
    return Admission(all(refusal.may_be_overridden and bool(reason) for refusal in found), found, reason)


def refusals(experiment: Experiment, circumstances: Circumstances) -> list[Refusal]:
    """Return every reason why `experiment` may not begin now; none means that it may."""
    return [refusal for rule in RULES for refusal in rule(experiment, circumstances)]


def _of_the_instance(_experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    if circumstances.is_killed:
        yield Refusal("killed", "the kill switch is pulled: nothing begins before `shadowproxy resume`")
    if not circumstances.is_journal_writable:
        yield Refusal("journal", "the journal cannot be written: what is not recorded is not done")
    for closure in circumstances.closures:
        yield Refusal(closure.code, closure.sentence, may_be_overridden=True)


def _of_the_owner(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    if not experiment.owner.strip():
        yield Refusal("owner", "nobody owns it: give owner")
    if not (isfinite(experiment.duration) and experiment.duration > 0):
        yield Refusal("end", "it has no end: give duration")
    if any(other.name == experiment.name for other in circumstances.running):
        yield Refusal("name", f"an experiment called {experiment.name} is running")
    at_once = circumstances.config.experiments.at_once
    if len(circumstances.running) >= at_once:
        yield Refusal("at_once", f"{len(circumstances.running)} experiments are running, experiments.at_once allows {at_once}")


def _of_its_size(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    limits = circumstances.config.experiments
    if experiment.slice.percent > limits.max_percent:
        sentence = f"slice.percent is {experiment.slice.percent:g}, experiments.max_percent allows {limits.max_percent:g}"
        yield Refusal("max_percent", sentence, may_be_overridden=True)
    if experiment.duration > limits.max_duration:
        sentence = f"duration is {experiment.duration:g} s, experiments.max_duration allows {limits.max_duration:g} s"
        yield Refusal("max_duration", sentence, may_be_overridden=True)


def _of_its_names(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    config, inject = circumstances.config, experiment.inject
    routes = {route.name for route in config.routes}
    asked = [("inject", name) for name in inject.routes] + [("observe", name) for name in experiment.observe]
    asked += [("expect", expectation.route) for expectation in experiment.expect]
    for part, name in dict.fromkeys(asked):
        if name not in routes:
            yield Refusal("unknown_route", f"{part} names the route {name!r}, which the config has not")
    if inject.fleet and inject.fleet not in config.fleets:
        yield Refusal("unknown_fleet", f"inject.fleet names {inject.fleet!r}, which the config has not")
        return
    fleets = [config.fleets[name] for name in sorted(fleets_of(experiment, config)) if name in config.fleets]
    if inject.endpoint and not any(inject.endpoint in fleet.endpoints for fleet in fleets):
        yield Refusal("unknown_endpoint", f"inject.endpoint names {inject.endpoint}, which no fleet of its routes has")
    labels = list(labels_of(config, (fleet.name for fleet in fleets)))
    known = {label.cell for label in labels} | {label.zone for label in labels}
    for cell in experiment.domain.cells:
        if cell not in known:
            yield Refusal("unknown_cell", f"domain.cells names {cell!r}, which no label of its fleets' endpoints has")
    own = {cell for label in labels if label.endpoint == inject.endpoint for cell in (label.cell, label.zone)}
    if inject.endpoint and experiment.domain.cells and not own & set(experiment.domain.cells):
        yield Refusal("containment", f"{inject.endpoint} is in none of domain.cells: it would be hit outside of where it is confined to")


def _of_abort_conditions(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    flaws = {flaw: None for guard in experiment.guards if (flaw := _flaw(guard, experiment, circumstances.traffic))}
    if not any(not _flaw(guard, experiment, circumstances.traffic) for guard in experiment.guards):
        said = "; ".join(flaws) or "there is no guard"
        yield Refusal("no_abort_condition", f"no guard can end it when it does harm: {said}")


def _flaw(guard: Guard, experiment: Experiment, traffic: Traffic | None) -> str:
    """Return why a guard is no abort condition, or an empty string."""
    if guard.metric not in ABORTING:
        return f"{guard.metric} only counts how far it went"
    if guard.metric in (Metric.ERROR_RATE, Metric.ERROR_EXCESS) and guard.above is not None and guard.above >= 100:
        return f"{guard.metric} is never above {guard.above:g} %"
    if guard.hold >= experiment.duration:
        return f"{guard.metric} must hold {guard.hold:g} s, and it is over after {experiment.duration:g} s"
    if guard.metric is Metric.PROBE or traffic is None or traffic.requests_per_s <= 0:
        return ""
    looked_s = min(guard.window or experiment.duration, experiment.duration)
    requests = traffic.requests_per_s * experiment.slice.percent / 100.0 * looked_s
    if RUSH * requests < guard.least and not experiment.slice.pinned:
        return f"{guard.metric} needs {guard.least} requests in {looked_s:g} s, and the slice has about {requests:.2g}"
    return ""


def _of_units(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    denied, part = set(circumstances.config.experiments.deny), experiment.slice
    if denied and not part.key and not part.tagged:
        sentence = f"experiments.deny spares {len(denied)} units, and without slice.key nobody knows whose request it is"
        yield Refusal("deny", sentence)
    for unit in part.pinned:
        if unit in denied or unit in part.deny:
            yield Refusal("pinned", f"slice.pinned names {unit!r}, which is on a deny list: it would never be hit")


def _of_budget(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    budget = error_budget(experiment, circumstances.traffic)
    if budget is None:
        return
    slo = experiment.budget.slo
    if budget.remaining <= 0:
        sentence = f"the error budget of {slo.target:g} % is used up: {budget.spent:.0f} bad answers, {budget.total:.0f} are allowed"
        yield Refusal("budget", sentence, may_be_overridden=True)
        return
    predicted = charge(experiment, circumstances.traffic).expected if circumstances.traffic is not None else 0.0
    if predicted > budget.allowed:
        yield Refusal(
            "budget",
            f"it is expected to cost {predicted:.0f} bad answers, and may cost {budget.allowed:.0f}: "
            f"{experiment.budget.error_budget:g} % of the {budget.remaining:.0f} that remain",
            may_be_overridden=True,
        )


def _of_domains(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    config = circumstances.config
    mine = domain_of(experiment, config)
    others = [domain_of(other, config) for other in circumstances.running]
    others += [domain_of_rollout(route, config) for route in sorted(circumstances.rollouts)]
    for other in others:
        met = overlap(mine, other)
        if met:
            yield Refusal("slices_meet", met)
        for sentence in conflicts(mine, other):
            yield Refusal("overlap", sentence, may_be_overridden=True)


def _of_steady_state(_experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    for sentence in circumstances.unsteady:
        yield Refusal("steady_state", sentence)


def _of_level(experiment: Experiment, circumstances: Circumstances) -> Iterator[Refusal]:
    number = LEVELS.index(experiment.domain.level)
    if number and LEVELS[number - 1] not in circumstances.completed:
        before = LEVELS[number - 1]
        sentence = f"level {experiment.domain.level} (L{number + 1}) comes after a completed run of {experiment.name} at level {before} (L{number})"
        yield Refusal("level", sentence, may_be_overridden=True)
    if number and not experiment.domain.cells:
        yield Refusal("level_cells", f"level {experiment.domain.level} needs domain.cells: what it is confined to")


RULES: Final[tuple[Callable[[Experiment, Circumstances], Iterable[Refusal]], ...]] = (
    _of_the_instance, _of_the_owner, _of_its_size, _of_its_names, _of_abort_conditions, _of_units, _of_budget, _of_domains, _of_steady_state,
    _of_level,
)  # fmt: skip
"""In the order in which people are told."""
