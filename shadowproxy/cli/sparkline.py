"""Two latency distributions as two lines of a terminal, over the same durations."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

    Buckets = Sequence[tuple[float, int]]

BARS: Final = "▁▂▃▄▅▆▇█"
"""Heights above nothing; a cell that something fell in is never blank."""

WIDTH: Final = 48
"""Cells of a line."""


def histograms(distributions: Sequence[Buckets], width: int = WIDTH) -> tuple[list[list[int]], float, float]:
    """Counts of each distribution in the same `width` cells, equally wide on a logarithmic scale.

    Args:
        distributions: each as (duration in seconds, count) pairs, as `GET /api/v1/compare?buckets=1` has them.
        width: how many cells.

    Returns:
        The counts, and the least and the greatest duration that was seen; zeros where nothing was.
    """
    seen = [seconds for one in distributions for seconds, count in one if count and seconds > 0]
    if not seen:
        return [[0] * width for _ in distributions], 0.0, 0.0
    least, greatest = min(seen), max(seen)
    per_cell = (log(greatest) - log(least)) / width or 1.0
    found = []
    for one in distributions:
        cells = [0] * width
        for seconds, count in one:
            if count and seconds > 0:
                cells[min(width - 1, int((log(seconds) - log(least)) / per_cell))] += count
        found.append(cells)
    return found, least, greatest


def sparkline(counts: Sequence[int]) -> str:
    """The counts as bars, the highest at full height; blank where nothing was counted."""
    top = max(counts, default=0)
    return "".join(" " if not count else BARS[min(len(BARS) - 1, count * len(BARS) // (top + 1))] for count in counts)
