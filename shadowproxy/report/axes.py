"""Scales and their ticks: where a value lies on a drawing, and which values to name.

A scale maps a domain to pixels. Ticks are round numbers inside the domain, few enough to read
(`Scale.ticks`); a logarithmic scale marks 1, 2 and 5 of each decade, or fewer when there are many decades.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, exp, floor, log, log10
from typing import Final, Protocol

_LN10: Final = log(10)
_EPSILON: Final = 1e-9

_MOMENTS: Final = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)
"""Steps of a time axis, in seconds: those that clocks are divided by. Beyond them whole days."""


class Scale(Protocol):
    """From a value to a place."""

    def at(self, value: float) -> float:
        """Where `value` is, in pixels; not cut off at the ends."""

    def ticks(self, wanted: int) -> list[float]:
        """Round values inside the domain, about `wanted` of them, ascending."""


@dataclass(frozen=True, slots=True)
class Linear:
    """Equal differences are equal distances.

    Args:
        low: the first value of the domain.
        high: the last, greater than `low`.
        start: pixel of `low`.
        end: pixel of `high`.
    """

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """See `Scale`."""
        return self.start + (value - self.low) / (self.high - self.low) * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """See `Scale`: multiples of 1, 2 or 5 times a power of ten."""
        return multiples(self.low, self.high, step(self.high - self.low, wanted))


@dataclass(frozen=True, slots=True)
class Log:
    """Equal ratios are equal distances. As `Linear`; the domain is positive."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """See `Scale`."""
        return self.start + log(value / self.low) / log(self.high / self.low) * (self.end - self.start)

    def ticks(self, wanted: int) -> list[float]:
        """See `Scale`."""
        for digits in ((1, 1.5, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
            found = self._marks(digits)
            if len(found) <= wanted:
                break
        else:
            found = found[:: ceil(len(found) / wanted)]
        if len(found) < 2:  # a domain narrower than that is as good as linear
            return Linear(self.low, self.high, 0, 1).ticks(max(wanted, 6))
        return found

    def _marks(self, digits: tuple[float, ...]) -> list[float]:
        first, last = floor(log10(self.low)), ceil(log10(self.high))
        every = [digit * 10.0**decade for decade in range(first, last + 1) for digit in digits]
        return [value for value in every if self.low * (1 - _EPSILON) <= value <= self.high * (1 + _EPSILON)]


@dataclass(frozen=True, slots=True)
class Logit:
    """Shares of a whole with both tails spread out: 1 % is as far from 50 % as 99 % is. The domain lies inside (0, 1)."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        """See `Scale`."""
        return Linear(_logit(self.low), _logit(self.high), self.start, self.end).at(_logit(value))

    def between(self, count: int) -> list[float]:
        """`count` values, at least two, that are equally far from each other on this scale, the ends among them."""
        low, high = _logit(self.low), _logit(self.high)
        return [1 / (1 + exp(-(low + (high - low) * index / (count - 1)))) for index in range(count)]

    def ticks(self, wanted: int) -> list[float]:
        """See `Scale`: the quantiles that people speak of."""
        names = (0.001, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999)
        found = [name for name in names if self.low - _EPSILON <= name <= self.high + _EPSILON]
        if len(found) > wanted:
            found = [name for name in found if name not in {0.05, 0.25, 0.75, 0.95}]
        return found


def step(width: float, wanted: int) -> float:
    """The least of 1, 2 and 5 times a power of ten that divides `width` into at most `wanted` parts (both positive)."""
    rough = width / max(1, wanted)
    power = 10.0 ** floor(log10(rough))
    return next((digit * power for digit in (1, 2, 5) if digit * power >= rough * (1 - _EPSILON)), 10 * power)


def multiples(low: float, high: float, by: float) -> list[float]:
    """Multiples of `by` from `low` to `high`, both included where they are multiples."""
    first, last = ceil(low / by - _EPSILON), floor(high / by + _EPSILON)
    return [round(index * by, 12) for index in range(first, last + 1)]


def moments(low: float, high: float, wanted: int) -> list[float]:
    """Ticks of a time axis from `low` to `high` in Unix seconds: whole minutes, hours or days, about `wanted` of them."""
    rough = max((high - low) / max(1, wanted), _EPSILON)
    by = next((one for one in _MOMENTS if one >= rough), None) or ceil(rough / 86400) * 86400
    return multiples(low, high, float(by))


def powers(low: float, high: float) -> list[float]:
    """Natural logarithms of the powers of ten between two natural logarithms, at most seven of them."""
    found = list(range(ceil(low / _LN10 - _EPSILON), floor(high / _LN10 + _EPSILON) + 1))
    by = max(1, ceil(len(found) / 7))
    return [exponent * _LN10 for exponent in found if exponent % by == 0]


def padded(values: list[float], share: float = 0.06) -> tuple[float, float]:
    """A domain around `values` (at least one), a share of its width wider on either side, and never without width."""
    low, high = min(values), max(values)
    width = high - low or abs(high) or 1.0
    return low - width * share, high + width * share


def _logit(share: float) -> float:
    return log(share / (1 - share))
