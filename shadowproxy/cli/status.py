"""`shadowproxy status`: what runs, and whether it works."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.export import printable

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from shadowproxy.cli.main import Subparsers


def register(subparsers: Subparsers) -> None:
    """Add `status`."""
    parser = subparsers.add_parser(
        "status", help="what runs, and whether it works", description="Show what a running instance is and does."
    )
    client.add_arguments(parser)
    parser.set_defaults(run=status)


def status(arguments: argparse.Namespace) -> int:
    """Print the status; 1 when no worker serves.

    Raises:
        AdminUnreachable: no instance answers.
    """
    document = client.connect(arguments).get("/api/v1/status")
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render(document))
    return 0 if document["is_ready"] else 1


def render(document: dict[str, Any]) -> RenderableType:
    """The status as people read it."""
    under_way = [*_experiments(document), *_rollouts(document)]
    return Group(
        _headline(document),
        *_problems(document),
        *under_way,
        _listeners(document),
        _workers(document),
        _mirrors(document),
        *_tests(document),
    )


def _headline(document: dict[str, Any]) -> Text:
    state = "stopping" if document["is_stopping"] else "ready" if document["is_ready"] else "NOT READY"
    config = document["config"]
    text = Text(f"shadowproxy {document['version']}  pid {document['pid']}  up {duration(document['uptime_seconds'])}  ")
    text.append(state, "green" if document["is_ready"] else "bold red")
    text.append(
        f"\nconfig {config['file'] or '(none)'}  generation {config['generation']}  digest {config['digest'][:12]}\nadmin {document['admin']}"
    )
    return text


def _problems(document: dict[str, Any]) -> list[Text]:
    lines = []
    if document["is_killed"]:
        lines.append(Text("KILL SWITCH ON: nothing is mirrored (shadowproxy resume)", "bold red"))
    for part, problem in (
        ("config", document["config"]["problem"]),
        ("store", document["store"]["problem"]),
        ("audit", document["audit"]["problem"]),
        ("ledger, so tagged writes are refused", document["ledger"]["problem"]),
    ):
        if problem:
            lines.append(Text(f"{part}: {problem}", "red"))
    lines += [
        Text(f"{route}: the counters of tagged writes do not add up", "bold red")
        for route, law in document["tests"].items()
        if not law["is_conserved"]
    ]
    lines += [
        Text(f"{key}: the counters do not add up", "bold red") for key, mirror in document["mirrors"].items() if not mirror["is_conserved"]
    ]
    leaks = document["leaks"]
    if leaks["total"]:
        lines.append(
            Text(f"lost tags: {leaks['total']:,} calls of tagged traces had no tag{_blamed(leaks)} (shadowproxy leaks)", "bold red")
        )
    return lines


def _blamed(leaks: dict[str, Any]) -> str:
    names = [printable(one["service"]) for one in leaks["blamed"][:3]]
    return f", dropped by {', '.join(names)}{' and others' * (len(leaks['blamed']) > len(names))}" if names else ""


def _experiments(document: dict[str, Any]) -> list[Text]:
    lines = []
    for one in document["experiments"]:
        since = "has not begun" if one["seconds"] is None else f"{duration(one['seconds'])} of {duration(one['duration'])}"
        state = f"{one['state']}, dry" if one["is_dry"] else one["state"]
        lines.append(Text(printable(f"experiment {one['id']} of {one['owner']}: {state}, {one['percent']:g} %, {since}"), "cyan"))
    return lines


def _rollouts(document: dict[str, Any]) -> list[Text]:
    lines = []
    for one in document["rollouts"]:
        lacking = f", {one['lacking']}" if one["lacking"] else ""
        lines.append(Text(printable(f"rollout {one['route']} to {one['to']}: {one['state']}, {one['percent']:g} %{lacking}"), "cyan"))
    return lines


def _listeners(document: dict[str, Any]) -> Table:
    table = _table("listener", "address")
    for listener in document["listeners"]:
        table.add_row(Text(listener["name"]), Text(f"{'https' if listener['tls'] else 'http'}://{listener['address']}"))
    return table


def _workers(document: dict[str, Any]) -> Table:
    table = _table("worker", "pid", "state", "generation")
    for worker in document["workers"]:
        state = f"{worker['state']}, silent" if worker["is_silent"] else worker["state"]
        table.add_row(
            str(worker["slot"]), str(worker["pid"]), Text(state, "" if worker["state"] == "ready" else "yellow"), str(worker["generation"])
        )
    return table


def _mirrors(document: dict[str, Any]) -> Table:
    table = _table("mirror", "eligible", "paired", "pending", "in flight", "range", "breaker")
    for key, mirror in document["mirrors"].items():
        is_open = mirror["breakers"].get("open", 0) or mirror["breakers"].get("half-open", 0)
        paired = mirror["fates"].get("paired", 0)
        table.add_row(
            Text(key),
            f"{mirror['eligible']:,}",
            f"{paired:,}",
            str(mirror["pending"]),
            str(mirror["in_flight"]),
            f"{mirror['range']:.0%}",
            Text("open", "red") if is_open else "closed",
        )
    return table


def _tests(document: dict[str, Any]) -> list[Table]:
    if not document["tests"]:
        return []
    fates = ("sunk", "partitioned", "refused", "passed", "lost")
    table = _table("tagged writes", "seen", *fates, "pending")
    for route, law in document["tests"].items():
        table.add_row(Text(route), f"{law['seen']:,}", *(f"{law['fates'][fate]:,}" for fate in fates), str(law["pending"]))
    return [table]


def duration(seconds: float) -> str:
    """`3d 4h`, `5m 12s`: the two greatest units."""
    units = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))
    left = int(seconds)
    parts = []
    for name, size in units:
        if left >= size:
            parts.append(f"{left // size}{name}")
            left %= size
    return " ".join(parts[:2]) or "0s"


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        table.add_column(column, justify="left" if index == 0 or column in {"address", "state"} else "right")
    return table
