"""Looks for tokens in SQL databases: every column that can hold text, of every table, read-only and within bounds.

SQLite files and PostgreSQL. What `shadowproxy guard` keeps apart is where test traffic belongs: a token in a
shadow schema, or in a row that a tenant column gives to a tenant, is no leak.
"""

from __future__ import annotations

import importlib.util
import re
import sqlite3
import time
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import quote

from shadowproxy.audit.finds import Find, finds
from shadowproxy.errors import AuditFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import psycopg

    from shadowproxy.audit.honey import Honey

CONNECT_TIMEOUT_S: Final = 10
MOST_FOUND: Final = 20_000
"""Tokens that one table may give: more than a run has."""

_STEPS: Final = 10_000
"""Steps of SQLite's machine between two looks at the clock: some 100 us."""

_COLUMNS: Final = """
SELECT n.nspname, c.relname, array_agg(a.attname::text ORDER BY a.attnum), array_agg(t.typname = 'bytea' ORDER BY a.attnum),
  coalesce(pg_catalog.obj_description(n.oid, 'pg_namespace') = 'shadowproxy guard', false)
FROM pg_catalog.pg_class c
JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_catalog.pg_type y ON y.oid = a.atttypid
JOIN pg_catalog.pg_type t ON t.oid = CASE WHEN y.typtype = 'd' THEN y.typbasetype ELSE y.oid END
WHERE c.relkind IN ('r', 'p', 'f') AND NOT c.relispartition
  AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'shadowproxy') AND n.nspname NOT LIKE 'pg\\_temp%%' AND n.nspname NOT LIKE 'pg\\_toast%%'
  AND (%(schemas)s::text[] IS NULL OR n.nspname = ANY (%(schemas)s))
  AND (t.typcategory IN ('S', 'A', 'C') OR t.typname IN ('json', 'jsonb', 'xml', 'hstore', 'citext', 'bytea', 'tsvector'))
GROUP BY n.nspname, n.oid, c.relname ORDER BY 1, 2
"""

_TENANT_COLUMNS: Final = """
SELECT g.schema_name, c.relname, g.tenant_column, coalesce(g.live_value, '')
FROM shadowproxy.guarded_schemas g
JOIN pg_catalog.pg_namespace n ON n.nspname = g.schema_name
JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid
JOIN pg_catalog.pg_trigger t ON t.tgrelid = c.oid AND t.tgname = 'shadowproxy_tenant'
WHERE g.mode = 'column'
"""


def search(dsn: str, schemas: Sequence[str], honey: Honey, timeout_s: float) -> list[Find]:
    """Tokens in a database.

    Args:
        dsn: postgresql://..., sqlite:///PATH, or the path of an SQLite file.
        schemas: of PostgreSQL; empty for all but the system's own.
        honey: whose tokens.
        timeout_s: for the whole search.

    Raises:
        AuditFailed: it cannot be searched, or not in time.
    """
    if is_postgres(dsn):
        return _search_postgres(dsn, schemas, honey, timeout_s)
    return _search_sqlite(_sqlite_path(dsn), honey, timeout_s)


def check(dsn: str) -> None:
    """Connect, so that what cannot be searched is known before anything is sent. Raises as `search`."""
    if is_postgres(dsn):
        with _postgres(dsn, CONNECT_TIMEOUT_S):
            return
    with _sqlite(_sqlite_path(dsn), CONNECT_TIMEOUT_S) as connection:
        connection.execute("SELECT name FROM sqlite_master LIMIT 1").fetchone()


def is_postgres(dsn: str) -> bool:
    """Whether a DSN is one of PostgreSQL's, as a URL or as `name=value`."""
    return dsn.startswith(("postgresql://", "postgres://")) or ("=" in dsn and "/" not in dsn.partition("=")[0] and not Path(dsn).exists())


def shown(dsn: str) -> str:
    """A DSN as it may be printed: nothing of PostgreSQL's but the database's name, of SQLite the file's."""
    if not is_postgres(dsn):
        return _sqlite_path(dsn).name
    found = re.search(r"://[^/?]*/([^/?]+)", dsn) if "://" in dsn else re.search(r"\bdbname\s*=\s*([^\s']+)", dsn)
    name = found[1] if found else ""
    return f"PostgreSQL {name}".rstrip()


def _sqlite_path(dsn: str) -> Path:
    return Path(dsn.removeprefix("sqlite:///"))


# SQLite.


def _search_sqlite(path: Path, honey: Honey, timeout_s: float) -> list[Find]:
    found: list[Find] = []
    with _sqlite(path, timeout_s) as connection:
        tables = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND sql IS NOT NULL ORDER BY name").fetchall()
        for (table,) in tables:
            # Any column of SQLite's can hold text, whatever its declared type.
            for column in [row[1] for row in connection.execute(f"PRAGMA table_info({_quoted(table)})")]:
                cell = f"CAST({_quoted(column)} AS TEXT)"
                rows = connection.execute(
                    f"SELECT {cell} FROM {_quoted(table)} WHERE instr(lower({cell}), ?) LIMIT ?",  # noqa: S608  names are quoted
                    (honey.prefix, MOST_FOUND),
                )
                tokens = {token for (text,) in rows for token in honey.find(text)}
                found += finds(tokens, f"{path.name}: {table}.{column}", is_leak=True)
    return found


