"""What a rollout counts: units once, whoever tells of them."""

from __future__ import annotations

import json

import pytest

from shadowproxy.experiments.rollout_counts import RolloutCounts
from tests.experiments.rollout_traffic import halves, side


def test_units_count_once() -> None:
    """Two workers tell of the same unit, and one tells of it again: it was affected once and failed once."""
    counts = RolloutCounts(has_units=True)
    for _ in range(3):
        counts.add(
            halves(
                canary=side({"500": 1}, [1, 2], [1]),
                stable=side({"200": 1}, [2**63]),
                more=side({"200": 1}, [9]),
                ring=side({"500": 1}, [8], [8]),
            )
        )
    assert counts.halves == (2, 1)
    assert (counts.units["served"].count, counts.units["harmed"].count) == (4, 2)
    assert (counts.failures.canary, counts.failures.control) == (1, 0)
    assert counts.served == (9, 6)
    assert counts.errors() == (3, 3, 3, 0)


def test_without_units_requests_are_what_is_counted() -> None:
    """Each request is a unit of its own."""
    counts = RolloutCounts(has_units=False)
    counts.add(halves(canary=side({"500": 3, "200": 7}), stable=side({"200": 9}), without_unit=0, outside=5))
    assert (counts.halves, counts.failures.canary, counts.outside) == ((10, 9), 3, 5)


def test_a_step_begins_anew() -> None:
    """What is claimed of a step is made of its own requests."""
    counts = RolloutCounts(has_units=False)
    counts.add(halves(canary=side({"200": 7})))
    counts.begin_step()
    assert (counts.arms["canary"].requests, counts.arms["step_canary"].requests) == (7, 0)


def test_a_ratio_that_is_off_is_seen() -> None:
    """Two thousand against a thousand are no halves; as many as each other are."""
    counts = RolloutCounts(has_units=False)
    counts.add(halves(canary=side({"200": 1000}), stable=side({"200": 1000})))
    assert counts.log_e_ratio < 0
    counts.add(halves(canary=side({"200": 1000})))
    assert counts.log_e_ratio > 10


def test_counts_can_be_written_down() -> None:
    """And what is missing is refused."""
    counts = RolloutCounts(has_units=True)
    counts.add(halves(canary=side({"500": 1}, [1], [1]), outside=2, without_unit=1))
    plain = json.loads(json.dumps(counts.to_plain()))
    assert RolloutCounts.from_plain(plain, has_units=True).to_plain() == counts.to_plain()
    assert repr(counts) == repr(RolloutCounts.from_plain(plain, has_units=True))
    with pytest.raises(KeyError):
        RolloutCounts.from_plain({**plain, "arms": {}}, has_units=True)
    with pytest.raises(KeyError):
        counts.add({"canary": side()})
