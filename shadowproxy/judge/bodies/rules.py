"""How fields are compared where people know better than what can be learnt.

A rule names places by a pattern (paths) and says one or more of: whether differences
there count, how far numbers may be apart, in which order an array is compared. Of several
rules for a place the first that says something about an aspect holds for that aspect.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies.paths import Pattern

if TYPE_CHECKING:
    from collections.abc import Iterable

RELATIVE: Final = 1e-9
"""How far numbers that are not whole may be apart, relatively: the last digits of a double are rounding."""

_REMEMBERED: Final = 4096  # paths whose rules are remembered; more are looked up again


class Treatment(enum.StrEnum):
    """What a difference at a place means."""

    LEARN = "learn"
    """It counts when there is more of it than noise explains."""
    IGNORE = "ignore"
    """It never counts."""
    EQUAL = "equal"
    """It always counts: the first one is a finding."""
    IDS = "ids"
    """Both worlds issue their own values: only a mapping that is not one to one counts."""


class Order(enum.StrEnum):
    """How the elements of two arrays are put beside each other."""

    AUTO = "auto"
    """By a member that names them if they have one, else what is equal first; another order is a difference of its own."""
    ORDERED = "ordered"
    """By index."""
    UNORDERED = "unordered"
    """As `AUTO`, and another order is no difference."""
    KEYED = "keyed"
    """By the member that the rule names; another order is no difference."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One rule; what it leaves out is left to other rules and then to the default.

    `absolute` and `relative` are how far numbers may be apart (the larger of both holds).
    `key` is the member that `Order.KEYED` matches elements by.
    """

    path: str
    treat: Treatment = Treatment.LEARN
    order: Order = Order.AUTO
    key: str = ""
    absolute: float = 0.0
    relative: float = 0.0


@dataclass(frozen=True, slots=True)
class Place:
    """What the rules together say about one path. `relative` None is the default for numbers that are not whole."""

    treat: Treatment = Treatment.LEARN
    order: Order = Order.AUTO
    key: str = ""
    absolute: float = 0.0
    relative: float | None = None


_PLAIN: Final = Place()


class Rules:
    """The rules of one mirror, in their order."""

    def __init__(self, rules: Iterable[Rule] = ()) -> None:
        self.rules = tuple(rules)
        self._patterns = [(Pattern(rule.path), rule) for rule in self.rules]
        self._known: dict[str, Place] = {}

    def __repr__(self) -> str:
        return f"Rules({list(self.rules)!r})"

    def at(self, path: str) -> Place:
        """What holds at `path`."""
        if not self._patterns:
            return _PLAIN
        place = self._known.get(path)
        if place is None:
            if len(self._known) >= _REMEMBERED:
                self._known.clear()
            place = self._known[path] = self._look_up(path)
        return place

    def _look_up(self, path: str) -> Place:
        treat, order, key, absolute, relative = Treatment.LEARN, Order.AUTO, "", 0.0, None
        for pattern, rule in self._patterns:
            if not pattern.finds(path):
                continue
            if treat is Treatment.LEARN:
                treat = rule.treat
            if order is Order.AUTO:
                order, key = rule.order, rule.key
            if not absolute and relative is None and (rule.absolute or rule.relative):
                absolute, relative = rule.absolute, rule.relative
        return Place(treat, order, key, absolute, relative)
