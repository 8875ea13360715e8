"""psycopg 3, the real one, in both forms: every way to run a statement."""

from __future__ import annotations

import inspect
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import sql

from shadowproxy.guard.postgres import REFUSED
from shadowproxy.propagate import tagged
from shadowproxy.propagate.sql import SqlTenancy, TenancyLost
from shadowproxy.propagate.sql_psycopg import AsyncCarryingCursor, CarryingCursor, async_connection_class, connection_class
from tests.propagate.shadows import PROMISES, READ, SHADOWS, WRITE, Library, lamps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable


@pytest.fixture(params=[SHADOWS, ""], ids=["diverted", "refused"])
def shadows(request: pytest.FixtureRequest) -> str:
    """The shadow schema; none, so that writes of test traffic are refused."""
    return str(request.param)


@pytest.fixture(params=[True, False], ids=["autocommit", "transactions"])
def autocommit(request: pytest.FixtureRequest) -> bool:
    """Whether a statement is a transaction of its own."""
    return bool(request.param)


@pytest.fixture(params=["sync", "async"])
async def connection(request: pytest.FixtureRequest, shadows: str, autocommit: bool, shop: str) -> AsyncIterator[Any]:
    """A connection, as long-lived as one of a pool."""
    tenancy = SqlTenancy(shadow_schema=shadows)
    if request.param == "sync":
        with connection_class(tenancy).connect(shop, autocommit=autocommit) as made:
            yield made
    else:
        async with await async_connection_class(tenancy).connect(shop, autocommit=autocommit) as made_async:
            yield made_async


async def done(result: Any) -> Any:
    """What a function of either form returns in the end."""
    return await result if inspect.isawaitable(result) else result


@asynccontextmanager
async def within(block: Any) -> AsyncIterator[Any]:
    """A block of either form."""
    if hasattr(block, "__aenter__"):
        async with block as entered:
            yield entered
    else:
        with block as entered:
            yield entered


async def listed(rows: Any) -> list[Any]:
    """What either form of iterator gives."""
    return [row async for row in rows] if hasattr(rows, "__aiter__") else list(rows)


class Connected(Library):
    """Statements by one connection."""

    def __init__(self, connection: Any) -> None:
        self.connection = connection

    async def alone(self, statement: str) -> Any:
        """One."""
        found = await self._first(statement)
        await done(self.connection.commit())
        return found

    async def together(self, *statements: str) -> list[Any]:
        """A transaction."""
        async with within(self.connection.transaction()):
            return [await self._first(statement) for statement in statements]

    async def _first(self, statement: str) -> Any:
        cursor = await done(self.connection.execute(statement))
        return (await done(cursor.fetchone()))[0] if cursor.description else None


@pytest.mark.parametrize("shadows", [SHADOWS], indirect=True)
@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_promises_of_a_library(connection: Any, shop: str, promise: Callable[..., Awaitable[None]]) -> None:
    """What tests/propagate/shadows.py says."""
    await promise(Connected(connection), shop)


async def _copy(connection: Any) -> None:
    async with within(connection.cursor().copy("COPY stock FROM STDIN")) as copy:
        await done(copy.write(b"chair\t5\n"))


async def _transaction(connection: Any) -> None:
    async with within(connection.transaction()), within(connection.transaction()):
        await done(connection.execute(WRITE))


async def _by_hand(connection: Any) -> None:
    await done(connection.execute("BEGIN"))
    try:
        await done(connection.execute(WRITE))
    except BaseException:
        await done(connection.execute("ROLLBACK"))
        raise
    await done(connection.execute("COMMIT"))


WAYS: dict[str, Callable[[Any], Any]] = {
    "execute": lambda c: c.execute(WRITE),
    "execute-bytes": lambda c: c.execute(WRITE.encode()),
    "execute-composed": lambda c: c.execute(sql.SQL("UPDATE {} SET n = %s").format(sql.Identifier("stock")), [4]),
    "execute-prepared": lambda c: c.execute("UPDATE stock SET n = %s", [3], prepare=True),
    "execute-binary": lambda c: c.execute(WRITE + " RETURNING n", binary=True),
    "script": lambda c: c.execute(f"{WRITE}; {WRITE}"),
    "cursor": lambda c: c.cursor().execute(WRITE),
    "executemany": lambda c: c.cursor().executemany("UPDATE stock SET n = %s", [(1,), (2,)]),
    "stream": lambda c: listed(c.cursor().stream(WRITE + " RETURNING n")),
    "copy": _copy,
    "transaction": _transaction,
    "by-hand": _by_hand,
}


