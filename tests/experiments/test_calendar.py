"""Blockouts as stretches of time."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shadowproxy.config.declare import Seconds
from shadowproxy.config.experiments import Blockout
from shadowproxy.errors import CalendarUnreadable
from shadowproxy.experiments.calendar import Period, closure, frozen, merged, next_period, periods, unreadable

HOUR = timedelta(hours=1)
BERLIN = ZoneInfo("Europe/Berlin")


def utc(text: str) -> datetime:
    """A moment in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def shown(found: list[Period]) -> list[str]:
    """Periods as text, in UTC."""
    return [f"{period.start:%m-%dT%H:%M}/{period.end:%m-%dT%H:%M}" + (f" {period.summary}" if period.summary else "") for period in found]


def of_rule(rule: str, start: str, end: str, *, length: float = 3600.0, timezone: str = "Europe/Berlin") -> list[str]:
    """When a rule holds."""
    return shown(periods(Blockout(rrule=rule, length=Seconds(length), timezone=timezone), b"", utc(start), utc(end)))


def calendar(*events: str) -> bytes:
    """An iCalendar file with these events."""
    lines = ["BEGIN:VCALENDAR", "VERSION:2.0", "PRODID:-//shop//freeze//EN"]
    for number, event in enumerate(events):
        lines += ["BEGIN:VEVENT", f"UID:{number}@shop", "DTSTAMP:20260101T000000Z", *event.split("\n"), "END:VEVENT"]
    return "\r\n".join([*lines, "END:VCALENDAR", ""]).encode()


def of_events(content: bytes, start: str, end: str, timezone: str = "Europe/Berlin") -> list[str]:
    """When the events of a calendar file are."""
    return shown(periods(Blockout(ical="freeze.ics", timezone=timezone), content, utc(start), utc(end)))


def test_a_weekly_rule_follows_the_clocks() -> None:
    """Fridays at 17:00 in Berlin are 16:00 in UTC in winter, 15:00 in summer; and 60 hours are 60 hours."""
    rule = "DTSTART:20260102T170000\nRRULE:FREQ=WEEKLY;BYDAY=FR"
    assert of_rule(rule, "2026-03-20", "2026-04-04", length=60 * 3600) == [
        "03-20T16:00/03-23T04:00",
        "03-27T16:00/03-30T04:00",
        "04-03T15:00/04-06T03:00",
    ]


def test_a_time_that_the_clocks_leave_out_is_read_as_before_the_change() -> None:
    """02:30 of the 29th of March 2026 is not there in Berlin: by RFC 5545 it is 02:30 of winter time, 01:30 in UTC."""
    rule = "DTSTART:20260328T023000\nRRULE:FREQ=DAILY;COUNT=3"
    assert of_rule(rule, "2026-03-28", "2026-03-31") == ["03-28T01:30/03-28T02:30", "03-29T01:30/03-29T02:30", "03-30T00:30/03-30T01:30"]


def test_a_time_that_the_clocks_repeat_is_the_first() -> None:
    """02:30 of the 25th of October 2026 is there twice in Berlin: once, in summer time, 00:30 in UTC."""
    assert of_rule("DTSTART:20261025T023000\nRRULE:FREQ=DAILY;COUNT=1", "2026-10-24", "2026-10-27") == ["10-25T00:30/10-25T01:30"]


def test_the_29th_of_february() -> None:
    """A yearly rule of a leap day holds in leap years; a monthly one of the 31st in months that have it."""
    assert of_rule("DTSTART:20240229T120000Z\nRRULE:FREQ=YEARLY", "2025-01-01", "2029-01-01") == ["02-29T12:00/02-29T13:00"]
    assert of_rule("DTSTART:20260131T120000Z\nRRULE:FREQ=MONTHLY", "2026-02-01", "2026-06-01") == [
        "03-31T12:00/03-31T13:00",
        "05-31T12:00/05-31T13:00",
    ]


def test_a_period_that_began_before_counts() -> None:
    """What is asked for is when it holds, not when it begins."""
    assert of_rule("DTSTART:20260101T000000Z\nRRULE:FREQ=DAILY;COUNT=1", "2026-01-01T12:00", "2026-01-02", length=86400) == [
        "01-01T00:00/01-02T00:00"
    ]


