"""Risk differences and margins: evidence by betting (STATISTICS C3).

For each pair x is +1 when only the shadow was bad, -1 when only live was, and else 0. Two nulls, for a margin d:

    WORSE       "the mean of x is at most d": evidence against it says that the shadow is worse by more than d
    NOT_WORSE   "the mean of x is at least d": evidence against it says that it is worse by less than d

A gambler stakes a share of the capital on each x; if the null holds, no stake can be expected to win, so the capital
is an e-process. The nulls are about means given the past: rates may move with the hour, pairs may cluster.

Which stake? The capital here is divided among gamblers, each of whom keeps to one stake for ever (`STAKES`, from the
greatest that is allowed down by factors of sqrt(2)); it is the sum of theirs. Every bet is so fixed before the first
pair, with consequences that a stake adapted from tick to tick has not:

* the capital depends on three counts only: on no order, no tick size and no worker. A first tick of a hundred
  thousand pairs is bet on as well as a hundred thousand ticks of one, because the gamblers with the right stake
  outgrow the others *within* it. One adapted stake would bet the whole tick at its untaught first value, and lose it;
* it is monotone in the margin, so the margins that are not refuted are an interval, found by bisection;
* by Jensen's inequality no gambler wins against the observed mean: the interval always has the estimate inside.

Most of the capital begins at the greatest stake: the usual question is whether two like versions differ by less than
a margin, both fail rarely, and then that stake is best from the first pair on.
"""

from __future__ import annotations

from enum import Enum
from math import exp, log, log1p
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

TRUNCATION: Final = 0.85
"""No pair costs more than this share of a gambler's capital, so that none is ever ruined.

It is what quiet pairs are won with, when two like versions are to be certified: at 3/4 they take a tenth more. Beyond 0.9 more
is lost by one unlucky pair than won by the quiet ones.
"""

_FIRST_SHARE: Final = 0.8
_STAKE_COUNT: Final = 25

STAKES: Final = tuple(TRUNCATION * 2.0 ** (-step / 2) for step in range(_STAKE_COUNT))
"""What each gambler puts at risk, as a share of capital. The least, 2e-4, is for intervals after a thousand million pairs."""

_REST: Final = (1.0 - _FIRST_SHARE) / sum(1.0 / step for step in range(1, _STAKE_COUNT))
_LOG_SHARES: Final = (log(_FIRST_SHARE), *(log(_REST / step) for step in range(1, _STAKE_COUNT)))

_INTERVAL_STEPS: Final = 36
"""Halvings: an end of an interval is within 2**-35 of the true one, and outside it."""


class Direction(Enum):
    """What the evidence is to show."""

    WORSE = "worse"
    """The shadow is worse by more than the margin."""
    NOT_WORSE = "not_worse"
    """The shadow is worse by less than the margin: better, equal, or worse within it."""


WORSE: Final = Direction.WORSE
NOT_WORSE: Final = Direction.NOT_WORSE


def log_capital(plus: float, zero: float, minus: float, delta: float, direction: Direction) -> float:
    """Log evidence from counts of pairs.

    Args:
        plus: pairs where only the shadow was bad.
        zero: pairs where both were, or neither was.
        minus: pairs where only live was bad.
        delta: the margin, as a difference of probabilities, between -1 and 1.
        direction: what is to be shown.

    Raises:
        ValueError: a count is negative, or `delta` is out of its range.
    """
    if plus < 0 or zero < 0 or minus < 0:
        raise ValueError(f"counts of pairs cannot be negative: {plus}, {zero} and {minus}")
    _check_margin(delta)
    # Both directions are one formula: seen from the other side, pairs and margin change their sign.
    won, lost, room = (plus, minus, 1.0 + delta) if direction is WORSE else (minus, plus, 1.0 - delta)
    on_win, on_tie = 2.0 / room - 1.0, 1.0 / room - 1.0
    top = float("-inf")
    logs: list[float] = []
    for stake, share in zip(STAKES, _LOG_SHARES, strict=True):
        value = share + won * log1p(stake * on_win) + zero * log1p(stake * on_tie) + lost * log1p(-stake)
        logs.append(value)
        top = max(top, value)
    return top + log(sum(exp(value - top) for value in logs))


