"""What a metric is, for those who name some: `metrics` puts them together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COUNTER: Final = "counter"
GAUGE: Final = "gauge"
HISTOGRAM: Final = "histogram"


@dataclass(frozen=True, slots=True)
class Spec:
    """One metric. `name` is the one that queries use (counters end in _total)."""

    name: str
    kind: str
    unit: str
    labels: tuple[str, ...]
    meaning: str
