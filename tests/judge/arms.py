"""Simulated arms for the acceptance tests, and the judge's formulas on arrays.

Runs are rows and ticks are columns; all chance comes from the generator that is given, so that a seed is a world.
The array forms exist for speed only: tests/judge/test_acceptance.py checks each against the module that it copies.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy import special, stats

from shadowproxy.judge import betting
from shadowproxy.judge.symmetry import RHO

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.judge.betting import Direction

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Sums:
    """What control would know at each tick: everything since the start, runs by ticks."""

    pairs: Array
    shadow_only: Array
    live_only: Array
    ratios: Array
    s1: Array
    s2: Array
    above: Array

    @property
    def neither(self) -> Array:
        """Pairs with the same fate on both sides."""
        return self.pairs - self.shadow_only - self.live_only


def a_day(rng: np.random.Generator, runs: int, ticks: int, per_tick: float = 6.0, slower: float = 0.0) -> Sums:
    """Two like arms through a day of traffic, with what makes real traffic unlike a textbook's.

    The rate and the error rate swing by a factor of nine over the day. Outages of what both arms depend on come and go:
    in one, a third of the requests fail, mostly on both sides, and all are five times as scattered. Latency noise is
    Student's t with 2.5 degrees of freedom, hence without a variance to speak of.

    Args:
        rng: chance.
        runs: how many days.
        ticks: how often each is looked at.
        per_tick: pairs of an average tick.
        slower: added to each log ratio; 0 for like arms.
    """
    phase = rng.random((runs, 1)) * 2 * np.pi
    swing = 1.0 + 0.8 * np.sin(np.arange(ticks) * 4 * np.pi / ticks + phase)
    outage = _outages(rng, runs, ticks)
    pairs = rng.poisson(per_tick * swing)
    failing = np.where(outage, 0.33, 0.02 * swing)
    # Seven of ten failures are of what both arms share; the others are each arm's own.
    either = rng.binomial(pairs, 0.6 * failing / (1.0 - 0.7 * failing))
    shadow_only = rng.binomial(either, 0.5)
    compared = pairs - either
    width = int(pairs.max()) + 1
    noise = (rng.standard_t(2.5, (runs, ticks, width)) - rng.standard_t(2.5, (runs, ticks, width))) * 0.1
    noise *= np.where(outage, 5.0, 1.0)[:, :, None]
    d = (noise + slower) * (np.arange(width) < compared[:, :, None])
    above = ((d > slower) & (np.arange(width) < compared[:, :, None])).sum(axis=2)
    steps = (pairs, shadow_only, either - shadow_only, compared, d.sum(axis=2), (d * d).sum(axis=2), above)
    return Sums(*(np.cumsum(step, axis=1).astype(np.float64) for step in steps))


def _outages(rng: np.random.Generator, runs: int, ticks: int) -> NDArray[np.bool_]:
    state = np.zeros(runs, dtype=bool)
    found = np.empty((runs, ticks), dtype=bool)
    for tick in range(ticks):
        chance = rng.random(runs)
        state = np.where(state, chance >= 0.2, chance < 0.02)
        found[:, tick] = state
    return found


def errors_two_sided(b: Any, c: Any, a: float = 0.5) -> Array:
    """`mcnemar.log_e_two_sided` on arrays, by scipy."""
    return np.asarray(special.betaln(a + b, a + c) - special.betaln(a, a) + (b + c) * np.log(2.0))


def errors_one_sided(b: Any, c: Any, a: float = 0.5) -> Array:
    """`mcnemar.log_e_one_sided` on arrays, by scipy."""
    tail = np.maximum(special.betaincc(a + b, a + c, 0.5), 1e-300)
    return np.asarray(errors_two_sided(b, c, a) + np.log(tail) + np.log(2.0))


def at_states(log_e: Callable[[float, float], float], b: Any, c: Any) -> Array:
    """A module's own function of two counts at each element, computed once for each state that occurs."""
    states = np.asarray(b, dtype=np.int64) * 2**31 + np.asarray(c, dtype=np.int64)
    distinct, where = np.unique(states, return_inverse=True)
    values = np.array([log_e(int(state) >> 31, int(state) & (2**31 - 1)) for state in distinct])
    return np.asarray(values[where].reshape(states.shape))


def ratio_above(n: Any, s1: Any, s2: Any, m: float, rho: float = RHO) -> Array:
    """`symmetry.log_e_above` on arrays."""
    total, spread = s1 - n * m, s2 - 2 * m * s1 + n * m * m + rho
    return np.asarray(0.5 * np.log(4 * rho / spread) + total**2 / (2 * spread) + special.log_ndtr(total / np.sqrt(spread)))


def ratio_below(n: Any, s1: Any, s2: Any, m: float, rho: float = RHO) -> Array:
    """`symmetry.log_e_below` on arrays."""
    return ratio_above(n, -s1, s2, -m, rho)


def capital(plus: Any, zero: Any, minus: Any, delta: float, direction: Direction) -> Array:
    """`betting.log_capital` on arrays."""
    won, lost, room = (plus, minus, 1 + delta) if direction is betting.WORSE else (minus, plus, 1 - delta)
    found: Array | None = None
    for stake, share in zip(betting.STAKES, betting._LOG_SHARES, strict=True):
        value = share + won * np.log1p(stake * (2 / room - 1)) + zero * np.log1p(stake * (1 / room - 1)) + lost * np.log1p(-stake)
        found = value if found is None else np.logaddexp(found, value)
    assert found is not None
    return found


def mean(parts: list[tuple[float, Array]]) -> Array:
    """`multiplicity.mean_log_e` on arrays, for weights that add to one."""
    return np.asarray(special.logsumexp(np.stack([value + np.log(weight) for weight, value in parts]), axis=0))


def upper_bound(alarms: int, runs: int, confidence: float = 0.99) -> float:
    """The Clopper-Pearson bound from above on the probability of an alarm."""
    return 1.0 if alarms >= runs else float(stats.beta.ppf(confidence, alarms + 1, runs - alarms))


def crossing(log_e: Array, threshold: float) -> Array:
    """The first column (from 1) where each row reaches the threshold; inf where none does."""
    reached = log_e >= threshold
    return np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, np.inf)
