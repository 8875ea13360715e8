"""Databases are searched whole, read-only, and what a guard keeps apart is no leak."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from shadowproxy.audit import databases
from shadowproxy.audit.databases import check, is_postgres, search, shown
from shadowproxy.audit.finds import Find
from shadowproxy.errors import AuditFailed
from tests.audit.samples import HONEY
from tests.guard.shop import SHOP, apply, session
from tests.kit.network import HOST, free_port

if TYPE_CHECKING:
    from pathlib import Path

TOKEN = HONEY.token(1, "b")


def at(where: str, *, is_leak: bool = True) -> Find:
    """The token, found somewhere."""
    return Find(1, "b", where, is_leak)


def run(dsn: str, *statements: str) -> None:
    """Run statements in a PostgreSQL database."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement.encode())


# SQLite.


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """An SQLite file with rows of production's."""
    path = tmp_path / "shop.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            """CREATE TABLE orders (id INTEGER PRIMARY KEY, note TEXT, raw BLOB, n INT); CREATE TABLE "odd ""name" ("a ""b" ANY);
            CREATE TABLE empty (x); INSERT INTO orders VALUES (1, 'real', x'00ff', NULL);"""
        )
    return path


def add(path: Path, statement: str, *values: Any) -> None:
    """Write to an SQLite file."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(statement, values)


def test_every_column_of_every_table_is_searched(file: Path) -> None:
    """Whatever its type and its name, in the middle of text and of bytes, in any letter case."""
    assert search(str(file), (), HONEY, 5) == []
    add(file, "INSERT INTO orders (note, raw) VALUES (?, ?)", f'{{"note": "{TOKEN.upper()}"}}', b"\x01" + TOKEN.encode() + b"\xff")
    add(file, "INSERT INTO orders (n) VALUES (?)", HONEY.token(2, "q"))
    add(file, 'INSERT INTO "odd ""name" VALUES (?)', TOKEN)
    assert search(f"sqlite:///{file}", (), HONEY, 5) == [
        at('shop.sqlite: odd "name.a "b'),
        at("shop.sqlite: orders.note"),
        at("shop.sqlite: orders.raw"),
        Find(2, "q", "shop.sqlite: orders.n", True),
    ]


def test_a_file_in_use_is_searched(file: Path) -> None:
    """A writer holds it in WAL mode; what is committed is found, and nothing is written."""
    with closing(sqlite3.connect(file, isolation_level=None)) as writer:
        writer.execute("PRAGMA journal_mode = wal")
        writer.execute("INSERT INTO orders (note) VALUES (?)", (TOKEN,))
        writer.execute("BEGIN IMMEDIATE")
        assert search(str(file), (), HONEY, 5) == [at("shop.sqlite: orders.note")]
        writer.execute("ROLLBACK")


@pytest.mark.parametrize("content", [None, b"this is no database, but it is long enough to be taken for one" * 20])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes | None) -> None:
    """Said before anything is sent; none is made."""
    path = tmp_path / "x.sqlite"
    if content is not None:
        path.write_bytes(content)
    for ask in (lambda: check(str(path)), lambda: search(str(path), (), HONEY, 5)):
        with pytest.raises(AuditFailed, match=r"x\.sqlite"):
            ask()
    assert path.exists() is (content is not None)


