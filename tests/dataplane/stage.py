r"""A worker without sockets, for what only an exact order of events shows: every transport is a script's.

stage = Stage()
live, shadow = stage.connection("live"), stage.connection("shadow")
client = stage.client()
client.data_received(GET)
live.data_received(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, cast

import yaml

from shadowproxy.config import load_text, to_plain
from shadowproxy.dataplane import messages
from shadowproxy.dataplane.accept import ClientConnection
from shadowproxy.dataplane.upstream import UpstreamConnection
from shadowproxy.dataplane.worker import Worker

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Iterable

GET: Final = b"GET /a HTTP/1.1\r\nHost: h\r\n\r\n"
OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
MIRROR: Final = "all/shadow"


class Pipe:
    """A transport: keeps what is written, and calls `pause_writing` at its mark as asyncio does."""

    def __init__(self, protocol: ClientConnection | UpstreamConnection, high: int = 65536) -> None:
        self.protocol = protocol
        self.high = high
        self.sent = b""
        self.unsent = 0
        self.is_stuck = False
        self.is_reading_paused = False
        self.is_closed = False
        self.is_aborted = False
        self._is_over = False

    def write(self, wire: bytes) -> None:
        """Send, or queue where the peer does not read."""
        self.sent += wire
        if self.is_stuck:
            self.unsent += len(wire)
            if self.unsent > self.high and not self._is_over:
                self._is_over = True
                self.protocol.pause_writing()

    def writelines(self, pieces: Iterable[bytes]) -> None:
        """Send all of them."""
        self.write(b"".join(pieces))

    def drain(self) -> None:
        """The peer has read all there was."""
        self.unsent = 0
        if self._is_over:
            self._is_over = False
            self.protocol.resume_writing()

    def pause_reading(self) -> None:
        """Read no more."""
        self.is_reading_paused = True

    def resume_reading(self) -> None:
        """Read on."""
        self.is_reading_paused = False

    def close(self) -> None:
        """Close behind what is queued."""
        self.is_closed = True

    def abort(self) -> None:
        """Close at once."""
        self.is_closed = self.is_aborted = True

    def write_eof(self) -> None:
        """End our side."""

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self.is_closed

    def can_write_eof(self) -> bool:
        """As TCP can."""
        return True

    def get_write_buffer_size(self) -> int:
        """Bytes queued."""
        return self.unsent

    def get_extra_info(self, name: str) -> object:
        """Only a peer has a name here."""
        return ("192.0.2.7", 5555) if name == "peername" else None


class Stage:
    """One worker with a live and a shadow endpoint that nothing is ever connected to but by hand.

    Args:
        mirror, live, limits: settings of the mirror, the live fleet, and `limits`.
    """

    def __init__(
        self, *, mirror: dict[str, Any] | None = None, live: dict[str, Any] | None = None, limits: dict[str, Any] | None = None
    ) -> None:
        config = {
            "listen": [{"name": "front", "address": "127.0.0.1:1234"}],
            "limits": limits or {},
            "fleets": {
                "live": {"endpoints": ["http://127.0.0.1:9001"], **(live or {})},
                "shadow": {"endpoints": ["http://127.0.0.1:9002"]},
            },
            "routes": [
                {
                    "name": "all",
                    "match": {"path": "/"},
                    "live": "live",
                    "mirror": [{"to": "shadow", "methods": ["GET", "POST"], **(mirror or {})}],
                }
            ],
        }
        self.config = to_plain(load_text(yaml.safe_dump(config)).config)
        self.rows: list[dict[str, Any]] = []
        self.worker = Worker(0, memoryview(bytearray(messages.WORDS * 8)).cast("Q"))
        self.worker.admissions.soon = lambda action: action()
        self.worker.send = self.answer
        self.worker.configure(self.policy(1))
        self.now_ns = time.monotonic_ns()
        self.worker.tick(self.now_ns, 0)

    def answer(self, message: messages.Message) -> None:
        """Do as control does: rows are durable at once."""
        if message["type"] == "ledger":
            self.rows += message["rows"]
            self.worker.admissions.on_ledger_done({"ids": [row["id"] for row in message["rows"]], "problem": ""})

    def policy(self, generation: int, **slots: int) -> messages.Message:
        """A policy message with this stage's config."""
        return {"generation": generation, "config": self.config, "slots": slots or {MIRROR: 1}, "instance": "stage"}

    def connection(self, fleet: str) -> UpstreamConnection:
        """An idle connection to the fleet's endpoint."""
        endpoint = self.worker.fleets[fleet].endpoints[0]
        connection = UpstreamConnection(endpoint)
        connection.connection_made(cast("asyncio.Transport", Pipe(connection, 262144)))
        endpoint.open.add(connection)
        endpoint._serve(connection)
        return connection

    def client(self) -> ClientConnection:
        """A client's connection."""
        client = ClientConnection(self.worker, "front", ())
        client.connection_made(cast("asyncio.Transport", Pipe(client)))
        return client

    def fates(self) -> dict[str, int]:
        """The mirror's fates since the last call, after a check of the conservation law."""
        report = self.worker.report()["mirrors"][MIRROR]
        assert report["eligible"] == sum(report["fates"].values()) + report["pending"], report
        fates: dict[str, int] = report["fates"]
        return fates


def pipe(connection: ClientConnection | UpstreamConnection) -> Pipe:
    """The scripted transport of a connection."""
    return cast("Pipe", connection.transport)
