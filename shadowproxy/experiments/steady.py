"""What it means that the system is well: bounds of probes, fixed or taken from what they were before the first fault.

A baseline is the median of what was seen, and its spread the median distance from it, scaled to a standard deviation (1.4826 times
the median absolute deviation): neither moves when one scrape in a hundred is absurd.

A seasonal baseline is that of the same hour in the past WEEKS weeks. It is asked as range queries around the same moment of each week,
and not with PromQL's `offset`: that belongs to a selector and not to an expression, so a query would have to be parsed and
rewritten, while a range query means the same of every expression. Each week gives its median, and the median of those is
the baseline: a week with a holiday or an outage moves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite
from statistics import median
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from shadowproxy.config.experiment import Steady

WEEK_S: Final = 7 * 24 * 3600.0

WEEKS: Final = 4
"""Weeks that a seasonal baseline looks back: Prometheus keeps 15 days unless told otherwise, and what is not there is left out."""

HOUR_S: Final = 3600.0

POINTS: Final = 60
"""Points of one range query, at the most."""

LEAST_POINTS: Final = 5
"""With fewer a spread says nothing."""

_NORMAL: Final = 1.4826
"""From a median absolute deviation to the standard deviation of a normal distribution."""

Point = tuple[float, float]
"""Unix seconds and a value."""


@dataclass(frozen=True, slots=True)
class Window:
    """A range of time in Unix seconds, and the distance of its points."""

    start: float
    end: float
    step: float


@dataclass(frozen=True, slots=True)
class Baseline:
    """What a probe was when all was well, from so many points."""

    value: float
    spread: float
    points: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where a probe must be: from low to high, either of them None for no bound."""

    low: float | None = None
    high: float | None = None
    baseline: Baseline | None = None

    def is_well(self, value: float | None) -> bool | None:
        """Whether `value` is within, None when it is not known."""
        if value is None:
            return None
        return not ((self.low is not None and value < self.low) or (self.high is not None and value > self.high))

    def to_plain(self) -> dict[str, Any]:
        """What the conductor is told: {"baseline", "low", "high"}."""
        return {"baseline": self.baseline.value if self.baseline else None, "low": self.low, "high": self.high}

    def __str__(self) -> str:
        if self.low is not None and self.high is not None:
            return f"from {self.low:g} to {self.high:g}"
        return f"at least {self.low:g}" if self.low is not None else f"at most {self.high:g}" if self.high is not None else "anything"


def baseline_of(series: Iterable[Point]) -> Baseline | None:
    """Median and spread of the values; points that are no numbers are left out. None without any."""
    values = [value for _, value in series if isfinite(value)]
    if not values:
        return None
    middle = median(values)
    return Baseline(middle, _NORMAL * median(abs(value - middle) for value in values), len(values))


def recent_window(steady: Steady, now: float) -> Window:
    """What a range query must ask for the baseline just before `now`, in Unix seconds."""
    return _window(now - steady.baseline, now)


def seasonal_windows(now: float) -> tuple[Window, ...]:
    """The hour around `now`, in Unix seconds, of each of the past WEEKS weeks, the last one first.

    Weeks are of 168 hours: where clocks change, the hour is another one by the wall clock for some weeks.
    """
    return tuple(_window(moment - HOUR_S / 2, moment + HOUR_S / 2) for moment in (now - week * WEEK_S for week in range(1, WEEKS + 1)))


def seasonal_baseline(weeks: Iterable[Sequence[Point]]) -> Baseline | None:
    """The median of the weeks' medians, with the larger of the spread among weeks and their median spread inside; None without any."""
    known = [baseline for baseline in map(baseline_of, weeks) if baseline is not None]
    between = baseline_of((0.0, week.value) for week in known)
    if between is None:
        return None
    inside = median(week.spread for week in known)
    return Baseline(between.value, max(between.spread, inside), sum(week.points for week in known))


def bounds_of(steady: Steady, baseline: Baseline | None) -> Bounds:
    """Where the probe must be; the stricter of what is given. `within` without a baseline is no bound."""
    lows = [] if steady.above is None else [steady.above]
    highs = [] if steady.below is None else [steady.below]
    if steady.within and baseline is not None:
        margin = abs(baseline.value) * steady.within / 100.0
        lows.append(baseline.value - margin)
        highs.append(baseline.value + margin)
    return Bounds(max(lows, default=None), min(highs, default=None), baseline)


def narrowed(one: Bounds, other: Bounds) -> Bounds:
    """What both ask of one probe."""
    lows = [low for low in (one.low, other.low) if low is not None]
    highs = [high for high in (one.high, other.high) if high is not None]
    return Bounds(max(lows, default=None), min(highs, default=None), one.baseline or other.baseline)


def objections(steady: Steady, bounds: Bounds, value: float | None, problem: str = "") -> list[str]:
    """Why an experiment must not begin, each a sentence; none when the system is well.

    Args:
        steady: what is asked.
        bounds: with the baseline that was taken, if any.
        value: what the probe is now, None when that is not known.
        problem: why it, or the baseline, is not.
    """
    found = []
    if value is None:
        found.append(f"probe {steady.probe} has no value: {problem or 'it gave none'}")
    elif bounds.is_well(value) is False:
        found.append(f"probe {steady.probe} is {value:g}, and must be {bounds}")
    if not steady.within:
        return found
    baseline = bounds.baseline
    if baseline is None:
        found.append(f"probe {steady.probe} has no baseline: {problem or 'no value of it is known from before'}")
    elif baseline.value == 0:
        found.append(f"probe {steady.probe} has a baseline of 0, of which {steady.within:g} percent are nothing: give above or below")
    elif baseline.points >= LEAST_POINTS and baseline.spread > abs(baseline.value) * steady.within / 100.0:
        share = 100.0 * baseline.spread / abs(baseline.value)
        found.append(f"probe {steady.probe} varies by {share:.3g} percent when all is well, and may by {steady.within:g}: no steady state")
    return found


def _window(start: float, end: float) -> Window:
    # A second is the shortest step that every Prometheus takes.
    return Window(start, end, max(1.0, (end - start) / POINTS))
