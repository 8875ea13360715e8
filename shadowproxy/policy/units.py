"""Where the unit that a mirror samples is found in a request."""

from __future__ import annotations

from collections.abc import Mapping

Unit = tuple[str, bytes]
"""(kind, argument): ("header", lower-case name), ("cookie", name), ("client", b""), ("segment", b"2"), ("trace", b"")."""


def parse_unit(key: str) -> Unit | None:
    """The unit that a config `key` names; None for the empty key (each request by itself)."""
    if not key:
        return None
    kind, _, argument = key.partition(":")
    return kind, argument.encode().lower() if kind == "header" else argument.encode()


def unit_of(unit: Unit, path: bytes, headers: Mapping[bytes, list[bytes]], client: bytes, trace_id: bytes) -> bytes | None:
    """The bytes of the unit, or None where the request carries none (it is then sampled by itself).

    Args:
        unit: what to look for.
        path: the target without its query.
        headers: values by lower-case name; the first line of a repeated field counts.
        client: the client's address.
        trace_id: 32 lower-case hex digits.
    """
    kind, argument = unit
    if kind == "header":
        values = headers.get(argument)
        return values[0] if values and values[0] else None
    if kind == "cookie":
        return _cookie(headers.get(b"cookie", []), argument)
    if kind == "client":
        return client
    if kind == "segment":
        segments = path.split(b"/")
        index = int(argument)
        return segments[index] if index < len(segments) and segments[index] else None
    return trace_id


def _cookie(lines: list[bytes], name: bytes) -> bytes | None:
    """The first cookie of that name (RFC 6265 section 4.2.1), quotes kept as part of the value."""
    for line in lines:
        for pair in line.split(b";"):
            key, equals, value = pair.strip(b" \t").partition(b"=")
            if equals and key == name and value:
                return value
    return None
