"""`shadowproxy experiment plan FILE`: what an experiment would take, before anything runs, and what speaks against it now.

With `--rate` no instance is needed; then nobody knows what speaks against it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from rich.console import Console, Group
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.cli.export import printable
from shadowproxy.config.experiment_file import experiment_to_plain, load_experiment_file
from shadowproxy.errors import ControlError
from shadowproxy.experiments.allowance import Traffic
from shadowproxy.experiments.openslo import read_objectives
from shadowproxy.experiments.planning import Effect, plan

if TYPE_CHECKING:
    import argparse

    from shadowproxy.config.experiment import Experiment

PATH: Final = "/api/v1/experiments/plan"

SUFFICES: Final = 0
FAILED: Final = 1

LARGEST_SLO: Final = 1024 * 1024
"""Bytes of an OpenSLO document."""


def add_plan(actions: Any) -> None:
    """Add `plan`."""
    one = actions.add_parser(
        "plan",
        help="what it would take: requests, users, minutes, error budget; and what speaks against it",
        description="What an experiment would take, before anything runs, and what speaks against it now.",
        epilog="Exit code: 0 it may begin and its duration suffices, 1 otherwise.",
    )
    client.add_arguments(one)
    one.set_defaults(run=run)
    one.add_argument("file", metavar="FILE", help="the experiment, YAML")
    one.add_argument("--slo", metavar="FILE", help="take the strictest objective of this OpenSLO document in place of budget.slo")
    one.add_argument(
        "--errors",
        type=float,
        metavar="POINTS",
        help="effect to be seen: so many percentage points more errors (default: sequential.margin)",
    )
    one.add_argument(
        "--slower", type=float, metavar="PERCENT", help="effect to be seen: a p99 that is so many percent longer (default: 50)"
    )
    one.add_argument("--rate", type=float, metavar="N", help="requests a second of the observed routes; then no instance is asked")
    one.add_argument("--error-rate", type=float, default=0.0, metavar="PERCENT", help="with --rate: of them, how many fail anyway")
    one.add_argument("--units", type=float, metavar="N", help="with --rate: different users a second")
    one.add_argument("--p50", type=float, metavar="SECONDS", help="with --rate: median latency")
    one.add_argument("--p99", type=float, metavar="SECONDS", help="with --rate: 99th percentile of latency")


def run(arguments: argparse.Namespace) -> int:
    """Print the plan.

    Raises:
        ConfigError: a file cannot be used.
        ControlError: a number makes no sense.
        AdminUnreachable: no instance answers.
    """
    experiment = load_experiment_file(arguments.file)
    notes: list[str] = []
    if arguments.slo:
        experiment, note = _with_objective(experiment, arguments.slo)
        notes.append(note)
    effect = _effect(arguments, experiment)
    if arguments.rate is not None:
        document = plan(experiment, _traffic(arguments), effect).to_plain()
    else:
        asked = {"experiment": experiment_to_plain(experiment), "effect": {"errors": effect.errors, "slower": effect.slower}}
        document = client.connect(arguments).post(PATH, asked)
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render(document, notes))
    return SUFFICES if document["is_enough"] and document.get("is_admitted", True) else FAILED


def render(document: dict[str, Any], notes: list[str]) -> Group:
    """Return a plan as text: a sentence a line."""
    lines = [Text(printable(document["name"]), "bold"), *(Text(f"  {printable(note)}", "dim") for note in notes)]
    lines += [Text(f"  {printable(sentence)}") for sentence in document["sentences"]]
    if "look_back" in document:
        lines.append(Text(f"  {printable(document['look_back']['sentence'])}"))
    if "admission" in document:
        refusals = document["admission"]
        lines.append(Text("it may begin now" if not refusals else "it may not begin now:", "green" if not refusals else "bold red"))
        lines += [Text(f"  {printable(one['code'])}: {printable(one['sentence'])}") for one in refusals]
        lines += [Text(f"  {printable(sentence)}, and would end it", "yellow") for sentence in document["coming"]]
    return Group(*lines)


def _with_objective(experiment: Experiment, file: str) -> tuple[Experiment, str]:
    try:
        with Path(file).open("rb") as opened:
            text = opened.read(LARGEST_SLO + 1)
    except OSError as error:
        raise ControlError(f"{file}: {error.strerror}") from None
    if len(text) > LARGEST_SLO:
        raise ControlError(f"{file}: more than {LARGEST_SLO} bytes")
    objective = read_objectives(text, file=file)[0]
    slo = replace(objective.slo, requests=experiment.budget.slo.requests)
    note = f"objective {objective.name}: {slo.target:g} % over {slo.period / 86400:g} days"
    return replace(experiment, budget=replace(experiment.budget, slo=slo)), note + (f"; {objective.note}" if objective.note else "")


def _effect(arguments: argparse.Namespace, experiment: Experiment) -> Effect:
    standard = Effect.of(experiment)
    errors = standard.errors if arguments.errors is None else arguments.errors / 100
    slower = standard.slower if arguments.slower is None else arguments.slower / 100
    if not (0 < errors <= 1 and slower > 0):
        raise ControlError("--errors is above 0 and at most 100, --slower above 0")
    return Effect(errors=errors, slower=slower)


def _traffic(arguments: argparse.Namespace) -> Traffic:
    given = [arguments.rate, arguments.units or 0.0, arguments.p50 or 0.0, arguments.p99 or 0.0]
    if not all(0 <= value < 1e12 for value in given) or not 0 <= arguments.error_rate <= 100:
        raise ControlError("rates and latencies are 0 or more, --error-rate at most 100")
    return Traffic(
        requests_per_s=arguments.rate,
        error_rate=arguments.error_rate / 100,
        units_per_s=arguments.units,
        p50=arguments.p50,
        p99=arguments.p99,
    )
