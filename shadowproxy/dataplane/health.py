"""Active health checks: a GET per endpoint and interval, from each worker, on a connection of its own.

*   A check passes when the final status of its answer is one of the configured ones; the body is not read.
    Whatever else happens (no connection, no answer in time, no HTTP) is a failed check and no error.
*   `unhealthy` failed checks in a row take the endpoint out, `healthy` passed ones in a row bring it back.
    An endpoint counts as healthy until its checks say otherwise: a proxy that starts serves at once.
*   Checks begin at a random moment of the interval, so that workers and endpoints do not check in step.
*   They end with the fleet: `stop` is part of retiring it.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import ssl
from typing import TYPE_CHECKING, Final

from shadowproxy.dataplane.head import END_OF_HEAD
from shadowproxy.dataplane.upstream import HEAD_LIMIT, INTERIM_LIMIT
from shadowproxy.errors import BadResponse

if TYPE_CHECKING:
    from shadowproxy.config.model import HealthCheck
    from shadowproxy.dataplane.forward import Endpoint

_FAILURES: Final = (OSError, ssl.SSLError, TimeoutError, BadResponse, asyncio.IncompleteReadError, asyncio.LimitOverrunError)


class Health:
    """What the checks of one endpoint have said: in until `unhealthy` failures in a row, out until `healthy` passes in a row."""

    __slots__ = ("_healthy", "_in_row", "_unhealthy", "is_unhealthy")

    def __init__(self, unhealthy: int, healthy: int) -> None:
        self._unhealthy = unhealthy
        self._healthy = healthy
        self._in_row = 0
        self.is_unhealthy = False

    def __repr__(self) -> str:
        wanted = self._healthy if self.is_unhealthy else self._unhealthy
        return f"Health({'out' if self.is_unhealthy else 'in'}, {self._in_row} of {wanted} checks against it)"

    def checked(self, *, has_passed: bool) -> bool:
        """Take in one check; returns whether the endpoint is unhealthy now."""
        if has_passed is not self.is_unhealthy:
            # It says what is known already.
            self._in_row = 0
            return self.is_unhealthy
        self._in_row += 1
        if self._in_row >= (self._healthy if self.is_unhealthy else self._unhealthy):
            self.is_unhealthy = not self.is_unhealthy
            self._in_row = 0
        return self.is_unhealthy


class HealthWatch:
    """The checks of one endpoint: one task for as long as its fleet is in the config."""

    def __init__(self, endpoint: Endpoint, check: HealthCheck) -> None:
        self._endpoint = endpoint
        self._check = check
        self._health = Health(check.unhealthy, check.healthy)
        self._task: asyncio.Task[None] | None = None
        self._wire = b"GET %b HTTP/1.1\r\nHost: %b\r\nUser-Agent: shadowproxy-health\r\nConnection: close\r\n\r\n" % (
            check.path.encode(),
            endpoint.authority,
        )

    def __repr__(self) -> str:
        return f"HealthWatch({self._endpoint.url}, {self._health!r})"

    def start(self) -> None:
        """Begin checking. Needs the running loop."""
        self._task = asyncio.get_running_loop().create_task(self._watch())

    def stop(self) -> None:
        """Check no more. Idempotent."""
        if self._task is not None:
            self._task.cancel()
            self._task = None

    async def _watch(self) -> None:
        await asyncio.sleep(random.uniform(0.0, self._check.interval))  # noqa: S311 -- spreads load, guards nothing
        while True:
            has_passed = False
            with contextlib.suppress(*_FAILURES):
                async with asyncio.timeout(self._check.timeout):
                    has_passed = await self._status() in self._check.status
            self._endpoint.is_unhealthy = self._health.checked(has_passed=has_passed)
            await asyncio.sleep(self._check.interval)

    async def _status(self) -> int:
        """The final status of one check.

        Raises:
            OSError: no connection, or it ended early.
            BadResponse: the answer is not HTTP/1.
            asyncio.IncompleteReadError: the connection ended inside the head.
            asyncio.LimitOverrunError: the head is over HEAD_LIMIT.
        """
        endpoint = self._endpoint
        context = endpoint.fleet.ssl_context if endpoint.is_tls else None
        (family, address), *_ = await endpoint.addresses.ranked(asyncio.get_running_loop())
        reader, writer = await asyncio.open_connection(
            address,
            endpoint.port,
            family=family,
            limit=HEAD_LIMIT,
            ssl=context,
            server_hostname=(endpoint.fleet.config.tls.server_name or endpoint.host) if context is not None else None,
        )
        try:
            writer.write(self._wire)
            for _ in range(INTERIM_LIMIT):
                head = endpoint.heads.read(await reader.readuntil(END_OF_HEAD), b"GET")
                if head.status >= 200:
                    return head.status
        finally:
            writer.transport.abort()
        raise BadResponse("too_many_interims", f"read {INTERIM_LIMIT} interim answers to one health check")
