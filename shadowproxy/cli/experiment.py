"""`shadowproxy experiment`: run, watch, stop and check experiments.

`run` waits until the run has ended, and ends it when it is itself interrupted (Ctrl-C, SIGTERM, SIGHUP). When it dies without a word, or its
network does, the run ends as well: it is attached, and control ends it when nothing was heard of this command for `--patience`. With `--detach`
it is not, and goes on by itself. Exit codes: 0 upheld, or a dry run that completed, 98 undecided, 99 refuted or aborted by a guard, 1 refused,
stopped or failed, 130 interrupted.
"""

from __future__ import annotations

import contextlib
import json
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client, experiment_evidence, experiment_plan, experiment_report
from shadowproxy.cli.export import printable
from shadowproxy.config.experiment_file import experiment_to_plain, load_experiment_file
from shadowproxy.errors import AdminUnreachable
from shadowproxy.experiments.planning import dry_report

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

    from shadowproxy.cli.client import AdminClient
    from shadowproxy.cli.main import Subparsers

PATH: Final = "/api/v1/experiments"

LOOK_S: Final = 0.25
"""Seconds between looks at a run that is waited for."""

PATIENCE_S: Final = 10.0
"""After how long without a word of the command that waits for it a run ends; and how long the admin API may be silent before
the command gives up: by then the run has ended, one way or the other."""

INTERRUPTIONS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

UPHELD: Final = 0
FAILED: Final = 1
UNDECIDED: Final = 98
REFUTED: Final = 99
INTERRUPTED: Final = 130

ENDS: Final = frozenset({"completed", "aborted", "expired", "killed"})

NOBODYS_FAULT: Final = frozenset(
    {"stopped", "client_gone", "shutdown", "restart", "config", "journal", "steady_state", "internal", "blockout", "calendar_unreadable"}
)
"""Codes of runs that were aborted for what says nothing of the hypothesis."""

STYLES: Final = {
    "running": "bold cyan",
    "admitted": "cyan",
    "completed": "bold green",
    "aborted": "bold red",
    "expired": "bold red",
    "killed": "bold red",
}


def register(subparsers: Subparsers) -> None:
    """Add `experiment`."""
    parser = subparsers.add_parser(
        "experiment",
        help="faults for a slice of the users, with a hypothesis and everything that ends them",
        description="Run, watch and stop experiments on the running instance.",
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = _action(
        actions,
        "run",
        run,
        "run the experiment in a file",
        "Exit code: 0 upheld, 98 undecided, 99 refuted or aborted by a guard, 1 otherwise.",
    )
    one.add_argument("file", metavar="FILE", help="the experiment, YAML")
    one.add_argument(
        "--detach",
        "--no-wait",
        dest="wait",
        action="store_false",
        help="return as soon as it is admitted; it goes on by itself, whatever becomes of this machine",
    )
    one.add_argument(
        "--wait",
        dest="wait",
        action="store_true",
        help="wait for its end, and end it on Ctrl-C (default); it ends soon after this command, however this ends",
    )
    one.add_argument(
        "--patience",
        type=float,
        default=PATIENCE_S,
        metavar="SECONDS",
        help=f"end it when nothing was heard of this command for so long (default: {PATIENCE_S:g}); without a meaning with --detach",
    )
    one.add_argument(
        "--force", metavar="REASON", default="", help="break glass: overrule the rules of the house, on record with this reason"
    )
    one.add_argument("--dry-run", action="store_true", help="decide and count on real requests, and break nothing")
    one.set_defaults(wait=True)
    _action(actions, "list", list_runs, "runs, the newest first")
    for name, function, summary in (
        ("show", show, "one run: where it stands, and why"),
        ("stop", stop, "end a run now"),
        ("journal", journal, "what is on record of a run, as JSON lines"),
        ("replay", replay, "work a run's verdict out anew from the journal (exit 0 the same, 1 not)"),
    ):
        one = _action(actions, name, function, summary)
        one.add_argument("id", metavar="RUN", help="id of a run, or the name of an experiment for its newest")
        if name == "stop":
            one.add_argument("--reason", default="", help="why, for the journal")
    experiment_plan.add_plan(actions)
    experiment_report.add_report(actions)
    experiment_evidence.add_evidence(actions)


def run(arguments: argparse.Namespace) -> int:
    """Run one experiment, and wait for its end unless told otherwise.

    Raises:
        ConfigError: the file cannot be used.
        AdminRefused: it may not begin, with every reason.
        AdminUnreachable: no instance answers.
    """
    plain = experiment_to_plain(load_experiment_file(arguments.file))
    admin = client.connect(arguments)
    with interruptions() as asked:
        terms = {"force": arguments.force, "dry_run": arguments.dry_run, "attached": arguments.patience if arguments.wait else None}
        document = admin.post(PATH, {"experiment": plain, **terms})
        is_quiet = arguments.output == "json"
        if not is_quiet:
            print(printable(document["look_back"]["sentence"]), flush=True)
        if arguments.wait:
            document = wait(admin, document, asked, (lambda _: None) if is_quiet else show_event)
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    elif arguments.wait:
        Console(highlight=False, soft_wrap=True).print(render(document))
    else:
        print(f"{document['id']} is {document['state']}; it ends by itself, or by: shadowproxy experiment stop {document['id']}")
    if asked.is_set():
        return INTERRUPTED
    return exit_code(document) if arguments.wait else UPHELD


def list_runs(arguments: argparse.Namespace) -> int:
    """Print a line for each run. Raises as `AdminClient.get`."""
    document = client.connect(arguments).get(PATH)
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
        return 0
    problem = document["journal"]["problem"]
    if problem:
        print(f"no experiment begins, the journal does not work: {problem}", file=sys.stderr)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("run", "state", "share", "verdict", "why", "owner", "began"):
        table.add_column(column, overflow="fold")
    for one in document["experiments"]:
        began = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one["started"])) if one["started"] else "-"
        state = Text(one["state"], STYLES.get(one["state"], ""))
        share = f"{one['percent']:g} %"
        table.add_row(Text(one["id"]), state, share, one["verdict"] or "-", Text(one["code"] or "-"), Text(printable(one["owner"])), began)
    Console(highlight=False).print(table if document["experiments"] else Text("no experiment has been run"))
    return 0


