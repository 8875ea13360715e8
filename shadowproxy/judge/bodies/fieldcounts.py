"""What is counted at one path, and what is said of it in the end."""

from __future__ import annotations

import enum
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies.difference import Excuse, Kind
from shadowproxy.judge.bodies.identities import Sighting

if TYPE_CHECKING:
    from collections.abc import Iterable

    from shadowproxy.judge.bodies.difference import Difference
    from shadowproxy.judge.bodies.identities import Identities

CONFIRMATIONS: Final = 3
"""Repeated sightings that make a mapping of ids believed; by chance each has a probability of one in the number of ids."""

BELIEVED: Final = 4
"""How many times more often than not a mapping of ids must hold, and values must differ, to be believed."""


class Basis(enum.StrEnum):
    """What the shadow's differences are compared with."""

    CONTROL = "control"
    RESEND = "resend"
    DIRECTION = "direction"


class Standing(enum.StrEnum):
    """What is known of a field."""

    REGRESSION = "regression"
    UNDECIDED = "undecided"
    NOISE = "noise"
    """It differs, and the sample of noise differs there too, or the look of its values says why."""
    IDS = "ids"
    """Both worlds issue their own ids, one to one."""


class Label:
    """Coins that are of no one kind."""

    ANY: Final = "any"
    UNEXPLAINED: Final = "unexplained"
    """Any difference that no mapping of ids explains."""
    UNEXPLAINED_VALUE: Final = "unexplained value"


@dataclass(slots=True)
class Coin:
    """Discordant pairs: those that speak against the shadow, and those that speak for it."""

    shadow: int = 0
    sample: int = 0


@dataclass(frozen=True, slots=True)
class Seen:
    """What one answer shows at one path, against live's."""

    kinds: frozenset[Kind] = frozenset()
    """Of all differences but readings of a clock."""
    unexplained: frozenset[Kind] = frozenset()
    """Of those that no mapping of ids explains."""
    turns: dict[Kind, int] = field(default_factory=dict)
    """Which way the differences point that nothing excuses."""
    shown: dict[Kind, tuple[str, str]] = field(default_factory=dict)
    sightings: tuple[Sighting, ...] = ()
    is_clock: bool = False
    is_generated: bool = False

    @property
    def has_ids(self) -> bool:
        """Whether a mapping of ids might explain it."""
        return bool(self.sightings)

    @property
    def is_different(self) -> bool:
        """Whether there is any difference at all."""
        return bool(self.kinds) or self.is_clock

    @classmethod
    def of(cls, differences: Iterable[Difference], identities: Identities) -> Seen:
        """Sum up the differences at one path, and learn the ids in them."""
        kinds: set[Kind] = set()
        unexplained: set[Kind] = set()
        turns: dict[Kind, int] = {}
        shown: dict[Kind, tuple[str, str]] = {}
        sightings: list[Sighting] = []
        is_clock = is_plain = False
        for difference in differences:
            kind = difference.kind
            shown.setdefault(kind, (difference.live, difference.shadow))
            if difference.excuse is Excuse.CLOCK:
                is_clock = True
                continue
            kinds.add(kind)
            sighting = identities.see(difference.path, difference.ids) if difference.ids else None
            if sighting is not None:
                sightings.append(sighting)
            if sighting is None or sighting is Sighting.CONTRADICTING:
                unexplained.add(kind)
            if difference.excuse is Excuse.NONE:
                is_plain = True
                turns[kind] = turns.get(kind, 0) + difference.direction
        is_generated = bool(kinds) and not is_plain
        return cls(frozenset(kinds), frozenset(unexplained), turns, shown, tuple(sightings), is_clock and not kinds, is_generated)


