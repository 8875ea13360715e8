"""Counts in arms: the published values, intervals that agree with the evidence, and counts that cannot be."""

from __future__ import annotations

import random
from math import exp, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from shadowproxy.judge import rates

counts = st.integers(0, 10**9)
shares = st.floats(0.001, 0.999)


@pytest.mark.parametrize(
    ("concentration", "observed", "bayes_factor", "digits"),
    [
        (100, (10_200, 9_800), 3.768, 1e-3),
        (100, (10_400, 9_600), 5.803e5, 1e-3),
        (100, (51_000, 49_000), 1.502e7, 1e-3),
        (10_000, (10_200, 9_800), 8.31, 1e-3),
        (10_000, (10_400, 9_600), 2.481e4, 1e-3),
        (10_000, (51_000, 49_000), 2.377e7, 1e-3),
        (100, (10_200, 9_800), 3.767532721, 1e-7),
        (10_000, (51_000, 49_000), 23771906.007, 1e-7),
    ],
)
def test_the_sample_ratio_check_has_the_published_values(
    concentration: float, observed: tuple[int, int], bayes_factor: float, digits: float
) -> None:
    """Half and half (STATISTICS C6): as published, and to the digits that the formula in scipy gives."""
    found = exp(rates.log_e_shares(observed, (0.5, 0.5), concentration))
    assert found == pytest.approx(bayes_factor, rel=digits)
    prior = concentration / 2
    exact = special.betaln(prior + observed[0], prior + observed[1]) - special.betaln(prior, prior) + sum(observed) * log(2)
    assert log(found) == pytest.approx(float(exact), abs=1e-7)
    if concentration == rates.RATIO_CONCENTRATION:
        assert rates.log_e_sample_ratio(observed, (0.5, 0.5)) == pytest.approx(log(found))


def test_marginal_likelihoods_have_the_published_values() -> None:
    """Dirichlet(1, 1, 1), an event at a time (STATISTICS C14)."""
    seen = [0, 0, 0]
    for cell, expected in zip((0, 1, 0, 1, 2), (-1.0986123, -2.4849066, -3.4011974, -4.4998097, -6.4457198), strict=True):
        seen[cell] += 1
        assert rates.log_marginal(seen, (1, 1, 1)) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("successes", "trials", "t_opt", "low", "high"),
    [
        (700, 1000, 100, 0.651629, 0.745949),
        (15, 50, 50, 0.129556, 0.511896),
        (5, 50, 50, 0.013021, 0.269264),
        (1, 50, 50, 0.0, 0.13489),
    ],
)
def test_intervals_of_a_share_have_the_published_values(successes: int, trials: int, t_opt: float, low: float, high: float) -> None:
    """As in confseq's unit tests (STATISTICS C14), to the digits given; failures mirror successes."""
    assert rates.share_interval(successes, trials, t_opt=t_opt) == pytest.approx((low, high), abs=2e-6)
    mirrored = rates.share_interval(trials - successes, trials, t_opt=t_opt)
    assert mirrored == pytest.approx((1 - high, 1 - low), abs=2e-6)


def test_shares_of_nothing_and_of_everything() -> None:
    """No trial says nothing; certain ends are ends."""
    assert rates.share_interval(0, 0) == (0, 1)
    assert rates.share_interval(0, 1000)[0] == 0
    assert rates.share_interval(1000, 1000)[1] == 1
    with pytest.raises(ValueError, match="3 of 2"):
        rates.share_interval(3, 2)


def test_a_rate_ratio_is_read_at_the_shares_of_traffic() -> None:
    """The same hundred errors mean the same rate at half the traffic, and nine times live's at a tenth of it."""
    assert rates.rate_ratio(100, 100, 0.5).estimate == pytest.approx(1)
    tenth = rates.rate_ratio(100, 100, 0.1)
    assert tenth.estimate == pytest.approx(9)
    assert 1 < tenth.low < 9
    assert tenth.high is not None
    assert 9 < tenth.high < 30
    assert tenth.log_e > log(1e6)


