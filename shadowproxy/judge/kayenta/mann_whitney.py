"""By how much one sample is shifted against another: the Mann-Whitney (Wilcoxon rank-sum) test, inverted.

As R's ``wilcox.test(x, y, conf.int = TRUE, exact = FALSE)``: the normal approximation with corrections for ties and
continuity; the interval ends where the standardised rank sum of shifted values crosses a normal quantile, and the
estimate (Hodges-Lehmann, approximately) where it crosses 0. STATISTICS C13.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, sqrt
from statistics import NormalDist
from typing import TYPE_CHECKING

from shadowproxy.judge.kayenta.brent import root

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Shift:
    """Experiment less control: the estimate, and the interval that the test does not rule out."""

    low: float
    high: float
    estimate: float


def shift(experiment: Sequence[float], control: Sequence[float], confidence: float) -> Shift | None:
    """The shift of `experiment` against `control`, both with one finite value or more.

    Args:
        experiment: the values of the one sample.
        control: the values of the other.
        confidence: of the interval, in (0, 1).

    Returns:
        None where it is not defined: each sample is one value only, as far as a float can tell beside the shift, or the
        numbers overflow.

    """
    if len({*experiment}) == 1 and len({*control}) == 1:
        return None
    low, high = min(experiment) - max(control), max(experiment) - min(control)
    if not isfinite(high - low):
        return None
    z = -NormalDist().inv_cdf((1 - confidence) / 2)
    try:
        return Shift(
            low=_crossing(experiment, control, z, low, high),
            high=_crossing(experiment, control, -z, low, high),
            estimate=_centre(experiment, control, low, high),
        )
    except ZeroDivisionError:
        # Values that differ by less than the shift's last digit are one value once shifted.
        return None


def _crossing(experiment: Sequence[float], control: Sequence[float], z: float, low: float, high: float) -> float:
    at_low = standardised(experiment, control, low) - z
    at_high = standardised(experiment, control, high) - z
    if at_low <= 0:
        return low
    if at_high >= 0:
        return high
    return root(lambda mu: standardised(experiment, control, mu) - z, low, high, at_low, at_high)


def _centre(experiment: Sequence[float], control: Sequence[float], low: float, high: float) -> float:
    at_low, at_high = standardised(experiment, control, low), standardised(experiment, control, high)
    return root(lambda mu: standardised(experiment, control, mu), low, high, at_low, at_high)


def standardised(experiment: Sequence[float], control: Sequence[float], mu: float) -> float:
    """The rank sum of `experiment` less `mu` among both samples, standardised: about a standard normal if `mu` is the shift.

    Raises:
        ZeroDivisionError: all values are one once shifted.

    """
    m, n = len(experiment), len(control)
    total, ties = rank_sum([value - mu for value in experiment], control)
    centred = total - m * (m + 1) / 2 - m * n / 2
    correction = 0.5 if centred > 0 else -0.5 if centred < 0 else 0.0
    sigma = sqrt((m * n / 12) * ((m + n + 1) - ties / ((m + n) * (m + n - 1))))
    return (centred - correction) / sigma


def rank_sum(sample: Sequence[float], other: Sequence[float]) -> tuple[float, float]:
    """The sum of the ranks (from 1, ties shared) of `sample` among both, and the sum of t³ - t over ties of t values."""
    tagged = sorted([(value, 1) for value in sample] + [(value, 0) for value in other])
    total, ties = 0.0, 0.0
    start = 0
    while start < len(tagged):
        end = start
        members = 0
        while end < len(tagged) and tagged[end][0] == tagged[start][0]:
            members += tagged[end][1]
            end += 1
        tied = end - start
        total += members * (start + 1 + end) / 2
        ties += float(tied) ** 3 - tied
        start = end
    return total, ties
