"""The process that serves sinks. Control starts it, lends it sockets, and is the reason for it to live.

    python -m shadowproxy.sinks.server --channel FD --lent FD --state FILE --listener NAME=FD ...

Frames are those of workers (`dataplane.messages`); when the channel ends, control is gone and so is this process.

Control to sinks
    config   {config: plain config}                 before it, sockets of new sinks come over `--lent`, each with its sink's name
    items    {id: int, sink, tenant: text, limit: int}
    tenants  {id: int, sink}
    reset    {id: int, sink, tenant}                forget what a tenant has in a sink
    drain    {}                                     finish what is in flight, report, exit 0

Sinks to control
    applied  {problems: {sink: text}}               the config is in force, except that these sinks answer 503
    refused  {problem: text}                        it is not; the one before stays
    counts   every REPORT_S seconds, and before exit: {sinks: {name: {requests: {status: n since the last report}, items: =n, bytes: =n,
             evicted: n, in_flight: =n}}, problem: text of the shelf}
    answer   {id: int, value: any, problem: text}
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import logging
import resource
import signal
import socket
import sys
from typing import TYPE_CHECKING, Any, Final

import uvloop

from shadowproxy.config import from_plain
from shadowproxy.dataplane.messages import Decoder, Message, encode
from shadowproxy.errors import ConfigError, StateError
from shadowproxy.sinks.house import House
from shadowproxy.sinks.shelf import Shelf

if TYPE_CHECKING:
    from collections.abc import Sequence

_log = logging.getLogger("shadowproxy.sinks")

REPORT_S: Final = 1.0
NAME_LIMIT: Final = 256
"""Bytes of a sink's name beside a socket."""


class SinkProcess:
    """The process's life: the channel, and the house behind it.

    Args:
        house: the sinks.
        sockets: listening sockets by sink.
        lent: where sockets of further sinks come from.
    """

    def __init__(self, house: House, sockets: dict[str, socket.socket], lent: socket.socket) -> None:
        self._house = house
        self._sockets = sockets
        self._lent = lent
        self._orders: asyncio.Queue[Message | None] = asyncio.Queue()
        self._writer: asyncio.StreamWriter | None = None

    async def run(self, channel: socket.socket) -> None:
        """Serve until told to drain, or control is gone."""
        reader, writer = await asyncio.open_unix_connection(sock=channel)
        self._writer = writer
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGTERM, self._orders.put_nowait, None)
        reading = loop.create_task(self._read(reader))
        reporting = loop.create_task(self._keep_reporting())
        try:
            while (order := await self._orders.get()) is not None and order["type"] != "drain":
                await self._carry_out(order)
        finally:
            reading.cancel()
            reporting.cancel()
            await self._house.close()
            self._report()
            with contextlib.suppress(OSError):
                writer.close()

    async def _read(self, reader: asyncio.StreamReader) -> None:
        decoder = Decoder()
        try:
            while received := await reader.read(262144):
                for message in decoder.feed(received):
                    self._orders.put_nowait(message)
        except (OSError, ValueError):
            pass
        self._orders.put_nowait(None)

    async def _carry_out(self, order: Message) -> None:
        if order["type"] == "config":
            await self._follow(order)
            return
        losses = self._house.shelf.losses
        try:
            value, problem = self._ask(order), ""
            await self._house.shelf.committed(losses)
        except (StateError, KeyError, ValueError) as error:
            value, problem = None, str(error)
        self._send({"type": "answer", "id": order.get("id", 0), "value": value, "problem": problem})

    async def _follow(self, order: Message) -> None:
        self._take_sockets()
        try:
            config = from_plain(order["config"])
            await self._house.follow(config, self._sockets)
        except (ConfigError, OSError) as error:
            self._send({"type": "refused", "problem": str(error)})
            return
        self._sockets = {name: one for name, one in self._sockets.items() if name in config.sinks}
        problems = {name: front.sink.problem for name, front in self._house.fronts.items() if front.sink.problem}
        self._send({"type": "applied", "problems": problems})

    def _take_sockets(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                name, descriptors, _, _ = socket.recv_fds(self._lent, NAME_LIMIT, 1)
                if not name:
                    return
                for descriptor in descriptors:
                    self._sockets[name.decode()] = socket.socket(fileno=descriptor)

    def _ask(self, order: Message) -> Any:
        shelf, sink = self._house.shelf, str(order["sink"])
        match order["type"]:
            case "items":
                return self._house.contents(sink, str(order["tenant"]), int(order["limit"]))
            case "tenants":
                return shelf.tenants(sink)
            case "reset":
                return shelf.reset(sink, str(order["tenant"]))
        raise ValueError(f"unknown type {order['type']!r}")

    async def _keep_reporting(self) -> None:
        while True:
            await asyncio.sleep(REPORT_S)
            with contextlib.suppress(StateError):
                self._house.shelf.expire()
                await self._house.shelf.committed(self._house.shelf.losses)
            self._report()

    def _report(self) -> None:
        shelf = self._house.shelf
        sinks = {}
        for name, front in self._house.fronts.items():
            items, size = shelf.kept(name)
            requests = {str(status): count for status, count in front.statuses.items()}
            front.statuses.clear()
            evicted = shelf.evicted.pop(name, 0)
            sinks[name] = {"requests": requests, "items": items, "bytes": size, "evicted": evicted, "in_flight": front.in_flight}
        self._send({"type": "counts", "sinks": sinks, "problem": shelf.problem})

    def _send(self, message: Message) -> None:
        if self._writer is not None and not self._writer.is_closing():
            try:
                self._writer.write(encode(message))
            except ValueError:
                self._writer.write(
                    encode({"type": "answer", "id": message.get("id", 0), "value": None, "problem": "too much for one answer"})
                )


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve sinks for control, which passes the file descriptors.

    Returns:
        0 after a drain, or when control is gone; 1 when another process keeps the state.
    """
    parser = argparse.ArgumentParser(prog="shadowproxy.sinks.server")
    parser.add_argument("--channel", type=int, required=True, metavar="FD")
    parser.add_argument("--lent", type=int, required=True, metavar="FD")
    parser.add_argument("--state", required=True, metavar="FILE")
    parser.add_argument("--listener", action="append", default=[], metavar="NAME=FD")
    options = parser.parse_args(arguments)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:  # every worker may have as many connections to a sink as to any endpoint
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for control, which tells us when
    try:
        shelf = Shelf(options.state)
    except StateError as error:
        _log.error("%s", error)
        return 1
    sockets = {name: socket.socket(fileno=int(fd)) for name, _, fd in (text.rpartition("=") for text in options.listener)}
    lent = socket.socket(fileno=options.lent)
    lent.setblocking(False)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(SinkProcess(House(shelf), sockets, lent).run(socket.socket(fileno=options.channel)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
