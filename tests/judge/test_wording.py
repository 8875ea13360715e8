"""Numbers as people read them."""

from __future__ import annotations

import pytest

from shadowproxy.judge import wording


def test_counts() -> None:
    """With thousands apart, and a plural where there is one."""
    assert [wording.count(number, "pair") for number in (0, 1, 2046)] == ["0 pairs", "1 pair", "2,046 pairs"]


def test_estimates_do_not_look_like_measurements() -> None:
    """Two significant digits."""
    assert [wording.about(number) for number in (7, 99, 123, 2046, 1_987_654)] == ["7", "99", "120", "2,000", "2,000,000"]


def test_shares() -> None:
    """Points and percents."""
    assert [wording.points(share) for share in (0.002, 0.00633, -0.5, 1.0)] == ["0.2", "0.633", "-50", "100"]
    assert wording.points(0.002, is_signed=True) == "+0.2"
    assert [wording.percent(share) for share in (0.02, 0.999, 1 - 0.05)] == ["2 %", "99.9 %", "95 %"]


def test_intervals_may_be_open() -> None:
    """An end that is not known is not written."""
    ends = [(1.0, 2.0), (None, 2.0), (1.0, None), (None, None), None]
    assert [wording.span(end, wording.ratio) for end in ends] == ["1.000 to 2.000", "up to 2.000", "from 1.000", "not known", "not known"]
    assert wording.ratio(12.345) == "12.35"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.2, "1 second"), (40, "40 seconds"), (180, "3 minutes"), (7300, "2 hours"), (500_000, "6 days")]
)
def test_durations_to_wait(seconds: float, text: str) -> None:
    """One unit."""
    assert wording.seconds(seconds) == text


def test_durations_of_a_config() -> None:
    """As they are written there."""
    assert [wording.duration(ns) for ns in (250_000_000, 10**9, 50_000, 12)] == ["250ms", "1s", "50us", "12ns"]


def test_lists() -> None:
    """With an `and`."""
    assert [wording.listed(items) for items in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
