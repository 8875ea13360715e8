"""The process that reads one blockout: rules and calendar files of other people may take for ever, or all memory.

`python -m shadowproxy.control.calendar_reader` takes a JSON object on standard input and answers with one: {"periods": [[start, end, summary], ...]}
or {"problem": sentence}. What it uses is limited before it reads anything.
"""

from __future__ import annotations

import base64
import json
import resource
import sys
from datetime import UTC, datetime
from typing import Any, Final

from shadowproxy.config.experiments import Blockout
from shadowproxy.errors import CalendarUnreadable
from shadowproxy.experiments.calendar import periods

CPU_S: Final = 30
"""Seconds of computing: a calendar of the largest size, all of it recurring events, takes twenty."""

MEMORY_BYTES: Final = 1024 * 1024 * 1024
"""A file of the largest size that is allowed needs a tenth of it."""


def question(blockout: Blockout, content: bytes, start: datetime, end: datetime) -> bytes:
    """Return what the process is asked: when `blockout` holds from `start` to `end`; `content` is that of its calendar file."""
    asked = {
        "rrule": blockout.rrule,
        "length": blockout.length,
        "ical": blockout.ical,
        "holidays": blockout.holidays,
        "timezone": blockout.timezone,
        "content": base64.b64encode(content).decode(),
        "start": start.timestamp(),
        "end": end.timestamp(),
    }
    return json.dumps(asked).encode()


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the periods, or the sentence why there are none."""
    blockout = Blockout(
        rrule=asked["rrule"], length=asked["length"], ical=asked["ical"], holidays=asked["holidays"], timezone=asked["timezone"]
    )
    content = base64.b64decode(asked["content"])
    start, end = (datetime.fromtimestamp(asked[name], UTC) for name in ("start", "end"))
    try:
        return {"periods": [period.to_plain() for period in periods(blockout, content, start, end)]}
    except CalendarUnreadable as error:
        return {"problem": str(error)[:500]}
    except (MemoryError, RecursionError, OverflowError) as error:
        return {"problem": f"it cannot be expanded: {type(error).__name__}"}


def main() -> None:
    """Answer the one question on standard input."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    json.dump(answer(json.load(sys.stdin)), sys.stdout)


if __name__ == "__main__":
    main()