@pytest.mark.parametrize("way", WAYS)
async def test_every_way_to_run_a_statement_carries(connection: Any, shadows: str, shop: str, way: str) -> None:
    """In test traffic it is diverted, or refused where no shadow schema is named; the same connection then serves production."""
    with tagged("canary-7"):
        if shadows:
            await done(WAYS[way](connection))
            await done(connection.commit())
        else:
            with pytest.raises(psycopg.Error) as caught:
                await done(WAYS[way](connection))
            assert caught.value.sqlstate == REFUSED
            await done(connection.rollback())
    assert (lamps(shop), await _count(connection)) == (10, 1)
    await done(connection.commit())
    await done(WAYS[way](connection))
    await done(connection.commit())
    assert (lamps(shop), await _count(connection)) != (10, 1)


async def _count(connection: Any) -> int:
    cursor = await done(connection.execute("SELECT count(*) FROM stock"))
    return int((await done(cursor.fetchone()))[0])


@pytest.mark.parametrize(("shadows", "autocommit"), [(SHADOWS, False)], indirect=True)
async def test_server_side_cursors_carry(connection: Any) -> None:
    """Reading by a named cursor sees the tenant's rows."""
    with tagged("canary-7"):
        await done(connection.execute(WRITE))
        async with within(connection.cursor("named")) as cursor:
            await done(cursor.execute(READ))
            assert await done(cursor.fetchall()) == [(9,)]


@pytest.mark.parametrize(("shadows", "autocommit"), [(SHADOWS, True)], indirect=True)
async def test_a_failed_transaction_can_be_ended(connection: Any, shop: str) -> None:
    """ROLLBACK, and back to a savepoint, go through although nothing else does."""
    with tagged("canary-7"):
        for statement in ("BEGIN", "SAVEPOINT s"):
            await done(connection.execute(statement))
        with pytest.raises(psycopg.errors.DivisionByZero):
            await done(connection.execute("SELECT 1 / 0"))
        for statement in ("ROLLBACK TO s", WRITE, "COMMIT"):
            await done(connection.execute(statement))
    assert lamps(shop) == 10


@pytest.mark.parametrize(("shadows", "autocommit"), [(SHADOWS, True)], indirect=True)
async def test_cursors_that_do_not_carry_are_not_handed_out(connection: Any) -> None:
    """A class that the service brings along needs ours before it; without it production gets cursors, and test traffic an error."""
    is_async = isinstance(connection, psycopg.AsyncConnection)
    own: Any = psycopg.AsyncClientCursor if is_async else psycopg.ClientCursor
    ours: Any = AsyncCarryingCursor if is_async else CarryingCursor
    connection.cursor_factory = own
    connection.cursor()
    with tagged("canary-7"):
        with pytest.raises(TenancyLost, match="does not carry the tenant"):
            connection.cursor()
        connection.cursor_factory = type("Both", (ours, own), {})
        await done(connection.execute(WRITE))
        cursor = await done(connection.execute(READ))
        assert await done(cursor.fetchone()) == (9,)


@pytest.mark.parametrize(
    "query",
    [
        b"SELECT %s, query FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        sql.SQL("SELECT %s, query FROM pg_stat_activity WHERE pid = pg_backend_pid()"),
    ],
)
def test_comments_are_there_for_test_traffic_only(shop: str, query: Any) -> None:
    """In pg_stat_activity, where operators look, whatever form the query has."""
    with connection_class(SqlTenancy(comment=True, shardingsphere=True)).connect(shop) as connection:
        assert "/*" not in connection.execute(query, ["50 %"]).fetchall()[0][1]
        connection.commit()  # what pg_stat_activity said stays for the transaction
        with tagged("canary-7"):
            found = connection.execute(query, ["50 %"]).fetchall()[0]
    assert found[0] == "50 %"
    assert found[1].startswith("/* SHARDINGSPHERE_HINT: SHADOW=true */ SELECT")
    assert "/*tenant='canary-7',traceparent='00-" in found[1]
