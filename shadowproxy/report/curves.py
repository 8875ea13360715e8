"""Two latency distributions made ready for drawing: shares of equal width, and the shift from one to the other.

A distribution is what `GET /api/v1/compare?buckets=epoch` gives: how many durations ended in which log bucket.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import accumulate
from math import ceil, exp, floor, log
from typing import TYPE_CHECKING, Final

from shadowproxy import logbuckets
from shadowproxy.judge import distribution, sketch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

NS: Final = 1e9

FEW: Final = 30
"""Answers of one side below which a histogram shows chance rather than a shape."""

BARS: Final = 64
"""Most bars of a histogram."""

TAIL: Final = 0.0005
"""Share of the answers at either end that the histogram leaves out, so that one outlier does not flatten the rest."""

ALPHA: Final = 0.05
"""Chance that the band of the shift function ever fails; each arm has half of it."""


@dataclass(frozen=True, slots=True)
class Bars:
    """Shares of live's and the shadow's answers in intervals of equal width on the logarithmic axis.

    `edges` has one more entry than the shares, in seconds, ascending.
    """

    edges: tuple[float, ...]
    live: tuple[float, ...]
    shadow: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shift:
    """How the shadow's quantile at `level` compares with live's: a ratio, and a band that holds for all levels and times at once.

    None is an end that the data do not bound.
    """

    level: float
    ratio: float
    low: float | None
    high: float | None


def buckets_of(pairs: Sequence[Sequence[float]]) -> dict[int, int]:
    """The sketch behind `[[upto_seconds, count], ...]`."""
    found: Counter[int] = Counter()
    for upto_seconds, count in pairs:
        found[round(log(max(upto_seconds * NS, 1.0)) / logbuckets.LN_GAMMA)] += int(count)
    return dict(found)


def bars(live: Mapping[int, int], shadow: Mapping[int, int]) -> Bars:
    """Both as histograms over the same intervals. The fewer the answers, the wider the bars; both sides have at least one."""
    both = sketch.merge((live, shadow))
    ordered = sorted(both)
    low, high = _at_share(both, ordered, TAIL), _at_share(both, ordered, 1 - TAIL)
    fewest = min(sketch.total(live), sketch.total(shadow))
    wanted = max(8, min(BARS, round(3 * fewest ** (1 / 3))))
    size = max(1, ceil((high - low + 1) / wanted))
    first, last = floor(low / size), floor(high / size)
    edges = tuple(logbuckets.lower_edge(index * size) / NS for index in range(first, last + 2))
    return Bars(edges, _shares(live, size, first, last), _shares(shadow, size, first, last))


def shifts(live: Mapping[int, int], shadow: Mapping[int, int], levels: Sequence[float]) -> list[Shift]:
    """The shift function at `levels` in (0, 1), with the time-uniform band of STATISTICS C5 (95 % for both arms together).

    Ends are bucket edges, so they hold exactly; the ratio is of quantiles interpolated inside their buckets, so that the curve has
    no steps of a bucket's width. Both sides have at least one answer.
    """
    reach_live, reach_shadow = (distribution.radius(sketch.total(side), ALPHA / 2) for side in (live, shadow))
    found = []
    for level in levels:
        low = _ratio(_edge(shadow, level - reach_shadow, is_upper=False), _edge(live, level + reach_live, is_upper=True))
        high = _ratio(_edge(shadow, level + reach_shadow, is_upper=True), _edge(live, level - reach_live, is_upper=False))
        found.append(Shift(level, _interpolated(shadow, level) / _interpolated(live, level), low, high))
    return found


def _edge(counted: Mapping[int, int], level: float, *, is_upper: bool) -> float | None:
    if not 0 < level < 1:
        return None
    index = _at_share(counted, sorted(counted), level)
    return logbuckets.upper_edge(index) if is_upper else logbuckets.lower_edge(index)


def _interpolated(counted: Mapping[int, int], level: float) -> float:
    ordered = sorted(counted)
    index = _at_share(counted, ordered, level)
    below = sum(counted[other] for other in ordered if other < index)
    part = (level * sketch.total(counted) - below) / counted[index]
    return logbuckets.lower_edge(index) * exp(min(max(part, 0.0), 1.0) * logbuckets.LN_GAMMA)


def _ratio(above: float | None, below: float | None) -> float | None:
    return None if above is None or below is None else above / below


def _at_share(counted: Mapping[int, int], ordered: Sequence[int], share: float) -> int:
    """The first bucket at which at least `share` of the count is reached."""
    wanted = share * sum(counted.values())
    for index, below in zip(ordered, accumulate(counted[index] for index in ordered), strict=True):
        if below >= wanted:
            return index
    return ordered[-1]


def _shares(counted: Mapping[int, int], size: int, first: int, last: int) -> tuple[float, ...]:
    grouped: Counter[int] = Counter()
    for index, count in counted.items():
        grouped[floor(index / size)] += count
    total = sketch.total(counted)
    return tuple(grouped[index] / total for index in range(first, last + 1))
