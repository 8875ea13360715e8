"""From evidence to the verdict document."""

from __future__ import annotations

import json
import random

import jsonschema
import pytest

from shadowproxy.control.admin.openapi import SCHEMAS
from shadowproxy.judge.conclusion import TRANSITIONS, conclude, deciles, outcome_of, standing, transitions
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence
from shadowproxy.judge.verdict import Circumstances, Outcome, Previous, Verdict, to_plain
from tests.judge.ticks import World, matrix_tick

HERE = Circumstances(route="all", mirror="shadow", since=1.7e9)


def concluded(evidence: MirrorEvidence, circumstances: Circumstances = HERE) -> Verdict:
    """The verdict, whose document is what the API says it is: valid, and without nan or infinity."""
    verdict = conclude(evidence, circumstances)
    plain = to_plain(verdict)
    json.dumps(plain, allow_nan=False)
    schema = {"$ref": "#/components/schemas/Verdicts", "components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(schema).validate({"verdicts": [plain]})
    return verdict


def test_nothing_seen_is_a_document_too() -> None:
    """All is null or zero, and what is needed is said."""
    for criteria in (Criteria(), Criteria(has_control=True, sampled=0.5, slo_ns=(10**9,), are_bodies_judged=True)):
        verdict = concluded(MirrorEvidence(criteria))
        assert verdict.verdict is Outcome.UNDECIDED
        assert verdict.needs is not None
        assert (verdict.needs.more_pairs, verdict.needs.seconds, verdict.coverage, verdict.errors.interval) == (None, None, None, None)
        assert verdict.coverage_by_decile == ()


def test_one_pair_is_a_document() -> None:
    """Intervals have open ends while there is too little to say."""
    evidence = MirrorEvidence(Criteria(slo_ns=(10**9,)))
    evidence.add(World(random.Random(1), slo_ns=(10**9,)).tick(1))
    verdict = concluded(evidence)
    assert verdict.latency.interval is not None
    assert verdict.quantiles["p50"].interval == (None, None) or verdict.quantiles["p50"].interval is not None


def test_the_numbers_of_a_verdict_are_those_of_the_traffic() -> None:
    """Estimates within their intervals, and the intervals around the truth."""
    evidence = MirrorEvidence(Criteria(slo_ns=(30_000_000,)))
    world = World(random.Random(2), slower=1.2, new_errors=0.03, slo_ns=(30_000_000,))
    for _ in range(30):
        evidence.add(world.tick(100))
    verdict = concluded(
        evidence, Circumstances("all", "shadow", 1.7e9, pairs_per_second=12.0, history=((1.7e9, 3000, 1.0, -2.0, "REGRESSION"),))
    )
    low, high = verdict.errors.interval or (None, None)
    assert low is not None
    assert high is not None
    assert low < 0.03 < high
    assert verdict.errors.difference == pytest.approx(0.03, abs=0.01)
    low, high = verdict.latency.interval or (None, None)
    assert low is not None
    assert high is not None
    assert low < 1.2 / 1.008 < high  # the resolution takes 0.8 % off the mean of these durations
    assert verdict.latency.ratio == pytest.approx(1.19, rel=0.02)
    assert verdict.quantiles["p50"].live == pytest.approx(0.010, rel=0.1)
    assert verdict.errors.transitions[0].live == "200"
    assert verdict.errors.transitions[0].shadow == "504"
    assert verdict.pairs == verdict.eligible == 3000
    assert verdict.log_e.combined > verdict.log_e.threshold


def test_invalid_beats_regression_beats_safe() -> None:
    """Whatever is shown, a broken comparison shows nothing; what was shown is no longer safe."""
    evidence = MirrorEvidence(Criteria())
    world = World(random.Random(3), live_errors=0.001)
    while outcome_of(evidence) is not Outcome.SAFE:
        evidence.add(world.tick(250))
    assert concluded(evidence).needs is None
    evidence.add(matrix_tick(**{"200,500": 30}))
    assert concluded(evidence).verdict is Outcome.REGRESSION
    verdict = concluded(evidence, Circumstances("all", "shadow", 1.7e9, is_conserved=False))
    assert (verdict.verdict, verdict.cause) == (Outcome.INVALID, None)


def test_undecided_says_how_long_it_takes() -> None:
    """In pairs and, at the present rate, in seconds; without a rate not in seconds."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(World(random.Random(4), live_errors=0.0).tick(300))
    verdict = concluded(evidence, Circumstances("all", "shadow", 1.7e9, pairs_per_second=10.0))
    assert verdict.needs is not None
    assert verdict.needs.more_pairs is not None
    assert verdict.needs.seconds == pytest.approx(verdict.needs.more_pairs / 10)
    still = concluded(evidence)
    assert still.needs is not None
    assert still.needs.seconds is None


def test_new_errors_are_the_first_transitions() -> None:
    """Then changes without a failure; never those that changed nothing; never more than a page."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(matrix_tick(**{"200,200": 50, "200,404": 30, "500,200": 9, "200,503": 4, "404,504": 1}))
    found = transitions(evidence.pairs)
    assert [(one.live, one.shadow) for one in found] == [("200", "503"), ("404", "504"), ("200", "404"), ("500", "200")]
    evidence.add(matrix_tick(**{f"200,{status}": 1 for status in range(400, 499)}))
    assert len(transitions(evidence.pairs)) == TRANSITIONS


def test_deciles_count_everything_once() -> None:
    """About a tenth each, in order; what was left out is where it was slow."""
    compared = dict.fromkeys(range(500, 600), 10)
    left_out = {595: 40, 599: 60}
    found = deciles(compared, left_out)
    assert len(found) == 10
    assert sum(one.compared for one in found) == 1000
    assert sum(one.left_out for one in found) == 100
    assert found[-1].left_out == 100 or found[-2].left_out > 0
    assert [one.upto_seconds for one in found] == sorted(one.upto_seconds for one in found)
    assert deciles({}, {}) == ()
    assert len(deciles({7: 100}, {})) == 1


def test_what_was_not_compared_is_listed_by_reason() -> None:
    """Pairs and failures of the shadow are compared; the rest is not."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(
        {
            "eligible": 20,
            "fates": {"paired": 5, "failed_reset": 2, "shed_lag": 3, "not_sampled": 10},
            "matrix": {"200,200": 5, "200,reset": 2},
        }
    )
    assert concluded(evidence).excluded == {"not_sampled": 10, "shed_lag": 3}


def test_an_earlier_epoch_stands_beside_it() -> None:
    """With its numbers."""
    previous = Previous(1, "REGRESSION", "more errors than live", 77, 1.6e9)
    verdict = concluded(MirrorEvidence(Criteria()), Circumstances("all", "shadow", 1.7e9, epoch=2, previous=previous))
    assert to_plain(verdict)["previous"]["pairs"] == 77


def test_a_standing_is_the_verdict_in_numbers() -> None:
    """The same outcome, evidence and intervals as the document."""
    evidence = MirrorEvidence(Criteria(has_control=True))
    world = World(random.Random(6), control=True)
    for _ in range(4):
        counted = world.tick(100)
        evidence.add(counted)
        evidence.add_control(counted["control"])
    stands, verdict = standing(evidence), concluded(evidence)
    assert stands.outcome is verdict.verdict
    assert stands.log_e["regression"]["combined"] == verdict.log_e.combined
    assert stands.log_e["invalid"]["control"] == (verdict.control.log_e if verdict.control else None)
    assert stands.errors == (verdict.errors.interval[0], verdict.errors.difference, verdict.errors.interval[1])  # type: ignore[index]
    assert stands.latency == (verdict.latency.interval[0], verdict.latency.ratio, verdict.latency.interval[1])  # type: ignore[index]
    assert standing(MirrorEvidence(Criteria())).errors == (None, None, None)
