"""`shadowproxy ledger`: what tests have written, where it went, and what is to be undone.

Everything but `law` also reads a ledger's file by itself (`--file`), when no instance runs or another machine's file is looked at.
What is printed was said by strangers: text for people cannot move the cursor, CSV holds no formulas.

Exit codes of `check`: 0 it adds up, 1 it does not.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.export import printable
from shadowproxy.cli.ledger_source import Offline, Remote
from shadowproxy.config.units import read_seconds
from shadowproxy.sinks import ledger_undo
from shadowproxy.sinks.ledger_export import CSV, JSONL, beginning, written
from shadowproxy.sinks.ledger_file import TO_UNDO
from shadowproxy.sinks.ledger_query import COLUMNS, FATES, PAGE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from rich.console import RenderableType

    from shadowproxy.cli.ledger_source import Source
    from shadowproxy.cli.main import Subparsers

TEXT: Final = "text"
TARGET_WIDTH: Final = 60
LOST: Final = "lost"

EPOCH_S: Final = 1e9
"""A bare number from here on is a moment in unix seconds, one below is seconds ago."""


def register(subparsers: Subparsers) -> None:
    """Add `ledger list`, `show`, `export`, `scrub`, `law` and `check`."""
    parser = subparsers.add_parser(
        "ledger", help="what tests have written, and what is to be undone", description="Read the record of tagged writes."
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = _action(actions, "list", "tagged writes, the newest first", list_rows)
    _add_filters(listing)
    listing.add_argument("--limit", metavar="N", type=_count, default=100, help="at most N (default 100)")
    listing.add_argument("--cursor", metavar="C", help="go on behind a list that said `next`")
    showing = _action(actions, "show", "one of them, with how it may be undone", show)
    showing.add_argument("id", metavar="ID")
    exporting = _action(actions, "export", "all of them, the oldest first, for other programs", export)
    _add_filters(exporting)
    exporting.add_argument("--format", choices=(JSONL, CSV), default=JSONL, help="JSON lines (default) or CSV")
    scrubbing = _action(actions, "scrub", "what to undo: writes that reached a partition, or live by rule", scrub)
    _add_filters(scrubbing)
    scrubbing.add_argument("--format", choices=(TEXT, JSONL, CSV), default="", help="text (default), JSON lines or CSV")
    scrubbing.add_argument("--all", action="store_true", help="also those that were marked")
    scrubbing.add_argument("--mark", action="store_true", help="mark all that are listed as undone; they are not listed again")
    _action(actions, "law", "seen = sunk + partitioned + refused + passed + lost + pending, by route", law, is_offline=False)
    _action(actions, "check", "whether counters and rows add up; with --file, whether the file is sound", check)


def list_rows(arguments: argparse.Namespace) -> int:
    """Print rows.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: it says no.
        StateError: the file cannot be read.
    """
    found = _source(arguments).rows(_chosen(arguments), arguments.limit, arguments.cursor)
    if arguments.output == "json":
        print(json.dumps(found, indent=2))
    else:
        Console(highlight=False).print(render_list(found))
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print one row. Raises as `list_rows`."""
    row = _source(arguments).row(arguments.id)
    if arguments.output == "json":
        print(json.dumps(row, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render(row))
    return 0


def export(arguments: argparse.Namespace) -> int:
    """Print all rows. Raises as `list_rows`; what was printed by then is not all."""
    _write(arguments.format, COLUMNS, _source(arguments).export(_chosen(arguments)))
    return 0


def scrub(arguments: argparse.Namespace) -> int:
    """Print the scrub list, and mark it when asked to. Raises as `list_rows`: then nothing was marked, or not all."""
    form = arguments.format or (JSONL if arguments.output == "json" else TEXT)
    if arguments.mark and arguments.file:
        arguments.usage("--mark needs the running instance: a file is only read")
    source = _source(arguments)
    ids: list[str] = []

    def entries() -> Iterator[ledger_undo.Entry]:
        for entry in source.scrub(_chosen(arguments), is_all=arguments.all):
            ids.append(entry["id"])
            yield entry

    if form == TEXT:
        for entry in entries():
            print(_line(entry))
    else:
        _write(form, ledger_undo.COLUMNS, entries())
    sys.stdout.flush()  # nothing is marked that nobody has been shown
    if arguments.mark:
        assert isinstance(source, Remote)
        source.mark(ids)
        print(f"{len(ids)} write{'s' * (len(ids) != 1)} marked as undone", file=sys.stderr)
    elif form == TEXT and not ids:
        print("nothing to undo")
    return 0


def law(arguments: argparse.Namespace) -> int:
    """Print the law; 1 when it does not hold. Raises as `list_rows`."""
    return _print_law(arguments, Remote(client.connect(arguments)).law(check=False))


def check(arguments: argparse.Namespace) -> int:
    """Print what does not add up; 1 when there is something. Raises as `list_rows`."""
    if not arguments.file:
        return _print_law(arguments, Remote(client.connect(arguments)).law(check=True))
    problems, totals = Offline(arguments.file).check()
    if arguments.output == "json":
        rows = [{"route": route, "fate": fate, "rows": count} for (route, fate), count in sorted(totals.items())]
        print(json.dumps({"problems": problems, "rows": rows}, indent=2))
        return 1 if problems else 0
    table = _table("route", "fate", "rows")
    for (route, fate), count in sorted(totals.items()):
        table.add_row(Text(printable(route)), Text(printable(fate)), f"{count:,}")
    said = [Text(printable(problem), "bold red") for problem in problems] or [Text("the file is sound", "green")]
    Console(highlight=False, soft_wrap=True).print(Group(table, *said))
    return 1 if problems else 0


def moment(text: str) -> float:
    """Unix seconds of `1h` (ago), `2026-11-23T10:00:00Z`, or a number: from EPOCH_S on unix seconds, else seconds ago.

    Raises:
        argparse.ArgumentTypeError: it is none of these.
    """
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if number >= EPOCH_S and math.isfinite(number):
        return number
    try:
        return time.time() - read_seconds(number if number >= 0 else text)
    except ValueError:
        pass
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r}: write 1h (ago), 2026-11-23T10:00:00Z, or unix seconds") from None
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def render_list(found: Mapping[str, Any]) -> RenderableType:
    """Rows as a table."""
    if not found["rows"]:
        return Text("no tagged write of that kind was recorded")
    table = _table("time", "id", "tenant", "request", "fate")
    for name in ("time", "id"):
        next(column for column in table.columns if column.header == name).no_wrap = True
    for row in found["rows"]:
        request = printable(f"{row['method']} {row['target']}")
        table.add_row(
            _moment(row["time"])[:19],
            Text(printable(row["id"])),
            Text(printable(row["tenant"])),
            Text(request if len(request) <= TARGET_WIDTH else request[: TARGET_WIDTH - 1] + "…"),
            Text(printable(_fate(row)), "bold red" if row["fate"] == "passed" else ""),
        )
    return Group(table, Text(f"more: --cursor {found['next']}", "dim")) if found["next"] else table


