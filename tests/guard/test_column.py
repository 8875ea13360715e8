"""Mode column: test rows live in production's tables, where production never sees them and no tenant touches another's."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from shadowproxy.guard import postgres as guards
from tests.guard import shop as shops
from tests.guard.shop import TENANT, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.guard.shop import Connection
    from tests.kit.postgres import PostgresServer

LIVE = " UNION ALL ".join(
    f"SELECT '{table}', md5(string_agg(ROW(t.ctid, t.xmin, t)::text, '|' ORDER BY tableoid, ctid)) FROM {table} t WHERE {condition}"
    for table, condition in (
        ("orders", "tenant IS NULL"),
        ("customers", "tenant IS NULL"),
        ("events", "tenant IS NULL"),
        ("log", "true"),
        ("stock", "true"),
    )
)
"""Production's rows, and where they lie."""


@pytest.fixture(scope="module")
def shared(postgres: PostgresServer) -> str:
    """A shop with tenant columns in some tables, one of them partitioned. Tests roll back what they do to it."""
    dsn = postgres.create()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
        connection.execute("ALTER TABLE events ADD tenant text; ALTER TABLE items ADD tenant text")
    shops.apply(dsn, mode="column", column="tenant")
    return dsn


@pytest.fixture
def role(shared: str, make_role: Callable[[str], str]) -> str:
    """A service's role: superusers are bound by the triggers, but not by the policies."""
    name = make_role(shared)
    with psycopg.connect(shared, autocommit=True) as connection:
        connection.execute(
            f"GRANT ALL ON ALL TABLES IN SCHEMA public TO {name}; GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {name}".encode()
        )
    return name


@contextmanager
def both(dsn: str, role: str) -> Iterator[tuple[Callable[[str], Any], Connection]]:
    """One transaction in which one is now a tenant and now production: a function that becomes somebody, and the connection."""
    with session(dsn, None, role=role) as connection:

        def become(tenant: str) -> None:
            connection.execute("SELECT set_config('shadowproxy.tenant', %s, true)", [tenant])

        yield become, connection


def count(connection: Connection, table: str = "orders") -> int:
    """Rows that the session sees."""
    return int(connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchall()[0][0])


def test_rows_are_the_tenants_and_nobody_elses(shared: str, role: str) -> None:
    """The column is filled in; the tenant sees production's rows and its own, production and others only production's."""
    with both(shared, role) as (become, connection):
        become(TENANT)
        made = connection.execute("INSERT INTO orders (customer, note) VALUES (1, 'new') RETURNING tenant, euros::text").fetchall()
        assert made == [(TENANT, "1.00")]
        assert count(connection) == 21
        for other in ("", "canary-8"):
            become(other)
            assert count(connection) == 20
            assert connection.execute("UPDATE orders SET cents = 1 WHERE note = 'new'").rowcount == 0
            assert connection.execute("DELETE FROM orders WHERE note = 'new'").rowcount == 0
        become(TENANT)
        assert connection.execute("UPDATE orders SET cents = 5 WHERE note = 'new'").rowcount == 1
        assert connection.execute("DELETE FROM orders WHERE note = 'new'").rowcount == 1


def test_production_is_as_before(shared: str, role: str) -> None:
    """Without a tenant everything goes to rows without one; rows of a tenant are not production's to write."""
    with both(shared, role) as (_, connection):
        assert connection.execute("INSERT INTO orders (customer, note) VALUES (1, 'new') RETURNING tenant").fetchall() == [(None,)]
        assert connection.execute("UPDATE orders SET cents = 1").rowcount == 21
        assert connection.execute("DELETE FROM orders WHERE note = 'new'").rowcount == 1
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("INSERT INTO orders (customer, tenant) VALUES (1, 'canary-7')")


