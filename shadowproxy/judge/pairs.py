"""What pairs of a baseline and the shadow have shown so far: sums over ticks.

A **tick** is what one worker reports at once: pairs in their order of arrival (STATISTICS C1). Everything here is a sum
over ticks, in any order, of any number of workers; every bet was laid before the first.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from shadowproxy.judge import mcnemar, sketch, symmetry
from shadowproxy.judge.betting import RiskDifference
from shadowproxy.judge.criteria import ERRORS, ERRORS_WEIGHT, LATENCY, LATENCY_WEIGHT, RHO, SLO_WEIGHT, SYMMETRY_SHARE, slo_name
from shadowproxy.judge.detectors import ShiryaevRoberts
from shadowproxy.judge.multiplicity import mean_log_e
from shadowproxy.judge.symmetry import LogRatio

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.judge.criteria import Criteria
    from shadowproxy.judge.sketch import Sketch


def is_error(outcome: str) -> bool:
    """Whether an outcome is the server's failure: a 5xx, or no whole answer. The client leaving is not."""
    return outcome.startswith("5") if outcome.isdigit() else outcome != "client_gone"


@dataclass(frozen=True, slots=True)
class Part:
    """One test that has its say: its name, its weight in the mean and its log e-value."""

    name: str
    weight: float
    log_e: float


@dataclass(frozen=True, slots=True)
class Tick:
    """The pairs of two arms that one report admitted.

    `matrix` has (baseline outcome, shadow outcome) counts, `ratio` and `buckets` the log ratios of those pairs
    that both arms answered, `slo` per threshold in nanoseconds how often only (the baseline, the shadow) took longer.
    """

    matrix: Mapping[tuple[str, str], int]
    ratio: LogRatio
    buckets: Mapping[int, int]
    slo: Mapping[int, tuple[int, int]]

    @classmethod
    def from_tally(cls, counted: Mapping[str, Any]) -> Tick:
        """A tick as a worker writes it (dataplane.messages); what is absent counts nothing.

        The counts of shadow against control have the sums of ratios beside the matrix, a mirror's own one level deeper.
        """
        cells = {}
        for cell, count in counted["matrix"].items():
            baseline, _, shadow = cell.partition(",")
            cells[baseline, shadow] = count
        ratio = counted.get("ratio", counted)
        slo: Mapping[str, Sequence[int]] = counted.get("slo", {})
        return cls(
            cells,
            log_ratio_of(ratio),
            {int(bucket): count for bucket, count in ratio.get("buckets", {}).items()},
            {int(threshold): (int(one[0]), int(one[1])) for threshold, one in slo.items()},
        )


class Crossings:
    """How often only one arm took longer than one threshold."""

    __slots__ = ("baseline_only", "risk", "shadow_only", "threshold_ns")

    def __init__(self, threshold_ns: int, criteria: Criteria) -> None:
        self.threshold_ns = threshold_ns
        self.baseline_only = 0
        self.shadow_only = 0
        self.risk = RiskDifference((criteria.errors_safe,))

    def add(self, pairs: int, baseline_only: int, shadow_only: int) -> None:
        """Count one tick of `pairs` pairs."""
        self.baseline_only += baseline_only
        self.shadow_only += shadow_only
        self.risk.update(shadow_only, pairs - shadow_only - baseline_only, baseline_only)

    @property
    def log_e_regression(self) -> float:
        """Evidence that the shadow crosses the threshold more often (C2)."""
        return mcnemar.log_e_one_sided(self.shadow_only, self.baseline_only)


