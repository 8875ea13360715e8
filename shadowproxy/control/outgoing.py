"""What control itself asks and tells over HTTP: probes and notifications, within the rules of endpoints.

Their URLs come through the admin API, so they are a way to make this process send requests anywhere. Every address that a name
leads to is checked by the list that endpoints are checked by, and the connection is made to the address that was checked
(no second resolution: DNS rebinding). Redirects are never followed, no proxy of the environment is used, no cookie is kept.
"""

from __future__ import annotations

import asyncio
import socket
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from shadowproxy.config.addresses import denial, host_denial, url_denial

if TYPE_CHECKING:
    from collections.abc import Mapping

CONNECTIONS: Final = 64
"""Connections of one session at once."""

_CHUNK: Final = 65536

_threads: Final = ThreadPoolExecutor(max_workers=4, thread_name_prefix="resolve")
"""Resolvers that hang hold up only those who wait for a name: the loop's own threads write journals and audits."""


class Unanswered(Exception):
    """There is no answer that could be used, for this reason. Its text names no URL: paths of webhooks are secrets."""


class CheckedResolver(AbstractResolver):
    """The system's resolver without the addresses that no request may be sent to."""

    async def resolve(self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC) -> list[ResolveResult]:
        """The addresses of `host` that may be connected to.

        Raises:
            OSError: there is none.
        """
        ask = partial(socket.getaddrinfo, host, port, family, socket.SOCK_STREAM)
        answers = await asyncio.get_running_loop().run_in_executor(_threads, ask)
        numeric = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        allowed = [
            ResolveResult(hostname=host, host=str(where[0]), port=port, family=kind, proto=protocol, flags=numeric)
            for kind, _, protocol, _, where in answers
            if denial(ip_address(str(where[0]).partition("%")[0])) is None
        ]
        if not allowed:
            raise OSError(f"{host} leads to no address that may be asked")
        return allowed

    async def close(self) -> None:
        """Nothing is held."""


def open_session() -> aiohttp.ClientSession:
    """An HTTP client that obeys the rules of this module, but for redirects and hosts that are addresses: `exchange` sees to them."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=CONNECTIONS, resolver=CheckedResolver(), force_close=True),
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        # What is compressed is not unpacked: a small answer must not become a large one.
        auto_decompress=False,
        headers={"Accept-Encoding": "identity", "User-Agent": "shadowproxy"},
    )


def refusal(status: int) -> str:
    """What is said of an answer with `status` where it should have been another."""
    return f"it answered {status}, and redirects are not followed" if 300 <= status < 400 else f"it answered {status}"


async def exchange(
    session: aiohttp.ClientSession,
    method: str,
    url: str,
    *,
    timeout_s: float,
    limit: int,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    """Status and body of one request. A redirect is an answer as any other.

    Args:
        session: of `open_session`.
        method: GET or POST.
        url: http or https, sent as it is written.
        timeout_s: seconds until the answer must be whole.
        limit: bytes of the answer's body that are read; a longer one is no answer. With 0 nothing is read of it.
        body: of the request.
        headers: of the request.

    Raises:
        Unanswered: it may not be asked, or there is no whole answer in time.
    """
    target = _checked(url)
    timeout = aiohttp.ClientTimeout(total=timeout_s)
    try:
        async with session.request(method, target, data=body, headers=headers, timeout=timeout, allow_redirects=False) as answer:
            if not limit:
                return answer.status, b""
            if answer.headers.get("Content-Encoding", "identity").lower() != "identity":
                raise Unanswered("it answered with a content coding that was not asked for")
            received = bytearray()
            while chunk := await answer.content.read(_CHUNK):
                received += chunk
                if len(received) > limit:
                    raise Unanswered(f"its answer has more than {limit} bytes")
            return answer.status, bytes(received)
    except TimeoutError:
        raise Unanswered(f"no answer within {timeout_s:g} s") from None
    except aiohttp.ClientSSLError:
        raise Unanswered("no TLS connection: its certificate, or its version of TLS, is not accepted") from None
    except aiohttp.ClientConnectorError as error:
        raise Unanswered(f"no connection: {error.os_error.strerror or error.os_error}") from None
    except (aiohttp.ClientError, OSError, ValueError) as error:
        raise Unanswered(f"no whole answer ({type(error).__name__})") from None


def _checked(url: str) -> URL:
    """`url` as aiohttp takes it. It is read twice and both readings are checked, so that they need not agree; addresses never meet the resolver."""
    denied = url_denial(url)
    if denied is None:
        try:
            target = URL(url, encoded=True)
        except ValueError:
            denied = "it is no URL"
        else:
            denied = host_denial(target.raw_host or "")
            if denied is None:
                return target
    raise Unanswered(denied)