def test_a_search_ends_in_time(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that would take too long fails the audit."""
    monkeypatch.setattr(databases, "_STEPS", 1)
    with pytest.raises(AuditFailed, match="interrupted"):
        search(str(file), (), HONEY, -1)


# PostgreSQL.


def test_columns_that_can_hold_text_are_searched(database: str) -> None:
    """Text, JSON, arrays, bytes, domains, composites, in partitions and under odd names; numbers and views are not."""
    run(
        database,
        "CREATE SCHEMA billing; CREATE DOMAIN note AS jsonb; CREATE TYPE pair AS (a text, b int)",
        'CREATE TABLE billing."Odd ""one%" (a text, b varchar(90), c char(90), d json, e jsonb, f text[], g bytea, h note, i pair, n int)',
        f"""INSERT INTO billing."Odd ""one%" VALUES ('{TOKEN}', '{TOKEN}', '{TOKEN}', '["{TOKEN.upper()}"]', '{{"x": "{TOKEN}"}}', ARRAY['{TOKEN}'],
          '{TOKEN}', '["{TOKEN}"]', ROW('{TOKEN}', 1), 1)""",
        "CREATE TABLE parts (at int, note text) PARTITION BY RANGE (at); CREATE TABLE part_1 PARTITION OF parts FOR VALUES FROM (0) TO (9)",
        f"INSERT INTO parts VALUES (1, 'x{TOKEN}{HONEY.token(2, 'q')}'); CREATE VIEW seen AS SELECT note FROM parts; CREATE TABLE empty (a text)",
    )
    found = search(database, (), HONEY, 20)
    odd = 'billing.Odd "one%.'
    assert found == [*(at(odd + column) for column in "abcdefghi"), at("public.parts.note"), Find(2, "q", "public.parts.note", True)]
    assert search(database, ("public",), HONEY, 20) == found[-2:]
    assert search(database, ("none",), HONEY, 20) == []


def test_a_guarded_schema_diverts_and_that_is_no_leak(database: str) -> None:
    """What a test session wrote lies in the shadow schema; what a service wrote without being one lies in production."""
    run(database, SHOP)
    apply(database, mode="divert")
    with session(database, "t", diverted=True) as connection:
        connection.execute("INSERT INTO items (name) VALUES (%s)", [TOKEN])
        connection.commit()
    found = search(database, (), HONEY, 20)
    assert found == [at("shadow_public_rows.items.name", is_leak=False)]
    run(database, f"INSERT INTO items (name) VALUES ('{HONEY.token(5, 'b')}')")
    assert [find for find in search(database, (), HONEY, 20) if find.is_leak] == [Find(5, "b", "public.items.name", True)]


def test_a_tenants_row_is_no_leak(database: str) -> None:
    """In mode column production and tests share a table: whose row it is decides."""
    run(database, SHOP)
    apply(database, mode="column", column="tenant", tables=("customers",))
    with session(database, "t") as connection:
        connection.execute("INSERT INTO customers (email) VALUES (%s)", [TOKEN])
        connection.commit()
    run(database, f"INSERT INTO customers (email) VALUES ('{HONEY.token(5, 'b')}')")
    assert search(database, (), HONEY, 20) == [
        at("public.customers.email of a tenant", is_leak=False),
        Find(5, "b", "public.customers.email", True),
    ]


def test_nothing_is_written(database: str) -> None:
    """The transaction is read-only: even a function that writes could not."""
    with databases._postgres(database, 5) as connection, pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        connection.execute("CREATE TABLE x ()")


def test_a_search_of_postgres_ends_in_time(database: str) -> None:
    """Waiting for a lock that somebody holds is bounded too."""
    run(database, "CREATE TABLE busy (note text)")
    with psycopg.connect(database) as holder:
        holder.execute("LOCK TABLE busy IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(AuditFailed, match="statement timeout"):
            search(database, (), HONEY, 0.3)
        holder.rollback()


def test_what_may_not_be_read_fails_the_audit(database: str) -> None:
    """A table that was not searched is not clean."""
    run(database, "CREATE TABLE closed (note text)", "DROP ROLE IF EXISTS auditor", "CREATE ROLE auditor LOGIN")
    with pytest.raises(AuditFailed, match="permission denied for table closed"):
        search(database.replace("postgres@", "auditor@"), (), HONEY, 5)


def test_no_password_is_told() -> None:
    """Neither of a server that is not there nor of a DSN that cannot be read."""
    for dsn in (f"postgresql://u:hunter2@{HOST}:{free_port()}/d", "postgresql://u:hunter2@[x/d", "host=x password='hunter2"):
        with pytest.raises(AuditFailed) as caught:
            check(dsn)
        assert "hunter2" not in str(caught.value)
        assert "hunter2" not in shown(dsn)


@pytest.mark.parametrize(
    ("dsn", "expected", "name"),
    [
        ("postgresql://u@h/shop", True, "PostgreSQL shop"),
        ("postgres://h", True, "PostgreSQL"),
        ("host=h dbname=shop", True, "PostgreSQL shop"),
        ("shop.sqlite", False, "shop.sqlite"),
        ("/a=b/shop.db", False, "shop.db"),
        ("sqlite:////a/shop.db", False, "shop.db"),
    ],
)
def test_kinds_of_databases(dsn: str, expected: bool, name: str) -> None:
    """By their DSN."""
    assert is_postgres(dsn) is expected
    assert shown(dsn) == name


def test_check_reaches_both(database: str, file: Path) -> None:
    """And changes neither."""
    check(database)
    check(str(file))