class PairEvidence:
    """What the pairs of a baseline (live, or the control arm) and the shadow have shown."""

    __slots__ = (
        "baseline_errors", "baseline_only", "buckets", "criteria", "crossings", "detector", "matrix", "pairs", "ratio", "risk", "shadow_errors",
        "shadow_only",
    )  # fmt: skip

    def __init__(self, criteria: Criteria) -> None:
        self.criteria = criteria
        self.pairs = 0
        self.baseline_errors = 0
        self.shadow_errors = 0
        self.baseline_only = 0
        self.shadow_only = 0
        self.matrix: Counter[tuple[str, str]] = Counter()
        self.risk = RiskDifference((criteria.errors_safe, criteria.errors_regression))
        self.ratio = LogRatio(0, 0.0, 0.0)
        self.buckets: Sketch = {}
        self.crossings = {threshold: Crossings(threshold, criteria) for threshold in criteria.slo_ns}
        self.detector = ShiryaevRoberts()

    def __repr__(self) -> str:
        return f"<PairEvidence pairs={self.pairs} baseline_only={self.baseline_only} shadow_only={self.shadow_only}>"

    def add(self, tick: Tick) -> None:
        """Count one tick."""
        pairs = baseline_only = shadow_only = both = 0
        for (baseline, shadow), count in tick.matrix.items():
            pairs += count
            is_baseline, is_shadow = is_error(baseline), is_error(shadow)
            if is_baseline and is_shadow:
                both += count
            elif is_baseline:
                baseline_only += count
            elif is_shadow:
                shadow_only += count
            self.matrix[baseline, shadow] += count
        self.pairs += pairs
        self.baseline_errors += baseline_only + both
        self.shadow_errors += shadow_only + both
        self.baseline_only += baseline_only
        self.shadow_only += shadow_only
        self.risk.update(shadow_only, pairs - shadow_only - baseline_only, baseline_only)
        self.detector.update(shadow_only, baseline_only)
        self.ratio = self.ratio + tick.ratio
        sketch.add(self.buckets, tick.buckets)
        for threshold, crossings in self.crossings.items():
            one = tick.slo.get(threshold, (0, 0))
            crossings.add(pairs, *one)

    @property
    def log_e_errors(self) -> float:
        """Evidence that the shadow fails more often, by more than the margin (C2, with a margin C3)."""
        if self.criteria.errors_regression > 0:
            return self.risk.log_worse(self.criteria.errors_regression)
        return mcnemar.log_e_one_sided(self.shadow_only, self.baseline_only)

    @property
    def log_e_slower(self) -> float:
        """Evidence that answers are slower by more than the margin, by symmetry (C4)."""
        return symmetry.log_e_above(self.ratio, self.criteria.slower, RHO)

    @property
    def signs(self) -> tuple[int, int]:
        """How many answers were slower than the margin, and how many were not; where a bucket straddles it, not."""
        return symmetry.signs(self.buckets, self.criteria.slower)

    @property
    def log_e_sign(self) -> float:
        """The same by the signs alone, which asks for no symmetry."""
        return mcnemar.log_e_one_sided(*self.signs)

    @property
    def log_e_not_slower(self) -> float:
        """Evidence that answers are slower by less than the margin of SAFE."""
        return symmetry.log_e_below(self.ratio, self.criteria.slower_safe, RHO)

    @property
    def log_e_not_failing(self) -> float:
        """Evidence that the shadow's share of errors is worse by less than the margin of SAFE."""
        return self.risk.log_not_worse(self.criteria.errors_safe)

    @property
    def log_e_latency(self) -> float:
        """Evidence that answers are slower: of the symmetry test and the sign test together.

        Against live, the shadow is always the second leg: on a busy machine a few of its answers are late by that alone, which is no
        symmetry. So the mean is not believed where more than half of the answers are within the margin; a condition only ever lowers
        the chance of an alarm. A control arm is a copy too, and what is late there is late by itself.
        """
        latency = mean_log_e([(SYMMETRY_SHARE, self.log_e_slower), (1 - SYMMETRY_SHARE, self.log_e_sign)])
        above, below = self.signs
        return latency if self.criteria.has_control or above > below else min(0.0, latency)

    def regression_parts(self) -> list[Part]:
        """Every test for a regression, with its weight."""
        parts = [Part(ERRORS, ERRORS_WEIGHT, self.log_e_errors)]
        parts.append(Part(LATENCY, LATENCY_WEIGHT if self.crossings else LATENCY_WEIGHT + SLO_WEIGHT, self.log_e_latency))
        share = SLO_WEIGHT / max(1, len(self.crossings))
        parts += [Part(slo_name(threshold), share, one.log_e_regression) for threshold, one in self.crossings.items()]
        return parts

    def safety_parts(self) -> list[Part]:
        """Every non-inferiority test; SAFE needs all of them."""
        parts = [Part(ERRORS, 1.0, self.log_e_not_failing), Part(LATENCY, 1.0, self.log_e_not_slower)]
        safe = self.criteria.errors_safe
        return parts + [Part(slo_name(threshold), 1.0, one.risk.log_not_worse(safe)) for threshold, one in self.crossings.items()]


def log_ratio_of(sums: Mapping[str, Any]) -> LogRatio:
    """The sums of log ratios as a worker writes them; what is absent counts nothing."""
    return LogRatio(int(sums.get("n", 0)), float(sums.get("s1", 0.0)), float(sums.get("s2", 0.0)))
