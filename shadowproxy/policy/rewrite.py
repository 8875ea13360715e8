"""What is changed about a request for the fleet that gets it: path, query, Host and fields.

Only where a rule says so; everything else passes byte for byte (promise P5). `{tenant}` in a rule stands for the
tenant's name, which is made of characters that mean nothing in a path, a query or a field.

Servers differ in what they make of a path or a query: some decode twice, resolve dots, drop parameters behind a `;` or
take names in any case. Where a partition is at stake, what any of them could make of it counts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import unquote_to_bytes

from shadowproxy.policy.tags import plain

_SLOT: Final = b"{tenant}"

_DECODINGS: Final = 4
"""How often a path is decoded; one that can be decoded further hides something."""

_UNUSUAL: Final = re.compile(rb"%|\\|;|//|/\.")
_UNICODE_ESCAPE: Final = re.compile(rb"(?i)%u[0-9a-f]{4}")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")

HOST_NAMES: Final = frozenset(
    {b"forwarded", b"x-forwarded-host", b"x-forwarded-server", b"x-original-host", b"x-host", b"x-host-override", b"x-http-host-override"}
)
"""Fields that servers take for the Host that was asked for: they would lead out of a partition that is a host."""

PATH_OVERRIDES: Final = frozenset({b"x-original-url", b"x-rewrite-url"})
"""Fields by which some servers take a request for one of another path (CVE-2018-14773)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RewritePolicy:
    """The changes, compiled. Empty means "as it came" in each.

    `host_mode` is preserve, endpoint or literal; `headers` are by lower-case name, `query` by name. `is_partition` says that a request must not
    get out of what this makes of it.
    """

    strip_prefix: bytes = b""
    path_prefix: bytes = b""
    host_mode: str = "preserve"
    host: bytes = b""
    headers: Mapping[bytes, bytes] = field(default_factory=dict)
    query: Mapping[bytes, bytes] = field(default_factory=dict)
    is_partition: bool = False

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
        set_here = {plain(name) for name in self.query}
        kept = [left for pair in query.split(b"&") if (left := _without(pair, set_here)) is not None] if query else []
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
            if self.is_partition:
                gone |= HOST_NAMES
        kept = [line for line in lines if plain(line.partition(b":")[0]) not in gone] if gone else list(lines)
        if host:
            kept.insert(0, b"Host: " + host)
        kept += [b"%b: %b" % (name, value.replace(_SLOT, tenant)) for name, value in self.headers.items()]
        return kept

    def forwarded(self, said: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
        """The fields of proxies before us that go on: none that names another host than a partition's."""
        return [pair for pair in said if pair[0] not in HOST_NAMES] if self.is_partition and self.host else said

    def keeps(self, target: bytes, lines: list[bytes]) -> bool:
        """Whether a request stays in the partition that this makes, at any server; `target` in origin form, `lines` without CRLF."""
        if not self.is_partition or not (self.path_prefix or self.query):
            return True
        if not target.startswith(b"/"):
            return False
        if not self.path_prefix:
            return True
        return not escapes(target.partition(b"?")[0]) and not any(plain(line.partition(b":")[0]) in PATH_OVERRIDES for line in lines)


def segments(path: bytes) -> list[str] | None:
    """What the most eager server takes for the segments of a path: decoded until nothing changes, backslashes as slashes, without parameters.

    None where that cannot be told: not UTF-8, control characters, decoded without end.
    """
    if _UNUSUAL.search(path) is None and path.isascii():
        return path.decode().split("/")
    for _ in range(_DECODINGS):
        decoded = unquote_to_bytes(path)
        if decoded == path:
            break
        path = decoded
    else:
        return None
    try:
        # Forms of dots and slashes for other alphabets become the plain ones here, as they do at some servers.
        text = unicodedata.normalize("NFKC", path.decode())
    except UnicodeDecodeError:
        return None
    if _UNICODE_ESCAPE.search(path) or _CONTROL.search(text):
        return None
    return [segment.partition(";")[0].strip() for segment in text.replace("\\", "/").split("/")]


def escapes(path: bytes) -> bool:
    """Whether a path could lead out of a prefix that is put before it, at some server that resolves or decodes it."""
    found = segments(path)
    return found is None or any(segment and not segment.strip(".") for segment in found)


def parameters(query: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The parameters of a query as servers read them, whatever they separate them by: plain name, decoded value."""
    for pair in re.split(rb"[&;]", query):
        if pair:
            yield name_of(pair), unquote_to_bytes(pair.partition(b"=")[2].replace(b"+", b" "))


def name_of(pair: bytes) -> bytes:
    """The plain name of a parameter: decoded, in lower case, without an index."""
    name = unquote_to_bytes(pair.partition(b"=")[0].replace(b"+", b" "))
    return plain(re.split(rb"[\[\x00]", name, maxsplit=1)[0].strip()).replace(b" ", b"-")


def _without(pair: bytes, names: set[bytes]) -> bytes | None:
    """What is left of a pair, which some servers take for several with a `;` between them; None for nothing."""
    parts = pair.split(b";")
    kept = [part for part in parts if name_of(part) not in names]
    return b";".join(kept) if kept else None
