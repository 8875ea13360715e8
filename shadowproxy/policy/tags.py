"""Which requests are test traffic, and whose: the tag in all its spellings, read into one tenant's name.

`X-Test-Traffic` counts in any case, as often as it comes, and with `_` or `.` in place of `-`; W3C baggage counts
with a member `synthetic_request`. Other systems' tags (dialects) count where the config switches them on. A value
that is empty, `0` or `false` says no; any other says yes. What is in doubt is tagged: a test that is taken for a
user does harm, a user that is taken for a test does not get through (DESIGN section 7).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

DEFAULT: Final = b"default"
"""The tenant of tags that name none."""

TAG: Final = b"x-test-traffic"
BAGGAGE: Final = b"baggage"
SYNTHETIC: Final = b"synthetic_request"
TENANT: Final = b"test_tenant"

BAGGAGE_LIMIT: Final = 8192
"""Bytes of baggage that every platform carries (W3C Baggage section 3.3.2): ours comes first, what is over it is left out."""

NAMELESS: Final = frozenset({b"true", b"1", b"yes", b"on", b"y", b"t", b"test"})
"""Values that say that a request is a test, and nothing more."""

_NO: Final = frozenset({b"", b"0", b"false"})
_STRANGE: Final = re.compile(rb"[^A-Za-z0-9._-]")
_LONGEST: Final = 64

Reading = tuple[bytes, bool]
"""A tenant's name, and whether our own tag gave it: names that other systems give yield to it."""


def plain(name: bytes) -> bytes:
    """A field's name as a server may read it that turns names into variables: lower-case, `_` and `.` as `-` (CVE-2026-29054)."""
    return name.lower().replace(b"_", b"-").replace(b".", b"-")


def tenant_of(value: bytes) -> bytes | None:
    """The tenant that a tag's value names; None where the value says no."""
    value = value.strip(b" \t")
    lowered = value.lower()
    if lowered in _NO:
        return None
    if lowered in NAMELESS:
        return DEFAULT
    return _STRANGE.sub(b"_", value[:_LONGEST])


def members(value: bytes) -> Iterable[tuple[bytes, bytes]]:
    """The list-members of a baggage value, as (lower-case key, decoded value), properties left out (W3C Baggage section 3.3.1).

    A key without a value is malformed, and read as one that says yes.
    """
    for member in value.split(b","):
        key, equals, rest = member.partition(b"=")
        found = unquote_to_bytes(rest.partition(b";")[0].strip(b" \t")) if equals else b"true"
        yield (key if equals else key.partition(b";")[0]).strip(b" \t").lower(), found


class Tags:
    """Reads tags out of single field lines. One a policy; `names` are the plain names of fields that can carry one."""

    __slots__ = ("_baggage", "_readers", "_state", "names")

    def __init__(self, dialects: Iterable[str] = ()) -> None:
        self._readers: dict[bytes, Callable[[bytes], bytes | None]] = {}
        self._baggage: dict[bytes, Callable[[bytes], bytes | None]] = {}
        self._state: frozenset[bytes] = frozenset()
        for dialect in dialects:
            fields, baggage = DIALECTS[dialect]
            self._readers.update(fields)
            self._baggage.update(baggage)
            if dialect == "signadot":
                self._state = frozenset({b"sd-routing-key"})
        self.names = frozenset({TAG, BAGGAGE, *self._readers, *([b"tracestate"] if self._state else [])})

    def __repr__(self) -> str:
        return f"Tags({', '.join(sorted(name.decode() for name in self.names))})"

    def read(self, name: bytes, value: bytes) -> Reading | None:
        """The tenant that one field line names; None where it says nothing, or no.

        Args:
            name: plain name of the field, one of `names`.
            value: as sent.
        """
        if name == TAG:
            tenant = tenant_of(value)
            return (tenant, True) if tenant is not None else None
        if name == BAGGAGE:
            return self._read_baggage(value)
        if name == b"tracestate":
            for key, found in members(value):
                if key in self._state and found:
                    return tenant_of(found) or DEFAULT, False
            return None
        tenant = self._readers[name](value)
        return (tenant, False) if tenant is not None else None

    def _read_baggage(self, value: bytes) -> Reading | None:
        is_tagged = False
        tenant = DEFAULT
        foreign: bytes | None = None
        for key, found in members(value):
            if key == SYNTHETIC:
                is_tagged = is_tagged or found.lower() not in _NO
            elif key == TENANT:
                tenant = tenant_of(found) or DEFAULT
            elif key in self._baggage and foreign is None:
                foreign = self._baggage[key](found)
        if is_tagged:
            return tenant, True
        return (foreign, False) if foreign is not None else None


