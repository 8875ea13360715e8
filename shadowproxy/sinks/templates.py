"""Fills in the templates of answers (`config.templates` has the grammar).

A string that is one place and nothing else keeps the type of what fills it in: `"{{request.json.amount}}"` becomes a number. Anywhere else
values are written as text, strings bare and everything else as JSON. What is not there is null, or nothing within a text.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.templates import Place, Template, is_template, parse
from shadowproxy.sinks import strict
from shadowproxy.sinks.call import Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowproxy.sinks.call import Call

ANSWER_LIMIT: Final = 4 * 1024 * 1024
"""Characters that requests may put into one answer, all places together."""


@dataclass(slots=True)
class Filling:
    """What the places of one answer are filled in with.

    Args:
        call: the request.
        sink: the name of the sink.
        captured: named segments of the path, by the rule that matched.
        count: gives the next number of a counter of this tenant.
        now: seconds since 1970.
        draw_id: gives a fresh UUID.
    """

    call: Call
    sink: str
    captured: Mapping[str, str]
    count: Callable[[str], int]
    now: Callable[[], float] = time.time
    draw_id: Callable[[], uuid.UUID] = uuid.uuid4
    left: int = ANSWER_LIMIT

    def value(self, place: Place) -> Any:
        """The value of one place.

        Raises:
            Refused: 413, the answer would be over ANSWER_LIMIT.
        """
        found = self._find(place)
        if found is None and place.has_default:
            found = place.default
        # A part of the body takes at most six characters a byte when it is written again (\u0000).
        self.left -= len(found) if isinstance(found, str) else 6 * len(self.call.body) if isinstance(found, dict | list) else 32
        if self.left < 0:
            raise Refused(413, "answer_too_large", f"the answer would be over {ANSWER_LIMIT} characters")
        return found

    def _find(self, place: Place) -> Any:
        call = self.call
        name = str(place.steps[0]) if place.steps else ""
        match place.source:
            case "request.json":
                return step_into(call.json_or_none, place.steps)
            case "path":
                return self._segment(name)
            case "request.query":
                return call.query.get(name)
            case "request.headers":
                return call.headers.get(name.lower())
            case "request.form":
                return call.form.get(name)
            case "counter":
                return self.count(name)
            case "uuid":
                return str(self.draw_id())
            case "now":
                return datetime.fromtimestamp(self.now(), UTC).isoformat(timespec="milliseconds")
            case "now.unix":
                return int(self.now())
            case "tenant":
                return call.tenant
            case "sink":
                return self.sink
        return getattr(call, place.source.removeprefix("request."))  # method, path, target, text

    def _segment(self, name: str) -> str | None:
        if not name.isdigit():
            return self.captured.get(name)
        number = int(name[:4])
        return self.call.segments[number - 1] if 1 <= number <= len(self.call.segments) else None


def step_into(value: Any, steps: tuple[str | int, ...]) -> Any:
    """What lies at the end of `steps` in a document; None where there is nothing."""
    for step in steps:
        if isinstance(value, dict):
            value = value.get(str(step))
        elif isinstance(value, list):
            index = int(step) if isinstance(step, int) or (step.isdigit() and len(step) < 7) else len(value)
            value = value[index] if index < len(value) else None
        else:
            return None
    return value


def compile_value(value: Any) -> Any:
    """A JSON value with its templates read, for `fill`: each is a tuple, which no JSON value is."""
    if isinstance(value, str):
        return parse(value) if is_template(value) else value
    if isinstance(value, dict):
        return {name: compile_value(entry) for name, entry in value.items()}
    if isinstance(value, list | tuple):
        return [compile_value(entry) for entry in value]
    return value


def fill(value: Any, filling: Filling) -> Any:
    """A compiled value, filled in."""
    if isinstance(value, tuple):
        return filling.value(value[0]) if len(value) == 1 and isinstance(value[0], Place) else fill_text(value, filling)
    if isinstance(value, dict):
        return {name: fill(entry, filling) for name, entry in value.items()}
    if isinstance(value, list):
        return [fill(entry, filling) for entry in value]
    return value


def fill_text(template: str | Template, filling: Filling) -> str:
    """A compiled text, filled in."""
    if isinstance(template, str):
        return template
    return "".join(part if isinstance(part, str) else _written(filling.value(part)) for part in template)


def _written(value: Any) -> str:
    return value if isinstance(value, str) else "" if value is None else strict.dumps(value)
