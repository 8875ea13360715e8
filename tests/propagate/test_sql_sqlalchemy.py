"""SQLAlchemy, the real one: engines over psycopg and asyncpg, sessions, and what must not be lost."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import sqlalchemy
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from shadowproxy.propagate import tagged
from shadowproxy.propagate.sql import SqlTenancy, TenancyLost
from shadowproxy.propagate.sql_sqlalchemy import install
from tests.propagate.shadows import PROMISES, READ, SHADOWS, WRITE, Library, lamps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

DIVERTING = SqlTenancy(shadow_schema=SHADOWS)


class Base(DeclarativeBase):
    """What is mapped."""


class Stock(Base):
    """A row of the shop."""

    __tablename__ = "stock"
    thing: Mapped[str] = mapped_column(primary_key=True)
    n: Mapped[int]


class SyncEngine(Library):
    """Statements by an engine with a pool of one connection."""

    def __init__(self, engine: sqlalchemy.Engine) -> None:
        self.engine = engine

    async def alone(self, statement: str) -> Any:
        """One."""
        return (await self.together(statement))[0]

    async def together(self, *statements: str) -> list[Any]:
        """A transaction."""
        with self.engine.begin() as connection:
            return [_first(connection.execute(sqlalchemy.text(statement))) for statement in statements]


class AsyncEngine(Library):
    """The same with asyncio."""

    def __init__(self, engine: Any) -> None:
        self.engine = engine

    async def alone(self, statement: str) -> Any:
        """One."""
        return (await self.together(statement))[0]

    async def together(self, *statements: str) -> list[Any]:
        """A transaction."""
        async with self.engine.begin() as connection:
            return [_first(await connection.execute(sqlalchemy.text(statement))) for statement in statements]


def _first(result: Any) -> Any:
    return result.scalar() if result.returns_rows else None


@pytest.fixture(params=["psycopg", "psycopg-async", "asyncpg"])
async def library(request: pytest.FixtureRequest, shop: str) -> AsyncIterator[Library]:
    """An engine of each driver."""
    if request.param == "psycopg":
        engine = sqlalchemy.create_engine(shop.replace("postgresql", "postgresql+psycopg"), pool_size=1, max_overflow=0)
        install(engine, DIVERTING)
        yield SyncEngine(engine)
        engine.dispose()
    else:
        driver = request.param.removesuffix("-async")
        async_engine = create_async_engine(shop.replace("postgresql", f"postgresql+{driver}"), pool_size=1, max_overflow=0)
        install(async_engine, DIVERTING)
        yield AsyncEngine(async_engine)
        await async_engine.dispose()


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_the_promises_of_a_library(library: Library, shop: str, promise: Callable[..., Awaitable[None]]) -> None:
    """What tests/propagate/shadows.py says."""
    await promise(library, shop)


def test_sessions_work_on_shadows(shop: str) -> None:
    """The mapper inserts, changes, deletes, nests and reads back; production stays as it is."""
    engine = sqlalchemy.create_engine(shop.replace("postgresql", "postgresql+psycopg"))
    install(engine, DIVERTING)
    with tagged("canary-7"), Session(engine) as session:
        session.add_all([Stock(thing=f"chair{n}", n=n) for n in range(3)])
        session.commit()
        lamp = session.get_one(Stock, "lamp", with_for_update=True)
        lamp.n -= 1
        with session.begin_nested():
            session.delete(session.get_one(Stock, "chair0"))
        session.flush()
        assert list(session.scalars(sqlalchemy.select(Stock.n).order_by(Stock.thing))) == [1, 2, 9]
        session.execute(sqlalchemy.update(Stock).values(n=Stock.n + 1))
        session.commit()
        assert list(session.scalars(sqlalchemy.select(Stock.n).order_by(Stock.thing))) == [2, 3, 10]
    with Session(engine) as session:
        assert [(row.thing, row.n) for row in session.scalars(sqlalchemy.select(Stock))] == [("lamp", 10)]
    engine.dispose()


async def test_async_sessions_work_on_shadows(shop: str) -> None:
    """The same with asyncpg below."""
    engine = create_async_engine(shop.replace("postgresql", "postgresql+asyncpg"))
    install(engine, DIVERTING)
    with tagged("canary-7"):
        async with AsyncSession(engine) as session:
            session.add(Stock(thing="chair", n=1))
            (await session.get_one(Stock, "lamp")).n -= 1
            await session.commit()
            assert list(await session.scalars(sqlalchemy.select(Stock.n).order_by(Stock.thing))) == [1, 9]
    assert lamps(shop) == 10
    await engine.dispose()


def test_autocommit_is_refused_in_test_traffic(shop: str) -> None:
    """A setting that does not last until the statement protects nobody: the statement is not sent."""
    engine = sqlalchemy.create_engine(shop.replace("postgresql", "postgresql+psycopg"), isolation_level="AUTOCOMMIT")
    install(engine)
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text(WRITE))
        with tagged("canary-7"), pytest.raises(TenancyLost, match="AUTOCOMMIT"):
            connection.execute(sqlalchemy.text(WRITE))
    assert lamps(shop) == 9
    engine.dispose()


def test_other_databases_get_comments_only() -> None:
    """The setting is PostgreSQL's; tags and the hint go anywhere."""
    engine = sqlalchemy.create_engine("sqlite://")
    with pytest.raises(ValueError, match="sqlite has no setting"):
        install(engine)
    install(engine, SqlTenancy(setting=False, comment=True, shardingsphere=True))
    sent: list[str] = []
    sqlalchemy.event.listen(engine, "after_cursor_execute", lambda *call: sent.append(call[2]))
    with engine.connect() as connection:
        connection.execute(sqlalchemy.text("SELECT 1"))
        with tagged("canary-7") as carried:
            connection.execute(sqlalchemy.text("SELECT 1"))
    assert sent == [
        "SELECT 1",
        f"/* SHARDINGSPHERE_HINT: SHADOW=true */ SELECT 1 /*tenant='canary-7',traceparent='{carried.traceparent}'*/",
    ]
    engine.dispose()


async def test_the_example_of_the_documentation(shop: str) -> None:
    """As it stands in docs/guard-postgres.md: a pool of each library, and no lamp of production's is sold by tests."""
    text = (Path(__file__).parents[2] / "docs" / "guard-postgres.md").read_text()
    names: dict[str, Any] = {"__name__": "example"}
    exec(re.findall(r"```python\n(.*?)```", text, re.DOTALL)[0], names)
    with tagged("canary-7"):
        with names["pool"](shop) as pool, pool.connection() as connection:
            connection.execute(WRITE)
        engine = names["engine"](shop.replace("postgresql", "postgresql+psycopg"))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(WRITE))
        engine.dispose()
        async with await names["serve"](shop) as pool:
            await pool.execute(WRITE)
            assert await pool.fetchval(READ) == 7
    assert lamps(shop) == 10
