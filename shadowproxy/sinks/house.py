"""All sinks of a config under one roof: built, replaced at a reload, and looked into."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from shadowproxy.config.sinks import Preset
from shadowproxy.errors import ShadowproxyError
from shadowproxy.sinks import strict
from shadowproxy.sinks.front import Front
from shadowproxy.sinks.live import Live, open_session, source_of
from shadowproxy.sinks.mailbox import Mailbox
from shadowproxy.sinks.payment import Payment
from shadowproxy.sinks.resources import Resources
from shadowproxy.sinks.sink import Sink

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator

    from aiohttp import ClientSession

    from shadowproxy.config.model import Config
    from shadowproxy.config.sinks import Sink as SinkConfig
    from shadowproxy.sinks.front import Record
    from shadowproxy.sinks.live import Source
    from shadowproxy.sinks.shelf import Item, Shelf
    from shadowproxy.sinks.sink import Responder

_log = logging.getLogger("shadowproxy.sinks")


class House:
    """The sinks that run in this process.

    Args:
        shelf: what they keep.
        record: see `Front`.
        is_alone: there is no proxy that asks live where a sink answers 421.
    """

    def __init__(self, shelf: Shelf, record: Record | None = None, *, is_alone: bool = False) -> None:
        self.shelf = shelf
        shelf.is_grouped = True
        self.fronts: dict[str, Front] = {}
        self._record = record
        self._is_alone = is_alone
        self._session: ClientSession | None = None

    def __repr__(self) -> str:
        return f"<House {list(self.fronts)}>"

    async def follow(self, config: Config, sockets: dict[str, socket.socket]) -> None:
        """Put a config in force: sinks that are new begin to listen, those that are gone stop.

        Args:
            config: accepted.
            sockets: listening sockets by name of the sink; one without is not served.
        """
        gone = [name for name in self.fronts if name not in config.sinks]
        await asyncio.gather(*(self.fronts.pop(name).close() for name in gone))
        for name, one in config.sinks.items():
            sink = self._build(config, one)
            if name in self.fronts:
                self.fronts[name].sink = sink
            elif name in sockets:
                self.fronts[name] = front = Front(sink, self._record)
                await front.open(sockets[name])

    async def close(self) -> None:
        """Stop serving, and let go of what is kept."""
        await asyncio.gather(*(front.close() for front in self.fronts.values()))
        if self._session is not None:
            await self._session.close()
        self.shelf.close()

    def contents(self, sink: str, tenant: str, limit: int) -> list[dict[str, Any]]:
        """A tenant's items as documents, the newest first.

        Raises:
            StateError: what is kept cannot be read.
        """
        return [_shown(item) for item in self.shelf.contents(sink, tenant, limit)]

    def _build(self, config: Config, one: SinkConfig) -> Sink:
        responders: list[Responder] = []
        problem = ""
        source = source_of(config, one.name)
        if self._is_alone:
            source = replace(source, is_asked=False)
        try:
            responders = list(self._responders(one, source))
        except (ShadowproxyError, OSError, ImportError, ValueError) as error:
            problem = str(error)
            _log.error("sink %s: %s", one.name, problem)
        sink = Sink(one, self.shelf, responders, is_asked=source.is_asked)
        sink.problem = problem
        return sink

    def _responders(self, one: SinkConfig, source: Source) -> Iterator[Responder]:
        if one.preset is Preset.PAYMENT:
            yield Payment(one.name, self.shelf, is_asked=source.is_asked)
        elif one.preset is not Preset.NONE:
            yield Mailbox(one.name, one.preset, self.shelf, is_asked=source.is_asked)
        document = None
        if one.openapi is not None:
            # Only who uses it needs what it imports: the extra `sinks`.
            from shadowproxy.sinks.openapi import OpenApi  # noqa: PLC0415

            document = OpenApi(one.openapi.file, is_validated=one.openapi.validate and one.resources is None)
            if one.openapi.validate and one.resources is not None:
                yield document.checking()
        if one.resources is not None:
            live = Live(source.fleet, source.rewrite, one.resources.timeout, self._client) if source.fleet is not None else None
            yield Resources(one.name, one.resources, self.shelf, live, is_asked=source.is_asked)
        if document is not None:
            yield document

    def _client(self) -> ClientSession:
        """The HTTP client of the process, opened when the first sink asks live."""
        if self._session is None:
            self._session = open_session()
        return self._session


def _shown(item: Item) -> dict[str, Any]:
    return {
        "collection": item.collection,
        "id": item.id,
        "version": item.version,
        "at": item.at,
        "over_live": item.over_live,
        "value": None if item.body is None else strict.loads(item.body.encode()),
    }
