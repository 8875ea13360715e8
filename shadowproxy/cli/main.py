"""The `shadowproxy` command: finds the group that an argument list names and runs it.

Every module in GROUPS has `register(subparsers)`, which adds its parsers and gives each
`set_defaults(run=function)`, a function from the parsed arguments to an exit code.

Exit codes: 0 ok, 1 failed, 2 usage, 3 lint findings, 4 admin API unreachable, 98 undecided,
99 regression, 130 interrupted, 141 nobody reads the output any more.
"""

from __future__ import annotations

import argparse
import os
import sys
from typing import TYPE_CHECKING, Final, Protocol

from shadowproxy import __version__
from shadowproxy.cli import (
    audit,
    check,
    compare,
    demo,
    diff,
    experiment,
    explain,
    gameday,
    gates,
    guard,
    judge,
    kill,
    leaks,
    ledger,
    passport,
    report,
    rollout,
    run,
    sink,
    status,
    verdict,
    whois,
)
from shadowproxy.errors import AdminUnreachable, ConfigError, ShadowproxyError

if TYPE_CHECKING:
    from collections.abc import Sequence

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]  # noqa: SLF001  argparse gives its type no public name


class Group(Protocol):
    """A module that adds commands."""

    def register(self, subparsers: Subparsers) -> None:
        """Add the group's parsers, each with `set_defaults(run=...)`."""


GROUPS: Final[tuple[Group, ...]] = (
    run,
    check,
    explain,
    demo,
    status,
    compare,
    verdict,
    diff,
    report,
    gates,
    kill,
    rollout,
    judge,
    experiment,
    gameday,
    guard,
    passport,
    sink,
    leaks,
    ledger,
    audit,
    whois,
)

FAILED: Final = 1
UNREACHABLE: Final = 4
INTERRUPTED: Final = 128 + 2
PIPE_CLOSED: Final = 128 + 13


def build_parser() -> argparse.ArgumentParser:
    """Return the parser with every group's commands."""
    parser = argparse.ArgumentParser(prog="shadowproxy", description="Mirror production traffic to a shadow fleet without hurting live.")
    parser.add_argument("--version", action="version", version=f"shadowproxy {__version__}")
    subparsers = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for group in GROUPS:
        group.register(subparsers)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command that `argv` (default: the process's arguments) names and return its exit code.

    Raises:
        SystemExit: on a usage error (code 2), `--help` or `--version` (code 0).

    """
    arguments = build_parser().parse_args(argv)
    try:
        code = int(arguments.run(arguments))
        sys.stdout.flush()
    except BrokenPipeError:
        # The interpreter flushes stdout once more at exit; give it somewhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return PIPE_CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except ConfigError as error:
        for problem in error.problems:
            print(problem, file=sys.stderr)
        return FAILED
    except AdminUnreachable as error:
        print(f"shadowproxy: {error}", file=sys.stderr)
        return UNREACHABLE
    except ShadowproxyError as error:
        print(f"shadowproxy: {error}", file=sys.stderr)
        return FAILED
    return code
