"""How long something is held up: distributions by their quantile functions, and chance as an argument.

`DelayPlan.at` is the quantile function, so each distribution is drawn from with one number in [0, 1). Bursts: with the
chance `correlation` a delay's quantile is not drawn anew but lies near that of the one before it, reflected at 0 and 1.
A reflected symmetric step keeps the uniform distribution, so the delays have the distribution that was asked for however
strongly they are correlated (netem's weighted mean does not: it narrows the distribution).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Final

from shadowproxy.config.experiment import Delay
from shadowproxy.policy.compile import nanoseconds

Chance = Callable[[], float]
"""Draws a number in [0, 1)."""

FIXED: Final = 0
UNIFORM: Final = 1
LOGNORMAL: Final = 2
PARETO: Final = 3
EMPIRICAL: Final = 4

NEAR: Final = 0.1
"""Width of the range of quantiles that is near another one."""

_NORMAL: Final = NormalDist()
_Z99: Final = _NORMAL.inv_cdf(0.99)
_LEAST: Final = 2.0**-53
"""Distance that quantiles keep from 0 and 1, where unbounded distributions have none."""


@dataclass(frozen=True, slots=True)
class DelayPlan:
    """A distribution of delays, compiled.

    `first` and `second` are its two parameters: fixed: duration; uniform: shortest, longest; lognormal: median, sigma;
    pareto: scale, shape. Durations are in nanoseconds, and none is over `limit_ns`.
    """

    kind: int
    first: float
    second: float
    quantiles: tuple[int, ...]
    limit_ns: int
    correlation: float

    def at(self, quantile: float) -> int:
        """The delay in nanoseconds that a share `quantile`, in [0, 1], of all delays does not exceed."""
        if self.kind == FIXED:
            delay = self.first
        elif self.kind == UNIFORM:
            delay = self.first + quantile * (self.second - self.first)
        elif self.kind == EMPIRICAL:
            delay = _between(self.quantiles, quantile)
        else:
            inside = min(max(quantile, _LEAST), 1.0 - _LEAST)
            if self.kind == LOGNORMAL:
                delay = self.first * math.exp(self.second * _NORMAL.inv_cdf(inside))
            else:
                # P(D > d) = (scale / d) ** shape, solved for d.
                delay = self.first * (1.0 - inside) ** (-1.0 / self.second)
        return round(min(delay, float(self.limit_ns)))

    def next_quantile(self, before: float, chance: Chance) -> float:
        """The quantile to draw at, in [0, 1], after one at `before`."""
        if self.correlation and chance() < self.correlation:
            near = abs(before + NEAR * (chance() - 0.5))
            return near if near <= 1.0 else 2.0 - near
        return chance()


def compile_delay(delay: Delay) -> DelayPlan:
    """A delay of an experiment that has been checked."""
    kind, first, second = FIXED, float(nanoseconds(delay.fixed)), 0.0
    if delay.uniform is not None:
        kind, first, second = UNIFORM, float(nanoseconds(delay.uniform.lower)), float(nanoseconds(delay.uniform.upper))
    elif delay.lognormal is not None:
        sigma = math.log(delay.lognormal.p99 / delay.lognormal.median) / _Z99
        kind, first, second = LOGNORMAL, float(nanoseconds(delay.lognormal.median)), sigma
    elif delay.pareto is not None:
        kind, first, second = PARETO, float(nanoseconds(delay.pareto.scale)), delay.pareto.shape
    elif delay.empirical:
        kind = EMPIRICAL
    return DelayPlan(
        kind=kind,
        first=first,
        second=second,
        quantiles=tuple(nanoseconds(quantile) for quantile in delay.empirical),
        limit_ns=nanoseconds(delay.limit),
        correlation=delay.correlation,
    )


def fixed_delay(delay_ns: int) -> DelayPlan:
    """Always as long."""
    return DelayPlan(kind=FIXED, first=float(delay_ns), second=0.0, quantiles=(), limit_ns=delay_ns, correlation=0.0)


def _between(quantiles: tuple[int, ...], quantile: float) -> float:
    """The value at `quantile` between evenly spaced quantiles, on straight lines."""
    place = quantile * (len(quantiles) - 1)
    below = min(int(place), len(quantiles) - 2)
    return quantiles[below] + (place - below) * (quantiles[below + 1] - quantiles[below])
