"""What the tests of integrations share: the origin that services and clients call."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.kit import Origin
from tests.propagate import shadows as guarded

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.kit.postgres import PostgresServer


@pytest.fixture
def origin() -> Iterator[Origin]:
    """A recording origin; what arrived there must have been lawful."""
    origin = Origin("down")
    try:
        yield origin
        assert origin.problems() == []
    finally:
        origin.stop()


@pytest.fixture(scope="session")
def guarded_shop(postgres: PostgresServer) -> str:
    """A database with a guard."""
    dsn = postgres.create()
    guarded.guard(dsn)
    return dsn


@pytest.fixture
def shop(guarded_shop: str) -> str:
    """The same, with what it had at first."""
    guarded.restock(guarded_shop)
    return guarded_shop
