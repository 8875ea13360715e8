"""`shadowproxy run`: one instance, in the foreground, until it is stopped."""

from __future__ import annotations

import asyncio
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from shadowproxy.config import load_file
from shadowproxy.control.logs import log_to_stderr

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers
    from shadowproxy.config.model import Config
    from shadowproxy.control.lines import LineWriter


def register(subparsers: Subparsers) -> None:
    """Add `run`."""
    parser = subparsers.add_parser(
        "run",
        help="start the proxy",
        description="Start the proxy with a config and serve until SIGTERM or Ctrl-C; SIGHUP reads the config again.",
    )
    parser.add_argument("-c", "--config", required=True, metavar="FILE", help="the config file")
    parser.add_argument("--verbose", action="store_true", help="log more")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run an instance and return its exit status.

    Raises:
        ConfigError: the config cannot be used.
        ControlError: the instance cannot start.
    """
    loaded = load_file(arguments.config)
    for warning in loaded.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    log = log_to_stderr(logging.DEBUG if arguments.verbose else logging.INFO)
    try:
        return asyncio.run(_supervise(loaded.config, Path(arguments.config).absolute(), log))
    finally:
        log.close()


async def _supervise(config: Config, file: Path, log: LineWriter) -> int:
    from shadowproxy.control.supervisor import Supervisor  # noqa: PLC0415 the other commands must not wait for aiohttp to load

    return await Supervisor(config, file, log=log).run()
