"""The promises that a user relies on, by simulation: false alarms, sample sizes, and what other judges get wrong.

Each seed is fixed, so a result is the same at every run. With DEEP=1 there are ten thousand peeked runs.
"""

from __future__ import annotations

import os
from math import log
from typing import TYPE_CHECKING

import numpy as np
import pytest

from shadowproxy.judge import betting, criteria, mcnemar, symmetry
from shadowproxy.judge.betting import NOT_WORSE, WORSE
from shadowproxy.judge.multiplicity import mean_log_e
from shadowproxy.judge.symmetry import LogRatio
from tests.judge import arms

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.judge.arms import Array, Sums

ALPHA = 0.05
ENOUGH = log(1 / ALPHA)
DEEP = os.environ.get("DEEP") == "1"
RUNS = 10_000 if DEEP else 1000
"""How many days are peeked at. A thousand can show 1.3 alpha while the true rate is at most 4.8 %; it is about 3."""
CHUNK = 500
pytestmark = [pytest.mark.deep, pytest.mark.timeout(3600)] if DEEP else []
TICKS = 400 if DEEP else 150


def days(seed: int, slower: float = 0.0) -> list[Sums]:
    """All the days, in chunks that fit in memory."""
    rng = np.random.default_rng(seed)
    return [arms.a_day(rng, CHUNK, TICKS, slower=slower) for _ in range(RUNS // CHUNK)]


@pytest.fixture(scope="module")
def like_arms() -> list[Sums]:
    """Days of two like arms, shared by the tests of this module."""
    return days(2026)


def alarms(chunks: list[Sums], log_e: Callable[[Sums], Array]) -> int:
    """On how many days the evidence was enough at any tick."""
    return sum(int((log_e(sums) >= ENOUGH).any(axis=1).sum()) for sums in chunks)


def sign(sums: Sums) -> Array:
    """The sign test companion."""
    return arms.errors_one_sided(sums.above, sums.ratios - sums.above)


def regression(sums: Sums) -> Array:
    """The mean of the one-sided tests, with the weights of a verdict that has no SLO."""
    share = criteria.SYMMETRY_SHARE
    ratio = arms.ratio_above(sums.ratios, sums.s1, sums.s2, 0.0, criteria.RHO)
    latency = arms.mean([(share, ratio), (1 - share, sign(sums))])
    return arms.mean([(criteria.ERRORS_WEIGHT, errors(sums)), (1 - criteria.ERRORS_WEIGHT, latency)])


def errors(sums: Sums) -> Array:
    """The one-sided test of failures, by the module itself."""
    return arms.at_states(mcnemar.log_e_one_sided, sums.shadow_only, sums.live_only)


TESTS: dict[str, Callable[[Sums], Array]] = {
    "errors, one-sided": errors,
    "errors, two-sided": lambda sums: arms.at_states(mcnemar.log_e_two_sided, sums.shadow_only, sums.live_only),
    "errors by betting": lambda sums: arms.capital(sums.shadow_only, sums.neither, sums.live_only, 0.0, WORSE),
    "latency above": lambda sums: arms.ratio_above(sums.ratios, sums.s1, sums.s2, 0.0),
    "latency below": lambda sums: arms.ratio_below(sums.ratios, sums.s1, sums.s2, 0.0),
    "latency, signs": sign,
    "all together": regression,
}


@pytest.mark.parametrize("name", TESTS)
def test_false_alarms_of_like_arms(like_arms: list[Sums], name: str) -> None:
    """At most 1.3 alpha of days of like arms ever alarm: with swinging rates, heavy tails, shared outages, peeked at every tick."""
    found = alarms(like_arms, TESTS[name])
    assert arms.upper_bound(found, RUNS) <= 1.3 * ALPHA, f"{found} of {RUNS}"


def test_the_simulated_days_are_not_too_tame(like_arms: list[Sums]) -> None:
    """The days have what they are to have: discordant pairs enough to err on, and a naive test that does so badly."""
    last = [sums.shadow_only[:, -1] + sums.live_only[:, -1] for sums in like_arms]
    assert float(np.median(np.concatenate(last))) > 10

    def naive(sums: Sums) -> Array:
        spread = np.sqrt(np.maximum(sums.s2, 1e-9))
        return np.where(np.abs(sums.s1) > 1.96 * spread, ENOUGH, 0.0)

    assert alarms(like_arms, naive) > 0.15 * RUNS


@pytest.mark.parametrize(("log_e", "published"), [(mcnemar.log_e_two_sided, 0.038), (mcnemar.log_e_one_sided, 0.036)])
def test_false_alarms_with_a_peek_at_each_discordant_pair(log_e: Callable[[float, float], float], published: float) -> None:
    """The simulation of C2: a thousand discordant pairs of like arms, looked at after each, alarm as often as published."""
    # Evidence rises with b, so an alarm after n pairs is b at or beyond a bound, on either side for the two-sided test.
    at = np.arange(1, 1001)
    bounds = np.array([next((b for b in range((n + 1) // 2, n + 1) if log_e(b, n - b) >= ENOUGH), n + 1) for n in range(1, 1001)])
    rng = np.random.default_rng(69)
    runs, found = 10_000 if DEEP else 4000, 0
    for _ in range(runs // CHUNK):
        b = np.cumsum(rng.random((CHUNK, 1000)) < 0.5, axis=1)
        extreme = np.maximum(b, at - b) if log_e is mcnemar.log_e_two_sided else b
        found += int((extreme >= bounds).any(axis=1).sum())
    assert arms.upper_bound(found, runs) <= 1.3 * ALPHA
    assert found / runs == pytest.approx(published, abs=0.012)


@pytest.mark.parametrize(("delta", "discordant"), [(0.01, 0.03), (0.002, 0.004)])
def test_a_shadow_at_the_margin_is_not_certified(delta: float, discordant: float) -> None:
    """Worse by exactly the margin: SAFE in at most 1.3 beta of runs, however often one looks."""
    rng = np.random.default_rng(int(1 / delta))
    runs, looks = (4000, 400) if DEEP else (1000, 200)
    step = int(60 / delta / looks)
    up, down = (discordant + delta) / 2, (discordant - delta) / 2
    counted = np.cumsum(rng.multinomial(step, [up, 1 - up - down, down], (runs, looks)), axis=1).astype(np.float64)
    for direction in (NOT_WORSE, WORSE):
        found = arms.capital(counted[:, :, 0], counted[:, :, 1], counted[:, :, 2], delta, direction)
        certified = int((found >= ENOUGH).any(axis=1).sum())
        assert arms.upper_bound(certified, runs) <= 1.3 * ALPHA, f"{direction}: {certified} of {runs}"


def test_a_latency_at_the_margin_is_not_certified() -> None:
    """Slower by exactly two per cent, on days like the others: neither "not slower" nor "slower" in more than 1.3 alpha."""
    margin = log(1.02)
    chunks = days(102, slower=margin)
    for test in (arms.ratio_below, arms.ratio_above):
        found = alarms(chunks, lambda sums, test=test: test(sums.ratios, sums.s1, sums.s2, margin))  # type: ignore[misc]
        assert arms.upper_bound(found, RUNS) <= 1.3 * ALPHA, f"{found} of {RUNS}"


@pytest.mark.parametrize(
    ("live", "new", "published"), [(0.01, 0.005, 1273), (0.01, 0.002, 3494), (0.02, 0.002, 5133), (0.001, 0.002, 3719)]
)
def test_pairs_until_new_failures_are_found(live: float, new: float, published: int) -> None:
    """The medians of C2, where the shadow repeats 98 % of live's failures: at most 15 % more pairs than published."""
    rng = np.random.default_rng(published)
    shadow_only, live_only = (1 - live) * new, live * 0.02 * (1 - new)
    waits = np.cumsum(rng.geometric(shadow_only + live_only, (2000, 300)), axis=1)
    b = np.cumsum(rng.random(waits.shape) < shadow_only / (shadow_only + live_only), axis=1)
    first = arms.crossing(arms.at_states(mcnemar.log_e_one_sided, b, np.arange(1, 301) - b), ENOUGH)
    assert np.isfinite(first).mean() > 0.95
    found = np.where(np.isfinite(first), waits[np.arange(len(waits)), np.minimum(first, 300).astype(int) - 1], np.inf)
    assert 0.7 * published < float(np.median(found)) <= 1.15 * published


@pytest.mark.parametrize(
    ("delta", "discordant", "published"),
    [(0.01, 0.004, 397), (0.005, 0.004, 1187), (0.002, 0.004, 10_393), (0.002, 0.001, 2046), (0.001, 0.001, 8636)],
)
def test_pairs_until_like_versions_are_certified(delta: float, discordant: float, published: int) -> None:
    """The medians of C3: at most 15 % more pairs than published, and far fewer where a stake had to be learnt."""
    rng = np.random.default_rng(published)
    step = max(1, published // 200)
    looks = int(1.2 * published / step)
    counted = np.cumsum(rng.multinomial(step, [discordant / 2, 1 - discordant, discordant / 2], (4000, looks)), axis=1)
    first = arms.crossing(arms.capital(counted[:, :, 0], counted[:, :, 1], counted[:, :, 2], delta, NOT_WORSE), ENOUGH)
    assert float(np.median(first)) * step <= 1.15 * published


@pytest.mark.parametrize(
    ("slower", "published", "step", "rho"),
    [
        (0.01, 5721, 20, symmetry.RHO),
        (0.02, 1631, 5, symmetry.RHO),
        (0.05, 186, 1, symmetry.RHO),
        (0.10, 65, 1, symmetry.RHO),
        # What verdicts use is sharper for small shifts, and pays with a few pairs at great ones.
        (0.01, 5721, 20, criteria.RHO),
        (0.05, 186, 1, criteria.RHO),
    ],
)
def test_pairs_until_a_slower_shadow_is_found(slower: float, published: int, step: int, rho: float) -> None:
    """The medians of C4, for normal noise of 20 % an arm: at most 15 % more pairs than published."""
    rng = np.random.default_rng(published)
    shape = (6000 if step > 1 else 2000, int(1.3 * published / step))
    # Sums of a tick of normal log ratios, without drawing each: their total, and chi-squared what is left about it.
    total = rng.normal(step * log(1 + slower), 0.2 * (2 * step) ** 0.5, shape)
    squares = total**2 / step + (0.08 * rng.chisquare(step - 1, shape) if step > 1 else 0.0)
    pairs = step * np.arange(1, shape[1] + 1)
    found = arms.crossing(arms.ratio_above(pairs, np.cumsum(total, axis=1), np.cumsum(squares, axis=1), 0.0, rho), ENOUGH)
    assert 0.7 * published < step * float(np.median(found)) <= 1.15 * published


def test_pairs_until_a_slower_shadow_is_found_in_heavy_tails() -> None:
    """Noise of 20 % an arm by Student's t with 2.5 degrees of freedom: five per cent are found after 155 pairs, or 15 % more."""
    rng = np.random.default_rng(25)
    noise = rng.standard_t(2.5, (2, 2000, 400)) * 0.2 / 5**0.5
    d = log(1.05) + noise[0] - noise[1]
    found = arms.crossing(arms.ratio_above(np.arange(1, 401), np.cumsum(d, axis=1), np.cumsum(d * d, axis=1), 0.0), ENOUGH)
    assert float(np.median(found)) <= 1.15 * 155


def test_the_array_forms_are_the_modules() -> None:
    """What the simulations compute is what the judge computes, at three hundred random states."""
    rng = np.random.default_rng(1)
    for _ in range(300):
        b, c, zero = (int(count) for count in rng.integers(0, 10 ** rng.integers(1, 5), 3))
        assert float(arms.errors_one_sided(b, c)) == pytest.approx(mcnemar.log_e_one_sided(b, c), abs=1e-6) or (c - b) ** 2 > 1000 * (b + c)
        assert float(arms.errors_two_sided(b, c)) == pytest.approx(mcnemar.log_e_two_sided(b, c), abs=1e-6)
        for direction in (WORSE, NOT_WORSE):
            assert float(arms.capital(b, zero, c, 0.01, direction)) == pytest.approx(
                betting.log_capital(b, zero, c, 0.01, direction), rel=1e-9, abs=1e-9
            )
        d = rng.standard_t(2.5, 50)
        sums = LogRatio(50, float(d.sum()), float((d * d).sum()))
        assert float(arms.ratio_above(50, sums.s1, sums.s2, 0.01)) == pytest.approx(symmetry.log_e_above(sums, 0.01), abs=1e-9)
        assert float(arms.ratio_below(50, sums.s1, sums.s2, 0.01)) == pytest.approx(symmetry.log_e_below(sums, 0.01), abs=1e-9)
        parts = [(0.25, sums.s1), (0.75, sums.s2)]
        assert float(arms.mean([(weight, np.asarray(value)) for weight, value in parts])) == pytest.approx(mean_log_e(parts))


def test_a_jump_in_seven_of_ten_points_is_found() -> None:
    """Seven minutes of ten a hundred times slower, ten pairs a minute: found within two slow minutes."""
    rng = np.random.default_rng(10)
    sums = LogRatio()
    minutes = 0
    for is_slow in (False, True, True, False, True, True, True, False, True, True):
        minutes += 1
        d = rng.normal(0.0, 0.28, 10) + (log(100) if is_slow else 0.0)
        sums += LogRatio(10, float(d.sum()), float((d * d).sum()))
        if symmetry.log_e_above(sums, log(1.01)) >= ENOUGH:
            break
    assert minutes <= 3


def test_sparse_errors_are_found() -> None:
    """One request in a thousand fails anew and live never does: six of them are enough, whatever lies between."""
    assert mcnemar.log_e_one_sided(6, 0) >= ENOUGH
    assert betting.log_capital(9, 8991, 0, 0.0, WORSE) >= ENOUGH


def test_a_change_of_variance_alone_is_found_by_the_crossings() -> None:
    """The same median, thrice the scatter: no ratio test may alarm for long, and crossings of a threshold do at once."""
    rng = np.random.default_rng(12)
    live, shadow = np.exp(rng.normal(0, 0.2, 2000)), np.exp(rng.normal(0, 0.6, 2000))
    d = np.log(shadow) - np.log(live)
    assert symmetry.log_e_above(LogRatio(len(d), float(d.sum()), float((d * d).sum())), 0.0) < ENOUGH
    slow = 1.5
    crossings = int(((shadow > slow) & (live <= slow)).sum()), int(((live > slow) & (shadow <= slow)).sum())
    assert mcnemar.log_e_one_sided(*crossings) > 20 * ENOUGH
