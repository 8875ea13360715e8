"""Mode divert: test sessions write to shadows and read what they wrote; production's tables and sequences never notice."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.guard import postgres as guards
from tests.guard import shop as shops
from tests.guard.shop import TENANT, WRITES, session
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.guard.shop import Connection
    from tests.kit.postgres import PostgresServer

UNSUPPORTED = {
    # PostgreSQL looks for a unique index of the view itself.
    "on-conflict-update": "42P10",
    # A view cannot be truncated.
    "truncate": "42809", "truncate-cascade": "42809", "truncate-restart": "42809",
    # ON CONFLICT DO NOTHING is not told to triggers: the row that is there already is an error.
    "on-conflict-nothing": "23505",
    # A row of a table without a key cannot be hidden.
    "delete": guards.REFUSED,
    # These name tables in other ways than by the search_path.
    "partition-insert": guards.REFUSED, "partition-truncate": guards.REFUSED, "view-insert": guards.REFUSED, "view-update": guards.REFUSED,
    "security-definer": guards.REFUSED,
}  # fmt: skip
"""Writes that fail instead of being diverted, and the error's SQLSTATE: the limits that docs/guard-postgres.md states."""


@pytest.fixture(scope="module")
def diverted(postgres: PostgresServer) -> str:
    """A shop with shadows. Tests roll back what they do to it."""
    dsn = postgres.create()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
    shops.apply(dsn, mode="divert")
    return dsn


@pytest.fixture(scope="module")
def plain(postgres: PostgresServer) -> str:
    """The same shop without a guard."""
    dsn = postgres.create()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
    return dsn


@pytest.fixture
def unchanged(diverted: str) -> Iterator[None]:
    """The shop's tables and sequences are to the byte what they were before the test."""
    with psycopg.connect(diverted, autocommit=True) as connection:
        before = shops.checksum(connection)
        yield
        assert shops.checksum(connection) == before


@contextlib.contextmanager
def tagged(dsn: str, tenant: str = TENANT) -> Iterator[Connection]:
    """A test session as the hooks make it."""
    with session(dsn, tenant, diverted=True) as connection:
        yield connection


def rows(connection: Connection, query: str) -> list[Any]:
    """What a query returns."""
    return connection.execute(query.encode()).fetchall()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("write", WRITES)
def test_every_form_of_write_leaves_production_alone(diverted: str, write: str) -> None:
    """Each is diverted, or fails with the error that the documentation says; production is the same to the byte."""
    with tagged(diverted, f"w-{write}") as connection:
        try:
            connection.execute(WRITES[write].encode())
        except psycopg.Error as error:
            assert UNSUPPORTED.get(write) == error.sqlstate, error  # noqa: PT017  the error is the one of the table, or none
        else:
            assert write not in UNSUPPORTED
            connection.commit()


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("write", ["INSERT INTO public.stock VALUES ('new', 1)", "UPDATE public.stock SET n = 0", "TRUNCATE public.stock"])
def test_full_names_are_refused(diverted: str, write: str) -> None:
    """Whoever goes around the search_path meets the guard of mode refuse."""
    with tagged(diverted) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(write.encode())
    assert caught.value.sqlstate == guards.REFUSED


