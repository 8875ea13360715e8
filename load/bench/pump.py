"""The floor: bytes moved by the socket operations that a mirroring proxy cannot do without.

A request costs a client read, a live write, a shadow write, a live read, a shadow read and a client
write. Each client connection has a live and a shadow connection of its own, kept alive as long as it;
nothing is parsed, counted or looked at. What a real proxy costs above this is what it does.
"""

from __future__ import annotations

import argparse
import asyncio
from functools import partial
from typing import TYPE_CHECKING, cast

import uvloop

from load.bench.origin_server import listening_socket

if TYPE_CHECKING:
    from collections.abc import Sequence


class Leg(asyncio.Protocol):
    """A connection to live: what it reads goes to the client, and waits when the client does."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take over what the client sent meanwhile."""
        self._client.attach(self, cast("asyncio.Transport", transport))

    def data_received(self, data: bytes) -> None:
        """Pass on."""
        self._client.transport.write(data)

    def pause_writing(self) -> None:
        """Live reads slowly: so do we."""
        self._client.transport.pause_reading()

    def resume_writing(self) -> None:
        """Live caught up."""
        self._client.transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """One end is the end."""
        self._client.close()


class ShadowLeg(Leg):
    """A connection to the shadow: what it reads is thrown away, and its slowness is nobody's concern."""

    def data_received(self, data: bytes) -> None:
        """Throw away."""

    def pause_writing(self) -> None:
        """Go on regardless; a scenario's shadow reads everything."""

    def resume_writing(self) -> None:
        """Nothing was paused."""


class Client(asyncio.Protocol):
    """A client connection and its legs."""

    transport: asyncio.Transport

    def __init__(self, live: int, shadow: int | None) -> None:
        self._ports = [(Leg, live), *([(ShadowLeg, shadow)] if shadow else [])]
        self._legs: list[asyncio.Transport] = []
        self._live: asyncio.Transport | None = None
        self._early = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connect the legs."""
        self.transport = cast("asyncio.Transport", transport)
        self._connecting = asyncio.get_running_loop().create_task(self._connect())

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            for kind, port in self._ports:
                await loop.create_connection(partial(kind, self), "127.0.0.1", port)
        except OSError:
            self.close()

    def attach(self, leg: Leg, transport: asyncio.Transport) -> None:
        """A leg is connected; once all are, what the client sent meanwhile is sent on."""
        self._legs.append(transport)
        if type(leg) is Leg:
            self._live = transport
            # The answer may not outrun a client that reads slowly.
            self.transport.set_write_buffer_limits(high=262144)
        if len(self._legs) == len(self._ports) and self._early:
            early, self._early = self._early, b""
            self.data_received(early)

    def data_received(self, data: bytes) -> None:
        """To live, then to the shadow."""
        if len(self._legs) < len(self._ports):
            self._early += data
            return
        for leg in self._legs:
            leg.write(data)

    def pause_writing(self) -> None:
        """The client reads slowly: so do we from live."""
        if self._live:
            self._live.pause_reading()

    def resume_writing(self) -> None:
        """The client caught up."""
        if self._live:
            self._live.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  asyncio's signature
        """The client left."""
        self.close()

    def close(self) -> None:
        """End all three connections."""
        self.transport.close()
        for leg in self._legs:
            leg.close()


async def serve(port: int, live: int, shadow: int | None) -> None:
    """Pump until cancelled."""
    await asyncio.get_running_loop().create_server(lambda: Client(live, shadow), sock=listening_socket(port))
    await asyncio.Event().wait()


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the pump until it is stopped."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--live", type=int, required=True)
    parser.add_argument("--shadow", type=int)
    chosen = parser.parse_args(arguments)
    uvloop.run(serve(chosen.port, chosen.live, chosen.shadow))


if __name__ == "__main__":
    main()
