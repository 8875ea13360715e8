"""Differences are bounded and show little."""

from __future__ import annotations

from decimal import Decimal

import pytest

from shadowproxy.judge.bodies.difference import PREVIEW, Bounds, Difference, Differences, Kind, direction, preview


def test_what_one_pair_may_say_is_bounded() -> None:
    """At most so many places, and so many differences at each; the rest is counted."""
    found = Differences(Bounds(places=3, per_place=2))
    for index in range(10):
        for _ in range(5):
            found.add(Difference(f"body.a{index}", Kind.VALUE, "1", "2"))
    assert len(found) <= 2 * 4
    assert len(found) + found.dropped == 50


HUGE = {
    "text": "x" * 10_000,
    "object": {str(index) * 50: 1 for index in range(100)},
    "array": [1] * 10_000,
    "whole number": 10**10_000,
    "number": Decimal("1." + "3" * 5000),
    "null": None,
    "boolean": True,
}


@pytest.mark.parametrize("name", HUGE)
def test_a_preview_is_short(name: str) -> None:
    """Whatever the value."""
    assert len(preview(HUGE[name])) <= PREVIEW


@pytest.mark.parametrize(("live", "shadow"), [(1, 2), (Decimal("1.5"), 7), ("a", "b"), ("bb", "aaa"), (False, True)])
def test_a_direction_turns_round_with_its_sides(live: object, shadow: object) -> None:
    """What makes it a fair coin when nothing is wrong."""
    assert direction(live, shadow) == 1
    assert direction(shadow, live) == -1
    assert direction(live, live) == 0


def test_what_cannot_be_ordered_has_no_direction() -> None:
    """No coin is tossed for it."""
    assert direction([1], [2]) == direction(None, 1) == direction("1", 2) == 0
