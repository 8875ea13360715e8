"""Which version a unit gets while a route's rollout is under way: the decision, without I/O.

With a share p of the units on the new version (the canary), in the unit interval::

    p up to one half     0 ... canary ... p ......... stable ......... 1-p ... control ... 1
    p beyond it          0 ... canary ... 1-p ... more canary ... p ........ control ..... 1

Canary and control are as large as each other, so a unit that is in one of the two is in either with the same chance: whatever
tells them apart is the version. A unit's place never changes, so it never goes back to stable while the share grows.

In this order: a unit that is denied stays with stable, always; one of the first ring has the new version from the first
step on; a pinned one stays with stable until all have the new version; a request without the unit that the rollout
goes by does the same, as chance would send one user to and fro; the point decides about the rest. Only units whose place was
decided by their point are compared: the others were chosen by somebody.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from shadowproxy.hashspace import digest, point_at, salt_of
from shadowproxy.policy.units import Unit, parse_unit

STABLE: Final = 0
CONTROL: Final = 1
CANARY: Final = 2
MORE: Final = 3
RING: Final = 4

PLACES: Final = ("stable", "control", "canary", "more", "ring")
"""Their names. Stable and control are served by the old version, the others by the new one."""

SERVED_NEW: Final = frozenset({CANARY, MORE, RING})

MIDDLE: Final = 1 << 63
"""Digests below are in the lower half of the hash space: of two units that are compared, the one below is the canary's."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SplitPolicy:
    """The halves of one route's traffic at one step of its rollout, compiled.

    `unit` says where the unit is found (`units.Unit`), None for each request by itself. `share` is the canary's, from 0 to 1;
    `epoch` rises with every start of the rollout.
    """

    route: str
    fleet: str
    share: float
    unit: Unit | None
    salt: bytes
    pinned: frozenset[bytes]
    first: frozenset[bytes]
    denied: frozenset[bytes]
    epoch: int

    def digest_of(self, unit: bytes) -> int:
        """The 64 bits that place `unit` in the hash space, and stand for it in counts."""
        return digest(unit, self.salt)

    def place(self, unit: bytes | None, point: float) -> int:
        """STABLE, CONTROL, CANARY, MORE or RING.

        Args:
            unit: what the request is a part of; None where it has none.
            point: the unit's place in [0, 1), or a draw for requests that are each their own unit.
        """
        share = self.share
        if unit is not None:
            if unit in self.denied:
                return STABLE
            if unit in self.first:
                return RING
            if unit in self.pinned:
                return MORE if share >= 1.0 else STABLE
        elif self.unit is not None:
            return MORE if share >= 1.0 else STABLE
        half = min(share, 1.0 - share)
        if point < half:
            return CANARY
        if point < share:
            return MORE
        return CONTROL if point >= 1.0 - half else STABLE

    def place_of(self, unit: bytes) -> int:
        """The place of a unit, worked out from its point; for whoever asks beside the traffic."""
        return self.place(unit, point_at(self.digest_of(unit)))


def compile_split(plain: Mapping[str, Any]) -> SplitPolicy:
    """A split as in an `experiments` message (dataplane/messages.py).

    Raises:
        KeyError: a member is missing.
        ValueError: the share is not from 0 to 100 percent.
    """
    share = float(plain["percent"]) / 100
    if not 0.0 <= share <= 1.0:
        raise ValueError(f"a share is from 0 to 100 percent, not {plain['percent']}")
    return SplitPolicy(
        route=plain["route"],
        fleet=plain["to"],
        share=share,
        unit=parse_unit(plain["unit"]),
        salt=salt_of(plain["salt"] or plain["route"]),
        pinned=_units(plain["pinned"]),
        first=_units(plain["first"]),
        denied=_units(plain["denied"]),
        epoch=int(plain["epoch"]),
    )


def _units(texts: list[str]) -> frozenset[bytes]:
    return frozenset(text.encode() for text in texts)
