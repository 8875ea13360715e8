"""Quantiles of two unpaired arms, with intervals that hold at every moment (STATISTICS C5).

Latencies come as log-bucket sketches or, where they are few, as the values themselves. A
`Sample` is either: ascending cells, each with a count, where a value in a cell lies in
(low, high]. With bucketed values everything stays valid, because counts at edges are exact:
an interval ends at the outer edge of a bucket, which costs its width (2 %) and nothing else.

Nothing here assumes a distribution, equal shapes or equal sizes of the arms; what is assumed
is that an arm's values are identically distributed and independent. Pairs need no such thing:
prefer `symmetry`, `mcnemar` and SLO crossings where requests are mirrored.

Source: Howard and Ramdas, Sequential estimation of quantiles (Bernoulli 2022).
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, exp, floor, log
from typing import TYPE_CHECKING, Final

from shadowproxy import logbuckets
from shadowproxy.judge.boundaries import BetaBinomialMixture, least

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

T_OPT: Final = 1000
"""Samples of an arm at which intervals are narrowest: about what a verdict takes."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What one arm was seen to do.

    `keys` ascend and compare between samples of the same kind (bucket numbers, or values);
    `below` counts the values in a cell or under it. `least` is what no value goes under, if known.
    """

    keys: tuple[float, ...]
    lows: tuple[float, ...]
    highs: tuple[float, ...]
    below: tuple[int, ...]
    least: float | None = None

    @property
    def count(self) -> int:
        """How many values were seen."""
        return self.below[-1] if self.below else 0

    def shares(self, key: float) -> tuple[float, float]:
        """The share of values in lower cells than `key`, and the share that is not in higher ones."""
        at = bisect_left(self.keys, key)
        under = self.below[at - 1] if at else 0
        upto = self.below[at] if at < len(self.keys) and self.keys[at] == key else under
        return under / self.count, upto / self.count

    def cell(self, rank: int) -> int:
        """The cell that the value of `rank` (from 1 to `count`) is in."""
        return bisect_left(self.below, rank)


def from_sketch(sketch: Mapping[int, int]) -> Sample:
    """The sample that a sketch of durations counted, in nanoseconds."""
    buckets = sorted(bucket for bucket, count in sketch.items() if count)
    return Sample(
        tuple(buckets),
        tuple(logbuckets.lower_edge(bucket) for bucket in buckets),
        tuple(logbuckets.upper_edge(bucket) for bucket in buckets),
        tuple(accumulate(sketch[bucket] for bucket in buckets)),
        least=0.0,
    )


def from_values(values: Iterable[float]) -> Sample:
    """The sample of these very values, in any order."""
    counts: dict[float, int] = {}
    for value in values:
        counts[value] = counts.get(value, 0) + 1
    ordered = tuple(sorted(counts))
    return Sample(ordered, ordered, ordered, tuple(accumulate(counts[value] for value in ordered)))


@dataclass(frozen=True, slots=True)
class Interval:
    """From `low` to `high`, both included; None where nothing bounds it."""

    low: float | None
    high: float | None

    def __contains__(self, value: float) -> bool:
        return (self.low is None or self.low <= value) and (self.high is None or value <= self.high)


def interval(sample: Sample, p: float, alpha: float = 0.05, t_opt: float = T_OPT) -> Interval:
    """Where the `p` quantile is, with probability 1 - `alpha` at all moments together.

    Args:
        sample: what was seen so far.
        p: which quantile, in (0, 1).
        alpha: probability that the interval ever misses it, in (0, 1).
        t_opt: the number of values at which it is narrowest.

    Raises:
        ValueError: `p`, `alpha` or `t_opt` is out of range.

    """
    _check(p, alpha, t_opt)
    t = sample.count
    if not t:
        return Interval(sample.least, None)
    variance = p * (1 - p)
    threshold = log(1 / alpha)
    above = BetaBinomialMixture.tuned(variance * t_opt, alpha, g=1 - p, h=p).bound(variance * t, threshold)
    under = BetaBinomialMixture.tuned(variance * t_opt, alpha, g=p, h=1 - p).bound(variance * t, threshold)
    # With fewer than `above` values up to x below what is expected, x is ruled out; the first that is not is a rank.
    low = sample.least if above > t * p else sample.lows[sample.cell(floor(t * p - above + 1))]
    high = None if t * p + under > t else sample.highs[sample.cell(ceil(t * p + under))]
    return Interval(low, high)


def difference(live: Sample, shadow: Sample, p: float, alpha: float = 0.05, t_opt: float = T_OPT) -> Interval:
    """Where the shadow's `p` quantile minus live's is, at all moments together; half of `alpha` for each arm."""
    of_live, of_shadow = interval(live, p, alpha / 2, t_opt), interval(shadow, p, alpha / 2, t_opt)
    low = None if of_shadow.low is None or of_live.high is None else of_shadow.low - of_live.high
    high = None if of_shadow.high is None or of_live.low is None else of_shadow.high - of_live.low
    return Interval(low, high)


def ratio(live: Sample, shadow: Sample, p: float, alpha: float = 0.05, t_opt: float = T_OPT) -> Interval:
    """Where the shadow's `p` quantile divided by live's is; for values that are not negative."""
    of_live, of_shadow = interval(live, p, alpha / 2, t_opt), interval(shadow, p, alpha / 2, t_opt)
    low = 0.0 if of_shadow.low is None or not of_live.high else max(0.0, of_shadow.low) / of_live.high
    high = None if of_shadow.high is None or of_live.low is None or of_live.low <= 0 else of_shadow.high / of_live.low
    return Interval(low, high)


def log_e_equal(live: Sample, shadow: Sample, p: float, t_opt: float = T_OPT, alpha_opt: float = 0.05) -> float:
    """The logarithm of the e-process against "both arms have the same `p` quantile".

    It is the least, over every value that could be that quantile, of the two arms' evidence
    against it. Inside a bucket each arm is given the share that accuses it least, so that
    bucketing can only lower the evidence. 0.0 while an arm is empty.

    Raises:
        ValueError: `p`, `alpha_opt` or `t_opt` is out of range.

    """
    _check(p, alpha_opt, t_opt)
    if not live.count or not shadow.count:
        return 0.0
    mixture = BetaBinomialMixture.tuned(t_opt * p * (1 - p), alpha_opt, g=p, h=1 - p)
    arms = [(sample, *_evidence(mixture, p, sample.count)) for sample in (live, shadow)]
    lowest: float | None = None
    for key in sorted({*live.keys, *shadow.keys}):
        total = 0.0
        for sample, log_e, mildest in arms:
            under, upto = sample.shares(key)
            total += log_e(min(max(mildest, under), upto))
        if lowest is None or total < lowest:
            lowest = total
    return lowest or 0.0


def p_value_equal(live: Sample, shadow: Sample, p: float, t_opt: float = T_OPT, alpha_opt: float = 0.05) -> float:
    """A p-value for "both arms have the same `p` quantile" that may be read at any moment."""
    return exp(min(0.0, -log_e_equal(live, shadow, p, t_opt, alpha_opt)))


def _evidence(mixture: BetaBinomialMixture, p: float, count: int) -> tuple[Callable[[float], float], float]:
    """An arm's evidence against a candidate that a given share is below, and the share with the least of it."""

    def log_e(share: float) -> float:
        return mixture.log_e((share - p) * count, p * (1 - p) * count)

    return log_e, least(log_e, 0.0, 1.0)


def _check(p: float, alpha: float, t_opt: float) -> None:
    if not (0 < p < 1 and 0 < alpha < 1 and t_opt > 0):
        raise ValueError(f"no interval for quantile {p} at alpha {alpha}, tuned to {t_opt}")
