"""Fleets at work: which endpoint takes a leg, and the connections that are kept to it.

The fleet decides, the connection speaks (upstream.py), asyncio moves the bytes. Idle connections are a
stack per endpoint: the one used last is the one least likely to have been closed by the other side.

A leg that finds no idle connection waits, in order, for the first that opens or comes free. What was
never sent may be sent elsewhere: a leg whose connection could not be opened tries each other endpoint
once. Anything that was sent is the leg's own to judge (exchange.py retries; a copy never does).
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import deque
from collections.abc import Collection
from typing import Any, Final
from urllib.parse import urlsplit

from shadowproxy.config.model import Balance, Fleet
from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.addresses import Addresses
from shadowproxy.dataplane.deadlines import Deadlines
from shadowproxy.dataplane.health import HealthWatch
from shadowproxy.dataplane.leg import Leg
from shadowproxy.dataplane.response_head import ResponseHeads
from shadowproxy.dataplane.tls import upstream_context
from shadowproxy.dataplane.upstream import UpstreamConnection
from shadowproxy.policy import nanoseconds

EJECTION_FACTOR_LIMIT: Final = 10
"""An endpoint that keeps failing stays out at most this many periods."""

WRITE_HIGH: Final = 262144
"""Bytes queued towards an endpoint before its client is paused."""


class Endpoint:
    """One address of a fleet, its connections and its health."""

    def __init__(self, url: str, fleet: FleetRuntime) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None, url
        self.url = url
        self.fleet = fleet
        self.is_tls = parts.scheme == "https"
        self.host = parts.hostname
        self.port = parts.port or (443 if self.is_tls else 80)
        bracketed = f"[{self.host}]" if ":" in self.host else self.host
        self.authority = (f"{bracketed}:{parts.port}" if parts.port else bracketed).encode()
        self.deadlines: Deadlines = fleet.deadlines
        self.heads: ResponseHeads = fleet.heads
        self.addresses = Addresses(self.host, self.port, fleet.config.dns_refresh)
        self.idle: list[UpstreamConnection] = []
        self.waiting: deque[Leg] = deque()
        # Exchanges whose end counts; what is given up, or given back unused, has not begun.
        self.begun = 0
        self.ended = 0
        self.errors = 0
        self.opening = 0
        self.open: set[UpstreamConnection] = set()
        self.is_unhealthy = False
        self.is_evacuated = False
        self.late = 0
        self._failures_in_row = 0
        self._ejections = 0
        self._ejected_until_ns = 0
        self._openings: set[asyncio.Task[None]] = set()
        self.connects = 0
        self.failures: dict[int, int] = {}
        self._reported = 0

    def __repr__(self) -> str:
        return f"Endpoint({self.url}, outstanding={self.outstanding}, idle={len(self.idle)}, waiting={len(self.waiting)})"

    @property
    def outstanding(self) -> int:
        """Exchanges under way."""
        return self.begun - self.ended

    def is_available(self, now_ns: int) -> bool:
        """Neither ejected, nor found unhealthy by checks, nor evacuated."""
        return self._ejected_until_ns <= now_ns and not self.is_unhealthy and not self.is_evacuated

    def is_well(self, now_ns: int) -> bool:
        """Neither ejected nor found unhealthy: it would serve, evacuated or not."""
        return self._ejected_until_ns <= now_ns and not self.is_unhealthy

    def assign(self, leg: Leg, *, may_wait: bool, wants_fresh: bool) -> bool:
        """Give `leg` a connection now or in its turn; False where neither can be."""
        if self.idle and not wants_fresh:
            self._use(self.idle.pop(), leg)
            return True
        can_open = len(self.open) + self.opening < self.fleet.max_connections
        if not can_open and (not may_wait or len(self.waiting) >= self.fleet.max_waiting):
            return False
        self.waiting.append(leg)
        # No more openings than legs that wait for one.
        if can_open and self.opening < len(self.waiting):
            self._begin_opening()
        return True

    def _use(self, connection: UpstreamConnection, leg: Leg) -> None:
        self.begun += 1
        connection.use(leg)
        leg.on_connection(connection)

    def _begin_opening(self) -> None:
        self.opening += 1
        task = asyncio.get_running_loop().create_task(self._open())
        self._openings.add(task)
        task.add_done_callback(self._openings.discard)

    async def _open(self) -> None:
        ended = 0
        try:
            async with asyncio.timeout(self.fleet.config.connect_timeout):
                connection = await self._connect()
            if connection.transport.is_closing():
                # It spoke before it was asked, or hung up at once: no leg shall have it.
                self.open.discard(connection)
                ended = outcome.RESET
        except TimeoutError:
            ended = outcome.CONNECT_TIMEOUT
        except (ssl.SSLError, ssl.CertificateError):
            ended = outcome.TLS
        except ConnectionRefusedError:
            ended = outcome.REFUSED
        except ConnectionError:
            ended = outcome.RESET
        except OSError:
            ended = outcome.UNREACHABLE
        finally:
            self.opening -= 1
        if ended:
            self.failures[ended] = self.failures.get(ended, 0) + 1
            # A try that failed, of whichever leg it was for.
            self.begun += 1
            self.ended += 1
            self.errors += 1
            self.failed()
            if self.waiting:
                leg = self.waiting.popleft()
                self.fleet.reassign(leg, self, ended)
            self._open_for_waiting()
            return
        self.connects += 1
        self._serve(connection)

    async def _connect(self) -> UpstreamConnection:
        loop = asyncio.get_running_loop()
        context = self.fleet.ssl_context if self.is_tls else None
        last: OSError = OSError("no address")
        ranked = await self.addresses.ranked(loop)
        for family, address in ranked:
            try:
                # Each address gets its share of the time: one that does not answer must not use up the others'.
                async with asyncio.timeout(self.fleet.config.connect_timeout / len(ranked)):
                    transport, connection = await loop.create_connection(
                        lambda: UpstreamConnection(self),  # type: ignore[type-var]  # a protocol by its methods
                        address,
                        self.port,
                        family=family,
                        ssl=context,
                        server_hostname=(self.fleet.config.tls.server_name or self.host) if context is not None else None,
                    )
            except OSError as error:
                last = error
                continue
            transport.set_write_buffer_limits(high=WRITE_HIGH)
            self.open.add(connection)
            return connection
        raise last

    def _serve(self, connection: UpstreamConnection) -> None:
        """A connection has opened or come free: the first leg in line gets it, else the pool."""
        while self.waiting:
            leg = self.waiting.popleft()
            if leg.waits_until_ns:
                self._use(connection, leg)
                return
        if self.fleet.is_closed:
            connection.close()
            return
        self.idle.append(connection)
        keepalive_ns = self.fleet.keepalive_ns
        self.deadlines.set(connection, time.monotonic_ns() + keepalive_ns)

    def released(self, connection: UpstreamConnection, *, is_reusable: bool) -> None:
        """An exchange on `connection` is over."""
        self.ended += 1
        if is_reusable:
            self._failures_in_row = self._ejections = 0
            # As in `given_back`, written out: twice a mirrored request.
            if self.fleet.keepalive_ns:
                self._serve(connection)
            else:
                connection.close()

    def given_back(self, connection: UpstreamConnection) -> None:
        """Nothing was sent on `connection`, so nothing new is known of the endpoint's health."""
        self.begun -= 1
        if self.fleet.keepalive_ns:
            self._serve(connection)
        else:
            connection.close()

    def given_up(self) -> None:
        """We have ended an exchange ourselves: nobody knows how it would have ended."""
        self.begun -= 1

    def answered(self) -> None:
        """An answer was whole, though its connection is not kept: the endpoint works."""
        self._failures_in_row = self._ejections = 0

    def _open_for_waiting(self) -> None:
        while self.waiting and not self.waiting[0].waits_until_ns:
            # Given up meanwhile: nothing is opened for it.
            self.waiting.popleft()
        if len(self.waiting) > self.opening and len(self.open) + self.opening < self.fleet.max_connections:
            self._begin_opening()

    def discard_idle(self, connection: UpstreamConnection) -> None:
        """An idle connection has expired or misbehaved."""
        if connection in self.idle:
            self.idle.remove(connection)
        connection.close()

    def lost(self, connection: UpstreamConnection) -> None:
        """The connection is gone for good."""
        self.open.discard(connection)
        if connection in self.idle:
            self.idle.remove(connection)
        if self.waiting:
            self._open_for_waiting()

    def failed(self) -> None:
        """Passive health: one more failure that is the endpoint's."""
        eject = self.fleet.config.eject
        if self._ejected_until_ns > time.monotonic_ns():
            # What was under way when it was ejected fails too, and says nothing new.
            return
        self._failures_in_row += 1
        if eject.failures and self._failures_in_row >= eject.failures:
            self._failures_in_row = 0
            factor = min(2**self._ejections, EJECTION_FACTOR_LIMIT)
            self._ejections = min(self._ejections + 1, 8)
            self._ejected_until_ns = time.monotonic_ns() + nanoseconds(eject.period * factor)

    def expire_waiting(self, now_ns: int) -> None:
        """Legs that have waited for a connection too long try another endpoint, or fail."""
        # Not only the first in line: a fleet's legs need not all be as patient.
        late = [leg for leg in self.waiting if leg.waits_until_ns <= now_ns]
        if late:
            self.waiting = deque(leg for leg in self.waiting if leg.waits_until_ns > now_ns)
            ended = outcome.OVERFLOW if self._is_full() else outcome.CONNECT_TIMEOUT
            for leg in late:
                self.fleet.reassign(leg, self, ended)

    def _is_full(self) -> bool:
        return len(self.open) >= self.fleet.max_connections

    def close(self) -> None:
        """Let go of idle connections; those in use close when their exchange is over."""
        for connection in self.idle:
            connection.close()
        self.idle.clear()

    def report(self) -> dict[str, Any]:
        """Gauges and deltas for the tally (messages.py)."""
        report = {
            "outstanding": self.outstanding,
            "idle": len(self.idle),
            "open": len(self.open),
            "connects": self.connects,
            "failures": {outcome.name_of(ended): count for ended, count in self.failures.items()},
            "is_ejected": not self.is_well(time.monotonic_ns()),
            "late": self.late,
            "ended": self.ended - self._reported,
            "errors": self.errors,
        }
        self._reported = self.ended
        self.connects = self.late = self.errors = 0
        self.failures = {}
        return report


