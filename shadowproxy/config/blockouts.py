"""Asks whether the blockouts of a config can be read at all: packages, zones, rules, countries and files.

What a calendar file says is found out at run time, in a process of its own (`control.calendars`): reading one may take long.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Final

from shadowproxy.config.addresses import Unfit
from shadowproxy.config.recurrence import read_rule, read_zone
from shadowproxy.config.report import child, item

if TYPE_CHECKING:
    from shadowproxy.config.experiments import Blockout
    from shadowproxy.config.model import Config
    from shadowproxy.config.report import Report

LARGEST_CALENDAR: Final = 4 * 1024 * 1024
"""Bytes of an iCalendar file: twenty thousand events."""

PACKAGES: Final = {"rrule": ("dateutil",), "ical": ("icalendar", "recurring_ical_events"), "holidays": ("holidays",)}
"""What must be installed for which kind of blockout."""


def check_blockouts(config: Config, report: Report) -> None:
    """Report what would refuse every experiment later."""
    for index, blockout in enumerate(config.experiments.blockouts):
        place = item("experiments.blockouts", index)
        try:
            read_zone(blockout.timezone)
        except Unfit as error:
            report.error(child(place, "timezone"), str(error))
            continue
        _check_kind(blockout, place, report)
    kill_file = config.experiments.kill_file
    if kill_file and Path(kill_file).exists():
        report.warning("experiments.kill_file", f"{kill_file} exists: the kill switch is pulled as soon as this config is in force")


def _check_kind(blockout: Blockout, place: str, report: Report) -> None:
    for kind, packages in PACKAGES.items():
        missing = [package for package in packages if getattr(blockout, kind) and find_spec(package) is None]
        if missing:
            report.error(child(place, kind), f"needs {' and '.join(missing)}: pip install 'shadowproxy[experiments]'")
            return
    if blockout.rrule:
        try:
            read_rule(blockout.rrule, blockout.timezone)
        except Unfit as error:
            report.error(child(place, "rrule"), str(error))
    elif blockout.ical:
        _check_calendar(blockout.ical, child(place, "ical"), report)
    elif blockout.holidays:
        _check_place(blockout.holidays, child(place, "holidays"), report)


def _check_calendar(file: str, path: str, report: Report) -> None:
    try:
        content = read_calendar(file)
    except (OSError, ValueError) as error:
        report.error(path, f"{file}: {getattr(error, 'strerror', None) or error}")
        return
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n")[:15].upper().startswith(b"BEGIN:VCALENDAR"):
        report.error(path, f"{file}: not an iCalendar file, it does not begin with BEGIN:VCALENDAR")


def read_calendar(file: str) -> bytes:
    """Return the content of a calendar file.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no regular file, or larger than `LARGEST_CALENDAR`.

    """
    path = Path(file)
    if path.exists() and not path.is_file():
        raise ValueError("not a regular file")
    with path.open("rb") as opened:
        content = opened.read(LARGEST_CALENDAR + 1)
    if len(content) > LARGEST_CALENDAR:
        raise ValueError(f"has more than {LARGEST_CALENDAR} bytes")
    return content


def _check_place(place: str, path: str, report: Report) -> None:
    from holidays.utils import list_supported_countries  # noqa: PLC0415  an extra; only configs with holidays pay for it

    country, _, part = place.partition("-")
    known = list_supported_countries()
    if country not in known:
        report.error(path, f"nobody knows the holidays of {country}")
    elif part and part not in known[country]:
        parts = ", ".join(known[country][:30])
        report.error(path, f"{country} has no part called {part}" + (f"; there are: {parts}" if parts else ""))
