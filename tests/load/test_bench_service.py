"""The service whose requests differ in difficulty."""

from __future__ import annotations

import statistics
from math import log

from load.bench import service


def test_difficulty_is_the_item_s_own() -> None:
    """The same in every process and every version, spread as it should be, and bounded."""
    drawn = [service.difficulty(item) for item in range(4000)]
    service.difficulty.cache_clear()
    assert drawn == [service.difficulty(item) for item in range(4000)]
    seconds = [one for one, _ in drawn]
    assert max(seconds) <= service.LONGEST_S
    assert abs(statistics.median(log(one / service.MEDIAN_S) for one in seconds)) < 0.1
    assert 20 <= sum(has_failed for _, has_failed in drawn) <= 65
