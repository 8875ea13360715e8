"""`shadowproxy rollout` and `shadowproxy evacuate`: a new version step by step, and a zone without traffic.

Exit codes of `rollout`: 0 completed (or the order was carried out), 98 under way or not begun, 99 rolled back; of several rollouts the worst.
Of `evacuate`: 0 when no new request went there after every worker had confirmed, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rich.console import Console, Group
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.config.units import read_seconds
from shadowproxy.judge import wording

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.cli.main import Subparsers

ORDERS: Final = {
    "start": "send the first step's share of the units to the new version",
    "pause": "take no further step; users stay where they are",
    "resume": "go on after a pause",
    "promote": "go to the next step now, without waiting",
    "complete": "send everybody to the new version now",
    "abort": "send everybody back to the old version",
}
EXIT_CODES: Final = {"completed": 0, "idle": 98, "running": 98, "paused": 98, "rolled_back": 99}
STYLES: Final = {"completed": "bold green", "running": "bold cyan", "paused": "bold yellow", "rolled_back": "bold red", "idle": "bold"}

LOOK_S: Final = 0.5
CONFIRM_S: Final = 2.0
"""How long `evacuate` waits for workers to confirm."""


def register(subparsers: Subparsers) -> None:
    """Add `rollout` and `evacuate`."""
    parser = subparsers.add_parser(
        "rollout",
        help="move a route's traffic to a new version, step by step (exit 0 completed, 98 under way, 99 rolled back)",
        description="Begin, watch and steer rollouts, which routes of the config describe (`rollout`).",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    status = actions.add_parser("status", help="where rollouts stand", description="Say where rollouts stand, and why.")
    client.add_arguments(status)
    status.add_argument("route", nargs="?", metavar="ROUTE", help="only this one")
    status.add_argument("--wait", metavar="DURATION", type=_duration, default=0.0, help="wait as long for it to be over")
    status.set_defaults(run=show)
    for order, meaning in ORDERS.items():
        one = actions.add_parser(order, help=meaning, description=f"{meaning.capitalize()}.")
        client.add_arguments(one)
        one.add_argument("route", metavar="ROUTE", help="the route")
        one.add_argument("--reason", default="", metavar="TEXT", help="why; it goes on record")
        if order == "start":
            one.add_argument("--wait", metavar="DURATION", type=_duration, default=0.0, help="wait as long for it to be over")
        one.set_defaults(run=steer)
    drill = subparsers.add_parser(
        "evacuate",
        help="give a cell, zone or region no new requests, and measure what that does",
        description="Give the endpoints of a fleet that have a label (`fleets.NAME.labels`) no new requests. Without arguments: what is evacuated.",
    )
    client.add_arguments(drill)
    drill.add_argument("--fleet", metavar="NAME", help="the fleet")
    for label in ("cell", "zone", "region"):
        drill.add_argument(f"--{label}", metavar="NAME", help=f"its endpoints in this {label}")
    drill.add_argument(
        "--for", dest="length", metavar="DURATION", type=_duration, default=0.0, help="move back by itself, and wait for that"
    )
    drill.add_argument("--end", action="store_true", help="move traffic back")
    drill.set_defaults(run=evacuate)


def show(arguments: argparse.Namespace) -> int:
    """Print where rollouts stand; the exit code is that of the worst.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: the route has no rollout.
    """
    admin = client.connect(arguments)
    deadline = time.monotonic() + arguments.wait
    while True:
        found = [admin.get(_path(arguments.route))] if arguments.route else admin.get("/api/v1/rollouts")["rollouts"]
        if _is_over(found) or time.monotonic() >= deadline:
            break
        time.sleep(LOOK_S)
    _print(arguments, found[0] if arguments.route else {"rollouts": found}, found)
    return max((EXIT_CODES[one["state"]] for one in found), default=0)


def steer(arguments: argparse.Namespace) -> int:
    """Carry out an order; `start --wait` goes on like `status --wait`.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: the route has no rollout, or it is in no state for that.
    """
    admin = client.connect(arguments)
    found = admin.post(f"{_path(arguments.route)}/{arguments.action}", {"reason": arguments.reason})
    wait = getattr(arguments, "wait", 0.0)
    deadline = time.monotonic() + wait
    while wait and not _is_over([found]) and time.monotonic() < deadline:
        time.sleep(LOOK_S)
        found = admin.get(_path(arguments.route))
    _print(arguments, found, [found])
    return EXIT_CODES[found["state"]] if wait else 0


def evacuate(arguments: argparse.Namespace) -> int:
    """Begin, end or show drills; 1 where new requests went to an evacuated endpoint or a worker has not confirmed.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: there is nothing to evacuate, or nothing would be left.
    """
    admin = client.connect(arguments)
    named = [(label, value) for label in ("cell", "zone", "region") if (value := getattr(arguments, label)) is not None]
    if arguments.end:
        found = admin.post("/api/v1/evacuations/end", {"fleet": arguments.fleet or ""})["evacuations"]
    elif not named:
        found = admin.get("/api/v1/evacuations")["evacuations"]
    elif len(named) > 1 or not arguments.fleet:
        print("name one fleet and one of --cell, --zone and --region", file=sys.stderr)
        return 2
    else:
        found = [_drill(admin, arguments.fleet, *named[0], arguments.length)]
    if arguments.output == "json":
        print(json.dumps({"evacuations": found}, indent=2))
    else:
        parts = [part for one in found for part in render_drill(one)] or [Text("nothing was evacuated")]
        Console(highlight=False, soft_wrap=True).print(Group(*parts))
    is_asked = arguments.end or named
    return int(bool(is_asked) and any(one["late"] or one["last_new_request_s"] is None for one in found))


def _drill(admin: client.AdminClient, fleet: str, label: str, value: str, length: float) -> Any:
    """Begin a drill, and wait until every worker has confirmed, or until it is over where a time was given."""
    started = admin.post("/api/v1/evacuations", {"fleet": fleet, "label": label, "value": value, "seconds": length})
    deadline = time.monotonic() + CONFIRM_S + length
    while True:
        documents = admin.get("/api/v1/evacuations")["evacuations"]
        one = next((one for one in documents if one["started"] == started["started"] and one["fleet"] == fleet), started)
        is_done = one["is_over"] if length else one["last_new_request_s"] is not None
        if is_done or time.monotonic() >= deadline:
            return one
        time.sleep(LOOK_S / 5)


def _path(route: str) -> str:
    return f"/api/v1/rollouts/{quote(route, safe='')}"


def _is_over(found: Sequence[dict[str, Any]]) -> bool:
    return all(one["state"] in {"completed", "rolled_back"} for one in found)


def _print(arguments: argparse.Namespace, document: Any, found: Sequence[dict[str, Any]]) -> None:
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
        return
    parts = [part for one in found for part in render(one)] or [Text("no route has a rollout")]
    Console(highlight=False, soft_wrap=True).print(Group(*parts))


def render(one: dict[str, Any]) -> list[Text]:
    """A rollout as people read it. Names are set as text: markup in them means nothing."""
    head = Text(f"{one['route']}: {one['live']} → {one['to']}  ", "bold")
    head.append(one["state"].replace("_", " "), STYLES[one["state"]])
    head.append(f"  {one['percent']:g} %", "not bold")
    if one["reason"]:
        head.append(f"  {one['reason']}", "not bold")
    lines = []
    if one["state"] in {"running", "paused"}:
        steps = " → ".join(f"[{step:g}]" if step == one["percent"] else f"{step:g}" for step in one["steps"])
        baked = f"baked {one['step_seconds']:.0f} of at least {one['bake']:g} s"
        lines.append(f"steps {steps}; {baked}; {one['lacking'] or 'shown to be safe'}")
    for name, label in (("canary", "new"), ("stable", "old, equal share"), ("ring", "first ring"), ("more", "new, not compared")):
        arm = one["halves"].get(name) or one[name]
        if arm["requests"]:
            lines.append(f"{label}: {_arm(arm)}")
    affected = one["affected"]
    if affected["units"] is not None and affected["requests"]:
        about = "" if affected["is_exact"] else "about "
        lines.append(
            f"{about}{wording.count(affected['units'], 'unit')} had the new version, {affected['harmed_units']:,} of them an error"
        )
    if one["without_unit"]:
        lines.append(f"{wording.count(one['without_unit'], 'request')} had no {one['key']} and stayed with {one['live']}")
    if one["problem"]:
        lines.append(f"not written down: {one['problem']}")
    return [head, *(Text(f"  {line}", "dim") for line in lines)]


def _arm(arm: dict[str, Any]) -> str:
    rate = "" if arm["error_rate"] is None else f" ({wording.percent(round(arm['error_rate'], 5))})"
    said = f"{wording.count(arm['requests'], 'request')}, {arm['errors']:,} failed{rate}"
    if arm["p50"] is not None and arm["p99"] is not None:
        said += f", p50 {arm['p50'] * 1000:.3g} ms, p99 {arm['p99'] * 1000:.3g} ms"
    return said


def render_drill(one: dict[str, Any]) -> list[Text]:
    """A drill as people read it."""
    head = Text(f"{one['fleet']} without {one['label']} {one['value']}  ", "bold")
    head.append("over" if one["is_over"] else "evacuated", "bold green" if one["is_over"] else "bold yellow")
    head.append(f"  {one['seconds']:.3g} s  {one['reason']}".rstrip(), "not bold")
    last = one["last_new_request_s"]
    workers = one["workers"]
    confirmed = f"{workers['confirmed']} of {workers['all']} workers confirmed"
    lines = [
        f"{', '.join(one['endpoints'])}: "
        + (f"no new request after {last * 1000:.1f} ms" if last is not None else confirmed)
        + (f", but {wording.count(one['late'], 'request')} for want of other endpoints" if one["late"] else ""),
        f"{wording.count(one['under_way'], 'request')} under way there"
        + (f", all were done after {one['drained_s']:.2g} s" if one["drained_s"] is not None else ""),
    ]
    for name in ("before", "during", "after"):
        rate = one[name]
        if rate is not None and rate["requests"]:
            lines.append(
                f"{name}: {wording.count(rate['requests'], 'request')}, {rate['errors']:,} failed ({wording.percent(round(rate['error_rate'], 5))})"
            )
    return [head, *(Text(f"  {line}", "dim") for line in lines)]


def _duration(text: str) -> float:
    try:
        return read_seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
