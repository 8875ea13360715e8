"""Boundaries that a running sum crosses with a known probability at most, however often one looks.

Two ways to write one (Howard, Ramdas, McAuliffe, Sekhon 2021; STATISTICS C4, C5, C14):

* a *mixture*: an e-process of a sum ``s`` with intrinsic time ``v`` (`log_e`), and where it
  reaches a threshold (`bound`). It is narrowest at the ``v_opt`` that it is tuned to;
* *stitching*: a closed form that has no horizon to choose and is a little wider everywhere.

Everything is a pure function of a few numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf, log, sqrt
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.special import log_beta, log_betainc, log_ndtr

if TYPE_CHECKING:
    from collections.abc import Callable

_HALVINGS: Final = 100
"""Of an interval: more than the digits of a float need."""


def best_rho(v_opt: float, alpha: float, *, is_one_sided: bool = False) -> float:
    """The tuning of a normal mixture whose boundary is (nearly) narrowest at intrinsic time `v_opt`.

    Args:
        v_opt: the variance sum at the sample size that matters, above 0.
        alpha: the error probability that it is tuned for, in (0, 1); one-sided in (0, 1/2).
        is_one_sided: tune the mixture over positive drifts only.

    """
    if not (v_opt > 0 and 0 < alpha < (0.5 if is_one_sided else 1)):
        raise ValueError(f"no mixture is tuned to v_opt {v_opt} at alpha {alpha}")
    twice = 2 * log(1 / (2 * alpha if is_one_sided else alpha))
    return v_opt / (twice + log(1 + twice))


@dataclass(frozen=True, slots=True)
class NormalMixture:
    """A sub-Gaussian sum: exp(λs - λ²v/2), mixed over λ ~ N(0, 1/rho), or over its positive half."""

    rho: float
    is_one_sided: bool = False

    def log_e(self, s: float, v: float) -> float:
        """The logarithm of the e-process at sum `s` and intrinsic time `v` (0 or more)."""
        total = v + self.rho
        two_sided = 0.5 * log(self.rho / total) + s * s / (2 * total)
        return two_sided + log(2) + log_ndtr(s / sqrt(total)) if self.is_one_sided else two_sided

    def bound(self, v: float, log_threshold: float) -> float:
        """The sum at which `log_e` reaches `log_threshold` (0 or more)."""
        widest = sqrt((v + self.rho) * (log(1 + v / self.rho) + 2 * log_threshold))
        if not self.is_one_sided:
            return widest
        # Where the two-sided mixture is at the threshold the one-sided is above it: s > 0, Φ > 1/2.
        return crossing(lambda s: self.log_e(s, v) - log_threshold, 0.0, widest)


@dataclass(frozen=True, slots=True)
class BetaBinomialMixture:
    """A sum of steps in [-g, h] with mean at most 0: the mixture for shares and quantiles.

    Exact for steps that are either -g or h. `v` is ``g * h`` a step.
    """

    r: float
    g: float
    h: float
    is_one_sided: bool = False

    @classmethod
    def tuned(cls, v_opt: float, alpha: float, g: float, h: float, *, is_one_sided: bool = False) -> BetaBinomialMixture:
        """The mixture that is narrowest at intrinsic time `v_opt` at level `alpha`."""
        rho = best_rho(v_opt, alpha, is_one_sided=is_one_sided)
        return cls(max(rho - g * h, 1e-3 * g * h), g, h, is_one_sided)

    def log_e(self, s: float, v: float) -> float:
        """The logarithm of the e-process at sum `s` (from ``-v/h`` to ``v/g``) and intrinsic time `v`."""
        g, h, both = self.g, self.h, self.g + self.h
        weights = v / (g * h) * log(both) - (v + h * s) / (h * both) * log(g) - (v - g * s) / (g * both) * log(h)
        # The two beta arguments are the prior's plus the numbers of steps down and up; rounding must not make those negative.
        down, up = max(v - g * s, 0.0) / (g * both), max(v + h * s, 0.0) / (h * both)
        a, b = self.r / (g * both), self.r / (h * both)
        log_e = weights + log_beta(a + down, b + up) - log_beta(a, b)
        if self.is_one_sided:
            log_e += log_betainc(a + down, b + up, h / both) - log_betainc(a, b, h / both)
        return log_e

    def bound(self, v: float, log_threshold: float) -> float:
        """The least sum at which `log_e` reaches `log_threshold`; inf when none up to ``v/g``, which no sum exceeds, does.

        Not ``v/g`` itself, as confseq has it: a sum can be that, and an interval that ended there would be too short.
        """
        most = v / self.g
        if self.log_e(most, v) < log_threshold:
            return inf
        return crossing(lambda s: self.log_e(s, v) - log_threshold, 0.0, most)


def crossing(rising: Callable[[float], float], low: float, high: float) -> float:
    """Where a function that is below 0 at `low` and 0 or above at `high` crosses, by halving."""
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if not low < middle < high:
            break
        if rising(middle) < 0:
            low = middle
        else:
            high = middle
    return high


def least(convex: Callable[[float], float], low: float, high: float) -> float:
    """Where a convex function on [`low`, `high`] is least, by thirds."""
    for _ in range(_HALVINGS):
        left, right = low + (high - low) / 3, high - (high - low) / 3
        if not low < left < right < high:
            break
        if convex(left) <= convex(right):
            high = right
        else:
            low = left
    return (low + high) / 2


def stitched_bound(v: float, alpha: float, v_min: float, scale: float = 0.0, *, s: float = 1.4, eta: float = 2.0) -> float:
    """The polynomial stitched boundary: no sum exceeds it at any intrinsic time, but with probability `alpha`.

    Args:
        v: intrinsic time now; below `v_min` it counts as `v_min`.
        alpha: the probability, in (0, 1).
        v_min: the intrinsic time from which the boundary is tight, above 0.
        scale: of a sub-gamma sum; 0 is sub-Gaussian, and it may be negative.
        s: exponent of the series that shares `alpha` over epochs, above 1.
        eta: growth of an epoch, above 1.

    """
    if not (v_min > 0 and 0 < alpha < 1 and s > 1 and eta > 1):
        raise ValueError(f"no boundary for v_min {v_min}, alpha {alpha}, s {s}, eta {eta}")
    time = max(v, v_min)
    spread = (eta**0.25 + eta**-0.25) / sqrt(2)
    level = s * log(log(eta * time / v_min)) + log(zeta(s)) - s * log(log(eta)) + log(1 / alpha)
    linear = (sqrt(eta) + 1) / 2 * scale * level
    return sqrt(spread * spread * time * level + linear * linear) + linear


def zeta(s: float) -> float:
    """Riemann's zeta at `s` above 1, by Euler and Maclaurin from the 20th term on; within 1e-13."""
    if not 1 < s < inf:
        raise ValueError(f"the series does not converge at {s}")
    n = 20
    head: float = sum(float(k) ** -s for k in range(1, n))
    tail: float = n ** (1 - s) / (s - 1) + n**-s / 2
    term: float = s * n ** (-s - 1)
    tail += term / 12
    term *= (s + 1) * (s + 2) / n**2
    tail -= term / 720
    term *= (s + 3) * (s + 4) / n**2
    return head + tail + term / 30240