def test_few_events_bound_a_ratio_on_one_side_only() -> None:
    """Nothing in an arm: no estimate above, no end there. Nothing at all: anything is possible."""
    assert rates.rate_ratio(0, 0, 0.5) == rates.RateRatio(None, 0.0, None, 0.0)
    only_shadow = rates.rate_ratio(0, 40, 0.5)
    assert (only_shadow.estimate, only_shadow.high) == (None, None)
    assert only_shadow.low > 1
    only_live = rates.rate_ratio(40, 0, 0.5)
    assert (only_live.estimate, only_live.low) == (0, 0)
    assert only_live.high is not None
    assert only_live.high < 1


@given(counts, counts, shares, st.floats(1e-6, 0.5))
def test_ratio_intervals_agree_with_the_evidence(live: int, shadow: int, share: float, alpha: float) -> None:
    """1 is outside the interval just when the evidence against it reaches 1/alpha; all is finite."""
    found = rates.rate_ratio(live, shadow, share, alpha)
    assert isfinite(found.log_e)
    assert isfinite(found.low)
    assert found.high is None or (isfinite(found.high) and found.high >= found.low)
    is_outside = found.low > 1 + 1e-9 or (found.high is not None and found.high < 1 - 1e-9)
    if is_outside:
        assert found.log_e >= log(1 / alpha) - 1e-3
    if found.log_e > log(1 / alpha) + 1e-3:
        assert found.low > 1 or (found.high is not None and found.high < 1)


@given(counts, counts, shares)
def test_evidence_about_shares_does_not_depend_on_their_order(a: int, b: int, share: float) -> None:
    """Arms may be named in any order."""
    forth, back = rates.log_e_shares((a, b), (share, 1 - share)), rates.log_e_shares((b, a), (1 - share, share))
    assert forth == pytest.approx(back, rel=1e-9, abs=1e-4)


@given(st.lists(st.integers(0, 200), min_size=2, max_size=4), st.data())
def test_evidence_about_shares_is_a_martingale(seen: list[int], data: st.DataObject) -> None:
    """If shares are as said, the e-value after one more event is today's on average."""
    weights = [data.draw(st.floats(0.1, 1)) for _ in seen]
    expected = [weight / sum(weights) for weight in weights]
    today = rates.log_e_shares(seen, expected)
    after = [rates.log_e_shares([n + (k == cell) for k, n in enumerate(seen)], expected) for cell in range(len(seen))]
    assert sum(share * exp(log_e - today) for share, log_e in zip(expected, after, strict=True)) == pytest.approx(1, rel=1e-6)


def test_what_cannot_happen_is_certain() -> None:
    """A request in an arm without a share is beyond doubt, and the number for it can be written down."""
    assert rates.log_e_sample_ratio((5, 0), (1.0, 0.0)) == 0
    assert rates.log_e_sample_ratio((5, 1), (1.0, 0.0)) == rates.CERTAIN
    assert isfinite(rates.CERTAIN)


@pytest.mark.parametrize(
    ("seen", "expected", "concentration"),
    [((-1, 1), (0.5, 0.5), 1), ((1, 1), (0.5, 0.6), 1), ((1, 1), (1.5, -0.5), 1), ((1, 1), (0.5, 0.5), 0)],
)
def test_counts_and_shares_that_are_none_are_refused(seen: tuple[int, int], expected: tuple[float, float], concentration: float) -> None:
    """With what was given in the message."""
    with pytest.raises(ValueError, match="cannot be tested against"):
        rates.log_e_shares(seen, expected, concentration)


@pytest.mark.parametrize(("share", "alpha"), [(0, 0.05), (1, 0.05), (0.5, 0), (0.5, 1)])
def test_ratios_without_an_arm_are_refused(share: float, alpha: float) -> None:
    """Both arms need a share."""
    with pytest.raises(ValueError, match="no rates to compare"):
        rates.rate_ratio(1, 1, share, alpha)


def test_equal_rates_that_change_with_the_hour_are_seldom_told_apart() -> None:
    """300 runs of 500 events in tides, read after each: at most alpha alarms, and the interval loses 1 as seldom."""
    rng = random.Random(11)
    alarms = 0
    for _ in range(300):
        seen = [0, 0]
        top = 0.0
        for _ in range(500):
            seen[rng.random() < 0.2] += 1
            if not sum(seen) % 10:
                top = max(top, rates.log_e_shares((seen[1], seen[0]), (0.2, 0.8)))
        alarms += top >= log(10)
    assert alarms <= 30
