"""Which slice of an experiment a request is in: the decision, without I/O.

With offset o, final share P and the present step's share p <= P, in the unit interval::

    0 ...... o ........ o+p ....... o+P ......... o+P+p ...... o+2P ...... 1
               fault      (later)       control      (later)

so both slices of a step are inside those of the next, they are as large as each other, and no unit that was in one can
ever be in the other. A request without the unit that the slice goes by is in neither: chance would put a user in both.

In this order: a unit or tenant that is denied is in neither; a pinned one is in the fault slice; the point decides about the rest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from shadowproxy.config.experiment import Experiment
from shadowproxy.hashspace import digest, point_at, salt_of
from shadowproxy.policy.routes import ANY_VALUE
from shadowproxy.policy.units import Unit, parse_unit

OUTSIDE: Final = 0
FAULT: Final = 1
CONTROL: Final = 2
ARMS: Final = ("outside", "fault", "control")

NOBODY: Final = -1
"""The digest of a request that has no unit."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SlicePolicy:
    """The slices of one experiment at one step of its ramp, compiled.

    `unit` says where the unit is found (`units.Unit`), None for each request by itself. `headers` are
    (lower-case name, value) pairs; no `tenants` means all. `is_hitting` is false while it is paused: then control alone is watched.
    """

    unit: Unit | None
    salt: bytes
    start: float
    end: float
    control_start: float
    control_end: float
    is_tagged_only: bool
    headers: tuple[tuple[bytes, bytes], ...]
    tenants: frozenset[bytes]
    pinned: frozenset[bytes]
    denied: frozenset[bytes]
    is_hitting: bool

    @property
    def is_open(self) -> bool:
        """Whether the slices are drawn from all requests: then `takes` need not be asked for those that are no test."""
        return not (self.is_tagged_only or self.headers or self.tenants)

    @property
    def wanted(self) -> frozenset[bytes]:
        """The lower-case names of the header fields that the decision looks at."""
        names = {name for name, _ in self.headers}
        if self.unit is not None and self.unit[0] == "header":
            names.add(self.unit[1])
        elif self.unit is not None and self.unit[0] == "cookie":
            names.add(b"cookie")
        return frozenset(names)

    def takes(self, headers: Mapping[bytes, list[bytes]], tenant: bytes) -> bool:
        """Whether the request is one that the slices are drawn from; `tenant` is empty where it is no test."""
        if (self.is_tagged_only and not tenant) or (self.tenants and tenant not in self.tenants) or tenant in self.denied:
            return False
        for name, value in self.headers:
            lines = headers.get(name)
            if not lines or (value != ANY_VALUE and value not in lines):
                return False
        return True

    def digest_of(self, unit: bytes) -> int:
        """The 64 bits that place `unit` in the hash space."""
        return digest(unit, self.salt)

    def arm(self, unit: bytes | None, point: float) -> int:
        """OUTSIDE, FAULT or CONTROL.

        Args:
            unit: what the request is a part of; None where it has none.
            point: the unit's place in [0, 1), or a draw for requests that are each their own unit.
        """
        if unit is not None:
            if unit in self.denied:
                return OUTSIDE
            if unit in self.pinned:
                return FAULT
        elif self.unit is not None:
            return OUTSIDE
        if self.start <= point < self.end:
            return FAULT
        if self.control_start <= point < self.control_end:
            return CONTROL
        return OUTSIDE

    def arm_of(self, unit: bytes) -> int:
        """The slice of a unit, worked out from its point; for whoever asks beside the traffic."""
        return self.arm(unit, point_at(self.digest_of(unit)))


def compile_slice(experiment: Experiment, percent: float, denied: tuple[str, ...] = (), *, is_paused: bool = False) -> SlicePolicy:
    """The slices of `experiment` when `percent` of the units are to get the fault.

    While it is paused the slices stay what they are, so that control goes on to be watched; `is_hitting` tells. `denied` are units that no experiment hits, beside those that it leaves alone itself.
    """
    part = experiment.slice
    share = min(percent, part.percent) / 100
    start = part.offset / 100
    control = start + part.percent / 100
    return SlicePolicy(
        unit=parse_unit(part.key),
        salt=salt_of(part.salt or experiment.name),
        start=start,
        end=start + share,
        control_start=control,
        control_end=control + share,
        is_tagged_only=part.tagged,
        headers=tuple((name.lower().encode(), value.encode("latin-1")) for name, value in part.headers.items()),
        tenants=frozenset(tenant.encode() for tenant in part.tenants),
        pinned=frozenset(unit.encode() for unit in part.pinned),
        denied=frozenset(unit.encode() for unit in (*part.deny, *denied)),
        is_hitting=not is_paused,
    )
