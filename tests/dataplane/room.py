r"""A worker's data plane without sockets: what crosses its borders is bytes and calls.

    room = Room()
    client, live, shadow = room.client(), room.upstream("live"), room.upstream("shadow")
    client.says(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    live.heard          # what the live endpoint was sent, and forgotten: each byte is seen once
    live.says(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    client.heard

Everything between the transports is the real thing. A fake transport stands for a socket and for nothing else: it keeps
what is written, and says what the test sets. `pass_time` expires what is due by then; nothing waits.
"""

# ruff: noqa: D102  a fake transport has asyncio's methods, which asyncio documents

from __future__ import annotations

import time
from typing import Any, cast

import yaml

from shadowproxy.config import load_text, to_plain
from shadowproxy.config.arms import arms
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.forwarded import networks
from shadowproxy.dataplane.upstream import UpstreamConnection
from shadowproxy.dataplane.worker import Worker

INSTANCE = "0123456789abcdef"
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nDate: now\r\nContent-Length: 2\r\n\r\nok"

MIRRORED: dict[str, Any] = {"name": "all", "live": "live", "mirror": [{"to": "shadow", "percent": 100, "methods": ["GET", "POST"]}]}


class FakeTransport:
    """One end of a connection, as asyncio would show it."""

    def __init__(self, peer: str) -> None:
        self.peer = peer
        self.written = bytearray()
        self.unsent = 0
        self.is_tls = False
        self.has_eof = False
        self.is_closed = False
        self.is_aborted = False
        self.is_reading = True

    def write(self, wire: bytes) -> None:
        assert not self.has_eof, "a write behind the end of the stream"
        if not self.is_closed:
            self.written += wire

    def writelines(self, pieces: list[bytes]) -> None:
        self.write(b"".join(pieces))

    def write_eof(self) -> None:
        self.has_eof = True

    def can_write_eof(self) -> bool:
        return not self.is_tls

    def close(self) -> None:
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = self.is_aborted = True

    def is_closing(self) -> bool:
        return self.is_closed

    def pause_reading(self) -> None:
        assert self.is_reading, "paused twice"
        self.is_reading = False

    def resume_reading(self) -> None:
        assert not self.is_reading, "resumed twice"
        self.is_reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None: ...

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "peername":
            return (self.peer, 5555)
        return object() if name == "ssl_object" and self.is_tls else default


class Side:
    """The world's end of one connection: a client, or an endpoint."""

    def __init__(self, connection: ClientConnection | UpstreamConnection, transport: FakeTransport) -> None:
        self.connection = connection
        self.transport = transport
        connection.connection_made(cast("Any", transport))

    @property
    def heard(self) -> bytes:
        """What was sent to this side since it was last asked."""
        wire = bytes(self.transport.written)
        self.transport.written.clear()
        return wire

    def says(self, *pieces: bytes) -> None:
        """Send bytes, one read each piece."""
        for piece in pieces:
            self.connection.data_received(piece)

    def ends(self) -> None:
        """Send the end of this side's stream."""
        if not self.connection.eof_received():
            self.transport.close()
            self.is_lost()

    def is_lost(self, error: Exception | None = None) -> None:
        """The connection is gone."""
        self.transport.close()
        self.connection.connection_lost(error)

    @property
    def is_over(self) -> bool:
        """Whether the proxy has closed or aborted the connection."""
        return self.transport.is_closed


class Room:
    """One worker with a config. `settings` replaces parts of it."""

    def __init__(self, *routes: dict[str, Any], **settings: Any) -> None:
        self.words = memoryview(bytearray(messages.WORDS * 8)).cast("Q")
        self.worker = Worker(0, self.words)
        self.rows: list[dict[str, Any]] = []
        self.worker.admissions.soon = lambda action: action()
        self.worker.send = self.answer
        self.configure(*routes, **settings)
        self.worker.tick(time.monotonic_ns(), 0)

    def answer(self, message: messages.Message) -> None:
        """Do as control does: rows are durable at once."""
        if message["type"] == "ledger":
            self.rows += message["rows"]
            self.worker.admissions.on_ledger_done({"ids": [row["id"] for row in message["rows"]], "problem": ""})

    def configure(self, *routes: dict[str, Any], **settings: Any) -> None:
        """Apply a config, as a reload does. `told` has the addresses of its sinks, where they are not made up."""
        told = settings.pop("told", {name: f"http://127.0.0.1:{9100 + number}" for number, name in enumerate(settings.get("sinks", ()))})
        plain: dict[str, Any] = {
            "listen": [{"name": "front", "address": "127.0.0.1:1234"}],
            "admin": {"address": "127.0.0.1:1235"},
            "fleets": {"live": {"endpoints": ["http://127.0.0.1:9001"]}, "shadow": {"endpoints": ["http://127.0.0.1:9002"]}},
            "routes": list(routes) or [MIRRORED],
            **settings,
        }
        config = load_text(yaml.safe_dump(plain)).config
        keys = [f"{route.name}/{mirror.name}" for route in config.routes for mirror in arms(route)]
        slots = {key: number for number, key in enumerate(keys, 1)}
        policy = {"type": "policy", "generation": 1, "config": to_plain(config), "slots": slots, "instance": INSTANCE}
        self.worker.configure(policy | {"redaction_key": "5e" * 32, "sinks": told})
        for fleet in self.worker.fleets.values():
            # No connection opens by itself: legs wait in line until `upstream` opens one.
            fleet.max_connections = 0

    def client(self, peer: str = "192.0.2.1", *, is_tls: bool = False) -> Side:
        """A client that has connected."""
        listener = self.worker.config.listen[0]
        transport = FakeTransport(peer)
        transport.is_tls = is_tls
        return Side(ClientConnection(self.worker, listener.name, networks(listener.trusted_proxies)), transport)

    def upstream(self, fleet: str, number: int = 0) -> Side:
        """A connection to an endpoint that has opened: the first leg in line has it, or it is idle."""
        endpoint = self.worker.fleets[fleet].endpoints[number]
        connection = UpstreamConnection(endpoint)
        side = Side(connection, FakeTransport(endpoint.host))
        endpoint.open.add(connection)
        endpoint._serve(connection)
        return side

    def pass_time(self, seconds: float) -> None:
        """What is due within `seconds` from now happens now."""
        now_ns = time.monotonic_ns() + round(seconds * 1e9)
        self.worker.tick(now_ns, 0)

    def fates(self, key: str = "all/shadow") -> dict[str, int]:
        """The mirror's fates since the last report, and the law that they add up."""
        tally = self.worker.tees[key].tally
        reported = tally._reported
        eligible = self.words[tally.word] - reported
        pending = tally.pending
        report = tally.report()
        assert eligible == sum(report["fates"].values()) + pending, report
        tally._reported = reported + sum(report["fates"].values())
        return dict(report["fates"])

    def responses(self, route: str = "all") -> dict[str, int]:
        """The route's outcomes since the last report."""
        return dict(self.worker.route_tallies[route].report()["responses"])
