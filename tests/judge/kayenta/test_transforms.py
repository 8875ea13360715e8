"""NaN values and outliers: what is left of a series before it is judged."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.kayenta import transforms

numbers = st.lists(st.floats(-1e300, 1e300), min_size=1, max_size=60)


def test_nan_values_are_removed_or_replaced() -> None:
    """In their places, and nothing else is touched."""
    values = [math.nan, 1.0, math.nan, -0.5]
    assert transforms.without_nans(values) == [1.0, -0.5]
    assert transforms.nans_as_zero(values) == [0.0, 1.0, 0.0, -0.5]


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=60), st.floats(0, 100))
def test_percentiles_are_interpolated_as_numpy_does(values: list[float], p: float) -> None:
    """R's type 7, numpy's default."""
    assert transforms.percentile(values, p) == pytest.approx(float(np.percentile(values, p)), rel=1e-9, abs=1e-9)


def test_percentiles_of_a_short_series() -> None:
    """0, 0.5 ... 3.5: the 5th is 0.175, the 50th 1.75, the 100th 3.5."""
    values = [index / 2 for index in range(8)]
    assert [transforms.percentile(values, p) for p in (5, 50, 100)] == [pytest.approx(0.175), 1.75, 3.5]
    assert transforms.percentile([1.0], 100) == 1.0


def test_an_outlier_is_removed_by_tukeys_fences() -> None:
    """50 among values in the twenties, at factor 1.5; both sides count."""
    assert transforms.without_outliers([21, 23, 24, 25, 50, 29, 23, 21], 1.5, is_reduced=False) == [21, 23, 24, 25, 29, 23, 21]
    assert transforms.without_outliers([1, 1, 1, 5, -1, -1, -1, -5], 1.5, is_reduced=False) == [1, 1, 1, -1, -1, -1]
    assert transforms.without_outliers([]) == []


def test_reduced_sensitivity_keeps_what_percentiles_hold() -> None:
    """In a series of zeros a few values are no outliers if they are over one in a hundred; one in a thousand is."""
    assert transforms.without_outliers([0.0] * 95 + [7.0] * 5) == [0.0] * 95 + [7.0] * 5
    assert transforms.without_outliers([0.0] * 999 + [7.0]) == [0.0] * 999


@given(numbers)
def test_most_of_a_series_is_no_outlier(values: list[float]) -> None:
    """The middle half always stays, whatever the numbers, and the order with it."""
    kept = transforms.without_outliers(values)
    assert len(kept) >= len(values) / 2
    remaining = iter(values)
    assert all(value in remaining for value in kept)
