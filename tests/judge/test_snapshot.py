"""Evidence as JSON and back."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

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


TICKS = st.lists(
    st.builds(
        lambda cells, slower, left: {
            "eligible": sum(cells.values()) + left,
            "fates": {"paired": sum(cells.values()), "not_sampled": left},
            "matrix": cells,
            "ratio": {"n": 3, "s1": 3 * slower, "s2": 3 * slower * slower, "buckets": {str(round(slower / 0.005)): 3}},
            "live_last": {"700": 2},
            "slo": {"20000000": [1, 2]},
            "versus": {"matrix": cells, "n": 2, "s1": slower, "s2": slower * slower, "buckets": {"1": 2}, "slo": {"20000000": [0, 1]}},
            "control": {"matrix": cells, "ratio": {"n": 1, "s1": slower, "s2": slower * slower, "buckets": {}}},
        },
        st.dictionaries(st.sampled_from(["200,200", "200,500", "500,200", "200,timeout", "404,200"]), st.integers(1, 400), min_size=1),
        st.floats(-3, 3, allow_subnormal=False),
        st.integers(0, 500),
    ),
    max_size=6,
)
"""What a worker may report of a mirror with a control arm and an SLO."""


def tell(evidence: MirrorEvidence, ticks: list[dict[str, Any]], log_e: float) -> None:
    """Everything that evidence can be told."""
    for tick in ticks:
        evidence.add(tick)
        evidence.add_control(tick["control"])
    evidence.note_bodies(log_e)


@given(before=TICKS, after=TICKS, log_e=st.floats(-50, 50))
def test_what_was_written_goes_on_as_if_nothing_had_been(before: list[dict[str, Any]], after: list[dict[str, Any]], log_e: float) -> None:
    """The same document now, and the same after more ticks, whatever came before and after."""
    evidence = MirrorEvidence(CRITERIA)
    tell(evidence, before, log_e)
    again = load(CRITERIA, json.loads(json.dumps(dump(evidence))))
    assert dump(again) == dump(evidence)
    for ticks in ([], after):
        for one, noted in ((evidence, log_e), (again, 0.0)):
            tell(one, ticks, noted)
        assert to_plain(conclude(again, HERE)) == to_plain(conclude(evidence, HERE))
        assert again.log_e_bodies == evidence.log_e_bodies


def test_what_the_fields_had_lost_is_not_given_back() -> None:
    """Their counts begin anew with the process; their e-value goes on from what it was."""
    evidence = MirrorEvidence(replace(CRITERIA, are_bodies_judged=True))
    evidence.note_bodies(-2.0)
    again = load(evidence.criteria, dump(evidence))
    assert again.log_e_bodies == -2.0
    again.note_bodies(1.5)
    assert again.log_e_bodies == -0.5


def test_a_late_fault_stays_one() -> None:
    """A process that starts again does not certify what the one before had withdrawn."""
    evidence = MirrorEvidence(Criteria())
    evidence.add({"matrix": {"200,200": 20_000}})
    evidence.add({"matrix": {"200,500": 60}})
    assert evidence.pairs.detector.is_alarmed
    assert load(Criteria(), json.loads(json.dumps(dump(evidence)))).pairs.detector.is_alarmed


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


def places(document: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The way to everything in a document."""
    found = [here] if here else []
    inner = document.items() if isinstance(document, dict) else enumerate(document) if isinstance(document, list) else ()
    for key, value in inner:
        found += places(value, (*here, key))
    return found


SNAPSHOT = json.dumps(dump(fed(1, MirrorEvidence(CRITERIA))))
PLACES = places(json.loads(SNAPSHOT))
WRONG = st.one_of(
    st.none(), st.booleans(), st.integers(), st.just(10**400), st.floats(), st.text(max_size=5), st.just([]), st.just({}), st.just([1, None]), st.just({"x": "y"}),
)  # fmt: skip


@given(place=st.sampled_from(PLACES), wrong=WRONG, is_gone=st.booleans())
def test_what_was_damaged_is_refused_or_harmless(place: tuple[Any, ...], wrong: Any, is_gone: bool) -> None:
    """Whatever stands in whichever place: one documented error, or evidence that a verdict can be made of."""
    snapshot = json.loads(SNAPSHOT)
    inner = snapshot
    for key in place[:-1]:
        inner = inner[key]
    if is_gone:
        del inner[place[-1]]
    else:
        inner[place[-1]] = wrong
    try:
        evidence = load(CRITERIA, snapshot)
    except ValueError:
        return
    json.dumps(to_plain(conclude(evidence, HERE)), allow_nan=False)


@pytest.mark.parametrize("snapshot", [{}, {"version": 1}, {"version": 1, "criteria": None}, {"version": [], "criteria": {}}])
def test_what_is_no_snapshot_is_refused(snapshot: dict[str, Any]) -> None:
    """With the one error that is documented."""
    with pytest.raises(ValueError, match="snapshot"):
        load(CRITERIA, snapshot)
