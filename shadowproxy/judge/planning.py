"""How many more pairs? Where the evidence will be if what comes is like what was.

All evidence here is a function of counts and sums, so its future is the same function of greater ones. These are
projections for people, and no decision rests on them: with few pairs the rates are hardly known. None means that at the
present rates the threshold is never reached, or not within `LIMIT` pairs.
"""

from __future__ import annotations

from math import ceil
from typing import TYPE_CHECKING, Final

from shadowproxy.judge import betting, mcnemar, symmetry

if TYPE_CHECKING:
    from collections.abc import Callable

LIMIT: Final = 10**9
"""Beyond this many more pairs "never" is the more useful answer: it is eleven days at a thousand a second."""

PRIOR: Final = 0.5
"""Pseudo-pairs of either discordance: before any was seen it is rare, not impossible."""

_PRECISION: Final = 0.01


def until(log_e_after: Callable[[float], float], threshold: float) -> int | None:
    """About the least number of further pairs after which evidence is enough.

    Args:
        log_e_after: the log evidence after so many further pairs. It need not be monotone; the search doubles.
        threshold: what is enough.

    Returns:
        0 when it is enough already; None when it is not within `LIMIT`.
    """
    if log_e_after(0.0) >= threshold:
        return 0
    low, high = 0.0, 1.0
    while log_e_after(high) < threshold:
        low, high = high, 2.0 * high
        if high > LIMIT:
            return None
    while high - low > max(0.5, _PRECISION * high):
        middle = 0.5 * (low + high)
        if log_e_after(middle) < threshold:
            low = middle
        else:
            high = middle
    return ceil(high)


def until_margin(risk: betting.RiskDifference, delta: float, direction: betting.Direction, threshold: float) -> int | None:
    """Further pairs until a bet shows `direction` for the margin `delta`.

    None as well without pairs, and while the estimate itself is on the wrong side of the margin.
    """
    estimate = risk.estimate
    if estimate is None or (estimate <= delta if direction is betting.WORSE else estimate >= delta):
        return None
    # For what is to be refuted, discordant pairs yet unseen are a hindrance: leaving them out would be too hopeful.
    up, down = _rates(risk)

    def log_e_after(more: float) -> float:
        plus, minus = risk.plus + up * more, risk.minus + down * more
        return betting.log_capital(plus, risk.zero + (1.0 - up - down) * more, minus, delta, direction)

    return until(log_e_after, threshold)


def until_more_errors(b: float, c: float, pairs: float, threshold: float) -> int | None:
    """Further pairs until the one-sided McNemar test shows that the shadow fails more often.

    Args:
        b: pairs where only the shadow was bad.
        c: pairs where only live was bad.
        pairs: all pairs.
        threshold: what is enough.

    Returns:
        As `until`; None as well while `b` does not exceed `c`.
    """
    if pairs <= 0 or b <= c:
        return None
    return until(lambda more: mcnemar.log_e_one_sided(b * (1.0 + more / pairs), c * (1.0 + more / pairs)), threshold)


def until_ratio(
    sums: symmetry.LogRatio, m: float, direction: betting.Direction, threshold: float, *, rho: float = symmetry.RHO
) -> int | None:
    """Further pairs *with a ratio* until the symmetry test shows that it is above exp(`m`) (WORSE), or below it (NOT_WORSE).

    Args:
        sums: of the pairs so far.
        m: the margin, as a log ratio.
        direction: what is to be shown.
        threshold: what is enough.
        rho: the parameter that the test is run with.
    """
    if not sums.n:
        return None
    log_e = symmetry.log_e_above if direction is betting.WORSE else symmetry.log_e_below
    return until(lambda more: log_e(sums.scaled(1.0 + more / sums.n), m, rho), threshold)


def _rates(risk: betting.RiskDifference) -> tuple[float, float]:
    pairs = risk.pairs + 2.0 * PRIOR
    return (risk.plus + PRIOR) / pairs, (risk.minus + PRIOR) / pairs
