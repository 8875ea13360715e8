"""Tallies as a worker writes them (dataplane.messages), of traffic that a seed decides."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import ceil, exp, log
from typing import TYPE_CHECKING, Any

from shadowproxy import logbuckets

if TYPE_CHECKING:
    from random import Random

RESOLUTION_NS = 50_000


@dataclass
class World:
    """What live and shadow do. Requests differ by a factor of e either way, answers of one request by 20 % (STATISTICS C4).

    Durations are around `median_ns`. Live fails with 500 on `live_errors` of the requests, and the shadow on the same ones;
    `new_errors` more of the shadow's end in `new_outcome`. A `control` arm does what live does, with noise of its own.
    """

    rng: Random
    median_ns: float = 10e6
    slower: float = 1.0
    live_errors: float = 0.01
    new_errors: float = 0.0
    new_outcome: str = "504"
    control: bool = False
    control_slower: float = 1.0
    slo_ns: tuple[int, ...] = ()
    hour: int = 0

    def tick(self, pairs: int) -> dict[str, Any]:
        """What a worker reports of the mirror after so many pairs; with a control arm, `control` has what it reports of that."""
        shadow, control = Arms(self.slo_ns), Arms(self.slo_ns)
        versus = Arms(self.slo_ns, resolution_ns=0)
        gauss, random = self.rng.gauss, self.rng.random
        for _ in range(pairs):
            difficulty = self.median_ns * exp(gauss(0.0, 1.0))
            outcome = "500" if random() < self.live_errors else "200"
            worse = self.new_outcome if random() < self.new_errors else outcome
            live_ns = difficulty * exp(gauss(0.0, 0.2))
            shadow_ns = difficulty * exp(gauss(0.0, 0.2)) * self.slower
            shadow.add(outcome, worse, live_ns, shadow_ns)
            if self.control:
                control_ns = difficulty * exp(gauss(0.0, 0.2)) * self.control_slower
                control.add(outcome, outcome, live_ns, control_ns)
                versus.add(outcome, worse, control_ns, shadow_ns)
        reported = shadow.report()
        if self.control:
            reported["versus"] = versus.versus()
            reported["control"] = control.report()
        return reported


class Arms:
    """Counts of the pairs of two arms."""

    def __init__(self, slo_ns: tuple[int, ...] = (), resolution_ns: int = RESOLUTION_NS) -> None:
        self.pairs = 0
        self.matrix: Counter[str] = Counter()
        self.sketches: tuple[Counter[str], Counter[str]] = (Counter(), Counter())
        self.sums = [0.0, 0.0]
        self.back = [0.0, 0.0]
        self.buckets: Counter[str] = Counter()
        self.slo = {threshold: [0, 0] for threshold in slo_ns}
        self.resolution_ns = resolution_ns

    def add(self, first: str, second: str, first_ns: float, second_ns: float) -> None:
        """One pair: outcomes and durations."""
        self.pairs += 1
        self.matrix[f"{first},{second}"] += 1
        for counted, duration in zip(self.sketches, (first_ns, second_ns), strict=True):
            counted[str(logbuckets.bucket(int(duration)))] += 1
        for threshold, only in self.slo.items():
            if (first_ns > threshold) != (second_ns > threshold):
                only[0 if first_ns > threshold else 1] += 1
        if first < "500" and second < "500":
            ratio = log(second_ns / (first_ns + self.resolution_ns))
            self.sums[0] += ratio
            self.sums[1] += ratio * ratio
            self.buckets[str(ceil(ratio / 0.005))] += 1
            back = log((second_ns + self.resolution_ns) / first_ns)
            self.back[0] += back
            self.back[1] += back * back

    @property
    def ratio(self) -> dict[str, Any]:
        """The sums of log ratios."""
        return {"n": self.buckets.total(), "s1": self.sums[0], "s2": self.sums[1], "buckets": dict(self.buckets)}

    def report(self) -> dict[str, Any]:
        """As a mirror's part of a tally."""
        return {
            "eligible": self.pairs, "pending": 0, "fates": {"paired": self.pairs}, "matrix": dict(self.matrix), "ratio": self.ratio,
            "back": {"n": self.buckets.total(), "s1": self.back[0], "s2": self.back[1]},
            "live_last": dict(self.sketches[0]), "shadow_last": dict(self.sketches[1]), "slo": self.crossings(), "lag_ns": 0,
        }  # fmt: skip

    def versus(self) -> dict[str, Any]:
        """As the part that compares the shadow with the control arm."""
        return {**self.ratio, "matrix": dict(self.matrix), "slo": self.crossings()}

    def crossings(self) -> dict[str, list[int]]:
        """Per threshold, how often only one arm was over it."""
        return {str(threshold): list(only) for threshold, only in self.slo.items()}


def matrix_tick(**cells: int) -> dict[str, Any]:
    """A tick that has outcomes only: `matrix_tick(**{"200,504": 6})`."""
    return {"eligible": sum(cells.values()), "fates": {"paired": sum(cells.values())}, "matrix": cells}
