"""The guard as a whole: set up, mended, checked, taken away, and met by what comes later."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from psycopg import sql

from shadowproxy.guard import postgres as guards
from tests.guard import shop as shops
from tests.guard.shop import TENANT, session
from tests.kit.postgres import WHEEL

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.guard.shop import Connection
    from tests.kit.postgres import PostgresServer

DEFINITIONS = """
SELECT 'class', relname, relkind::text, relrowsecurity::text || relforcerowsecurity::text, relnamespace::regnamespace::text FROM pg_class WHERE relnamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL SELECT 'trigger', tgname, tgrelid::regclass::text, tgenabled::text, '' FROM pg_trigger WHERE NOT tgisinternal
UNION ALL SELECT 'policy', polname, polrelid::regclass::text, polpermissive::text, polcmd::text FROM pg_policy
UNION ALL SELECT 'function', proname, pronamespace::regnamespace::text, prosrc, '' FROM pg_proc WHERE pronamespace::regnamespace::text !~ '^(pg_|information_schema)'
UNION ALL SELECT 'schema', nspname, '', '', '' FROM pg_namespace WHERE nspname !~ '^pg_'
UNION ALL SELECT 'event', evtname, '', '', '' FROM pg_event_trigger
ORDER BY 1, 2, 3, 4, 5
"""
"""Everything that the guard could leave behind."""

MODES: list[dict[str, Any]] = [
    {"mode": "refuse"},
    {"mode": "divert", "has_events": True},
    {"mode": "column", "column": "tenant"},
]


def definitions(dsn: str) -> list[tuple[Any, ...]]:
    """All definitions of a database."""
    with psycopg.connect(dsn) as connection:
        return connection.execute(DEFINITIONS.encode()).fetchall()


def refusal(connection: Connection, statement: str) -> str | None:
    """The SQLSTATE of a statement that fails."""
    with pytest.raises(psycopg.Error) as caught, connection.transaction():
        connection.execute(statement.encode())
    return caught.value.sqlstate


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
def test_removing_leaves_nothing(shop: str, options: dict[str, Any]) -> None:
    """After --remove every definition is what it was, row-level security that was on before included; removing twice is no error."""
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("ALTER TABLE customers ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON customers USING (id > 0)")
        before, contents = definitions(shop), shops.checksum(connection)
        shops.apply(shop, **options)
        assert definitions(shop) != before
        shops.remove(shop)
        shops.remove(shop)
        assert definitions(shop) == before
        assert shops.checksum(connection) == contents


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
def test_applying_again_changes_nothing(shop: str, options: dict[str, Any]) -> None:
    """The same definitions, and the rows of tenants where they were."""
    first = shops.apply(shop, **options)
    before = definitions(shop)
    if options["mode"] == "divert":
        with session(shop, TENANT, diverted=True) as connection:
            connection.execute("INSERT INTO stock VALUES ('kept', 1)")
            connection.commit()
    assert shops.apply(shop, **options) == first
    assert definitions(shop) == before
    if options["mode"] == "divert":
        with session(shop, TENANT, diverted=True) as connection:
            assert connection.execute("SELECT n FROM stock WHERE thing = 'kept'").fetchone() == (1,)


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
def test_dumps_carry_the_guard(shop: str, postgres: PostgresServer, options: dict[str, Any]) -> None:
    """A restored database is guarded as the first one was, tenants' rows included, and lets its guard go as well."""
    assert WHEEL is not None
    programs = WHEEL / "pginstall" / "bin"
    before = definitions(shop)
    shops.apply(shop, **options)
    with session(shop, TENANT, diverted=True) as connection:
        if options["mode"] == "divert":
            connection.execute("UPDATE stock SET n = 3")
            connection.commit()
    copy = postgres.create()
    dump = subprocess.run([programs / "pg_dump", shop], capture_output=True, check=True).stdout
    subprocess.run([programs / "psql", "-q", "-v", "ON_ERROR_STOP=1", copy], input=dump, capture_output=True, check=True)
    assert definitions(copy) == definitions(shop)
    with session(copy, TENANT, diverted=True) as connection:
        assert shops.findings(connection) == []
        if options["mode"] == "divert":
            assert connection.execute("UPDATE stock SET n = n + 1 RETURNING n").fetchall() == [(4,)] * 5
    shops.remove(copy)
    assert definitions(copy) == before
    postgres.drop(copy)


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
def test_the_owner_of_the_tables_needs_no_superuser(
    database: str, postgres: PostgresServer, make_role: Callable[[str], str], options: dict[str, Any]
) -> None:
    """A service's own role guards its own tables, is bound by the guard, and takes it away."""
    role = make_role(database)
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(
            f"ALTER ROLE {role} LOGIN; GRANT CREATE ON DATABASE {connection.info.dbname} TO {role}; GRANT CREATE ON SCHEMA public TO {role}".encode()
        )
    own = postgres.dsn(database.rpartition("/")[2], role)
    with psycopg.connect(own, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
    before = definitions(own)
    shops.apply(own, **{**options, "has_events": False})
    with session(own, TENANT, diverted=True) as connection:
        assert shops.findings(connection) == []
        assert refusal(connection, "DELETE FROM log") == guards.REFUSED
        if options["mode"] == "divert":
            assert connection.execute("INSERT INTO orders (customer) VALUES (1) RETURNING cents").fetchall() == [(100,)]
    shops.remove(own)
    assert definitions(own) == before


def test_applying_fails_whole(shop: str) -> None:
    """One table that is not there, and none is guarded."""
    before = definitions(shop)
    for options in ({"tables": ("stock", "nowhere")}, {"schemas": ("public", "nowhere")}):
        with pytest.raises(psycopg.Error, match=r"there is no (table|schema) nowhere"):
            shops.apply(shop, **options)
    assert definitions(shop) == before


def test_a_schema_has_one_mode(shop: str) -> None:
    """Another mode would leave half of the first one behind."""
    shops.apply(shop)
    with pytest.raises(psycopg.Error, match="guarded otherwise, in mode refuse: --remove that first"):
        shops.apply(shop, mode="divert")


@pytest.mark.parametrize("schema", ["shadowproxy", "shadow_public", "shadow_public_rows"])
def test_schemas_of_others_are_left_alone(shop: str, schema: str) -> None:
    """A schema that has the name of one of the guard's is neither used nor dropped."""
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.mine (a int)".encode())
    before = definitions(shop)
    with pytest.raises(psycopg.Error, match="that is not the guard's"):
        shops.apply(shop, mode="divert")
    if schema == "shadowproxy":
        with pytest.raises(psycopg.Error, match="that is not the guard's"):
            shops.remove(shop)
    assert definitions(shop) == before


def test_check_says_what_is_not_guarded(shop: str) -> None:
    """Everything before, nothing after; then a new table, a new partition, a trigger that was switched off or dropped."""
    with psycopg.connect(shop, autocommit=True) as connection:
        problem = "test sessions can write to it"
        assert ("public", "stock", problem) in shops.findings(connection)
        shops.apply(shop)
        assert shops.findings(connection) == []
        connection.execute("CREATE TABLE fresh (a int); CREATE TABLE events_far PARTITION OF events DEFAULT")
        connection.execute("ALTER TABLE stock DISABLE TRIGGER shadowproxy_refuse; DROP TRIGGER shadowproxy_refuse ON log")
        assert shops.findings(connection) == [
            ("public", "events_far", problem),
            ("public", "fresh", problem),
            ("public", "log", problem),
            ("public", "stock", "a trigger of the guard is disabled"),
        ]
        assert shops.findings(connection, tables=("customers",)) == []
        shops.apply(shop)
        assert shops.findings(connection) == []
        assert shops.findings(connection, "nowhere") == [("nowhere", None, "there is no such schema")]
        assert shops.findings(connection, tables=("nowhere",)) == [("public", "nowhere", "there is no such table")]


def test_check_sees_that_a_table_has_moved_on(shop: str) -> None:
    """A diverted table whose columns change is a finding until the guard is applied again; migrations meet no obstacle."""
    shops.apply(shop, mode="divert")
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE stock ALTER n TYPE bigint; ALTER TABLE customers DROP COLUMN tenant; ALTER TABLE log ADD level text; DROP TABLE items"
        )
        assert [name for _, name, problem in shops.findings(connection) if "apply again" in problem] == ["customers", "log", "stock"]
        shops.apply(shop, mode="divert")
        assert shops.findings(connection) == []
        assert connection.execute("SELECT to_regclass('shadow_public.items'), to_regclass('shadow_public_rows.items')").fetchone() == (
            None,
            None,
        )
    with session(shop, TENANT, diverted=True) as connection:
        connection.execute("INSERT INTO log (level) VALUES ('new'); INSERT INTO stock VALUES ('big', 1::bigint << 40)")


