"""Distributions as lines of bars."""

from __future__ import annotations

from shadowproxy.cli.sparkline import BARS, histograms, sparkline


def test_bars_show_the_shape() -> None:
    """The highest is full, the least is not blank, nothing is blank."""
    assert sparkline([0, 1, 50, 100]) == f" {BARS[0]}{BARS[3]}{BARS[7]}"
    assert sparkline([0, 0]) == "  "
    assert sparkline([]) == ""


def test_both_lines_have_the_same_scale() -> None:
    """A shadow that is slower stands further to the right; every count is in one cell."""
    (live, shadow), least, greatest = histograms([[(0.001, 5), (0.01, 3)], [(0.1, 4), (1.0, 1)]], 3)
    assert (live, shadow) == ([5, 3, 0], [0, 0, 5])
    assert (least, greatest) == (0.001, 1.0)


def test_a_single_duration_and_none() -> None:
    """Neither divides by zero."""
    assert histograms([[(0.5, 7)], []], 2) == ([[7, 0], [0, 0]], 0.5, 0.5)
    assert histograms([[], []], 2) == ([[0, 0], [0, 0]], 0.0, 0.0)
