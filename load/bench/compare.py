"""The comparison: every scenario, every proxy, in turns."""

from __future__ import annotations

import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from math import isnan
from pathlib import Path
from typing import TYPE_CHECKING

from load.bench import openloop, wrk
from load.bench.latencies import Latencies
from load.bench.origins import NginxOrigin, Origin, PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import BenchError, Cpus
from load.bench.proxies import OURS, Instance, NotInstalled, Proxy, Setup
from load.bench.results import Measurement
from load.bench.scenarios import HEADERS, Scenario, Shadow, varied, varied_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from load.bench.openloop import Sample
    from load.bench.wrk import ClosedLoop

WARM_UP_S = 1
MIRRORED_LEAST = 0.95


@dataclass(frozen=True, slots=True)
class Plan:
    """How much of everything.

    Args:
        seconds: closed-loop load per measurement, whole seconds.
        open_seconds: open-loop load per measurement; 0 leaves it out.
        rate: requests a second of the open loop; 0 takes each scenario's own.
        repeat: rounds.
        connections: of the load, in both loops.
    """

    seconds: int = 4
    open_seconds: float = 3.0
    rate: int = 0
    repeat: int = 3
    connections: int = 64


def installed(proxies: Sequence[Proxy]) -> tuple[dict[str, str], dict[str, str]]:
    """Versions of what is installed, and reasons why the rest is not, by name."""
    versions: dict[str, str] = {}
    absent: dict[str, str] = {}
    for proxy in proxies:
        try:
            versions[proxy.name] = proxy.version()
        except NotInstalled as error:
            absent[proxy.name] = str(error)
    return versions, absent


def origins_of(scenario: Scenario, directory: Path, cpus: Cpus) -> tuple[Origin, Origin | None]:
    """The live origin and the shadow of a scenario, not yet started.

    nginx answers without reading a request body, so uploads go to the origin that reads.
    """
    live: Origin = PythonOrigin("live", directory, cpus) if scenario.upload else NginxOrigin("live", directory, cpus)
    if scenario.shadow is Shadow.OFF:
        return live, None
    if scenario.shadow is Shadow.HANGS:
        return live, PythonOrigin("shadow", directory, cpus, mode="hang")
    return live, PythonOrigin("shadow", directory, cpus) if scenario.upload else NginxOrigin("shadow", directory, cpus)


VARIED_REQUESTS = 20000
"""Different requests of the open-loop part of a varied scenario, sent in turn."""


def requests_of(scenario: Scenario) -> bytes | tuple[bytes, ...]:
    """What the open-loop part sends."""
    if scenario.is_varied:
        return tuple(openloop.request_of(scenario, varied(number), varied_path(scenario, number)) for number in range(VARIED_REQUESTS))
    return openloop.request_of(scenario, HEADERS)


def judge(scenario: Scenario, closed: ClosedLoop, opened: Sample | None, mirrored: float) -> list[str]:
    """Why a measurement may not count; empty when it does.

    With a hanging shadow, errors are what is being measured; they are shown, and disqualify nobody but us.
    """
    problems: list[str] = []
    if closed.requests == 0:
        problems.append("no request was answered")
    if scenario.shadow is not Shadow.HANGS:
        if closed.errors:
            problems.append(f"closed loop: {closed.errors}")
        if opened and opened.errors:
            problems.append(f"open loop: {dict(opened.errors)}")
    if scenario.shadow is Shadow.ANSWERS and mirrored < MIRRORED_LEAST:
        problems.append(f"only {mirrored:.1%} of the requests reached the shadow")
    return problems


