"""The sequential McNemar test: reference values, laws, and what it says at the extremes."""

from __future__ import annotations

from math import exp, isfinite, log, pi, sqrt

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate
from scipy.special import betaincc, betaln

from shadowproxy.judge import mcnemar

counts = st.integers(0, 3000)


@pytest.mark.parametrize(
    ("b", "c", "two_sided", "one_sided"),
    [
        (5, 0, 7.8750, 15.6418),
        (6, 0, 14.4375, 28.7827),
        (8, 0, 50.2734, 100.4755),
        (10, 0, 180.4258, 360.7933),
        (7, 1, 3.3516, 6.6135),
        (10, 2, 4.1006, 8.1323),
        (20, 8, 2.1264, 4.2068),
        (30, 15, 1.5119, 2.9871),
        (0, 10, 180.4258, 0.0583),
    ],
)
def test_reference_values(b: int, c: int, two_sided: float, one_sided: float) -> None:
    """The table of STATISTICS C2, to the digits it is printed with, and scipy's formula to 1e-9."""
    assert exp(mcnemar.log_e_two_sided(b, c)) == pytest.approx(two_sided, abs=6e-5)
    assert exp(mcnemar.log_e_one_sided(b, c)) == pytest.approx(one_sided, abs=6e-5)
    formula = betaln(0.5 + b, 0.5 + c) - betaln(0.5, 0.5) + (b + c) * log(2)
    assert mcnemar.log_e_two_sided(b, c) == pytest.approx(formula, abs=1e-9)
    tail = log(betaincc(0.5 + b, 0.5 + c, 0.5)) - log(0.5)
    assert mcnemar.log_e_one_sided(b, c) == pytest.approx(formula + tail, abs=1e-9)


def test_six_new_failures_are_enough() -> None:
    """Six shadow-only failures and none the other way alarm at alpha = 0.05; five do not."""
    assert mcnemar.log_e_one_sided(5, 0) < log(20) <= mcnemar.log_e_one_sided(6, 0)


@pytest.mark.parametrize(("b", "c", "a"), [(3, 1, 0.5), (0, 4, 0.5), (2, 2, 1.0), (5, 0, 2.0)])
def test_it_is_the_mixture_that_it_says(b: int, c: int, a: float) -> None:
    """The integral of the likelihood ratio over a Beta(a, a) law of coins, all of it or its upper half."""

    def mixed(p: float) -> float:
        return float(p ** (b + a - 1) * (1 - p) ** (c + a - 1) * 2.0 ** (b + c) / exp(betaln(a, a)))

    assert exp(mcnemar.log_e_two_sided(b, c, a)) == pytest.approx(integrate.quad(mixed, 0, 1)[0], rel=1e-6)
    assert exp(mcnemar.log_e_one_sided(b, c, a)) == pytest.approx(2 * integrate.quad(mixed, 0.5, 1)[0], rel=1e-6)


@given(counts, counts)
def test_a_fair_coin_cannot_be_expected_to_win(b: int, c: int) -> None:
    """From any state, the mean of the next value is this one: a martingale at a fair coin, for both tests."""
    for test in (mcnemar.log_e_two_sided, mcnemar.log_e_one_sided):
        now = test(b, c)
        assert 0.5 * exp(test(b + 1, c) - now) + 0.5 * exp(test(b, c + 1) - now) == pytest.approx(1.0, abs=1e-7)


@given(counts, counts, st.floats(0.0, 0.5))
def test_a_coin_that_favours_the_shadow_wins_nothing_either(b: int, c: int, p: float) -> None:
    """The one-sided test is valid against "at most as likely", not only against "as likely"."""
    now = mcnemar.log_e_one_sided(b, c)
    assert p * exp(mcnemar.log_e_one_sided(b + 1, c) - now) + (1 - p) * exp(mcnemar.log_e_one_sided(b, c + 1) - now) <= 1.0 + 1e-7


@given(counts, counts)
def test_both_sides_are_one_test(b: int, c: int) -> None:
    """The two-sided test knows no sides, and is the mean of the one-sided tests of either."""
    assert mcnemar.log_e_two_sided(b, c) == pytest.approx(mcnemar.log_e_two_sided(c, b), abs=1e-9)
    halves = (
        exp(mcnemar.log_e_one_sided(b, c) - mcnemar.log_e_two_sided(b, c)),
        exp(mcnemar.log_e_one_sided(c, b) - mcnemar.log_e_two_sided(b, c)),
    )
    assert sum(halves) / 2 == pytest.approx(1.0, abs=1e-8)


@given(counts, counts)
def test_a_failure_of_the_shadow_is_evidence_and_one_of_live_is_not(b: int, c: int) -> None:
    """The one-sided evidence rises with b and falls with c."""
    assert mcnemar.log_e_one_sided(b + 1, c) > mcnemar.log_e_one_sided(b, c) > mcnemar.log_e_one_sided(b, c + 1)


def test_no_pairs_are_no_evidence() -> None:
    """An e-process begins at 1."""
    assert mcnemar.log_e_two_sided(0, 0) == pytest.approx(0.0, abs=1e-12)
    assert mcnemar.log_e_one_sided(0, 0) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize(("b", "c"), [(0, 1_000_000), (1_000_000, 0), (10**9, 10**9), (10**9, 0), (0, 10**9), (10**9, 10**9 + 10**5)])
