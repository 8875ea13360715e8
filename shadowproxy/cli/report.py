"""`shadowproxy report`: the verdict with its evidence as one file to send around."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from shadowproxy import __version__
from shadowproxy.cli import client
from shadowproxy.errors import AdminRefused, ControlError
from shadowproxy.report import html, junit, markdown, plain
from shadowproxy.report.document import gather
from shadowproxy.report.junit import Undecided

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from shadowproxy.cli.client import AdminClient
    from shadowproxy.cli.main import Subparsers
    from shadowproxy.report.document import Report

FORMATS: Final = ("html", "markdown", "json", "junit")
SUFFIXES: Final = {".html": "html", ".htm": "html", ".md": "markdown", ".json": "json", ".xml": "junit"}
"""What the name of the file says about the format, where none is given."""

EXAMPLES: Final = 5
"""Examples of each mirror."""

LIMIT: Final = 100
"""Most of them."""


def register(subparsers: Subparsers) -> None:
    """Add `report`."""
    parser = subparsers.add_parser(
        "report",
        help="the verdict with its evidence, as one file",
        description="Write what is known of each mirror's shadow as one self-contained page, as Markdown, JSON or JUnit XML.",
    )
    client.add_arguments(parser)
    parser.add_argument("--route", metavar="NAME", help="only the mirrors of this route")
    add_forms(parser)
    parser.add_argument("--examples", metavar="N", type=int, default=EXAMPLES, help=f"pairs to show of each mirror (default: {EXAMPLES})")
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    """Write the report.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: no route has that name.
        ControlError: the file cannot be written.
    """
    gathered = collect(client.connect(arguments), arguments.route, arguments.examples)
    text = write(gathered, chosen_format(arguments), arguments.undecided)
    return hand_over(text, arguments.out, gathered.worst)


def add_forms(parser: argparse.ArgumentParser) -> None:
    """Add what every report is asked for: its form, its file, and what is undecided in JUnit XML."""
    parser.add_argument("--format", choices=FORMATS, help="default: what the name of the file says, else html")
    parser.add_argument("--out", metavar="FILE", help="where to write it (default: standard output)")
    parser.add_argument(
        "--undecided",
        choices=tuple(Undecided),
        type=Undecided,
        default=Undecided.SKIPPED,
        help="what an undecided test is in JUnit XML (default: skipped)",
    )


def hand_over(text: str, out: str | None, verdict: str) -> int:
    """Write a report to a file, or to standard output where none is named. Returns the exit code.

    Raises:
        ControlError: the file cannot be written.
    """
    if out is None:
        print(text, end="")
        return 0
    try:
        Path(out).write_text(text, "utf-8")
    except OSError as error:
        raise ControlError(f"{out}: {error.strerror}") from None
    print(f"{verdict}: {out}")
    return 0


def collect(admin: AdminClient, route: str | None, examples: int) -> Report:
    """Ask the admin API for everything that a report shows. Raises as `AdminClient.get`."""
    query = "" if route is None else f"route={quote(route, safe='')}"
    verdicts = admin.get(f"/api/v1/verdict?{query}".rstrip("?"))
    return gather(
        verdicts,
        admin.get(f"/api/v1/compare?buckets=epoch&{query}".rstrip("&")),
        list(_exemplars(admin, verdicts, examples)),
        made_at=time.time(),
        program=f"shadowproxy {__version__}",
        status=admin.get("/api/v1/status"),
        config=admin.get("/api/v1/config")["config"],
    )


def write(gathered: Report, kind: str, undecided: Undecided = Undecided.SKIPPED) -> str:
    """The report as text in one of FORMATS."""
    if kind == "json":
        return plain.text(gathered)
    if kind == "markdown":
        return markdown.text(gathered)
    return junit.text(gathered, undecided) if kind == "junit" else html.page(gathered)


def chosen_format(arguments: argparse.Namespace) -> str:
    """One of FORMATS: what is said, else what the name of the file says."""
    if arguments.format is not None:
        return str(arguments.format)
    if arguments.output == "json":
        return "json"
    return SUFFIXES.get(Path(arguments.out or "").suffix.lower(), "html")


def _exemplars(admin: AdminClient, verdicts: dict[str, Any], limit: int) -> Iterator[dict[str, Any]]:
    """The worst examples of each mirror, whole."""
    for verdict in verdicts["verdicts"] if limit > 0 else ():
        of = f"route={quote(str(verdict['route']), safe='')}&mirror={quote(str(verdict['mirror']), safe='')}"
        for kept in admin.get(f"/api/v1/exemplars?{of}&limit={min(limit, LIMIT)}")["exemplars"]:
            try:
                yield admin.get(f"/api/v1/exemplars/{quote(str(kept['id']), safe='')}")
            except AdminRefused:  # it may have made room for a worse one since
                continue
