"""The evidence of one mirror, and the verdict on whole simulated runs."""

from __future__ import annotations

import os
import random
from math import exp, log, sin, sqrt
from typing import TYPE_CHECKING, Any

import pytest
from scipy import stats

from shadowproxy.judge import mcnemar
from shadowproxy.judge.conclusion import outcome_of
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence, combined, largest
from shadowproxy.judge.pairs import Part
from shadowproxy.judge.verdict import Outcome
from tests.judge.ticks import Arms, World, matrix_tick

if TYPE_CHECKING:
    from collections.abc import Callable

DEEP = os.environ.get("DEEP") == "1"
SLO_NS = (30_000_000,)


def run(evidence: MirrorEvidence, world: World, ticks: int, pairs: int, stop: Callable[[Outcome], bool] = lambda _: False) -> Outcome:
    """Feed `ticks` ticks of `pairs` pairs, looking after each, until `stop`; the last verdict."""
    outcome = Outcome.UNDECIDED
    for _ in range(ticks):
        counted = world.tick(pairs)
        evidence.add(counted)
        if world.control:
            evidence.add_control(counted["control"])
        outcome = outcome_of(evidence)
        if stop(outcome):
            break
    return outcome


def test_identical_versions_are_hardly_ever_called_worse_however_often_one_looks() -> None:
    """In 200 runs with a look after each of 20 ticks there are no more false alarms than alpha allows, by far."""
    alarms = 0
    for seed in range(200):
        evidence = MirrorEvidence(Criteria(slo_ns=SLO_NS))
        run(evidence, World(random.Random(seed), slo_ns=SLO_NS), 20, 50, lambda outcome: outcome is Outcome.REGRESSION)
        alarms += evidence.alarm is not None
    assert alarms <= 19  # 10 are expected at alpha; more than 19 have a probability under 0.005 even then


class Weather(World):
    """Alike arms on a bad day: error rates that follow the hour, failures in bursts on both arms, durations with heavy tails."""

    def tick(self, pairs: int) -> dict[str, Any]:
        """As `World.tick`."""
        arms, rng = Arms(self.slo_ns), self.rng
        for _ in range(pairs):
            self.hour += 1
            storm = rng.random() < 0.3 if sin(self.hour / 40) > 0.9 else rng.random() < 0.02 * (1 + sin(self.hour / 300))
            outcomes = ["500" if storm and rng.random() < 0.6 else "200" for _ in range(2)]
            difficulty = self.median_ns * exp(rng.gauss(0.0, 1.0))
            tails = [rng.gauss(0.0, 0.2) / sqrt(max(1e-3, rng.gammavariate(1.25, 0.8))) for _ in range(2)]  # Student, 2.5 degrees
            arms.add(outcomes[0], outcomes[1], difficulty * exp(min(9.0, tails[0])), difficulty * exp(min(9.0, tails[1])))
        return arms.report()


def test_a_bad_day_is_no_regression() -> None:
    """Diurnal rates, bursts and heavy tails, the same for both arms: looked at after each tick, at most 1.3 alpha of the runs alarm.

    With DEEP=1 that is shown at 99 % confidence.
    """
    runs, alarms = 3000 if DEEP else 150, 0
    for seed in range(runs):
        evidence = MirrorEvidence(Criteria(slo_ns=SLO_NS))
        run(evidence, Weather(random.Random(seed), slo_ns=SLO_NS), 12, 50, lambda outcome: outcome is Outcome.REGRESSION)
        alarms += evidence.alarm is not None
    if DEEP:
        assert stats.beta.ppf(0.99, alarms + 1, runs - alarms) <= 1.3 * 0.05
    else:
        assert alarms <= 15  # more than 15 have a probability under 0.005 at alpha


def test_identical_versions_are_certified_safe() -> None:
    """With every default, within a few thousand pairs, in every run; and the shadow's own failures do not matter."""
    for seed in range(8):
        evidence = MirrorEvidence(Criteria(slo_ns=SLO_NS))
        outcome = run(evidence, World(random.Random(seed), live_errors=0.001), 40, 250, lambda outcome: outcome is Outcome.SAFE)
        assert outcome is Outcome.SAFE, (seed, evidence)


def test_a_shadow_as_much_worse_as_the_margin_is_hardly_ever_called_safe() -> None:
    """At the margin itself SAFE is false; it is said in no more runs than beta allows."""
    said = 0
    for seed in range(60):
        evidence = MirrorEvidence(Criteria())
        world = World(random.Random(seed), slower=1.02 * 1.005, live_errors=0.0)  # the resolution gives half a percent
        run(evidence, world, 10, 100, lambda outcome: outcome is Outcome.SAFE)
        said += outcome_of(evidence) is Outcome.SAFE
    assert said <= 8


