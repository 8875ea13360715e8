"""One difference between two answers: where, of which kind, and what may explain it."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowproxy.judge.bodies.documents import Json

PREVIEW: Final = 120
"""Characters of a value that a difference shows."""


class Kind(enum.StrEnum):
    """How two places differ. Each is tested by itself: a field whose value always differs may still lose its type."""

    VALUE = "value"
    MAGNITUDE = "magnitude"
    """Numbers of opposite sign or ten times apart; times further apart than two clocks are."""
    FORMAT = "format"
    """Strings of different forms: a UUID became a number, a time became text."""
    TYPE = "type"
    NULL = "null"
    """Null on one side, absent on the other."""
    MISSING = "missing"
    EXTRA = "extra"
    LENGTH = "length"
    ORDER = "order"
    REPEATED = "repeated"
    """An object names a member more than once, on one side only."""
    UNREADABLE = "unreadable"
    """Only one side is what its type says."""
    DIGEST = "digest"
    """Bytes that are not looked into."""


class Excuse(enum.StrEnum):
    """What explains a difference by its look alone."""

    NONE = ""
    CLOCK = "clock"
    """Two readings of a clock: never evidence, because the shadow is always the later one."""
    GENERATED = "generated"
    """Two ids or tokens of one form: evidence only against a sample of noise."""
    RULE = "rule"
    """A rule says to ignore it."""


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference of a pair.

    `direction` is +1 or -1 and turns round when live and shadow do; 0 where there is none to see.
    `ids` are pairs of values by which two worlds may name the same thing.
    """

    path: str
    kind: Kind
    live: str
    shadow: str
    direction: int = 0
    excuse: Excuse = Excuse.NONE
    ids: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one pair may cost."""

    nodes: int = 20_000
    depth: int = 64
    places: int = 64
    per_place: int = 8


class Differences:
    """The differences of one pair, at most `Bounds.places` places and `Bounds.per_place` each. May drop what is beyond."""

    def __init__(self, bounds: Bounds | None = None) -> None:
        self.bounds = bounds or Bounds()
        self.dropped = 0
        self._found: list[Difference] = []
        self._counts: Counter[tuple[str, Kind]] = Counter()

    def __iter__(self) -> Iterator[Difference]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self._found)

    def add(self, found: Difference) -> None:
        """Keep `found` if there is room for it."""
        place = (found.path, found.kind)
        count = self._counts[place]
        if count >= self.bounds.per_place or (not count and len(self._counts) > self.bounds.places):
            self.dropped += 1
            return
        self._counts[place] += 1
        self._found.append(found)


def preview(value: Json) -> str:
    """The beginning of a value, as it is shown. Bounded also for values without bound."""
    match value:
        case str():
            text = value
        case bool():
            text = "true" if value else "false"
        case None:
            text = "null"
        case dict():
            text = "{" + ", ".join(name[:PREVIEW] for _, name in zip(range(8), value, strict=False)) + (", …}" if len(value) > 8 else "}")
        case list():
            text = f"[{len(value)} elements]"
        case int() if value.bit_length() > 512:
            text = f"a whole number of {value.bit_length()} bits"
        case _:
            text = str(value)
    return text if len(text) <= PREVIEW else text[: PREVIEW - 1] + "…"


def direction(live: Json, shadow: Json) -> int:
    """Which of two differing scalars is the greater, +1 for the shadow: by number, by length, then by character; 0 for anything else."""
    if isinstance(live, str) and isinstance(shadow, str):
        return _sign((len(live), live), (len(shadow), shadow))
    if isinstance(live, int | Decimal) and isinstance(shadow, int | Decimal):
        return _sign(live, shadow)
    return 0


def _sign(live: object, shadow: object) -> int:
    if live == shadow:
        return 0
    return 1 if shadow > live else -1  # type: ignore[operator]  # both of one type, seen by the caller
