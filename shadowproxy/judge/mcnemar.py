"""Errors, paired: the sequential McNemar test as a beta-binomial mixture (STATISTICS C2).

A pair is *discordant* when exactly one of its legs is bad. If the shadow is as good as live, each discordant pair
is a fair coin, whatever the traffic and the error rate do meanwhile. Two counts say all:

    b   pairs where only the shadow was bad
    c   pairs where only live was bad

The evidence against the fair coin is that of a bet spread over all coins by a Beta(a, a) law. It is an e-process:
however often one looks, the chance that it ever reaches 1/alpha without a cause is at most alpha. Counts of
workers add, and the order within them does not matter.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.special import LN_2, log_beta_density, log_betainc_complement

if TYPE_CHECKING:
    from collections.abc import Mapping

SPREAD: Final = 0.5
"""Default of `a`. Small values bet on coins far from fair: few new failures suffice, six for alpha = 0.05."""

_ROUNDS: Final = 60


@dataclass(frozen=True, slots=True)
class Transition:
    """How often live ended in one class and the shadow in another, against the reverse."""

    live: str
    shadow: str
    count: int
    reverse: int
    log_e: float
    """Two-sided evidence that the two directions are not equally likely."""

    def __str__(self) -> str:
        return f"{self.live} -> {self.shadow}"


@dataclass(frozen=True, slots=True)
class Transitions:
    """Evidence from all changes of class together, and each of them, strongest first."""

    log_e: float
    listed: tuple[Transition, ...]

    @property
    def top(self) -> Transition | None:
        """The change with the most evidence; None when no pair changed its class."""
        return self.listed[0] if self.listed else None


def log_e_two_sided(b: float, c: float, a: float = SPREAD) -> float:
    """Log evidence that shadow-only and live-only failures are not equally likely.

    Args:
        b: pairs where only the shadow was bad.
        c: pairs where only live was bad.
        a: how the bet is spread, positive.

    Raises:
        ValueError: a count is negative, or `a` is not positive.
    """
    _check(b, c, a)
    # The density of a fair coin, before over after: equal to ln B(a+b, a+c) - ln B(a, a) + (b+c) ln 2, without its cancellation.
    return log_beta_density(a, a, 0.5) - log_beta_density(a + b, a + c, 0.5)


def log_e_one_sided(b: float, c: float, a: float = SPREAD) -> float:
    """Log evidence that shadow-only failures are *more* likely than live-only ones; valid against "at most as likely".

    Arguments and errors are those of `log_e_two_sided`.
    """
    return log_e_two_sided(b, c, a) + LN_2 + log_betainc_complement(a + b, a + c, 0.5)


def log_e_transitions(matrix: Mapping[tuple[str, str], float], a: float = SPREAD) -> Transitions:
    """Evidence from every change of class: pairs (live, shadow) against pairs (shadow, live).

    Which of the two directions a discordant pair takes is a fair coin for each two classes, so the sum of their
    log evidence is one e-process. Names what grew: each change is told in the direction that was seen more often.

    Args:
        matrix: pairs by the class of the live and of the shadow outcome (`"200"`, `"5xx"`, `"timeout"`).
        a: as in `log_e_two_sided`.

    Raises:
        ValueError: a count is negative, or `a` is not positive.
    """
    listed: list[Transition] = []
    for live, shadow in {(min(cell), max(cell)) for cell, count in matrix.items() if cell[0] != cell[1] and count}:
        there, back = int(matrix.get((live, shadow), 0)), int(matrix.get((shadow, live), 0))
        log_e = log_e_two_sided(there, back, a)
        listed.append(Transition(live, shadow, there, back, log_e) if there >= back else Transition(shadow, live, back, there, log_e))
    listed.sort(key=lambda change: (-change.log_e, -change.count, change.live, change.shadow))
    return Transitions(sum(change.log_e for change in listed), tuple(listed))


def expected_discordant(alpha: float, p: float) -> float | None:
    """About how many discordant pairs it takes when a share `p` of them are shadow-only failures.

    The solution n of ``n = (ln(1/alpha) + ln(n)/2) / KL(p, 1/2)``.

    Returns:
        At least 1; None for p = 1/2, where there is nothing to find.

    Raises:
        ValueError: `alpha` is not between 0 and 1, or `p` is not from 0 to 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    divergence = divergence_from_fair(p)
    if divergence <= 0.0:
        return None
    count = 1.0
    for _ in range(_ROUNDS):
        count = max(1.0, (log(1.0 / alpha) + 0.5 * log(count)) / divergence)
    return count


def divergence_from_fair(p: float) -> float:
    """The Kullback-Leibler divergence of a coin `p` from the fair one, in nats: evidence per discordant pair, at best.

    Raises:
        ValueError: `p` is not from 0 to 1.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"a share must be from 0 to 1, not {p}")
    return sum(part * log(2.0 * part) for part in (p, 1.0 - p) if part > 0.0)


def _check(b: float, c: float, a: float) -> None:
    if b < 0 or c < 0:
        raise ValueError(f"counts of pairs cannot be negative: {b} and {c}")
    if a <= 0.0:
        raise ValueError(f"the spread of a bet must be positive, not {a}")
