"""Scales and ticks."""

from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.report import axes
from shadowproxy.report.axes import Linear, Log, Logit


def test_scales_map_their_domain_to_their_pixels() -> None:
    """Ends to ends, and the middle by the scale's own measure."""
    assert [Linear(0, 10, 100, 200).at(value) for value in (0, 5, 10)] == [100, 150, 200]
    assert Log(0.01, 1, 0, 100).at(0.1) == pytest.approx(50)
    assert Logit(0.01, 0.99, 0, 100).at(0.5) == pytest.approx(50)
    assert Linear(0, 1, 200, 100).at(1) == 100


@given(st.floats(1e-6, 1e3), st.floats(1.05, 1e6), st.integers(2, 10))
def test_logarithmic_ticks_are_few_and_inside(low: float, ratio: float, wanted: int) -> None:
    """At least two, never many, ascending, in the domain."""
    high = low * ratio
    ticks = Log(low, high, 0, 1).ticks(wanted)
    assert 2 <= len(ticks) <= max(wanted, 6) + 1
    assert ticks == sorted(ticks)
    assert low * 0.999 <= ticks[0] <= ticks[-1] <= high * 1.001


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e6), st.integers(2, 10))
def test_linear_ticks_are_few_and_inside(low: float, width: float, wanted: int) -> None:
    """Round, never many, in the domain."""
    ticks = Linear(low, low + width, 0, 1).ticks(wanted)
    assert len(ticks) <= wanted + 1
    assert all(low - width * 1e-3 <= tick <= low + width * 1.001 for tick in ticks)


def test_ticks_are_round() -> None:
    """1, 2 and 5."""
    assert Linear(0, 1, 0, 1).ticks(5) == [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    assert Log(0.001, 1, 0, 1).ticks(9) == pytest.approx([0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0])
    assert Log(0.007, 0.5, 0, 1).ticks(9) == pytest.approx([0.01, 0.02, 0.05, 0.1, 0.2, 0.5])
    assert len(Log(1e-9, 1e9, 0, 1).ticks(4)) <= 4


def test_quantile_ticks() -> None:
    """Those that people speak of; fewer where there is less room."""
    scale = Logit(0.01, 0.999, 0, 1)
    assert scale.ticks(9) == [0.01, 0.1, 0.5, 0.9, 0.99, 0.999]
    assert 0.95 in scale.ticks(12)
    levels = scale.between(5)
    assert levels[0] == pytest.approx(0.01)
    assert levels[-1] == pytest.approx(0.999)


@pytest.mark.parametrize(("width", "step"), [(3, 1), (600, 120), (3600, 600), (86400, 21600), (10 * 86400, 172800)])
def test_moments_fall_on_the_clock(width: int, step: int) -> None:
    """Whole minutes, hours or days, however long the axis."""
    ticks = axes.moments(1_790_000_000, 1_790_000_000 + width, 6)
    assert ticks
    assert all(tick % step == 0 for tick in ticks)
    assert len(ticks) <= 8


def test_powers_of_ten() -> None:
    """In natural logarithms, not more than can be read."""
    assert axes.powers(log(0.05), log(150)) == pytest.approx([log(0.1), 0.0, log(10), log(100)])
    assert len(axes.powers(-300.0, 300.0)) <= 8


def test_a_domain_always_has_width() -> None:
    """Also around one value, and around zero."""
    for values in ([0.0], [5.0], [1.0, 2.0]):
        low, high = axes.padded(values)
        assert low < min(values) <= max(values) < high
