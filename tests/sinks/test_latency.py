"""Latencies: of the form that was asked for, and never without end."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.declare import Seconds
from shadowproxy.config.sinks import Latency
from shadowproxy.sinks.latency import LONGEST_S, draw


def test_none_and_fixed() -> None:
    """Nothing asked for takes no time; a fixed one always the same."""
    assert draw(None, Random(1)) == 0.0
    assert draw(Latency(), Random(1)) == 0.0
    assert {draw(Latency(fixed=Seconds(0.05)), Random(n)) for n in range(5)} == {0.05}


def test_uniform_stays_between() -> None:
    """Every draw is from low to high, and they differ."""
    random = Random(2)
    drawn = [draw(Latency(low=Seconds(0.1), high=Seconds(0.2)), random) for _ in range(500)]
    assert min(drawn) >= 0.1
    assert max(drawn) <= 0.2
    assert sum(drawn) / 500 == pytest.approx(0.15, abs=0.01)


def test_lognormal_has_its_median_and_tail() -> None:
    """Half of the draws are below the median, one of a hundred above the p99."""
    random = Random(3)
    drawn = sorted(draw(Latency(median=Seconds(0.02), p99=Seconds(0.2)), random) for _ in range(20_000))
    assert drawn[10_000] == pytest.approx(0.02, rel=0.05)
    assert drawn[19_800] == pytest.approx(0.2, rel=0.15)


@given(st.floats(0.0001, 60), st.floats(1, 1e6), st.integers())
def test_no_answer_takes_longer_than_a_minute(median: float, factor: float, seed: int) -> None:
    """However wide the distribution."""
    latency = Latency(median=Seconds(median), p99=Seconds(min(60.0, median * factor)))
    assert 0 <= draw(latency, Random(seed)) <= LONGEST_S
