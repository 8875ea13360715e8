"""Where tagged requests go: the decision, without I/O.

First whether a request reads or writes: the route's `treat` rules in order, then the method. Then where the route
sends such requests. A write for which nothing is said is refused: what cannot be decided is never passed on (P3).

In doubt a request writes. So a rule that says "write" holds where any server could take the request for such a one,
and a rule that says "read" only where every server must.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote_to_bytes

from shadowproxy.policy.rewrite import PATH_OVERRIDES, RewritePolicy, escapes, name_of, parameters, segments
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

METHOD_OVERRIDES: Final = frozenset({b"x-http-method-override", b"x-http-method", b"x-method-override"})
"""Fields by which some servers take a request for one of another method."""

_OVERRIDING_NAMES: Final = METHOD_OVERRIDES | {b"-method"}
_OVERRIDING_BODY: Final = re.compile(rb"""(?i)(?:^|[&"'])(?:_|%5f)method(?:=|["'])""")

READ_METHODS: Final = frozenset({b"GET", b"HEAD", b"OPTIONS", b"TRACE", b"QUERY", b"PROPFIND", b"REPORT", b"SEARCH"})
"""Methods without side effects (RFC 9110 section 9.2.1 and the registry of methods)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DestinationPolicy:
    """Where such requests go: `kind` is LIVE, SINK, PARTITION, REFUSE or UNRULED; `to` what reports call it; `rewrites` are made in order."""

    kind: int
    fleet: str = ""
    to: str = ""
    rewrites: tuple[RewritePolicy, ...] = ()

    @property
    def fate(self) -> str:
        """What the ledger says of a write that goes there."""
        return FATES[self.kind]


TO_UNDO: Final = frozenset({"passed", "partitioned"})
"""Fates of writes that changed something somewhere."""

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

    def holds(self, method: bytes, target: bytes, body: bytes, *, is_readable: bool) -> bool:
        """Whether every condition holds: in doubt for a rule that says "write", and not for one that says "read".

        Args:
            method: as sent.
            target: in origin form, raw, as the upstream sees it.
            body: all of it; its first BODY_LOOKED_AT bytes are looked at.
            is_readable: the body is not compressed, so that it can be looked at.
        """
        path, _, query = target.partition(b"?")
        if self.methods and method not in self.methods:
            return False
        if (self.prefix or self.exact or self.regex is not None) and not self._takes(path):
            return False
        if self.query and not self._asks(query):
            return False
        if self.body is None:
            return True
        if not is_readable or len(body) > BODY_LOOKED_AT:
            return self.is_write
        return self.body.search(body) is not None

    def _takes(self, path: bytes) -> bool:
        parts = segments(path)
        if parts is None or escapes(path):
            return self.is_write
        if not self.is_write:
            # An encoded slash is one more segment to some.
            return self._fits(path) and len(parts) == path.count(b"/") + 1
        return self._fits(path) or self._fits(b"/" + b"/".join(part.encode() for part in parts if part))

    def _fits(self, path: bytes) -> bool:
        if self.prefix and path != self.prefix and not path.startswith(self.prefix + b"/"):
            return False
        if self.exact and path != self.exact:
            return False
        return self.regex is None or self.regex.fullmatch(path) is not None

    def _asks(self, query: bytes) -> bool:
        name, equals, value = self.query.partition(b"=")
        wanted = unquote_to_bytes(value)
        found = [said for known, said in parameters(query) if known == name_of(name)]
        if not found or not equals:
            return bool(found)
        return wanted in found if self.is_write else all(said == wanted for said in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenancyRules:
    """What a route does with tagged requests. `asks` is the sink that is asked before live, where reads go to live: "" for none."""

    reads: DestinationPolicy
    writes: DestinationPolicy
    treatments: tuple[TreatmentPolicy, ...] = ()
    asks: str = ""

    def is_write(self, method: bytes, target: bytes, lines: list[bytes], body: bytes) -> bool:
        """Whether such a request changes something; arguments as in `decide`."""
        names = {plain(line.partition(b":")[0]) for line in lines}
        is_readable = b"content-encoding" not in names
        for treatment in self.treatments:
            if treatment.holds(method, target, body, is_readable=is_readable):
                is_write = treatment.is_write
                break
        else:
            is_write = method not in READ_METHODS
        return is_write or _is_overridden(names, target, body)

    def decide(self, method: bytes, target: bytes, lines: list[bytes], body: bytes, *, is_upgrade: bool) -> tuple[bool, DestinationPolicy]:
        """Whether a request writes, and where it goes.

        What a tunnel carries cannot be judged, and what a server makes of an override is not known: neither is a read.

        Args:
            method: as sent.
            target: in origin form, raw.
            lines: field lines, without CRLF.
            body: all of it.
            is_upgrade: the client asks to leave HTTP.
        """
        is_write = is_upgrade or self.is_write(method, target, lines, body)
        destination = self.writes if is_write else self.reads
        if destination.kind == PARTITION and not all(rewrite.keeps(target, lines) for rewrite in destination.rewrites):
            return is_write, ESCAPES
        return is_write, destination


ESCAPES: Final = DestinationPolicy(kind=REFUSE)
"""Where a request goes whose path could lead out of its partition."""


def _is_overridden(names: set[bytes], target: bytes, body: bytes) -> bool:
    """Whether a field or a parameter asks to take the request for one of another method or path."""
    if names & METHOD_OVERRIDES or names & PATH_OVERRIDES:
        return True
    if any(name in _OVERRIDING_NAMES for name, _ in parameters(target.partition(b"?")[2])):
        return True
    return _OVERRIDING_BODY.search(body[:BODY_LOOKED_AT]) is not None


def refusal(destination: DestinationPolicy, route: str) -> tuple[str, str]:
    """Code and detail of the 409 for a request that a destination refuses."""
    if destination is ESCAPES:
        return "path_escapes_partition", "the path could lead out of the partition's path_prefix"
    if destination.kind == UNRULED:
        return "tagged_write_without_rule", f"route {route!r} has no rule for test traffic that writes (test_traffic.writes)"
    return "tagged_request_refused", f"route {route!r} refuses such test traffic (test_traffic)"
