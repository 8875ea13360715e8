"""Whether the blockouts of a config can be read at all."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import pytest

from shadowproxy.config import load_file
from shadowproxy.config.blockouts import LARGEST_CALENDAR, read_calendar
from shadowproxy.errors import ConfigError
from tests.config.test_checks import BASE

if TYPE_CHECKING:
    from pathlib import Path

ROUTES = "routes: [{name: r, live: live, mirror: [{to: shadow, percent: 1}]}]\n"


def problems(directory: Path, experiments: str) -> list[str]:
    """The problems of a config file with this section."""
    file = directory / "config.yaml"
    file.write_text(f"{BASE}{ROUTES}experiments: {experiments.replace('DIR', str(directory))}\n")
    try:
        return [str(problem) for problem in load_file(file).warnings]
    except ConfigError as error:
        return [f"{problem.path}: {problem.message}" for problem in error.problems]


@pytest.mark.parametrize(
    ("blockout", "wanted"),
    [
        ('{rrule: "DTSTART:20260102T170000\\nRRULE:FREQ=WEEKLY;BYDAY=FR"}', ""),
        ("{rrule: 'DTSTART:20260102T170000\\nRRULE:FREQ=WEEKLY;BYDAY=FR'}", ""),
        ("{rrule: FREQ=WEEKLY}", ".rrule: needs one DTSTART line"),
        ("{holidays: DE-BY, timezone: Europe/Berlin}", ""),
        ("{holidays: US}", ""),
        ("{holidays: DE-XX}", ".holidays: DE has no part called XX; there are: "),
        ("{holidays: ZZ}", ".holidays: nobody knows the holidays of ZZ"),
        ("{holidays: DE, timezone: Berlin}", ".timezone: no time zone is called 'Berlin'"),
        ("{ical: DIR/good.ics}", ""),
        ("{ical: DIR/missing.ics}", "missing.ics: No such file or directory"),
        ("{ical: DIR/page.html}", "page.html: not an iCalendar file"),
        ("{ical: DIR}", ": not a regular file"),
        ("{freeze_file: DIR/missing}", ""),
    ],
)
def test_each_kind(tmp_path: Path, blockout: str, wanted: str) -> None:
    """What would refuse every experiment later is said when the config is checked; a freeze file need not be there."""
    (tmp_path / "good.ics").write_text("BEGIN:VCALENDAR\r\nEND:VCALENDAR\r\n")
    (tmp_path / "page.html").write_text("<html>")
    shown = problems(tmp_path, f"{{blockouts: [{blockout}]}}")
    assert len(shown) == bool(wanted), shown
    assert all(wanted in problem for problem in shown), shown


def test_a_package_that_is_missing_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra a blockout that needs it is refused with what to install."""
    monkeypatch.setattr("shadowproxy.config.blockouts.find_spec", lambda name: None)
    shown = problems(tmp_path, "{blockouts: [{holidays: DE}, {freeze_file: f}]}")
    assert shown == ["experiments.blockouts[0].holidays: needs holidays: pip install 'shadowproxy[experiments]'"]
    monkeypatch.setitem(sys.modules, "dateutil.rrule", None)
    monkeypatch.setattr("shadowproxy.config.blockouts.find_spec", lambda name: object())
    shown = problems(tmp_path, "{blockouts: [{rrule: 'DTSTART:20260102T170000'}]}")
    assert shown == ["experiments.blockouts[0].rrule: needs python-dateutil: pip install 'shadowproxy[experiments]'"]


def test_a_kill_file_that_is_there_is_warned_about(tmp_path: Path) -> None:
    """A kill switch that is pulled from the first moment on is seen before."""
    (tmp_path / "kill").touch()
    (shown,) = problems(tmp_path, "{kill_file: DIR/kill}")
    assert "warning" in shown
    assert "the kill switch is pulled as soon as this config is in force" in shown


def test_a_huge_calendar_is_not_read(tmp_path: Path) -> None:
    """A file beyond the limit is refused, however it is large."""
    with (tmp_path / "huge.ics").open("wb") as file:
        file.truncate(LARGEST_CALENDAR + 1)
    with pytest.raises(ValueError, match=f"has more than {LARGEST_CALENDAR} bytes"):
        read_calendar(str(tmp_path / "huge.ics"))