def show(arguments: argparse.Namespace) -> int:
    """Print one run. Raises as `AdminClient.get`."""
    document = client.connect(arguments).get(_of(arguments.id))
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render(document))
    return 0


def stop(arguments: argparse.Namespace) -> int:
    """End a run; 0 also when it had ended. Raises as `AdminClient.post`."""
    document = client.connect(arguments).post(f"{_of(arguments.id)}/stop", {"reason": arguments.reason})
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        print(f"{document['id']} is {document['state']}: {printable(document['reason'])}")
    return 0


def journal(arguments: argparse.Namespace) -> int:
    """Print the journal of a run, as it is on the disk. Raises as `AdminClient.lines`."""
    for line in client.connect(arguments).lines(f"{_of(arguments.id)}/journal"):
        print(line.decode("ascii"))
    return 0


def replay(arguments: argparse.Namespace) -> int:
    """Work the verdict out anew; 1 when it is another. Raises as `AdminClient.get`."""
    document = client.connect(arguments).get(f"{_of(arguments.id)}/replay")
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        said = {True: "the same as was given", False: "NOT what was given", None: "none was given yet"}[document["is_same"]]
        result = document["result"]
        print(f"{document['id']}: {result.get('verdict', '-')}, from {document['entries']:,} entries: {said}")
        print(printable(result.get("sentence", "")))
    return FAILED if document["is_same"] is False else 0