def render(row: Mapping[str, Any]) -> RenderableType:
    """One row, key by key."""
    table = _table("", "")
    table.show_header = False
    for name in COLUMNS:
        value = _moment(row[name]) if name in {"time", "scrubbed"} and row[name] else str(row[name])
        table.add_row(Text(name, "dim"), Text(printable(value)))
    if row["fate"] in TO_UNDO:
        table.add_row(Text("to undo", "dim"), Text(printable(ledger_undo.entry(dict(row))["advice"])))
    return table


def render_law(document: Mapping[str, Any]) -> RenderableType:
    """The law by route, and what is wrong."""
    table = _table("route", "seen", *FATES, LOST, "pending", "")
    for one in document["routes"]:
        fates = (f"{one['fates'].get(fate, 0):,}" for fate in (*FATES, LOST))
        is_kept = one["is_conserved"] and not one.get("problems")
        said = Text("adds up", "green") if is_kept else Text("DOES NOT ADD UP", "bold red")
        table.add_row(Text(printable(one["route"])), f"{one['seen']:,}", *fates, f"{one['pending']:,}", said)
    lines: list[RenderableType] = [table if document["routes"] else Text("no tagged write was seen")]
    for one in document["routes"]:
        lines += [Text(printable(f"{one['route']}: {problem}"), "bold red") for problem in one.get("problems", ())]
    if not document["is_compared"] and any("rows" in one for one in document["routes"]):
        lines.append(Text("rows were not compared: the ledger has been another file since the start", "yellow"))
    ledger = document["ledger"]
    if ledger["problem"]:
        lines.append(Text(printable(f"tagged writes are refused: {ledger['problem']}"), "bold red"))
    if ledger["set_aside"]:
        lines.append(Text(printable(f"a corrupt ledger was set aside: {ledger['set_aside']}"), "bold red"))
    return Group(*lines)


