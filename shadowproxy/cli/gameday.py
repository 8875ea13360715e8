"""`shadowproxy gameday run FILE`: experiments one after another, stopping at the first that does not go as expected.

The file is YAML:

    name: autumn
    pause: 10s                          # between two, so that one does not show in the next
    experiments:
      - slow-payments.yaml              # beside the GameDay's file
      - {file: flaky-inventory.yaml, continue: true}      # whatever comes of it, the next one runs

All files are read, and every problem is told, before the first one runs. Exit code: the worst, in the order 1, 99, 98, 0; 130 interrupted.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shadowproxy.cli import client, experiment
from shadowproxy.cli.export import printable
from shadowproxy.config.experiment_file import experiment_to_plain, load_experiment_file
from shadowproxy.config.load import read_file
from shadowproxy.config.read import Literal
from shadowproxy.config.units import read_seconds
from shadowproxy.errors import AdminRefused, ConfigError, ControlError, Problem

if TYPE_CHECKING:
    import argparse
    from threading import Event

    from shadowproxy.cli.client import AdminClient
    from shadowproxy.cli.main import Subparsers

WORST_FIRST: Final = (experiment.INTERRUPTED, experiment.FAILED, experiment.REFUTED, experiment.UNDECIDED, experiment.UPHELD)
WORDS: Final = {experiment.UPHELD: "upheld", experiment.UNDECIDED: "undecided", experiment.REFUTED: "refuted", experiment.FAILED: "failed"}

MOST: Final = 100
"""Experiments of one GameDay."""


@dataclass(frozen=True, slots=True)
class Item:
    """One experiment of a GameDay. `goes_on`: the next one runs whatever comes of this one."""

    file: str
    plain: dict[str, Any]
    goes_on: bool


@dataclass(frozen=True, slots=True)
class GameDay:
    """What is to be run."""

    name: str
    pause_s: float
    items: tuple[Item, ...]


def register(subparsers: Subparsers) -> None:
    """Add `gameday`."""
    parser = subparsers.add_parser("gameday", help="experiments one after another", description="Run the experiments of a GameDay.")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    one = actions.add_parser(
        "run", help="run what a file lists, and stop at the first that is not upheld", description="Run experiments one after another."
    )
    client.add_arguments(one)
    one.add_argument("file", metavar="FILE", help="the GameDay, YAML")
    one.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Run a GameDay and return the worst of its exit codes.

    Raises:
        ConfigError: the file, or one that it names, cannot be used.
        AdminUnreachable: no instance answers.
    """
    day = load(Path(arguments.file))
    admin = client.connect(arguments)
    is_quiet = arguments.output == "json"
    results: list[dict[str, Any]] = []
    with experiment.interruptions() as asked:
        for number, item in enumerate(day.items):
            if number and asked.wait(day.pause_s):
                break
            if not is_quiet:
                print(f"-- {printable(item.file)} ({number + 1} of {len(day.items)})", flush=True)
            results.append(_one(admin, item, asked, is_quiet=is_quiet))
            if asked.is_set() or (results[-1]["exit_code"] != experiment.UPHELD and not item.goes_on):
                break
    codes = {result["exit_code"] for result in results}
    worst = experiment.INTERRUPTED if asked.is_set() else next(code for code in WORST_FIRST if code in codes)
    if is_quiet:
        print(json.dumps({"name": day.name, "exit_code": worst, "listed": len(day.items), "results": results}, indent=2))
    else:
        Console(highlight=False).print(_table(day, results))
    return worst


def load(path: Path) -> GameDay:
    """The GameDay in a file, and all experiments that it names.

    Raises:
        ConfigError: with every problem of all of them.
    """
    value, report = read_file(path)
    if report.has_errors:
        raise ConfigError(report.in_order())
    problems: list[Problem] = []
    if not isinstance(value, dict) or not set(value) <= {"name", "pause", "experiments"}:
        raise ConfigError([Problem("", "a GameDay has name, pause and experiments", file=str(path))])
    listed = value.get("experiments")
    if not isinstance(listed, list) or not 0 < len(listed) <= MOST:
        raise ConfigError([Problem("experiments", f"from 1 to {MOST} files of experiments", file=str(path))])
    items: list[Item] = []
    for index, entry in enumerate(listed):
        one = {"file": entry} if isinstance(entry, str) else entry
        is_item = isinstance(one, dict) and isinstance(one.get("file"), str) and set(one) <= {"file", "continue"}
        goes_on = _scalar(one.get("continue", False)) if is_item else None
        if not isinstance(goes_on, bool):
            problems.append(Problem(f"experiments[{index}]", "a file, or {file: ..., continue: true}", file=str(path)))
            continue
        try:
            items.append(Item(one["file"], experiment_to_plain(load_experiment_file(path.parent / one["file"])), goes_on))
        except ConfigError as error:
            problems += error.problems
    pause_s = 0.0
    try:
        pause_s = read_seconds(_scalar(value.get("pause", 0)))
    except ValueError as error:
        problems.append(Problem("pause", str(error), file=str(path)))
    if problems:
        raise ConfigError(problems)
    return GameDay(str(value.get("name", path.stem)), pause_s, tuple(items))


def _scalar(value: object) -> object:
    """What a scalar of YAML means; its spelling is kept beside it until somebody asks."""
    return value.value if isinstance(value, Literal) and not value.is_text else value


def _one(admin: AdminClient, item: Item, asked: Event, *, is_quiet: bool) -> dict[str, Any]:
    """Run one; what is refused, or cannot be watched any more, is a result, too."""
    try:
        document = admin.post(experiment.PATH, {"experiment": item.plain, "attached": experiment.PATIENCE_S})
        document = experiment.wait(admin, document, asked, (lambda _: None) if is_quiet else experiment.show_event)
    except AdminRefused as error:
        return {"file": item.file, "id": None, "state": "refused", "exit_code": experiment.FAILED, "sentence": error.detail or str(error)}
    except ControlError as error:
        return {"file": item.file, "id": None, "state": "unknown", "exit_code": experiment.FAILED, "sentence": str(error)}
    said = document["result"].get("sentence") or document["reason"]
    return {
        "file": item.file,
        "id": document["id"],
        "state": document["state"],
        "exit_code": experiment.exit_code(document),
        "sentence": said,
    }


def _table(day: GameDay, results: list[dict[str, Any]]) -> Table:
    table = Table(title=Text(printable(f"GameDay {day.name}")), title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for column in ("experiment", "run", "result", "why"):
        table.add_column(column, overflow="fold")
    styles = {"upheld": "bold green", "undecided": "bold yellow", "refuted": "bold red", "failed": "bold red"}
    for result in results:
        word = WORDS[result["exit_code"]]
        table.add_row(Text(printable(result["file"])), result["id"] or "-", Text(word, styles[word]), Text(printable(result["sentence"])))
    for item in day.items[len(results) :]:
        table.add_row(Text(printable(item.file)), "-", Text("not run", "dim"), "")
    return table
