"""One metric's class: what users reported, what the config decides, and that nothing breaks it."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.kayenta.canary import Metric
from shadowproxy.judge.kayenta.classify import Label, classify, cles, mean, mean_ratio, transformed, with_noise

values = st.lists(st.floats(-1e308, 1e308), max_size=12)

RNG = random.Random(8)
LOWER = [RNG.gauss(10, 2) for _ in range(30)]
HIGHER = [RNG.gauss(20, 2) for _ in range(30)]
SAME = [RNG.gauss(10, 2) for _ in range(30)]


@pytest.mark.parametrize(
    ("metric", "control", "experiment", "label"),
    [
        (Metric("either"), LOWER, SAME, Label.PASS),
        (Metric("either"), LOWER, HIGHER, Label.HIGH),
        (Metric("either"), HIGHER, LOWER, Label.LOW),
        (Metric("increase", is_decrease_bad=False), HIGHER, LOWER, Label.PASS),
        (Metric("increase", is_decrease_bad=False), LOWER, HIGHER, Label.HIGH),
        (Metric("decrease", is_increase_bad=False), LOWER, HIGHER, Label.PASS),
        (Metric("decrease", is_increase_bad=False), HIGHER, LOWER, Label.LOW),
        (Metric("allowed", allowed_increase=3.0), LOWER, HIGHER, Label.PASS),
        (Metric("allowed", allowed_decrease=0.3), HIGHER, LOWER, Label.PASS),
        (Metric("cles", is_cles=True, allowed_increase=0.9), LOWER, HIGHER, Label.HIGH),
        (Metric("cles", is_cles=True, allowed_decrease=0.1), HIGHER, LOWER, Label.LOW),
        (Metric("constant"), [2.0] * 10, [1.0] * 10, Label.LOW),
        (Metric("constant"), [0.0] * 10, [1.0] * 10, Label.HIGH),
        (Metric("one value a side"), [1.0], [2.0], Label.ERROR),
    ],
)
def test_series_are_classified(metric: Metric, control: list[float], experiment: list[float], label: Label) -> None:
    """By interval, direction and allowed effect; an effect that cannot be computed is no obstacle."""
    found = classify(metric, control, experiment)
    assert found.label is label, found.reason


def test_what_users_reported_is_reproduced() -> None:
    """Passing: 7 of 10 points a hundredfold (spinnaker#6278), sparse errors (kayenta#426), a change of spread (#780). The eighth point fails."""
    jump = [100.0] * 7 + [1.0] * 3
    wide = [1.0, 100.0, 4.0, 101.0, 5.0, 102.0, 6.0, 103.0, 7.0, 104.0, 8.0, 105.0, 9.0, 106.0, 17.0]
    narrow = [10.0, 10.1, 10.2, 10.3, 10.4, 10.5, 10.6, 17.0, 17.1, 17.2, 17.3, 17.4, 17.5, 17.6, 17.7]
    metric = Metric("reported")
    assert classify(metric, [1.0] * 10, jump).label is Label.PASS
    assert classify(metric, [1.0] * 10, [100.0] * 8 + [1.0] * 2).label is Label.HIGH
    assert classify(metric, [0.0] * 6, [0.0, 1.0, 2.0, 1.0, 0.0, 0.0]).label is Label.PASS
    assert classify(metric, wide, narrow).label is Label.PASS
    assert classify(metric, narrow, wide).label is Label.PASS


def test_series_that_are_the_same_pass_without_a_test() -> None:
    """In any order; and so does a metric that only ever has one value."""
    assert classify(Metric("m"), [1.0, 2.0, 3.0], [3.0, 1.0, 2.0]).reason == "both series are identical"
    assert classify(Metric("m"), [1.0] * 3, [1.0] * 5).reason == "every value is the same"


@pytest.mark.parametrize(
    ("metric", "label", "is_critical"),
    [
        (Metric("m"), Label.NODATA, False),
        (Metric("m", is_critical=True), Label.NODATA, True),
        (Metric("m", must_have_data=True), Label.NODATA_FAIL, False),
        (Metric("m", must_have_data=True, is_critical=True), Label.NODATA, True),
        (Metric("m", nans_are_zero=True, is_critical=True), Label.PASS, False),
    ],
)
def test_a_series_without_values_is_what_the_config_makes_of_it(metric: Metric, label: Label, is_critical: bool) -> None:
    """Three flags, five cases; the reason says which side is missing."""
    for control, experiment, said in (([], [1.0], "control"), ([1.0], [], "experiment"), ([], [], "neither")):
        found = classify(metric, control, experiment)
        assert (found.label, found.is_critical) == (label, is_critical)
        assert said in found.reason


def test_a_critical_metric_fails_the_canary_beyond_its_critical_effect() -> None:
    """Twice as high: critical at 1 and at 1.5, not at 3; likewise half as high; without an effect always."""
    assert classify(Metric("m", is_critical=True), LOWER, HIGHER).is_critical
    assert classify(Metric("m", is_critical=True, critical_increase=1.5), LOWER, HIGHER).is_critical
    assert not classify(Metric("m", is_critical=True, critical_increase=3), LOWER, HIGHER).is_critical
    assert classify(Metric("m", is_critical=True, critical_decrease=0.7), HIGHER, LOWER).is_critical
    assert not classify(Metric("m", is_critical=True, critical_decrease=0.2), HIGHER, LOWER).is_critical
    assert classify(Metric("m", is_critical=True, critical_increase=9), [0.0] * 9, [1.0] * 9).is_critical
    assert not classify(Metric("m", is_critical=True), LOWER, SAME).is_critical


def test_the_reason_has_the_numbers() -> None:
    """Interval, estimate and what they were compared with (kayenta#521 asks for them)."""
    found = classify(Metric("m"), [1.0] * 10, [100.0] * 7 + [1.0] * 3)
    assert found.reason == (
        "98% interval of the shift 6.82502e-05 to 99, estimate 98.9999: not wholly outside -24.75 to 24.75 in the direction that counts"
    )
    held = classify(Metric("m", allowed_increase=3.0), LOWER, HIGHER)
    assert "the effect" in held.reason
    assert "is under 3" in held.reason


def test_effects_have_the_published_values() -> None:
    """Ratios of means, none when one is 0; the share of pairs with the higher experiment."""
    assert mean_ratio([1.0] * 5, [10.0] * 5) == 10
    assert mean_ratio([100.0] * 5, [10.0] * 5) == pytest.approx(0.1)
    assert mean_ratio([0.0] * 5, [10.0] * 5) is None
    assert mean_ratio([math.inf], [1.0]) is None
    assert mean([1e308, 1e308, 1e308]) == pytest.approx(1e308)
    assert cles([1, 2, 3, 4, 5], [1, 2, 3, 4, 5]) == 0.5
    assert cles([10, 11, 12], [1, 2, 3]) == 0
    assert cles([1, 2, 3], [10, 11, 3]) == pytest.approx(8.5 / 9)


def test_a_series_is_transformed_as_the_metric_says() -> None:
    """NaN values first, outliers then."""
    series = [math.nan] + [1.0] * 60 + [2.0] * 60 + [900.0]
    assert transformed(Metric("m"), series) == series[1:]
    assert transformed(Metric("m", nans_are_zero=True), series) == [0.0, *series[1:]]
    assert transformed(Metric("m", removes_outliers=True), series) == series[1:-1]


def test_noise_is_small_and_the_same_every_time() -> None:
    """Of a relative size of 1e-5, different for each value; a constant 0 stays."""
    noisy = with_noise([5.0] * 10)
    assert len({*noisy}) == 10
    assert all(abs(value - 5) < 5e-4 for value in noisy)
    assert noisy == with_noise([5.0] * 10)
    assert with_noise([0.0, 0.0]) == [0.0, 0.0]


@given(values, values, st.booleans(), st.booleans())
def test_whatever_the_numbers_a_metric_is_classified(control: list[float], experiment: list[float], cles_is: bool, outliers: bool) -> None:
    """And its ratio and effect are finite or none."""
    metric = Metric("m", is_cles=cles_is, removes_outliers=outliers, is_critical=True)
    found = classify(metric, transformed(metric, control), transformed(metric, experiment))
    assert isinstance(found.label, Label)
    assert found.ratio is None or math.isfinite(found.ratio)
    assert found.effect is None or math.isfinite(found.effect)