def test_five_percent_slower_is_found_within_a_thousand_pairs() -> None:
    """At the median of 21 runs, and named as latency."""
    found = []
    for seed in range(21):
        evidence = MirrorEvidence(Criteria())
        run(evidence, World(random.Random(seed), slower=1.05), 120, 25, lambda outcome: outcome is Outcome.REGRESSION)
        if evidence.alarm is not None:
            assert evidence.alarm.cause == "latency"
            found.append(evidence.alarm.pairs)
    assert len(found) >= 20
    assert sorted(found)[10] <= 1000


def test_half_a_percent_of_new_errors_is_found_within_three_thousand_pairs() -> None:
    """At the median of 21 runs, and named as errors."""
    found = []
    for seed in range(21):
        evidence = MirrorEvidence(Criteria())
        run(evidence, World(random.Random(seed), new_errors=0.005), 80, 100, lambda outcome: outcome is Outcome.REGRESSION)
        if evidence.alarm is not None:
            assert evidence.alarm.cause == "errors"
            found.append(evidence.alarm.pairs)
    assert len(found) == 21
    assert sorted(found)[10] <= 3000


def test_more_slow_answers_are_found_where_the_median_is_the_same() -> None:
    """A tail beyond the threshold, on a shadow whose median is live's, is a regression of that SLO."""
    evidence = MirrorEvidence(Criteria(slo_ns=(10**9,)))
    for _ in range(20):
        tick = matrix_tick(**{"200,200": 100})
        evidence.add({**tick, "ratio": {"n": 100, "s1": 0.0, "s2": 4.0, "buckets": {"0": 50, "1": 50}}, "slo": {"1000000000": [0, 1]}})
    assert evidence.alarm is not None
    assert evidence.alarm.cause == "slo:1s"


def test_a_tripped_control_arm_makes_everything_invalid() -> None:
    """When live and control differ, nothing is concluded about the shadow, whatever it does."""
    evidence = MirrorEvidence(Criteria(has_control=True))
    world = World(random.Random(1), control=True, control_slower=1.6, new_errors=0.05)
    assert run(evidence, world, 30, 50) is Outcome.INVALID
    assert evidence.alarm is not None


def test_with_a_control_arm_the_shadow_is_compared_with_it() -> None:
    """What mirroring costs both copies is nobody's fault: both 5 % slower than live by it is not a regression."""
    evidence = MirrorEvidence(Criteria(has_control=True))
    world = World(random.Random(2), control=True, control_slower=1.05, slower=1.05, live_errors=0.0)
    assert run(evidence, world, 40, 100) is Outcome.SAFE
    assert evidence.pairs.pairs == 4000


def test_the_calibration_does_not_take_its_own_resolution_for_a_difference() -> None:
    """With answers as short as the resolution live and control, alike, are not told apart."""
    evidence = MirrorEvidence(Criteria(has_control=True))
    world = World(random.Random(3), control=True, median_ns=100_000, live_errors=0.0)
    run(evidence, world, 40, 100)
    assert evidence.calibration is not None
    assert not evidence.calibration.is_tripped


def test_late_answers_of_the_second_leg_are_no_regression_against_live() -> None:
    """One answer in ten delayed threefold, as on a busy machine: not believed against live, which is always first; believed against control."""
    for has_control in (False, True):
        evidence = MirrorEvidence(Criteria(has_control=has_control))
        rng, arms = random.Random(7), Arms()
        for _ in range(600):
            live, shadow = (10e6 * exp(rng.gauss(0.0, 0.1)) for _ in range(2))
            arms.add("200", "200", live, shadow * (3 if rng.random() < 0.1 else 1))
        evidence.add({"versus": arms.versus()} if has_control else arms.report())
        assert evidence.pairs.log_e_slower > 10
        assert (evidence.alarm is not None) == has_control


