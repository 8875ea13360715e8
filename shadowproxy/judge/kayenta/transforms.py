"""What is done to a series before it is judged (STATISTICS C13): NaN values first, then outliers."""

from __future__ import annotations

from math import floor, isnan
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

OUTLIER_FACTOR: Final = 3.0
"""Interquartile ranges beyond a quartile from which a value is an outlier, unless the config says otherwise."""


def without_nans(values: Sequence[float]) -> list[float]:
    """The values that are numbers (nanStrategy "remove")."""
    return [value for value in values if not isnan(value)]


def nans_as_zero(values: Sequence[float]) -> list[float]:
    """Every value, with 0 for what is not a number (nanStrategy "replace")."""
    return [0.0 if isnan(value) else value for value in values]


def percentile(values: Sequence[float], p: float) -> float:
    """The `p`-th percentile (0 to 100) of one value or more, interpolated linearly between ranks (R's type 7)."""
    ordered = sorted(values)
    rank = p / 100 * (len(ordered) - 1)
    below = floor(rank)
    lower = ordered[below]
    upper = ordered[min(below + 1, len(ordered) - 1)]
    return lower if lower == upper else lower + (rank - below) * (upper - lower)


def fences(values: Sequence[float], factor: float = OUTLIER_FACTOR, *, is_reduced: bool = True) -> tuple[float, float]:
    """Between which bounds a value is no outlier: Tukey's fences, moved out to the 1st and 99th percentile if they lie inside.

    Args:
        values: one or more.
        factor: interquartile ranges beyond the quartiles, above 0.
        is_reduced: whether the percentiles may move the fences out; the judge always lets them.

    """
    first, third = percentile(values, 25), percentile(values, 75)
    low, high = first - factor * (third - first), third + factor * (third - first)
    if is_reduced:
        low, high = min(percentile(values, 1), low), max(percentile(values, 99), high)
    return low, high


def without_outliers(values: Sequence[float], factor: float = OUTLIER_FACTOR, *, is_reduced: bool = True) -> list[float]:
    """The values between the `fences`, in their order."""
    if not values:
        return []
    low, high = fences(values, factor, is_reduced=is_reduced)
    # Not `low <= value <= high`: fences that overflowed to NaN must keep everything.
    return [value for value in values if not (value < low or value > high)]
