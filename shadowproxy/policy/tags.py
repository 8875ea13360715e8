"""Which requests are test traffic, and whose: the tag in all its spellings, read into one tenant's name.

`X-Test-Traffic` counts in any case, as often as it comes, and with `_` or `.` in place of `-`; W3C baggage counts
with a member `synthetic_request`. Other systems' tags (dialects) count where the config switches them on. A value
that is empty, `0` or `false` says no; any other says yes. What is in doubt is tagged: a test that is taken for a
user does harm, a user that is taken for a test does not get through (DESIGN section 7).

Fields that came several times may have been joined on the way, and members of one baggage may come in several
fields (RFC 9110 section 5.3): both are read as if they had come apart, or together.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

DEFAULT: Final = b"default"
"""The tenant of tags that name none."""

TAG: Final = b"x-test-traffic"
BAGGAGE: Final = b"baggage"
PASSPORT: Final = b"signature-input"
SYNTHETIC: Final = b"synthetic_request"
TENANT: Final = b"test_tenant"

BAGGAGE_LIMIT: Final = 8192
"""Bytes of baggage that every platform carries (W3C Baggage section 3.3.2): ours comes first, what is over it is left out."""

NAMELESS: Final = frozenset({b"true", b"1", b"yes", b"on", b"y", b"t", b"test"})
"""Values that say that a request is a test, and nothing more."""

MEMBERS_LIMIT: Final = 180
"""Members of baggage that go on: the first edition's limit, over which readers drop all of it."""

DOUBTFUL_MEMBERS: Final = 1024
"""Members over which a baggage with one of our keys in it is a tag unread: nobody has so many, and reading them would take milliseconds."""