def measure(proxy: Proxy, scenario: Scenario, plan: Plan, *, number: int, cpus: Cpus, directory: Path) -> Measurement:
    """Start origins and a proxy, load them, stop them.

    Raises:
        BenchError: something could not be started or ended during the run.
    """
    with ExitStack() as stack:
        live, shadow = origins_of(scenario, directory, cpus)
        stack.enter_context(live)
        if shadow:
            stack.enter_context(shadow)
        setup = Setup(port=free_port(), live=live.port, shadow=shadow.port if shadow else None, directory=directory)
        instance = stack.enter_context(Instance(proxy, setup, cpus))
        wrk.run(scenario, instance.port, seconds=WARM_UP_S, connections=plan.connections, directory=directory, cpus=cpus)
        time.sleep(0.2)
        live_before, shadow_before = live.arrivals(), shadow.arrivals() if shadow else None
        cpu, control, began = instance.cpu_ns(), instance.control_cpu_ns(), time.monotonic_ns()
        closed = wrk.run(scenario, instance.port, seconds=plan.seconds, connections=plan.connections, directory=directory, cpus=cpus)
        cpu, control, took = instance.cpu_ns() - cpu, instance.control_cpu_ns() - control, time.monotonic_ns() - began
        mirrored, connections = float("nan"), float("nan")
        if shadow and shadow_before:
            live_seen = (live.arrivals() - live_before).requests
            shadow_seen = shadow.wait_for(shadow_before.requests + live_seen) - shadow_before
            mirrored = shadow_seen.requests / max(1, live_seen)
            connections = shadow_seen.connections / max(1, shadow_seen.requests)
        opened = open_loop(scenario, instance, plan) if plan.open_seconds else None
        instance.check()
        doubts = [f"no latencies: {openloop.LATE}"] if opened and opened.is_late else []
        latencies = opened.latencies if opened and not opened.is_late else Latencies()
        requests = max(1, closed.requests)
        errors = dict(closed.errors)
        for kind, count in opened.errors.items() if opened else ():
            errors[f"open {kind}"] = count
        return Measurement(
            scenario=scenario.name,
            proxy=proxy.name,
            round=number,
            cpu_us=cpu / requests / 1000,
            control_cpu_us=control / requests / 1000,
            busy=cpu / took,
            rate=closed.rate,
            closed_p50_us=closed.p50_us,
            closed_p99_us=closed.p99_us,
            closed_p999_us=closed.p999_us,
            open_p50_us=latencies.quantile_us(0.5),
            open_p99_us=latencies.quantile_us(0.99),
            open_p999_us=latencies.quantile_us(0.999),
            open_lateness_p99_us=opened.lateness.quantile_us(0.99) if opened else float("nan"),
            peak_bytes=instance.peak_bytes(),
            mirrored=mirrored,
            shadow_connections=connections,
            errors=errors,
            problems=[*judge(scenario, closed, opened, mirrored), *judge_ours(proxy, scenario, errors)],
            doubts=doubts,
        )


def judge_ours(proxy: Proxy, scenario: Scenario, errors: dict[str, int]) -> list[str]:
    """Our own proxy must not show an error whatever the shadow does (promise P1)."""
    if proxy.name in OURS and scenario.shadow is Shadow.HANGS and errors:
        return [f"a hanging shadow cost live: {errors}"]
    return []


def open_loop(scenario: Scenario, instance: Instance, plan: Plan) -> Sample:
    """The fixed-rate part of a measurement."""
    load = openloop.Load(
        port=instance.port,
        request=requests_of(scenario),
        answer=scenario.answer,
        rate=plan.rate or scenario.rate,
        seconds=plan.open_seconds,
        connections=plan.connections,
    )
    return openloop.run(load)


def run(
    scenarios: Sequence[Scenario], proxies: Sequence[Proxy], plan: Plan, cpus: Cpus, say: Callable[[str], None]
) -> Iterator[Measurement]:
    """Measure everything, one round after the other; a failure is a measurement too."""
    for number in range(1, plan.repeat + 1):
        for scenario in scenarios:
            # The order turns with each round, so that no proxy always follows the same one.
            turn = (number - 1) % len(proxies)
            for proxy in [*proxies[turn:], *proxies[:turn]]:
                measurement = attempt(proxy, scenario, number, plan, cpus)
                say(describe(measurement, plan))
                yield measurement


def attempt(proxy: Proxy, scenario: Scenario, number: int, plan: Plan, cpus: Cpus) -> Measurement:
    """`measure` in a directory of its own; what goes wrong becomes a problem of the measurement."""
    with tempfile.TemporaryDirectory(prefix="shadowproxy-bench-") as directory:
        try:
            return measure(proxy, scenario, plan, number=number, cpus=cpus, directory=Path(directory))
        except BenchError as error:
            return Measurement(scenario=scenario.name, proxy=proxy.name, round=number, problems=[str(error)])


def describe(measurement: Measurement, plan: Plan) -> str:
    """One line of progress."""
    head = f"{measurement.round}/{plan.repeat} {measurement.scenario:14} {measurement.proxy:12}"
    if measurement.problems:
        return f"{head} FAILED: {'; '.join(measurement.problems)}"
    figures = f"{measurement.cpu_us:7.1f} us/request {measurement.rate:8.0f}/s  busy {measurement.busy:4.0%}"
    mirrored = "" if isnan(measurement.mirrored) else f"  mirrored {measurement.mirrored:.1%}"
    return f"{head} {figures}  open p50 {measurement.open_p50_us:.0f} p99 {measurement.open_p99_us:.0f} us{mirrored}"