def test_foreign_keys_cross_schemas(shop: str) -> None:
    """A row of one schema's shadow may refer to one of another's, whichever was guarded first."""
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            "CREATE SCHEMA billing; CREATE TABLE billing.bills (id int PRIMARY KEY, order_id int REFERENCES public.orders ON DELETE CASCADE)"
        )
    shops.apply(shop, mode="divert", schemas=("billing", "public"))
    with session(shop, TENANT, diverted=True) as connection:
        connection.execute("SET LOCAL search_path = shadow_public, shadow_billing")
        connection.execute("INSERT INTO orders (id, customer) VALUES (77, 1); INSERT INTO bills VALUES (1, 77)")
        assert refusal(connection, "INSERT INTO bills VALUES (2, 78)") == "23503"
        connection.execute("DELETE FROM orders WHERE id = 77")
        assert connection.execute("SELECT FROM bills").rowcount == 0


def test_names_may_change_hands(shop: str) -> None:
    """A table where a sequence was, and the other way round."""
    shops.apply(shop, mode="divert")
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE invoices ALTER number DROP DEFAULT; DROP SEQUENCE invoice_numbers; CREATE TABLE invoice_numbers (a int PRIMARY KEY)"
        )
        connection.execute("DROP TABLE log; CREATE SEQUENCE log; ALTER TABLE stock RENAME TO wares")
    shops.apply(shop, mode="divert")
    with session(shop, TENANT, diverted=True) as connection:
        assert shops.findings(connection) == []
        connection.execute("INSERT INTO invoice_numbers VALUES (1); DELETE FROM wares")
        assert connection.execute("SELECT nextval('log') >= 1 << 30").fetchall() == [(True,)]


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
def test_applying_again_waits_for_nobody(shop: str, options: dict[str, Any]) -> None:
    """Where nothing is missing no lock is taken that a writer of production would notice, or that would wait for one."""
    shops.apply(shop, **options)
    with session(shop, None) as busy:
        busy.execute("UPDATE stock SET n = 0; UPDATE orders SET cents = 0")
        shops.apply(shop, lock_timeout_ms=200, **options)


