"""The curve of the evidence, thinned; the rate of pairs."""

from __future__ import annotations

from itertools import pairwise

import pytest

from shadowproxy.control.history import POINTS, History, Rate


def test_a_curve_stays_small_and_even() -> None:
    """However long it runs: at most POINTS points, the first among them, evenly spaced, the last one at the end."""
    history = History()
    for second in range(100_000):
        history.note((float(second), second, 0.0, 0.0, "UNDECIDED"), float(second))
    points = history.points((1e6, 7, 0.0, 0.0, "SAFE"))
    assert POINTS / 2 <= len(points) <= POINTS + 1
    assert points[0][0] == 0.0
    assert points[-1][0] == 1e6
    times = [point[0] for point in points[:-1]]
    spaces = {round(later - earlier) for earlier, later in pairwise(times)}
    assert max(spaces) <= 2 * min(spaces)
    assert "points" in repr(history)


def test_points_come_no_closer_than_their_spacing() -> None:
    """Four ticks a second are one point."""
    history = History()
    for tick in range(8):
        history.note((tick / 4, tick, 0.0, 0.0, "UNDECIDED"), tick / 4)
    assert [point[1] for point in history.points()] == [0, 4]


def test_a_rate_is_right_from_the_start_and_follows() -> None:
    """A steady stream has its rate after two seconds; when it stops, the rate falls."""
    rate = Rate(100.0)
    assert rate.at(100.0) == 0.0
    for tick in range(1, 9):
        rate.add(50, 100.0 + tick / 4)
    assert rate.at(102.0) == pytest.approx(200, rel=0.01)
    for tick in range(1, 400):
        rate.add(10, 102.0 + tick / 4)
    assert rate.at(101.75 + 100.0) == pytest.approx(40, rel=0.1)
    assert rate.at(400.0) < 1.0
    assert "/s" in repr(rate)
