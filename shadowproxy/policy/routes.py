"""Which route takes a request: first match wins, on the raw bytes that the upstream will see.

Paths are compared without the query and without decoding: what is matched is what is
forwarded (RELIABILITY section 3, the classes of path confusion).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from shadowproxy.policy.mirrors import MirrorPolicy
from shadowproxy.policy.rewrite import RewritePolicy
from shadowproxy.policy.tags import Tags
from shadowproxy.policy.tenancy import TenancyRules

ANY_VALUE: Final = b"*"
"""A header match that only asks for presence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutePolicy:
    """One route, compiled. Empty means "not asked for" in every condition.

    `prefix` has no trailing slash; `headers` are (lower-case name, value) pairs. `tests` is what happens to tagged requests,
    `rewrite` what changes on the way to live and to mirrors, None for nothing.
    """

    name: str
    live: str
    mirrors: tuple[MirrorPolicy, ...]
    tests: TenancyRules
    listener: str = ""
    host: bytes = b""
    host_suffix: bytes = b""
    prefix: bytes = b""
    prefix_slash: bytes = b""
    exact: bytes = b""
    regex: re.Pattern[bytes] | None = None
    methods: frozenset[bytes] = frozenset()
    headers: tuple[tuple[bytes, bytes], ...] = ()
    is_catch_all: bool = False
    rewrite: RewritePolicy | None = None

    def takes(self, listener: str, host: bytes, path: bytes, method: bytes, headers: Mapping[bytes, list[bytes]]) -> bool:
        """Whether every condition holds.

        Args:
            listener: the listener's name.
            host: lower-case host without port.
            path: the target without its query, `*` for the asterisk form.
            method: as sent.
            headers: values by lower-case name, at least for the names in `Policy.wanted`.
        """
        if self.is_catch_all:
            return True
        if self.prefix and path != self.prefix and not path.startswith(self.prefix_slash):
            return False
        if self.methods and method not in self.methods:
            return False
        if self.host and host != self.host:
            return False
        if self.host_suffix and not host.endswith(self.host_suffix):
            return False
        if self.exact and path != self.exact:
            return False
        if self.listener and listener != self.listener:
            return False
        if self.regex is not None and self.regex.fullmatch(path) is None:
            return False
        return all(_has(headers, name, value) for name, value in self.headers)


def _has(headers: Mapping[bytes, list[bytes]], name: bytes, value: bytes) -> bool:
    lines: Iterable[bytes] = headers.get(name, ())
    return any(value in (ANY_VALUE, line) for line in lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """The compiled decision table of one config generation. Replaced whole, by one assignment.

    `wanted` has the lower-case names of the header fields that conditions or keys look at, `touched` of those
    that some mirror's copies do not get as they came; `asks_host` says whether any route looks at the host; `tags` reads
    whose test a request is.
    """

    generation: int
    routes: tuple[RoutePolicy, ...]
    wanted: frozenset[bytes]
    touched: frozenset[bytes]
    asks_host: bool
    tags: Tags

    def find(self, listener: str, host: bytes, path: bytes, method: bytes, headers: Mapping[bytes, list[bytes]]) -> RoutePolicy | None:
        """The first route that takes the request; arguments as in `RoutePolicy.takes`."""
        for route in self.routes:
            if route.is_catch_all or route.takes(listener, host, path, method, headers):
                return route
        return None


def bare_host(authority: bytes) -> bytes:
    """The host of an authority, lower-case and without its port (RFC 3986 section 3.2.2)."""
    if authority.endswith(b"]"):
        return authority.lower()
    host, colon, port = authority.rpartition(b":")
    return (host if (colon and port.isdigit()) or (colon and not port) else authority).lower()
