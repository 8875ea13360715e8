"""Blockouts as stretches of time: when no experiment may begin, and those that run are ended.

Four kinds become the same thing, a list of `Period`: RFC 5545 rules, iCalendar files, public holidays, and files whose presence
is the blockout. Contents of files and the time are arguments. Expanding a rule can take long, and calendars come from elsewhere:
`control.calendars` has it done in a process of its own, for some weeks ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Final
from zoneinfo import ZoneInfo

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.recurrence import read_rule
from shadowproxy.errors import CalendarUnreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from shadowproxy.config.experiments import Blockout

MOST_PERIODS: Final = 10_000
"""Of one blockout in one look ahead: an event every five minutes for a month. Beyond it, it is no calendar of blockouts."""

MOST_OCCURRENCES: Final = 200_000
"""Of one rule since its DTSTART: every hour for twenty years."""

BLOCKOUT: Final = "blockout"
UNREADABLE: Final = "calendar_unreadable"


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A stretch of time [start, end), both in UTC, and what it is called."""

    start: datetime
    end: datetime
    summary: str = ""

    def to_plain(self) -> list[Any]:
        """Return it as JSON says it: start and end in unix seconds, summary."""
        return [self.start.timestamp(), self.end.timestamp(), self.summary]

    @classmethod
    def from_plain(cls, plain: list[Any]) -> Period:
        """Return what `to_plain` made."""
        return cls(datetime.fromtimestamp(plain[0], UTC), datetime.fromtimestamp(plain[1], UTC), str(plain[2]))


@dataclass(frozen=True, slots=True)
class Closure:
    """A reason why no experiment may begin now, or go on.

    Attributes:
        code: `blockout`, or `calendar_unreadable` when nobody can say whether there is one.
        sentence: for people.
        until: when it ends, in UTC; None if that is not known.

    """

    code: str
    sentence: str
    until: datetime | None = None


def periods(blockout: Blockout, content: bytes, start: datetime, end: datetime) -> list[Period]:
    """Return when `blockout` holds between two moments, in order; periods that touch are one.

    Args:
        blockout: an rrule, an iCalendar file or holidays; a freeze file has no periods.
        content: of the iCalendar file.
        start: the first moment, with a time zone.
        end: the moment after the last.

    Raises:
        CalendarUnreadable: with a sentence; also when the package that reads it is not installed.

    """
    found: Iterable[Period] = ()
    if blockout.rrule:
        found = _of_rule(blockout, start, end)
    elif blockout.ical:
        found = _of_events(content, ZoneInfo(blockout.timezone), start, end)
    elif blockout.holidays:
        found = _of_holidays(blockout.holidays, ZoneInfo(blockout.timezone), start, end)
    wanted = [period for period in islice(found, MOST_PERIODS + 1) if period.start < end and start < period.end]
    if len(wanted) > MOST_PERIODS:
        raise CalendarUnreadable(f"more than {MOST_PERIODS} events in {(end - start).days} days")
    return merged(wanted)


def merged(found: Iterable[Period]) -> list[Period]:
    """Return the periods in order, those that overlap or touch as one that is called like all of them."""
    joined: list[Period] = []
    for period in sorted(found):
        if period.end <= period.start:
            continue
        if joined and period.start <= joined[-1].end:
            last = joined[-1]
            said = last.summary if period.summary in last.summary else f"{last.summary}, {period.summary}".strip(", ")
            joined[-1] = Period(last.start, max(last.end, period.end), said)
        else:
            joined.append(period)
    return joined


def closure(blockout: Blockout, found: Iterable[Period], now: datetime) -> Closure | None:
    """Return why nothing may begin at `now`, or None if `blockout` does not hold then."""
    for period in found:
        if period.start <= now < period.end:
            until = period.end.astimezone(ZoneInfo(blockout.timezone))
            said = f" ({period.summary})" if period.summary else ""
            return Closure(BLOCKOUT, f"blockout {title(blockout)}{said} until {until:%Y-%m-%d %H:%M %Z}", period.end)
    return None


def frozen(blockout: Blockout) -> Closure:
    """Return the closure of a freeze file that exists."""
    return Closure(BLOCKOUT, f"blockout {title(blockout)}: the file {blockout.freeze_file} exists")


def unreadable(blockout: Blockout, problem: str) -> Closure:
    """Return the closure of a calendar that nobody can read: it might be a blockout."""
    return Closure(UNREADABLE, f"blockout {title(blockout)} cannot be read, so that nobody knows whether it holds: {problem}")


def title(blockout: Blockout) -> str:
    """Return what refusals call it."""
    return (
        blockout.name or blockout.ical or blockout.freeze_file or (f"holidays {blockout.holidays}" if blockout.holidays else blockout.rrule)
    )


def next_period(found: Iterable[Period], now: datetime, until: datetime) -> Period | None:
    """Return the first period that begins after `now` and before `until`: one that would end a run."""
    return min((period for period in found if now < period.start < until), default=None)


