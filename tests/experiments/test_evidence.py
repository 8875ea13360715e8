"""Evidence of fault against control: bets that nobody wins on average if there is no harm, and how blocks are cut."""

from __future__ import annotations

from itertools import product
from math import comb, exp, inf, isfinite, log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.experiment import Sequential
from shadowproxy.experiments.evidence import FIRST_SHARE, LATE_RATIOS, LEAST_EACH, RATIOS, Detector, Evidence, log_ratio
from shadowproxy.experiments.slicecounts import Counts, Slices
from shadowproxy.judge.detectors import ShiryaevRoberts


def tick(answers: int, errors: int, other_answers: int, other_errors: int) -> Slices:
    """One tick of both slices."""
    return Slices(Counts(answers, answers, errors), Counts(other_answers, other_answers, other_errors))


def hypergeometric(errors: int, answers: int, others: int) -> list[float]:
    """The chance of each number of the fault slice's errors, when it is chance whose they are."""
    total = comb(answers + others, errors)
    return [comb(answers, k) * comb(others, errors - k) / total for k in range(errors + 1)]


@pytest.mark.parametrize("ratio", RATIOS)
def test_no_bet_wins_on_average_without_harm(ratio: float) -> None:
    """Exactly, over all ways in which a block's errors can fall, for blocks of any shape and with any number of errors."""
    for answers, others in product((1, 3, 10), (1, 4, 12)):
        share = answers / (answers + others)
        for errors in range(answers + others + 1):
            chances = hypergeometric(errors, answers, others)
            mean = sum(chance * exp(log_ratio(ratio, k, errors - k, share)) for k, chance in enumerate(chances) if chance)
            assert mean <= 1 + 1e-9


@given(st.lists(st.tuples(*[st.integers(3, 9)] * 2, st.integers(0, 3), st.integers(0, 3)), max_size=12))
def test_the_martingale_is_one_block_by_block(blocks: list[tuple[int, int, int, int]]) -> None:
    """Whatever was before, one block more does not raise the evidence on average, the bets that it begins included."""
    evidence = Evidence(Sequential())
    for answers, others, errors, other_errors in blocks:
        evidence.add(tick(answers, errors, others, other_errors))
    before = evidence.log_e
    mean = 0.0
    for k, chance in enumerate(hypergeometric(4, 5, 7)):
        again = Evidence(Sequential())
        for answers, others, errors, other_errors in blocks:
            again.add(tick(answers, errors, others, other_errors))
        again.add(tick(5, k, 7, 4 - k))
        mean += chance * exp(again.log_e - before)
    assert mean <= 1 + 1e-9


def test_evidence_begins_at_none_and_grows_with_harm() -> None:
    """Eight errors of the fault slice alone are enough for one in twenty; control's errors take away from it."""
    evidence = Evidence(Sequential())
    assert evidence.log_e == pytest.approx(0.0, abs=1e-12)
    assert FIRST_SHARE == 0.5
    needed = 0
    while not evidence.is_shown:
        evidence.add(tick(10, 1, 10, 0))
        needed += 1
    assert needed == 8
    evidence.add(tick(10, 0, 10, 5))
    assert evidence.log_e < evidence.highest
    assert evidence.is_shown


def test_the_detector_is_that_of_the_judge_for_slices_alike() -> None:
    """With as many answers in both slices the chains are those of STATISTICS C7."""
    ours, judges = Detector(1e4), ShiryaevRoberts(1e4)
    for errors, others in ((1, 0), (2, 1), (0, 3), (4, 0), (7, 2)):
        ours.add(errors, others, 0.5)
        judges.update(errors, others)
        assert ours.log_value == pytest.approx(judges.log_detector, abs=1e-12)
    assert [ratio / (1 + ratio) for ratio in LATE_RATIOS] == pytest.approx([0.6, 0.7, 0.8, 0.9])
    assert not ours.is_alarmed
    ours.lengthen(1e3)
    assert ours.run_length == 1e4
    ours.lengthen(1e5)
    assert ours.run_length == 1e5
    ours.restart()
    assert ours.log_value == -inf


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=60))
def test_ticks_are_pooled_until_both_slices_have_answered(ticks: list[tuple[int, int]]) -> None:
    """A slice without answers says nothing, however many errors the other has; what is cut off depends on numbers of answers alone."""
    failing, healthy = Evidence(Sequential()), Evidence(Sequential())
    for answers, others in ticks:
        failing.add(tick(answers, answers, others, 0))
        healthy.add(tick(answers, 0, others, 0))
        assert failing._open[::2] == healthy._open[::2]
        assert min(failing._open[0], failing._open[2]) < LEAST_EACH
    assert healthy.log_e == pytest.approx(0.0, abs=1e-12)
    if not any(others for _, others in ticks):
        assert failing.log_e == pytest.approx(0.0, abs=1e-12)
        assert failing.difference.estimate is None


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50), st.floats(0, 1), st.floats(0, 1)), max_size=40))
def test_everything_stays_finite_and_in_its_range(ticks: list[tuple[int, int, float, float]]) -> None:
    """Any counts: the interval has the estimate inside and is within -1 and 1."""
    evidence = Evidence(Sequential())
    for answers, others, share, other_share in ticks:
        evidence.add(tick(answers, int(answers * share), others, int(others * other_share)))
    low, high = evidence.difference.interval(0.05)
    assert -1 <= low <= high <= 1
    if evidence.difference.estimate is not None:
        assert low - 1e-9 <= evidence.difference.estimate <= high + 1e-9
    assert all(isfinite(value) for value in evidence.to_plain().values() if value is not None)


def test_the_difference_weighs_a_block_by_its_smaller_slice() -> None:
    """Ten answers against twenty: as ten pairs, with the mean number of errors of ten of the twenty."""
    evidence = Evidence(Sequential())
    evidence.add(tick(10, 2, 20, 2))
    difference = evidence.difference
    assert (difference.plus, difference.zero, difference.minus) == pytest.approx((2.0, 7.0, 1.0))
    evidence.add(tick(10, 9, 10, 8))
    assert (difference.plus, difference.zero, difference.minus) == pytest.approx((2 + 2, 7 + 7, 1 + 1)), "seven pairs fail on both sides"
    assert difference.estimate == pytest.approx((0.1 * 10 + 0.1 * 10) / 20)


def test_a_step_is_safe_after_enough_answers() -> None:
    """Without errors and at a margin of one point, a few hundred; asked for less alpha it takes more. The next step asks anew."""
    evidence = Evidence(Sequential())
    needed = dict.fromkeys((0.05, 0.01), 0)
    for answers in range(10, 2000, 10):
        evidence.add(tick(10, 0, 10, 0))
        for alpha, found in needed.items():
            if not found and evidence.is_safe(0.01, alpha):
                needed[alpha] = answers
    assert 300 <= needed[0.05] <= 450 < needed[0.01] <= 700
    evidence.begin_step()
    assert not evidence.is_safe(0.01, 0.05)
    assert evidence.difference.pairs > 1900


def test_late_harm_meets_bets_that_have_not_lost() -> None:
    """After five hundred errors of both slices the verdict needs some twenty more of the fault slice, not a hundred."""
    evidence = Evidence(Sequential())
    evidence.expect(1e9)
    for _ in range(250):
        evidence.add(tick(50, 1, 50, 1))
    more = 0
    while not evidence.is_shown:
        evidence.add(tick(50, 1, 50, 0))
        more += 1
    assert 15 <= more <= 40
    assert max(evidence.log_e, evidence.detector.log_value) >= log(40)
