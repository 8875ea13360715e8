"""Databases to guard."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.guard.shop import SHOP

if TYPE_CHECKING:
    from collections.abc import Callable


NUMBERS = itertools.count()


@pytest.fixture
def shop(database: str) -> str:
    """The DSN of a shop's database without a guard."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SHOP.encode())
    return database


@pytest.fixture
def make_role() -> Callable[[str], str]:
    """Make roles with names of their own, which are the whole server's, in a database."""

    def make(dsn: str) -> str:
        name = f"app_{next(NUMBERS)}"
        with psycopg.connect(dsn, autocommit=True) as connection:
            connection.execute(f"CREATE ROLE {name}".encode())
        return name

    return make
