"""What a request to the admin API must be before any handler sees it.

Loopback is no boundary for browsers: a web page can send requests to it, and a name that
an attacker controls can be made to resolve to it. So, in this order:

1. Host names this very address, or localhost, with this port; anything else is 421 (gates excepted, see GATES).
2. Only PUT and POST change something, only with `Content-Type: application/json` (which a form or
   an image cannot send), an own Origin if there is one, and Sec-Fetch-Site same-origin or none.
3. Everything under /api/ needs the bearer token. After too many wrong ones an address gets 429 without
   further ado; the right token always passes, for the kill switch must not be locked away by
   somebody else's guessing.

No answer carries a CORS header, so no foreign page can read any of them.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.config.addresses import HostPort
from shadowproxy.control.admin.problem import Refusal
from shadowproxy.control.audit import Actor

if TYPE_CHECKING:
    from collections.abc import Callable

    from aiohttp import web

    from shadowproxy.control.places import Token

PROTECTED: Final = "/api/"
"""Paths that begin so need the token; nothing else is secret."""

GATES: Final = "/api/v1/gates/"
"""Paths that begin so are asked by controllers of a cluster, which call this API by names that it does not know. They
need a token like all the rest, which a page whose name was made to resolve to here (DNS rebinding) has not; so Host may
say anything. The gate token opens them as well, and nothing else."""

CHANGING: Final = frozenset({"POST", "PUT"})
READING: Final = frozenset({"GET", "HEAD"})

FAILURES_ALLOWED: Final = 10
"""Wrong tokens from one address within WINDOW_S before it is locked out."""

WINDOW_S: Final = 60.0
ADDRESSES_KEPT: Final = 1024

_LOCALHOST: Final = ("127.0.0.1", "localhost", "::1")
_TOKEN_LIMIT: Final = 4096


@dataclass(slots=True)
class _Record:
    since: float
    failures: int


class Lockout:
    """Counts failures by address, forgetting the oldest addresses first. `now` is a monotonic clock in seconds."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._records: OrderedDict[str, _Record] = OrderedDict()

    def fail(self, source: str) -> int:
        """Count one failure and return how many there were in the current window."""
        record = self._current(source)
        if record is None:
            record = self._records[source] = _Record(self._now(), 0)
            while len(self._records) > ADDRESSES_KEPT:
                self._records.popitem(last=False)
        record.failures += 1
        return record.failures

    def remaining_seconds(self, source: str) -> int:
        """How long `source` stays locked out, rounded up; 0 when it is not."""
        record = self._current(source)
        if record is None or record.failures < FAILURES_ALLOWED:
            return 0
        return int(record.since + WINDOW_S - self._now()) + 1

    def _current(self, source: str) -> _Record | None:
        record = self._records.get(source)
        if record is not None and self._now() - record.since >= WINDOW_S:
            del self._records[source]
            return None
        return record


def own_hosts(request: web.Request) -> frozenset[str]:
    """What Host may say: the address that this connection came in on, and the names of loopback, with its port."""
    name = request.transport.get_extra_info("sockname") if request.transport is not None else None
    if name is None:
        return frozenset()
    port = int(name[1])
    return frozenset(str(HostPort(host, port)) for host in (*_LOCALHOST, str(name[0])))


def check_host(request: web.Request) -> None:
    """Refuse a Host that is not ours (DNS rebinding).

    Raises:
        Refusal: 421.
    """
    if request.path.startswith(GATES):
        return
    hosts = request.headers.getall("Host", [])
    if len(hosts) != 1 or hosts[0].lower() not in own_hosts(request):
        raise Refusal(421, "Host must be the address of this API")


def check_change(request: web.Request) -> None:
    """Refuse a change that a foreign web page could have sent (CSRF), or by the wrong method.

    Raises:
        Refusal: 403, 405 or 415.
    """
    if request.method in READING:
        return
    if request.method not in CHANGING:
        raise Refusal(405, f"{request.method} is not used here", headers={"Allow": "GET, HEAD, POST, PUT"})
    origins = request.headers.getall("Origin", [])
    allowed = {f"http://{host}" for host in own_hosts(request)}
    if any(origin.lower() not in allowed for origin in origins):
        raise Refusal(403, "Origin is not this API's page")
    if any(site.lower() not in {"same-origin", "none"} for site in request.headers.getall("Sec-Fetch-Site", [])):
        raise Refusal(403, "Sec-Fetch-Site says that another site sent this")
    if request.content_type != "application/json":
        raise Refusal(415, "Content-Type must be application/json", headers={"Accept": "application/json"})


def presented_token(request: web.Request) -> bytes | None:
    """The bearer token of a request; None when it brings none, or something else."""
    lines = request.headers.getall("Authorization", [])
    if len(lines) != 1:
        return None
    scheme, _, token = lines[0].partition(" ")
    if scheme.lower() != "bearer" or not token or len(token) > _TOKEN_LIMIT:
        return None
    return token.strip().encode("utf-8", "surrogateescape")


class Authenticator:
    """Lets through who has the token, and tells `on_failure` of those that have not.

    Args:
        token: the token that counts.
        on_failure: called with the address, the path and how often it has failed in the window.
    """

    def __init__(self, token: Token, on_failure: Callable[[str, web.Request, int], None], lockout: Lockout | None = None) -> None:
        self._token = token
        self._on_failure = on_failure
        self._lockout = lockout or Lockout()

    def check(self, request: web.Request, in_payload: bytes | None = None) -> Actor:
        """Who asks.

        Args:
            request: what was asked.
            in_payload: a token that came in the payload; only a gate takes one from there.

        Raises:
            Refusal: 401, or 429 after too many failures. Neither says what was wrong.
        """
        source = request.remote or "unknown"
        presented = in_payload if in_payload is not None else presented_token(request)
        if presented is not None and self._token.matches(presented):
            return Actor(f"token:{self._token.id}", source)
        if presented is not None and request.path.startswith(GATES) and self._token.opens_gates(presented):
            return Actor(f"gates:{self._token.id}", source)
        remaining = self._lockout.remaining_seconds(source)
        failures = self._lockout.fail(source)
        self._on_failure(source, request, failures)
        if remaining:
            raise Refusal(429, headers={"Retry-After": str(remaining)})
        raise Refusal(401, headers={"WWW-Authenticate": 'Bearer realm="shadowproxy"'})
