"""What must hold inside an experiment, whatever config it runs under; what it names of a config is checked at its admission."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

from shadowproxy.config.addresses import url_denial
from shadowproxy.config.experiment import FRAMING_FIELDS, HeaderFaults, Metric, ProbeKind
from shadowproxy.config.report import child, item

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowproxy.config.experiment import Delay, Experiment, Fault, Guard
    from shadowproxy.config.report import Report

INSTEAD: Final = ("abort", "reset", "half_close", "hang", "black_hole")
"""Of these a fault has one at most: upstream is not asked."""

LARGEST_SHARE: Final = 50.0
"""Percent of the hash space for a slice: its control slice needs as much."""

STEP: Final = 2.0
"""A step of a ramp is at most so many times the one before."""


def check_experiment(experiment: Experiment, report: Report) -> None:
    """Report what contradicts itself, or can never end."""
    inject = experiment.inject
    if not inject.faults and inject.envoy_headers.accept is HeaderFaults.OFF:
        report.error("inject.faults", "nothing goes wrong: name a fault, or accept those that requests ask for (envoy_headers)")
    for index, fault in enumerate(inject.faults):
        _check_fault(fault, item("inject.faults", index), report)
    _check_slice(experiment, report)
    _check_ramp(experiment, report)
    names = [probe.name for probe in experiment.probes]
    for index, probe in enumerate(experiment.probes):
        place = item("probes", index)
        if names.index(probe.name) != index:
            report.error(child(place, "name"), f"another probe is called {probe.name}")
        if (probe.kind is ProbeKind.PROMETHEUS) != bool(probe.query):
            report.error(child(place, "query"), "belongs to kind: prometheus, and that to it")
    _check_urls(experiment, report)
    for index, guard in enumerate(experiment.guards):
        _check_guard(guard, names, item("guards", index), report)
    for index, steady in enumerate(experiment.steady_state):
        place = item("steady_state", index)
        if steady.probe not in names:
            report.error(child(place, "probe"), f"no probe is called {steady.probe}")
        if steady.above is None and steady.below is None and not steady.within:
            report.error(place, "no bound: give above, below or within")
        if steady.seasonal and any(probe.name == steady.probe and probe.kind is not ProbeKind.PROMETHEUS for probe in experiment.probes):
            report.error(child(place, "seasonal"), "only a Prometheus knows past weeks")


def _check_urls(experiment: Experiment, report: Report) -> None:
    """Probes and notifications are written by whoever may start experiments, and must not lead where no endpoint may."""
    urls = {"probes": [probe.url for probe in experiment.probes], "notify": [notify.url for notify in experiment.notify]}
    for section, asked in urls.items():
        for index, url in enumerate(asked):
            denied = url_denial(url)
            if denied is not None:
                report.error(child(item(section, index), "url"), denied)
    for index, probe in enumerate(experiment.probes):
        if probe.kind is ProbeKind.PROMETHEUS and ("?" in probe.url or "#" in probe.url):
            report.error(child(item("probes", index), "url"), "the base of a Prometheus has no query and no fragment")


def _check_fault(fault: Fault, place: str, report: Report) -> None:
    given = [name for name in INSTEAD if getattr(fault, name)]
    if len(given) > 1:
        report.error(place, f"one of {', '.join(given)}: each is in place of upstream's answer")
    for name in ("delay", "first_byte"):
        delay = getattr(fault, name)
        if delay is not None:
            _check_delay(delay, child(place, name), report)
    if fault.abort is not None and (fault.abort.status != 0) == (fault.abort.grpc >= 0):
        report.error(child(place, "abort"), "give one of status and grpc")
    if fault.abort is not None and 0 < fault.abort.status < 200:
        report.error(child(child(place, "abort"), "status"), "an answer's status is 200 to 599")
    if fault.corrupt is not None and bool(fault.corrupt.share) == bool(fault.corrupt.json):
        report.error(child(place, "corrupt"), "give one of share and json")
    changed: dict[str, Iterable[str]] = {}
    if fault.abort is not None:
        changed[child(child(place, "abort"), "headers")] = fault.abort.headers
    if fault.headers is not None:
        changed[child(child(place, "headers"), "set")] = fault.headers.set
        changed[child(child(place, "headers"), "remove")] = fault.headers.remove
    for where, fields in changed.items():
        if FRAMING_FIELDS & {field.lower() for field in fields}:
            report.error(where, f"none of {', '.join(sorted(FRAMING_FIELDS))}: they say where an answer ends")
    on_answer = (fault.first_byte, fault.headers, fault.corrupt, fault.download, fault.dribble, fault.truncate >= 0)
    if not (given or any(on_answer) or fault.delay or fault.throttle or fault.upload):
        report.error(place, "nothing goes wrong")


def _check_delay(delay: Delay, place: str, report: Report) -> None:
    given = [name for name in ("fixed", "uniform", "lognormal", "pareto", "empirical") if getattr(delay, name)]
    if len(given) != 1:
        report.error(place, f"one of fixed, uniform, lognormal, pareto and empirical, not {len(given)}")
    if delay.uniform is not None and delay.uniform.lower > delay.uniform.upper:
        report.error(child(place, "uniform"), "lower is above upper")
    if delay.lognormal is not None and delay.lognormal.p99 < delay.lognormal.median:
        report.error(child(place, "lognormal"), "p99 is below the median")
    if delay.empirical and (len(delay.empirical) < 2 or list(delay.empirical) != sorted(delay.empirical)):
        report.error(child(place, "empirical"), "at least two quantiles, in rising order")


def _check_slice(experiment: Experiment, report: Report) -> None:
    part = experiment.slice
    if part.percent > LARGEST_SHARE:
        report.error("slice.percent", f"{part.percent:g} % leaves no room for a control slice as large: at most {LARGEST_SHARE:g}")
    elif part.offset + 2 * part.percent > 100.0:
        report.error("slice.offset", "the slice and its control slice reach beyond 100 % of the hash space")
    if not part.percent and not part.pinned:
        report.error("slice.percent", "nobody is in the slice")
    if part.pinned and not part.key:
        report.error("slice.pinned", "needs a key: what units are")
    if part.deny and not part.key:
        report.error("slice.deny", "needs a key: what units are")


def _check_ramp(experiment: Experiment, report: Report) -> None:
    steps = experiment.ramp.steps
    if not steps:
        return
    if list(steps) != sorted(set(steps)) or steps[0] <= 0:
        report.error("ramp.steps", "must rise from above 0")
    elif steps[-1] != experiment.slice.percent:
        report.error("ramp.steps", f"the last is {steps[-1]:g}, the slice has {experiment.slice.percent:g} percent")
    elif any(after > STEP * before * (1 + 1e-9) for before, after in pairwise(steps)):
        report.error("ramp.steps", "a step is at most double the one before")


def _check_guard(guard: Guard, probes: list[str], place: str, report: Report) -> None:
    if guard.above is None and guard.below is None:
        report.error(place, "no bound: give above or below")
    if guard.below is not None and guard.metric is not Metric.PROBE:
        report.error(child(place, "below"), "only a probe's value can be too small")
    if (guard.metric is Metric.PROBE) != bool(guard.probe):
        report.error(child(place, "probe"), "belongs to metric: probe, and that to it")
    elif guard.probe and guard.probe not in probes:
        report.error(child(place, "probe"), f"no probe is called {guard.probe}")
