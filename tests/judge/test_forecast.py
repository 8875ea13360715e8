"""About how many more pairs."""

from __future__ import annotations

import random

from shadowproxy.judge.conclusion import outcome_of
from shadowproxy.judge.criteria import Criteria
from shadowproxy.judge.evidence import MirrorEvidence
from shadowproxy.judge.forecast import until_regression, until_safe
from shadowproxy.judge.verdict import Outcome
from tests.judge.ticks import World, matrix_tick


def test_safe_comes_about_when_it_was_said() -> None:
    """At half of the way the forecast is right within a factor of two and a half."""
    evidence = MirrorEvidence(Criteria())
    world = World(random.Random(4), live_errors=0.0)
    forecasts = {}
    while outcome_of(evidence) is Outcome.UNDECIDED:
        evidence.add(world.tick(100))
        forecasts[evidence.pairs.pairs] = until_safe(evidence.pairs)
    needed = evidence.pairs.pairs
    half = max(at for at in forecasts if at <= needed / 2)
    forecast = forecasts[half]
    assert outcome_of(evidence) is Outcome.SAFE
    assert forecast is not None
    assert (needed - half) / 2.5 <= forecast <= (needed - half) * 2.5
    assert until_safe(evidence.pairs) == 0


def test_a_worse_shadow_is_never_safe_and_soon_a_regression() -> None:
    """Each forecast is None where the estimates are on the wrong side."""
    evidence = MirrorEvidence(Criteria())
    evidence.add(World(random.Random(4), slower=1.06).tick(300))
    assert until_safe(evidence.pairs) is None
    more = until_regression(evidence)
    assert more is not None
    assert 0 <= more < 5000


def test_a_margin_on_errors_has_its_own_forecast() -> None:
    """New errors beyond it: some pairs; under it: never."""
    for new, is_near in ((8, True), (3, False)):
        evidence = MirrorEvidence(Criteria(errors_regression=0.05))
        evidence.add(matrix_tick(**{"200,200": 100 - new, "200,500": new}))
        assert (until_regression(evidence) is not None) == is_near


def test_without_pairs_nothing_is_known() -> None:
    """Neither way."""
    evidence = MirrorEvidence(Criteria(slo_ns=(10**9,)))
    assert until_safe(evidence.pairs) is None
    assert until_regression(evidence) is None
