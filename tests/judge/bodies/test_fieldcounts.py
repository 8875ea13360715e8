"""Counts at one path."""

from __future__ import annotations

import json

from shadowproxy.judge.bodies.difference import Difference, Excuse, Kind
from shadowproxy.judge.bodies.fieldcounts import Basis, Coin, FieldCounts, FieldFinding, Seen, Standing
from shadowproxy.judge.bodies.identities import Identities

VALUE = Difference("body.a", Kind.VALUE, "1", "2", 1)
CLOCK = Difference("body.a", Kind.VALUE, "1", "2", 1, Excuse.CLOCK)


def test_only_discordant_pairs_are_tossed() -> None:
    """Kind by kind: a value that always differs says nothing, a type that only the shadow loses does."""
    counts = FieldCounts()
    both = Seen(kinds=frozenset({Kind.VALUE}), unexplained=frozenset({Kind.VALUE}))
    typed = Seen(kinds=frozenset({Kind.TYPE}), unexplained=frozenset({Kind.TYPE}))
    assert counts.toss(both, both) == set()
    assert not counts.is_tested
    assert counts.toss(typed, both) == {Kind.TYPE}
    assert counts.coins[Kind.TYPE.value] == Coin(1, 0)
    assert counts.coins[Kind.VALUE.value] == Coin(0, 1)
    assert "any" not in counts.coins


def test_a_reading_of_a_clock_is_never_tossed() -> None:
    """It counts as a difference that is excused."""
    seen = Seen.of([CLOCK], Identities())
    assert seen.is_different
    assert not seen.kinds
    counts = FieldCounts()
    counts.see(seen, None)
    assert (counts.differs, counts.clock) == (1, 1)
    assert not Seen.of([CLOCK, VALUE], Identities()).is_clock


def test_merging_adds() -> None:
    """Counters, coins, kinds and examples."""
    one, other = FieldCounts(), FieldCounts()
    for counts in (one, other):
        seen = Seen.of([VALUE], Identities())
        counts.see(seen, Seen())
        counts.toss(seen, Seen())
        counts.turn("value", 1)
        counts.turn("value", 0)
    one.merge(other)
    assert one.differs == 2
    assert one.coins["any"] == Coin(2, 0)
    assert one.turns["value"] == Coin(2, 0)


def test_a_finding_is_plain_json() -> None:
    """With nothing that JSON has no word for."""
    finding = FieldFinding(
        path="body.a",
        kind=Kind.VALUE,
        standing=Standing.REGRESSION,
        basis=Basis.CONTROL,
        compared=5,
        differs=2,
        noise=None,
        log_e=None,
        why="w",
        live="1",
        shadow="2",
        example="",
    )
    assert finding.is_reported
    assert json.loads(json.dumps(finding.to_plain()))["example"] is None
