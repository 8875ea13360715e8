"""Where tagged requests go: the decision, without I/O.

First whether a request reads or writes: the route's `treat` rules in order, then the method. Then where the route
sends such requests. A write for which nothing is said is refused: what cannot be decided is never passed on (P3).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from shadowproxy.policy.rewrite import RewritePolicy, escapes
from shadowproxy.policy.tags import plain

LIVE: Final = 0
SINK: Final = 1
PARTITION: Final = 2
REFUSE: Final = 3
UNRULED: Final = 4

SINK_FLEET: Final = "sink:"
"""What the name of a sink's fleet begins with; no fleet of a config can be called so."""

BODY_LOOKED_AT: Final = 65536
"""Bytes of a body that a `treat` rule looks at."""

OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
"""Fields by which some servers take a request for one of another method."""

READ_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"})
"""Methods without side effects (RFC 9110 section 9.2.1 and the registry of methods)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationPolicy:
    """Where such requests go: `kind` is LIVE, SINK, PARTITION, REFUSE or UNRULED; `to` what reports call it."""

    kind: int
    fleet: str = ""
    to: str = ""
    rewrite: RewritePolicy | None = None

    @property
    def fate(self) -> str:
        """What the ledger says of a write that goes there."""
        return FATES[self.kind]


FATES: Final = ("passed", "sunk", "partitioned", "refused", "refused")
"""By kind: every tagged write has exactly one of these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TreatmentPolicy:
    """One `treat` rule, compiled. Empty means "not asked for"."""

    is_write: bool
    prefix: bytes = b""
    exact: bytes = b""
    regex: re.Pattern[bytes] | None = None
    methods: frozenset[bytes] = frozenset()
    query: bytes = b""
    body: re.Pattern[bytes] | None = None

    def holds(self, method: bytes, target: bytes, body: bytes) -> bool:
        """Whether every condition holds; `target` in origin form, raw, as the upstream sees it."""
        path, _, query = target.partition(b"?")
        if self.methods and method not in self.methods:
            return False
        if self.prefix and path != self.prefix and not path.startswith(self.prefix + b"/"):
            return False
        if self.exact and path != self.exact:
            return False
        if self.regex is not None and self.regex.fullmatch(path) is None:
            return False
        if self.query and not any(pair == self.query or pair.partition(b"=")[0] == self.query for pair in query.split(b"&")):
            return False
        return self.body is None or self.body.search(body[:BODY_LOOKED_AT]) is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class TenancyRules:
    """What a route does with tagged requests. `asks` is the sink that is asked before live, where reads go to live: "" for none."""

    reads: DestinationPolicy
    writes: DestinationPolicy
    treatments: tuple[TreatmentPolicy, ...] = ()
    asks: str = ""

    def is_write(self, method: bytes, target: bytes, body: bytes) -> bool:
        """Whether such a request changes something. A rule that says "read" is believed only as far as it matches."""
        for treatment in self.treatments:
            if treatment.holds(method, target, body):
                return treatment.is_write
        return method not in READ_METHODS

    def decide(self, method: bytes, target: bytes, lines: list[bytes], body: bytes, *, is_upgrade: bool) -> tuple[bool, DestinationPolicy]:
        """Whether a request writes, and where it goes.

        What a tunnel carries cannot be judged, and what a server makes of a method override is not known: neither is a read.

        Args:
            method: as sent.
            target: in origin form, raw.
            lines: field lines, without CRLF.
            body: as far as it is there; rules look at its beginning.
            is_upgrade: the client asks to leave HTTP.
        """
        is_write = self.is_write(method, target, body) or is_upgrade or has_override(lines)
        destination = self.writes if is_write else self.reads
        rewrite = destination.rewrite
        if rewrite is not None and rewrite.path_prefix and escapes(target.partition(b"?")[0]):
            return is_write, ESCAPES
        return is_write, destination


ESCAPES: Final = DestinationPolicy(kind=REFUSE)
"""Where a request goes whose path could lead out of its partition."""


def has_override(lines: list[bytes]) -> bool:
    """Whether a field asks to take the request for one of another method."""
    return any(plain(line.partition(b":")[0]) in OVERRIDES for line in lines)


def refusal(destination: DestinationPolicy, route: str) -> tuple[str, str]:
    """Code and detail of the 409 for a request that a destination refuses."""
    if destination is ESCAPES:
        return "path_escapes_partition", "the path could lead out of the partition's path_prefix"
    if destination.kind == UNRULED:
        return "tagged_write_without_rule", f"route {route!r} has no rule for test traffic that writes (test_traffic.writes)"
    return "tagged_request_refused", f"route {route!r} refuses such test traffic (test_traffic)"
