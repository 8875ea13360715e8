"""A shop's database that has a bit of everything, and what tests ask of it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import psycopg
from psycopg import sql

from shadowproxy.guard import postgres as guards

if TYPE_CHECKING:
    from collections.abc import Iterator

    Connection = psycopg.Connection[tuple[Any, ...]]

TENANT: Final = "canary-7"

SHOP: Final = """
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email varchar(120) NOT NULL, tenant text,
  seen timestamptz(0) NOT NULL DEFAULT now());
CREATE UNIQUE INDEX customers_email ON customers (lower(email)) WHERE email <> '';
CREATE TABLE orders (id serial PRIMARY KEY, customer bigint NOT NULL REFERENCES customers ON DELETE CASCADE,
  cents int NOT NULL DEFAULT 100 CHECK (cents >= 0), euros numeric(10,2) GENERATED ALWAYS AS (cents / 100.0) STORED, note char(4), tenant text,
  UNIQUE (customer, note));
CREATE TABLE items (id smallserial PRIMARY KEY, order_id int REFERENCES orders ON DELETE SET NULL ON UPDATE CASCADE, name text NOT NULL DEFAULT 'thing');
CREATE TABLE stock (thing text PRIMARY KEY, n int NOT NULL CHECK (n >= 0));
CREATE TABLE log (said jsonb, at timestamptz NOT NULL DEFAULT clock_timestamp());
CREATE TABLE events (at date NOT NULL, n int NOT NULL, said text, PRIMARY KEY (at, n)) PARTITION BY RANGE (at);
CREATE TABLE events_old PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
CREATE TABLE events_new PARTITION OF events FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
CREATE TABLE parents (id int PRIMARY KEY, of int REFERENCES parents);
CREATE TABLE invoices (number text PRIMARY KEY);
CREATE SEQUENCE invoice_numbers;
ALTER TABLE invoices ALTER number SET DEFAULT 'R-' || nextval('invoice_numbers');
CREATE VIEW cheap AS SELECT * FROM orders WHERE cents < 500;
CREATE FUNCTION buy(customer bigint) RETURNS int LANGUAGE sql AS 'INSERT INTO orders (customer) VALUES ($1) RETURNING id';
CREATE FUNCTION buy_as_definer(customer bigint) RETURNS int LANGUAGE plpgsql SECURITY DEFINER SET search_path = public
  AS 'BEGIN INSERT INTO orders (customer) VALUES ($1); RETURN 1; END';
