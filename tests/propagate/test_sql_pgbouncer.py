"""Behind a real PgBouncer in transaction mode, where transactions of many clients share one connection to the database."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import asyncpg
import psycopg
import pytest
import sqlalchemy
from psycopg_pool import ConnectionPool

from shadowproxy.propagate import tagged
from shadowproxy.propagate.sql import SqlTenancy
from shadowproxy.propagate.sql_asyncpg import connection_class as asyncpg_class
from shadowproxy.propagate.sql_psycopg import connection_class
from shadowproxy.propagate.sql_sqlalchemy import install
from tests.kit.network import HOST, connected, free_port
from tests.kit.process import eventually
from tests.propagate.shadows import READ, SHADOWS, WRITE, lamps

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin")
needs_pgbouncer = pytest.mark.skipif(PROGRAM is None, reason="pgbouncer is not installed: pooling by transaction is not tested with it")

DIVERTING = SqlTenancy(shadow_schema=SHADOWS)


@pytest.fixture
def bounced(shop: str, tmp_path: Path) -> Iterator[str]:
    """The DSN of the shop by way of PgBouncer, with one connection behind it."""
    assert PROGRAM is not None
    at, port = psycopg.conninfo.conninfo_to_dict(shop), free_port()
    settings = tmp_path / "pgbouncer.ini"
    settings.write_text(
        f"[databases]\n{at['dbname']} = host={at['host']} port={at['port']} user=postgres\n"
        f"[pgbouncer]\nlisten_addr = {HOST}\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        "pool_mode = transaction\ndefault_pool_size = 1\nignore_startup_parameters = extra_float_digits\n"
    )
    # It refuses to be root, and reads its settings before it is somebody else.
    user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
    with settings.open("rb") as text, (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [PROGRAM, "/dev/stdin"], stdin=text, stdout=log, stderr=log, cwd="/",
            user=None if user is None else user.pw_uid, group=None if user is None else user.pw_gid, extra_groups=None if user is None else [],
        )  # fmt: skip
    try:
        eventually(lambda: process.poll() is not None or _accepts(port), "PgBouncer accepts")
        assert process.poll() is None, (tmp_path / "log").read_text()
        yield f"postgresql://postgres@{HOST}:{port}/{at['dbname']}"
    finally:
        process.terminate()
        process.wait(10)


def _accepts(port: int) -> bool:
    try:
        connected((HOST, port)).close()
    except OSError:
        return False
    return True


@needs_pgbouncer
def test_tenants_and_production_share_a_connection(bounced: str, shop: str) -> None:
    """Transaction by transaction in turn, and also between statements of connections that are open at once: none is taken for another's."""
    carrying = connection_class(DIVERTING)
    options: dict[str, Any] = {"autocommit": True, "prepare_threshold": None}
    with carrying.connect(bounced, **options) as one, carrying.connect(bounced, **options) as other:
        for n in range(5):
            with tagged("canary-7"), one.transaction():
                one.execute(WRITE)
                pid = one.execute("SELECT pg_backend_pid()").fetchall()
            assert other.execute("SELECT coalesce(current_setting('shadowproxy.tenant', true), '')").fetchall() == [("",)]
            assert other.execute("SELECT pg_backend_pid()").fetchall() == pid
            with tagged("canary-8"):
                assert other.execute(READ).fetchall() == [(10 - n,)]  # production's, as this tenant has written nothing
            one.execute(WRITE)
            assert lamps(shop) == 9 - n


@needs_pgbouncer
async def test_asyncpg_shares_it_too(bounced: str, shop: str) -> None:
    """Without named statements, as PgBouncer wants it."""
    connection = await asyncpg.connect(bounced, connection_class=asyncpg_class(DIVERTING), statement_cache_size=0)
    try:
        for n in range(3):
            with tagged("canary-7"):
                await connection.execute(WRITE)
                async with connection.transaction():
                    await connection.execute(WRITE)
                    assert await connection.fetchval(READ) == 10 - 2 * (n + 1)
            await connection.execute(WRITE)
            assert lamps(shop) == 9 - n
    finally:
        await connection.close()


def test_a_pool_of_psycopg_hands_connections_on(shop: str) -> None:
    """One connection, tenants and production in turn, also after a transaction that failed."""
    with ConnectionPool(shop, min_size=1, max_size=1, connection_class=connection_class(DIVERTING), open=True) as pool:
        for n in range(3):
            with tagged("canary-7"):
                with pool.connection() as connection:
                    connection.execute(WRITE)
                with pytest.raises(psycopg.errors.DivisionByZero), pool.connection() as connection:
                    connection.execute("SELECT 1 / 0")
            with pool.connection() as connection:
                connection.execute(WRITE)
            assert lamps(shop) == 9 - n


def test_a_pool_of_sqlalchemy_hands_connections_on(shop: str) -> None:
    """The same with an engine."""
    engine = sqlalchemy.create_engine(shop.replace("postgresql", "postgresql+psycopg"), pool_size=1, max_overflow=0)
    install(engine, DIVERTING)
    for n in range(3):
        with tagged("canary-7"), engine.begin() as connection:
            connection.execute(sqlalchemy.text(WRITE))
        with engine.begin() as connection:
            connection.execute(sqlalchemy.text(WRITE))
        assert lamps(shop) == 9 - n
    engine.dispose()
