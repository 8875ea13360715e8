"""`shadowproxy compare`: live and shadow side by side, once or continuously."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from shadowproxy.cli.main import Subparsers

QUANTILES: Final = {"p50": "p50", "p90": "p90", "p99": "p99", "p999": "p99.9"}
REFRESH_S: Final = 1.0
MATRIX_ROWS: Final = 8
"""Transitions that are shown; the JSON output has them all."""


def register(subparsers: Subparsers) -> None:
    """Add `compare`."""
    parser = subparsers.add_parser(
        "compare",
        help="live and shadow side by side",
        description="Show latency, errors, statuses and bodies of live and shadow, per mirror.",
    )
    client.add_arguments(parser)
    parser.add_argument("--route", metavar="NAME", help="only the mirrors of this route")
    parser.add_argument("--watch", action="store_true", help="refresh until Ctrl-C; with --output json, one document a line")
    parser.set_defaults(run=compare)


def compare(arguments: argparse.Namespace) -> int:
    """Print the comparison.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: no route has that name.
    """
    admin = client.connect(arguments)
    path = "/api/v1/compare" + (f"?route={quote(arguments.route, safe='')}" if arguments.route is not None else "")
    if arguments.output == "json":
        return _print_json(admin, path, is_watching=arguments.watch)
    console = Console(highlight=False)
    document = admin.get(path)
    if not arguments.watch:
        console.print(render(document))
        return 0
    with Live(render(document), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(render(admin.get(path)), refresh=True)


def _print_json(admin: client.AdminClient, path: str, *, is_watching: bool) -> int:
    if not is_watching:
        print(json.dumps(admin.get(path), indent=2))
        return 0
    while True:
        print(json.dumps(admin.get(path)))
        sys.stdout.flush()
        time.sleep(REFRESH_S)


def render(document: dict[str, Any]) -> RenderableType:
    """The comparison as people read it. Names and outcomes are set as text: markup in them means nothing."""
    parts: list[RenderableType] = []
    if document["is_killed"]:
        parts.append(Text("KILL SWITCH ON: nothing is mirrored (shadowproxy resume)", "bold red"))
    for mirror in document["mirrors"]:
        parts += [_title(mirror), _latency(mirror), _outcomes(mirror), _coverage(mirror), Text("")]
    if not document["mirrors"]:
        parts.append(Text("no route has a mirror"))
    return Group(*parts)


def _title(mirror: dict[str, Any]) -> Text:
    text = Text(f"{mirror['route']} → {mirror['mirror']}", "bold")
    text.append(f"   live {mirror['live_fleet']}, shadow {mirror['shadow_fleet']}   ", "not bold dim")
    text.append(f"{mirror['pairs']:,} pairs", "not bold")
    if not mirror["is_conserved"]:
        text.append("   THE COUNTERS DO NOT ADD UP", "bold red")
    return text


def _latency(mirror: dict[str, Any]) -> Table:
    table = _table("", *QUANTILES.values(), "count")
    for byte in ("first", "last"):
        live, shadow = (mirror["latency"][side][byte] for side in ("live", "shadow"))
        table.add_row(f"live, {byte} byte", *(milliseconds(live[name]) for name in QUANTILES), f"{live['count']:,}")
        table.add_row(f"shadow, {byte} byte", *(milliseconds(shadow[name]) for name in QUANTILES), f"{shadow['count']:,}")
        table.add_row("  shadow / live", *(_ratio(live[name], shadow[name]) for name in QUANTILES), "")
    penalty = mirror["live_penalty"]
    table.add_row("live penalty", *(milliseconds(penalty[name], is_signed=True) for name in QUANTILES), f"{mirror['unmirrored']:,}")
    return table


def _outcomes(mirror: dict[str, Any]) -> Table:
    table = _table("outcome live → shadow", "pairs", "share")
    pairs = mirror["pairs"]
    for cell in mirror["matrix"][:MATRIX_ROWS]:
        is_same = cell["live"] == cell["shadow"]
        table.add_row(
            Text(f"{cell['live']} → {cell['shadow']}", "" if is_same else "red"), f"{cell['count']:,}", share(cell["count"] / pairs)
        )
    hidden = len(mirror["matrix"]) - MATRIX_ROWS
    if hidden > 0:
        table.add_row(f"and {hidden} more", "", "")
    for side in ("live", "shadow"):
        failed = mirror["errors"][side]
        table.add_row(f"errors, {side}", f"{failed['count']:,}", share(failed["rate"]))
    bodies = mirror["bodies"]
    compared = bodies["equal"] + bodies["different"]
    for name in ("equal", "different"):
        style = "red" if name == "different" and bodies[name] else ""
        table.add_row(Text(f"bodies {name}", style), f"{bodies[name]:,}", share(bodies[name] / compared if compared else None))
    if bodies["unknown"]:
        table.add_row("bodies not compared", f"{bodies['unknown']:,}", "")
    return table


def _coverage(mirror: dict[str, Any]) -> Text:
    fates = sorted(mirror["fates"].items(), key=lambda fate: -fate[1])
    listed = ", ".join(f"{name} {count:,}" for name, count in fates if count)
    coverage = share(mirror["coverage"])
    return Text(
        f"coverage {coverage} of {mirror['eligible']:,} eligible: {listed}{', ' * bool(listed)}pending {mirror['pending']:,}", "dim"
    )


def milliseconds(seconds: float | None, *, is_signed: bool = False) -> str:
    """`12.3 ms` with three significant digits; `-` for nothing."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:+.{digits}f} ms" if is_signed else f"{value:.{digits}f} ms"


def share(value: float | None) -> str:
    """A percentage that does not round small shares to nothing; `-` for nothing."""
    if value is None:
        return "-"
    return f"{value:.3%}" if 0 < value < 0.01 else f"{value:.1%}"


def _ratio(live: float | None, shadow: float | None) -> Text:
    if not live or shadow is None:
        return Text("-", "dim")
    ratio = shadow / live
    return Text(f"{ratio:.2f}x", "red" if ratio > 1.1 else "green" if ratio < 0.9 else "dim")


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=True, header_style="dim")
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 else "right", no_wrap=True)
    return table