def _of_rule(blockout: Blockout, start: datetime, end: datetime) -> Iterator[Period]:
    try:
        rule = read_rule(blockout.rrule, blockout.timezone)
    except Unfit as error:
        raise CalendarUnreadable(str(error)) from None
    length = timedelta(seconds=blockout.length)
    for number, occurrence in enumerate(rule.occurrences):
        if number >= MOST_OCCURRENCES:
            raise CalendarUnreadable(f"more than {MOST_OCCURRENCES} occurrences since DTSTART: choose a later one")
        # A time that the clocks leave out is read with the offset from before, one that they repeat is the first (RFC 5545, 3.3.5).
        begins = occurrence.replace(tzinfo=rule.zone, fold=0).astimezone(UTC)
        if begins >= end:
            return
        if begins + length > start:
            yield Period(begins, begins + length)


def _of_holidays(place: str, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Period]:
    try:
        import holidays  # noqa: PLC0415  an extra
        from holidays.utils import list_supported_countries  # noqa: PLC0415
    except ImportError:
        raise CalendarUnreadable(f"{NEEDED} holidays") from None
    country, _, part = place.partition("-")
    years = range(start.year - 1, end.year + 2)
    known = list_supported_countries()
    if country not in known or (part and part not in known[country]):
        raise CalendarUnreadable(f"nobody knows the holidays of {place}")
    found = holidays.country_holidays(country, subdiv=part or None, years=years)
    for day, name in sorted(found.items()):
        yield _whole_days(day, day + timedelta(days=1), zone, name)


def _of_events(content: bytes, zone: ZoneInfo, start: datetime, end: datetime) -> Iterator[Period]:
    try:
        import recurring_ical_events  # type: ignore[import-untyped]  # noqa: PLC0415  an extra, without stubs
        from icalendar import Calendar  # noqa: PLC0415
    except ImportError:
        raise CalendarUnreadable(f"{NEEDED} iCalendar files") from None
    _check_nesting(content)
    try:
        for calendar in Calendar.from_ical(content, multiple=True):
            _check_events(calendar)
            # A day more on either side: whole days have no zone yet.
            day = timedelta(days=1)
            for event in recurring_ical_events.of(calendar).between(start - day, end + day):
                if str(event.get("STATUS", "")).upper() != "CANCELLED":
                    yield _of_event(event, zone)
    except CalendarUnreadable:
        raise
    except Exception as error:  # noqa: BLE001  the libraries raise whatever a malformed value leads to
        raise CalendarUnreadable(f"not an iCalendar file: {type(error).__name__}: {error}") from None


def _check_nesting(content: bytes) -> None:
    """Refuse a file that was cut off: the reader would leave out what is not whole, and the freeze with it."""
    within: list[bytes] = []
    calendars = 0
    for line in content.splitlines():
        word, _, name = line.strip().upper().partition(b":")
        if word == b"BEGIN":
            within.append(name)
            calendars += len(within) == 1
        elif word == b"END" and (not within or within.pop() != name):
            raise CalendarUnreadable(f"not an iCalendar file: {name.decode(errors='replace')[:40]} ends and did not begin")
    if within or not calendars:
        raise CalendarUnreadable("not an iCalendar file: it is cut off" if within else "not an iCalendar file: it holds no calendar")


def _check_events(calendar: Any) -> None:
    """Refuse what the reader would pass over: an event without a begin is a blockout that nobody sees."""
    if calendar.name != "VCALENDAR":
        raise CalendarUnreadable(f"it begins with {calendar.name}, not with VCALENDAR")
    for event in calendar.walk("VEVENT"):
        if event.errors:
            name, problem = event.errors[0]
            raise CalendarUnreadable(f"an event's {name or 'line'} is malformed: {problem}")
        if "DTSTART" not in event:
            raise CalendarUnreadable("an event has no DTSTART")


def _of_event(event: Any, zone: ZoneInfo) -> Period:
    begins, ends = event["DTSTART"].dt, event["DTEND"].dt
    summary = str(event.get("SUMMARY", ""))[:200]
    if not isinstance(begins, datetime):
        return _whole_days(begins, ends if not isinstance(ends, datetime) else ends.date(), zone, summary)
    return Period(_in_utc(begins, zone), _in_utc(ends, zone), summary)


def _in_utc(moment: datetime, zone: ZoneInfo) -> datetime:
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).astimezone(UTC)


def _whole_days(first: date, after: date, zone: ZoneInfo, summary: str) -> Period:
    """Return days from midnight to midnight by the clocks there: 23 or 25 hours where they are changed."""
    midnight = [datetime.combine(day, time(), zone).astimezone(UTC) for day in (first, after)]
    return Period(midnight[0], midnight[1], summary)


NEEDED: Final = "pip install 'shadowproxy[experiments]' is needed for"
"""How sentences begin where a package is missing."""