class Bet:
    """Evidence about one margin in one direction, tick by tick."""

    __slots__ = ("delta", "direction", "minus", "plus", "zero")

    def __init__(self, delta: float, direction: Direction) -> None:
        """Args are those of `log_capital`.

        Raises:
            ValueError: `delta` is not between -1 and 1.
        """
        _check_margin(delta)
        self.delta = delta
        self.direction = direction
        self.plus = self.zero = self.minus = 0

    def __repr__(self) -> str:
        return f"Bet({self.direction.value} than {self.delta}, +{self.plus} 0:{self.zero} -{self.minus}, log_e={self.log_e:.4g})"

    def update(self, plus: int, zero: int, minus: int) -> None:
        """Add the pairs of one tick."""
        self.plus += plus
        self.zero += zero
        self.minus += minus

    @property
    def log_e(self) -> float:
        """Log evidence so far; 0 before the first pair."""
        return log_capital(self.plus, self.zero, self.minus, self.delta, self.direction)


class RiskDifference:
    """How much more often the shadow is bad than live: estimate, interval, and evidence about any margin.

    Attributes:
        plus: pairs where only the shadow was bad.
        zero: pairs where both were, or neither was.
        minus: pairs where only live was bad.
    """

    __slots__ = ("margins", "minus", "plus", "zero")

    def __init__(self, margins: Sequence[float] = ()) -> None:
        """Begin without pairs.

        Args:
            margins: the differences that a verdict depends on. Any other can be asked for as well; these are checked
                now, so that a bad one fails at the start and not at the first tick, and are shown by `repr`.

        Raises:
            ValueError: a margin is not between -1 and 1.
        """
        for delta in margins:
            _check_margin(delta)
        self.margins = tuple(margins)
        self.plus = self.zero = self.minus = 0

    def __repr__(self) -> str:
        shown = "".join(f", worse than {d}: {self.log_worse(d):.4g}, not worse: {self.log_not_worse(d):.4g}" for d in self.margins)
        return f"RiskDifference(+{self.plus} 0:{self.zero} -{self.minus}{shown})"

    def update(self, plus: int, zero: int, minus: int) -> None:
        """Add pairs: those of a tick, or of another worker."""
        self.plus += plus
        self.zero += zero
        self.minus += minus

    @property
    def pairs(self) -> int:
        """How many pairs were added."""
        return self.plus + self.zero + self.minus

    @property
    def estimate(self) -> float | None:
        """The mean difference, shadow less live; None without pairs."""
        return (self.plus - self.minus) / self.pairs if self.pairs else None

    def log_worse(self, delta: float) -> float:
        """Log evidence that the shadow is worse by more than `delta`."""
        return log_capital(self.plus, self.zero, self.minus, delta, WORSE)

    def log_not_worse(self, delta: float) -> float:
        """Log evidence that the shadow is worse by less than `delta`, or not at all."""
        return log_capital(self.plus, self.zero, self.minus, delta, NOT_WORSE)

    def interval(self, alpha: float) -> tuple[float, float]:
        """The differences that are not refuted: with confidence 1 - `alpha` at all times together.

        Returns:
            Both ends, from -1 to 1, with the estimate between them.

        Raises:
            ValueError: `alpha` is not between 0 and 1.
        """
        if not 0.0 < alpha < 1.0:
            raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
        threshold = log(2.0 / alpha)
        lower = _lowest_not_refuted(self.plus, self.zero, self.minus, threshold)
        upper = -_lowest_not_refuted(self.minus, self.zero, self.plus, threshold)
        return lower, upper


def _lowest_not_refuted(plus: int, zero: int, minus: int, threshold: float) -> float:
    """The least margin that evidence for WORSE leaves standing, rounded down; it falls in the margin."""
    pairs = plus + zero + minus
    if plus + zero == 0:
        return -1.0
    refuted, standing = -1.0, (plus - minus) / pairs
    for _ in range(_INTERVAL_STEPS):
        middle = 0.5 * (refuted + standing)
        if middle <= -1.0 or middle >= standing:
            break
        if log_capital(plus, zero, minus, middle, WORSE) >= threshold:
            refuted = middle
        else:
            standing = middle
    return refuted


def _check_margin(delta: float) -> None:
    if not -1.0 < delta < 1.0:
        raise ValueError(f"a margin is a difference of probabilities between -1 and 1, not {delta}")