def _action(actions: Any, name: str, summary: str, run: Any, *, is_offline: bool = True) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=summary)
    client.add_arguments(parser)
    if is_offline:
        parser.add_argument("--file", metavar="PATH", default="", help="read this ledger's file, and ask no instance")
    parser.set_defaults(run=run, usage=parser.error)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tenant", metavar="NAME", help="only writes of this tenant")
    parser.add_argument("--route", metavar="NAME", help="only those of this route")
    parser.add_argument("--fate", choices=FATES, help="only those with this fate")
    parser.add_argument("--trace", metavar="HEX", help="only those of this trace")
    parser.add_argument("--since", metavar="WHEN", type=moment, help="not before: 1h (ago), 2026-11-23T10:00:00Z, or unix seconds")
    parser.add_argument("--until", metavar="WHEN", type=moment, help="before, in the same words")


def _chosen(arguments: argparse.Namespace) -> dict[str, str | float]:
    named = {name: getattr(arguments, name) for name in ("tenant", "route", "fate", "trace", "since", "until")}
    return {name: value for name, value in named.items() if value is not None}


def _source(arguments: argparse.Namespace) -> Source:
    return Offline(arguments.file) if arguments.file else Remote(client.connect(arguments))


def _print_law(arguments: argparse.Namespace, document: dict[str, Any]) -> int:
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render_law(document))
    return 0 if document["is_kept"] and document["ledger"]["is_up"] else 1


def _write(form: str, columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows as they come, in the bytes of the format whatever the terminal's."""
    out = sys.stdout.buffer
    each = iter(rows)
    first = list(islice(each, PAGE))  # before the head: a refusal prints nothing
    out.write(beginning(form, columns).encode("utf-8", "replace"))
    while first:
        out.write(written(form, first, columns).encode("utf-8", "replace"))
        first = list(islice(each, PAGE))


def _fate(row: Mapping[str, Any]) -> str:
    said = f"refused: {row['reason']}" if row["fate"] == "refused" else f"{row['fate']}: {row['to']}"
    return said + (f", {row['status']}" if row["status"] else "") + (", undone" if row["scrubbed"] else "")


def _line(entry: Mapping[str, Any]) -> str:
    request = f"{entry['method']} {entry['host']}{entry['target']}"
    mark = " (marked as undone)" if entry["scrubbed"] else ""
    return printable(f"{_moment(entry['time'])}  {entry['tenant']}  {entry['to']}  {request}: {entry['advice']}{mark}  [{entry['id']}]")


def _moment(seconds: float) -> str:
    try:
        return _written(seconds)
    except (OverflowError, ValueError, OSError):
        return str(seconds)  # no year that there is


def _written(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(sep=" ", timespec="milliseconds").removesuffix("+00:00")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= 1_000_000):
        raise argparse.ArgumentTypeError(f"{text!r}: a number from 1 to 1000000")
    return int(text)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    numeric = {"seen", *FATES, LOST, "pending", "rows"}
    for column in columns:
        table.add_column(column, overflow="fold", justify="right" if column in numeric else "left")
    return table
