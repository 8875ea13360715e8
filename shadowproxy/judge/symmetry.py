"""Latency, paired: whether the centre of the log ratios is above a margin (STATISTICS C4).

For each pair d = ln(shadow) - ln(live). If the two legs are exchangeable, d is as likely as -d, however slow the
request, heavy the tail or busy the hour; then exp(s d - s^2 d^2 / 2) has a mean of at most one for every s (de la
Peña), and so has its mixture over s, which needs three sums only:

    n, sum of d, sum of d^2

No moments are assumed, and no bound. The nulls are composite: "the d are symmetric about some centre at most m"
(or at least m); the sums of workers add.

The companion assumes less still: signs about the margin, a fair coin if the *median* ratio is the margin. They are
counted from histograms of d, and what falls in the bucket that the margin cuts is counted against the claim.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.boundaries import NormalMixture, best_rho

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

BUCKET_WIDTH: Final = 0.005
"""Bucket k of a histogram of log ratios holds those in ((k - 1) * 0.005, k * 0.005]."""

VARIANCE_SUM: Final = 8.0
"""The sum of squares at which the mixture is tightest by default: a hundred pairs that scatter by 28 %."""

FARTHEST: Final = 30.0
"""No log ratio of two durations is beyond this: a nanosecond to an hour and a half, or to three hours, is e**29 to e**30."""

_HALVINGS: Final = 60


@dataclass(frozen=True, slots=True)
class LogRatio:
    """Sums over pairs of d = ln(shadow) - ln(live). They add."""

    n: float = 0
    s1: float = 0.0
    s2: float = 0.0

    def __add__(self, other: LogRatio) -> LogRatio:
        return LogRatio(self.n + other.n, self.s1 + other.s1, self.s2 + other.s2)

    @property
    def mean(self) -> float | None:
        """The mean of d: the logarithm of the typical ratio. None without pairs."""
        return self.s1 / self.n if self.n else None

    def scaled(self, factor: float) -> LogRatio:
        """What `factor` times as many pairs like these would sum to."""
        return LogRatio(self.n * factor, self.s1 * factor, self.s2 * factor)

    def about(self, m: float) -> tuple[float, float]:
        """The sum of d - m, and the sum of its squares, which is never below what the first implies."""
        total = self.s1 - self.n * m
        squares = self.s2 - 2.0 * m * self.s1 + self.n * m * m
        # By Cauchy-Schwarz; rounding must not make evidence.
        return total, max(squares, total * total / self.n) if self.n else 0.0


def rho_for(v_opt: float, alpha: float, two_sided: bool = False) -> float:
    """The mixture's parameter that makes it tightest when the sum of squares is `v_opt`.

    Raises:
        ValueError: `v_opt` is not positive, or `alpha` is not between 0 and 1 (0.5 for one side).
    """
    return best_rho(v_opt, alpha, is_one_sided=not two_sided)


RHO: Final = rho_for(VARIANCE_SUM, 0.05)
"""The default parameter of the one-sided tests."""


def log_e_above(sums: LogRatio, m: float, rho: float = RHO) -> float:
    """Log evidence that the shadow is slower than live by more than exp(m); valid against any centre at most `m`.

    Args:
        sums: of the pairs.
        m: the margin, as a log ratio.
        rho: the mixture's parameter, positive; see `rho_for`. It must not depend on the pairs.
    """
    return NormalMixture(rho, is_one_sided=True).log_e(*sums.about(m))


def log_e_below(sums: LogRatio, m: float, rho: float = RHO) -> float:
    """Log evidence that the shadow is not slower than live by exp(m); valid against any centre at least `m`."""
    total, squares = sums.about(m)
    return NormalMixture(rho, is_one_sided=True).log_e(-total, squares)


def log_e_two_sided(sums: LogRatio, m: float = 0.0, rho: float = RHO) -> float:
    """Log evidence that the centre is not `m`."""
    return NormalMixture(rho).log_e(*sums.about(m))


def interval(sums: LogRatio, alpha: float, rho: float | None = None) -> tuple[float, float]:
    """The centres that are not refuted: with confidence 1 - `alpha` at all times together.

    Args:
        sums: of the pairs.
        alpha: between 0 and 1.
        rho: parameter of the two-sided mixture; by default `rho_for(VARIANCE_SUM, alpha, two_sided=True)`.

    Returns:
        Both ends as log ratios, with the mean between them; -inf and inf while there are too few pairs to say.

    Raises:
        ValueError: `alpha` is not between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    mean = sums.mean
    if mean is None:
        return -inf, inf
    parameter = rho_for(VARIANCE_SUM, alpha, two_sided=True) if rho is None else rho
    threshold = log(1.0 / alpha)

    def is_refuted(m: float) -> bool:
        return log_e_two_sided(sums, m, parameter) >= threshold

    return _bound(is_refuted, mean, -FARTHEST), _bound(is_refuted, mean, FARTHEST)


def lower_bound(sums: LogRatio, alpha: float, rho: float = RHO) -> float:
    """The least centre that one-sided evidence leaves standing; -inf while there are too few pairs. Raises as `interval`."""
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must be between 0 and 1, not {alpha}")
    mean = sums.mean
    return -inf if mean is None else _bound(lambda m: log_e_above(sums, m, rho) >= log(1.0 / alpha), mean, -FARTHEST)


def upper_bound(sums: LogRatio, alpha: float, rho: float = RHO) -> float:
    """The greatest centre that one-sided evidence leaves standing; inf while there are too few pairs. Raises as `interval`."""
    return -lower_bound(LogRatio(sums.n, -sums.s1, sums.s2), alpha, rho)


def _bound(is_refuted: Callable[[float], bool], mean: float, farthest: float) -> float:
    """Where refutation begins on the way from the mean to `farthest`, rounded outwards.

    Seen from the mean, evidence against a centre rises, and far out it falls again: the squares about it swamp the
    scale that the mixture bets on. With a handful of pairs even the farthest is not refuted, and there is no bound.
    """
    if not is_refuted(farthest):
        return inf if farthest > mean else -inf
    standing, refuted = mean, farthest
    for _ in range(_HALVINGS):
        middle = 0.5 * (standing + refuted)
        if is_refuted(middle):
            refuted = middle
        else:
            standing = middle
    return refuted


def signs(buckets: Mapping[int, int], m: float, *, is_doubt_above: bool = False) -> tuple[int, int]:
    """How many log ratios are above `m`, and how many are not.

    A bucket that `m` cuts is doubtful. It counts as not above, which never overstates that the shadow is slower; with
    `is_doubt_above` it counts as above, which never overstates that it is not.

    Args:
        buckets: a histogram of log ratios, see `BUCKET_WIDTH`.
        m: the margin, as a log ratio.
        is_doubt_above: on which side the doubtful bucket counts.
    """
    above = sum(count for bucket, count in buckets.items() if (bucket if is_doubt_above else bucket - 1) * BUCKET_WIDTH >= m)
    return above, sum(buckets.values()) - above