def test_extreme_counts_are_finite(b: int, c: int) -> None:
    """A million failures of one side only, or a thousand million of both, have evidence that is a number."""
    assert isfinite(mcnemar.log_e_two_sided(b, c))
    assert isfinite(mcnemar.log_e_one_sided(b, c))


def test_evidence_of_great_counts_keeps_its_digits() -> None:
    """Where counts of 1e9 cancel, what remains is right to 1e-8: the density of a fair coin, by its central limit."""
    n = 10**9
    before, after = 2 / pi, sqrt(4 * (n + 1) / pi)
    assert mcnemar.log_e_two_sided(n, n) == pytest.approx(log(before) - log(after), abs=1e-8)
    assert mcnemar.log_e_one_sided(n, n) == pytest.approx(log(before) - log(after), abs=1e-8)


def test_transitions_name_what_grew() -> None:
    """200 -> 504 is told, not 504 -> 200; unchanged classes and a balanced exchange tell little."""
    found = mcnemar.log_e_transitions({("200", "200"): 5000, ("200", "504"): 9, ("504", "200"): 1, ("404", "200"): 3, ("200", "404"): 3})
    assert found.top is not None
    assert str(found.top) == "200 -> 504"
    assert (found.top.count, found.top.reverse) == (9, 1)
    assert found.top.log_e == pytest.approx(mcnemar.log_e_two_sided(9, 1))
    assert found.log_e == pytest.approx(mcnemar.log_e_two_sided(9, 1) + mcnemar.log_e_two_sided(3, 3))
    assert [str(change) for change in found.listed] == ["200 -> 504", "200 -> 404"]


def test_transitions_of_equal_classes_are_none() -> None:
    """Nothing changed, nothing to name."""
    found = mcnemar.log_e_transitions({("200", "200"): 10, ("500", "500"): 3, ("200", "500"): 0})
    assert found.top is None
    assert found.log_e == 0.0


@given(st.dictionaries(st.tuples(st.sampled_from("abcd"), st.sampled_from("abcd")), st.integers(0, 50)))
def test_transitions_have_no_preferred_side(matrix: dict[tuple[str, str], int]) -> None:
    """Exchanging the arms turns every change round and leaves the evidence."""
    there = mcnemar.log_e_transitions(matrix)
    back = mcnemar.log_e_transitions({(shadow, live): count for (live, shadow), count in matrix.items()})
    assert there.log_e == pytest.approx(back.log_e, abs=1e-9)
    assert sorted(round(change.log_e, 9) for change in there.listed) == sorted(round(change.log_e, 9) for change in back.listed)


@pytest.mark.parametrize(("p", "divergence"), [(0.6, 0.0201), (0.7, 0.0823), (0.8, 0.1927), (0.9, 0.3681), (1.0, 0.6931), (0.5, 0.0)])
def test_divergence_from_a_fair_coin(p: float, divergence: float) -> None:
    """The planning table of STATISTICS C2; a coin and its mirror image are as far from fair."""
    assert mcnemar.divergence_from_fair(p) == pytest.approx(divergence, abs=6e-5)
    assert mcnemar.divergence_from_fair(1 - p) == pytest.approx(divergence, abs=6e-5)


@given(st.floats(1e-6, 0.5), st.floats(0.52, 1.0))
def test_the_expected_number_solves_its_equation(alpha: float, p: float) -> None:
    """The n with n = (ln(1/alpha) + ln(n)/2) / KL, or one pair where less would do."""
    count = mcnemar.expected_discordant(alpha, p)
    assert count is not None
    assert count == pytest.approx(max(1.0, (log(1 / alpha) + 0.5 * log(count)) / mcnemar.divergence_from_fair(p)), rel=1e-6)


def test_a_fair_coin_is_never_found_out() -> None:
    """Nothing to find is None, not a great number."""
    assert mcnemar.expected_discordant(0.05, 0.5) is None


def test_arguments_out_of_range_are_refused() -> None:
    """Counts are not negative, shares are shares."""
    with pytest.raises(ValueError, match="cannot be negative: -1 and 0"):
        mcnemar.log_e_two_sided(-1, 0)
    with pytest.raises(ValueError, match="must be positive, not 0"):
        mcnemar.log_e_one_sided(1, 0, a=0)
    with pytest.raises(ValueError, match="alpha must be between 0 and 1, not 1"):
        mcnemar.expected_discordant(1, 0.7)
    with pytest.raises(ValueError, match=r"from 0 to 1, not 1\.5"):
        mcnemar.divergence_from_fair(1.5)


def test_where_live_hardly_fails_no_test_of_pairs_saves_five_of_six_requests() -> None:
    """The one scenario of STATISTICS C2 without a fivefold gain: Wald's bound alone leaves at most 2.8 times (docs/kayenta.md)."""
    live, new, repeated = 0.001, 0.002, 0.9
    worse, better = new * (1 - live), live * (1 - repeated)
    discordant = worse + better
    fewest = log(1 / 0.05) / (discordant * mcnemar.divergence_from_fair(worse / discordant))
    assert fewest == pytest.approx(2840, rel=0.01)
    assert 7803 / fewest < 2.8
