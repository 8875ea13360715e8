"""The service whose requests differ in difficulty."""

from __future__ import annotations

import statistics
from math import log

from load.bench import service


def test_difficulty_is_the_item_s_own() -> None:
    """The same in every process and every version, and spread as it should be."""
    drawn = [service.difficulty(item) for item in range(4000)]
    service.difficulty.cache_clear()
    assert drawn == [service.difficulty(item) for item in range(4000)]
    assert abs(statistics.median(log(times) for times, _ in drawn)) < 0.1
    assert abs(statistics.stdev(log(times) for times, _ in drawn) - service.DIFFICULTY) < 0.1
    assert 20 <= sum(has_failed for _, has_failed in drawn) <= 65