@pytest.mark.usefixtures("unchanged")
def test_tenants_read_what_they_wrote_over_production(diverted: str) -> None:
    """Inserted, changed and deleted rows are laid over production's; other tenants and production see none of it."""
    with tagged(diverted, "one") as one:
        made = rows(one, "INSERT INTO orders (customer, note) VALUES (1, 'new') RETURNING id, cents, euros::text, note")
        assert made[0][0] >= 1 << 30
        assert made[0][1:] == (100, "1.00", "new ")
        assert one.execute("UPDATE orders SET cents = 7 WHERE id = 2").rowcount == 1
        assert one.execute("DELETE FROM orders WHERE id IN (3, 4)").rowcount == 2
        assert rows(one, "SELECT count(*), min(cents) FROM orders") == [(19, 7)]
        assert rows(one, "SELECT count(*) FROM public.orders") == [(20,)]
        one.commit()
    with session(diverted, None) as production:
        assert rows(production, "SELECT count(*), min(cents) FROM orders") == [(20, 100)]
    with tagged(diverted, "other") as other:
        assert rows(other, "SELECT count(*), min(cents) FROM orders") == [(20, 100)]
        assert other.execute("INSERT INTO orders (customer, note) VALUES (1, 'new')").rowcount == 1
    with tagged(diverted, "one") as again:
        assert rows(again, "SELECT count(*), min(cents) FROM orders") == [(19, 7)]
        assert again.execute("DELETE FROM orders").rowcount == 19
        assert again.execute("DELETE FROM orders").rowcount == 0


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize(
    ("write", "sqlstate", "constraint"),
    [
        ("INSERT INTO stock VALUES ('thing1', 1)", "23505", "stock_pkey"),
        ("INSERT INTO customers (email) VALUES ('U1@X')", "23505", "customers_email"),
        ("UPDATE customers SET email = 'u2@x' WHERE id = 1", "23505", "customers_email"),
        ("UPDATE stock SET thing = 'thing2' WHERE thing = 'thing1'", "23505", "stock_pkey"),
        ("INSERT INTO orders (customer, note) VALUES (1, 'n'), (1, 'n')", "23505", None),
        ("INSERT INTO orders (customer) VALUES (999)", "23503", "orders_customer_fkey"),
        ("UPDATE orders SET customer = 999 WHERE id = 1", "23503", "orders_customer_fkey"),
        ("DELETE FROM parents WHERE id = 1", "23503", "parents_of_fkey"),
        ("INSERT INTO stock VALUES ('new', -1)", "23514", "stock_n_check"),
        ("INSERT INTO items (name) VALUES (NULL)", "23502", None),
        ("INSERT INTO orders (customer, note) VALUES (1, 'too long')", "22001", None),
    ],
)
def test_constraints_hold_as_in_production(diverted: str, write: str, sqlstate: str, constraint: str | None) -> None:
    """A test session meets the errors that it would meet in production, by the same names."""
    with tagged(diverted) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute(write.encode())
    assert caught.value.sqlstate == sqlstate
    assert constraint is None or caught.value.diag.constraint_name == constraint


@pytest.mark.usefixtures("unchanged")
def test_foreign_keys_act_on_the_shadows(diverted: str) -> None:
    """Cascades delete, set and update for the tenant what they would in production."""
    with tagged(diverted) as connection:
        connection.execute("DELETE FROM customers WHERE id = 3")
        assert rows(connection, "SELECT count(*) FROM orders WHERE id = 3") == [(0,)]
        assert rows(connection, "SELECT count(*) FROM items WHERE order_id IS NULL") == [(1,)]
        connection.execute("UPDATE orders SET id = 5000 WHERE id = 5")
        assert rows(connection, "SELECT order_id FROM items WHERE id = 5") == [(5000,)]


@pytest.mark.usefixtures("unchanged")
def test_rows_without_a_key_are_kept_apart(diverted: str) -> None:
    """Of a table without a key a tenant can change its own rows; production's it can only read."""
    with tagged(diverted) as connection:
        connection.execute("""INSERT INTO log (said) VALUES ('{"a": 1}'), ('{"a": 1}')""")
        assert connection.execute("DELETE FROM log WHERE said ? 'a' AND at = (SELECT max(at) FROM log)").rowcount == 1
        assert connection.execute("""UPDATE log SET said = '{"b": 2}' WHERE said ? 'a'""").rowcount == 1
        assert rows(connection, "SELECT count(*), count(*) FILTER (WHERE said ? 'b') FROM log") == [(6, 1)]
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("DELETE FROM log")
    assert caught.value.sqlstate == guards.REFUSED


@pytest.mark.usefixtures("unchanged")
def test_sequences_are_the_tenants_own(diverted: str) -> None:
    """Ids come from sequences far away from production's, named alike, whether a default or the program asks."""
    with tagged(diverted) as connection:
        assert rows(connection, "SELECT nextval('orders_id_seq') >= 1 << 30, nextval('items_id_seq') >= 16384") == [(True, True)]
        assert rows(connection, "INSERT INTO customers (email) VALUES ('new') RETURNING id >= 1 << 30") == [(True,)]
        assert rows(connection, "INSERT INTO invoices DEFAULT VALUES RETURNING substr(number, 3)::bigint >= 1 << 30") == [(True,)]
        assert rows(connection, "SELECT currval('invoice_numbers') >= 1 << 30") == [(True,)]


@pytest.mark.usefixtures("unchanged")
def test_copy_fills_in_defaults(diverted: str) -> None:
    """COPY goes through the view as INSERT does."""
    with tagged(diverted) as connection:
        with connection.cursor().copy("COPY orders (customer, note) FROM STDIN") as copy:
            copy.write(b"1\tx\n2\ty\n")
        assert rows(connection, "SELECT customer, cents FROM orders WHERE id >= 1 << 30 ORDER BY id") == [(1, 100), (2, 100)]