def agree(readings: Iterable[Reading]) -> bytes | None:
    """The one tenant that several tags of a request mean; None where two of our own name different ones."""
    ours = {tenant for tenant, is_ours in readings if is_ours and tenant != DEFAULT}
    if len(ours) > 1:
        return None
    foreign = [tenant for tenant, is_ours in readings if not is_ours and tenant != DEFAULT]
    return ours.pop() if ours else foreign[0] if foreign else DEFAULT


def tag_line(tenant: bytes) -> bytes:
    """The tag as every fleet gets it."""
    return b"X-Test-Traffic: " + (b"true" if tenant == DEFAULT else tenant)


def baggage_line(tenant: bytes, values: Iterable[bytes]) -> bytes:
    """The baggage as every fleet gets it: our members first, then what else the client's field lines had, as it was."""
    out = [SYNTHETIC + b"=true"]
    if tenant != DEFAULT:
        out.append(TENANT + b"=" + tenant)
    size = sum(map(len, out)) + len(out)
    for value in values:
        for member in value.split(b","):
            kept = member.strip(b" \t")
            if not kept or kept.partition(b"=")[0].strip(b" \t").lower() in (SYNTHETIC, TENANT):
                continue
            size += len(kept) + 1
            if size <= BAGGAGE_LIMIT:
                out.append(kept)
    return b"baggage: " + b",".join(out)


def _any(value: bytes) -> bytes | None:
    """A routing key, session or namespace: whatever it is, it names the tenant."""
    return tenant_of(value) if value else None


def _uber(value: bytes) -> bytes | None:
    """`product-code/tenancy-id/tags`: everything but production is a test."""
    parts = [part.strip(b" \t") for part in value.split(b"/")]
    if not value or b"production" in (part.lower() for part in parts[:2]):
        return None
    return tenant_of(parts[1] if len(parts) > 1 and parts[1] else parts[0])


def _takin_agent(value: bytes) -> bytes | None:
    return DEFAULT if value.startswith(b"PerfomanceTest") else None  # codespell:ignore  (their spelling)


def _datadog(value: bytes) -> bytes | None:
    return b"datadog" if value else None


def _otel(value: bytes) -> bytes | None:
    return value.lower() if value.lower() in (b"bot", b"test") else None


_Readers = dict[bytes, Callable[[bytes], bytes | None]]

DIALECTS: Final[dict[str, tuple[_Readers, _Readers]]] = {
    "uber": ({b"request-tenancy": _uber, b"uberctx-request-tenancy": _uber}, {b"request-tenancy": _uber}),
    "signadot": (
        {b"ot-baggage-sd-routing-key": _any, b"uberctx-sd-routing-key": _any},
        {b"sd-routing-key": _any},
    ),
    "mirrord": ({}, {b"mirrord-session": _any}),
    "okteto": ({}, {b"okteto-divert": _any}),
    "takin": ({b"p-pradar-cluster-test": tenant_of, b"src-p-pradar-cluster-test": tenant_of, b"user-agent": _takin_agent}, {}),
    "datadog": ({b"sec-datadog": _datadog}, {}),
    "otel": ({}, {b"user-agent.synthetic.type": _otel, b"user_agent.synthetic.type": _otel}),
}
"""By name in the config: fields and baggage members by key, and what their values mean."""
