"""Guards: units, windows, holds, what is not known, burn rates at little traffic."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.experiments.guards import Guards, Reading, Readings, Watch, reading_of
from shadowproxy.experiments.slicecounts import Counts, Slices, bucket_of
from tests.experiments.slices import an_experiment

PROBE = {"name": "orders", "url": "http://127.0.0.1:1/orders", "every": "1s"}
NOTHING = Readings(0, 0, {})


def guards(*plain: dict[str, Any], **changed: Any) -> Guards:
    """The guards of an experiment that has these."""
    probes = [PROBE] if any(guard.get("probe") for guard in plain) else []
    return Guards(an_experiment(guards=list(plain), probes=probes, **changed))


def answers(count: int, errors: int = 0, latency_s: float = 0.1) -> Counts:
    """So many answers, all as fast."""
    return Counts(count, count, errors, last={bucket_of(latency_s): count - errors} if count > errors else {})


def look(watched: Guards, now: float, fault: Counts, control: Counts | None = None) -> list[Watch]:
    """Tell a tick, and return what trips."""
    watched.add(now, Slices(fault, control or Counts()))
    return watched.look(now, NOTHING)


@pytest.mark.parametrize(
    ("metric", "above", "below_it", "beyond_it", "value"),
    [
        ("error_rate", 5, (answers(100, 5), answers(100)), (answers(100, 6), answers(100)), 6.0),
        ("error_excess", 5, (answers(100, 9), answers(100, 4)), (answers(100, 9), answers(100, 3)), 6.0),
        ("p50", 0.2, (answers(50, 0, 0.19), answers(50)), (answers(50, 0, 0.22), answers(50)), 0.22),
        ("p99", 0.2, (answers(50, 0, 0.19), answers(50)), (answers(50, 0, 0.22), answers(50)), 0.22),
        ("p99_excess", 0.2, (answers(50, 0, 0.29), answers(50, 0, 0.1)), (answers(50, 0, 0.42), answers(50, 0, 0.2)), 0.22),
    ],
)
def test_each_metric_in_its_unit(
    metric: str, above: float, below_it: tuple[Counts, Counts], beyond_it: tuple[Counts, Counts], value: float
) -> None:
    """Per cent or seconds; the bound itself is not beyond it."""
    assert not look(guards({"metric": metric, "above": above}), 1.0, *below_it)
    watched = guards({"metric": metric, "above": above})
    assert [watch.code for watch in look(watched, 1.0, *beyond_it)] == [f"guard_{metric}"]
    plain = watched.to_plain()[0]
    assert plain["value"] == pytest.approx(value, rel=0.03)
    assert (plain["bound"], plain["is_true"], plain["since_s"], plain["has_tripped"]) == (above, True, 1.0, False)


def test_too_few_answers_say_nothing() -> None:
    """`least` of the fault slice, and of control for what is compared with it."""
    assert not look(guards({"metric": "error_rate", "above": 5, "least": 30}), 1.0, answers(29, 29))
    assert look(guards({"metric": "error_rate", "above": 5, "least": 30}), 1.0, answers(30, 30))
    assert not look(guards({"metric": "error_excess", "above": 5}), 1.0, answers(100, 50), answers(19))
    assert not look(guards({"metric": "p99", "above": 0.001}), 1.0, answers(40, 40)), "failures have no latency"


def test_a_hold_is_without_a_break() -> None:
    """Two seconds of an error rate over its bound; a good second between begins anew."""
    watched = guards({"metric": "error_rate", "above": 50, "hold": "2s", "window": "100ms"})
    bad, good = answers(20, 20), answers(20)
    seen = [bool(look(watched, now, bad if is_bad else good)) for now, is_bad in ((1, 1), (2, 1), (2.5, 0), (3, 1), (4.9, 1), (5, 1))]
    assert seen == [False, False, False, False, False, True]


def test_a_window_forgets() -> None:
    """Errors of eleven seconds ago are none of the last ten; over the whole run (0) they are."""
    watched = guards({"metric": "error_rate", "above": 40}, {"metric": "error_rate", "above": 40, "window": "0s"})
    assert len(look(watched, 0.0, answers(50, 40))) == 2
    assert [watch.guard.window for watch in look(watched, 11.0, answers(40))] == [0.0]


def test_units_and_repeats_count_at_once() -> None:
    """Whatever `least` says."""
    watched = guards({"metric": "units", "above": 10}, {"metric": "repeats", "above": 3})
    assert not watched.look(1.0, Readings(10, 3, {}))
    assert [watch.code for watch in watched.look(1.1, Readings(11, 4, {}))] == ["guard_units", "guard_repeats"]
    assert watched._watches[0].sentence == "the number of different units with the fault is 11, above 10"


def test_what_is_not_known_of_a_probe_is_neither_true_nor_untrue() -> None:
    """A reading that is missing breaks no hold; three intervals without any trip the guard."""
    watched = guards({"metric": "probe", "probe": "orders", "below": 5, "hold": "2s"})
    assert not watched.look(0.5, NOTHING)
    low = Readings(0, 0, {"orders": Reading(4.0, 1.0)})
    assert [bool(watched.look(now, low)) for now in (1.0, 2.0, 3.0)] == [False, False, True]
    blind = guards({"metric": "probe", "probe": "orders", "below": 5})
    assert not blind.look(3.0, NOTHING)
    tripped = blind.look(3.1, NOTHING)
    assert [watch.is_blind for watch in tripped] == [True]
    assert "nobody sees what it guards" in tripped[0].sentence


def test_readings_that_are_no_numbers_are_none() -> None:
    """NaN of a division by zero, infinity of another: the last value stays, as old as it is."""
    before = Reading(4.0, 1.0)
    assert reading_of(5.0, 2.0, before) == Reading(5.0, 2.0)
    for value in (None, float("nan"), float("inf")):
        assert reading_of(value, 2.0, before) is before
    assert reading_of(None, 2.0, None) is None


def test_a_probe_may_be_too_large_or_too_small() -> None:
    """Both bounds of one guard."""
    watched = guards({"metric": "probe", "probe": "orders", "below": 5, "above": 9})
    tripped = [
        bool(watched.look(now, Readings(0, 0, {"orders": Reading(value, now)}))) for now, value in ((1, 5), (2, 9), (3, 4.9), (4, 9.1))
    ]
    assert tripped == [False, False, True, True]
    assert watched._watches[0].sentence == "probe orders is 9.1, above 9"


def burning(*ticks: tuple[float, int, int], factor: float = 14.4, window: str = "1h", duration: str = "10m") -> bool:
    """Whether a burn rate guard trips at the last of the ticks (when, answers, errors); the objective is 99.9 %."""
    watched = guards({"metric": "burn_rate", "above": factor, "window": window, "least": 1}, duration=duration)
    tripped = False
    for now, count, errors in ticks:
        tripped = bool(look(watched, now, answers(count, errors)))
    return tripped


@pytest.mark.parametrize(("count", "naive", "needed"), [(10, 1, 3), (30, 1, 5), (100, 2, 7), (300, 5, 13), (1000, 15, 28)])
def test_a_burn_rate_at_little_traffic_needs_more_than_an_error(count: int, naive: int, needed: int) -> None:
    """As computed in STATISTICS C10 for 14.4 of 99.9 %, within a tenth: the interval must be beyond it as well."""
    assert naive / count / 0.001 > 14.4
    assert not burning((1.0, count, naive))
    first = next(errors for errors in range(count + 1) if burning((1.0, count, errors)))
    assert abs(first - needed) <= max(1, 0.1 * needed)


def test_a_burn_rate_needs_its_short_window_too() -> None:
    """What is over and past does not abort; the windows shrink to an experiment of ten minutes and are a twelfth of each other."""
    assert burning((1.0, 1000, 100), (2.0, 1000, 100))
    assert not burning((1.0, 1000, 100), (60.0, 1000, 0))
    assert burning((1.0, 1000, 100), (60.0, 1000, 100))
    assert not burning((1.0, 1000, 100), (62.0, 0, 0)), "nothing in the short window"


def test_restarting_forgets_what_was_seen() -> None:
    """Windows and holds begin anew."""
    watched = guards({"metric": "error_rate", "above": 5, "hold": "5s"})
    look(watched, 1.0, answers(100, 50))
    assert not watched.is_quiet
    watched.restart()
    assert watched.is_quiet
    assert not look(watched, 7.0, answers(19, 19))
