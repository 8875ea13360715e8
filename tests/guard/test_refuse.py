"""Mode refuse: no test session changes a row, whoever it is and however it writes; nobody else notices anything."""

from __future__ import annotations

from typing import TYPE_CHECKING

import psycopg
import pytest

from shadowproxy.guard import postgres as guards
from tests.guard import shop as shops
from tests.guard.shop import TENANT, WRITES, session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.kit.postgres import PostgresServer


@pytest.fixture(scope="module")
def guarded(postgres: PostgresServer) -> str:
    """A shop whose guard refuses. Tests roll back what they do to it."""
    dsn = postgres.create()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
    shops.apply(dsn)
    return dsn


@pytest.fixture(scope="module")
def plain(postgres: PostgresServer) -> str:
    """The same shop without a guard."""
    dsn = postgres.create()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
    return dsn


@pytest.fixture
def unchanged(guarded: str) -> Iterator[None]:
    """The shop's tables and sequences are to the byte what they were before the test."""
    with psycopg.connect(guarded, autocommit=True) as connection:
        before = shops.checksum(connection)
        yield
        assert shops.checksum(connection) == before


@pytest.mark.usefixtures("unchanged")
@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("replication_role", ["origin", "replica"])
def test_every_form_of_write_is_refused(guarded: str, write: str, replication_role: str) -> None:
    """Also to superusers, and with ordinary triggers switched off; the error says whose write to what."""
    with session(guarded, TENANT) as connection:
        connection.execute(f"SET LOCAL session_replication_role = {replication_role}".encode())
        with pytest.raises(psycopg.Error) as caught:
            connection.execute(WRITES[write].encode())
        assert caught.value.sqlstate == guards.REFUSED
        assert f"test tenant '{TENANT}' may not write to production table public." in str(caught.value)
        assert caught.value.diag.schema_name == "public"
        connection.rollback()


@pytest.mark.parametrize("tenant", [None, ""])
@pytest.mark.parametrize("write", [name for name in WRITES if name != "copy"])
def test_untagged_writes_are_as_before(guarded: str, plain: str, write: str, tenant: str | None) -> None:
    """Rows, counts, what is returned and the plan: the same with and without the guard, for sessions without a tenant."""
    seen = []
    for dsn in (guarded, plain):
        with session(dsn, tenant) as connection:
            cursor = connection.execute(WRITES[write].encode())
            while cursor.nextset():
                pass
            returned = cursor.fetchall() if cursor.description is not None else None
            # Sequences are not rolled back, so ids differ by the tests that ran before.
            seen.append((cursor.statusmessage, returned is not None and len(returned)))
    assert seen[0] == seen[1]


@pytest.mark.parametrize(
    "write", ["insert", "update-from", "delete-cascade", "merge", "on-conflict-update", "partitioned-move", "cte-delete"]
)
def test_plans_of_untagged_sessions_are_the_same(guarded: str, plain: str, write: str) -> None:
    """The planner has nothing to do with the guard."""
    plans = []
    for dsn in (guarded, plain):
        with session(dsn, None) as connection:
            plans.append(connection.execute(f"EXPLAIN (VERBOSE, COSTS OFF) {WRITES[write]}".encode()).fetchall())
    assert plans[0] == plans[1]


@pytest.mark.usefixtures("unchanged")
def test_a_tenant_by_role_needs_no_code(guarded: str, make_role: Callable[[str], str], postgres: PostgresServer) -> None:
    """A role whose sessions are test sessions from the start, whatever the service does: ALTER ROLE ... SET."""
    role = make_role(guarded)
    with psycopg.connect(guarded, autocommit=True) as connection:
        connection.execute(
            f"ALTER ROLE {role} LOGIN; GRANT INSERT ON stock TO {role}; ALTER ROLE {role} SET shadowproxy.tenant = 'shadow'".encode()
        )
    with psycopg.connect(postgres.dsn(guarded.rpartition("/")[2], role)) as connection, pytest.raises(psycopg.Error) as caught:
        connection.execute("INSERT INTO stock VALUES ('new', 1)")
    assert caught.value.sqlstate == guards.REFUSED


def test_tenancy_ends_with_the_transaction(guarded: str) -> None:
    """On one connection, as a pool hands it out: what a tenant's transaction set, the next one does not have."""
    with psycopg.connect(guarded, autocommit=True) as connection:
        for _ in range(3):
            with connection.transaction(force_rollback=True):
                connection.execute("SELECT set_config('shadowproxy.tenant', %s, true)", [TENANT])
                with pytest.raises(psycopg.Error):
                    connection.execute("UPDATE stock SET n = 0")
            with connection.transaction(force_rollback=True):
                assert connection.execute("UPDATE stock SET n = n").rowcount == 5


def test_reading_is_free(guarded: str) -> None:
    """Test sessions read production's rows as ever."""
    with session(guarded, TENANT) as connection:
        assert connection.execute("SELECT count(*) FROM orders").fetchone() == (20,)


def test_foreign_tables_are_guarded(shop: str) -> None:
    """Rows that lie in another database are production's too, and that database does not learn of the tenant."""
    at = psycopg.conninfo.conninfo_to_dict(shop)
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            f"CREATE EXTENSION postgres_fdw; CREATE SERVER s FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host '{at['host']}', port '{at['port']}',"
            f" dbname '{at['dbname']}'); CREATE USER MAPPING FOR PUBLIC SERVER s OPTIONS (user 'postgres');"
            " CREATE FOREIGN TABLE far (thing text, n int) SERVER s OPTIONS (table_name 'stock')".encode()
        )
        shops.apply(shop, tables=("far",))
        before = shops.checksum(connection)
        with session(shop, TENANT) as tagged:
            for write in (b"INSERT INTO far VALUES ('new', 1)", b"UPDATE far SET n = 0", b"DELETE FROM far", b"TRUNCATE far"):
                with pytest.raises(psycopg.Error) as caught, tagged.transaction():
                    tagged.execute(write)
                assert caught.value.sqlstate == guards.REFUSED
        assert shops.checksum(connection) == before
        assert connection.execute("UPDATE far SET n = 0").rowcount == 5
