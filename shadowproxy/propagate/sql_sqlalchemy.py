"""SQLAlchemy: engines whose statements belong to the tenant in force, whichever driver is below.

    install(engine)                              an Engine or an AsyncEngine
    install(engine, SqlTenancy(shadow_schema="shadow_public"))

Everything that goes through Connection and Session is covered. What is done with the driver's own connection, which
`raw_connection()` hands out, is not.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from sqlalchemy import event

from shadowproxy.propagate.sql import SqlTenancy, TenancyLost, is_control

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncEngine

_DEFAULT: Final = SqlTenancy()


def install(engine: Engine | AsyncEngine, tenancy: SqlTenancy = _DEFAULT) -> None:
    """Make every statement of test traffic say so. Once for each engine.

    Raises:
        ValueError: the setting is PostgreSQL's, and the engine is another database's.
    """
    sync = cast("Engine", getattr(engine, "sync_engine", engine))
    if tenancy.setting and sync.dialect.name != "postgresql":
        raise ValueError(f"{sync.dialect.name} has no setting for the tenant: SqlTenancy(setting=False, ...)")

    def before_cursor_execute(connection: Connection, _cursor: Any, statement: str, parameters: Any, *_: Any) -> tuple[str, Any]:
        if is_control(statement):
            return statement, parameters
        said = tenancy.statement()
        if said:
            _say(connection, said)
        return tenancy.marked(statement), parameters

    event.listen(sync, "before_cursor_execute", before_cursor_execute, retval=True)


def _say(connection: Connection, said: str) -> None:
    """Set the tenant in the transaction that the statement will be in.

    Raises:
        TenancyLost: there is none.
    """
    if getattr(connection.connection.dbapi_connection, "autocommit", False):
        raise TenancyLost("with AUTOCOMMIT a setting does not last until the statement: use a transaction for test traffic")
    cursor = connection.connection.cursor()
    try:
        cursor.execute(said)
    finally:
        cursor.close()
