"""The process that reads one blockout."""

from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta

from shadowproxy.config.experiments import Blockout
from shadowproxy.control.calendar_reader import answer, question

NOW = datetime(2026, 3, 10, tzinfo=UTC)


def ask(blockout: Blockout, content: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    """What the process itself answers."""
    command = [sys.executable, "-m", "shadowproxy.control.calendar_reader"]
    return subprocess.run(command, input=question(blockout, content, NOW, NOW + timedelta(days=7)), capture_output=True, check=False)


def test_it_answers_what_it_is_asked() -> None:
    """Question and answer go through a real process."""
    told = ask(Blockout(rrule="DTSTART:20260310T080000Z\nRRULE:FREQ=DAILY;COUNT=1"))
    begin = datetime(2026, 3, 10, 8, tzinfo=UTC).timestamp()
    assert json.loads(told.stdout) == {"periods": [[begin, begin + 3600, ""]]}


def test_what_cannot_be_read_is_a_problem() -> None:
    """A sentence, of bounded length."""
    told = answer(json.loads(question(Blockout(ical="x.ics"), b"x" * 5000, NOW, NOW)))
    assert "not an iCalendar file" in told["problem"]
    assert len(told["problem"]) <= 500


def test_a_rule_that_never_comes_to_an_end_ends_the_process() -> None:
    """A day that never comes is looked for until the year 9999: the limit on computing comes first, and there is no answer."""
    blockout = Blockout(rrule="DTSTART:20260310T080000Z\nRRULE:FREQ=HOURLY;BYMONTH=2;BYMONTHDAY=30")
    program = "from shadowproxy.control import calendar_reader; calendar_reader.CPU_S = 1; calendar_reader.main()"
    asked = question(blockout, b"", NOW, NOW + timedelta(days=7))
    told = subprocess.run([sys.executable, "-c", program], input=asked, capture_output=True, check=False)
    assert told.returncode != 0
    assert told.stdout == b""
