"""What is changed about a request for the fleet that gets it: path, query, Host and fields.

Only where a rule says so; everything else passes byte for byte (promise P5). `{tenant}` in a rule stands for the
tenant's name, which is made of characters that mean nothing in a path, a query or a field.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from shadowproxy.policy.tags import plain

_SLOT: Final = b"{tenant}"

# What some server takes for a step up: dots and slashes in any encoding, parameters behind a segment, a backslash.
_ESCAPE: Final = re.compile(rb"(?i)(?:^|/|\\|%2f|%5c)(?:\.|%2e){1,2}(?:$|/|\\|;|%2f|%5c|%3b)|%00|%25(?:2e|2f|5c)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RewritePolicy:
    """The changes, compiled. Empty means "as it came" in each.

    `host_mode` is preserve, endpoint or literal; `headers` are by lower-case name, `query` by name.
    """

    strip_prefix: bytes = b""
    path_prefix: bytes = b""
    host_mode: str = "preserve"
    host: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    query: Mapping[bytes, bytes] = field(default_factory=dict)

    def target(self, target: bytes, tenant: bytes) -> bytes:
        """The target in origin form that the fleet gets; `*` stays as it is."""
        if not target.startswith(b"/"):
            return target
        path, mark, query = target.partition(b"?")
        strip = self.strip_prefix
        if strip and (path == strip or path.startswith(strip + b"/")):
            path = path[len(strip) :] or b"/"
        path = self.path_prefix.replace(_SLOT, tenant) + path
        if not self.query:
            return path + mark + query
        kept = [pair for pair in query.split(b"&") if pair and _name_of(pair) not in self.query]
        kept += [b"%b=%b" % (name, value.replace(_SLOT, tenant)) for name, value in self.query.items()]
        return path + b"?" + b"&".join(kept)

    def lines(self, lines: list[bytes], tenant: bytes, endpoint: bytes) -> list[bytes]:
        """The field lines that the fleet gets.

        Args:
            lines: without CRLF.
            tenant: whose request it is.
            endpoint: authority of the fleet, for host_mode endpoint.
        """
        gone = {plain(name) for name in self.headers}
        host = endpoint if self.host_mode == "endpoint" else self.host.replace(_SLOT, tenant) if self.host_mode == "literal" else b""
        if host:
            gone.add(b"host")
        kept = [line for line in lines if plain(line.partition(b":")[0]) not in gone] if gone else list(lines)
        if host:
            kept.insert(0, b"Host: " + host)
        kept += [b"%b: %b" % (name, value.replace(_SLOT, tenant)) for name, value in self.headers.items()]
        return kept


def escapes(path: bytes) -> bool:
    """Whether a path could lead out of a prefix that is put before it, at some server that resolves or decodes it."""
    return _ESCAPE.search(path) is not None


def _name_of(pair: bytes) -> bytes:
    """The name of a query parameter, as servers read it."""
    return unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))
