"""Numbers as people read them."""

from __future__ import annotations

from math import log

import pytest

from shadowproxy.report import numbers


def plain(text: str) -> str:
    """With ordinary spaces and signs."""
    return text.replace(numbers.THIN, " ").replace(numbers.MINUS, "-").replace(numbers.TIMES, "x")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, numbers.DASH), (0.0, "0.00 µs"), (0.00000123, "1.23 µs"), (0.0123, "12.3 ms"), (0.9996, "1.00 s"), (0.2, "200 ms"), (1234.0, "1,234 s"),
     (-0.031, "-31.0 ms")],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    """Three significant digits in the unit that fits."""
    assert plain(numbers.duration(seconds)) == text


def test_durations_with_a_sign_and_of_an_axis() -> None:
    """A difference has its sign; a tick has no zeros that say nothing."""
    assert plain(numbers.duration(0.001, is_signed=True)) == "+1.00 ms"
    assert [plain(numbers.round_duration(one)) for one in (0.01, 0.0015, 0.1, 100.0)] == ["10 ms", "1.5 ms", "100 ms", "100 s"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(None, numbers.DASH), (0.1, "under 1 s"), (45, "45 s"), (720, "12 min"), (12600, "3.5 h"), (7200, "2 h"), (259200, "3 days")],
)
def test_spans(seconds: float | None, text: str) -> None:
    """Time to wait, in one unit."""
    assert plain(numbers.span(seconds)) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, numbers.DASH), (0.0, "0 %"), (1.0, "100 %"), (0.8158, "81.6 %"), (0.00012, "0.012 %"), (0.05, "5 %"), (1e-9, "0 %")],
)
def test_shares(value: float | None, text: str) -> None:
    """Small shares keep their digits."""
    assert plain(numbers.share(value)) == text


def test_differences() -> None:
    """Points and ratios show which way they go."""
    assert plain(numbers.points(-0.0031)) == "-0.31 pp"
    assert plain(numbers.points(0.0)) == "0 pp"
    assert plain(numbers.change(1.052)) == "+5.2 %"
    assert plain(numbers.change(0.95)) == "-5 %"
    assert numbers.points(None) == numbers.change(None) == numbers.DASH


def test_intervals() -> None:
    """Ends that are not bounded are said so."""
    shown = numbers.count
    assert numbers.between((1, 2), shown) == "1 to 2"
    assert numbers.between((None, 2), shown) == "below 2"
    assert numbers.between((1, None), shown) == "above 1"
    assert numbers.between((None, None), shown) == numbers.between(None, shown) == numbers.DASH


@pytest.mark.parametrize(
    ("log_e", "text"),
    [
        (None, numbers.DASH),
        (0.0, "1x"),
        (log(20), "20x"),
        (log(12088), "12,000x"),
        (log(0.5), "0.5x"),
        (log(99.9999), "100x"),
        (log(99.2), "99x"),
        (-20, "<0.001x"),
        (-5000, "<0.001x"),
        (88.0, "10³⁸x"),
    ],
)
def test_odds(log_e: float | None, text: str) -> None:
    """Evidence has two digits; it may be of any size."""
    assert plain(numbers.odds(log_e)) == text


def test_times() -> None:
    """UTC, always."""
    assert numbers.moment(0) == "1970-01-01 00:00:00 UTC"
    assert numbers.moment(None) == numbers.DASH
    assert numbers.rfc3339(0) == "1970-01-01T00:00:00Z"
    assert numbers.clock(3600, "%H:%M") == "01:00"


def test_a_unit_is_said_once() -> None:
    """Unless the ends have different ones."""
    assert plain(numbers.between((0.001, 0.02), numbers.points)) == "+0.1 to +2 pp"
    assert plain(numbers.between((0.0005, 0.02), numbers.duration)) == "500 µs to 20.0 ms"


def test_sentences_begin_with_a_capital() -> None:
    """Also when there is nothing to begin with."""
    assert [numbers.sentence(words) for words in ("more errors", "", "É")] == ["More errors", "", "É"]


@pytest.mark.parametrize(
    ("seconds", "longest", "shown"), [(30, 60, "30 s"), (0.5, 1, "0.5 s"), (150, 600, "2:30"), (0, 600, "0:00"), (3900, 8000, "1:05 h")]
)
def test_a_time_since_a_beginning(seconds: float, longest: float, shown: str) -> None:
    """Seconds, minutes or hours, as long as the axis is."""
    assert numbers.elapsed(seconds, longest).replace(numbers.THIN, " ") == shown


@pytest.mark.parametrize(("value", "shown"), [(12345.0, "12,345"), (0.03123456, "0.03123"), (-2.0, "\u22122"), (7, "7"), (None, "\u2013")])
def test_a_number_of_which_nothing_is_known(value: float | None, shown: str) -> None:
    """Whole ones whole, others with four digits."""
    assert numbers.plain(value) == shown
