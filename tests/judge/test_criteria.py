"""What is asked of a shadow."""

from __future__ import annotations

from math import log

import pytest

from shadowproxy.judge.criteria import BODIES_WEIGHT, ERRORS_WEIGHT, LATENCY_WEIGHT, SLO_WEIGHT, Criteria, slo_name


def test_thresholds_are_one_over_the_false_alarm_probability() -> None:
    """Each in natural logarithms."""
    criteria = Criteria(alpha=0.05, beta=0.01, control_alpha=0.001, latency_regression=0.01, latency_safe=0.02)
    assert (criteria.threshold, criteria.safe_threshold, criteria.control_threshold) == pytest.approx((log(20), log(100), log(1000)))
    assert (criteria.slower, criteria.slower_safe) == pytest.approx((log(1.01), log(1.02)))


def test_weights_are_those_of_the_documentation() -> None:
    """Errors one half, latency and SLOs a quarter each, bodies beside them."""
    assert (ERRORS_WEIGHT, LATENCY_WEIGHT, SLO_WEIGHT, BODIES_WEIGHT) == (0.5, 0.25, 0.25, 0.25)


def test_an_slo_is_named_as_the_config_writes_it() -> None:
    """With its unit."""
    assert [slo_name(ns) for ns in (250_000_000, 10**9, 1_500_000_000, 50_000)] == ["slo:250ms", "slo:1s", "slo:1.5s", "slo:50us"]