INSERT INTO customers (email) SELECT 'u' || n || '@x' FROM generate_series(1, 20) n;
INSERT INTO orders (customer, cents, note) SELECT n, n * 100, 'a' FROM generate_series(1, 20) n;
INSERT INTO items (order_id) SELECT n FROM generate_series(1, 20) n;
INSERT INTO stock SELECT 'thing' || n, 10 FROM generate_series(1, 5) n;
INSERT INTO log (said) SELECT jsonb_build_object('n', n) FROM generate_series(1, 5) n;
INSERT INTO events SELECT date '2025-12-25' + n, n, 'x' FROM generate_series(1, 20) n;
INSERT INTO parents VALUES (1, NULL), (2, 1), (3, 2);
INSERT INTO invoices DEFAULT VALUES;
"""

WRITES: Final = {
    "insert": "INSERT INTO stock VALUES ('new', 1)",
    "insert-default-values": "INSERT INTO invoices DEFAULT VALUES",
    "insert-returning": "INSERT INTO orders (customer) VALUES (1) RETURNING id",
    "insert-select": "INSERT INTO items (order_id) SELECT id FROM orders",
    "insert-of-no-row": "INSERT INTO stock SELECT 'new', 1 WHERE false",
    "on-conflict-nothing": "INSERT INTO stock VALUES ('thing1', 1) ON CONFLICT DO NOTHING",
    "on-conflict-update": "INSERT INTO stock VALUES ('thing1', 1) ON CONFLICT (thing) DO UPDATE SET n = 0",
    "update": "UPDATE stock SET n = 0",
    "update-returning": "UPDATE stock SET n = n - 1 WHERE thing = 'thing1' RETURNING n",
    "update-from": "UPDATE orders o SET cents = 1 FROM customers c WHERE c.id = o.customer",
    "update-of-key": "UPDATE orders SET id = id + 1000",
    "delete": "DELETE FROM log",
    "delete-using": "DELETE FROM items i USING orders o WHERE o.id = i.order_id",
    "delete-cascade": "DELETE FROM customers WHERE id = 3",
    "truncate": "TRUNCATE stock",
    "truncate-cascade": "TRUNCATE customers CASCADE",
    "truncate-restart": "TRUNCATE invoices RESTART IDENTITY",
    "merge": "MERGE INTO stock s USING (VALUES ('thing1'), ('new')) AS v (thing) ON s.thing = v.thing "
    "WHEN MATCHED THEN UPDATE SET n = 1 WHEN NOT MATCHED THEN INSERT VALUES (v.thing, 2)",
    "merge-delete": "MERGE INTO stock s USING (VALUES ('thing1')) AS v (thing) ON s.thing = v.thing WHEN MATCHED THEN DELETE",
    "cte-insert": "WITH made AS (INSERT INTO orders (customer) VALUES (2) RETURNING id) INSERT INTO items (order_id) SELECT id FROM made",
    "cte-delete": "WITH gone AS (DELETE FROM items RETURNING id) SELECT count(*) FROM gone",
    "partitioned-insert": "INSERT INTO events VALUES ('2025-06-01', 1, 'y'), ('2026-06-01', 1, 'y')",
    "partitioned-move": "UPDATE events SET at = at + 30",
    "partitioned-delete": "DELETE FROM events",
    "partition-insert": "INSERT INTO events_new VALUES ('2026-06-01', 2, 'y')",
    "partition-truncate": "TRUNCATE events_old",
    "view-insert": "INSERT INTO cheap (customer, cents) VALUES (1, 2)",
    "view-update": "UPDATE cheap SET cents = 3",
    "function": "SELECT buy(4)",
    "security-definer": "SELECT buy_as_definer(4)",
    "do-block": "DO 'BEGIN EXECUTE ''UPDATE stock SET n = 7''; END'",
    "copy": "COPY stock FROM PROGRAM 'printf \"copied\\t5\\n\"'",
    "execute": "PREPARE p AS UPDATE stock SET n = 6; EXECUTE p",
}
"""Every form of a write, with unqualified names."""


def checksum(connection: Connection) -> str:
    """What production's tables and sequences hold, to the byte: rows, where they lie, and who has last locked or changed them."""
    found = []
    tables = connection.execute(
        "SELECT oid::regclass::text, relkind FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'S') ORDER BY 1"
    ).fetchall()
    for name, kind in tables:
        what = "t.last_value, t.is_called" if kind == "S" else "t.ctid, t.xmin, t.xmax, t"
        statement = f"SELECT md5(coalesce(string_agg(ROW({what})::text, '|' ORDER BY ctid), '')) FROM {name} t"
        found.append((name, connection.execute(statement.encode()).fetchone()))
    return repr(found)


def apply(dsn: str, **options: Any) -> list[tuple[Any, ...]]:
    """Guard a database, and return what became of each table."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        return last_rows(connection, guards.setup(guards.Guard(**options)))


def remove(dsn: str) -> None:
    """Take the guard away."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(guards.removal().encode())


def findings(connection: Connection, *schemas: str, tables: tuple[str, ...] | None = None) -> list[tuple[Any, ...]]:
    """What is not guarded."""
    return last_rows(connection, guards.check(schemas or ("public",), tables))


def last_rows(connection: Connection, script: str) -> list[tuple[Any, ...]]:
    """The rows of the last statement that had any."""
    cursor, rows = connection.execute(script.encode()), []
    while True:
        if cursor.description is not None:
            rows = cursor.fetchall()
        if not cursor.nextset():
            return rows


@contextmanager
def session(dsn: str, tenant: str | None, *, role: str | None = None, diverted: bool = False) -> Iterator[Connection]:
    """A transaction of a tenant, or of production; rolled back in the end.

    Args:
        dsn: the database.
        tenant: None for production.
        role: whom to be, instead of the superuser.
        diverted: whether the shadow schema comes first.
    """
    with psycopg.connect(dsn) as connection:
        connection.execute("SELECT")  # begins the transaction, so that blocks inside are savepoints
        if role is not None:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        if tenant is not None:
            connection.execute("SELECT set_config('shadowproxy.tenant', %s, true)", [tenant])
        if diverted:
            connection.execute("SET LOCAL search_path = shadow_public, public")
        yield connection
        connection.rollback()
