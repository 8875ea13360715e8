"""Betting on risk differences: fair under the null, blind to order, monotone in the margin."""

from __future__ import annotations

from math import exp, isfinite, log, log1p

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge import betting
from shadowproxy.judge.betting import NOT_WORSE, STAKES, WORSE, Bet, Direction, RiskDifference, log_capital

counts = st.integers(0, 2000)
triples = st.tuples(counts, counts, counts)
margins = st.floats(-0.9, 0.9)
directions = st.sampled_from([WORSE, NOT_WORSE])


def counted(plus: int, zero: int, minus: int) -> RiskDifference:
    """A risk difference that has seen so many pairs."""
    risk = RiskDifference()
    risk.update(plus, zero, minus)
    return risk


@given(triples, margins, directions, st.floats(0, 1))
def test_the_null_cannot_be_expected_to_win(seen: tuple[int, int, int], delta: float, direction: Direction, discordant: float) -> None:
    """From any state, if the mean of the next pair is the margin itself, the mean of the next capital is this one."""
    # Any law on {-1, 0, 1} whose mean is delta: P(+) - P(-) = delta, with as much discordance as there is room for.
    both = abs(delta) + discordant * (1 - abs(delta))
    up, down = (both + delta) / 2, (both - delta) / 2
    plus, zero, minus = seen
    now = log_capital(plus, zero, minus, delta, direction)
    then = (
        up * exp(log_capital(plus + 1, zero, minus, delta, direction) - now)
        + (1 - up - down) * exp(log_capital(plus, zero + 1, minus, delta, direction) - now)
        + down * exp(log_capital(plus, zero, minus + 1, delta, direction) - now)
    )
    assert then == pytest.approx(1.0, abs=1e-6)


@given(counts, counts, counts, margins, margins)
def test_evidence_is_monotone_in_the_margin(plus: int, zero: int, minus: int, one: float, other: float) -> None:
    """More is harder to show: being worse by more, and being worse by less."""
    low, high = sorted((one, other))
    assert log_capital(plus, zero, minus, low, WORSE) >= log_capital(plus, zero, minus, high, WORSE) - 1e-9
    assert log_capital(plus, zero, minus, low, NOT_WORSE) <= log_capital(plus, zero, minus, high, NOT_WORSE) + 1e-9


@given(counts, counts, counts, margins)
def test_the_directions_mirror_each_other(plus: int, zero: int, minus: int, delta: float) -> None:
    """To show that the shadow is not worse is to show that live is: pairs and margin change their sign."""
    assert log_capital(plus, zero, minus, delta, WORSE) == log_capital(minus, zero, plus, -delta, NOT_WORSE)


@given(counts, counts, counts, margins)
def test_a_failure_of_the_shadow_counts_for_worse(plus: int, zero: int, minus: int, delta: float) -> None:
    """One more shadow-only failure raises the evidence for WORSE and lowers that for NOT_WORSE; one of live the reverse."""
    assert log_capital(plus + 1, zero, minus, delta, WORSE) > log_capital(plus, zero, minus, delta, WORSE)
    assert log_capital(plus + 1, zero, minus, delta, NOT_WORSE) < log_capital(plus, zero, minus, delta, NOT_WORSE)
    assert log_capital(plus, zero, minus + 1, delta, WORSE) < log_capital(plus, zero, minus, delta, WORSE)
    assert log_capital(plus, zero, minus + 1, delta, NOT_WORSE) > log_capital(plus, zero, minus, delta, NOT_WORSE)


@given(st.lists(triples, max_size=6), margins, directions)
def test_ticks_of_any_size_and_order_come_to_the_same(ticks: list[tuple[int, int, int]], delta: float, direction: Direction) -> None:
    """Ten workers, one worker, one huge tick: the evidence is that of the counts."""
    one, other = Bet(delta, direction), Bet(delta, direction)
    for tick in ticks:
        one.update(*tick)
    for tick in reversed(ticks):
        other.update(*tick)
    plus, zero, minus = (sum(tick[at] for tick in ticks) for at in range(3))
    assert one.log_e == other.log_e == log_capital(plus, zero, minus, delta, direction)


@given(counts, counts, counts, st.sampled_from([0.001, 0.05, 0.5]))
def test_the_interval_holds_the_estimate_and_nothing_refuted(plus: int, zero: int, minus: int, alpha: float) -> None:
    """The ends are refuted or the ends of the scale; the estimate is inside; a surer interval is wider."""
    risk = counted(plus, zero, minus)
    low, high = risk.interval(alpha)
    assert -1.0 <= low <= high <= 1.0
    if risk.estimate is not None:
        assert low <= risk.estimate <= high
    threshold = log(2 / alpha)
    assert low == -1.0 or risk.log_worse(low) >= threshold
    assert high == 1.0 or risk.log_not_worse(high) >= threshold
    wider = risk.interval(alpha / 10)
    assert wider[0] <= low
    assert wider[1] >= high


