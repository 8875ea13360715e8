"""Epochs of armed runs: they rise, and none is ever used again.

Store and journal each know the last one, so that either may be lost, and neither can hold an experiment up for longer than STORE_S.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import StateError

if TYPE_CHECKING:
    from shadowproxy.store import Store

_log = logging.getLogger("shadowproxy.control")

STORE_S: Final = 1.0
"""How long the store may take for an epoch; the journal has it as well."""

KEY: Final = "experiments.epoch"


class Epochs:
    """Counts the armings of an instance, over restarts.

    Args:
        store: keeps the last one.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._last = 0

    def __repr__(self) -> str:
        return f"<Epochs last={self._last}>"

    async def restore(self, journaled: int) -> None:
        """Go on after the last one of store and journal, of which the journal's is handed over."""
        self._last = max(self._last, journaled, await self._stored())

    async def take(self) -> int:
        """The next one. The store has it before this returns, unless it does not work."""
        epoch = self._last = self._last + 1
        try:
            async with asyncio.timeout(STORE_S):
                await self._store.put(KEY, str(epoch))
        except (StateError, TimeoutError) as error:
            _log.error("epoch %d is in the journal alone: %s", epoch, error)
        return epoch

    async def _stored(self) -> int:
        try:
            async with asyncio.timeout(STORE_S):
                return int(await self._store.get(KEY) or 0)
        except (StateError, TimeoutError, ValueError) as error:
            _log.error("the epoch of experiments is taken from the journal alone: %s", error)
            return 0
