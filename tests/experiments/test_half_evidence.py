"""What two halves say: exact coins for failed units, bounds for rates and quantiles, and false alarms that stay under alpha."""

from __future__ import annotations

import json
import random
from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments import half_evidence as evidence
from shadowproxy.experiments.half_evidence import Arm, FailedUnits
from shadowproxy.logbuckets import bucket

COUNTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=20)


def arm(requests: int, errors: int = 0, ms: float = 10.0) -> Arm:
    """An arm with so many, all as fast as each other."""
    made = Arm()
    made.add({"responses": {"200": requests - errors, "500": errors}, "last": {str(bucket(round(ms * 1e6))): requests}})
    return made


def test_what_is_an_error() -> None:
    """5xx and broken answers are; 4xx are not, a client that left is neither request nor error, and made-up answers are left out."""
    made = Arm()
    assert made.add(
        {"responses": {"200": 5, "404": 1, "503": 2, "reset": 1, "client_gone": 7}, "injected": {"500": 9}, "last": {"3": 8}}
    ) == (9, 3)
    assert (made.requests, made.errors, made.last) == (9, 3, {3: 8})
    assert made.error_rate == pytest.approx(1 / 3)
    assert Arm().error_rate is None
    assert repr(made) == "Arm(3 of 9 failed)"


def test_eight_failed_units_without_a_counterpart_are_enough() -> None:
    """At alpha 5 %, of which errors have half; and as many on the other side are no evidence at all."""
    failures = FailedUnits()
    for _ in range(7):
        failures.update(1, 0)
    assert failures.log_e < log(40)
    failures.update(1, 0)
    assert failures.log_e > log(40)
    other = FailedUnits()
    other.update(0, 8)
    assert other.log_e < 0


def test_false_alarms_stay_under_alpha() -> None:
    """A fair coin, looked at after each of 150 failed units: of 300 runs at most 5 % (and what chance adds) ever reach 1/alpha."""
    chance = random.Random(7)
    alarms = 0
    for _ in range(300):
        failures = FailedUnits()
        for _ in range(150):
            is_canary = chance.random() < 0.5
            failures.update(int(is_canary), int(not is_canary))
            if failures.log_e >= log(20):
                alarms += 1
                break
    assert alarms <= 15 + 11


def test_the_late_bets_stake_no_more_than_there_is() -> None:
    """Over all outcomes of three failed units, in ticks of any size, the capital is 1 on average: it is a bet."""
    for ticks in ((1, 1, 1), (1, 2), (3,)):
        total = 0.0
        for outcome in range(8):
            coins = [outcome >> place & 1 for place in range(3)]
            failures, at = FailedUnits(), 0
            for size in ticks:
                won = sum(coins[at : at + size])
                failures.update(won, size - won)
                at += size
            total += 2.718281828459045**failures.log_e / 8
        assert total == pytest.approx(1.0, abs=1e-9)


def test_a_late_fault_is_found_as_an_early_one() -> None:
    """After a thousand fair failures it takes four times the failures that it takes at the start; a bet on the whole run takes many times that."""

    def until(failures: FailedUnits) -> int:
        found = 0
        while failures.log_e < log(40):
            failures.update(1, 0)
            found += 1
        return found

    old = FailedUnits()
    for _ in range(500):
        old.update(1, 1)
    assert until(old) <= 4 * until(FailedUnits())


@given(COUNTS)
def test_evidence_can_be_written_down(counts: list[tuple[int, int]]) -> None:
    """And goes on as if nothing had happened."""
    failures = FailedUnits()
    for canary, control in counts:
        failures.update(canary, control)
    again = FailedUnits.from_plain(json.loads(json.dumps(failures.to_plain())))
    for one in (failures, again):
        one.update(2, 1)
    assert again.log_e == failures.log_e


def test_damaged_evidence_is_refused() -> None:
    """Nothing is guessed, and nothing is taken back."""
    with pytest.raises(ValueError, match="1 bets, not 4"):
        FailedUnits.from_plain({"canary": 0, "control": 0, "late": [None]})
    with pytest.raises(ValueError, match="cannot be negative"):
        FailedUnits().update(-1, 0)


def test_safe_needs_requests_and_no_excess() -> None:
    """Like arms become safe, arms that differ by more than the margin never do."""
    assert evidence.log_e_safe(arm(1500), arm(1500), 0.005) > log(100)
    assert evidence.log_e_safe(arm(100), arm(100), 0.005) < log(20)
    assert evidence.log_e_safe(arm(20_000, 200), arm(20_000), 0.005) < 0


def test_the_excess_has_its_interval() -> None:
    """Around the estimate, and unknown without requests."""
    estimate, low, high = evidence.excess(arm(10_000, 300), arm(10_000, 100), 0.05)
    assert estimate == pytest.approx(0.02)
    assert 0.01 < low < 0.02 < high < 0.03
    assert evidence.excess(Arm(), Arm(), 0.05) == (None, -1.0, 1.0)


def test_slower_is_shown_or_not() -> None:
    """Three times as slow is; with few values, or for less than a millisecond, nothing is shown."""
    estimate, low, high = evidence.slowdown(arm(3000, ms=30.0), arm(3000, ms=10.0), 0.5, 0.01)
    assert estimate == pytest.approx(3.0, rel=0.03)
    assert high is not None
    assert 2.8 < low < 3.0 < high < 3.2
    assert evidence.slowdown(arm(5, ms=30.0), arm(5, ms=10.0), 0.5, 0.01)[1] == 0.0
    assert evidence.slowdown(arm(3000, ms=0.3), arm(3000, ms=0.1), 0.5, 0.01)[1] == 1.0
    assert evidence.slowdown(Arm(), Arm(), 0.5, 0.01) == (None, 0.0, None)


def test_a_ring_is_worse_only_when_shown() -> None:
    """Half of its requests failing is enough after some, and not after two."""
    assert evidence.ring_is_worse(arm(40, 20), arm(1000), 0.005, 0.01)
    assert not evidence.ring_is_worse(arm(2, 1), arm(1000), 0.005, 0.01)
    assert not evidence.ring_is_worse(arm(40, 20), Arm(), 0.005, 0.01)


def test_an_arm_is_shown_in_seconds() -> None:
    """For people."""
    shown = evidence.shown(arm(100, 1))
    assert (shown["requests"], shown["errors"], shown["error_rate"]) == (100, 1, 0.01)
    assert shown["p99"] == pytest.approx(0.01, rel=0.02)
    assert evidence.shown(Arm()) == {"requests": 0, "errors": 0, "error_rate": None, "p50": None, "p99": None}