@contextmanager
def _sqlite(path: Path, timeout_s: float) -> Iterator[sqlite3.Connection]:
    deadline = time.monotonic() + timeout_s
    if not path.is_file():
        raise AuditFailed(f"{path}: no such file")
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True, timeout=timeout_s)) as connection:
            connection.text_factory = lambda raw: raw.decode("utf-8", "replace")
            connection.set_progress_handler(lambda: time.monotonic() > deadline, _STEPS)
            yield connection
    except sqlite3.Error as error:
        raise AuditFailed(f"{path}: {error}") from None


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


# PostgreSQL.


def _search_postgres(dsn: str, schemas: Sequence[str], honey: Honey, timeout_s: float) -> list[Find]:
    deadline = time.monotonic() + timeout_s
    found: list[Find] = []
    with _postgres(dsn, timeout_s) as connection:
        has_guard = connection.execute("SELECT pg_catalog.to_regclass('shadowproxy.guarded_schemas') IS NOT NULL").fetchone()
        rows = connection.execute(_TENANT_COLUMNS).fetchall() if has_guard is not None and has_guard[0] else []
        apart = {(schema, table): (column, value) for schema, table, column, value in rows}
        for schema, table, columns, are_bytes, is_shadow in connection.execute(_COLUMNS, {"schemas": list(schemas) or None}).fetchall():
            left = deadline - time.monotonic()
            if left <= 0:
                raise AuditFailed(f"the search of the database took longer than {timeout_s:g} s")
            connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, true)", (f"{max(1, int(left * 1000))}ms",))
            searched = _Table(schema, table, tuple(zip(columns, are_bytes, strict=True)), apart.get((schema, table)))
            for column, token, is_tenants in _in_table(connection, searched, honey):
                is_leak = not is_shadow and not is_tenants
                where = f"{schema}.{table}.{column}" + (" of a tenant" if is_tenants else "")
                found += finds([honey.read(token)], where, is_leak=is_leak)
    return found


class _Table(NamedTuple):
    """A table; its columns that can hold text, and whether as bytes; the column of tenants and its value in production's rows, if it has one."""

    schema: str
    name: str
    columns: tuple[tuple[str, bool], ...]
    tenant: tuple[str, str] | None


def _in_table(connection: psycopg.Connection[tuple[Any, ...]], table: _Table, honey: Honey) -> list[tuple[Any, ...]]:
    """Column, token, and whether the row is a tenant's, of every token in a table: one pass over it."""
    from psycopg import sql  # noqa: PLC0415  an optional extra

    cells = sql.SQL(", ").join(
        sql.SQL("({}, {})").format(
            sql.Literal(name),
            sql.SQL("pg_catalog.encode(o.{}, 'escape')" if is_bytes else "o.{}::text").format(sql.Identifier(name)),
        )
        for name, is_bytes in table.columns
    )
    is_tenants: sql.Composable = sql.SQL("false")
    if table.tenant is not None:
        column, live_value = table.tenant
        is_tenants = sql.SQL("coalesce(o.{}::text, {}) <> {}").format(
            sql.Identifier(column), sql.Literal(live_value), sql.Literal(live_value)
        )
    query = sql.SQL(
        "SELECT DISTINCT cell.name, lower(found[1]), {} FROM {} AS o CROSS JOIN LATERAL (VALUES {}) AS cell (name, value) "
        "CROSS JOIN LATERAL pg_catalog.regexp_matches(cell.value, {}, 'gi') AS found "
        "WHERE pg_catalog.strpos(pg_catalog.lower(cell.value), {}) > 0 ORDER BY 1, 2 LIMIT {}"
    ).format(
        is_tenants,
        sql.Identifier(table.schema, table.name),
        cells,
        sql.Literal(f"({honey.pattern})"),
        sql.Literal(honey.prefix),
        MOST_FOUND,
    )
    return connection.execute(query).fetchall()


@contextmanager
def _postgres(dsn: str, timeout_s: float) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A read-only transaction. Its errors are told without the DSN."""
    if importlib.util.find_spec("psycopg") is None:
        raise AuditFailed("psycopg is not installed, without which PostgreSQL cannot be searched: pip install 'shadowproxy[postgres]'")
    import psycopg  # noqa: PLC0415  an optional extra

    try:
        password = str(psycopg.conninfo.conninfo_to_dict(dsn).get("password") or "")
    except psycopg.Error:
        # libpq quotes what it cannot read, which may be a password.
        raise AuditFailed("the DSN is not one that libpq can read") from None
    try:
        with psycopg.connect(dsn, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            connection.execute("SET TRANSACTION READ ONLY")
            connection.execute("SELECT pg_catalog.set_config('statement_timeout', %s, true)", (f"{max(1, int(timeout_s * 1000))}ms",))
            yield connection
    except psycopg.Error as error:
        text = error.diag.message_primary or str(error).strip()
        raise AuditFailed(text.replace(password, "***") if password else text) from None