@pytest.mark.parametrize(
    "write",
    [
        "UPDATE orders SET cents = 0", "DELETE FROM orders", "TRUNCATE orders CASCADE", "UPDATE orders SET tenant = 'canary-7'",
        "INSERT INTO orders (customer, note, tenant) VALUES (1, 'a', 'canary-7') ON CONFLICT (customer, note) DO UPDATE SET cents = 0",
        "INSERT INTO orders (customer, tenant) VALUES (1, 'canary-8')", "UPDATE events SET said = ''", "DELETE FROM events_new", "DELETE FROM log",
        "MERGE INTO orders o USING (VALUES (1)) AS v (id) ON o.id = v.id WHEN MATCHED THEN DELETE", "INSERT INTO stock VALUES ('new', 1)",
        "WITH gone AS (DELETE FROM customers RETURNING id) SELECT count(*) FROM gone",
    ],
)  # fmt: skip
@pytest.mark.parametrize("who", ["service", "superuser", "replica"])
def test_no_tenant_changes_rows_of_others(shared: str, role: str, write: str, who: str) -> None:
    """Whoever the session is: the service meets the policies, and a superuser the triggers, also with ordinary ones switched off."""
    with session(shared, None) as connection:
        before = connection.execute(LIVE.encode()).fetchall()
        if who == "replica":
            connection.execute("SET LOCAL session_replication_role = replica")
        if who == "service":
            connection.execute(f"SET LOCAL ROLE {role}".encode())
        connection.execute("SELECT set_config('shadowproxy.tenant', %s, true)", [TENANT])
        try:
            with connection.transaction():
                written = connection.execute(write.encode())
        except psycopg.Error as error:
            assert error.sqlstate in {guards.REFUSED, "42501"}, error  # noqa: PT017  an error, or no row
        else:
            assert who == "service"
            assert written.rowcount == 0 or written.fetchall() == [(0,)]
        connection.execute("RESET ROLE")
        assert connection.execute(LIVE.encode()).fetchall() == before


def test_partitions_are_bound_like_their_parents(shared: str, role: str) -> None:
    """Through the parent and by their own names."""
    with both(shared, role) as (become, connection):
        become(TENANT)
        connection.execute("INSERT INTO events (at, n) VALUES ('2026-05-05', 1); INSERT INTO events_new (at, n) VALUES ('2026-05-06', 1)")
        assert connection.execute("SELECT DISTINCT tenant FROM events WHERE at > '2026-05-01'").fetchall() == [(TENANT,)]
        become("")
        assert count(connection, "events WHERE at > '2026-05-01'") == count(connection, "events_new WHERE at > '2026-05-01'") == 0


def test_production_may_have_a_value_of_its_own(shop: str, make_role: Callable[[str], str]) -> None:
    """With --live-value its rows are those with that value, or NULL; a tenant that is called so is refused."""
    role = make_role(shop)
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            f"UPDATE orders SET tenant = 'it''s live' WHERE id > 10; GRANT ALL ON orders TO {role}; GRANT ALL ON orders_id_seq TO {role}".encode()
        )
    shops.apply(shop, mode="column", column="tenant", live_value="it's live")
    with both(shop, role) as (become, connection):
        assert count(connection) == 20
        connection.execute("INSERT INTO orders (customer, tenant) VALUES (1, 'it''s live')")
        become(TENANT)
        assert connection.execute("INSERT INTO orders (customer, tenant) VALUES (1, 'it''s live') RETURNING tenant").fetchall() == [
            (TENANT,)
        ]
        become("it's live")
        with pytest.raises(psycopg.Error) as caught:
            connection.execute("UPDATE orders SET cents = 0")
    assert caught.value.sqlstate == guards.REFUSED


@pytest.mark.parametrize(
    ("damage", "problem"),
    [
        ("ALTER TABLE orders DISABLE ROW LEVEL SECURITY", "production sees rows of tenants"),
        ("ALTER TABLE orders NO FORCE ROW LEVEL SECURITY", "production sees rows of tenants"),
        ("DROP POLICY shadowproxy_select ON orders", "production sees rows of tenants"),
        ("DROP TRIGGER shadowproxy_truncate ON orders", "test sessions can truncate it"),
        ("DROP TRIGGER shadowproxy_tenant ON orders", "test sessions can write to it"),
        ("ALTER TABLE orders ENABLE TRIGGER shadowproxy_tenant", "a trigger of the guard is disabled"),
    ],
)
def test_check_finds_what_was_taken_away(shop: str, damage: str, problem: str) -> None:
    """Each part of the guard is missed, and comes back when it is applied again."""
    shops.apply(shop, mode="column", column="tenant")
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(damage.encode())
        assert shops.findings(connection) == [("public", "orders", problem)]
        shops.apply(shop, mode="column", column="tenant")
        assert shops.findings(connection) == []