def test_a_regression_stays_once_shown() -> None:
    """Evidence that was enough is not taken back by what comes later; only a new epoch forgets it."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(matrix_tick(**{"200,504": 12}))
    assert outcome_of(evidence) is Outcome.REGRESSION
    for _ in range(50):
        evidence.add(matrix_tick(**{"504,200": 1, "200,200": 100}))
    assert outcome_of(evidence) is Outcome.REGRESSION
    assert evidence.alarm is not None
    assert evidence.alarm.pairs == 12


def test_errors_that_begin_late_withdraw_safe_before_they_are_a_regression() -> None:
    """After a long healthy history the detector speaks first: SAFE goes, then REGRESSION comes."""
    evidence = MirrorEvidence(Criteria())
    rng = random.Random(5)
    run(evidence, World(rng), 60, 250)
    evidence.add(matrix_tick(**{"200,200": 1000, "503,200": 30, "200,503": 30}))
    assert outcome_of(evidence) in {Outcome.SAFE, Outcome.UNDECIDED}
    order: list[Outcome] = []
    for _ in range(200):
        evidence.add(matrix_tick(**{"200,200": 99, "200,503": 1}))
        outcome = outcome_of(evidence)
        if not order or order[-1] is not outcome:
            order.append(outcome)
        if outcome is Outcome.REGRESSION:
            break
    assert order[-2:] == [Outcome.UNDECIDED, Outcome.REGRESSION]


def test_an_alarm_needs_what_alpha_says() -> None:
    """Errors weigh one half: seven failures with none the other way are enough at 5 %, six are not quite."""
    for failures, outcome in ((6, Outcome.UNDECIDED), (7, Outcome.REGRESSION)):
        evidence = MirrorEvidence(Criteria())
        evidence.add(matrix_tick(**{"200,504": failures, "200,200": 100}))
        assert outcome_of(evidence) is outcome


def test_a_margin_on_errors_is_kept() -> None:
    """With a margin, new errors below it are no regression; above it they are."""
    evidence = MirrorEvidence(Criteria(errors_regression=0.05))
    for _ in range(40):
        evidence.add(matrix_tick(**{"200,200": 97, "200,500": 3}))
    assert evidence.alarm is None
    for _ in range(40):
        evidence.add(matrix_tick(**{"200,200": 80, "200,500": 20}))
    assert evidence.alarm is not None


def test_bodies_count_only_where_the_config_says_so() -> None:
    """With `bodies: fail` the evidence of fields is a part of the mean; otherwise it is only shown."""
    for are_judged in (False, True):
        evidence = MirrorEvidence(Criteria(are_bodies_judged=are_judged))
        evidence.add(matrix_tick(**{"200,200": 10}))
        evidence.note_bodies(20.0)
        assert (evidence.alarm is not None) == are_judged
        assert sum(part.weight for part in evidence.regression_parts()) == pytest.approx(1.0)
    assert evidence.alarm is not None
    assert evidence.alarm.cause == "bodies"


def test_a_tally_without_the_new_fields_is_accepted() -> None:
    """Errors are judged, latency is not, and SAFE is therefore never said."""
    evidence = MirrorEvidence(Criteria(slo_ns=SLO_NS))
    for _ in range(50):
        evidence.add({"matrix": {"200,200": 1000}})
    assert evidence.pairs.pairs == 50_000
    assert outcome_of(evidence) is Outcome.UNDECIDED


def test_workers_and_ticks_add_up_to_the_same() -> None:
    """How pairs were spread over ticks and workers changes nothing but when one could look."""
    whole, parts = MirrorEvidence(Criteria(slo_ns=SLO_NS)), MirrorEvidence(Criteria(slo_ns=SLO_NS))
    ticks = [World(random.Random(seed), slo_ns=SLO_NS, new_errors=0.01).tick(40) for seed in range(20)]
    for tick in ticks:
        whole.add(tick)
    for tick in reversed(ticks):
        parts.add(tick)
    assert combined(whole.regression_parts()) == pytest.approx(combined(parts.regression_parts()))
    assert [p.log_e for p in whole.pairs.safety_parts()] == pytest.approx([p.log_e for p in parts.pairs.safety_parts()])


def test_the_mean_and_its_largest_part() -> None:
    """The mean is of e-values, not of their logarithms; the part that adds most is the cause."""
    parts = [Part("a", 0.5, log(10)), Part("b", 0.25, log(16)), Part("c", 0.25, 0.0)]
    assert combined(parts) == pytest.approx(log(9.25))
    assert largest(parts).name == "a"


def test_evidence_is_what_the_formula_says() -> None:
    """Without a margin the errors' part is McNemar's one-sided e-value of the discordant pairs."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(matrix_tick(**{"200,504": 5, "502,200": 2, "500,503": 9, "404,404": 4, "200,404": 3}))
    assert evidence.pairs.log_e_errors == pytest.approx(mcnemar.log_e_one_sided(5, 2))
    assert (evidence.pairs.baseline_errors, evidence.pairs.shadow_errors) == (11, 14)
