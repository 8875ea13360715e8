"""Recurrence rules as text (RFC 5545 section 3.3.10): DTSTART, RRULE, RDATE and EXDATE lines, with the times in one zone.

Occurrences are wall-clock times of that zone: "every Friday at 17:00" is 17:00 in summer as well as in winter.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from shadowproxy.config.addresses import Unfit

if TYPE_CHECKING:
    from collections.abc import Iterable

LONGEST_RULE: Final = 4000
"""Characters; a rule with a year of exceptions fits."""

_FREQUENCY: Final = re.compile(r"FREQ=(SECONDLY|MINUTELY)", re.IGNORECASE)
_START: Final = re.compile(
    r"DTSTART(?:;TZID=(?P<zone>[^:;]+)|;VALUE=(?P<value>DATE|DATE-TIME))*:(?P<time>[0-9]{8}(?:T[0-9]{6}Z?)?)", re.IGNORECASE
)
_ZONED: Final = re.compile(r"(?<=[:=,])[0-9]{8}T[0-9]{6}Z", re.IGNORECASE)
_PARAMETERS: Final = re.compile(r";(TZID|VALUE)=[^:;]+(?=[:;])", re.IGNORECASE)
_TZID: Final = re.compile(r";TZID=([^:;]+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Rule:
    """Occurrences by the clocks of a zone, in order, without end where the rule has none; iterated from DTSTART each time."""

    occurrences: Iterable[datetime]
    zone: ZoneInfo


def read_zone(name: str) -> ZoneInfo:
    """Return a time zone.

    Raises:
        Unfit: nobody knows a zone of this name.

    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Unfit(f"no time zone is called {name!r}; write it as Europe/Berlin, or UTC") from None


def read_rule(text: str, timezone: str) -> Rule:
    r"""Return what a blockout's `rrule` says.

    Args:
        text: lines; `\n` may stand for a line's end.
        timezone: of times without one.

    Raises:
        Unfit: it is no such rule, or `dateutil`, which reads it, is not installed.

    """
    try:
        from dateutil.rrule import rruleset, rrulestr  # noqa: PLC0415  an extra
    except ImportError:
        raise Unfit("needs python-dateutil: pip install 'shadowproxy[experiments]'") from None
    if len(text) > LONGEST_RULE:
        raise Unfit(f"{len(text)} characters, limit {LONGEST_RULE}")
    lines = [line.strip() for line in text.replace("\\n", "\n").splitlines() if line.strip()]
    starts = [line for line in lines if line.upper().startswith("DTSTART")]
    found = _START.fullmatch(starts[0]) if len(starts) == 1 else None
    if found is None:
        raise Unfit("needs one DTSTART line, such as DTSTART:20260102T170000: when it began")
    if not any(line.upper().startswith(("RRULE", "RDATE")) for line in lines):
        raise Unfit("needs an RRULE line, such as RRULE:FREQ=WEEKLY;BYDAY=FR")
    if _FREQUENCY.search(text):
        raise Unfit("a blockout comes every hour at the most: FREQ is HOURLY, DAILY, WEEKLY, MONTHLY or YEARLY")
    zone = read_zone("UTC" if found["time"].upper().endswith("Z") else found["zone"] or timezone)
    rules = "\n".join(_in_zone(line, zone) for line in lines)
    try:
        rule = rrulestr(rules, forceset=True, compatible=False)
    except Exception as error:  # noqa: BLE001  it raises whatever a malformed value leads to
        raise Unfit(f"not a rule of RFC 5545: {error}") from None
    assert isinstance(rule, rruleset)
    return Rule(rule, zone)


def _in_zone(line: str, zone: ZoneInfo) -> str:
    """Write a line's times as those of the clocks in `zone`: UTC ones are converted, named zones must be that one."""
    named = _TZID.search(line)
    if named is not None and named[1] != zone.key:
        raise Unfit(f"{named[1]} and {zone.key}: all times of a rule are in one zone, or in UTC")

    def local(match: re.Match[str]) -> str:
        return f"{datetime.strptime(match[0].upper(), '%Y%m%dT%H%M%SZ').replace(tzinfo=UTC).astimezone(zone):%Y%m%dT%H%M%S}"

    try:
        return _ZONED.sub(local, _PARAMETERS.sub("", line))
    except ValueError:
        raise Unfit(f"no such time: {line[:80]}") from None