def test_a_rule_with_too_many_occurrences_is_refused() -> None:
    """Every hour since 1980 is 400,000 steps: a later DTSTART means the same, and a look ahead has a limit of its own."""
    with pytest.raises(CalendarUnreadable, match="occurrences since DTSTART: choose a later one"):
        of_rule("DTSTART:19800101T000000Z\nRRULE:FREQ=HOURLY", "2026-01-01", "2026-01-02")
    rule = "DTSTART:20260101T000000Z\nRRULE:FREQ=HOURLY;BYMINUTE=" + ",".join(str(minute) for minute in range(60))
    with pytest.raises(CalendarUnreadable, match="more than 10000 events in 30 days"):
        of_rule(rule, "2026-01-01", "2026-01-31", length=1.0)


def test_a_rule_that_cannot_be_read_is_a_sentence() -> None:
    """The error of the reader comes as that of calendars."""
    with pytest.raises(CalendarUnreadable, match="needs one DTSTART line"):
        of_rule("RRULE:FREQ=DAILY", "2026-01-01", "2026-01-02")


def test_holidays_are_whole_days_by_the_clocks_there() -> None:
    """Easter Monday of 2026 in Bavaria; the country's own days hold in its parts, and those of a part not elsewhere."""
    start, end = utc("2026-04-05"), utc("2026-06-10")
    found = shown(periods(Blockout(holidays="DE-BY", timezone="Europe/Berlin"), b"", start, end))
    assert found[0] == "04-05T22:00/04-06T22:00 Easter Monday"
    assert any("Corpus Christi" in day for day in found)
    assert not any("Corpus Christi" in day for day in shown(periods(Blockout(holidays="DE", timezone="Europe/Berlin"), b"", start, end)))


def test_holidays_over_the_end_of_a_year() -> None:
    """The days of the year that begins are known before it does."""
    found = shown(periods(Blockout(holidays="DE", timezone="UTC"), b"", utc("2026-12-30"), utc("2027-01-02")))
    assert found == ["01-01T00:00/01-02T00:00 New Year's Day"]


@pytest.mark.parametrize("place", ["ZZ", "DE-XX"])
def test_a_country_that_nobody_knows(place: str) -> None:
    """It is refused, not taken for one without holidays."""
    with pytest.raises(CalendarUnreadable, match=f"nobody knows the holidays of {place}"):
        periods(Blockout(holidays=place), b"", utc("2026-01-01"), utc("2026-02-01"))


@pytest.mark.parametrize(
    ("event", "wanted"),
    [
        ("DTSTART:20260310T080000Z\nDTEND:20260310T100000Z\nSUMMARY:launch", ["03-10T08:00/03-10T10:00 launch"]),
        ("DTSTART:20260310T080000\nDTEND:20260310T100000", ["03-10T07:00/03-10T09:00"]),
        ("DTSTART;TZID=America/New_York:20260310T080000\nDURATION:PT2H", ["03-10T12:00/03-10T14:00"]),
        ("DTSTART;VALUE=DATE:20260310\nDTEND;VALUE=DATE:20260312", ["03-09T23:00/03-11T23:00"]),
        ("DTSTART;VALUE=DATE:20260310", ["03-09T23:00/03-10T23:00"]),
        # a day of 23 hours
        ("DTSTART;VALUE=DATE:20260329", ["03-28T23:00/03-29T22:00"]),
        ("DTSTART:20260310T080000Z", []),
        ("DTSTART:20260310T080000Z\nDTEND:20260310T100000Z\nSTATUS:CANCELLED", []),
        ("DTSTART:20260310T080000Z\nDTEND:20260310T100000Z\nTRANSP:TRANSPARENT", ["03-10T08:00/03-10T10:00"]),
        (
            "DTSTART:20260310T080000Z\nDTEND:20260310T100000Z\nRRULE:FREQ=DAILY;COUNT=3\nEXDATE:20260311T080000Z",
            ["03-10T08:00/03-10T10:00", "03-12T08:00/03-12T10:00"],
        ),
        ("DTSTART:20250310T080000Z\nDTEND:20250310T100000Z\nRRULE:FREQ=YEARLY", ["03-10T08:00/03-10T10:00"]),
    ],
)
def test_events(event: str, wanted: list[str]) -> None:
    """Zones, floating times, whole days, durations, recurrences and exceptions of an iCalendar file; what was cancelled is not there."""
    assert of_events(calendar(event), "2026-03-01", "2026-04-10") == wanted


