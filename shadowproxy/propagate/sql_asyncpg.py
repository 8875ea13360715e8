"""asyncpg: connections whose statements belong to the tenant in force.

    pool = await asyncpg.create_pool(dsn, connection_class=connection_class())

Outside of a transaction each statement of test traffic gets one of its own. Scripts that end their own transaction
(`COMMIT` between other statements) leave the tenant behind: use `transaction()`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Final

import asyncpg
from asyncpg.transaction import Transaction

from shadowproxy.propagate.sql import SqlTenancy, is_control

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_DEFAULT: Final = SqlTenancy()

_RUN: Final = ("fetch", "fetchmany", "fetchrow", "fetchval", "executemany")
"""Methods of prepared statements that run them."""


def connection_class(tenancy: SqlTenancy = _DEFAULT) -> type[Connection]:
    """The class to give to `asyncpg.connect` and `asyncpg.create_pool`.

    Args:
        tenancy: what statements say. Comments do not reach prepared statements and COPY of tables.
    """
    return type("Connection", (Connection,), {"__slots__": (), "tenancy": tenancy})


class Connection(asyncpg.Connection):
    """A connection that carries."""

    __slots__ = ()
    tenancy: ClassVar[SqlTenancy] = _DEFAULT

    async def execute(self, query: str, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().execute, query, *args, **options)

    async def executemany(self, command: str, args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().executemany, command, args, **options)

    async def fetch(self, query: str, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().fetch, query, *args, **options)

    async def fetchmany(self, query: str, args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().fetchmany, query, args, **options)

    async def fetchrow(self, query: str, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().fetchrow, query, *args, **options)

    async def fetchval(self, query: str, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().fetchval, query, *args, **options)

    async def copy_from_query(self, query: str, *args: Any, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._as_tenant(super().copy_from_query, query, *args, **options)

    async def copy_from_table(self, table_name: str, **options: Any) -> Any:
        """As the tenant in force. With the shadow schema it fails: PostgreSQL copies views by query only."""
        return await self._in_tenancy(lambda: super(Connection, self).copy_from_table(table_name, **options))

    async def copy_to_table(self, table_name: str, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._in_tenancy(lambda: super(Connection, self).copy_to_table(table_name, **options))

    async def copy_records_to_table(self, table_name: str, **options: Any) -> Any:
        """As the tenant in force."""
        return await self._in_tenancy(lambda: super(Connection, self).copy_records_to_table(table_name, **options))

    async def prepare(self, *args: Any, **options: Any) -> Any:
        """A statement that is run as the tenant in force at the time."""
        return Statement(self, await self._in_tenancy(lambda: super(Connection, self).prepare(*args, **options)))

    def transaction(self, *, isolation: Any = None, readonly: bool = False, deferrable: bool = False) -> Transaction:
        """A transaction of the tenant in force when it starts, and of those in force at its statements: cursors have none of their own."""
        return _Transaction(self, isolation, readonly, deferrable)

    async def _as_tenant(self, run: Callable[..., Awaitable[Any]], query: str, *args: Any, **options: Any) -> Any:
        if is_control(query):
            return await run(query, *args, **options)
        return await self._in_tenancy(lambda: run(self.tenancy.marked(query), *args, **options))

    async def _in_tenancy(self, run: Callable[[], Awaitable[Any]]) -> Any:
        said = self.tenancy.statement()
        if not said:
            return await run()
        if self.is_in_transaction():
            await super().execute(said)
            return await run()
        async with super().transaction():
            await super().execute(said)
            return await run()


class Statement:
    """A prepared statement: what runs it does so as the tenant in force; the rest is asyncpg's."""

    def __init__(self, connection: Connection, prepared: Any) -> None:
        self._connection = connection
        self._prepared = prepared

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._prepared, name)
        if name not in _RUN:
            return found

        async def run(*args: Any, **options: Any) -> Any:
            return await self._connection._in_tenancy(lambda: found(*args, **options))  # noqa: SLF001  the same module

        return run


class _Transaction(Transaction):
    """A transaction that is the tenant's from its start."""

    def __init__(self, connection: Connection, *options: Any) -> None:
        super().__init__(connection, *options)
        self._carrying = connection

    async def start(self) -> None:
        await super().start()
        said = self._carrying.tenancy.statement()
        if said:
            await asyncpg.Connection.execute(self._carrying, said)