_NO: Final = frozenset({b"", b"0", b"false"})
_STRANGE: Final = re.compile(rb"[^A-Za-z0-9._-]")
_DOTS: Final = re.compile(rb"\.+")
_LONGEST: Final = 64
# What some reader strips from a key, or refuses: blanks of all alphabets, quotes, a plus for a blank.
_BESIDE_KEYS: Final = bytes(set(range(256)) - set(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_"))
_MEMBER: Final = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+[ \t]*=[\t\x20-\x7e]*")

Reading = tuple[bytes, bool]
"""A tenant's name, and whether our own tag gave it: names that other systems give yield to it."""


def plain(name: bytes) -> bytes:
    """A field's name as a server may read it that turns names into variables: lower-case, `_` and `.` as `-` (CVE-2026-29054)."""
    return name.lower().replace(b"_", b"-").replace(b".", b"-")


def tenant_of(value: bytes) -> bytes | None:
    """The tenant that a tag's value names; None where the value says no.

    No tenant is called `.` or `..`, which would lead out of a path that it is put into.
    """
    value = value.strip(b" \t")
    lowered = value.lower()
    if lowered in _NO:
        return None
    if lowered in NAMELESS:
        return DEFAULT
    tenant = _STRANGE.sub(b"_", value[:_LONGEST])
    return b"_" * len(tenant) if _DOTS.fullmatch(tenant) else tenant


def members(value: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The list-members of a baggage value, as (key, decoded value), properties left out (W3C Baggage section 3.3.1).

    Keys are as the most generous reader takes them. A key without a value is malformed, and read as one that says yes.
    """
    for member in value.split(b","):
        _, equals, found = member.partition(b";")[0].partition(b"=")
        yield _key_of(member), unquote_to_bytes(found.strip(b" \t")) if equals else b"true"


def _key_of(member: bytes) -> bytes:
    return unquote_to_bytes(member.partition(b";")[0].partition(b"=")[0]).strip(_BESIDE_KEYS).lower()


class Tags:
    """Reads whose test a request is. One a policy; `names` are the plain names of fields that can say so."""

    __slots__ = ("_baggage", "_keys", "_readers", "_state", "names")

    def __init__(self, dialects: Iterable[str] = ()) -> None:
        self._readers: dict[bytes, Callable[[bytes], bytes | None]] = {PASSPORT: _signed}
        self._baggage: dict[bytes, Callable[[bytes], bytes | None]] = {}
        self._state: frozenset[bytes] = frozenset()
        for dialect in dialects:
            fields, baggage = DIALECTS[dialect]
            self._readers.update(fields)
            self._baggage.update(baggage)
            if dialect == "signadot":
                self._state = frozenset({b"sd-routing-key"})
        self._keys = (SYNTHETIC, *self._baggage)
        self.names = frozenset({TAG, BAGGAGE, *self._readers, *([b"tracestate"] if self._state else [])})

    def __repr__(self) -> str:
        return f"Tags({', '.join(sorted(name.decode() for name in self.names))})"

    def judge(self, fields: Sequence[tuple[bytes, bytes]]) -> tuple[bytes | None, list[bytes]]:
        """Whose test a request is, and which of its fields say so.

        Args:
            fields: lower-case name as sent, and value, of every field line whose plain name is one of `names`.

        Returns:
            The tenant, b"" for no test, None where two of our own tags name different ones; and the names, as given.
        """
        readings: list[Reading] = []
        tagged_by: list[bytes] = []
        baggage: list[bytes] = []
        for name, value in fields:
            kind = plain(name)
            if kind == BAGGAGE:
                baggage.append(value)
                continue
            found = self._read(kind, value)
            if found:
                readings += found
                tagged_by.append(name)
        if baggage:
            found = self._read_baggage(b",".join(baggage))
            if found:
                readings += found
                tagged_by.append(BAGGAGE)
        return (_agreed(readings) if readings else b""), tagged_by

    def _read(self, kind: bytes, value: bytes) -> list[Reading]:
        if kind == TAG:
            return _read_tag(value)
        if kind == b"tracestate":
            named = [tenant_of(found) or DEFAULT for key, found in members(value) if key in self._state and found]
            return [(named[0], False)] if named else []
        tenant = self._readers[kind](value)
        return [(tenant, False)] if tenant is not None else []

    def _read_baggage(self, value: bytes) -> list[Reading]:
        decoded = unquote_to_bytes(value).lower()
        # Most baggage has none of our keys, which one look tells; what comes from strangers must cost no more.
        if not any(key in decoded for key in self._keys):
            return []
        if value.count(b",") >= DOUBTFUL_MEMBERS:
            return [(DEFAULT, True)]
        is_tagged = False
        ours: list[Reading] = [(DEFAULT, True)]
        foreign: list[Reading] = []
        for key, found in members(value):
            if key == SYNTHETIC:
                is_tagged = is_tagged or found.strip(b" \t").lower() not in _NO
            elif key == TENANT:
                ours.append((tenant_of(found) or DEFAULT, True))
            elif key in self._baggage:
                tenant = self._baggage[key](found)
                if tenant is not None:
                    foreign.append((tenant, False))
        return [*ours, *foreign] if is_tagged else foreign


def _read_tag(value: bytes) -> list[Reading]:
    """Each part of a tag's value; one without a part that says yes is one only where it is not simply a no."""
    named: list[Reading] = [(tenant, True) for part in value.split(b",") if (tenant := tenant_of(part)) is not None]
    if named:
        return named
    return [(DEFAULT, True)] if tenant_of(value) is not None else []


def _agreed(readings: Iterable[Reading]) -> bytes | None:
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
    """The baggage as every fleet gets it: our members first, then what else the client's field lines had, as it was.

    Malformed members are left out: there are readers that drop all of a baggage with one of them, ours too.
    """
    out = [SYNTHETIC + b"=true"]
    if tenant != DEFAULT:
        out.append(TENANT + b"=" + tenant)
    size = sum(map(len, out)) + len(out)
    for value in values:
        for found in re.findall(rb"[^,]+", value):
            kept = found.strip(b" \t")
            if _MEMBER.fullmatch(kept) is None or _key_of(kept) in (SYNTHETIC, TENANT):
                continue
            size += len(kept) + 1
            if size > BAGGAGE_LIMIT or len(out) >= MEMBERS_LIMIT:
                return b"baggage: " + b",".join(out)
            out.append(kept)
    return b"baggage: " + b",".join(out)


def _signed(value: bytes) -> bytes | None:
    """A signature that is ours, or may be: whoever made it meant a test, and a tag that is not there was lost on the way."""
    return DEFAULT if b'"shadowproxy"' in value else None


def _any(value: bytes) -> bytes | None:
    """A routing key, session or namespace: whatever it is, it names the tenant."""
    return tenant_of(value) or DEFAULT if value else None


def _uber(value: bytes) -> bytes | None:
    """`product-code/tenancy-id/tags`: everything but production is a test."""
    parts = [part.strip(b" \t") for part in value.split(b"/")]
    tenancy = (parts[1] if len(parts) > 1 else b"") or parts[0] or value
    return None if tenancy.lower() == b"production" else tenant_of(tenancy)


def _takin_agent(value: bytes) -> bytes | None:
    return DEFAULT if value.startswith(b"PerfomanceTest") else None  # codespell:ignore  (their spelling)


def _datadog(value: bytes) -> bytes | None:
    return b"datadog" if value else None


def _otel(value: bytes) -> bytes | None:
    return tenant_of(value.lower()) if value.lower() in (b"bot", b"test") else None


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
