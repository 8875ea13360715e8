"""Durable state behind one small interface.

`open_store` picks the implementation by the URL of the config's `state`. Every call is
awaited and bounded in time, whatever the disk does; a store that does not work says so
in `problem` and is tried again at the next call.
"""

from __future__ import annotations

from typing import Protocol

from shadowproxy.errors import StateError
from shadowproxy.store.sqlite import SqliteStore, path_of

__all__ = ["Store", "open_store", "path_of"]


class Store(Protocol):
    """What control needs of durable state."""

    @property
    def problem(self) -> str:
        """Why the store does not work at the moment; empty when it does."""

    async def get(self, key: str) -> str | None:
        """The value of `key`; None when there is none.

        Raises:
            StateError: the store does not work.
        """

    async def put(self, key: str, value: str) -> None:
        """Set `key`, durably: once this returned it survives any crash.

        Raises:
            StateError: the store does not work, or its queue is full.
        """

    async def close(self) -> None:
        """Finish what is queued, within a bounded time, and let go of the store."""


def open_store(url: str) -> Store:
    """The store that `url` names: `sqlite:///relative.db` or `sqlite:////absolute.db`. Never blocks, never fails for what is on the disk.

    Raises:
        StateError: the URL is of no kind that can be opened.
    """
    if url.startswith("sqlite:"):
        return SqliteStore(path_of(url))
    scheme = url.partition(":")[0]
    raise StateError(f"state {scheme}: only sqlite:///FILE can hold the state")
