"""Two worlds that issue different ids: one-to-one mappings between the values of live and of another fleet.

A shadow with a database of its own calls the order 17 of live its order 9, always and
everywhere. Such fields differ in every pair and are no regression. What shows it is
*repetition*: a value seen before must be called by the same name again, and no other value
may be called so. A mapping that was seen once proves nothing, and one that does not hold is
a difference.

Ids that mean nothing by themselves (UUIDs, tokens) are one name space, so that an order's
id is known again in the list of items; numbers are names only within their own path.
Memory is bounded: the least recently seen names are forgotten, and are new when seen again.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies.forms import IDS, form_of

if TYPE_CHECKING:
    from collections.abc import Iterable

NAMES_LIMIT: Final = 10_000
"""Names remembered per direction: about 2 MB."""


class Sighting(enum.Enum):
    """What one difference says of the mapping."""

    NEW = "new"
    CONSISTENT = "consistent"
    CONTRADICTING = "contradicting"


class Identities:
    """What one other fleet calls the things that live names.

    Args:
        limit: names to remember in each direction.
    """

    def __init__(self, limit: int = NAMES_LIMIT) -> None:
        self.limit = limit
        self._there: OrderedDict[int, int] = OrderedDict()
        self._back: OrderedDict[int, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Identities names={len(self._there)} limit={self.limit}>"

    def __len__(self) -> int:
        return len(self._there)

    def see(self, path: str, pairs: Iterable[tuple[str, str]]) -> Sighting:
        """Learn the `pairs` of one difference at `path`, live's value first.

        Returns:
            Whether they contradict what was seen before; else whether one confirms it; else that all are new.
        """
        seen = Sighting.NEW
        for live, other in pairs:
            one = self._see(_name(path, live), _name(path, other))
            if one is Sighting.CONTRADICTING or seen is Sighting.NEW:
                seen = one if seen is not Sighting.CONTRADICTING else seen
        return seen

    def _see(self, live: int, other: int) -> Sighting:
        known, original = self._there.get(live), self._back.get(other)
        _remember(self._there, live, other, self.limit)
        _remember(self._back, other, live, self.limit)
        if known is None and original is None:
            return Sighting.NEW
        return Sighting.CONSISTENT if known == other and original == live else Sighting.CONTRADICTING


def _name(path: str, value: str) -> int:
    """A value as it is remembered: 64 bits of hash, whatever its length."""
    return hash(value) if form_of(value) in IDS else hash((path, value))


def _remember(names: OrderedDict[int, int], name: int, other: int, limit: int) -> None:
    names[name] = other
    names.move_to_end(name)
    if len(names) > limit:
        names.popitem(last=False)