@pytest.mark.usefixtures("unchanged")
def test_rows_can_be_asked_to_be_locked(diverted: str) -> None:
    """SELECT FOR UPDATE works, and locks nothing of production's."""
    with tagged(diverted, "locks") as connection:
        assert rows(connection, "SELECT n FROM stock WHERE thing = 'thing1' FOR UPDATE") == [(10,)]
        connection.commit()


@pytest.mark.usefixtures("unchanged")
def test_prepared_statements_follow_the_session(diverted: str) -> None:
    """One prepared statement, used in turn by production and by a tenant on a pooled connection, goes where it should each time."""
    with psycopg.connect(diverted, autocommit=True) as connection:
        for statement in ("PREPARE r AS SELECT * FROM orders WHERE id = 2", "PREPARE w AS UPDATE stock SET n = n - 1 RETURNING n, thing"):
            connection.execute(statement.encode())
        for _ in range(8):
            with connection.transaction(force_rollback=True):
                connection.execute(
                    "SELECT set_config('shadowproxy.tenant', 'canary-7', true), set_config('search_path', 'shadow_public, public', true)"
                )
                connection.execute("EXECUTE w")
                connection.execute("UPDATE orders SET cents = 1 WHERE id = 2")
                assert rows(connection, "EXECUTE r")[0][2] == 1
            assert rows(connection, "EXECUTE r")[0][2] == 200


def test_indexes_are_used(diverted: str) -> None:
    """The views are taken apart by the planner: conditions reach production's indexes, also of columns with a length."""
    with tagged(diverted) as connection:
        connection.execute("SET LOCAL enable_seqscan = off")
        for condition, index in (("id = 5", "customers_pkey"), ("lower(email) = 'u5@x' AND email <> ''", "customers_email")):
            plan = "\n".join(line for (line,) in rows(connection, f"EXPLAIN SELECT * FROM customers WHERE {condition}"))
            assert f"using {index} on customers p" in plan, plan
            assert "Function Scan" not in plan


def test_without_a_tenant_shadows_are_read_only(diverted: str) -> None:
    """A session that finds the shadows but names no tenant reads production, and is not allowed to write anywhere by way of them."""
    with session(diverted, None, diverted=True) as connection:
        assert rows(connection, "SELECT count(*) FROM orders") == [(20,)]
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("DELETE FROM orders")
    assert caught.value.sqlstate == guards.NO_TENANT


def test_roles_may_do_in_the_shadows_what_they_may_in_production(diverted: str, make_role: Callable[[str], str]) -> None:
    """The rights of each role are those of the table."""
    role = make_role(diverted)
    with psycopg.connect(diverted, autocommit=True) as connection:
        connection.execute(f"GRANT SELECT, INSERT, UPDATE ON stock TO {role}; GRANT SELECT ON log TO {role}".encode())
    shops.apply(diverted, mode="divert")
    with session(diverted, TENANT, role=role, diverted=True) as connection:
        assert connection.execute("INSERT INTO stock VALUES ('new', 1)").rowcount == 1
        assert connection.execute("UPDATE stock SET n = 2").rowcount == 6
        for write in ("DELETE FROM stock", "INSERT INTO log (said) VALUES ('1')", "SELECT * FROM orders"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), connection.transaction():
                connection.execute(write.encode())


def test_row_level_security_of_production_holds(shop: str, make_role: Callable[[str], str]) -> None:
    """Who may not read a row of production may not read it through the shadow."""
    role = make_role(shop)
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            f"GRANT SELECT, INSERT ON stock TO {role}; ALTER TABLE stock ENABLE ROW LEVEL SECURITY;"
            " CREATE POLICY a_few ON stock FOR SELECT USING (thing < 'thing3')".encode()
        )
    shops.apply(shop, mode="divert")
    with session(shop, TENANT, role=role, diverted=True) as connection:
        connection.execute("INSERT INTO stock VALUES ('thing9', 1)")
        assert rows(connection, "SELECT thing FROM stock ORDER BY 1") == [("thing1",), ("thing2",), ("thing9",)]


def test_two_sessions_of_a_tenant_cannot_insert_the_same_key(diverted: str) -> None:
    """The second waits for the first, and is told that the key is taken."""
    with tagged(diverted, "twice") as one, tagged(diverted, "twice") as other:
        one.execute("INSERT INTO stock VALUES ('both', 1)")
        with ThreadPoolExecutor() as threads:
            second = threads.submit(other.execute, "INSERT INTO stock VALUES ('both', 2)")
            with psycopg.connect(diverted, autocommit=True) as watching:
                eventually(
                    lambda: (
                        watching.execute(
                            "SELECT count(*) FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'", [other.info.backend_pid]
                        ).fetchall()
                        == [(1,)]
                    )
                )
            one.commit()
            with pytest.raises(psycopg.errors.UniqueViolation):
                second.result()


