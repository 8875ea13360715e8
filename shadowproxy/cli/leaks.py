"""`shadowproxy leaks`: outgoing calls of test traffic that had lost their tag, and the services that dropped it.

Exit codes: 0 none, 1 there are some. With `--output json` the document of `GET /api/v1/leaks` is printed.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.export import printable

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from shadowproxy.cli.main import Subparsers

PATH: Final = "/api/v1/leaks"

ACTIONS: Final = {"retag": "tagged again", "refuse": "refused", "report": "LET PASS"}
"""What became of a call, in words."""


def register(subparsers: Subparsers) -> None:
    """Add `leaks`."""
    parser = subparsers.add_parser(
        "leaks",
        help="calls of test traffic that had lost their tag, and who dropped it",
        description="Show calls that came to an egress listener without the tag of the trace that they belong to.",
    )
    client.add_arguments(parser)
    parser.add_argument("--service", metavar="NAME", help="only calls of this service, and those that it is to blame for")
    parser.add_argument("--trace", metavar="HEX", help="only calls of this trace")
    parser.add_argument("--since", metavar="SECONDS", type=float, help="only calls of the last so many seconds")
    parser.add_argument("--limit", metavar="N", help="at most N (default 100)")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the leaks; 1 when there are any.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: a filter is not understood.
    """
    chosen = {name: getattr(arguments, name) for name in ("service", "trace", "limit")}
    if arguments.since is not None:
        chosen["since"] = f"{time.time() - arguments.since:.3f}"
    query = urlencode({name: value for name, value in chosen.items() if value is not None}, quote_via=quote)
    document = client.connect(arguments).get(PATH + (f"?{query}" if query else ""))
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False).print(render({**document, "blamed": _blamed(document["leaks"])} if query else document))
    return 1 if document["leaks"] or (not query and document["total"]) else 0


def render(document: dict[str, Any]) -> RenderableType:
    """The leaks as people read them. What callers said is set as text and cannot move the cursor."""
    if not document["leaks"]:
        return Text("no call has lost its tag" if not document["total"] else f"none of the {document['total']:,} calls fits")
    parts: list[RenderableType] = [
        Text(printable(f"{one['service']} dropped the tag of {_calls(one['calls'])}{_after(one['consequences'])}"), "bold red")
        for one in document["blamed"]
    ]
    if document["undescribed"]:
        parts.append(Text(f"{_calls(document['undescribed'])}, only counted", "dim"))
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("time", "service", "call", "became", "because of", "trace"):
        table.add_column(column, overflow="fold")
    for one in document["leaks"]:
        table.add_row(
            time.strftime("%H:%M:%S", time.localtime(one["time"])),
            Text(printable(one["service"])),
            Text(printable(f"{one['method']} {one['host']}{one['path']}")),
            ACTIONS.get(one["action"], one["action"]),
            Text(printable(one["culprit"]) if one["is_consequence"] else "itself", "dim" if one["is_consequence"] else "red"),
            one["trace"],
        )
    return Group(*parts, Text(""), table)


def _blamed(leaks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Who is to blame for the calls that are listed, where these are not all."""
    own = Counter(one["culprit"] for one in leaks if not one["is_consequence"])
    after = Counter(one["culprit"] for one in leaks if one["is_consequence"])
    return [{"service": name, "calls": own[name], "consequences": after[name]} for name, _ in (own + after).most_common()]


def _calls(count: int) -> str:
    return f"{count:,} call{'s' * (count != 1)}"


def _after(count: int) -> str:
    return f", and {_calls(count)} of others had none because of that" if count else ""
