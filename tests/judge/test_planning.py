"""Projections: about how many more pairs, and None where there is no end to it."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge import planning
from shadowproxy.judge.betting import NOT_WORSE, WORSE, RiskDifference, log_capital
from shadowproxy.judge.mcnemar import log_e_one_sided
from shadowproxy.judge.symmetry import LogRatio, log_e_below

ENOUGH = log(20)


def counted(plus: int, zero: int, minus: int) -> RiskDifference:
    """A risk difference that has seen so many pairs."""
    risk = RiskDifference()
    risk.update(plus, zero, minus)
    return risk


@given(st.floats(1e-6, 10.0), st.floats(-5.0, 5.0))
def test_it_finds_where_a_line_crosses(slope: float, start: float) -> None:
    """Within one per cent, or one pair, and not too early."""
    found = planning.until(lambda more: start + slope * more, ENOUGH)
    wanted = (ENOUGH - start) / slope
    assert found is not None
    assert wanted <= found + 1e-6
    assert found <= max(0.0, wanted) * 1.02 + 2


def test_enough_is_no_more_and_never_is_none() -> None:
    """0 when it is there already, None when it never comes or only beyond the limit."""
    assert planning.until(lambda _: 5.0, ENOUGH) == 0
    assert planning.until(lambda _: 1.0, ENOUGH) is None
    assert planning.until(lambda more: 1e-10 * more, ENOUGH) is None


def test_identical_versions_are_about_to_be_certified() -> None:
    """No discordant pair in a thousand: evidence for "within 0.2 points" comes after the two thousand and some of C3."""
    more = planning.until_margin(counted(0, 1000, 0), 0.002, NOT_WORSE, ENOUGH)
    assert more is not None
    assert 900 < more < 2000
    assert planning.until_margin(counted(2, 1996, 2), 0.002, NOT_WORSE, ENOUGH) > more  # type: ignore[operator]


@given(st.integers(0, 30), st.integers(200, 5000), st.integers(0, 30), st.sampled_from([0.002, 0.01, 0.05]))
def test_what_it_says_of_margins_comes_true(plus: int, zero: int, minus: int, delta: float) -> None:
    """After that many pairs at the same rates the evidence is there, and it is not long before."""
    risk = counted(plus, zero, minus)
    more = planning.until_margin(risk, delta, NOT_WORSE, ENOUGH)
    if not more:
        return
    up, down = planning._rates(risk)

    def log_e_after(further: float) -> float:
        return log_capital(plus + up * further, zero + (1 - up - down) * further, minus + down * further, delta, NOT_WORSE)

    assert log_e_after(more) >= ENOUGH
    assert log_e_after(max(0.0, more * 0.97 - 2)) < ENOUGH


def test_the_wrong_side_of_a_margin_is_never() -> None:
    """At an estimate of one point, "within 0.2 points" is not to be waited for, nor "worse than two"."""
    risk = counted(20, 980, 10)
    assert planning.until_margin(risk, 0.002, NOT_WORSE, ENOUGH) is None
    assert planning.until_margin(risk, 0.02, WORSE, ENOUGH) is None
    assert planning.until_margin(risk, 0.0, WORSE, ENOUGH) is not None
    assert planning.until_margin(RiskDifference(), 0.002, NOT_WORSE, ENOUGH) is None


def test_more_errors_at_the_present_rate() -> None:
    """Three new failures in 600 pairs: three more, and a little, hence about 600 more pairs."""
    more = planning.until_more_errors(3, 0, 600, ENOUGH)
    assert more is not None
    assert 400 < more < 700
    assert log_e_one_sided(3 + 3 * more / 600, 0) >= ENOUGH
    assert planning.until_more_errors(6, 0, 600, ENOUGH) == 0
    assert planning.until_more_errors(3, 3, 600, ENOUGH) is None
    assert planning.until_more_errors(0, 0, 0, ENOUGH) is None


def test_latency_at_the_present_scatter() -> None:
    """Equal versions that scatter by 28 %: certified within 2 % after some thousand pairs; never shown to be slower."""
    sums = LogRatio(400, 0.0, 32.0)
    more = planning.until_ratio(sums, log(1.02), NOT_WORSE, ENOUGH)
    assert more is not None
    assert log_e_below(sums.scaled(1 + more / 400), log(1.02)) >= ENOUGH
    assert log_e_below(sums.scaled(1 + more * 0.98 / 400), log(1.02)) < ENOUGH
    assert planning.until_ratio(sums, log(1.01), WORSE, ENOUGH) is None
    assert planning.until_ratio(LogRatio(), 0.0, WORSE, ENOUGH) is None


def test_a_slower_shadow_is_about_to_be_flagged() -> None:
    """Five per cent slower, seen for fifty pairs: about the 186 pairs of C4 in all."""
    more = planning.until_ratio(LogRatio(50, 50 * log(1.05), 50 * (0.08 + log(1.05) ** 2)), 0.0, WORSE, ENOUGH)
    assert more is not None
    assert more + 50 == pytest.approx(186, rel=0.6)
