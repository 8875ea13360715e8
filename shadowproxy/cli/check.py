"""`shadowproxy check FILE`: says everything that is wrong with a config file, or prints its JSON Schema.

Exit codes: 0 usable (warnings allowed), 1 not usable, 3 usable but with warnings under `--strict`.

With `--output json` one object is printed: `{file, ok, errors, warnings, digest, problems}`, where
each problem is `{path, message, line, column, file, suggestion, is_warning}` and `digest` is null
for a file that cannot be used.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Final

from shadowproxy.config import load_file
from shadowproxy.config.schema import schema
from shadowproxy.errors import ConfigError, Problem

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from shadowproxy.cli.main import Subparsers
    from shadowproxy.config import Loaded

OK: Final = 0
UNUSABLE: Final = 1
USAGE: Final = 2
FINDINGS: Final = 3


def register(subparsers: Subparsers) -> None:
    """Add `check`."""
    parser = subparsers.add_parser("check", help="check a config file", description="Say everything that is wrong with a config file.")
    parser.add_argument("file", nargs="?", metavar="FILE", help="the config file")
    parser.add_argument("--schema", action="store_true", help="print the JSON Schema of config files instead")
    parser.add_argument("--strict", action="store_true", help="exit 3 when there are warnings")
    parser.add_argument("--output", choices=("text", "json"), default="text", help="how to print the findings")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Check the file or print the schema, and return the exit code."""
    if arguments.schema:
        print(json.dumps(schema(), indent=2))
        return OK
    if arguments.file is None:
        arguments.parser.error("FILE is missing (or --schema)")
    loaded: Loaded | None = None
    try:
        loaded = load_file(arguments.file)
        problems: tuple[Problem, ...] = loaded.warnings
    except ConfigError as error:
        problems = tuple(error.problems)
    if loaded is not None and (unusable := tuple(_documents(loaded))):
        loaded, problems = None, problems + unusable
    if arguments.output == "json":
        _print_json(arguments.file, loaded, problems)
    else:
        _print_text(loaded, problems)
    if loaded is None:
        return UNUSABLE
    return FINDINGS if problems and arguments.strict else OK


def _documents(loaded: Loaded) -> Iterator[Problem]:
    """What is wrong with the OpenAPI documents that sinks answer by."""
    for name, sink in loaded.config.sinks.items():
        if sink.openapi is not None:
            # Here, as only the process of the sinks reads them: the config is accepted without their libraries' word.
            from shadowproxy.sinks.openapi import OpenApi  # noqa: PLC0415  only configs with a document pay for it

            try:
                OpenApi(sink.openapi.file)
            except (OSError, ValueError) as error:
                yield Problem(f"sinks.{name}.openapi.file", str(error), file=loaded.file)


def _print_text(loaded: Loaded | None, problems: tuple[Problem, ...]) -> None:
    for problem in problems:
        print(problem)
    warnings = sum(problem.is_warning for problem in problems)
    suffix = f", {_count(warnings, 'warning')}" if warnings else ""
    if loaded is None:
        print(f"{_count(len(problems) - warnings, 'problem')}{suffix}")
        return
    config = loaded.config
    mirrors = sum(len(route.mirror) for route in config.routes)
    print(f"ok: {_count(len(config.routes), 'route')}, {_count(len(config.fleets), 'fleet')}, {_count(mirrors, 'mirror')}{suffix}")


def _print_json(file: str, loaded: Loaded | None, problems: tuple[Problem, ...]) -> None:
    warnings = sum(problem.is_warning for problem in problems)
    found = {
        "file": file,
        "ok": loaded is not None,
        "errors": len(problems) - warnings,
        "warnings": warnings,
        "digest": loaded.digest if loaded is not None else None,
        "problems": [asdict(problem) for problem in problems],
    }
    print(json.dumps(found, indent=2))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
