"""`shadowproxy whois UNIT`: which experiments, rollouts and mirrors a user or tenant is or was affected by, in plain sentences.

Exit codes: 0 affected by nothing, 1 by something. With `--output json` the document of `GET /api/v1/whois` is printed, which
does not name the unit.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from rich.console import Console, Group
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.export import printable
from shadowproxy.config.units import read_seconds
from shadowproxy.experiments.whois import is_affected, with_sentences

if TYPE_CHECKING:
    from rich.console import RenderableType

    from shadowproxy.cli.main import Subparsers

PATH: Final = "/api/v1/whois"

KINDS: Final = ("experiments", "rollouts", "mirrors")


def register(subparsers: Subparsers) -> None:
    """Add `whois`."""
    parser = subparsers.add_parser(
        "whois",
        help="which experiments, rollouts and mirrors a user or tenant is or was affected by (exit 1: by some)",
        description="Say what a unit (a user, tenant or session, as requests carry it) was a part of, and what really happened to it. "
        "The unit is kept nowhere.",
    )
    client.add_arguments(parser)
    parser.add_argument("unit", metavar="UNIT", help="as requests carry it; - reads it from standard input, out of sight of process lists")
    parser.add_argument("--since", metavar="DURATION", type=_duration, default=7 * 86400.0, help="how far to look back (default: 7d)")
    parser.add_argument("--key", metavar="KEY", default="", help="only what goes by this key, such as header:x-user-id")
    parser.add_argument("--all", action="store_true", help="also what the unit was not a part of")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print what is known; 1 when the unit is or was affected.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: the question is not understood, or the record cannot be read.
    """
    unit = sys.stdin.readline().rstrip("\r\n") if arguments.unit == "-" else arguments.unit
    asked = {"unit": unit, "since": f"{time.time() - arguments.since:.3f}", "key": arguments.key}
    query = urlencode({name: value for name, value in asked.items() if value}, errors="surrogateescape")
    document = client.connect(arguments).get(f"{PATH}?{query}")
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render(document, unit, everything=arguments.all))
    return 1 if document["affected"] else 0


def render(document: dict[str, Any], unit: str, *, everything: bool = False) -> RenderableType:
    """The answer as people read it. What is not the unit's business is counted, or told where that is asked for."""
    said = with_sentences(document, f"User {unit}")
    lines: list[Text] = []
    others: list[Text] = []
    for kind in KINDS:
        for one in said[kind]:
            (lines if is_affected(one) else others).append(Text(printable(one["sentence"]), "bold" if one["hits"] else ""))
    parts: list[RenderableType] = list(lines or [Text(printable(f"User {unit} was affected by nothing that is on record."))])
    if everything:
        parts += [Text(str(one), "dim") for one in others]
    elif others:
        parts.append(Text(f"It was no part of {len(others)} other{'s' * (len(others) != 1)} (--all shows them).", "dim"))
    if not document["is_complete"]:
        parts.append(
            Text(printable(f"The record is not complete: {document['problem'] or 'some of it could not be written'}."), "bold yellow")
        )
    return Group(*parts)


def _duration(text: str) -> float:
    """Seconds out of `7d`, `12h`, `90s`.

    Raises:
        argparse.ArgumentTypeError: it is none.
    """
    number, unit = text[:-1], text[-1:]
    if unit == "d" and number.replace(".", "", 1).isdigit():
        return float(number) * 86400
    try:
        return float(read_seconds(text))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
