"""Evidence per field: what is reported, what is not, and how often wrongly."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from shadowproxy.judge.bodies.comparison import Answer, Compared, compare
from shadowproxy.judge.bodies.evidence import CERTAIN, OTHERS, Evidence
from shadowproxy.judge.bodies.fieldcounts import Basis, FieldFinding, Standing
from shadowproxy.judge.bodies.rules import Rule, Rules, Treatment
from tests.judge.bodies import contest, corpus


def answer(document: Any, status: str = "200") -> Answer:
    """An answer that is a JSON document."""
    return Answer(status, (("Content-Type", "application/json"),), json.dumps(document).encode())


def show(evidence: Evidence, live: Any, shadow: Any, control: Any = None, pair: str = "p") -> bool:
    """One request to the evidence."""
    sample = None if control is None else compare(answer(live), answer(control), rules=evidence.rules)
    return evidence.observe(pair, compare(answer(live), answer(shadow), rules=evidence.rules, watched=evidence.watched), sample)


def at(evidence: Evidence, path: str) -> FieldFinding:
    """The finding at one path."""
    return next(finding for finding in evidence.findings() if finding.path == path)


def test_a_field_that_only_the_shadow_changes_is_reported() -> None:
    """With its kind, its numbers and an example; one pair is not enough."""
    evidence = Evidence(Basis.CONTROL)
    for index in range(10):
        assert show(evidence, {"a": 1}, {"a": 2}, {"a": 1}, f"pair{index}")
        if index == 1:
            assert at(evidence, "body.a").standing is Standing.UNDECIDED
    finding = at(evidence, "body.a")
    assert finding.standing is Standing.REGRESSION
    assert (finding.compared, finding.differs, finding.noise, finding.example) == (10, 10, 0, "pair9")
    assert (finding.live, finding.shadow) == ("1", "2")


def test_noise_is_learnt_from_the_control() -> None:
    """A field that differs as readily in the control is none of the shadow's faults."""
    evidence, chance = Evidence(Basis.CONTROL), random.Random(1)
    for _ in range(300):
        live, shadow, control = ({"a": chance.randrange(3)} for _ in range(3))
        show(evidence, live, shadow, control)
    assert at(evidence, "body.a").standing is Standing.NOISE


def test_a_noisy_field_can_lose_its_type() -> None:
    """Kinds are tested by themselves."""
    evidence, chance = Evidence(Basis.CONTROL), random.Random(1)
    for index in range(100):
        a, b, c = (chance.random() for _ in range(3))
        show(evidence, {"a": a}, {"a": str(b) if index % 5 == 0 else b}, {"a": c})
    finding = at(evidence, "body.a")
    assert (finding.standing, finding.kind.value) == (Standing.REGRESSION, "type")


