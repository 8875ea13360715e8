"""`shadowproxy guard postgres`: SQL that makes a database refuse or divert the writes of test sessions.

Prints the SQL; with `--apply` runs it, and with `--check` says what is not guarded. Exit codes: 0 done or nothing
found, 1 failed, 2 usage, 3 something is not guarded.

With `--output json` one object is printed: `{sql}` when nothing was run, `{applied, mode, tables}` with a list of
`{schema, table, did}`, `{removed}`, or `{findings}` with a list of `{schema, table, problem}`. A DSN is never printed.
"""

from __future__ import annotations

import importlib.util
import json
import os
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import GuardFailed
from shadowproxy.guard import postgres

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    import psycopg

    from shadowproxy.cli.main import Subparsers

DSN_VARIABLE: Final = "SHADOWPROXY_GUARD_DSN"
"""Other users of the machine can read a command's arguments, but not its environment."""
FINDINGS: Final = 3
CONNECT_TIMEOUT_S: Final = 10

_EPILOG: Final = f"Needs psycopg to reach a database (pip install 'shadowproxy[postgres]'); the DSN may also stand in {DSN_VARIABLE}."


def register(subparsers: Subparsers) -> None:
    """Add `guard postgres`."""
    guard = subparsers.add_parser("guard", help="make a database keep test writes away from production data")
    kinds = guard.add_subparsers(dest="kind", metavar="DATABASE", required=True)
    parser = kinds.add_parser(
        "postgres",
        help="guard a PostgreSQL database",
        description="Print SQL with which PostgreSQL refuses or diverts the writes of test sessions, run it, or say what is not guarded.",
        epilog=_EPILOG,
    )
    does = parser.add_mutually_exclusive_group()
    does.add_argument("--check", action="store_true", help="list what is not guarded, and exit 3 if there is anything; changes nothing")
    does.add_argument("--remove", action="store_true", help="undo everything, also what test sessions have written to shadow tables")
    parser.add_argument("--apply", action="store_true", help="run the SQL instead of printing it")
    parser.add_argument("--dsn", metavar="DSN", help="the database; '' for what PGHOST, PGUSER and so on say")
    parser.add_argument("--mode", choices=postgres.MODES, default="refuse", help="what becomes of a test session's write (default: refuse)")
    parser.add_argument("--schema", action="append", metavar="NAME", help="guard this schema; may be repeated (default: public)")
    parser.add_argument("--table", action="append", metavar="NAME", help="only this table; may be repeated")
    parser.add_argument("--column", metavar="NAME", help="mode column: the column that names a row's tenant")
    parser.add_argument("--live-value", metavar="TEXT", default="", help="mode column: what it holds in production's rows, beside NULL")
    parser.add_argument("--event-triggers", action="store_true", help="guard new tables as they come (takes a superuser)")
    parser.add_argument(
        "--lock-timeout", metavar="SECONDS", type=_seconds, default=5.0, help="wait as long for a table's lock (default: 5)"
    )
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to print the result")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Do what was asked, and return the exit code.

    Raises:
        GuardFailed: no driver, no database, or one that refuses.
    """
    dsn = os.environ.get(DSN_VARIABLE) if arguments.dsn is None else arguments.dsn
    if arguments.apply and (dsn is None or arguments.check):
        arguments.parser.error("--check applies nothing" if arguments.check else "--apply needs --dsn")
    try:
        sql = _sql(arguments)
    except ValueError as error:
        arguments.parser.error(str(error))
    if arguments.check and dsn is not None:
        return _check(arguments, dsn, sql)
    if not arguments.apply:
        if dsn is not None:
            print("shadowproxy: nothing was changed; --apply runs this", file=sys.stderr)
        print(json.dumps({"sql": sql}) if arguments.output == "json" else sql, end="\n" if arguments.output == "json" else "")
        return 0
    return _apply(arguments, dsn or "", sql)


def _sql(arguments: argparse.Namespace) -> str:
    schemas = tuple(arguments.schema or ("public",))
    tables = None if arguments.table is None else tuple(arguments.table)
    if arguments.check:
        return postgres.check(schemas, tables)
    milliseconds = round(arguments.lock_timeout * 1000)
    if arguments.remove:
        if arguments.schema or arguments.table:
            raise ValueError("--remove undoes everything: it takes no --schema and no --table")
        return postgres.removal(milliseconds)
    return postgres.setup(
        postgres.Guard(
            mode=arguments.mode,
            schemas=schemas,
            tables=tables,
            column=arguments.column,
            live_value=arguments.live_value,
            has_events=arguments.event_triggers,
            lock_timeout_ms=milliseconds,
        )
    )


def _check(arguments: argparse.Namespace, dsn: str, sql: str) -> int:
    with _connected(dsn) as connection:
        findings = [{"schema": schema, "table": table, "problem": problem} for schema, table, problem in _last_rows(connection, sql)]
    if arguments.output == "json":
        print(json.dumps({"findings": findings}, indent=2))
    else:
        for one in findings:
            print(f"{_name(one['schema'], one['table'])}: {one['problem']}")
    return FINDINGS if findings else 0


def _apply(arguments: argparse.Namespace, dsn: str, sql: str) -> int:
    with _connected(dsn) as connection:
        tables = _last_rows(connection, sql)
    if arguments.remove:
        print(json.dumps({"removed": True}) if arguments.output == "json" else "the guard is removed")
    elif arguments.output == "json":
        done = [{"schema": schema, "table": table, "did": did} for schema, table, did in tables]
        print(json.dumps({"applied": True, "mode": arguments.mode, "tables": done}, indent=2))
    else:
        for schema, table, did in tables:
            print(f"{_name(schema, table)}: {did}")
    return 0


@contextmanager
def _connected(dsn: str) -> Iterator[psycopg.Connection[tuple[Any, ...]]]:
    """A connection whose errors, and those of what is done with it, are told without the DSN.

    Raises:
        GuardFailed: whatever goes wrong with the database.
    """
    if importlib.util.find_spec("psycopg") is None:
        raise GuardFailed("psycopg is not installed: pip install 'shadowproxy[postgres]', or give the printed SQL to psql")
    import psycopg  # noqa: PLC0415  an optional extra

    try:
        said = psycopg.conninfo.conninfo_to_dict(dsn)
    except psycopg.Error:
        # libpq quotes what it cannot read, which may be a password.
        raise GuardFailed("the DSN is not one that libpq can read") from None
    try:
        with psycopg.connect(dsn, autocommit=True, connect_timeout=CONNECT_TIMEOUT_S) as connection:
            yield connection
    except psycopg.Error as error:
        raise GuardFailed(_told(error, str(said.get("password") or ""))) from None


def _told(error: psycopg.Error, password: str) -> str:
    parts = [error.diag.message_primary or str(error).strip()]
    if error.diag.message_hint:
        parts.append(f"({error.diag.message_hint})")
    text = " ".join(parts)
    return text.replace(password, "***") if password else text


def _last_rows(connection: psycopg.Connection[tuple[Any, ...]], script: str) -> list[tuple[Any, ...]]:
    """Run statements, and return the rows of the last that has any."""
    cursor = connection.execute(script.encode())
    rows: list[tuple[Any, ...]] = []
    while True:
        if cursor.description is not None:
            rows = cursor.fetchall()
        if not cursor.nextset():
            return rows


def _name(schema: str, table: str | None) -> str:
    return schema if table is None else f"{schema}.{table}"


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 86400:
        raise ValueError(text)
    return seconds