def test_check_needs_no_rights(shop: str, make_role: Callable[[str], str]) -> None:
    """Whoever may connect can be told; nothing is written."""
    shops.apply(shop)
    role = make_role(shop)
    with session(shop, None, role=role) as connection:
        connection.execute("SET TRANSACTION READ ONLY")
        assert shops.findings(connection) == []


@pytest.mark.parametrize("options", MODES, ids=lambda options: options["mode"])
def test_event_triggers_guard_what_comes_later(shop: str, options: dict[str, Any]) -> None:
    """A table is guarded by the statement that creates it, whoever creates it; so is a partition, and a changed column reaches the shadow."""
    shops.apply(shop, **{**options, "has_events": True})
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(
            "CREATE TABLE fresh (id int PRIMARY KEY, tenant text); CREATE TABLE events_far PARTITION OF events DEFAULT; CREATE TABLE copied AS SELECT 1 AS a"
        )
        connection.execute("ALTER TABLE stock ADD colour text; CREATE SCHEMA other; CREATE TABLE other.unguarded (a int)")
        assert shops.findings(connection) == []
        assert len(shops.findings(connection, "other")) == 1
    with session(shop, TENANT, diverted=True) as connection:
        if options["mode"] == "divert":
            connection.execute("INSERT INTO fresh VALUES (1); UPDATE stock SET colour = 'red'")
        elif options["mode"] == "refuse":
            assert refusal(connection, "INSERT INTO fresh VALUES (1)") == guards.REFUSED


