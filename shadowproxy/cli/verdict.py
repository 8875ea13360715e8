"""`shadowproxy verdict`: is the shadow worse? The answer as a sentence, a document and an exit code.

0 SAFE, 98 UNDECIDED, 99 REGRESSION, 1 INVALID; of several mirrors the worst, in the order INVALID, REGRESSION,
UNDECIDED, SAFE. No mirror at all is UNDECIDED: nothing was shown.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlencode

from rich.console import Console, Group
from rich.text import Text

from shadowproxy.cli import client
from shadowproxy.judge import wording
from shadowproxy.judge.verdict import Outcome

if TYPE_CHECKING:
    import argparse

    from rich.console import RenderableType

    from shadowproxy.cli.main import Subparsers

WORST_FIRST: Final = (Outcome.INVALID, Outcome.REGRESSION, Outcome.UNDECIDED, Outcome.SAFE)
EXIT_CODES: Final = {Outcome.SAFE: 0, Outcome.UNDECIDED: 98, Outcome.REGRESSION: 99, Outcome.INVALID: 1}
STYLES: Final = {
    Outcome.SAFE: "bold green",
    Outcome.UNDECIDED: "bold yellow",
    Outcome.REGRESSION: "bold red",
    Outcome.INVALID: "bold magenta",
}

LOOK_S: Final = 0.5
"""Seconds between looks while waiting; looking often costs nothing of the verdict's certainty."""


def register(subparsers: Subparsers) -> None:
    """Add `verdict`."""
    parser = subparsers.add_parser(
        "verdict",
        help="is the shadow worse? (exit 0 safe, 98 undecided, 99 regression, 1 invalid)",
        description="Say whether each shadow is worse than live, and how that is known.",
        epilog="Exit code of the worst verdict: 0 SAFE, 98 UNDECIDED, 99 REGRESSION, 1 INVALID.",
    )
    client.add_arguments(parser)
    parser.add_argument("--route", metavar="NAME", help="only the mirrors of this route")
    parser.add_argument("--mirror", metavar="NAME", help="only mirrors of this name")
    parser.add_argument("--wait", metavar="SECONDS", type=_patience, default=0.0, help="wait as long for every verdict to be decided")
    parser.add_argument("--anew", action="store_true", help="first forget what was shown so far, and begin anew")
    parser.set_defaults(run=verdict)


def verdict(arguments: argparse.Namespace) -> int:
    """Print the verdicts and return the exit code of the worst.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: no mirror is called that.
    """
    admin = client.connect(arguments)
    if arguments.anew:
        restarted = admin.post(path_of(arguments.route, arguments.mirror, "/api/v1/verdict/restart"))
        if not restarted["is_persisted"]:
            print("the state store does not work: a restart of the proxy may bring the old evidence back", file=sys.stderr)
    document = wait(admin, path_of(arguments.route, arguments.mirror), arguments.wait)
    if arguments.output == "json":
        print(json.dumps(document, indent=2))
    else:
        Console(highlight=False, soft_wrap=True).print(render(document))
    return EXIT_CODES[worst(document)]


def path_of(route: str | None, mirror: str | None = None, path: str = "/api/v1/verdict") -> str:
    """Where the verdicts are, or what else asks for mirrors."""
    query = {name: value for name, value in (("route", route), ("mirror", mirror)) if value is not None}
    return path + (f"?{urlencode(query)}" if query else "")


def wait(admin: client.AdminClient, path: str, seconds: float) -> Any:
    """The document once it is decided, or as it stands after `seconds`. A bad verdict of one mirror decides at once."""
    deadline = time.monotonic() + seconds
    while True:
        document = admin.get(path)
        left = deadline - time.monotonic()
        if worst(document) is not Outcome.UNDECIDED or left <= 0:
            return document
        time.sleep(min(LOOK_S, left))


def worst(document: dict[str, Any]) -> Outcome:
    """The worst verdict of a document."""
    found = {Outcome(one["verdict"]) for one in document["verdicts"]}
    return next((outcome for outcome in WORST_FIRST if outcome in found), Outcome.UNDECIDED)


def render(document: dict[str, Any]) -> RenderableType:
    """The verdicts as people read them. Names are set as text: markup in them means nothing."""
    parts: list[RenderableType] = []
    for one in document["verdicts"]:
        parts += [headline(one), *_details(one), Text("")]
    if not parts:
        parts.append(Text("no route has a mirror"))
    return Group(*parts)


def headline(one: dict[str, Any]) -> Text:
    """`orders → shadow  SAFE  errors worse by less than ...`."""
    text = Text(f"{one['route']} → {one['mirror']}  ", "bold")
    text.append(one["verdict"], STYLES[Outcome(one["verdict"])])
    text.append(f"  {one['summary']}", "not bold")
    return text


def _details(one: dict[str, Any]) -> list[Text]:
    lines = [f"- {reason}" for reason in one["reasons"] if reason not in one["summary"]]
    seen = f"compared with {one['baseline']}: {wording.count(one['pairs'], 'pair')} of {one['eligible']:,} eligible requests"
    if one["coverage"] is not None:
        seen += f" ({wording.percent(round(one['coverage'], 4))})"
    if one["pairs_per_second"]:
        seen += f", {one['pairs_per_second']:.3g} per second"
    lines.append(seen)
    builds = [f"{role} {', '.join(names)}" for role, names in one["revisions"].items() if names]
    if builds:
        lines.append(f"builds: {'; '.join(builds)}")
    previous = one["previous"]
    if previous is not None:
        lines.append(f"epoch {one['epoch']}; before it {previous['verdict']}: {previous['summary']}")
    return [Text(f"  {line}", "dim") for line in lines]


def _patience(text: str) -> float:
    seconds = float(text)
    if not 0 <= seconds <= 7 * 86400:
        raise ValueError(text)
    return seconds
