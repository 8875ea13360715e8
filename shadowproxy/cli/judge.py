"""`shadowproxy judge kayenta`: Kayenta's canary judge over a canary config and the values of its metrics.

Exit codes: 0 pass, 98 marginal, 99 fail, 1 when the files cannot be used.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from shadowproxy.errors import ConfigError, Problem
from shadowproxy.judge.kayenta import canary
from shadowproxy.judge.kayenta.classify import Label
from shadowproxy.judge.kayenta.judgement import judge
from shadowproxy.judge.kayenta.score import Outcome

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers
    from shadowproxy.judge.kayenta.judgement import Judgement, Result

CODES: Final = {Outcome.PASS: 0, Outcome.MARGINAL: 98, Outcome.FAIL: 99}
STYLES: Final = {Outcome.PASS: "bold green", Outcome.MARGINAL: "bold yellow", Outcome.FAIL: "bold red"}


def register(subparsers: Subparsers) -> None:
    """Add `judge kayenta`."""
    parser = subparsers.add_parser("judge", help="judge recorded metrics as other tools do", description="Judge recorded metrics.")
    judges = parser.add_subparsers(dest="judge", metavar="JUDGE", required=True)
    kayenta = judges.add_parser(
        "kayenta",
        help="Kayenta's NetflixACAJudge",
        description="Classify each metric of a canary config and score the canary, as Kayenta does.",
        epilog="CONTROL and EXPERIMENT are objects of lists of numbers by metric name, or Kayenta's lists of metric sets. "
        "Without EXPERIMENT, CONTROL is a list of metric set pairs. Exit codes: 0 pass, 98 marginal, 99 fail.",
    )
    kayenta.add_argument("config", metavar="CONFIG", help="the canary config, JSON")
    kayenta.add_argument("control", metavar="CONTROL", help="the baseline's metrics, JSON")
    kayenta.add_argument("experiment", metavar="EXPERIMENT", nargs="?", help="the canary's metrics, JSON")
    kayenta.add_argument("--pass", dest="pass_at", type=float, metavar="SCORE", help="score from which the canary passes")
    kayenta.add_argument("--marginal", dest="marginal_at", type=float, metavar="SCORE", help="score from which it is marginal")
    kayenta.add_argument("--output", choices=("text", "json"), default="text", help="how to print the judgement")
    kayenta.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Judge, print, and return what the outcome means.

    Raises:
        ConfigError: a file cannot be read, or is not what it should be; with every problem of that file.
    """
    config = canary.read(load(arguments.config), arguments.config, pass_at=arguments.pass_at, marginal_at=arguments.marginal_at)
    if arguments.experiment is None:
        control, experiment = canary.read_pairs(load(arguments.control), arguments.control)
    else:
        control = canary.read_series(load(arguments.control), arguments.control)
        experiment = canary.read_series(load(arguments.experiment), arguments.experiment)
    judgement = judge(config, control, experiment)
    if arguments.output == "json":
        print(json.dumps(judgement.to_plain(), indent=2, allow_nan=False))
    else:
        show(judgement, Console(highlight=False))
    return CODES[judgement.outcome]


def load(file: str) -> Any:
    """What the JSON of a file says.

    Raises:
        ConfigError: it cannot be read, or is no JSON.
    """
    try:
        return json.loads(Path(file).read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise ConfigError([Problem("file", f"is no JSON: {error.msg}", error.lineno, error.colno, file)]) from error
    except UnicodeDecodeError as error:
        raise ConfigError([Problem("file", "is no JSON: it is not UTF-8", file=file)]) from error
    except RecursionError as error:
        raise ConfigError([Problem("file", "is no JSON of ours: it is nested too deeply", file=file)]) from error
    except OSError as error:
        raise ConfigError([Problem("file", f"cannot be read: {error.strerror}", file=file)]) from error


def show(judgement: Judgement, console: Console) -> None:
    """Print the metrics, the groups and the outcome. Names are set as text: markup in them means nothing."""
    metrics = Table(box=None, pad_edge=False)
    for column in ("metric", "groups", "is", "ratio", "why"):
        metrics.add_column(column, header_style="dim", overflow="fold")
    for result in judgement.results:
        metrics.add_row(*_row(result))
    console.print(metrics)
    for group in judgement.score.groups:
        console.print(
            Text(
                f"group {group.name}: {_score(group.score)} of weight {_score(group.weight)}"
                if group.has_data
                else f"group {group.name}: no data"
            )
        )
    text = Text(f"{judgement.outcome}", STYLES[judgement.outcome])
    text.append(f", score {_score(judgement.score.score)}{judgement.score.reason and ': '}{judgement.score.reason}", "not bold default")
    console.print(text)


def _row(result: Result) -> tuple[Text, ...]:
    found = result.classification
    said = "".join((str(found.label), " (critical)" * found.is_critical, " (muted)" * result.metric.is_muted))
    tags = ", ".join(f"{key}={value}" for key, value in result.tags)
    name = f"{result.metric.name} {{{tags}}}" if tags else result.metric.name
    ratio = "-" if found.ratio is None else f"{found.ratio:.3f}"
    style = "" if found.label is Label.PASS else "red"
    return Text(name), Text(", ".join(result.metric.groups)), Text(said, style), Text(ratio), Text(found.reason)


def _score(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
