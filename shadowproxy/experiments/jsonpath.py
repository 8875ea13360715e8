"""Where in a JSON document something is: `$.a.b[*].c[0]`, as experiment files write it.

    path = parse("$.items[*].price")
    path.find(document)    -> [what is at each place that the path names, ABSENT where there is nothing]

`.name` is a member, `[0]` an element from 0, `[*]` every element. Nothing else of RFC 9535 is there: a path that a person
checks an answer with should mean one thing at a glance.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

_STEP: Final = re.compile(r"\.(?P<name>[A-Za-z0-9_-]+)|\[(?:(?P<every>\*)|(?P<index>[0-9]{1,9}))\]")

Step = str | int | None
"""A member's name, an index, or None for every element."""


class _Absent:
    """The type of ABSENT."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "ABSENT"


ABSENT: Final = _Absent()
"""Stands where a path names a place and the document has nothing there."""


@dataclass(frozen=True, slots=True)
class JsonPath:
    """A path, step by step."""

    steps: tuple[Step, ...] = ()

    def __str__(self) -> str:
        return "$" + "".join(_written(step) for step in self.steps)

    def find(self, document: Any) -> list[Any]:
        """What is at each place that the path names, in the document's order; never more places than the document has values.

        Each element of an array that `[*]` passes is a place, also when what follows is not in it: ABSENT stands there, so
        that a member which only some elements have can be told from one that all have. An empty array has no place.
        """
        found = [document]
        for step in self.steps:
            if step is None:
                found = [each for value in found for each in (value if isinstance(value, list) else [ABSENT])]
            else:
                found = [_at(value, step) for value in found]
        return found


def parse(text: str) -> JsonPath:
    """The path that `text` writes.

    Raises:
        ValueError: it is not of this grammar.
    """
    if not text.startswith("$"):
        raise ValueError(f"a path begins with $, as in $.items[*].price, not {text[:40]!r}")
    steps: list[Step] = []
    at = 1
    while at < len(text):
        found = _STEP.match(text, at)
        if found is None:
            raise ValueError(f"expected .name, [0] or [*] at character {at + 1} of {text[:80]!r}")
        steps.append(found["name"] if found["name"] is not None else None if found["every"] else int(found["index"]))
        at = found.end()
    return JsonPath(tuple(steps))


def _at(value: Any, step: str | int) -> Any:
    if isinstance(step, str):
        return value.get(step, ABSENT) if isinstance(value, dict) else ABSENT
    return value[step] if isinstance(value, list) and step < len(value) else ABSENT


def _written(step: Step) -> str:
    if step is None:
        return "[*]"
    return f".{step}" if isinstance(step, str) else f"[{step}]"
