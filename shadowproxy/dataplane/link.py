"""The worker's end of the socket to control.

When it ends, control is gone: the worker lets go of its mirrors at once, finishes what is in flight and
exits, so that nothing is left behind that nobody can stop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from shadowproxy.dataplane.messages import Decoder, Message, encode

BACKLOG_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of tallies that may wait for a control process that does not read; beyond it tallies are held back and add up."""


class Link(asyncio.Protocol):
    """Frames to and from control."""

    def __init__(self, on_message: Callable[[Message], None], on_gone: Callable[[], None]) -> None:
        self._on_message = on_message
        self._on_gone = on_gone
        self._decoder = Decoder()
        self._transport: asyncio.Transport = cast("asyncio.Transport", None)

    @property
    def is_backed_up(self) -> bool:
        """Whether control has fallen behind so far that a tally should wait."""
        return self._transport.is_closing() or self._transport.get_write_buffer_size() > BACKLOG_LIMIT

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """The socketpair's end is wrapped."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Frames from control, carried out in order."""
        try:
            messages = self._decoder.feed(data)
        except ValueError:
            self._transport.abort()
            return
        for message in messages:
            self._on_message(message)

    def connection_lost(self, exc: Exception | None) -> None:
        """Control is gone."""
        self._on_gone()

    def send(self, message: Message) -> None:
        """Queue one frame. Never blocks."""
        if not self._transport.is_closing():
            self._transport.write(encode(message))
