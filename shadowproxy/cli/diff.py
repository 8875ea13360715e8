"""`shadowproxy diff`: the pairs that show how live and shadow disagree, and the request of one as a program.

`list` shows which there are, `show` one of them with both answers side by side, `export` writes
its request as a curl command, a pytest file or a locustfile.
"""

from __future__ import annotations

import base64
import contextlib
import difflib
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.compare import milliseconds
from shadowproxy.cli.export import EXPORTS, printable

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from shadowproxy.cli.main import Subparsers

PATH: Final = "/api/v1/exemplars"
TARGET_WIDTH: Final = 60
CONTEXT_LINES: Final = 3
DIFF_LINES: Final = 400
"""Lines of the difference of two bodies that are shown; the JSON output has both bodies."""


def register(subparsers: Subparsers) -> None:
    """Add `diff list`, `diff show` and `diff export`."""
    parser = subparsers.add_parser(
        "diff",
        help="pairs that show how live and shadow disagree",
        description="Show discordant pairs, redacted, and export their requests.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="the discordant pairs that are kept, the worst first")
    client.add_arguments(listing)
    listing.add_argument("--route", metavar="NAME", help="only those of this route")
    listing.add_argument("--mirror", metavar="NAME", help="only those of this mirror")
    listing.add_argument("--transition", metavar="A->B", help="only those with this change of outcome: '200->504', '2xx->5xx'")
    listing.add_argument("--field", metavar="PATH", help="only those that differ in this field")
    listing.add_argument("--limit", metavar="N", help="at most N (default 100)")
    listing.set_defaults(run=list_exemplars)
    showing = actions.add_parser("show", help="one pair: the request and both answers")
    client.add_arguments(showing)
    showing.add_argument("id", metavar="ID")
    showing.set_defaults(run=show)
    exporting = actions.add_parser("export", help="the request of one pair as a program")
    client.add_arguments(exporting)
    exporting.add_argument("id", metavar="ID")
    exporting.add_argument("--as", dest="form", choices=tuple(EXPORTS), default="curl", help="what to write (default curl)")
    exporting.set_defaults(run=export)


def list_exemplars(arguments: argparse.Namespace) -> int:
    """Print which exemplars there are.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: a filter is not understood.
    """
    chosen = {name: getattr(arguments, name) for name in ("route", "mirror", "transition", "field", "limit")}
    query = urlencode({name: value for name, value in chosen.items() if value is not None}, quote_via=quote)
    document = client.connect(arguments).get(PATH + (f"?{query}" if query else ""))
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False).print(render_list(document))
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print one exemplar.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: there is none of that id.
    """
    document = _one(arguments)
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False).print(render(document))
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Print the request of one exemplar as a program. Raises as `show`."""
    document = _one(arguments)
    text = EXPORTS[arguments.form](document)
    print(json.dumps({"id": document["id"], "as": arguments.form, "text": text}, indent=2) if arguments.output == "json" else text, end="")
    if arguments.output == "json":
        print()
    return 0


def render_list(document: dict[str, Any]) -> RenderableType:
    """Exemplars as a table. What was captured is set as text and cannot move the cursor."""
    if not document["exemplars"]:
        return Text("no discordant pair is kept" if not document["kept"] else "none of the pairs that are kept fits")
    table = _table("id", "route/mirror", "request", "live", "shadow", "why")
    for one in document["exemplars"]:
        request = printable(f"{one['request']['method']} {one['request']['target']}")
        table.add_row(
            one["id"],
            Text(printable(f"{one['route']}/{one['mirror']}")),
            Text(request if len(request) <= TARGET_WIDTH else request[: TARGET_WIDTH - 1] + "…"),
            *(Text(f"{one[arm]['outcome']} {milliseconds(one[arm]['last_seconds'])}") for arm in ("live", "shadow")),
            Text(printable("; ".join(_reason(why) for why in one["why"]))),
        )
    return table


def render(document: dict[str, Any]) -> RenderableType:
    """One exemplar: why it is one, the request, and both answers with what differs."""
    request = document["request"]
    parts: list[RenderableType] = [
        Text(printable(f"{request['method']} {request['target']}"), "bold"),
        Text(printable(f"{document['route']}/{document['mirror']}, exemplar {document['id']}, trace {document['trace'] or '-'}"), "dim"),
        *(Text(printable(f"- {_reason(why)}"), "red") for why in document["why"]),
        Text(""),
        *_head(request),
        *(Text(line) for line in body_lines(request)),
        Text(""),
    ]
    table = _table("", "outcome", "first byte", "last byte")
    for arm in ("live", "shadow", "control"):
        if arm in document:
            times = (milliseconds(document[arm][name]) for name in ("first_seconds", "last_seconds"))
            table.add_row(arm, Text(printable(document[arm]["outcome"])), *times)
    parts += [table, Text("")]
    parts += difference(_lines(document["live"]), _lines(document["shadow"]))
    return Group(*parts)


def difference(live: list[str], shadow: list[str]) -> list[RenderableType]:
    """Two answers as a unified difference, or one of them when they are alike."""
    if live == shadow:
        return [Text("live and shadow answered the same:", "dim"), *(Text(f"  {line}") for line in live[:DIFF_LINES])]
    lines = list(difflib.unified_diff(live, shadow, "live", "shadow", lineterm="", n=CONTEXT_LINES))
    styles = {"+": "green", "-": "red", "@": "cyan"}
    shown: list[RenderableType] = [Text(line, styles.get(line[:1], "")) for line in lines[:DIFF_LINES]]
    if len(lines) > DIFF_LINES:
        shown.append(Text(f"and {len(lines) - DIFF_LINES} more lines", "dim"))
    return shown


def body_lines(message: dict[str, Any]) -> list[str]:
    """The body of a message as people read it: JSON indented, text as it is, what was not kept by its length."""
    if "dropped" in message:
        dropped = message["dropped"]
        return [printable(f"[body of {dropped['bytes']} bytes not kept: {dropped['reason']}; digest {dropped['digest']}]")]
    raw = base64.b64decode(message["body"])
    if not raw:
        return []
    text = raw.decode("utf-8", "replace")
    with contextlib.suppress(ValueError, RecursionError):
        text = json.dumps(json.loads(text), indent=2, ensure_ascii=False)
    lines = [printable(line) for line in text.splitlines()]
    return [*lines, "[cut here]"] if message["cut"] else lines


def _one(arguments: argparse.Namespace) -> dict[str, Any]:
    document: dict[str, Any] = client.connect(arguments).get(f"{PATH}/{quote(arguments.id, safe='')}")
    return document


def _head(message: dict[str, Any]) -> list[RenderableType]:
    return [Text(printable(f"{name}: {value}")) for name, value in message["headers"]]


def _lines(answer: dict[str, Any]) -> list[str]:
    fields = sorted((printable(f"{name}: {value}") for name, value in answer["headers"]), key=str.lower)
    return [printable(answer["outcome"]), *fields, "", *body_lines(answer)]


def _reason(why: dict[str, Any]) -> str:
    """One reason in words."""
    if why["kind"] == "latency":
        return f"shadow took {why.get('ratio', 0):.2f} times as long"
    if why["kind"] == "field":
        return f"{why['name']} differs" + (f" ({why['difference']})" if why.get("difference") else "")
    return f"outcome {why['name']}"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table
