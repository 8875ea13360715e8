"""`shadowproxy compare`: live and shadow side by side, with the verdict, once or continuously."""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.sparkline import histograms, sparkline
from shadowproxy.cli.verdict import headline
from shadowproxy.judge import wording

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
    query = {} if arguments.route is None else {"route": arguments.route}
    if arguments.output == "json":
        return _print_json(admin, _path("compare", query), is_watching=arguments.watch)

    def show() -> RenderableType:
        return render(admin.get(_path("compare", {**query, "buckets": "1"})), admin.get(_path("verdict", query)))

    console = Console(highlight=False)
    if not arguments.watch:
        console.print(show())
        return 0
    with Live(show(), console=console, auto_refresh=False, vertical_overflow="visible") as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(show(), refresh=True)


def _path(document: str, query: dict[str, str]) -> str:
    return f"/api/v1/{document}" + (f"?{urlencode(query)}" if query else "")


def _print_json(admin: client.AdminClient, path: str, *, is_watching: bool) -> int:
    if not is_watching:
        print(json.dumps(admin.get(path), indent=2))
        return 0
    while True:
        print(json.dumps(admin.get(path)))
        sys.stdout.flush()
        time.sleep(REFRESH_S)


def render(document: dict[str, Any], judged: dict[str, Any] | None = None) -> RenderableType:
    """The comparison as people read it. Names and outcomes are set as text: markup in them means nothing.

    Args:
        document: what `GET /api/v1/compare` answers, with `buckets=1` for the distributions.
        judged: what `GET /api/v1/verdict` answers.
    """
    verdicts = {(one["route"], one["mirror"]): one for one in (judged or {"verdicts": []})["verdicts"]}
    parts: list[RenderableType] = []
    if document["is_killed"]:
        parts.append(Text("KILL SWITCH ON: nothing is mirrored (shadowproxy resume)", "bold red"))
    for mirror in document["mirrors"]:
        verdict = verdicts.get((mirror["route"], mirror["mirror"]))
        parts.append(_title(mirror))
        if verdict is not None:
            parts += [headline(verdict), _intervals(verdict)]
        parts += [*_distributions(mirror), _latency(mirror), _outcomes(mirror), _coverage(mirror), Text("")]
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


def _intervals(verdict: dict[str, Any]) -> Text:
    """What is known of the two differences that the verdict is about."""
    errors, latency = verdict["errors"], verdict["latency"]
    level = wording.percent(1 - verdict["alpha"])
    parts = []
    if errors["difference"] is not None:
        span = wording.span(errors["interval"], lambda points: wording.points(points, is_signed=True))
        parts.append(f"errors {wording.points(errors['difference'], is_signed=True)} points ({span})")
    if latency["ratio"] is not None:
        parts.append(f"latency ratio {wording.ratio(latency['ratio'])} ({wording.span(latency['interval'], wording.ratio)})")
    return Text(f"against {verdict['baseline']}: {', '.join(parts)}, {level} at any time" if parts else "", "dim")


def _distributions(mirror: dict[str, Any]) -> list[Text]:
    """Time to the last byte of both sides, as bars over the same durations."""
    both = [mirror.get("distribution", {}).get(side, []) for side in ("live", "shadow")]
    (live, shadow), least, greatest = histograms(both)
    if not sum(live) + sum(shadow):
        return []
    scale = f"{milliseconds(least)} to {milliseconds(greatest)}"
    return [Text(f"live   {sparkline(live)}  {scale}", "cyan"), Text(f"shadow {sparkline(shadow)}", "cyan")]


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
