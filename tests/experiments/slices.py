"""What workers tell of two slices, drawn from a seed: rates that rise and fall with the day, bursts that hit both, quiet stretches."""

from __future__ import annotations

from dataclasses import dataclass, field
from math import pi, sin
from typing import TYPE_CHECKING, Any

import numpy as np

from shadowproxy import logbuckets
from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.experiments.conductor import Conductor, Decision, Tick

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowproxy.config.experiment import Experiment

GUARD = {"metric": "units", "above": 1e9}
"""A guard that never trips: an experiment needs one."""


def an_experiment(**changed: Any) -> Experiment:
    """An experiment that is as plain as can be, apart from what is given."""
    plain: dict[str, Any] = {
        "name": "slow-cart",
        "owner": "shop",
        "hypothesis": {"fault": "the cart is slow", "expect": "a fallback", "impact": "none"},
        "inject": {"routes": ["cart"], "faults": [{"delay": "200ms"}]},
        "slice": {"percent": 10, "key": "header:x-user-id"},
        "duration": "1h",
        "guards": [GUARD],
    }
    return experiment_from_plain({**plain, **changed})


def arm(answers: int, errors: int = 0, *, injected: int = 0, buckets: dict[int, int] | None = None) -> dict[str, Any]:
    """An Arm as workers report it, after JSON."""
    responses = {name: count for name, count in (("200", answers - errors), ("503", errors)) if count}
    return {
        "requests": answers + injected,
        "responses": responses,
        "last": {str(bucket): count for bucket, count in (buckets or {}).items()},
        "injected": {"503": injected} if injected else {},
    }


def counts(fault: tuple[int, int], control: tuple[int, int], **more: Any) -> dict[str, Any]:
    """The counts of a tick from (answers, errors) of either slice."""
    return {
        "epoch": 1,
        "fault": arm(*fault),
        "control": arm(*control),
        "outside": 0,
        "faults": {},
        "unharmed": {},
        "seen": fault[0],
        "over": "",
        **more,
    }


@dataclass
class World:
    """Two slices of a service.

    `error_rate` and the requests a second of either slice hold on average; `tides` is how much requests and errors rise and fall in `day_s`,
    `bursts` how many a second begin in which both slices fail on 30 % for half a second, `quiet` the share of stretches of ten seconds without any error.
    `harm(now)` is added to the fault slice's error rate, `incident(now)` to that of both.
    """

    seed: int
    rate: float = 200.0
    error_rate: float = 0.01
    tick_s: float = 0.1
    share: float = 0.5
    tides: float = 0.0
    day_s: float = 600.0
    bursts: float = 0.0
    quiet: float = 0.0
    median_s: float = 0.05
    slower: float = 1.0
    has_latency: bool = False
    harm: Callable[[float], float] = field(default=lambda now: 0.0)
    incident: Callable[[float], float] = field(default=lambda now: 0.0)
    incident_slower: float = 1.0

    def ticks(self, seconds: float, begin: float = 0.0) -> Iterator[Tick]:
        """The ticks of so many seconds."""
        rng = np.random.default_rng(self.seed)
        burst_until = -1.0
        is_quiet = False
        for number in range(int(seconds / self.tick_s)):
            now = begin + (number + 1) * self.tick_s
            wave = 1 + self.tides * sin(2 * pi * now / self.day_s)
            if self.bursts and rng.random() < self.bursts * self.tick_s:
                burst_until = now + 0.5
            if self.quiet and number % round(10 / self.tick_s) == 0:
                is_quiet = bool(rng.random() < self.quiet)
            incident = self.incident(now)
            base = 0.0 if is_quiet else self.error_rate * wave
            both = min(1.0, base + (0.3 if now < burst_until else 0.0) + incident)
            ours = (2 * self.share * self.rate * wave * self.tick_s, 2 * (1 - self.share) * self.rate * wave * self.tick_s)
            fault, control = rng.poisson(ours[0]), rng.poisson(ours[1])
            # Nothing is injected while nothing may be: who plays asks `harm` of the percentage that is in force.
            harmed = min(1.0, both + self.harm(now))
            told = counts((int(fault), int(rng.binomial(fault, harmed))), (int(control), int(rng.binomial(control, both))))
            if self.has_latency:
                factor = self.incident_slower if incident else 1.0
                for name, answers, slower in (("fault", fault, self.slower), ("control", control, 1.0)):
                    told[name]["last"] = latencies(rng, int(answers), self.median_s * slower * factor)
            yield Tick(now, told)


def latencies(rng: np.random.Generator, answers: int, median_s: float) -> dict[str, int]:
    """A sketch of so many lognormal latencies, as JSON has it."""
    found: dict[str, int] = {}
    for value in rng.lognormal(np.log(median_s * 1e9), 0.5, answers):
        bucket = str(logbuckets.bucket(int(value)))
        found[bucket] = found.get(bucket, 0) + 1
    return found


def run(conductor: Conductor, world: World, seconds: float) -> list[tuple[float, Decision]]:
    """Play a world until the run ends, and return what was decided; harm stops while nothing is injected."""
    harm = world.harm
    world.harm = lambda now: harm(now) if conductor.percent > 0 else 0.0
    decided = []
    for tick in world.ticks(seconds):
        decision = conductor.tick(tick)
        if decision.action != "go":
            decided.append((tick.seconds, decision))
        if decision.action == "end":
            break
    return decided
