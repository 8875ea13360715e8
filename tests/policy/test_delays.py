"""Distributions of delays: their quantiles, their bounds, and bursts that leave the distribution as it is."""

from __future__ import annotations

import itertools
import math
import random
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from shadowproxy.config.declare import Seconds
from shadowproxy.config.experiment import Delay, Lognormal, Pareto, Uniform
from shadowproxy.policy.delays import NEAR, compile_delay, fixed_delay

DURATIONS = st.floats(0.0001, 500.0).map(Seconds)
QUANTILES = st.floats(0.0, 1.0)


@st.composite
def delays(draw: st.DrawFn) -> Delay:
    """Any delay that a file may have."""
    limit = draw(st.floats(0.0, 600.0).map(Seconds))
    correlation = draw(st.floats(0.0, 0.999))
    first, second = sorted([draw(DURATIONS), draw(DURATIONS)])
    shape: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"fixed": first},
                {"uniform": Uniform(lower=first, upper=second)},
                {"lognormal": Lognormal(median=first, p99=second)},
                {"pareto": Pareto(scale=first, shape=draw(st.floats(0.1, 100.0)))},
                {"empirical": tuple(sorted(draw(st.lists(DURATIONS, min_size=2, max_size=9))))},
            ]
        )
    )
    return Delay(limit=limit, correlation=correlation, **shape)


@given(delays(), QUANTILES, QUANTILES)
def test_a_delay_is_within_its_bounds_and_rises_with_its_quantile(delay: Delay, one: float, other: float) -> None:
    """From nothing to the limit, for every distribution and also at the ends of the range."""
    plan = compile_delay(delay)
    short, long = sorted([plan.at(one), plan.at(other)])
    assert (short, long) == (plan.at(min(one, other)), plan.at(max(one, other)))
    assert 0 <= short <= long <= round(delay.limit * 1e9)
    assert plan.at(0.0) <= short
    assert long <= plan.at(1.0)


def test_a_fixed_delay_is_always_the_same() -> None:
    """Whatever is drawn."""
    plan = compile_delay(Delay(fixed=Seconds(0.2)))
    assert {plan.at(quantile / 10) for quantile in range(11)} == {200_000_000}
    assert fixed_delay(5).at(0.3) == 5


@given(DURATIONS, DURATIONS, QUANTILES)
def test_a_uniform_delay_lies_on_a_line(one: Seconds, other: Seconds, quantile: float) -> None:
    """The shortest at 0, the longest at 1, and straight in between."""
    lower, upper = sorted([one, other])
    plan = compile_delay(Delay(uniform=Uniform(lower=lower, upper=upper), limit=Seconds(600.0)))
    assert plan.at(quantile) == pytest.approx((lower + quantile * (upper - lower)) * 1e9, abs=2)


@given(st.floats(0.0001, 10.0), st.floats(1.0, 50.0))
def test_a_lognormal_delay_has_its_median_and_p99(median: float, ratio: float) -> None:
    """Those that the file gives."""
    plan = compile_delay(Delay(lognormal=Lognormal(median=Seconds(median), p99=Seconds(median * ratio)), limit=Seconds(600.0)))
    assert plan.at(0.5) == pytest.approx(median * 1e9, rel=1e-6, abs=2)
    assert plan.at(0.99) == pytest.approx(median * ratio * 1e9, rel=1e-6, abs=2)


@given(st.floats(0.001, 10.0), st.floats(0.5, 20.0), st.floats(0.0, 0.99))
def test_a_pareto_delay_has_the_tail_that_it_is_named_for(scale: float, shape: float, quantile: float) -> None:
    """P(longer than d) = (scale / d) ** shape."""
    plan = compile_delay(Delay(pareto=Pareto(scale=Seconds(scale), shape=shape), limit=Seconds(600.0)))
    delay_s = plan.at(quantile) / 1e9
    assume(delay_s < 600.0)
    assert (scale / delay_s) ** shape == pytest.approx(1 - quantile, rel=1e-4)


@given(st.lists(DURATIONS, min_size=2, max_size=9))
def test_an_empirical_delay_goes_through_its_quantiles(recorded: list[Seconds]) -> None:
    """Each of them at its place, and none beyond them."""
    recorded.sort()
    plan = compile_delay(Delay(empirical=tuple(recorded), limit=Seconds(600.0)))
    steps = len(recorded) - 1
    for place, duration in enumerate(recorded):
        assert plan.at(place / steps) == pytest.approx(duration * 1e9, rel=1e-6, abs=2)
    for one, other in itertools.pairwise(recorded):
        assert one <= other


@given(st.floats(0.0, 0.999), QUANTILES, st.randoms(use_true_random=False))
def test_quantiles_stay_in_their_range(correlation: float, before: float, chance: random.Random) -> None:
    """Also near the ends, where a step would lead out."""
    plan = compile_delay(Delay(fixed=Seconds(1.0), correlation=correlation))
    for _ in range(20):
        before = plan.next_quantile(before, chance.random)
        assert 0.0 <= before <= 1.0


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_bursts_leave_the_distribution_as_it_is(correlation: float) -> None:
    """Correlated delays have the same distribution as independent ones; what changes is how alike neighbours are."""
    plan = compile_delay(Delay(fixed=Seconds(1.0), correlation=correlation))
    chance = random.Random(11)
    drawn = [0.5]
    for _ in range(100_000):
        drawn.append(plan.next_quantile(drawn[-1], chance.random))
    for tenth in range(10):
        share = sum(tenth / 10 <= quantile < (tenth + 1) / 10 for quantile in drawn) / len(drawn)
        assert share == pytest.approx(0.1, abs=0.02)
    near = sum(abs(one - other) <= NEAR / 2 for one, other in itertools.pairwise(drawn)) / len(drawn)
    # Independent ones are that near by chance: twice the half width, less what lies outside the range.
    by_chance = NEAR - NEAR**2 / 4
    assert near == pytest.approx(correlation + (1 - correlation) * by_chance, abs=0.02)


def test_an_extreme_tail_is_cut_at_the_limit() -> None:
    """No number is too large for it."""
    plan = compile_delay(Delay(pareto=Pareto(scale=Seconds(1.0), shape=0.1), limit=Seconds(7.0)))
    assert plan.at(1.0) == 7 * 10**9
    assert math.isfinite(plan.at(0.0))
