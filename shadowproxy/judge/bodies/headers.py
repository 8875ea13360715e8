"""Header fields of two answers compared.

Left out, because they speak of one connection, one moment or one hop and not of what was
answered: hop-by-hop fields (RFC 9110, section 7.6.1), framing, Date and Age, traces,
timings. Fields that are sets are compared as sets, Set-Cookie cookie by cookie without
values, and the order of fields is none (RFC 9110, section 5.3), that of one field's lines is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies import paths
from shadowproxy.judge.bodies.difference import Difference, Differences, Excuse, Kind
from shadowproxy.judge.bodies.fields import Walk
from shadowproxy.judge.bodies.rules import Rules, Treatment

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Fields = tuple[tuple[str, str], ...]
"""Header fields by name and value, in their order."""

LEFT_OUT: Final = frozenset(
    {
        "age", "alt-svc", "cf-cache-status", "cf-ray", "connection", "content-length", "date", "keep-alive", "nel", "proxy-authenticate",
        "proxy-authentication-info", "proxy-connection", "report-to", "server-timing", "te", "traceparent", "tracestate", "trailer", "transfer-encoding",
        "upgrade", "via", "x-amz-cf-id", "x-amz-cf-pop", "x-amzn-trace-id", "x-b3-spanid", "x-b3-traceid", "x-cache", "x-cache-hits", "x-cloud-trace-context",
        "x-correlation-id", "x-envoy-decorator-operation", "x-envoy-upstream-service-time", "x-request-id", "x-response-time", "x-runtime", "x-served-by",
        "x-timer", "x-trace-id", "x-varnish",
    }
)  # fmt: skip
"""Fields that are no part of an answer. A rule with `treat: equal` brings one back."""

SETS: Final = frozenset(
    {
        "accept-patch", "accept-post", "accept-ranges", "access-control-allow-headers", "access-control-allow-methods", "access-control-expose-headers",
        "allow", "cache-control", "clear-site-data", "content-language", "link", "permissions-policy", "pragma", "vary", "warning",
    }
)  # fmt: skip
"""Fields whose value is a list without order."""

_WITHOUT_CASE: Final = frozenset(
    {"access-control-allow-headers", "access-control-expose-headers", "cache-control", "vary", "pragma", "accept-ranges"}
)
_QUOTED_COMMA: Final = re.compile(r',(?=(?:[^"]*"[^"]*")*[^"]*$)')
_SEMICOLONS: Final = frozenset({"content-security-policy", "strict-transport-security", "content-disposition"})
_VALUE_LIMIT: Final = 2048  # a longer value is compared as text: splitting at quoted commas is quadratic


def compare(found: Differences, rules: Rules, live: Fields, shadow: Fields) -> None:
    """Find the header fields that differ between two answers."""
    one, other = _grouped(live), _grouped(shadow)
    for name in dict.fromkeys([*one, *other]):
        path = paths.header(name)
        treat = rules.at(path).treat
        if treat is Treatment.IGNORE or (name in LEFT_OUT and treat is not Treatment.EQUAL):
            continue
        if name == "set-cookie":
            _cookies(found, rules, one.get(name, ()), other.get(name, ()))
        elif name not in other:
            found.add(Difference(path, Kind.MISSING, _shown(one[name]), "absent", 1))
        elif name not in one:
            found.add(Difference(path, Kind.EXTRA, "absent", _shown(other[name]), -1))
        elif one[name] != other[name]:
            _values(found, rules, name, one[name], other[name])


def _grouped(fields: Fields) -> dict[str, tuple[str, ...]]:
    grouped: dict[str, tuple[str, ...]] = {}
    for name, value in fields:
        lower = name.lower()
        grouped[lower] = (*grouped.get(lower, ()), value.strip())
    return grouped


def _values(found: Differences, rules: Rules, name: str, live: Sequence[str], shadow: Sequence[str]) -> None:
    path = paths.header(name)
    separated = ";" if name in _SEMICOLONS else ","
    if name in SETS or name in _SEMICOLONS:
        one, other = _members(live, separated, name), _members(shadow, separated, name)
        _sets(found, path, one, other)
    elif name == "content-type":
        _media_types(found, path, live[0], shadow[0])
    elif len(live) == len(shadow) == 1:
        # One line each: its form may excuse it, as in a body.
        Walk(found, rules).compare(path, live[0], shadow[0])
    else:
        Walk(found, rules).compare(path, list(live), list(shadow))


def _members(lines: Iterable[str], separator: str, name: str) -> set[str]:
    joined = separator.join(lines)
    if len(joined) > _VALUE_LIMIT:
        return {joined}
    parts = _QUOTED_COMMA.split(joined) if separator == "," and '"' in joined else joined.split(separator)
    members = {part.strip() for part in parts if part.strip()}
    return {member.lower() for member in members} if name in _WITHOUT_CASE else members


def _sets(found: Differences, path: str, live: set[str], shadow: set[str]) -> None:
    for member in sorted(live - shadow):
        found.add(Difference(path, Kind.MISSING, member[:120], "absent", 1))
    for member in sorted(shadow - live):
        found.add(Difference(path, Kind.EXTRA, "absent", member[:120], -1))


def _media_types(found: Differences, path: str, live: str, shadow: str) -> None:
    one, other = (frozenset(part.strip().lower().replace('"', "") for part in value.split(";") if part.strip()) for value in (live, shadow))
    if one != other:
        is_type = live.partition(";")[0].strip().lower() != shadow.partition(";")[0].strip().lower()
        turn = 1 if sorted(other) > sorted(one) else -1
        found.add(Difference(path, Kind.TYPE if is_type else Kind.VALUE, live[:120], shadow[:120], turn))


def _cookies(found: Differences, rules: Rules, live: Sequence[str], shadow: Sequence[str]) -> None:
    """Cookies by name, with their attributes; values are secrets and sessions (RFC 6265, section 4.1)."""
    one, other = ({_cookie_name(line): _attributes(line) for line in lines} for lines in (live, shadow))
    for name in dict.fromkeys([*one, *other]):
        path = paths.member(paths.header("set-cookie"), name)
        if rules.at(path).treat is Treatment.IGNORE:
            continue
        if name not in other:
            found.add(Difference(path, Kind.MISSING, "set", "absent", 1))
        elif name not in one:
            found.add(Difference(path, Kind.EXTRA, "absent", "set", -1))
        elif one[name] != other[name]:
            shown, seen = "; ".join(sorted(one[name])), "; ".join(sorted(other[name]))
            found.add(Difference(path, Kind.VALUE, shown[:120], seen[:120], 1 if seen > shown else -1, Excuse.NONE))


def _cookie_name(line: str) -> str:
    return line.partition(";")[0].partition("=")[0].strip()[:64]


def _attributes(line: str) -> frozenset[str]:
    """Attributes without Expires, which is a moment; Max-Age says the same and stays."""
    parts = (part.strip().lower() for part in line.split(";")[1:])
    return frozenset(part for part in parts if part and not part.startswith("expires="))


def _shown(values: Sequence[str]) -> str:
    return ", ".join(values)[:120]
