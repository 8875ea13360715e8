"""Traffic of a rollout as workers would tell of it: users with their points, versions with their error rates."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any

from shadowproxy.experiments.rollout import RUNNING, RolloutConductor, RolloutTick
from shadowproxy.logbuckets import bucket
from shadowproxy.policy.splits import CANARY, CONTROL, MORE, RING, SERVED_NEW, compile_split

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.config.experiments import Rollout

SIDES = {CANARY: "canary", CONTROL: "stable", MORE: "more", RING: "ring"}


def side(
    responses: dict[str, int] | None = None, units: list[int] | None = None, failed: list[int] | None = None, ms: float = 10.0
) -> dict[str, Any]:
    """A Side of the protocol, all answers as fast as each other."""
    responses = dict(responses or {})
    last = {str(bucket(round(ms * 1e6))): sum(responses.values())} if responses else {}
    return {
        "requests": sum(responses.values()),
        "responses": responses,
        "last": last,
        "injected": {},
        "units": units or [],
        "failed": failed or [],
    }


def halves(**sides: Any) -> dict[str, Any]:
    """Halves of the protocol, with nothing in what is not given."""
    empty = {"epoch": 1, "outside": 0, "without_unit": 0, **{name: side() for name in SIDES.values()}}
    return {**empty, **sides}


class Traffic:
    """Users who send requests, told to a conductor tick by tick.

    Args:
        rollout: of the config.
        seed: of all chance.
        errors: probability that a request of (is on the new version, second) fails.
        users: how many there are; 0 for requests that are each their own unit.
        rate: requests a second.
    """

    def __init__(self, rollout: Rollout, seed: int, errors: Callable[[bool, float], float], *, users: int = 2000, rate: int = 400) -> None:
        self.conductor = RolloutConductor(rollout)
        self.chance = random.Random(seed)
        self.errors = errors
        self.rate = rate
        self.seconds = 0.0
        self.ticks: list[RolloutTick] = []
        names = [b"user-%d-%d" % (seed, number) for number in range(users)]
        self._plain = {
            "route": "r",
            "to": rollout.to,
            "unit": rollout.key,
            "salt": "",
            "pinned": [],
            "first": list(rollout.first),
            "denied": [],
            "epoch": 1,
        }
        split = compile_split({**self._plain, "percent": 0})
        self._users = [(name, split.digest_of(name)) for name in names]

    def second(self) -> None:
        """One second of traffic, in one tick."""
        split = compile_split({**self._plain, "percent": self.conductor.percent})
        counts: dict[str, Any] = {}
        told = {name: (dict[str, int](), set[int](), set[int]()) for name in SIDES.values()}
        for _ in range(self.rate):
            unit, digest = self.chance.choice(self._users) if self._users else (None, 0)
            at = digest / 2**64 if unit is not None else self.chance.random()
            place = split.place(unit, min(at, 0.999999999))
            has_failed = self.chance.random() < self.errors(place in SERVED_NEW, self.seconds)
            if place not in SIDES:
                continue
            responses, units, failed = told[SIDES[place]]
            outcome = "500" if has_failed else "200"
            responses[outcome] = responses.get(outcome, 0) + 1
            if unit is not None:
                units.add(digest)
                if has_failed:
                    failed.add(digest)
        counts = halves(**{name: side(responses, sorted(units), sorted(failed)) for name, (responses, units, failed) in told.items()})
        self.seconds += 1.0
        tick = RolloutTick(self.seconds, counts)
        self.ticks.append(tick)
        self.conductor.tick(tick)

    def run(self, seconds: int) -> RolloutConductor:
        """Until it is over, or so long."""
        if self.conductor.state == "idle":
            self.conductor.start()
        for _ in range(seconds):
            if self.conductor.state != RUNNING:
                break
            self.second()
        return self.conductor