def test_event_triggers_never_fail_a_migration(shop: str) -> None:
    """What cannot be guarded is warned of, and found by --check."""
    shops.apply(shop, mode="divert", has_events=True)
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("DROP FUNCTION shadowproxy.guard_by_refusal")
        warnings: list[str] = []
        connection.add_notice_handler(lambda notice: warnings.append(str(notice.message_primary)))
        connection.execute("CREATE TABLE fresh (a int)")
        assert any("public.fresh is not guarded" in warning for warning in warnings)
        assert ("public", "fresh", "test sessions can write to it") in shops.findings(connection)


@pytest.fixture(scope="module")
def watched(postgres: PostgresServer) -> str:
    """A shop with event triggers, where nothing that is tried succeeds."""
    dsn = postgres.create()
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(shops.SHOP.encode())
    shops.apply(dsn, has_events=True)
    return dsn


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE log", "ALTER TABLE stock DROP COLUMN n", "ALTER TABLE stock DISABLE TRIGGER ALL", "CREATE TABLE mine (a int)", "CREATE TABLE mine AS SELECT 1 AS a",
     "DROP TRIGGER shadowproxy_refuse ON stock", "CREATE INDEX ON stock (n)", "GRANT ALL ON stock TO PUBLIC"],
)  # fmt: skip
def test_test_sessions_change_no_definitions(watched: str, statement: str) -> None:
    """With event triggers, also those by which they would go around the guard; their temporary tables are theirs."""
    before = definitions(watched)
    with session(watched, TENANT) as connection:
        assert refusal(connection, statement) == guards.DEFINITION_REFUSED
        connection.execute("CREATE TEMP TABLE t (a int); INSERT INTO t VALUES (1); DROP TABLE t")
        connection.commit()
    assert definitions(watched) == before


