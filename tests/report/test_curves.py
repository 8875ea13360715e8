"""Distributions made ready for drawing."""

from __future__ import annotations

import random

import pytest

from shadowproxy import logbuckets
from shadowproxy.report import curves
from tests.report.samples import distribution


def sketch(seed: int, count: int, factor: float = 1.0) -> dict[int, int]:
    """The sketch of a sample distribution."""
    return curves.buckets_of(distribution(seed, count, factor))


def test_buckets_come_back() -> None:
    """What the API says in seconds is the bucket that was counted."""
    counted = {0: 2, 1: 1, 700: 3, 1200: 4}
    assert curves.buckets_of([(logbuckets.upper_edge(index) / 1e9, count) for index, count in counted.items()]) == counted


@pytest.mark.parametrize(("count", "most"), [(1, 9), (40, 13), (5000, 53), (200000, 65)])
def test_bars_are_as_many_as_the_answers_bear(count: int, most: int) -> None:
    """Few answers make few bars; shares are of all answers, so nearly all of them are there."""
    live, shadow = sketch(1, count), sketch(2, count)
    bars = curves.bars(live, shadow)
    assert len(bars.live) == len(bars.shadow) == len(bars.edges) - 1 <= most
    assert list(bars.edges) == sorted(bars.edges)
    for side in (bars.live, bars.shadow):
        assert 0.99 <= sum(side) <= 1.000001


def test_every_answer_is_in_the_bar_that_its_duration_says() -> None:
    """Edges are those of the buckets inside."""
    counted = {logbuckets.bucket(20_000_000): 5}
    bars = curves.bars(counted, counted)
    assert bars.edges[0] < 0.02 <= bars.edges[-1]
    assert sum(bars.live) == 1.0


def test_the_shift_of_a_shadow_that_is_slower_throughout() -> None:
    """Every quantile shows it, and the band has the truth in it."""
    chance = random.Random(5)
    values = [round(2e7 * chance.lognormvariate(0, 0.3)) for _ in range(20000)]
    live: dict[int, int] = {}
    shadow: dict[int, int] = {}
    for value in values:
        for side, factor in ((live, 1.0), (shadow, 1.2)):
            index = logbuckets.bucket(round(value * factor))
            side[index] = side.get(index, 0) + 1
    for point in curves.shifts(live, shadow, [0.05, 0.5, 0.9]):
        assert point.ratio == pytest.approx(1.2, rel=0.03)
        assert point.low is not None
        assert point.high is not None
        assert point.low <= 1.2 <= point.high


def test_the_band_is_open_where_nothing_is_known() -> None:
    """Few answers bound nothing, and the ends of a distribution are never bounded."""
    (point,) = curves.shifts({700: 5}, {701: 5}, [0.5])
    assert (point.low, point.high) == (None, None)
    assert point.ratio == pytest.approx(logbuckets.GAMMA)


def test_the_curve_has_no_steps() -> None:
    """Quantiles are interpolated inside their buckets: a shift of half a bucket shows as one."""
    live = {700: 100, 701: 100}
    shadow = {700: 50, 701: 100, 702: 50}
    (point,) = curves.shifts(live, shadow, [0.5])
    assert point.ratio == pytest.approx(logbuckets.GAMMA**0.5)
