"""What a service carries from the request that it serves to the calls that it makes meanwhile, and how header fields say it.

Rules of the file:
- Reading never raises: what is malformed is not carried, and says nothing about the rest.
- In doubt a request is test traffic. The tag is read under every spelling that a gateway may have made of it, and
  what tags a request as a header also goes on as baggage, and the other way round.
- Writing is canonical: one field of each name, our two baggage members first, so that no limit can cut them off.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from random import getrandbits
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    Value = str | bytes
    Fields = Mapping[str, Value | None] | Iterable[tuple[Value, Value | None]]

TAG: Final = "X-Test-Traffic"
MARK: Final = "X-Shadow-Mirror"
"""Set on the copies that a mirror sends: calls that a shadow makes are known by it where they leave."""
BAGGAGE: Final = "baggage"
TRACEPARENT: Final = "traceparent"
TRACESTATE: Final = "tracestate"

DEFAULT_TENANT: Final = "default"
"""The tenant of a request whose tag names none."""
BAGGAGE_BYTES_LIMIT: Final = 8192
"""W3C Baggage section 3.3.2: what is longer may be cut, by whole members."""
MEMBERS_LIMIT: Final = 180
"""The limit of the first edition, over which readers drop all of it; later ones ask for 64 at least."""

_UNTAGGED: Final = frozenset({"", "0", "false"})
_NAMELESS: Final = frozenset({"1", "on", "t", "test", "true", "y", "yes"})
_TENANT_LIMIT: Final = 64
_NOT_OF_A_TENANT: Final = re.compile(r"[^A-Za-z0-9._-]")
_DOTS: Final = re.compile(r"\.+")
# What some reader strips from a key: blanks of all alphabets, quotes, a plus for a blank.
_BESIDE_KEYS: Final = re.sub(r"[A-Za-z0-9_]", "", "".join(map(chr, range(256))))
_SYNTHETIC: Final = "synthetic_request"
_TENANT: Final = "test_tenant"
_OURS: Final = frozenset({_SYNTHETIC, _TENANT})
# W3C Baggage section 3.3.1: a key is a token. Values are taken as they come, so long as a header field can hold them.
_MEMBER: Final = re.compile(r"([!#$%&'*+.^_`|~0-9A-Za-z-]+)[ \t]*=(?:[\t\x20-\x7e]*[\x21-\x7e])?")
# W3C Trace Context section 3.2: no version ff, no ids of zeros, and nothing behind the flags in version 00.
_TRACEPARENT: Final = re.compile(
    r"(?!ff|00.{54})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(?:-[\x20-\x7e]*)?"
)
_KNOWN_FLAGS: Final = 0x03
"""Sampled, and random trace id (W3C Trace Context level 2, section 2.2.2.5): flags without a meaning are sent as zero."""
_VISIBLE: Final = re.compile(r"[\t\x20-\x7e]*[\x21-\x7e]")


@dataclass(frozen=True, slots=True)
class Carried:
    """What is carried onward. The value of no arguments carries nothing, and is false.

    Attributes:
        tenant: whose test traffic it is: 1 to 64 of `[A-Za-z0-9._-]`, `default` where the tag names nobody; "" for
            traffic that is none.
        baggage: members of other people as they came, percent-encoding and properties included. Ours are not among
            them while `tenant` is set, which says the same.
        traceparent: of the request that is served; "" for no readable one.
        tracestate: belongs to `traceparent`; as it came.
        mark: the value of X-Shadow-Mirror; "" for a request that is no mirror's copy.
    """

    tenant: str = ""
    baggage: tuple[str, ...] = ()
    traceparent: str = ""
    tracestate: str = ""
    mark: str = ""

    def __post_init__(self) -> None:
        if self.tenant and (
            _NOT_OF_A_TENANT.search(self.tenant) or len(self.tenant) > _TENANT_LIMIT or tenant_of(self.tenant) != self.tenant
        ):
            raise ValueError(f"{self.tenant!r} is no tenant's name: see Carried.tagged")
        if self.traceparent and _TRACEPARENT.fullmatch(self.traceparent) is None:
            raise ValueError(f"{self.traceparent!r} is no traceparent")
        for text in (*self.baggage, self.tracestate, self.mark):
            if text and _VISIBLE.fullmatch(text) is None:
                raise ValueError(f"{text!r} cannot stand in a header field")

    def __bool__(self) -> bool:
        return bool(self.tenant or self.baggage or self.traceparent or self.mark)

    @property
    def is_tagged(self) -> bool:
        """Whether this is test traffic."""
        return bool(self.tenant)

    @property
    def trace_id(self) -> str:
        """32 hex digits; "" outside of a trace."""
        return self.traceparent[3:35]

    def tagged(self, tenant: str = DEFAULT_TENANT) -> Carried:
        """The same as test traffic of a tenant, in a new trace if there was none.

        Args:
            tenant: any text; characters that no tenant has are replaced by `_`.

        Raises:
            ValueError: the text says that it is no test traffic: it is empty, `0` or `false`.
        """
        name = tenant_of(tenant)
        if not name:
            raise ValueError(f"{tenant!r} names no tenant")
        return replace(
            self,
            tenant=name,
            baggage=tuple(member for member in self.baggage if not _our_key(member)),
            traceparent=self.traceparent or f"00-{getrandbits(128) or 1:032x}-{_span()}-01",
        )

    def fields(self) -> dict[str, str]:
        """The header fields of one outgoing call or message: the same trace, and a span of its own at every call.

        Returns:
            Values by name, without the names that have none; empty where nothing is carried.
        """
        found = {
            TAG: "true" if self.tenant == DEFAULT_TENANT else self.tenant,
            BAGGAGE: _baggage(self.tenant, self.baggage),
            TRACEPARENT: self._child(),
            TRACESTATE: self.tracestate,
            MARK: self.mark,
        }
        return {name: value for name, value in found.items() if value}

    def _child(self) -> str:
        """The field of a call made under this one. Version 00 is what is spoken here, whatever came (W3C Trace Context section 4.3)."""
        if not self.traceparent:
            return ""
        return f"00-{self.trace_id}-{_span()}-{int(self.traceparent[53:55], 16) & _KNOWN_FLAGS:02x}"


NOTHING: Final = Carried()


def extract(fields: Fields) -> Carried:
    """What header fields, or the fields of a queue's message, ask to carry. A tagged request without a trace begins one.

    Args:
        fields: a mapping, or pairs where a name may come more than once. Names in any case, with `-`, `_` or `.`
            between words; names and values as text or as bytes; values of None count as absent.
    """
    values: dict[str, list[str]] = {}
    for name, value in fields.items() if hasattr(fields, "items") else fields:
        if value is not None:
            plain = plain_name(_text(name))
            if plain in _READ:
                values.setdefault(plain, []).append(_text(value))
    if not values:
        return NOTHING
    members = [part.strip(" \t") for value in values.get(BAGGAGE, ()) for part in value.split(",")]
    parents = values.get(TRACEPARENT, [])
    # A parent that comes twice says as little as one that cannot be read (W3C Trace Context section 3.2).
    is_readable = len(parents) == 1 and _TRACEPARENT.fullmatch(parents[0].strip(" \t")) is not None
    found = Carried(
        baggage=tuple(member for member in members if _MEMBER.fullmatch(member)),
        traceparent=parents[0].strip(" \t") if is_readable else "",
        tracestate=_joined(values.get(TRACESTATE, ())) if is_readable else "",
        mark=_joined(values.get("x-shadow-mirror", ())),
    )
    tenant = _tenant(values.get("x-test-traffic", ()), members)
    return found.tagged(tenant) if tenant else found


_READ: Final = frozenset({TAG.lower(), MARK.lower(), BAGGAGE, TRACEPARENT, TRACESTATE})


def plain_name(name: str) -> str:
    """A field's name in lower case, with the `_` and `.` that gateways may have made of `-` read as such."""
    return name.lower().replace("_", "-").replace(".", "-")


