"""psycopg 3: connections whose statements belong to the tenant in force.

    with connection_class().connect(dsn) as connection: ...
    pool = ConnectionPool(dsn, connection_class=connection_class())
    pool = AsyncConnectionPool(dsn, connection_class=async_connection_class())

With autocommit each statement of test traffic gets a transaction of its own. Scripts that end their own transaction
(`COMMIT` between other statements) leave the tenant behind: use `transaction()`. A cursor class of your own must
have CarryingCursor (AsyncCarryingCursor) before psycopg's, or test traffic gets no cursor at all.
"""

from __future__ import annotations

from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING, Any, Final, cast

import psycopg
from psycopg.pq import TransactionStatus

from shadowproxy.propagate.sql import SqlTenancy, TenancyLost, is_control

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

_DEFAULT: Final = SqlTenancy()


def connection_class(tenancy: SqlTenancy = _DEFAULT) -> type[psycopg.Connection[Any]]:
    """The class whose `connect` makes connections that carry, and which pools take. Comments do not reach server-side cursors."""
    return type("Connection", (Connection,), {"tenancy": tenancy})


def async_connection_class(tenancy: SqlTenancy = _DEFAULT) -> type[psycopg.AsyncConnection[Any]]:
    """The same for asyncio."""
    return type("AsyncConnection", (AsyncConnection,), {"tenancy": tenancy})


class CarryingCursor:
    """What makes a cursor's statements the tenant's; stands before psycopg's class."""

    connection: Any

    def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        with self._tenancy(query):
            return super().execute(_marked(self, query), *args, **options)  # type: ignore[misc]  # of the class behind

    def executemany(self, query: Any, *args: Any, **options: Any) -> None:
        """As the tenant in force."""
        with self._tenancy(query):
            super().executemany(_marked(self, query), *args, **options)  # type: ignore[misc]  # of the class behind

    def stream(self, query: Any, *args: Any, **options: Any) -> Iterator[Any]:
        """As the tenant in force."""
        with self._tenancy(query):
            yield from super().stream(_marked(self, query), *args, **options)  # type: ignore[misc]  # of the class behind

    @contextmanager
    def copy(self, statement: Any, *args: Any, **options: Any) -> Iterator[psycopg.Copy]:
        """As the tenant in force."""
        with self._tenancy(statement), super().copy(_marked(self, statement), *args, **options) as copy:  # type: ignore[misc]  # as above
            yield copy

    @contextmanager
    def _tenancy(self, query: Any) -> Iterator[None]:
        said = _said(self, query)
        if not said:
            yield
        elif _is_alone(self.connection):
            with self.connection.transaction():
                psycopg.Cursor(self.connection).execute(said)
                yield
        else:
            psycopg.Cursor(self.connection).execute(said)
            yield


class AsyncCarryingCursor:
    """The same for asyncio."""

    connection: Any

    async def execute(self, query: Any, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        async with self._tenancy(query):
            return await super().execute(_marked(self, query), *args, **options)  # type: ignore[misc]  # of the class behind

    async def executemany(self, query: Any, *args: Any, **options: Any) -> None:
        """As the tenant in force."""
        async with self._tenancy(query):
            await super().executemany(_marked(self, query), *args, **options)  # type: ignore[misc]  # of the class behind

    async def stream(self, query: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """As the tenant in force."""
        async with self._tenancy(query):
            async for row in super().stream(_marked(self, query), *args, **options):  # type: ignore[misc]  # of the class behind
                yield row

    @asynccontextmanager
    async def copy(self, statement: Any, *args: Any, **options: Any) -> AsyncIterator[psycopg.AsyncCopy]:
        """As the tenant in force."""
        async with self._tenancy(statement), super().copy(_marked(self, statement), *args, **options) as copy:  # type: ignore[misc]  # as above
            yield copy

    @asynccontextmanager
    async def _tenancy(self, query: Any) -> AsyncIterator[None]:
        said = _said(self, query)
        if not said:
            yield
        elif _is_alone(self.connection):
            async with self.connection.transaction():
                await psycopg.AsyncCursor(self.connection).execute(said)
                yield
        else:
            await psycopg.AsyncCursor(self.connection).execute(said)
            yield


class _Cursor(CarryingCursor, psycopg.Cursor[Any]):
    pass


class _ServerCursor(CarryingCursor, psycopg.ServerCursor[Any]):
    pass


class _AsyncCursor(AsyncCarryingCursor, psycopg.AsyncCursor[Any]):
    pass


class _AsyncServerCursor(AsyncCarryingCursor, psycopg.AsyncServerCursor[Any]):
    pass


class Connection(psycopg.Connection[Any]):
    """A connection that carries."""

    tenancy = _DEFAULT

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = _Cursor
        self.server_cursor_factory = _ServerCursor

    def cursor(self, *args: Any, **options: Any) -> Any:
        """A cursor that carries.

        Raises:
            TenancyLost: in test traffic, when the connection was given a cursor class that does not.
        """
        return _carrying(self.tenancy, super().cursor(*args, **options), CarryingCursor)


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """The same for asyncio."""

    tenancy = _DEFAULT

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.cursor_factory = _AsyncCursor
        self.server_cursor_factory = _AsyncServerCursor

    def cursor(self, *args: Any, **options: Any) -> Any:
        """A cursor that carries.

        Raises:
            TenancyLost: in test traffic, when the connection was given a cursor class that does not.
        """
        return _carrying(self.tenancy, super().cursor(*args, **options), AsyncCarryingCursor)


def _carrying(tenancy: SqlTenancy, cursor: Any, wanted: type) -> Any:
    if not isinstance(cursor, wanted) and tenancy.tenant():
        raise TenancyLost(f"{type(cursor).__name__} does not carry the tenant: put {wanted.__name__} before its classes")
    return cursor


def _said(cursor: Any, query: Any) -> str:
    tenancy = cast("SqlTenancy", cursor.connection.tenancy)
    return "" if is_control(_text(cursor, query)) else tenancy.statement()


def _marked(cursor: Any, query: Any) -> Any:
    tenancy = cast("SqlTenancy", cursor.connection.tenancy)
    if not (tenancy.comment or tenancy.shardingsphere) or not tenancy.tenant():
        return query
    text = _text(cursor, query)
    return query if is_control(text) else tenancy.marked(text)


def _text(cursor: Any, query: Any) -> str:
    if isinstance(query, str):
        return query
    return query.decode() if isinstance(query, bytes) else str(query.as_string(cursor.connection))


def _is_alone(connection: Any) -> bool:
    """Whether a statement would be a transaction of its own."""
    return bool(connection.autocommit) and connection.info.transaction_status == TransactionStatus.IDLE
