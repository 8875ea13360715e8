"""Durations, sizes and percentages."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.units import read_percent, read_seconds, read_size, shown
from tests.config.strategies import junk


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("150ms", 0.15),
        ("5s", 5),
        ("2m", 120),
        ("1h", 3600),
        ("1h30m", 5400),
        ("1.5s", 1.5),
        ("250us", 0.00025),
        (7, 7),
        (0.25, 0.25),
        ("1d", 86400),
        (0, 0),
    ],
)
def test_durations(written: object, seconds: float) -> None:
    """A duration with a unit is that many seconds, and a bare number is seconds."""
    assert read_seconds(written) == pytest.approx(seconds, rel=1e-12)


@pytest.mark.parametrize(
    "written", ["5", "5 s", "s", "-5s", "5S", "1h-3m", "", "5q", True, None, -1, 1e12, "366d", float("nan"), float("inf"), [5], "\u0665s"]
)
def test_not_durations(written: object) -> None:
    """What is not clearly a duration from 0 to a year is refused, and the text shows what was read."""
    with pytest.raises(ValueError, match="expected a duration"):
        read_seconds(written)


@pytest.mark.parametrize(
    ("written", "size"),
    [("64KiB", 65536), ("1MiB", 2**20), ("10kB", 10_000), ("1.5KiB", 1536), ("100B", 100), (4096, 4096), ("2 GiB", 2**31)],
)
def test_sizes(written: object, size: int) -> None:
    """Binary units count by 1024, decimal ones by 1000, a bare number is bytes."""
    assert read_size(written) == size


@pytest.mark.parametrize("written", ["64", "0.3B", "-1KiB", True, None, 1.5, -1, 2**60, "1e3kB", "KiB", {}])
def test_not_sizes(written: object) -> None:
    """What is not a whole number of bytes is refused."""
    with pytest.raises(ValueError, match="expected"):
        read_size(written)


def test_size_in_the_wrong_case() -> None:
    """Units in the wrong letter case are refused with the right one: MB and Mb, mib and MiB are different things to people."""
    with pytest.raises(ValueError, match="did you mean 1MiB"):
        read_size("1mib")


@pytest.mark.parametrize(
    ("written", "percent"), [(25, 25.0), (0.001, 0.001), ("25%", 25.0), ("0.5 %", 0.5), (100, 100.0), (0, 0.0), (33.333, 33.333)]
)
def test_percentages(written: object, percent: float) -> None:
    """A share is read exactly, with or without the sign."""
    assert read_percent(written) == percent


@pytest.mark.parametrize("written", [100.001, -0.001, 0.0001, "12.3456%", "25", True, None, float("nan"), "101%", 10**400, -(10**400)])
def test_not_percentages(written: object) -> None:
    """Beyond 0 to 100, finer than a thousandth, or not a number: refused, never rounded."""
    with pytest.raises(ValueError, match="percentage"):
        read_percent(written)


@given(st.integers(0, 100_000))
def test_every_thousandth_is_a_percentage(thousandths: int) -> None:
    """All 100,001 steps are read as what they are."""
    assert read_percent(thousandths / 1000) == thousandths / 1000
    assert read_percent(f"{thousandths // 1000}.{thousandths % 1000:03}%") == thousandths / 1000


@given(junk | st.text("0123456789.msuhdKkMiBG% ", max_size=12))
def test_only_value_errors(value: object) -> None:
    """Whatever the value, the answer is a bounded number or a ValueError."""
    for read, bound in ((read_seconds, 365 * 86400), (read_size, 2**50), (read_percent, 100)):
        try:
            number = read(value)
        except ValueError:
            continue
        assert 0 <= number <= bound


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "nothing"),
        (True, "true"),
        ({}, "a mapping"),
        ([1], "a list"),
        ("a", "'a'"),
        (1.5, "1.5"),
        (10**300, "an enormous number"),
        (b"x", "bytes"),
    ],
)
def test_shown(value: object, text: str) -> None:
    """Messages show values as a person would name them."""
    assert shown(value) == text


def test_shown_is_never_long() -> None:
    """A message stays readable whatever was written."""
    assert len(shown("x" * 10_000)) == 60
