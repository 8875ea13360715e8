"""Judging promise P1."""

from __future__ import annotations

import pytest

from load.bench import faults
from load.bench.openloop import Sample


def sample(p50_us: int, p99_us: int, **errors: int) -> Sample:
    """An open-loop sample of 95 latencies of one size and 5 of another."""
    made = Sample(due=100)
    for _ in range(95):
        made.latencies.add(p50_us * 1000)
    for _ in range(5):
        made.latencies.add(p99_us * 1000)
    made.errors.update(errors)
    return made


def effect(off: list[Sample], on: list[Sample], *, growth: int = 0) -> faults.Effect:
    """The effect of some turns."""
    return faults.summarise("shadowproxy", faults.FAULTS[0], off, on, rate=100, resident=1, growth=growth)


def test_turns_alternate_and_change_their_order() -> None:
    """Drift of the machine falls on both sides alike."""
    assert faults.order(3) == [False, True, True, False, False, True]


def test_five_percent_or_a_third_of_a_millisecond_is_unharmed() -> None:
    """The wider of both bounds holds; getting faster is no harm."""
    assert faults.within(290.0, 400.0)
    assert not faults.within(310.0, 400.0)
    assert faults.within(450.0, 10_000.0)
    assert faults.within(-5000.0, 400.0)


def test_differences_are_taken_per_pair_of_turns() -> None:
    """One disturbed turn does not decide."""
    off = [sample(400, 900), sample(400, 900), sample(400, 900)]
    on = [sample(450, 950), sample(9000, 90000), sample(450, 950)]
    seen = effect(off, on)
    assert (seen.p50_difference_us, seen.p99_difference_us) == (50.0, 50.0)
    assert seen.problems == []


def test_slower_errors_and_growth_each_break_the_promise() -> None:
    """Every way in which live or memory suffered is named with its numbers."""
    seen = effect([sample(400, 900)], [sample(1400, 2900, reset=2)], growth=65 * 1024 * 1024)
    assert seen.problems == [
        "p50 is 1.00 ms over 0.40 ms",
        "p99 is 2.00 ms over 0.90 ms",
        "live errors: {'reset': 2}",
        "grew by 65 MiB, bound 64",
    ]
    assert "2 of 100" in faults.table([seen])


def test_a_late_generator_decides_nothing() -> None:
    """What the load generator suffered is not held against the shadow, and not passed over."""
    late = sample(400, 900)
    late.lateness.add(50_000_000)
    seen = effect([late], [sample(400, 900)])
    assert seen.problems == []
    assert seen.verdict == "undecided: the load generator was late: the machine is busy with something else"


def test_a_p99_that_moves_by_itself_decides_nothing() -> None:
    """When turns without a mirror differ more than the mirror changed, the verdict is undecided, not unharmed."""
    off = [sample(400, 900), sample(400, 5000), sample(400, 3000)]
    seen = effect(off, [sample(400, 2000), sample(400, 6000), sample(400, 4000)])
    assert seen.p99_difference_us == 1000.0
    assert seen.verdict == "undecided: p99 without a mirror moves more than that by itself"


def test_all_faults_of_the_promise_are_there() -> None:
    """Dead, refusing, hanging, late, resetting, endless, trickling."""
    assert faults.names() == ["dead", "refuse", "hang", "late", "reset", "endless", "trickle"]
    assert [fault.name for fault in faults.choose("hang, dead")] == ["dead", "hang"]
    with pytest.raises(ValueError, match="no fault slow"):
        faults.choose("slow")
