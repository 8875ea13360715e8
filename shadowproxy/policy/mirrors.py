"""Which requests a mirror copies: the decision, without I/O.

The order of the reasons is fixed, so that counters mean the same everywhere: a request
that several reasons exclude is counted under the first of

    marked, upgrade, method, too_large, not_sampled, holdout, shed_range

A unit's point decides the last three. With `percent` p, `holdout` h and the overload
scale s (1 unless the shadow cannot keep up), in the unit interval::

    0 ........ p(1-h)s ........ p(1-h) ........ p ........ 1
      copied         shed_range       holdout     not_sampled

so a mirror of 1 % copies a subset of what it would copy at 5 %, and shrinking s leaves
whole units out while the units that remain stay complete.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

COPY: Final = -1
"""The decision to mirror; every other decision is the fate of a request that is not."""

NOT_SAMPLED: Final = 0
HOLDOUT: Final = 1
METHOD: Final = 2
TOO_LARGE: Final = 3
MARKED: Final = 4
UPGRADE: Final = 5
KILLED: Final = 6
SHED_IN_FLIGHT: Final = 7
SHED_RANGE: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MirrorPolicy:
    """One mirror of one route, compiled: bytes instead of text, fractions instead of percents, nanoseconds.

    `key` is "route/mirror". `unit` says where the sampled unit is found (`units.Unit`), None for each
    request by itself. `sampled` and `copied` are the range ends p and p(1-h) above.

    `arm` is the mirror that gets copies of what this one copies (config.arms), `share` of them; it decides nothing by
    itself. `is_compared` says that the arm's answers are the baseline of this mirror's, `is_apart` that the copies go
    to a fleet that clients are served by, over connections of their own.

    `is_scrubbed` says that secrets are taken out of a copy before it is sent.

    `resolution_ns` is added to the baseline's duration before two are compared, `slo_ns` are the durations whose
    crossing is counted. `captured` is how many pairs a second are kept whole, with `capture_body` bytes of each body and
    while captures hold less than `capture_memory` bytes.
    """

    key: str
    name: str
    fleet: str
    methods: frozenset[bytes]
    body_limit: int
    body_budget: int
    sampled: float
    copied: float
    salt: bytes
    unit: tuple[str, bytes] | None
    removed: frozenset[bytes]
    added: bytes
    host_mode: str
    host_text: bytes
    timeout_ns: int
    pair_timeout_ns: int
    in_flight: int
    breaker_failures: int
    breaker_period_ns: int
    arm: MirrorPolicy | None
    share: float
    is_compared: bool
    is_apart: bool
    is_scrubbed: bool
    resolution_ns: int
    slo_ns: tuple[int, ...]
    captured: float
    capture_body: int
    capture_memory: int

    def needs_point(self, scale: float) -> bool:
        """Whether the decision can depend on the unit's point at overload scale `scale` (0 to 1)."""
        return self.copied * scale < 1.0

    def decide(self, method: bytes, length: int, *, is_upgrade: bool, is_marked: bool, point: float, scale: float) -> int:
        """COPY, or the fate of a request that is not copied.

        Args:
            method: as sent.
            length: body bytes announced; 0 for none, -1 for chunked (checked while it streams).
            is_upgrade: the client asked to leave HTTP.
            is_marked: the request is a copy already.
            point: the unit's place in [0, 1).
            scale: overload scale in [0, 1].
        """
        if is_marked:
            return MARKED
        if is_upgrade:
            return UPGRADE
        if method not in self.methods:
            return METHOD
        if length > self.body_limit:
            return TOO_LARGE
        if point >= self.sampled:
            return NOT_SAMPLED
        if point >= self.copied:
            return HOLDOUT
        if point >= self.copied * scale:
            return SHED_RANGE
        return COPY