def test_an_instance_that_was_moved() -> None:
    """RECURRENCE-ID puts one occurrence elsewhere."""
    content = calendar(
        "DTSTART:20260310T080000Z\nDTEND:20260310T100000Z\nRRULE:FREQ=DAILY;COUNT=2",
    ).replace(
        b"END:VCALENDAR",
        b"BEGIN:VEVENT\r\nUID:0@shop\r\nDTSTAMP:20260101T000000Z\r\nRECURRENCE-ID:20260311T080000Z\r\nDTSTART:20260311T200000Z\r\n"
        b"DTEND:20260311T210000Z\r\nEND:VEVENT\r\nEND:VCALENDAR",
    )
    assert of_events(content, "2026-03-01", "2026-04-01") == ["03-10T08:00/03-10T10:00", "03-11T20:00/03-11T21:00"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe\x00",
        b"<html>not a calendar</html>",
        b"BEGIN:VCALENDAR\r\nVERSION:2.0\r\n",
        b"BEGIN:VEVENT\r\nDTSTART:20260310T080000Z\r\nEND:VEVENT\r\n",
        calendar("DTSTART:yesterday"),
        calendar("SUMMARY:no begin"),
        calendar("DTSTART:20261399T080000Z\nDTEND:20260310T100000Z"),
        calendar("DTSTART:20260310T080000Z\nRRULE:FREQ=SOMETIMES"),
        calendar("DTSTART:20260310T080000Z\nDTEND:20260311T080000Z\nRRULE:FREQ=DAILY\nEXDATE:nonsense"),
        calendar("DTSTART:20260310T080000Z")[:-30],
    ],
)
def test_a_malformed_file_is_a_sentence(content: bytes) -> None:
    """What the reader would pass over could be the freeze itself: the file is refused whole, and nothing else is raised."""
    with pytest.raises(CalendarUnreadable):
        of_events(content, "2026-03-01", "2026-04-01")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_damaged_file_is_read_or_refused(data: st.DataObject) -> None:
    """Whatever bytes are changed in a calendar, the answer is periods or one kind of error."""
    raw = bytearray(
        calendar("DTSTART;TZID=Europe/Berlin:20260310T080000\nDTEND;TZID=Europe/Berlin:20260310T100000\nRRULE:FREQ=DAILY;COUNT=3")
    )
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.sampled_from(b"\r\n:;=,TZ0129AX\xff\0"))
    with contextlib.suppress(CalendarUnreadable):
        of_events(bytes(raw), "2026-03-01", "2026-04-01")


def test_a_calendar_without_events_never_holds() -> None:
    """An empty calendar is a good one."""
    assert of_events(calendar(), "2026-03-01", "2026-04-01") == []


moments = st.integers(0, 200).map(lambda hours: utc("2026-01-01") + hours * HOUR)
stretches = st.lists(st.builds(Period, moments, moments, st.sampled_from(["", "a", "b"])), max_size=12)


@given(stretches, moments)
def test_merging_changes_no_moment(found: list[Period], now: datetime) -> None:
    """A moment is in the merged periods iff it is in one of them; merged ones are in order and do not touch."""
    joined = merged(found)
    assert any(period.start <= now < period.end for period in joined) == any(period.start <= now < period.end for period in found)
    assert all(one.end < other.start for one, other in pairwise(joined))


@given(stretches)
def test_periods_survive_the_way_between_processes(found: list[Period]) -> None:
    """JSON and back is the same."""
    assert [Period.from_plain(period.to_plain()) for period in found] == found


def test_closures_say_until_when() -> None:
    """By the clocks of the blockout's zone, with the event's name; the end itself is free again."""
    blockout = Blockout(name="launch", ical="x.ics", timezone="Europe/Berlin")
    found = [Period(utc("2026-03-10T08:00"), utc("2026-03-10T10:00"), "spring sale")]
    held = closure(blockout, found, utc("2026-03-10T08:00"))
    assert held is not None
    assert (held.code, held.sentence) == ("blockout", "blockout launch (spring sale) until 2026-03-10 11:00 CET")
    assert closure(blockout, found, utc("2026-03-10T10:00")) is None
    assert closure(blockout, found, utc("2026-03-10T07:59")) is None


def test_what_other_closures_say() -> None:
    """A freeze file, and a calendar that nobody can read."""
    assert frozen(Blockout(freeze_file="/etc/freeze")).sentence == "blockout /etc/freeze: the file /etc/freeze exists"
    held = unreadable(Blockout(holidays="DE"), "no such country")
    assert held.code == "calendar_unreadable"
    assert held.sentence.startswith("blockout holidays DE cannot be read, so that nobody knows whether it holds: no such")


def test_the_next_period() -> None:
    """The first that begins later, before some moment: what would end a run."""
    found = [Period(utc("2026-03-10"), utc("2026-03-11")), Period(utc("2026-03-12"), utc("2026-03-13"))]
    assert next_period(found, utc("2026-03-10T12:00"), utc("2026-04-01")) == found[1]
    assert next_period(found, utc("2026-03-10T12:00"), utc("2026-03-11")) is None
