"""The root finder: it finds roots, stops where R's does on a step, and always stops."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import optimize

from shadowproxy.judge.kayenta import brent


@given(st.floats(-50, 50), st.floats(0.1, 100), st.floats(0.1, 100))
def test_a_root_is_found_within_the_tolerance(centre: float, left: float, right: float) -> None:
    """Of a line, a cubic and a step."""
    low, high = centre - left, centre + right
    for function in (lambda x: x - centre, lambda x: (x - centre) ** 3, lambda x: 1.0 if x >= centre else -1.0):
        found = brent.root(function, low, high, function(low), function(high))
        assert low <= found <= high
        assert abs(found - centre) <= 2 * brent.TOLERANCE


def test_it_takes_the_steps_that_brent_prescribes() -> None:
    """Of x³ - 2x - 5 between 2 and 3 with this tolerance: as scipy's, which is the same algorithm, to 1e-6 and in as many steps or so."""
    calls = []

    def cubic(x: float) -> float:
        calls.append(x)
        return x**3 - 2 * x - 5

    found = brent.root(cubic, 2.0, 3.0, -1.0, 16.0)
    assert found == pytest.approx(optimize.brentq(lambda x: x**3 - 2 * x - 5, 2, 3, xtol=1e-12), abs=1e-6)
    assert len(calls) <= 7


def test_a_root_at_an_end_is_taken_at_once() -> None:
    """Without asking the function again."""

    def never(_: float) -> float:
        raise AssertionError

    assert brent.root(never, 1.0, 2.0, 0.0, 5.0) == 1.0
    assert brent.root(never, 1.0, 2.0, 5.0, 0.0) == 2.0


@given(st.floats(-1e300, 0), st.floats(1e-300, 1e300))
def test_it_stops_whatever_the_scale(low: float, high: float) -> None:
    """Within its iterations and its bracket, from 1e-300 to 1e300."""
    function = math.copysign
    found = brent.root(lambda x: function(1.0, x - high / 2), low, high, -1.0, 1.0)
    assert low <= found <= high
