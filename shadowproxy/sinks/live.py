"""Reads of what live holds, for sinks that lay a tenant's changes over it. Never anything but GET."""

from __future__ import annotations

import itertools
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
from yarl import URL

from shadowproxy.config.tenancy import Rewrite
from shadowproxy.policy.rewrite import RewritePolicy
from shadowproxy.sinks.call import Answer, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowproxy.config.model import Config, Fleet, Route
    from shadowproxy.sinks.call import Call

ANSWER_LIMIT: Final = 8 * 1024 * 1024
"""Bytes of one answer of live, decoded."""

READ_BYTES: Final = 65536

_KEPT_BACK: Final = frozenset(
    {
        "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect", "host", "http2-settings", "if-match",
        "if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "keep-alive", "proxy-authorization", "proxy-connection",
        "range", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
"""Fields that belong to one hop, to a body, or ask for less than the whole thing. All others go on: credentials, tag and trace."""

_PASSED_ON: Final = frozenset({"cache-control", "content-language", "etag", "last-modified", "link", "retry-after", "www-authenticate"})


@dataclass(frozen=True, slots=True)
class Source:
    """Where a sink finds what live holds.

    `is_asked` says that the proxy asks live where the sink answers 421; otherwise nobody would.
    """

    fleet: Fleet | None
    rewrite: Rewrite
    is_asked: bool


def source_of(config: Config, name: str) -> Source:
    """What lies under the sink `name`: the fleet that it names itself, or that of the routes that use it, if it is one."""
    routes = [route for route in config.routes if route.test_traffic.writes.sink == name and _reads_live(route)]
    resources = config.sinks[name].resources
    fleets = {route.live for route in routes}
    named = resources.live if resources is not None else ""
    fleet = named or (fleets.pop() if len(fleets) == 1 else "")
    rewrites = {route.rewrite for route in routes if route.live == fleet}
    is_merged = resources is not None and resources.merge and fleet
    return Source(config.fleets[fleet] if is_merged else None, rewrites.pop() if len(rewrites) == 1 else Rewrite(), bool(routes))


def _reads_live(route: Route) -> bool:
    reads = route.test_traffic.reads
    return not reads.sink and reads.partition is None and reads.rule != "refuse"


class Live:
    """The fleet that holds the real thing.

    Args:
        fleet: its endpoints are asked in turn.
        rewrite: what the route changes about requests to it.
        timeout_s: for one answer, whole.
        session: gives the process's HTTP client.

    Raises:
        OSError: a TLS file cannot be used.
    """

    def __init__(self, fleet: Fleet, rewrite: Rewrite, timeout_s: float, session: Callable[[], aiohttp.ClientSession]) -> None:
        self._endpoints = itertools.cycle(fleet.endpoints)
        self._count = len(fleet.endpoints)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._session = session
        self._tls = _context(fleet) if any(url.startswith("https:") for url in fleet.endpoints) else True
        self._name = fleet.tls.server_name or None
        mode, _, host = rewrite.host.partition(":")
        self._host = (mode, host)
        self._rewrite = RewritePolicy(
            strip_prefix=rewrite.strip_prefix.encode().rstrip(b"/"), path_prefix=rewrite.path_prefix.encode().rstrip(b"/")
        )

    async def get(self, call: Call, target: str = "") -> Answer:
        """What live answers to a GET of `target` (default: that of `call`), with the fields of `call`.

        Raises:
            Refused: 502 or 504, no endpoint gives a whole answer.
        """
        # As aiohttp reads targets, and writes them: bytes that are no UTF-8 cannot be sent, and are a 502 below.
        sent = (target or call.target).encode("utf-8", "surrogateescape")
        wanted = self._rewrite.target(sent, call.tenant.encode()).decode("utf-8", "surrogateescape")
        refused = Refused(502, "live_unavailable", "live could not be asked what it holds")
        for endpoint in itertools.islice(self._endpoints, self._count):
            fields = dict(_fields(call))
            if self._host[0] == "preserve" and call.headers.get("host"):
                fields["Host"] = call.headers["host"]
            elif self._host[0] == "literal":
                fields["Host"] = self._host[1]
            try:
                return await self._ask(URL(endpoint.rstrip("/") + wanted, encoded=True), fields)
            except TimeoutError:
                refused = Refused(504, "live_timeout", "live did not answer in time what it holds")
            except (aiohttp.ClientError, OSError, ValueError):
                continue
        raise refused

    async def _ask(self, url: URL, fields: dict[str, str]) -> Answer:
        options: dict[str, Any] = {"server_hostname": self._name} if self._name else {}
        async with self._session().get(
            url, headers=fields, ssl=self._tls, timeout=self._timeout, allow_redirects=False, **options
        ) as answer:
            body = bytearray()
            while chunk := await answer.content.read(READ_BYTES):
                body += chunk
                if len(body) > ANSWER_LIMIT:
                    raise Refused(502, "live_too_large", f"live's answer has more than {ANSWER_LIMIT} bytes")
            headers = {name: value for name, value in answer.headers.items() if name.lower() in _PASSED_ON}
            return Answer(answer.status, bytes(body), answer.headers.get("Content-Type", ""), headers)


def open_session() -> aiohttp.ClientSession:
    """An HTTP client that keeps no cookies of anyone and trusts no environment."""
    return aiohttp.ClientSession(
        cookie_jar=aiohttp.DummyCookieJar(),
        connector=aiohttp.TCPConnector(limit=256),
        skip_auto_headers={"User-Agent", "Accept"},
    )


def _fields(call: Call) -> Iterator[tuple[str, str]]:
    nominated = {name.strip().lower() for name in call.headers.get("connection", "").split(",")}  # RFC 9110 section 7.6.1
    for name, value in call.headers.items():
        if name not in _KEPT_BACK and name not in nominated:
            yield name, value


def _context(fleet: Fleet) -> ssl.SSLContext:
    tls = fleet.tls
    context = ssl.create_default_context(cafile=tls.ca or None)
    if not tls.verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if tls.cert:
        context.load_cert_chain(tls.cert, tls.key, password=lambda: b"")
    return context
