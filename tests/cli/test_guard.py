"""`shadowproxy guard postgres`."""

from __future__ import annotations

import importlib.util
import json
import subprocess
from typing import Any

import psycopg
import pytest

from shadowproxy.cli import guard as guard_command
from shadowproxy.cli.main import main
from tests.guard.shop import SHOP
from tests.kit.network import free_port
from tests.kit.postgres import WHEEL

SECRET = "hunter2/%40"


@pytest.fixture
def shop(database: str) -> str:
    """A shop's database; its DSN has a password, which the server does not ask for."""
    with psycopg.connect(database, autocommit=True) as connection:
        connection.execute(SHOP.encode())
    return database.replace("postgres@", "postgres:hunter2@", 1)


@pytest.fixture(autouse=True)
def _nothing_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(guard_command.DSN_VARIABLE, raising=False)


def run(*arguments: str) -> int:
    """The command's exit code."""
    return main(["guard", "postgres", *arguments])


def usage_error(*arguments: str) -> None:
    """The command does not know what to do, and says so."""
    with pytest.raises(SystemExit) as caught:
        run(*arguments)
    assert caught.value.code == 2


def test_without_a_database_the_sql_is_printed(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """And is what --apply would run: given to the database by hand, --check finds nothing."""
    assert run("--mode", "divert") == 0
    printed = capsys.readouterr().out
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute(printed.encode())
    assert run("--check", "--dsn", shop) == 0
    assert capsys.readouterr().out == ""
    assert run("--output", "json", "--mode", "divert") == 0
    assert json.loads(capsys.readouterr().out) == {"sql": printed}


def test_checking_applying_and_removing(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Exit 3 while something is not guarded, 0 when all is, and 3 again when the guard is gone."""
    assert run("--check", "--dsn", shop) == 3
    assert "public.orders: test sessions can write to it\n" in capsys.readouterr().out
    assert run("--dsn", shop, "--apply") == 0
    assert "public.orders: refused\n" in capsys.readouterr().out
    assert run("--check", "--dsn", shop, "--output", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"findings": []}
    assert run("--remove", "--apply", "--dsn", shop) == 0
    assert capsys.readouterr().out == "the guard is removed\n"
    assert run("--check", "--dsn", shop, "--table", "stock", "--output", "json") == 3
    assert json.loads(capsys.readouterr().out) == {
        "findings": [{"schema": "public", "table": "stock", "problem": "test sessions can write to it"}]
    }


def test_what_was_done_as_json(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """One object, with each table and what became of it; what is not in the shop is an error of the database's words."""
    assert (
        run("--dsn", shop, "--apply", "--mode", "column", "--column", "tenant", "--table", "orders", "--table", "log", "--output", "json")
        == 0
    )
    assert json.loads(capsys.readouterr().out) == {
        "applied": True,
        "mode": "column",
        "tables": [
            {"schema": "public", "table": "log", "did": "refused"},
            {"schema": "public", "table": "orders", "did": "partitioned by column"},
        ],
    }
    assert run("--dsn", shop, "--apply", "--schema", "nowhere") == 1
    assert capsys.readouterr().err == "shadowproxy: there is no schema nowhere\n"
    assert run("--dsn", shop, "--remove", "--apply", "--output", "json") == 0
    assert json.loads(capsys.readouterr().out) == {"removed": True}


def test_the_dsn_may_stand_in_the_environment(shop: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Where other users cannot read it. With a database named but not --apply, nothing is changed, and that is said."""
    monkeypatch.setenv(guard_command.DSN_VARIABLE, shop)
    assert run("--remove") == 0
    said = capsys.readouterr()
    assert said.out.startswith("BEGIN;\n")
    assert said.err == "shadowproxy: nothing was changed; --apply runs this\n"
    assert run("--check") == 3


@pytest.mark.parametrize(
    "arguments",
    [
        ["--apply"], ["--check", "--remove"], ["--check", "--apply", "--dsn", ""], ["--mode", "column"], ["--column", "tenant"], ["--schema", ""],
        ["--remove", "--table", "stock"], ["--table", "a\0b"], ["--lock-timeout", "-1"], ["--lock-timeout", "soon"], ["--mode", "erase"],
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_a_usage_error(arguments: list[str]) -> None:
    """Exit 2, before any database is spoken to."""
    usage_error(*arguments)


@pytest.mark.parametrize(
    "dsn",
    [
        f"postgresql://someone:{SECRET}@127.0.0.1:{{port}}/x",
        f"host=127.0.0.1 port={{port}} password='{SECRET}'",
        f"host=127.0.0.1 password={SECRET} {SECRET}",
        f"postgresql://someone:{SECRET}@[127.0.0.1/x",
        f"host=127.0.0.1 port={{port}} {SECRET}=x",
    ],
)
@pytest.mark.parametrize("what", ["--apply", "--check"])
def test_no_password_is_ever_told(dsn: str, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Whether the database is down or the DSN cannot be read."""
    assert run(what, "--dsn", dsn.format(port=free_port())) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("shadowproxy: ")
    assert "hunter2" not in said.err


def test_without_the_driver_the_way_out_is_named(shop: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """The extra to install, and that psql takes the SQL; printing works as ever."""
    real = importlib.util.find_spec

    def without_psycopg(name: str, package: str | None = None) -> Any:
        return None if name == "psycopg" else real(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_psycopg)
    assert run("--apply", "--dsn", shop) == 1
    assert "pip install 'shadowproxy[postgres]'" in capsys.readouterr().err
    assert run() == 0


def psql(script: str, dsn: str) -> None:
    """Give a script to the psql of the tests' server."""
    assert WHEEL is not None
    program = WHEEL / "pginstall" / "bin" / "psql"
    subprocess.run(
        [program, "--no-psqlrc", "--quiet", "-v", "ON_ERROR_STOP=1", dsn], input=script.encode(), check=True, capture_output=True
    )


def test_psql_runs_what_is_printed(shop: str, capsys: pytest.CaptureFixture[str]) -> None:
    """As the message says; names that mean something to psql included."""
    with psycopg.connect(shop, autocommit=True) as connection:
        connection.execute("""CREATE TABLE ":'x" (a int); CREATE TABLE "\\q" (a int)""")
    assert run("--table", ":'x", "--table", "\\q", "--table", "stock") == 0
    psql(capsys.readouterr().out, shop)
    assert run("--check", "--dsn", shop, "--table", ":'x", "--table", "\\q", "--table", "stock") == 0
