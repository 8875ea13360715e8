"""`shadowproxy demo`: see it work, on a shop of its own."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from shadowproxy.demo import show

if TYPE_CHECKING:
    from shadowproxy.cli.main import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `demo`."""
    parser = subparsers.add_parser("demo", help="a live and a shadow shop, the proxy, traffic and the result")
    parser.add_argument("--seconds", type=_positive, default=30.0, help="how long traffic runs (default: 30)")
    parser.add_argument("--rate", type=_positive, default=120.0, metavar="N", help="requests a second (default: 120)")
    parser.add_argument("--keep", action="store_true", help="stay up after the result, until Ctrl-C")
    parser.set_defaults(run=_run)


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value <= 1e6:
        raise argparse.ArgumentTypeError(f"{text} is not a number above 0")
    return value


def _run(arguments: argparse.Namespace) -> int:
    return show.run(seconds=arguments.seconds, rate=arguments.rate, is_kept=arguments.keep)