@dataclass(slots=True)
class FieldCounts:
    """What was counted at one path."""

    differs: int = 0
    sample_differs: int = 0
    clock: int = 0
    generated: int = 0
    confirmed: int = 0
    contradicted: int = 0
    new: int = 0
    agreed: int = 0
    pinned: int = 0
    rank: int = -1
    """Its place among the fields that are tested, in order of their first discordant pair."""
    coins: dict[str, Coin] = field(default_factory=dict)
    turns: dict[str, Coin] = field(default_factory=dict)
    kinds: Counter[Kind] = field(default_factory=Counter)
    examples: dict[Kind, str] = field(default_factory=dict)
    shown: dict[Kind, tuple[str, str]] = field(default_factory=dict)

    @property
    def is_tested(self) -> bool:
        """Whether any pair was discordant: until then there is nothing to test."""
        return bool(self.coins or self.turns)

    @property
    def is_ids(self) -> bool:
        """Whether a mapping of ids explains the field: confirmed often, broken rarely, and values hardly ever the same."""
        return self.confirmed >= CONFIRMATIONS and self.may_be_ids

    @property
    def may_be_ids(self) -> bool:
        """Whether nothing speaks against a mapping of ids, be it that no value was seen twice yet."""
        differing = self.confirmed + self.new
        return differing > 0 and self.confirmed >= BELIEVED * self.contradicted and differing > BELIEVED * self.agreed

    def see(self, seen: Seen, beside: Seen | None) -> None:
        """Count what was seen, whoever it speaks for."""
        self.differs += seen.is_different
        self.sample_differs += beside is not None and beside.is_different
        self.clock += seen.is_clock
        self.generated += seen.is_generated
        self.kinds.update(seen.shown.keys() or (beside.shown.keys() if beside is not None and not self.kinds else ()))
        self.shown.update(seen.shown)
        for sighting in seen.sightings:
            self.confirmed += sighting is Sighting.CONSISTENT
            self.contradicted += sighting is Sighting.CONTRADICTING
            self.new += sighting is Sighting.NEW

    def toss(self, seen: Seen, beside: Seen) -> set[Kind]:
        """Count one triple, kind by kind.

        Returns:
            The kinds in which only the shadow differs and no mapping of ids says why.
        """
        self._toss(Label.ANY, is_shadow=bool(seen.kinds), is_sample=bool(beside.kinds))
        self._toss(Label.UNEXPLAINED, is_shadow=bool(seen.unexplained), is_sample=bool(beside.unexplained))
        for kind in seen.kinds | beside.kinds:
            self._toss(kind.value, is_shadow=kind in seen.kinds, is_sample=kind in beside.kinds)
        self._toss(Label.UNEXPLAINED_VALUE, is_shadow=Kind.VALUE in seen.unexplained, is_sample=Kind.VALUE in beside.unexplained)
        return set(seen.unexplained if self.may_be_ids else seen.kinds) - beside.kinds

    def turn(self, group: str, direction: int) -> None:
        """Count which way the differences of one pair point."""
        if direction:
            coin = self.turns.setdefault(group, Coin())
            coin.shadow += direction > 0
            coin.sample += direction < 0

    def merge(self, other: FieldCounts) -> None:
        """Count what `other` counted."""
        for name in ("differs", "sample_differs", "clock", "generated", "confirmed", "contradicted", "new", "agreed", "pinned"):
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for mine, theirs in ((self.coins, other.coins), (self.turns, other.turns)):
            for label, coin in theirs.items():
                into = mine.setdefault(label, Coin())
                into.shadow += coin.shadow
                into.sample += coin.sample
        self.kinds.update(other.kinds)
        self.examples |= other.examples
        self.shown |= other.shown

    def _toss(self, label: str, *, is_shadow: bool, is_sample: bool) -> None:
        if is_shadow is not is_sample:
            coin = self.coins.setdefault(label, Coin())
            coin.shadow += is_shadow
            coin.sample += is_sample


@dataclass(frozen=True, slots=True, kw_only=True)
class FieldFinding:
    """One field as it stands. `noise` is None where there is no sample, `log_e` where a rule decides.

    `live` and `shadow` show the values of the latest pair, cut; `example` is the pair that shows it best, if any.
    """

    path: str
    kind: Kind
    standing: Standing
    basis: Basis
    compared: int
    differs: int
    noise: int | None
    log_e: float | None
    why: str
    live: str
    shadow: str
    example: str

    @property
    def is_reported(self) -> bool:
        """Whether the field counts as a regression."""
        return self.standing is Standing.REGRESSION

    def to_plain(self) -> dict[str, object]:
        """The finding as JSON has it."""
        return {
            "path": self.path,
            "kind": self.kind.value,
            "standing": self.standing.value,
            "basis": self.basis.value,
            "compared": self.compared,
            "differs": self.differs,
            "noise": self.noise,
            "log_e": self.log_e,
            "is_reported": self.is_reported,
            "why": self.why,
            "live": self.live,
            "shadow": self.shadow,
            "example": self.example or None,
        }
