"""asyncpg, the real one: every way to run a statement."""

from __future__ import annotations

import asyncio
import io
import itertools
import random
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest

from shadowproxy.guard.postgres import REFUSED
from shadowproxy.propagate import NOTHING, carrying, tagged
from shadowproxy.propagate.sql import SqlTenancy
from shadowproxy.propagate.sql_asyncpg import connection_class
from tests.propagate.shadows import PROMISES, READ, SHADOWS, WRITE, Library, lamps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture(params=[SHADOWS, ""], ids=["diverted", "refused"])
def shadows(request: pytest.FixtureRequest) -> str:
    """The shadow schema; none, so that writes of test traffic are refused."""
    return str(request.param)


@pytest.fixture
async def pool(shadows: str, shop: str) -> AsyncIterator[Any]:
    """A pool of one connection."""
    tenancy = SqlTenancy(shadow_schema=shadows)
    async with asyncpg.create_pool(shop, min_size=1, max_size=1, connection_class=connection_class(tenancy)) as made:
        yield made


class Pooled(Library):
    """Statements by a pool of one connection."""

    def __init__(self, pool: Any) -> None:
        self.pool = pool

    async def alone(self, statement: str) -> Any:
        """One."""
        async with self.pool.acquire() as connection:
            return await connection.fetchval(statement)

    async def together(self, *statements: str) -> list[Any]:
        """A transaction."""
        async with self.pool.acquire() as connection, connection.transaction():
            return [await connection.fetchval(statement) for statement in statements]


@pytest.mark.parametrize("shadows", [SHADOWS], indirect=True)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_promises_of_a_library(pool: Any, shop: str, promise: Callable[..., Awaitable[None]]) -> None:
    """What tests/propagate/shadows.py says."""
    await promise(Pooled(pool), shop)


async def _prepared(connection: Any) -> None:
    await (await connection.prepare(WRITE)).fetch()


async def _prepared_many(connection: Any) -> None:
    await (await connection.prepare("UPDATE stock SET n = $1")).executemany([(1,), (2,)])


async def _by_hand(connection: Any) -> None:
    await connection.execute("BEGIN")
    try:
        await connection.execute(WRITE)
    except BaseException:
        await connection.execute("ROLLBACK")
        raise
    await connection.execute("COMMIT")


async def _cursor(connection: Any) -> None:
    async with connection.transaction():
        async for _ in connection.cursor(WRITE + " RETURNING n"):
            pass


async def _read_only_start(connection: Any) -> None:
    async with connection.transaction(isolation="repeatable_read"), connection.transaction():
        await connection.execute(WRITE)


WAYS: dict[str, Callable[[Any], Awaitable[Any]]] = {
    "execute": lambda c: c.execute(WRITE),
    "execute-with-arguments": lambda c: c.execute("UPDATE stock SET n = $1", 3),
    "script": lambda c: c.execute(f"{WRITE}; {WRITE}"),
    "script-with-begin": lambda c: c.execute(f"BEGIN; {WRITE}; COMMIT"),
    "executemany": lambda c: c.executemany("UPDATE stock SET n = $1", [(1,), (2,)]),
    "fetch": lambda c: c.fetch(WRITE + " RETURNING n"),
    "fetchrow": lambda c: c.fetchrow(WRITE + " RETURNING n"),
    "fetchval": lambda c: c.fetchval(WRITE + " RETURNING n"),
    "fetchmany": lambda c: c.fetchmany("UPDATE stock SET n = $1 RETURNING n", [(1,), (2,)]),
    "copy-to-table": lambda c: c.copy_to_table("stock", source=io.BytesIO(b"chair\t5\n")),
    "copy-records": lambda c: c.copy_records_to_table("stock", records=[("chair", 5)]),
    "copy-from-query": lambda c: c.copy_from_query("UPDATE stock SET n = 1 RETURNING n", output=io.BytesIO()),
    "prepared": _prepared,
    "prepared-many": _prepared_many,
    "by-hand": _by_hand,
    "cursor": _cursor,
    "nested": _read_only_start,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.filterwarnings("ignore:there is already a transaction in progress", "ignore:there is no transaction in progress")
async def test_every_way_to_run_a_statement_carries(pool: Any, shadows: str, shop: str, way: str) -> None:
    """In test traffic it is diverted, or refused where no shadow schema is named; the same connection then serves production."""
    async with pool.acquire() as connection:
        with tagged("canary-7"):
            if shadows:
                await WAYS[way](connection)
            else:
                with pytest.raises(asyncpg.PostgresError) as caught:
                    await WAYS[way](connection)
                assert caught.value.sqlstate == REFUSED
            assert not connection.is_in_transaction()
        assert lamps(shop) == 10
        assert await connection.fetchval("SELECT count(*) FROM stock") == 1
        await WAYS[way](connection)
        assert (lamps(shop), await connection.fetchval("SELECT count(*) FROM stock")) != (10, 1)


@pytest.mark.parametrize("shadows", [SHADOWS], indirect=True)
async def test_a_prepared_statement_serves_whoever_runs_it(pool: Any, shop: str) -> None:
    """Prepared by production, run by a tenant, and the other way round; what is no running is asyncpg's own."""
    async with pool.acquire() as connection:
        write, read = await connection.prepare(WRITE), await connection.prepare(READ)
        assert read.get_query() == READ
        for n in range(6):
            with tagged("canary-7"):
                await write.fetch()
                assert await read.fetchval() == 9 - n
            assert await read.fetchval() == lamps(shop) == 10


async def test_tenants_and_production_at_once(shop: str) -> None:
    """Tasks of production and of tenants share a pool at random: production sells exactly what production sold, and each tenant what it sold."""
    tenancy, turns = SqlTenancy(shadow_schema=SHADOWS), 40
    who = ["", "canary-7", "canary-8"] * turns
    random.Random(4).shuffle(who)
    async with asyncpg.create_pool(shop, min_size=3, max_size=3, connection_class=connection_class(tenancy)) as pool:
        await pool.execute("UPDATE stock SET n = 1000")

        async def buy(tenant: str) -> None:
            with tagged(tenant) if tenant else carrying(NOTHING):
                async with pool.acquire() as connection, connection.transaction():
                    await connection.execute("INSERT INTO stock VALUES ($1, 1)", str(next(numbers)))
                    await asyncio.sleep(0)
                    if not tenant:
                        await connection.execute(WRITE)

        numbers = itertools.count()
        await asyncio.gather(*(buy(tenant) for tenant in who))
        assert (lamps(shop), await pool.fetchval("SELECT count(*) FROM stock")) == (1000 - turns, turns + 1)
        for tenant in ("canary-7", "canary-8"):
            with tagged(tenant):
                assert await pool.fetchval("SELECT count(*) FROM stock") == 2 * turns + 1


async def test_comments_are_there_for_test_traffic_only(shop: str) -> None:
    """In pg_stat_activity, where operators look."""
    asked = "SELECT query FROM pg_stat_activity WHERE pid = pg_backend_pid()"
    connection = await asyncpg.connect(shop, connection_class=connection_class(SqlTenancy(comment=True)))
    try:
        assert await connection.fetchval(asked) == asked
        with tagged("canary-7") as carried:
            assert await connection.fetchval(asked) == f"{asked} /*tenant='canary-7',traceparent='{carried.traceparent}'*/"
    finally:
        await connection.close()
