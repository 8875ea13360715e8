"""Recurrence rules as text."""

from __future__ import annotations

import contextlib
from datetime import datetime
from itertools import islice

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.recurrence import LONGEST_RULE, read_rule, read_zone

FRIDAYS = "DTSTART:20260102T170000\nRRULE:FREQ=WEEKLY;BYDAY=FR"


def first(text: str, count: int = 3, timezone: str = "Europe/Berlin") -> list[str]:
    """The first occurrences, by the clocks there."""
    return [f"{occurrence:%Y-%m-%dT%H:%M}" for occurrence in islice(read_rule(text, timezone).occurrences, count)]


@pytest.mark.parametrize(
    ("text", "occurrences"),
    [
        (FRIDAYS, ["2026-01-02T17:00", "2026-01-09T17:00", "2026-01-16T17:00"]),
        (FRIDAYS.replace("\n", "\\n"), ["2026-01-02T17:00", "2026-01-09T17:00", "2026-01-16T17:00"]),
        ("DTSTART;VALUE=DATE:20260102\nRRULE:FREQ=DAILY;COUNT=2", ["2026-01-02T00:00", "2026-01-03T00:00"]),
        ("DTSTART;TZID=Europe/Berlin:20260102T170000\nRRULE:FREQ=DAILY;COUNT=1", ["2026-01-02T17:00"]),
        (f"{FRIDAYS}\nEXDATE:20260109T170000", ["2026-01-02T17:00", "2026-01-16T17:00", "2026-01-23T17:00"]),
        # 16:00 in UTC is 17:00 in Berlin's winter
        (f"{FRIDAYS}\nEXDATE:20260109T160000Z", ["2026-01-02T17:00", "2026-01-16T17:00", "2026-01-23T17:00"]),
        (f"{FRIDAYS};UNTIL=20260109T160000Z", ["2026-01-02T17:00", "2026-01-09T17:00"]),
        ("DTSTART:20260102T170000\nRDATE:20260105T080000,20260104T080000", ["2026-01-04T08:00", "2026-01-05T08:00"]),
        ("DTSTART:20240229T000000\nRRULE:FREQ=YEARLY", ["2024-02-29T00:00", "2028-02-29T00:00", "2032-02-29T00:00"]),
        ("dtstart:20260102T170000\nrrule:freq=daily;count=1", ["2026-01-02T17:00"]),
    ],
)
def test_what_rules_mean(text: str, occurrences: list[str]) -> None:
    """Times are those of the clocks in the rule's zone; the 29th of February is there in leap years only."""
    assert first(text) == occurrences


def test_a_rule_in_utc_stays_there() -> None:
    """A DTSTART that ends in Z makes all times UTC, whatever the zone of the blockout."""
    rule = read_rule("DTSTART:20260102T170000Z\nRRULE:FREQ=DAILY;COUNT=1", "Asia/Tokyo")
    assert (rule.zone.key, list(rule.occurrences)) == ("UTC", [datetime(2026, 1, 2, 17, 0)])  # noqa: DTZ001  wall-clock time of the rule's zone


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("", "needs one DTSTART line"),
        ("RRULE:FREQ=DAILY", "needs one DTSTART line"),
        ("DTSTART:tomorrow\nRRULE:FREQ=DAILY", "needs one DTSTART line"),
        (f"{FRIDAYS}\nDTSTART:20260102T170000", "needs one DTSTART line"),
        ("DTSTART:20260102T170000", "needs an RRULE line"),
        ("DTSTART:20260102T170000\nRRULE:FREQ=SECONDLY", "comes every hour at the most"),
        ("DTSTART:20260102T170000\nRRULE:freq=minutely", "comes every hour at the most"),
        ("DTSTART:20260102T170000\nRRULE:FREQ=FORTNIGHTLY", "not a rule of RFC 5545"),
        ("DTSTART:20260102T170000\nRRULE:BYDAY=FR", "not a rule of RFC 5545"),
        ("DTSTART:20260102T170000\nRRULE:FREQ=DAILY;BYDAY=XX", "not a rule of RFC 5545"),
        ("DTSTART:20261302T170000\nRRULE:FREQ=DAILY", "not a rule of RFC 5545"),
        ("DTSTART:20260102T170000\nRRULE:FREQ=DAILY;UNTIL=20261399T170000Z", "no such time"),
        ("DTSTART:20260102T170000\nRRULE:FREQ=DAILY\nEXDATE;TZID=Asia/Tokyo:20260102T170000", "all times of a rule are in one zone"),
        ("DTSTART;TZID=Mars/Olympus:20260102T170000\nRRULE:FREQ=DAILY", "no time zone is called 'Mars/Olympus'"),
        ("DTSTART:20260102T170000\nRRULE:FREQ=DAILY;COUNT=1" + " " * LONGEST_RULE, "characters, limit"),
    ],
)
def test_what_is_no_rule(text: str, sentence: str) -> None:
    """It is refused with a sentence, never with an error of the library that reads it."""
    with pytest.raises(Unfit, match=sentence):
        read_rule(text, "UTC")


@given(st.text(max_size=60) | st.text("DTSARULE:;=FQBYK,0126Z\n", max_size=80).map(lambda text: f"{FRIDAYS}{text}"))
def test_any_text_is_a_rule_or_refused(text: str) -> None:
    """No text makes reading fail in another way."""
    with contextlib.suppress(Unfit):
        read_rule(text, "UTC")


@pytest.mark.parametrize("name", ["", "Berlin", "../UTC", "/etc/localtime", "Europe", "\0", "a" * 5000])
def test_zones_that_nobody_knows(name: str) -> None:
    """A name that leads elsewhere is no zone either."""
    with pytest.raises(Unfit, match="no time zone is called"):
        read_zone(name)
