"""Means of e-values, and e-BH: what holds whatever the dependence."""

from __future__ import annotations

from math import exp, inf, log

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.multiplicity import ebh, mean_log_e

log_es = st.floats(-50, 50)
parts = st.lists(st.tuples(st.floats(0.01, 10), log_es), min_size=1, max_size=8)


@given(parts)
def test_the_mean_is_the_mean(listed: list[tuple[float, float]]) -> None:
    """The weighted arithmetic mean of the e-values themselves, between the least and the greatest."""
    total = sum(weight for weight, _ in listed)
    wanted = sum(weight * exp(log_e) for weight, log_e in listed) / total
    assert mean_log_e(listed) == pytest.approx(log(wanted), rel=1e-9, abs=1e-9)
    assert min(log_e for _, log_e in listed) - 1e-9 <= mean_log_e(listed) <= max(log_e for _, log_e in listed) + 1e-9


@given(parts, st.floats(0.01, 100))
def test_weights_are_relative(listed: list[tuple[float, float]], factor: float) -> None:
    """Twice all weights is the same mean: an absent part leaves its weight to the others in proportion."""
    assert mean_log_e([(weight * factor, log_e) for weight, log_e in listed]) == pytest.approx(mean_log_e(listed), abs=1e-9)


def test_means_of_extremes() -> None:
    """No parts are no evidence; parts without weight or without capital add nothing; great evidence does not overflow."""
    assert mean_log_e([]) == 0.0
    assert mean_log_e([(1, 5.0), (0, 1e6)]) == pytest.approx(5.0)
    assert mean_log_e([(1, -inf), (1, 0.0)]) == pytest.approx(log(0.5))
    assert mean_log_e([(1, -inf)]) == -inf
    assert mean_log_e([(0.5, 1e6), (0.5, 0.0)]) == pytest.approx(1e6 + log(0.5))


def test_weights_that_are_none_are_refused() -> None:
    """Weights are shares of one unit."""
    with pytest.raises(ValueError, match="cannot be negative"):
        mean_log_e([(1, 0.0), (-0.1, 0.0)])
    with pytest.raises(ValueError, match="at least one"):
        mean_log_e([(0, 0.0)])


@given(st.lists(log_es, max_size=20), st.sampled_from([0.01, 0.05, 0.2]))
def test_ebh_by_its_definition(values: list[float], alpha: float) -> None:
    """The k strongest, for the greatest k whose weakest is at least m / (k alpha): against the definition by counting."""
    rejected = ebh(values, alpha)
    m = len(values)
    fitting = [k for k in range(1, m + 1) if sum(value >= log(m / (k * alpha)) for value in values) >= k]
    assert len(rejected) == max(fitting, default=0)
    assert [values[index] for index in rejected] == sorted(values, reverse=True)[: len(rejected)]


@given(st.lists(log_es, min_size=1, max_size=20), st.data())
def test_more_evidence_never_takes_a_rejection_away(values: list[float], data: st.DataObject) -> None:
    """e-BH is monotone: what was rejected stays so when any evidence grows."""
    before = set(ebh(values, 0.05))
    at = data.draw(st.integers(0, len(values) - 1))
    values[at] += data.draw(st.floats(0, 10))
    assert before <= set(ebh(values, 0.05))


def test_one_null_is_the_plain_test() -> None:
    """With a single test the threshold is 1/alpha; with a hundred, a lone discovery needs a hundred times that."""
    assert ebh([log(20)], 0.05) == [0]
    assert ebh([log(19.9)], 0.05) == []
    assert ebh([0.0] * 99 + [log(1999)], 0.05) == []
    assert ebh([0.0] * 99 + [log(2001)], 0.05) == [99]
    assert ebh([], 0.05) == []


def test_false_discoveries_are_bounded_even_when_all_depend() -> None:
    """Fifty nulls, forty of them true and all driven by one coin: the mean share of false discoveries stays below alpha."""
    rng = np.random.default_rng(20)
    shares = []
    for _ in range(2000):
        # One e-value for all true nulls together: 40 with probability 1/40, the worst that its mean of 1 allows.
        shared = log(40) if rng.random() < 1 / 40 else -20.0
        values = [shared] * 40 + list(rng.normal(6.0, 2.0, 10))
        rejected = ebh(values, 0.1)
        shares.append(sum(index < 40 for index in rejected) / max(1, len(rejected)))
    assert float(np.mean(shares)) <= 0.1
    assert float(np.mean(shares)) > 0.005


def test_alpha_is_a_probability() -> None:
    """Other levels are refused."""
    with pytest.raises(ValueError, match="between 0 and 1, not 1"):
        ebh([1.0], 1)
