"""`shadowproxy experiment report ID`: one run as a page, Markdown, JSON or JUnit XML."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from shadowproxy import __version__
from shadowproxy.cli import client
from shadowproxy.cli.report import add_forms, chosen_format, hand_over
from shadowproxy.report import experiment_html, experiment_junit, experiment_markdown, experiment_plain
from shadowproxy.report.experiment import Run
from shadowproxy.report.junit import Undecided

if TYPE_CHECKING:
    import argparse

    from shadowproxy.cli.main import Subparsers


def add_report(subparsers: Subparsers) -> None:
    """Add `report`."""
    parser = subparsers.add_parser(
        "report",
        help="one run as one file to read and to send around",
        description="Write what a run showed as one self-contained page, as Markdown, JSON or JUnit XML.",
    )
    client.add_arguments(parser)
    parser.add_argument("id", metavar="ID", help="of the run; by a name its newest")
    add_forms(parser)
    parser.set_defaults(run=report)


def report(arguments: argparse.Namespace) -> int:
    """Write the report.

    Raises:
        AdminUnreachable: no instance answers.
        AdminRefused: there is no such run.
        ControlError: the file cannot be written.
    """
    document = client.connect(arguments).get(f"/api/v1/experiments/{quote(arguments.id, safe='')}")
    run = Run(document, time.time(), f"shadowproxy {__version__}")
    text = write(run, chosen_format(arguments), arguments.undecided)
    return hand_over(text, arguments.out, run.verdict)


def write(run: Run, kind: str, undecided: Undecided = Undecided.SKIPPED) -> str:
    """The report as text in one of FORMATS."""
    if kind == "json":
        return experiment_plain.text(run)
    if kind == "markdown":
        return experiment_markdown.text(run)
    return experiment_junit.text(run, undecided) if kind == "junit" else experiment_html.page(run)