STATEMENTS = st.one_of(
    st.builds("INSERT INTO stock VALUES ('thing{}', {}) RETURNING *".format, st.integers(1, 8), st.integers(-1, 9)),
    st.builds("UPDATE stock SET n = n - {} WHERE thing IN ('thing{}', 'thing{}') RETURNING thing, n".format, st.integers(0, 9), st.integers(1, 8), st.integers(1, 8)),
    st.builds("UPDATE stock SET thing = 'thing{}' WHERE thing = 'thing{}' RETURNING *".format, st.integers(1, 8), st.integers(1, 8)),
    st.builds("DELETE FROM stock WHERE thing = 'thing{}'".format, st.integers(1, 8)),
    st.builds("INSERT INTO orders (id, customer, cents, note) VALUES ({}, {}, {}, 'n') RETURNING id, euros, note".format, st.integers(18, 23), st.integers(18, 23), st.integers(0, 3)),
    st.builds("INSERT INTO customers (id, email) OVERRIDING SYSTEM VALUE VALUES ({}, 'u{}@x') RETURNING id".format, st.integers(18, 23), st.integers(18, 23)),
    st.builds("UPDATE customers SET email = 'u{}@x' WHERE id = {} RETURNING email".format, st.integers(18, 23), st.integers(18, 23)),
    st.builds("UPDATE orders SET cents = cents + 1, customer = {} WHERE id = {} RETURNING *".format, st.integers(18, 23), st.integers(18, 23)),
    st.builds("UPDATE orders SET id = {} WHERE id = {} RETURNING id".format, st.integers(18, 23), st.integers(18, 23)),
    st.builds("DELETE FROM customers WHERE id = {}".format, st.integers(18, 23)),
    st.builds("DELETE FROM parents WHERE id = {}".format, st.integers(1, 4)),
    st.builds("INSERT INTO parents VALUES ({0}, {1})".format, st.integers(1, 4), st.integers(1, 4)),
    st.builds("INSERT INTO items (id, order_id) VALUES ({}, {})".format, st.integers(18, 23), st.integers(18, 23)),
    st.builds("INSERT INTO events VALUES ('2026-01-{:02}', {}, 'z')".format, st.integers(1, 14), st.integers(1, 20)),
    st.builds("UPDATE events SET at = at - {} WHERE n = {} RETURNING at, said".format, st.integers(0, 9), st.integers(1, 20)),
    st.builds(
        "MERGE INTO stock s USING (VALUES ('thing{}')) AS v (thing) ON s.thing = v.thing WHEN MATCHED AND n > {} THEN DELETE "
        "WHEN MATCHED THEN UPDATE SET n = 8 WHEN NOT MATCHED THEN INSERT VALUES (v.thing, 2)".format, st.integers(1, 8), st.integers(0, 9),
    ),
)  # fmt: skip
"""Statements that collide, refer, cascade and come back; ids are given, since those of sequences differ."""

CONTENTS = (
    "SELECT * FROM stock ORDER BY 1", "SELECT id, email FROM customers ORDER BY 1", "SELECT * FROM orders ORDER BY id",
    "SELECT * FROM items ORDER BY id", "SELECT * FROM parents ORDER BY 1", "SELECT * FROM events ORDER BY 1, 2",
)  # fmt: skip


@given(statements=st.lists(STATEMENTS, max_size=12))
def test_a_diverted_session_sees_what_production_would_show(diverted: str, plain: str, statements: list[str]) -> None:
    """The same statements on shadows and on a database without a guard: the same rows, counts and errors, one by one and in the end."""
    with psycopg.connect(diverted, autocommit=True) as watching:
        before = shops.checksum(watching)
        with tagged(diverted) as shadow, session(plain, None) as real:
            for statement in statements:
                assert said(shadow, statement) == said(real, statement), statement
            for query in CONTENTS:
                assert rows(shadow, query) == rows(real, query), query
        assert shops.checksum(watching) == before


def said(connection: Connection, statement: str) -> tuple[Any, ...]:
    """The rows, the count or the class of error of a statement: of several constraints that it violates, which is told first may differ."""
    try:
        with connection.transaction():
            cursor = connection.execute(statement.encode())
            return cursor.rowcount, sorted(cursor.fetchall()) if cursor.description is not None else None
    except psycopg.Error as error:
        return ((error.sqlstate or "")[:2],)
