"""How long answers take: nothing, fixed, uniform or lognormal, never over LONGEST_S."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random

    from shadowproxy.config.sinks import Latency

LONGEST_S: Final = 60.0

P99_DEVIATIONS: Final = 2.3263478740408408
"""Standard deviations from the median to the 99th percentile of a normal distribution."""


def draw(latency: Latency | None, random: Random) -> float:
    """Seconds that one answer takes."""
    if latency is None:
        return 0.0
    if latency.median:
        spread = math.log(latency.p99 / latency.median) / P99_DEVIATIONS
        return min(LONGEST_S, latency.median * math.exp(spread * random.gauss(0.0, 1.0)))
    if latency.high:
        return random.uniform(latency.low, latency.high)
    return latency.fixed
