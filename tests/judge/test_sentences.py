"""What verdicts say."""

from __future__ import annotations

import random
from dataclasses import replace

from shadowproxy.judge.conclusion import conclude, outcome_of
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence
from shadowproxy.judge.sentences import top_transition
from shadowproxy.judge.verdict import Circumstances, Outcome, Verdict
from tests.judge.ticks import World, matrix_tick

HERE = Circumstances(route="all", mirror="shadow", since=1.7e9, pairs_per_second=20.0)


def fed(criteria: Criteria, world: World, until: Outcome, pairs: int = 100) -> tuple[MirrorEvidence, Verdict]:
    """Evidence of `world` until the verdict is `until`."""
    evidence = MirrorEvidence(criteria)
    while outcome_of(evidence) is not until:
        counted = world.tick(pairs)
        evidence.add(counted)
        if "control" in counted:
            evidence.add_control(counted["control"])
        assert evidence.pairs.pairs < 40_000
    return evidence, conclude(evidence, HERE)


def test_safe_claims_what_was_tested_and_no_more() -> None:
    """Margins, SLOs, level and pairs; and the resolution where it matters."""
    _, verdict = fed(Criteria(), World(random.Random(1), live_errors=0.0, median_ns=300e6), Outcome.SAFE, 250)
    assert (
        verdict.summary
        == f"errors worse by less than 0.2 points and median latency by less than 2 %, 95 % at any time; {verdict.pairs:,} pairs"
    )
    _, verdict = fed(Criteria(slo_ns=(10**9,)), World(random.Random(1), live_errors=0.0, slo_ns=(10**9,)), Outcome.SAFE, 250)
    assert "answers over 1s more frequent by less than 0.2 points and median latency by less than 2 % and 0.05 ms, 95 %" in verdict.summary
    assert any("wrongly in at most 5 % of runs" in reason for reason in verdict.reasons)


def test_new_errors_are_named_by_their_transition() -> None:
    """With counts, the reverse, the difference and its interval."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(matrix_tick(**{"200,200": 970, "200,504": 23, "504,200": 1, "200,404": 6}))
    verdict = conclude(evidence, HERE)
    assert verdict.summary.startswith(
        "more errors than live: 200 -> 504 23 times, the reverse 1, +2.2 points of error rate (95 % interval +"
    )
    assert verdict.summary.endswith("; 1,000 pairs")
    top = top_transition(verdict)
    assert top is not None
    assert top.count == 23
    assert "the evidence was enough after 1,000 pairs" in verdict.reasons[1]


def test_slow_answers_are_named_by_their_ratio() -> None:
    """With interval and margin."""
    _, verdict = fed(Criteria(), World(random.Random(2), slower=1.2), Outcome.REGRESSION)
    assert verdict.summary.startswith("slower than live on the same requests: latency ratio 1.")
    assert "margin 1 %" in verdict.summary


def test_an_slo_is_named_by_its_threshold() -> None:
    """With the counts of either side."""
    evidence = MirrorEvidence(Criteria(slo_ns=(250_000_000,)))
    evidence.add(matrix_tick(**{"200,200": 100}) | {"slo": {"250000000": [1, 20]}})
    verdict = conclude(evidence, HERE)
    assert verdict.cause == "slo:250ms"
    assert verdict.summary.startswith("more answers over 250ms than live: only the shadow 20 times, only live 1 times (95 % interval")


def test_undecided_says_what_is_missing_and_how_long() -> None:
    """In claims that are not shown, more pairs and time."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(World(random.Random(3), live_errors=0.0).tick(100))
    verdict = conclude(evidence, HERE)
    assert verdict.summary.startswith("neither worse nor safe after 100 pairs: not yet shown that errors are worse by less than 0.2 points")
    assert "more pairs, " in verdict.summary
    assert verdict.summary.endswith("at the present rate")


def test_undecided_admits_when_it_will_not_end() -> None:
    """Between the margins neither claim comes."""
    evidence = MirrorEvidence(Criteria(latency_regression=0.1))
    evidence.add(World(random.Random(3), slower=1.06, live_errors=0.0, median_ns=300e6).tick(1500))
    verdict = conclude(evidence, HERE)
    assert verdict.verdict is Outcome.UNDECIDED
    assert "at the present estimates it will not be" in verdict.summary


def test_tallies_without_latency_say_so() -> None:
    """And those without any pair."""
    evidence = MirrorEvidence(Criteria())
    assert "no request has been compared yet" in conclude(evidence, HERE).summary
    evidence.add(matrix_tick(**{"200,200": 5}))
    assert "no latency has been compared yet" in conclude(evidence, HERE).summary


def test_a_tripped_control_arm_says_what_differs() -> None:
    """Errors of either side and the latency ratio."""
    _, verdict = fed(Criteria(has_control=True), World(random.Random(5), control=True, control_slower=1.7), Outcome.INVALID)
    assert verdict.summary.startswith(
        "the control arm runs the live build and still differs from live (errors only of live 0, only of control 0; latency ratio 1."
    )


def test_counters_that_do_not_add_up_are_said_to_be_a_bug() -> None:
    """Before anything else."""
    verdict = conclude(MirrorEvidence(Criteria()), replace(HERE, is_conserved=False))
    assert "which is a bug" in verdict.summary
    assert verdict.reasons[0] == verdict.summary


def test_a_late_fault_is_said_while_it_is_no_regression_yet() -> None:
    """SAFE is withdrawn with a reason."""
    evidence, _ = fed(Criteria(), World(random.Random(6), live_errors=0.0), Outcome.SAFE, 250)
    evidence.add(matrix_tick(**{"200,200": 3000, "503,200": 40, "200,503": 40}))
    while not evidence.pairs.detector.is_alarmed:
        evidence.add(matrix_tick(**{"200,503": 1}))
    verdict = conclude(evidence, HERE)
    assert verdict.verdict is Outcome.UNDECIDED
    assert any("more frequent lately" in reason for reason in verdict.reasons)


def test_safe_warns_where_slow_requests_were_left_out() -> None:
    """The claim is about those that were compared."""
    evidence, verdict = fed(Criteria(), World(random.Random(7), live_errors=0.0), Outcome.SAFE, 250)
    assert not any("left out" in reason for reason in verdict.reasons)
    slowest = max(evidence.live_last)
    evidence.left_out_last = {slowest: sum(evidence.live_last.values()) // 8}
    verdict = conclude(evidence, HERE)
    assert any("slowest tenth" in reason for reason in verdict.reasons)