def tenant_of(value: str) -> str:
    """The tenant that the value of a tag names: `default` where it only says yes; "" where it says no.

    A name is cut at 64 characters, and what no name has becomes `_`; so do dots without anything else, which would lead
    out of a path.
    """
    value = value.strip(" \t")
    plain = value.lower()
    if plain in _UNTAGGED:
        return ""
    if plain in _NAMELESS:
        return DEFAULT_TENANT
    name = _NOT_OF_A_TENANT.sub("_", value[:_TENANT_LIMIT])
    return "_" * len(name) if _DOTS.fullmatch(name) else name


def key_of(member: str) -> str:
    """The key of a baggage member."""
    return member.partition("=")[0].rstrip(" \t")


def _tenant(tags: Iterable[str], members: Iterable[str]) -> str:
    """The first tenant that a field or a baggage member names; "" where neither says that this is test traffic."""
    found = [name for tag in tags for name in _named(tag)]
    said = [(key, tenant_of(_value(member))) for member in members if (key := _our_key(member))]
    if any(key == _SYNTHETIC and value for key, value in said):
        found += [DEFAULT_TENANT, *(value for key, value in said if key == _TENANT and value)]
    return next((name for name in found if name != DEFAULT_TENANT), DEFAULT_TENANT) if found else ""


def _named(tag: str) -> list[str]:
    """What the parts of a tag name: gateways may have joined fields that came twice (RFC 9110 section 5.3)."""
    named = [name for part in tag.split(",") if (name := tenant_of(part))]
    # Several parts that all say no are no simple no: in doubt a test.
    return named or ([DEFAULT_TENANT] if tenant_of(tag) else [])


def _our_key(member: str) -> str:
    """Which of our members it is, as the most generous reader takes it; "" for other people's."""
    if "_" not in member and "%" not in member:
        # Ours have one or the other: what comes from strangers must cost no more.
        return ""
    key = unquote(key_of(member.partition(";")[0]), "latin-1").strip(_BESIDE_KEYS).lower()
    return key if key in _OURS else ""


def _value(member: str) -> str:
    """The decoded value of a member, without its properties; a member without a value says yes."""
    _, equals, value = member.partition(";")[0].partition("=")
    return unquote(value.strip(" \t"), "latin-1") if equals else "true"


def _baggage(tenant: str, members: Iterable[str]) -> str:
    """The field's value: ours, then what fits of the others."""
    kept: list[str] = []
    if tenant:
        kept.append(f"{_SYNTHETIC}=true")
    if tenant not in {"", DEFAULT_TENANT}:
        kept.append(f"{_TENANT}={tenant}")
    room = BAGGAGE_BYTES_LIMIT - sum(len(member) + 1 for member in kept)
    for member in members:
        if len(kept) < MEMBERS_LIMIT and len(member) <= room:
            kept.append(member)
            room -= len(member) + 1
    return ",".join(kept)


def _joined(values: Iterable[str]) -> str:
    """One field out of several of a name (RFC 9110 section 5.3), without those that no field can hold."""
    return ", ".join(plain for value in values if _VISIBLE.fullmatch(plain := value.strip(" \t")))


def _span() -> str:
    # Ids must be unique, not unguessable.
    return f"{getrandbits(64) or 1:016x}"


def _text(value: Value) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")
