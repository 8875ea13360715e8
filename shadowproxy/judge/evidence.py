"""Everything that one mirror has shown since its evidence began: fed one tick at a time.

An alarm, once given, stays for the epoch: an e-process that has reached 1/alpha has shown what it has shown, and its
chance of doing so falsely was alpha over the whole run. SAFE is not kept: it needs the evidence of now.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Any

from shadowproxy.judge import sketch
from shadowproxy.judge.calibration import Calibration, Sampling
from shadowproxy.judge.criteria import BODIES, BODIES_WEIGHT
from shadowproxy.judge.multiplicity import mean_log_e
from shadowproxy.judge.pairs import PairEvidence, Part, Tick, log_ratio_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from shadowproxy.judge.criteria import Criteria
    from shadowproxy.judge.sketch import Sketch


@dataclass(frozen=True, slots=True)
class Alarm:
    """The moment when the evidence was first enough."""

    pairs: int
    log_e: float
    cause: str


class MirrorEvidence:
    """Everything that one mirror has shown since its evidence began."""

    def __init__(self, criteria: Criteria) -> None:
        self.criteria = criteria
        self.pairs = PairEvidence(criteria)
        self.calibration = Calibration(criteria) if criteria.has_control else None
        share = criteria.sampled
        self.sampling = Sampling(share) if share is not None and 0.0 < share < 1.0 else None
        self.eligible = 0
        self.fates: Counter[str] = Counter()
        self.live_last: Sketch = {}
        self.shadow_last: Sketch = {}
        self.left_out_last: Sketch = {}
        self.log_e_bodies = 0.0
        self.log_e_bodies_before = 0.0
        self.alarm: Alarm | None = None

    def __repr__(self) -> str:
        return f"<MirrorEvidence {self.pairs!r} alarm={self.alarm}>"

    @property
    def coverage(self) -> float | None:
        """Pairs as a share of the eligible requests; None while there are none. Pairs from before the evidence began do not count twice."""
        return min(1.0, self.pairs.pairs / self.eligible) if self.eligible else None

    def add(self, counted: Mapping[str, Any]) -> None:
        """Count one tick: what a worker reports of the mirror (dataplane.messages). Fields that are absent count nothing."""
        fates = counted.get("fates", {})
        eligible = counted.get("eligible", 0)
        self.eligible += eligible
        self.fates.update(fates)
        for into, name in ((self.live_last, "live_last"), (self.shadow_last, "shadow_last"), (self.left_out_last, "shed_last")):
            sketch.add(into, {int(bucket): count for bucket, count in counted.get(name, {}).items()})
        if self.sampling is not None:
            self.sampling.add(eligible, fates)
        compared = counted.get("versus", {}) if self.criteria.has_control else counted
        if compared.get("matrix"):
            self.pairs.add(Tick.from_tally(compared))
            self._look()

    def add_control(self, counted: Mapping[str, Any]) -> None:
        """Count one tick of the control arm: live against control."""
        if self.calibration is not None and counted.get("matrix"):
            self.calibration.add(Tick.from_tally(counted), log_ratio_of(counted.get("back", {})))

    def note_bodies(self, log_e: float) -> None:
        """Take the evidence of the fields that differ, as one log e-value of an e-process over all fields.

        Its counts begin anew with the process, so it goes on from what it had come to: an e-process that is stopped, times one
        that begins then, is one. To begin at 1 again would give back what was bet and lost.
        """
        self.log_e_bodies = self.log_e_bodies_before + log_e
        self._look()

    def regression_parts(self) -> list[Part]:
        """Every test for a regression that counts, with its weight; weights sum to one."""
        parts = self.pairs.regression_parts()
        if self.criteria.are_bodies_judged:
            parts.append(Part(BODIES, BODIES_WEIGHT, self.log_e_bodies))
        total = sum(part.weight for part in parts)
        return [Part(part.name, part.weight / total, part.log_e) for part in parts]

    def _look(self) -> None:
        if self.alarm is None:
            parts = self.regression_parts()
            log_e = combined(parts)
            if log_e >= self.criteria.threshold:
                self.alarm = Alarm(self.pairs.pairs, log_e, largest(parts).name)


def combined(parts: Iterable[Part]) -> float:
    """The log of the weighted mean of e-values: an e-value, whatever their dependence (C8)."""
    return mean_log_e([(part.weight, part.log_e) for part in parts])


def largest(parts: Iterable[Part]) -> Part:
    """The part that adds most to the mean."""
    return max(parts, key=lambda part: part.log_e + log(part.weight))
