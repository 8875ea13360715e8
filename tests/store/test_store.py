"""Opening a store by its URL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.errors import StateError
from shadowproxy.store import Store, open_store

if TYPE_CHECKING:
    from pathlib import Path


async def test_sqlite_is_opened_lazily(tmp_path: Path) -> None:
    """Opening touches nothing on the disk; closing what was never used is fine."""
    store: Store = open_store(f"sqlite:///{tmp_path / 's.db'}")
    assert not store.problem
    assert list(tmp_path.iterdir()) == []
    await store.close()


def test_other_kinds_are_refused_by_name() -> None:
    """The message says what can hold the state."""
    with pytest.raises(StateError, match="state redis: only sqlite"):
        open_store("redis://127.0.0.1/0")