class FleetRuntime:
    """A fleet of the current config, with its endpoints' connections."""

    def __init__(self, config: Fleet, deadlines: Deadlines, heads: ResponseHeads) -> None:
        self.config = config
        self.deadlines = deadlines
        self.heads = heads
        self.max_connections = config.max_connections
        self.max_waiting = config.max_waiting
        self.keepalive_ns = nanoseconds(config.keepalive)
        self.connect_ns = nanoseconds(config.connect_timeout)
        self.header_ns = nanoseconds(config.header_timeout)
        self.idle_ns = nanoseconds(config.idle_timeout)
        self.total_ns = nanoseconds(config.timeout)
        self.is_closed = False
        self.ssl_context: ssl.SSLContext | None = None
        self.read_tls()
        self.endpoints = [Endpoint(url, self) for url in config.endpoints]
        health = config.health
        self._watches = [HealthWatch(endpoint, health) for endpoint in self.endpoints] if health is not None else []
        self._next = 0
        self._is_round_robin = config.balance is Balance.ROUND_ROBIN

    def __repr__(self) -> str:
        return f"FleetRuntime({self.config.name}, {self.endpoints})"

    def read_tls(self) -> None:
        """Read the TLS files; connections that are open keep what they began with.

        Raises:
            OSError: a file cannot be used; nothing has changed.
        """
        if any(url.startswith("https") for url in self.config.endpoints):
            self.ssl_context = upstream_context(self.config.tls)

    def dispatch(self, leg: Leg, now_ns: int, *, may_wait: bool = True, wants_fresh: bool = False) -> bool:
        """Give `leg` to an endpoint. False where no endpoint can take it; the leg has then heard nothing."""
        endpoints = self.endpoints
        endpoint = endpoints[0] if len(endpoints) == 1 else self._choose(now_ns, None)
        idle = endpoint.idle
        if idle and not wants_fresh:
            # The common case, written out: two calls less are 0.4 us less, twice a mirrored request.
            connection = idle.pop()
            endpoint.begun += 1
            connection.use(leg)
            leg.on_connection(connection)
            return True
        return endpoint.assign(leg, may_wait=may_wait, wants_fresh=wants_fresh)

    def _choose(self, now_ns: int, apart_from: Endpoint | None) -> Endpoint:
        """The endpoint for the next leg; with all others out those that are evacuated, and with all of them out any (nothing is better than something)."""
        start = self._next = (self._next + 1) % len(self.endpoints)
        in_turn = self.endpoints[start:] + self.endpoints[:start]
        candidates = [endpoint for endpoint in in_turn if endpoint is not apart_from and endpoint.is_available(now_ns)]
        if not candidates:
            others = [endpoint for endpoint in in_turn if endpoint is not apart_from] or in_turn
            candidates = [endpoint for endpoint in others if endpoint.is_well(now_ns)] or others
        chosen = candidates[0]
        if not self._is_round_robin:
            chosen = min(candidates, key=lambda endpoint: endpoint.outstanding + len(endpoint.waiting))
        if chosen.is_evacuated:
            chosen.late += 1
        return chosen

    def reassign(self, leg: Leg, failed: Endpoint, ended: int) -> None:
        """The leg's connection could not be opened in time: nothing was sent, so another endpoint may take it.

        Each endpoint gets one try, and each try the connect timeout.
        """
        if not leg.waits_until_ns:
            return
        now_ns = time.monotonic_ns()
        leg.failed_openings += 1
        has_others = any(endpoint is not failed and endpoint.is_well(now_ns) for endpoint in self.endpoints)
        if has_others and leg.failed_openings < len(self.endpoints):
            leg.waits_until_ns = now_ns + self.connect_ns
            if self._choose(now_ns, failed).assign(leg, may_wait=True, wants_fresh=False):
                return
        leg.waits_until_ns = 0
        leg.on_failure(ended)

    def evacuate(self, out: Collection[tuple[str, str]]) -> dict[str, int]:
        """Give no new request to endpoints with these labels, (label, value) each, as long as there are others.

        What was given to them goes on, and so do connections that are open. `late` counts what they get nevertheless.

        Returns:
            Requests under way by endpoint, of those that are out now.
        """
        labels = {one.endpoint: one for one in self.config.labels}
        under_way: dict[str, int] = {}
        for endpoint in self.endpoints:
            found = labels.get(endpoint.url)
            places = {("cell", found.cell), ("zone", found.zone), ("region", found.region)} if found is not None else set()
            endpoint.is_evacuated = any(bool(value) and (label, value) in out for label, value in places)
            if endpoint.is_evacuated:
                under_way[endpoint.url] = endpoint.outstanding + len(endpoint.waiting)
        return under_way

    def expire_waiting(self, now_ns: int) -> None:
        """Give up waiting that has lasted too long, at every endpoint."""
        for endpoint in self.endpoints:
            if endpoint.waiting:
                endpoint.expire_waiting(now_ns)

    @property
    def is_in_use(self) -> bool:
        """Whether any connection of it is open, or any leg waits for one."""
        return any(endpoint.open or endpoint.opening or endpoint.waiting for endpoint in self.endpoints)

    def start(self) -> None:
        """The fleet is in the config: its health is watched from now on, where that was asked for. Needs the running loop."""
        for watch in self._watches:
            watch.start()

    def close(self) -> None:
        """The fleet has left the config: no connection of it is kept, and its endpoints are checked no more."""
        self.is_closed = True
        for watch in self._watches:
            watch.stop()
        for endpoint in self.endpoints:
            endpoint.close()

    def report(self) -> dict[str, Any]:
        """Per endpoint, for the tally."""
        return {endpoint.url: endpoint.report() for endpoint in self.endpoints}
