"""All sinks of a config under one roof: built, replaced at a reload, and looked into."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from shadowproxy.errors import ShadowproxyError
from shadowproxy.sinks import strict
from shadowproxy.sinks.front import Front
from shadowproxy.sinks.sink import Sink

if TYPE_CHECKING:
    import socket

    from shadowproxy.config.model import Config
    from shadowproxy.config.sinks import Sink as SinkConfig
    from shadowproxy.sinks.front import Record
    from shadowproxy.sinks.shelf import Item, Shelf
    from shadowproxy.sinks.sink import Responder

_log = logging.getLogger("shadowproxy.sinks")


class House:
    """The sinks that run in this process.

    Args:
        shelf: what they keep.
        record: see `Front`.
    """

    def __init__(self, shelf: Shelf, record: Record | None = None) -> None:
        self.shelf = shelf
        self.fronts: dict[str, Front] = {}
        self._record = record

    def __repr__(self) -> str:
        return f"<House {list(self.fronts)}>"

    async def follow(self, config: Config, sockets: dict[str, socket.socket]) -> None:
        """Put a config in force: sinks that are new begin to listen, those that are gone stop.

        Args:
            config: accepted.
            sockets: listening sockets by name of the sink; one without is not served.
        """
        for name in [name for name in self.fronts if name not in config.sinks]:
            await self.fronts.pop(name).close()
        for name, one in config.sinks.items():
            sink = self._build(config, one)
            if name in self.fronts:
                self.fronts[name].sink = sink
            elif name in sockets:
                self.fronts[name] = front = Front(sink, self._record)
                await front.open(sockets[name])

    async def close(self) -> None:
        """Stop serving, and let go of what is kept."""
        for front in self.fronts.values():
            await front.close()
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
        try:
            responders = list(self._responders(config, one))
        except (ShadowproxyError, OSError) as error:
            problem = str(error)
            _log.error("sink %s: %s", one.name, problem)
        sink = Sink(one, self.shelf, responders)
        sink.problem = problem
        return sink

    def _responders(self, config: Config, one: SinkConfig) -> list[Responder]:
        del config, one
        return []


def _shown(item: Item) -> dict[str, Any]:
    return {
        "collection": item.collection,
        "id": item.id,
        "version": item.version,
        "at": item.at,
        "over_live": item.over_live,
        "value": None if item.body is None else strict.loads(item.body.encode()),
    }