def wait(admin: AdminClient, document: dict[str, Any], asked: threading.Event, told: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
    """The run's document once it has ended; it is ended when `asked` is set, and kept alive until then.

    Args:
        admin: where it runs.
        document: the run, as it was begun, attached.
        asked: set when the wait is interrupted.
        told: called with each event of the timeline.

    Raises:
        AdminUnreachable: nothing has answered for as long as the run goes on without this command.
    """
    patience_s = document["attached"]
    path, shown = _of(document["id"]), 0
    keeper = replace(admin, timeout_s=patience_s / 4)  # one answer that is lost must not be taken for the end of this command
    absent_since: float | None = None
    while True:
        for event in document["timeline"][shown:]:
            told(event)
        shown = len(document["timeline"])
        if document["state"] in ENDS:
            return document
        is_asked = asked.wait(LOOK_S)
        try:
            document = admin.post(f"{path}/stop", {"reason": "interrupted"}) if is_asked else keeper.post(f"{path}/keep")
            absent_since = None
        except AdminUnreachable:
            now = time.monotonic()
            absent_since = absent_since or now
            if now - absent_since > patience_s:
                raise
            time.sleep(LOOK_S)


def exit_code(document: dict[str, Any]) -> int:
    """What a run means for a script that waited for it."""
    state, verdict = document["state"], document["result"].get("verdict")
    if state == "completed":
        if document["is_dry"]:
            return UPHELD
        return {"upheld": UPHELD, "refuted": REFUTED}.get(verdict, UNDECIDED)
    if state != "aborted" or document["code"] in NOBODYS_FAULT:
        return FAILED
    return UNDECIDED if document["code"] == "environment" else REFUTED


@contextlib.contextmanager
def interruptions() -> Iterator[threading.Event]:
    """What is set by Ctrl-C, SIGTERM and a closed terminal in place of their usual effect: whoever runs something ends it first."""
    asked = threading.Event()
    heard = [number for number in INTERRUPTIONS if signal.getsignal(number) is not signal.SIG_IGN]  # nohup's wish is respected
    before = {number: signal.signal(number, lambda *_: asked.set()) for number in heard}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def render(document: dict[str, Any]) -> RenderableType:
    """A run as people read it. What others wrote is set as text: markup in it means nothing."""
    head = Text(f"{document['id']}  ", "bold")
    head.append(document["state"].upper(), STYLES.get(document["state"], "bold"))
    result = document["result"]
    if document["started"] and result.get("verdict"):
        head.append(f"  {result['verdict']}", "bold")
    parts: list[RenderableType] = [head]
    hypothesis = document["hypothesis"]
    lines = [f"if {hypothesis['fault']}, we expect: {hypothesis['expect']}; impact: {hypothesis['impact']}"]
    if document["reason"]:
        lines.append(f"{document['code']}: {document['reason']}")
    if document["started"] and result.get("sentence"):
        lines.append(result["sentence"])
    if document.get("look_back"):
        lines.append(f"before it began: {document['look_back']['sentence']}")
    lines += [f"overruled ({one['code']}): {one['sentence']}" for one in document["admission"] if one["is_overridden"]]
    parts += [Text(printable(line)) for line in lines]
    if document["started"] and document["is_dry"]:
        slices = result.get("slices", {})
        parts.append(Text(dry_report({**document, **slices}, (document["ended"] or time.time()) - document["started"]).sentence, "bold"))
    if document["started"]:
        parts += [Text(""), _slices(document)]
        faults = ", ".join(f"{kind} {count:,}" for kind, count in document["faults"].items()) or "none"
        parts.append(
            Text(
                f"{document['units']:,} users had a fault; faults: {faults}; in the slice {document['seen']:,}, outside {document['outside']:,}"
            )
        )
        parts += [Text(printable(line)) for line in _cells(result.get("containment") or {})]
    return Group(*parts)


def _cells(contained: dict[str, Any]) -> list[str]:
    """What is known of the cells beside those with the fault."""
    watched = [one for one in contained.get("cells", ()) if one["is_watched"]]
    lines = [
        "other cells, errors (before the run): "
        + ", ".join(f"{one['cell']} {_share(one['error_rate'])} ({_share(one['before']['error_rate'])})" for one in watched)
    ] * bool(watched)
    return lines + [f"other cells are not watched: {contained.get('unwatched')}"] * bool(contained.get("unwatched"))


def _share(rate: float | None) -> str:
    return "-" if rate is None else f"{rate:.2%}"


def _slices(document: dict[str, Any]) -> Table:
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim")
    for column in ("slice", "requests", "errors", "p50", "p99"):
        table.add_column(column, justify="left" if column == "slice" else "right")
    for name, one in document["result"].get("slices", {}).items():
        rate = f" ({one['error_rate']:.2%})" if one["error_rate"] is not None else ""
        table.add_row(name, f"{one['requests']:,}", f"{one['errors']:,}{rate}", _latency(one["p50"]), _latency(one["p99"]))
    return table


def _latency(seconds: float | None) -> str:
    return "-" if seconds is None else f"{seconds * 1000:,.1f} ms"


def show_event(event: dict[str, Any]) -> None:
    """Print one event of a timeline."""
    at = "" if event["seconds"] is None else f"{event['seconds']:8.1f} s"
    print(printable(f"{at:>10}  {event['event']:<12} {event['detail']}"), flush=True)


def _of(run: str) -> str:
    return f"{PATH}/{quote(run, safe='')}"


def _action(actions: Any, name: str, function: Callable[..., int], summary: str, epilog: str = "") -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(
        name, help=summary, description=f"{summary[0].upper()}{summary[1:]}.", epilog=epilog or None
    )
    client.add_arguments(parser)
    parser.set_defaults(run=function)
    return parser
