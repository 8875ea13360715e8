"""Many tests at once (STATISTICS C8).

An e-value is what a bet against the null returned per unit staked. Two facts carry everything here, whatever the
dependence between the tests: the mean of e-values is an e-value, and the e-BH procedure bounds the share of false
discoveries.
"""

from __future__ import annotations

from math import inf, log
from typing import TYPE_CHECKING

from shadowproxy.judge.special import log_sum_exp

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


def mean_log_e(parts: Iterable[tuple[float, float]]) -> float:
    """The log of the weighted mean of e-values: evidence that *some* null is false.

    Args:
        parts: weight and log e-value of each. Weights are relative: leaving a part out gives its weight to the others
            in proportion. They must not depend on the outcomes.

    Returns:
        0 for no parts, which is no evidence.

    Raises:
        ValueError: a weight is negative, or all are 0.
    """
    listed = list(parts)
    if not listed:
        return 0.0
    if any(weight < 0.0 for weight, _ in listed):
        raise ValueError(f"weights cannot be negative: {[weight for weight, _ in listed]}")
    total = sum(weight for weight, _ in listed)
    if total <= 0.0:
        raise ValueError("at least one weight must be positive")
    return log_sum_exp(log(weight / total) + log_e for weight, log_e in listed if weight > 0.0 and log_e > -inf)


def ebh(log_es: Sequence[float], alpha: float) -> list[int]:
    """Which nulls to reject so that on average at most a share `alpha` of the rejected are true (e-BH).

    Rejected are the k with the most evidence, for the greatest k whose weakest e-value is at least m / (k alpha).

    Returns:
        Indices into `log_es`, most evidence first.

    Raises:
        ValueError: `alpha` is not between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    ranked = sorted(range(len(log_es)), key=lambda index: (-log_es[index], index))
    for kept in range(len(ranked), 0, -1):
        if log_es[ranked[kept - 1]] >= log(len(ranked)) - log(kept * alpha):
            return ranked[:kept]
    return []
