"""Boundaries for running sums: the published values, and the laws that make them valid."""

from __future__ import annotations

from math import exp, inf, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from shadowproxy.judge.boundaries import BetaBinomialMixture, NormalMixture, best_rho, crossing, least, stitched_bound, zeta

LN_20 = log(20)


def test_normal_mixtures_have_the_published_values() -> None:
    """As in confseq's unit tests (STATISTICS C14), to 1e-5."""
    assert best_rho(100, 0.05) == pytest.approx(12.60056, abs=1e-5)
    two_sided = NormalMixture(best_rho(100, 0.05))
    assert two_sided.log_e(10, 100) == pytest.approx(-0.6510052, abs=1e-5)
    assert two_sided.bound(100, LN_20) == pytest.approx(30.35209, abs=1e-5)
    one_sided = NormalMixture(best_rho(100, 0.05, is_one_sided=True), is_one_sided=True)
    assert one_sided.log_e(10, 100) == pytest.approx(-0.06502391, abs=1e-5)
    assert one_sided.bound(100, LN_20) == pytest.approx(27.66071, abs=1e-5)


def test_beta_binomial_mixtures_have_the_published_values() -> None:
    """As in confseq's unit tests (STATISTICS C14), to 1e-5; what no sum can reach is no bound."""
    two_sided = BetaBinomialMixture.tuned(100, 0.05, 0.2, 0.8)
    assert two_sided.log_e(10, 100) == pytest.approx(-0.6941012, abs=1e-5)
    assert two_sided.bound(100, LN_20) == pytest.approx(31.4308, abs=1e-4)
    one_sided = BetaBinomialMixture.tuned(100, 0.05, 0.2, 0.8, is_one_sided=True)
    assert one_sided.log_e(10, 100) == pytest.approx(-0.07134019, abs=1e-5)
    assert one_sided.bound(100, LN_20) == pytest.approx(28.41238, abs=1e-5)
    assert one_sided.bound(2 * 0.2 * 0.8, LN_20) == inf


def test_stitched_boundaries_have_the_published_values() -> None:
    """As in confseq's unit tests (STATISTICS C14), to 1e-5; before `v_min` the boundary is that of `v_min`."""
    assert stitched_bound(100, 0.05, 10, 3) == pytest.approx(64.48755, abs=1e-5)
    assert stitched_bound(100, 0.05, 10, -1) == pytest.approx(28.99389, abs=1e-5)
    assert stitched_bound(1, 0.05, 10) == stitched_bound(10, 0.05, 10)


@given(st.floats(1.0001, 40))
def test_zeta_agrees_with_scipy(s: float) -> None:
    """To 1e-12."""
    assert zeta(s) == pytest.approx(float(special.zeta(s)), rel=1e-12)


@pytest.mark.parametrize("wrong", [lambda: zeta(1), lambda: best_rho(0, 0.05), lambda: best_rho(1, 1), lambda: stitched_bound(1, 0.05, 0)])
def test_parameters_out_of_range_are_refused(wrong: object) -> None:
    """With both numbers in the message, not with a domain error of a logarithm."""
    assert callable(wrong)
    with pytest.raises(ValueError, match=r"\d"):
        wrong()


steps = st.integers(0, 3000)


@given(steps, steps, st.floats(0.05, 0.95), st.floats(1, 1e4), st.booleans())
def test_the_beta_binomial_mixture_is_a_martingale(ups: int, downs: int, p: float, t_opt: float, one_sided: bool) -> None:
    """If a step is h with probability g/(g+h) and else -g, tomorrow's e-value is today's on average."""
    g, h = p, 1 - p
    mixture = BetaBinomialMixture.tuned(g * h * t_opt, 0.05, g, h, is_one_sided=one_sided)

    def log_e(up: int, down: int) -> float:
        return mixture.log_e(up * h - down * g, (up + down) * g * h)

    today = log_e(ups, downs)
    tomorrow = g * exp(log_e(ups + 1, downs) - today) + h * exp(log_e(ups, downs + 1) - today)
    assert tomorrow == pytest.approx(1, rel=1e-6)


@given(st.floats(0, 1e12), st.floats(0.01, 1e6), st.floats(0, 700), st.booleans())
def test_a_normal_bound_is_where_the_evidence_is(v: float, rho: float, threshold: float, one_sided: bool) -> None:
    """At the bound the mixture is at its threshold, and everything is finite."""
    mixture = NormalMixture(rho, one_sided)
    bound = mixture.bound(v, threshold)
    assert isfinite(bound)
    if not one_sided or bound > 0:
        assert mixture.log_e(bound, v) == pytest.approx(threshold, rel=1e-6, abs=1e-6)


@given(st.floats(0, 1e9), st.floats(0.001, 0.999), st.floats(0.1, 40), st.booleans())
def test_a_beta_binomial_bound_is_where_the_evidence_is(t: float, p: float, threshold: float, one_sided: bool) -> None:
    """Just below the bound there is less evidence than asked for; it is no more than a sum can be, or not there."""
    v = p * (1 - p) * t
    mixture = BetaBinomialMixture.tuned(p * (1 - p) * 100, 0.05, p, 1 - p, is_one_sided=one_sided)
    bound = mixture.bound(v, threshold)
    assert 0 <= bound <= v / p or bound == inf
    assert mixture.log_e(min(bound, v / p) * (1 - 1e-6), v) <= threshold + 1e-6


@given(st.floats(1, 1e12), st.floats(1e-6, 0.5))
def test_a_stitched_boundary_needs_no_horizon(v: float, alpha: float) -> None:
    """It grows a little faster than the square root of time, and is wider where alpha is smaller."""
    assert stitched_bound(2 * v, alpha, 1) > stitched_bound(v, alpha, 1) * 2**0.5
    assert stitched_bound(v, alpha / 2, 1) > stitched_bound(v, alpha, 1)


@given(st.floats(-1e3, 1e3), st.floats(0.001, 1e3))
def test_crossing_and_least_find_what_they_look_for(root: float, width: float) -> None:
    """To the last digits of the numbers around it."""
    assert crossing(lambda x: x - root, root - width, root + 2 * width) == pytest.approx(root, abs=1e-9)
    assert least(lambda x: abs(x - root), root - width, root + 2 * width) == pytest.approx(root, abs=1e-6)
    assert least(lambda _: inf, 0, 1) >= 0
