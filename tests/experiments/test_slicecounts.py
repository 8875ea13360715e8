"""Counts of the slices: what is read of a report, windows that forget, charts of a bounded length."""

from __future__ import annotations

from collections import deque

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy import logbuckets
from shadowproxy.experiments.slicecounts import POINTS, SLOTS, Counts, Series, Slices, Window, bucket_of, counts_of


def of(answers: int, errors: int = 0, last: dict[int, int] | None = None) -> Slices:
    """A tick where the fault slice has these, and control one good answer."""
    return Slices(Counts(answers, answers, errors, last=dict(last or {})), Counts(1, 1))


def test_a_report_is_read_as_workers_write_it() -> None:
    """5xx and failures are errors; what we made up and whom the client left count apart; buckets are text after JSON."""
    arm = {
        "requests": 17,
        "responses": {"200": 5, "404": 1, "500": 2, "timeout": 1, "reset": 1, "truncated": 1, "client_gone": 3},
        "last": {"800": 6, "810": 1},
        "injected": {"503": 2, "200": 1},
    }
    assert counts_of(arm) == Counts(requests=17, answered=11, errors=5, injected=3, injected_errors=2, last={800: 6, 810: 1})
    assert counts_of(None) == counts_of({}) == Counts()


def test_a_document_has_rates_and_seconds() -> None:
    """Of nothing, None; latencies within one per cent."""
    assert Counts().to_plain() == {"requests": 0, "errors": 0, "error_rate": None, "injected": 0, "p50": None, "p99": None, "buckets": {}}
    plain = Counts(4, 4, 1, last={bucket_of(0.25): 3}).to_plain()
    assert plain["error_rate"] == 0.25
    assert plain["p50"] == pytest.approx(0.25, rel=2 * logbuckets.ACCURACY)
    assert list(plain["buckets"].values()) == [3]


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(0, 5), st.integers(800, 805)), max_size=150), st.sampled_from([1.0, 10.0]))
def test_a_window_holds_its_length_and_no_more_than_a_slot_less(steps: list[tuple[float, int, int]], seconds: float) -> None:
    """Everything younger than its length less one slot is in it, nothing older than its length; memory is bounded, sketches go to nothing."""
    window = Window(seconds)
    now = 0.0
    seen: deque[tuple[float, int]] = deque()
    for step, answers, bucket in steps:
        now += step
        window.add(now, of(answers, 0, {bucket: answers} if answers else None))
        seen.append((now, answers))
        least = sum(n for when, n in seen if when > now - seconds * (1 - 1 / SLOTS) + 1e-9)
        most = sum(n for when, n in seen if when >= now - seconds - 1e-9)
        fault = window.slices.fault
        assert least <= fault.answered <= most
        assert sum(fault.last.values()) == fault.answered
        assert all(fault.last.values())
        assert len(window._slots) <= SLOTS
    window.clear()
    assert window.slices == Slices()


def test_a_window_of_the_whole_run_forgets_nothing() -> None:
    """Length 0."""
    window = Window(0.0)
    for second in range(1000):
        window.add(float(second), of(2, 1))
    assert (window.slices.fault.answered, window.slices.fault.errors, len(window._slots)) == (2000, 1000, 0)


@given(st.lists(st.tuples(st.floats(0, 400), st.integers(0, 5)), min_size=1, max_size=2500))
def test_a_chart_has_few_points_and_all_counts(steps: list[tuple[float, int]]) -> None:
    """However long a run is: at most 600 rows, times that rise, sums that are right."""
    series = Series()
    now = 0.0
    for step, answers in steps:
        now += step
        series.add(now, of(answers, answers, {800: answers} if answers else None), 5.0)
    rows = series.to_plain()
    assert len(rows) == len(series) <= POINTS
    times = [row[0] for row in rows]
    assert times == sorted(set(map(float, [time for time in times if time is not None])))
    assert sum(row[1] or 0 for row in rows) == sum(row[2] or 0 for row in rows) == sum(answers for _, answers in steps)
    assert all((row[6] is None) == (not row[1]) for row in rows)
    assert rows == series.to_plain()


def test_a_chart_halves_when_it_is_full() -> None:
    """A minute in tenths of a second is 600 points; the next one makes them fifths."""
    series = Series()
    for number in range(POINTS):
        series.add((number + 0.5) / 10, of(1), 1.0)
    assert (len(series), series.span) == (POINTS, 0.1)
    series.add(60.05, of(1), 2.0)
    assert (len(series), series.span) == (POINTS // 2 + 1, 0.2)
    assert series.to_plain()[0] == [0.0, 2, 0, 2, 0, 1.0, None, None]
    assert series.to_plain()[-1] == [60.0, 1, 0, 1, 0, 2.0, None, None]
