"""A guarded database, and what every integration of a database library must keep there.

A library is driven by `Library`: functions that run one statement in a given way. Promises are functions of a library and a database.
"""

from __future__ import annotations

from typing import Any, Final, Protocol

import psycopg
import pytest

from shadowproxy.guard import postgres as guards
from shadowproxy.propagate import NOTHING, Carried, carrying, tagged

WRITE: Final = "UPDATE stock SET n = n - 1 WHERE thing = 'lamp'"
READ: Final = "SELECT n FROM stock WHERE thing = 'lamp'"
SHADOWS: Final = "shadow_public"


def guard(dsn: str) -> None:
    """Make a small shop, with shadows."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE TABLE stock (thing text PRIMARY KEY, n int NOT NULL); INSERT INTO stock VALUES ('lamp', 10)")
        connection.execute(guards.setup(guards.Guard(mode="divert")).encode())


def restock(dsn: str) -> None:
    """Put the shop back to how `guard` made it."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("TRUNCATE stock, shadow_public_rows.stock; INSERT INTO stock VALUES ('lamp', 10)")


def lamps(dsn: str) -> int:
    """How many lamps production has."""
    with psycopg.connect(dsn) as connection:
        return int(connection.execute(READ.encode()).fetchall()[0][0])


class Library(Protocol):
    """A pool of one connection, so that each transaction meets what the last one left there."""

    async def alone(self, statement: str) -> Any:
        """Run a statement by itself, and return the first value of what it returns, if anything."""

    async def together(self, *statements: str) -> list[Any]:
        """Run statements in one transaction."""


async def writes_are_diverted_and_read_again(library: Library, dsn: str) -> None:
    """Alone and together; what the tenant wrote it reads, and production does not."""
    with tagged("canary-7"):
        await library.alone(WRITE)
        assert await library.together(WRITE, READ) == [None, 8]
        assert await library.alone(READ) == 8
    assert lamps(dsn) == 10
    with tagged("canary-8"):
        assert await library.alone(READ) == 10


async def the_next_user_of_the_connection_is_production(library: Library, dsn: str) -> None:
    """Whatever the tenant's transaction did, also when it failed."""
    for n in range(4):
        with tagged("canary-7"):
            await library.together(WRITE)
            with pytest.raises(Exception, match="division by zero"):
                await library.together(WRITE, "SELECT 1 / 0")
        assert await library.alone("SELECT coalesce(current_setting('shadowproxy.tenant', true), '')") == ""
        await library.together(WRITE)
        await library.alone(WRITE)
        assert lamps(dsn) == 8 - 2 * n


async def a_savepoint_that_is_rolled_back_keeps_the_tenant(library: Library, dsn: str) -> None:
    """What is rolled back takes settings with it that were made inside."""
    with tagged("canary-7"):
        assert await library.together("SAVEPOINT s", WRITE, "ROLLBACK TO s", WRITE, READ) == [None, None, None, None, 9]
    assert lamps(dsn) == 10


async def a_mirrors_copy_writes_nothing_either(library: Library, dsn: str) -> None:
    """The shadow that works on mirrored requests shares production's database, and does it no harm."""
    with carrying(Carried(mark="orders-1")):
        assert await library.together(WRITE, READ) == [None, 9]
    with carrying(NOTHING):
        assert await library.alone(READ) == 10
    assert lamps(dsn) == 10


PROMISES: Final = (
    writes_are_diverted_and_read_again,
    the_next_user_of_the_connection_is_production,
    a_savepoint_that_is_rolled_back_keeps_the_tenant,
    a_mirrors_copy_writes_nothing_either,
)
