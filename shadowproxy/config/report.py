"""Collects what is wrong with a config, and finds the place in the file that each problem is about.

A path is the dotted place of a value in the config: `routes[0].mirror[1].percent`. `Places` maps
paths to lines and columns; a config that did not come from a file has none.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, NamedTuple

from shadowproxy.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Iterable

_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")
_LAST_STEP: Final = re.compile(r"(?:^|\.)[^.\[\]\"]+$|\[(?:[0-9]+|\"(?:[^\"\\]|\\.)*\")\]$")


class Place(NamedTuple):
    """A line and a column, both from 1; 0 is nowhere."""

    line: int
    column: int


NOWHERE: Final = Place(0, 0)


@dataclass(slots=True)
class Places:
    """Where in one file the values, and the keys that lead to them, stand."""

    file: str = ""
    values: dict[str, Place] = field(default_factory=dict)
    keys: dict[str, Place] = field(default_factory=dict)

    def find(self, path: str, *, on_key: bool = False) -> Place:
        """Return the place of `path`, or of the nearest thing around it that the file has."""
        while True:
            place = (self.keys.get(path) if on_key else None) or self.values.get(path)
            if place is not None or not path:
                return place or NOWHERE
            path = parent(path)
            on_key = False

    def alias(self, path: str, other: str) -> None:
        """Let `path` be found where `other` is."""
        if other in self.values:
            self.values[path] = self.values[other]


@dataclass(slots=True)
class Report:
    """Every problem found so far. Warnings are problems that do not stop a config from being used."""

    places: Places = field(default_factory=Places)
    problems: list[Problem] = field(default_factory=list)

    def error(self, path: str, message: str, *, suggestion: str = "", on_key: bool = False) -> None:
        """Add a problem that makes the config unusable."""
        self._add(path, message, suggestion, on_key, is_warning=False)

    def error_at(self, place: Place, path: str, message: str) -> None:
        """Add a problem at a place that is not the value's own."""
        self.problems.append(Problem(path or "config", message, place.line, place.column, self.places.file))

    def warning(self, path: str, message: str) -> None:
        """Add a problem that someone should look at."""
        self._add(path, message, "", False, is_warning=True)

    @property
    def has_errors(self) -> bool:
        """Whether the config is unusable."""
        return any(not problem.is_warning for problem in self.problems)

    def errors(self) -> list[Problem]:
        """Return the problems that are not warnings, in file order."""
        return [problem for problem in self.in_order() if not problem.is_warning]

    def warnings(self) -> tuple[Problem, ...]:
        """Return the warnings in file order."""
        return tuple(problem for problem in self.in_order() if problem.is_warning)

    def in_order(self) -> list[Problem]:
        """Return all problems in file order; what an alias repeats is said once, where its text is."""
        once: dict[object, Problem] = {}
        for problem in self.problems:
            place = (problem.line, problem.column) if problem.line else problem.path
            once.setdefault((place, problem.message), problem)
        return sorted(once.values(), key=lambda problem: (problem.line, problem.column))

    def _add(self, path: str, message: str, suggestion: str, on_key: bool, *, is_warning: bool) -> None:
        place = self.places.find(path, on_key=on_key)
        self.problems.append(Problem(path or "config", message, place.line, place.column, self.places.file, suggestion, is_warning))


def child(path: str, key: str) -> str:
    """Return the path of `key` inside the mapping at `path`; keys that are not words are quoted."""
    if not _PLAIN_KEY.fullmatch(key):
        escaped = key.replace("\\", "\\\\").replace('"', '\\"')
        return f'{path}["{escaped}"]'
    return f"{path}.{key}" if path else key


def item(path: str, index: int) -> str:
    """Return the path of an item of the list at `path`."""
    return f"{path}[{index}]"


def parent(path: str) -> str:
    """Return the path of what holds the value at `path`; empty for the whole config."""
    found = _LAST_STEP.search(path)
    return path[: found.start()] if found else ""


def closest(word: str, known: Iterable[str]) -> str:
    """Return the known word that `word` was probably meant to be, or an empty string."""
    import difflib  # noqa: PLC0415  only broken configs need it

    by_lower = {candidate.lower(): candidate for candidate in known}
    lowered = word.lower().replace("-", "_") if word.lower().replace("-", "_") in by_lower else word.lower()
    found = difflib.get_close_matches(lowered, by_lower, n=1, cutoff=0.6)
    return by_lower[found[0]] if found else ""
