"""Evidence as JSON and back."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest

from shadowproxy.judge.conclusion import conclude
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence
from shadowproxy.judge.snapshot import dump, load
from shadowproxy.judge.verdict import Circumstances, to_plain
from tests.judge.ticks import World

CRITERIA = Criteria(slo_ns=(20_000_000,), has_control=True, sampled=0.5)
HERE = Circumstances("all", "shadow", 1.7e9)


def fed(seed: int, evidence: MirrorEvidence, ticks: int = 5) -> MirrorEvidence:
    """With some ticks of everything."""
    world = World(random.Random(seed), control=True, new_errors=0.01, slower=1.1, slo_ns=CRITERIA.slo_ns)
    for _ in range(ticks):
        tick = world.tick(50)
        evidence.add(tick | {"eligible": 100, "fates": {"paired": 50, "not_sampled": 50}, "shed_last": {"700": 3}})
        evidence.add_control(tick["control"])
    return evidence


def test_what_was_written_goes_on_as_if_nothing_had_been() -> None:
    """The same document now, and the same after more ticks; but for the detector, which begins anew."""
    evidence = fed(1, MirrorEvidence(CRITERIA))
    again = load(CRITERIA, json.loads(json.dumps(dump(evidence))))
    for ticks in (0, 4):
        documents = [to_plain(conclude(fed(2, one, ticks), HERE)) for one in (evidence, again)]
        for document in documents:
            del document["late_fault"]
        assert documents[0] == documents[1]


def test_an_alarm_is_kept() -> None:
    """What was shown stays shown."""
    evidence = MirrorEvidence(Criteria())
    evidence.add({"matrix": {"200,500": 30}})
    assert load(Criteria(), dump(evidence)).alarm == evidence.alarm is not None


def test_other_criteria_are_refused() -> None:
    """Evidence for other margins is not evidence for these; nor can another version be read."""
    snapshot = dump(fed(1, MirrorEvidence(CRITERIA)))
    with pytest.raises(ValueError, match="other criteria"):
        load(replace(CRITERIA, errors_safe=0.01), snapshot)
    with pytest.raises(ValueError, match="version 2, not 1"):
        load(CRITERIA, {**snapshot, "version": 2})