def test_worlds_of_their_own_are_recognised() -> None:
    """A one-to-one mapping is `ids`; once it breaks, it is a regression."""
    evidence = Evidence(Basis.CONTROL)
    for index in range(200):
        number = index % 20
        show(evidence, {"order_id": number}, {"order_id": 100 + number}, {"order_id": number})
    assert at(evidence, "body.order_id").standing is Standing.IDS
    for index in range(16):
        show(evidence, {"order_id": index}, {"order_id": 500 + index // 2}, {"order_id": index})
    assert at(evidence, "body.order_id").standing is Standing.REGRESSION


def test_a_wrong_id_now_and_then_is_no_world_of_its_own() -> None:
    """Values that mostly agree are not issued by two worlds, even if the wrong ones are consistent."""
    evidence = Evidence(Basis.CONTROL)
    for index in range(300):
        number = index % 20
        show(evidence, {"order_id": number}, {"order_id": 100 if number == 3 else number}, {"order_id": number})
    assert at(evidence, "body.order_id").standing is Standing.REGRESSION


def test_clocks_are_never_evidence() -> None:
    """A slower shadow reads a later second; that is not what its fields say."""
    evidence = Evidence(Basis.CONTROL)
    for _ in range(50):
        show(evidence, {"at": "2026-01-01T00:00:00Z"}, {"at": "2026-01-01T00:00:01Z"}, {"at": "2026-01-01T00:00:00Z"})
    assert at(evidence, "body.at").standing is Standing.NOISE


def test_without_a_sample_direction_tells() -> None:
    """Missing is as frequent as extra when nothing is wrong; a value that changes at random proves nothing."""
    evidence, chance = Evidence(Basis.DIRECTION), random.Random(2)
    for _ in range(40):
        show(
            evidence, {"a": 1, "b": chance.randrange(9), "id": chance.randrange(99)}, {"b": chance.randrange(9), "id": chance.randrange(99)}
        )
    assert at(evidence, "body.a").standing is Standing.REGRESSION
    assert at(evidence, "body.a").noise is None
    assert at(evidence, "body.b").standing is Standing.UNDECIDED
    assert at(evidence, "body.id").standing is Standing.NOISE


def test_a_few_answers_sent_again_show_noise() -> None:
    """Direction counts until the sample differs too."""
    evidence = Evidence(Basis.RESEND)
    for index in range(30):
        show(evidence, {"views": index, "a": 1}, {"views": index + 1, "a": 2}, {"views": index + 1, "a": 1} if index == 20 else None)
    assert at(evidence, "body.a").standing is Standing.REGRESSION
    assert at(evidence, "body.views").standing is not Standing.REGRESSION


def test_a_rule_makes_the_first_difference_a_finding() -> None:
    """People know better: no statistics."""
    evidence = Evidence(Basis.CONTROL, Rules([Rule(path="body.total", treat=Treatment.EQUAL)]))
    show(evidence, {"total": 1}, {"total": 2}, {"total": 1})
    finding = at(evidence, "body.total")
    assert (finding.standing, finding.log_e) == (Standing.REGRESSION, None)


def test_a_rule_says_that_values_are_ids() -> None:
    """Then they may differ, as long as each keeps its partner."""
    evidence = Evidence(Basis.CONTROL, Rules([Rule(path="body.code", treat=Treatment.IDS)]))
    for index in range(30):
        show(evidence, {"code": f"c {index % 9}"}, {"code": f"d {index % 9}"}, {"code": f"c {index % 9}"})
    assert at(evidence, "body.code").standing is Standing.IDS


def test_what_was_not_answered_is_counted_apart() -> None:
    """A timeout on either side is a matter of the error tests."""
    evidence = Evidence(Basis.CONTROL)
    assert not evidence.observe("p", compare(answer(1), Answer("timeout")), Compared())
    assert (evidence.compared, evidence.not_comparable) == (0, 1)
    assert evidence.problems == {"no whole answer on both sides": 1}


def test_memory_is_bounded() -> None:
    """What has no room of its own is one field, and one coin a pair."""
    evidence = Evidence(Basis.CONTROL, limit=10)
    for index in range(50):
        show(evidence, {}, {f"k{index}": 1, f"m{index}": 2}, {})
    findings = evidence.findings()
    assert len(findings) == 11
    assert at(evidence, OTHERS).differs == 45


def test_parts_merge_to_the_whole() -> None:
    """In any grouping; the mappings of ids stay each their own."""
    whole, parts = Evidence(Basis.CONTROL), [Evidence(Basis.CONTROL), Evidence(Basis.CONTROL)]
    chance = random.Random(3)
    for index in range(60):
        live, shadow, control = ({"a": chance.randrange(3), "b": 1} for _ in range(3))
        shadow["b"] = 2
        for evidence in (whole, parts[index % 2]):
            show(evidence, live, shadow, control)
    parts[0].merge(parts[1])
    assert [(one.path, one.log_e, one.differs) for one in parts[0].findings()] == [
        (one.path, one.log_e, one.differs) for one in whole.findings()
    ]


def test_one_number_for_all_fields() -> None:
    """Nothing seen is no evidence; a field that only the shadow changes is; a broken rule is certain."""
    evidence = Evidence(Basis.CONTROL)
    assert evidence.log_e() == 0.0
    for _ in range(30):
        show(evidence, {"a": 1, "b": 1}, {"a": 2, "b": 1}, {"a": 1, "b": 1})
    assert 5.0 < evidence.log_e() < (at(evidence, "body.a").log_e or 0.0)
    pinned = Evidence(Basis.CONTROL, Rules([Rule(path="body.a", treat=Treatment.EQUAL)]))
    show(pinned, {"a": 1}, {"a": 2}, {"a": 1})
    assert pinned.log_e() == CERTAIN


def test_another_build_begins_anew() -> None:
    """Nothing of the old is left."""
    evidence = Evidence(Basis.CONTROL)
    show(evidence, {"a": 1}, {"a": 2}, {"a": 1})
    evidence.restart()
    assert (evidence.compared, evidence.findings(), evidence.watched) == (0, [], frozenset())


def test_no_false_discovery_where_there_is_no_regression() -> None:
    """Forty fields of noise, two worlds of ids, a look every tenth of the way: nothing is reported, in at least 19 of 20 runs."""
    scores = contest.contest([corpus.case(seed, regressions=0) for seed in range(100, 105)], 300)
    assert not any(scores["evidence, control"].peeked)
    assert not any(scores["evidence, direction"].peeked)


@pytest.mark.slow
def test_more_is_found_than_by_diffys_rule_and_less_of_it_is_false() -> None:
    """On the seeded corpus: false discovery rate at most 5 %, recall above the rival's on the same pairs."""
    scores = contest.contest([corpus.case(seed) for seed in range(5)], 1000)
    mean = {
        name: (sum(score.recalls) / len(score.recalls), sum(score.false_shares) / len(score.false_shares)) for name, score in scores.items()
    }
    assert mean["evidence, control"][1] <= 0.05
    assert mean["evidence, direction"][1] <= 0.05
    assert mean["evidence, control"][0] > mean["Diffy's rule"][0]
    assert mean["Diffy's rule"][1] > 0.05
