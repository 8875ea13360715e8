"""The Shiryaev-Roberts detector: rare false alarms for ever, and quick ones when something breaks late."""

from __future__ import annotations

from math import exp, inf, isfinite, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.detectors import RUN_LENGTH, SHARES, ShiryaevRoberts, log_add
from shadowproxy.judge.mcnemar import log_e_two_sided

ticks = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), max_size=12)


def alarm(coins: list[bool], run_length: float) -> int:
    """How many discordant pairs, one a tick, until the alarm; more than there are when none comes."""
    detector = ShiryaevRoberts(run_length)
    for at, is_shadow in enumerate(coins, 1):
        detector.update(int(is_shadow), int(not is_shadow))
        if detector.is_alarmed:
            return at
    return len(coins) + 1


def alarms(rng: np.random.Generator, runs: int, history: int, share: float, horizon: int) -> np.ndarray:
    """`alarm` for many runs at once, less the healthy history: the same recursion on arrays, for the simulations."""
    chains = np.zeros((len(SHARES), runs))
    found = np.full(runs, horizon + 1.0)
    for at in range(1, history + horizon + 1):
        is_shadow = rng.random(runs) < (0.5 if at <= history else share)
        for row, p in enumerate(SHARES):
            chains[row] = (chains[row] + 1.0) * np.where(is_shadow, 2 * p, 2 * (1 - p))
        if at > history:
            found = np.where((chains.mean(axis=0) >= RUN_LENGTH) & (found > horizon), at - history, found)
    return found


@given(ticks)
def test_it_is_the_recursion_that_it_says(listed: list[tuple[int, int]]) -> None:
    """M = (M + n) L for each share, and their mean; a tick without discordant pairs changes nothing."""
    detector = ShiryaevRoberts()
    chains = [0.0] * len(SHARES)
    for b, c in listed:
        detector.update(b, c)
        if b + c:
            chains = [(value + b + c) * (2 * p) ** b * (2 * (1 - p)) ** c for value, p in zip(chains, SHARES, strict=True)]
    mean = sum(chains) / len(chains)
    assert detector.log_detector == pytest.approx(log(mean) if mean else -inf, rel=1e-9, abs=1e-9)
    assert detector.seen == sum(b + c for b, c in listed)
    assert detector.is_alarmed == (mean >= RUN_LENGTH)


@given(ticks, st.floats(0.0, 0.5), st.integers(1, 12))
def test_it_grows_no_faster_than_pairs_come(listed: list[tuple[int, int]], p: float, tick: int) -> None:
    """M less the number of discordant pairs is a supermartingale when coins are fair or favour the shadow: so E[pairs] >= A."""
    before = ShiryaevRoberts()
    for b, c in listed:
        before.update(b, c)
    value = exp(before.log_detector)
    mean = 0.0
    chance = (1 - p) ** tick
    for b in range(tick + 1):
        after = ShiryaevRoberts()
        for seen in [*listed, (b, tick - b)]:
            after.update(*seen)
        mean += chance * exp(after.log_detector)
        chance = chance * (tick - b) / (b + 1) * p / (1 - p)
    assert mean <= (value + tick) * (1 + 1e-9)


def test_the_fast_form_of_the_simulations_is_the_detector() -> None:
    """Arrays and objects alarm at the same pairs."""
    coins = np.random.default_rng(3).random((200, 20)) < 0.7

    class Replay:
        """Deals the same coins again."""

        def __init__(self) -> None:
            self.rows = iter(coins)

        def random(self, runs: int) -> np.ndarray:
            return np.where(next(self.rows), 0.0, 1.0)

    fast = alarms(Replay(), 20, 0, 0.5, 200)  # type: ignore[arg-type]
    slow = [alarm([bool(coin) for coin in coins[:, run]], RUN_LENGTH) for run in range(20)]
    assert fast.tolist() == slow
    assert min(slow) < 200


def test_false_alarms_are_as_rare_as_promised() -> None:
    """On average at least `run_length` discordant pairs pass between false alarms, and not many times that."""
    rng = np.random.default_rng(7)
    waits = [alarm((rng.random(6000) < 0.5).tolist(), 200.0) for _ in range(60)]
    assert float(np.mean(waits)) >= 200.0
    assert float(np.mean(waits)) <= 2000.0


def test_a_late_fault_is_found_as_fast_as_an_early_one() -> None:
    """The delays of STATISTICS C7 after 0, 200 and 1000 healthy discordant pairs, and those of the two-sided mixture, which grow."""
    rng = np.random.default_rng(11)
    delays = [float(np.median(alarms(rng, 2000, history, 0.8, 200))) for history in (0, 200, 1000)]
    assert delays == [pytest.approx(wanted, rel=0.15) for wanted in (37, 33, 31)]
    tired = [_mixture_delay(rng, history) for history in (0, 200, 1000)]
    assert tired == [pytest.approx(wanted, rel=0.15) for wanted in (18, 90, 197)]


def _mixture_delay(rng: np.random.Generator, history: int, runs: int = 300) -> float:
    """The median number of discordant pairs until the two-sided test, begun at the start, finds the same change."""
    found = []
    for _ in range(runs):
        b = int(rng.binomial(history, 0.5))
        total = history
        while log_e_two_sided(b, total - b) < log(20):
            total += 1
            b += int(rng.random() < 0.8)
        found.append(total - history)
    return float(np.median(found))


def test_a_restart_forgets() -> None:
    """What is watched has changed: the evidence of before is no more."""
    detector = ShiryaevRoberts(100)
    detector.update(50, 0)
    assert detector.is_alarmed
    detector.restart()
    assert (detector.seen, detector.log_detector, detector.is_alarmed) == (0, -inf, False)


@pytest.mark.parametrize(("b", "c"), [(10**9, 0), (0, 10**9), (10**9, 10**9)])
def test_extreme_counts_are_finite(b: int, c: int) -> None:
    """A tick of a thousand million pairs is a number, and the next tick recovers from it."""
    detector = ShiryaevRoberts()
    detector.update(b, c)
    assert isfinite(detector.log_detector)
    detector.update(40, 0)
    assert detector.is_alarmed


def test_it_shows_its_state() -> None:
    """A repr has the pairs seen, the value and where it alarms."""
    detector = ShiryaevRoberts(1000)
    detector.update(3, 1)
    assert repr(detector) == f"ShiryaevRoberts(seen=4, log_detector={detector.log_detector:.4g} of 6.908)"


def test_sums_in_log_space() -> None:
    """Nothing added to nothing is nothing."""
    assert log_add(-inf, -inf) == -inf
    assert log_add(-inf, 2.0) == log_add(2.0, -inf) == 2.0
    assert log_add(1.0, 2.0) == pytest.approx(log(exp(1) + exp(2)))


def test_arguments_out_of_range_are_refused() -> None:
    """Counts are not negative, and there is a pair between alarms."""
    with pytest.raises(ValueError, match="cannot be negative: 1 and -1"):
        ShiryaevRoberts().update(1, -1)
    with pytest.raises(ValueError, match="at least one pair"):
        ShiryaevRoberts(0.5)
