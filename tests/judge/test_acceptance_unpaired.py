"""The promises of the tests without pairs, by simulation: false alarms and missed truths, however often one looks.

Each seed is fixed. With DEEP=1 there are ten thousand peeked runs, ten times as long.
"""

from __future__ import annotations

import os
from math import log
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shadowproxy.judge import distribution, quantiles, rates
from shadowproxy.judge.quantiles import from_values
from tests.judge import arms

if TYPE_CHECKING:
    from tests.judge.arms import Array

ALPHA = 0.05
DEEP = os.environ.get("DEEP") == "1"
RUNS = 10_000 if DEEP else 1000
CHUNK = 250
LONGEST = 10_000 if DEEP else 1000
PEEKS = tuple(int(n) for n in np.geomspace(60, LONGEST, 30 if DEEP else 8))
pytestmark = [pytest.mark.deep, pytest.mark.timeout(3600)] if DEEP else []


def values(rng: np.random.Generator) -> Array:
    """A chunk of runs of heavy-tailed latencies: one in ten is a Pareto tail without variance."""
    plain, tail = rng.lognormal(0, 0.5, (CHUNK, LONGEST)), 1 + rng.pareto(1.5, (CHUNK, LONGEST))
    return np.where(rng.random((CHUNK, LONGEST)) < 0.1, tail, plain)


def ends(ordered: Array, p: float, alpha: float) -> tuple[Array, Array]:
    """Where the intervals of sorted runs end: at the ranks that the module gives for 1, 2, ... n, which are their own ranks."""
    n = ordered.shape[1]
    found = quantiles.interval(from_values(range(1, n + 1)), p, alpha, t_opt=500)
    low = ordered[:, int(found.low) - 1] if found.low is not None else np.full(len(ordered), -np.inf)
    high = ordered[:, int(found.high) - 1] if found.high is not None else np.full(len(ordered), np.inf)
    return low, high


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_intervals_of_a_quantile_miss_seldom(p: float) -> None:
    """At most 1.3 alpha of the runs ever miss the true quantile, and as few ever tell two like arms apart."""
    rng = np.random.default_rng(52)
    truth = float(np.quantile(np.concatenate([values(rng).ravel() for _ in range(4)]), p))
    missed = apart = 0
    for _ in range(RUNS // CHUNK):
        live, shadow = values(rng), values(rng)
        is_missed = np.zeros(CHUNK, bool)
        is_apart = np.zeros(CHUNK, bool)
        for n in PEEKS:
            ordered = np.sort(live[:, :n], axis=1), np.sort(shadow[:, :n], axis=1)
            low, high = ends(ordered[0], p, ALPHA)
            is_missed |= (truth < low) | (truth > high)
            of_live, of_shadow = ends(ordered[0], p, ALPHA / 2), ends(ordered[1], p, ALPHA / 2)
            is_apart |= (of_shadow[0] > of_live[1]) | (of_shadow[1] < of_live[0])
        missed += int(is_missed.sum())
        apart += int(is_apart.sum())
    assert arms.upper_bound(missed, RUNS) <= 1.3 * ALPHA, f"{missed} of {RUNS}"
    assert arms.upper_bound(apart, RUNS) <= 1.3 * ALPHA, f"{apart} of {RUNS}"


def test_whole_distributions_of_like_arms_are_told_apart_seldom() -> None:
    """At most 1.3 alpha of the runs; the distance is taken at the edges of sixty-four buckets, as sketches have it."""
    rng = np.random.default_rng(53)
    edges = np.geomspace(0.1, 50, 64)
    alarms = 0
    for _ in range(RUNS // CHUNK):
        buckets = [np.searchsorted(edges, values(rng)) for _ in range(2)]
        is_alarm = np.zeros(CHUNK, bool)
        for n in PEEKS:
            curves = [np.stack([np.bincount(row[:n], minlength=65).cumsum() for row in arm]) / n for arm in buckets]
            is_alarm |= np.abs(curves[0] - curves[1]).max(axis=1) > 2 * distribution.radius(n, ALPHA / 2)
        alarms += int(is_alarm.sum())
    assert arms.upper_bound(alarms, RUNS) <= 1.3 * ALPHA, f"{alarms} of {RUNS}"


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_equal_rates_of_errors_are_told_apart_seldom(share: float) -> None:
    """At most 1.3 alpha of the runs, looked at after each error, at equal traffic and at a tenth of it."""
    rng = np.random.default_rng(54)
    events = 1000 if DEEP else 300
    # Evidence against the share rises on both sides of it: an alarm after n events is a count at or beyond a bound.
    bounds = [_bounds(n, share) for n in range(1, events + 1)]
    low, high = (np.array([bound[side] for bound in bounds]) for side in (0, 1))
    alarms = 0
    for _ in range(RUNS // CHUNK):
        counts = np.cumsum(rng.random((CHUNK, events)) < share, axis=1)
        alarms += int(((counts <= low) | (counts >= high)).any(axis=1).sum())
    assert arms.upper_bound(alarms, RUNS) <= 1.3 * ALPHA, f"{alarms} of {RUNS}"


def _bounds(n: int, share: float) -> tuple[int, int]:
    """The greatest count that is too low and the least that is too high, of `n` events; found from the middle outwards."""
    enough = log(1 / ALPHA)
    middle = round(n * share)
    low = next((k for k in range(middle, -1, -1) if rates.log_e_shares((k, n - k), (share, 1 - share)) >= enough), -1)
    high = next((k for k in range(middle, n + 1) if rates.log_e_shares((k, n - k), (share, 1 - share)) >= enough), n + 1)
    return low, high