NAMES = st.one_of(
    st.sampled_from(['"', "'", "a.b", "a'b", 'a"b', "$guard$", "$$", "%s %I", "\\", "ORDER", "select", "a;b", "--", "/*", "tenant", "new", "old", "own", "far",
      "held", "fresh", "k1", "o1", "s", "p", "tg_op", "found", "shadow", "é" * 20, "x" * 57, "NEW.a", "{}", ":name", "a\nb", " "]),
    st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=12),
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=25)
@given(
    schema=NAMES,
    table=NAMES,
    columns=st.lists(NAMES, min_size=3, max_size=3, unique=True),
    mode=st.sampled_from(["refuse", "divert", "column"]),
)
def test_any_name_will_do(postgres: PostgresServer, schema: str, table: str, columns: list[str], mode: Any) -> None:
    """Whatever schemas, tables, columns and constraints are called, they are guarded, and nothing else happens."""
    if len(f"shadow_{schema}_rows".encode()) > 63 or schema.startswith("pg_"):
        return
    dsn = postgres.create()
    names = {"t": sql.Identifier(schema, table), "s": sql.Identifier(schema), "shadow": sql.Identifier("shadow_" + schema)}
    names |= {f"c{n}": sql.Identifier(column) for n, column in enumerate(columns)}
    with psycopg.connect(dsn, autocommit=True) as connection:
        if schema != "public":
            connection.execute(sql.SQL("CREATE SCHEMA {s}").format(**names))
        connection.execute(
            sql.SQL(
                "CREATE TABLE {t} ({c0} serial PRIMARY KEY, {c1} text UNIQUE CHECK ({c1} <> 'x'), {c2} int REFERENCES {t} ON DELETE CASCADE)"
            ).format(**names)
        )
        connection.execute(sql.SQL("INSERT INTO {t} ({c1}) VALUES ('production')").format(**names))
        shops.apply(
            dsn,
            mode=mode,
            schemas=(schema,),
            tables=(table,),
            column=columns[1] if mode == "column" else None,
            has_events=True,
            live_value="production" if mode == "column" else "",
        )
        assert shops.findings(connection, schema, tables=(table,)) == []
    with session(dsn, TENANT) as connection:
        if mode == "divert":
            connection.execute(sql.SQL("SET LOCAL search_path = {shadow}").format(**names))
            bare = sql.Identifier(table)
            connection.execute(sql.SQL("INSERT INTO {b} ({c1}, {c2}) VALUES ('mine', 1)").format(b=bare, **names))
            connection.execute(sql.SQL("UPDATE {b} SET {c1} = {c1} || '!'").format(b=bare, **names))
            assert connection.execute(sql.SQL("SELECT {c1} FROM {b} ORDER BY 1").format(b=bare, **names)).fetchall() == [
                ("mine!",),
                ("production!",),
            ]
            connection.execute(sql.SQL("DELETE FROM {b} WHERE {c2} IS NULL").format(b=bare, **names))
            assert connection.execute(sql.SQL("SELECT FROM {b}").format(b=bare)).rowcount == 0
        elif mode == "refuse":
            assert refusal(connection, sql.SQL("UPDATE {t} SET {c1} = 'y'").format(**names).as_string(connection)) == guards.REFUSED
        else:
            connection.execute(sql.SQL("INSERT INTO {t} ({c2}) VALUES (1)").format(**names))
            assert connection.execute(sql.SQL("SELECT {c1} FROM {t} WHERE {c2} = 1").format(**names)).fetchone() == (TENANT,)
    shops.remove(dsn)
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute(sql.SQL("SELECT {c1} FROM {t}").format(**names)).fetchall() == [("production",)]
    postgres.drop(dsn)


def test_names_that_would_be_cut_are_refused(shop: str) -> None:
    """The shadow of a schema has a longer name, which PostgreSQL would cut, so that two could meet."""
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(f"CREATE SCHEMA {'x' * 60}".encode())
    with pytest.raises(psycopg.Error, match="leaves no room"):
        shops.apply(shop, mode="divert", schemas=("x" * 60,))


@pytest.mark.parametrize(
    "wrong", [{"mode": "other"}, {"schemas": ()}, {"schemas": ("",)}, {"mode": "column"}, {"column": "tenant"}, {"lock_timeout_ms": -1}]
)
def test_what_makes_no_sense_is_refused(wrong: dict[str, Any]) -> None:
    """Before any SQL is made."""
    with pytest.raises(ValueError):
        guards.Guard(**wrong)


def test_scripts_are_one_transaction_with_a_limit_to_waiting() -> None:
    """All or nothing, and production's writers do not queue for long behind the guard's lock."""
    for script in (guards.setup(guards.Guard()), guards.removal()):
        assert script.startswith("BEGIN;\nSET LOCAL lock_timeout = 5000;\n")
        assert script.endswith("\nCOMMIT;\n")


def test_waiting_for_a_lock_ends(shop: str) -> None:
    """A table that is in use makes the whole fail, with the tables as they were."""
    with session(shop, None) as busy:
        busy.execute("LOCK TABLE stock")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            shops.apply(shop, lock_timeout_ms=50)
    with psycopg.connect(shop) as connection:
        assert {problem for _, _, problem in shops.findings(connection)} == {"test sessions can write to it"}