@given(counts, counts, counts)
def test_the_interval_mirrors_too(plus: int, zero: int, minus: int) -> None:
    """Exchanging the arms turns the interval round."""
    low, high = counted(plus, zero, minus).interval(0.05)
    assert counted(minus, zero, plus).interval(0.05) == (-high, -low)


@given(counts, counts, counts, margins, directions)
def test_the_capital_is_the_gamblers_capital_added_up(plus: int, zero: int, minus: int, delta: float, direction: Direction) -> None:
    """Each gambler keeps one stake within c / (1 + delta) for ever; all begin with one unit together."""
    room = 1 + delta if direction is WORSE else 1 - delta
    sign = 1 if direction is WORSE else -1
    logs = [
        share
        + plus * log1p(stake / room * sign * (1 - delta))
        + zero * log1p(stake / room * sign * (0 - delta))
        + minus * log1p(stake / room * sign * (-1 - delta))
        for stake, share in zip(STAKES, betting._LOG_SHARES, strict=True)
    ]
    top = max(logs)
    assert log_capital(plus, zero, minus, delta, direction) == pytest.approx(top + log(sum(exp(value - top) for value in logs)), abs=1e-6)
    assert sum(exp(share) for share in betting._LOG_SHARES) == pytest.approx(1.0, abs=1e-12)
    assert max(STAKES) == betting.TRUNCATION < 1


def test_a_huge_first_tick_is_bet_on_well() -> None:
    """A hundred thousand pairs at once, with many failures on both sides, certify what they show: nothing is staked away."""
    risk = RiskDifference((0.005,))
    risk.update(2000, 96_000, 2000)
    assert risk.log_not_worse(0.005) >= log(20)
    # A single stake, the one that suits pairs that hardly ever differ, would have lost everything but exp(-400) of it.
    stake = betting.TRUNCATION / (1 - 0.005)
    assert 2000 * log1p(-stake * 0.995) + 96_000 * log1p(stake * 0.005) + 2000 * log1p(stake * 1.005) < -400


@pytest.mark.parametrize(
    "pairs",
    [(0, 10**9, 0), (10**9, 0, 0), (0, 0, 10**9), (10**6, 10**9, 10**6), (10**9, 10**9, 10**9), (0, 0, 10**6), (1, 0, 0), (0, 0, 0)],
)
def test_extreme_counts_are_finite(pairs: tuple[int, int, int]) -> None:
    """A thousand million pairs of one kind have evidence that is a number, and an interval within the scale."""
    risk = counted(*pairs)
    for delta in (-0.999, -0.002, 0.0, 0.002, 0.999):
        assert isfinite(risk.log_worse(delta))
        assert isfinite(risk.log_not_worse(delta))
    low, high = risk.interval(0.05)
    assert -1.0 <= low <= high <= 1.0


def test_intervals_narrow_as_pairs_come() -> None:
    """As the square root of the pairs, and a logarithm: ten thousand times the pairs, about a hundredth of the width."""
    wide, narrow = (counted(20 * size, 9960 * size, 20 * size).interval(0.05) for size in (1, 10_000))
    assert 50 < (wide[1] - wide[0]) / (narrow[1] - narrow[0]) < 110


def test_without_pairs_nothing_is_known() -> None:
    """No evidence, no estimate, and the whole scale for an interval."""
    risk = RiskDifference((0.002,))
    assert risk.log_worse(0.002) == pytest.approx(0.0, abs=1e-12)
    assert risk.estimate is None
    assert risk.interval(0.05) == (-1.0, 1.0)
    assert risk.pairs == 0


def test_it_shows_its_state() -> None:
    """A repr has the counts and the evidence at the margins."""
    risk = RiskDifference((0.002,))
    risk.update(6, 4990, 4)
    assert (
        repr(risk)
        == f"RiskDifference(+6 0:4990 -4, worse than 0.002: {risk.log_worse(0.002):.4g}, not worse: {risk.log_not_worse(0.002):.4g})"
    )
    bet = Bet(0.002, NOT_WORSE)
    bet.update(1, 2, 3)
    assert repr(bet) == f"Bet(not_worse than 0.002, +1 0:2 -3, log_e={bet.log_e:.4g})"


@pytest.mark.parametrize("delta", [-1.0, 1.0, 2.0, float("nan")])
def test_a_margin_that_is_none_is_refused(delta: float) -> None:
    """At the start, wherever it is given."""
    with pytest.raises(ValueError, match="between -1 and 1"):
        RiskDifference((delta,))
    with pytest.raises(ValueError, match="between -1 and 1"):
        Bet(delta, WORSE)
    with pytest.raises(ValueError, match="between -1 and 1"):
        log_capital(1, 2, 3, delta, WORSE)


def test_arguments_out_of_range_are_refused() -> None:
    """Counts are not negative, and alpha is a probability."""
    with pytest.raises(ValueError, match="cannot be negative: -1, 0 and 2"):
        log_capital(-1, 0, 2, 0.0, WORSE)
    with pytest.raises(ValueError, match="between 0 and 1, not 0"):
        RiskDifference().interval(0)
