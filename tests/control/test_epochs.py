"""Epochs rise, whatever is lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from shadowproxy.control import epochs as module
from shadowproxy.control.epochs import KEY, Epochs
from shadowproxy.errors import StateError
from shadowproxy.store import open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from shadowproxy.store import Store


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    """An empty one."""
    opened = open_store(f"sqlite:///{tmp_path / 'state.db'}")
    yield opened
    await opened.close()


async def test_they_rise_over_restarts(store: Store) -> None:
    """From what the store knows, or the journal, whichever is more."""
    first = Epochs(store)
    await first.restore(0)
    assert [await first.take() for _ in range(3)] == [1, 2, 3]
    again = Epochs(store)
    await again.restore(1)
    assert await again.take() == 4
    of_journal = Epochs(store)
    await of_journal.restore(9)
    assert await of_journal.take() == 10
    assert await store.get(KEY) == "10"
    assert "last=10" in repr(of_journal)


@pytest.mark.parametrize("how", ["broken", "slow", "nonsense"])
async def test_a_store_that_does_not_work_holds_nothing_up(store: Store, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    """What the journal knows is enough."""

    async def answer(*_: object) -> str:
        if how == "broken":
            raise StateError("gone")
        if how == "slow":
            await asyncio.sleep(3600)
        return "many"

    monkeypatch.setattr(module, "STORE_S", 0.01)
    monkeypatch.setattr(store, "get", answer)
    monkeypatch.setattr(store, "put", answer)
    epochs = Epochs(store)
    await epochs.restore(7)
    assert await epochs.take() == 8
