"""The report of an experiment as one page that needs nothing else: no script, no font, no picture, nothing fetched.

As `report.html`: its content security policy allows the style sheet inside it and nothing more, and all words pass through
`markup.tag`, which escapes them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.report import experiment_figures, experiment_tables, numbers
from shadowproxy.report.experiment import Verdict, count, part
from shadowproxy.report.experiment_checks import Of, checks
from shadowproxy.report.html import document
from shadowproxy.report.markup import Markup, tag

if TYPE_CHECKING:
    from shadowproxy.report.experiment import Run

COLOURS: Final = {Verdict.UPHELD: "SAFE", Verdict.REFUTED: "REGRESSION", Verdict.UNDECIDED: "UNDECIDED", Verdict.ENVIRONMENT: "INVALID"}
"""The classes of the style sheet that verdicts are shown in."""

ADVICE: Final = {
    Verdict.UPHELD: "The system copes with this fault in this slice. Try a larger slice, or the next fault.",
    Verdict.REFUTED: "The system does not cope as expected. What failed is below; mend it, and run this experiment again.",
    Verdict.UNDECIDED: "Nothing is shown either way: run it longer, or on a larger slice. shadowproxy experiment plan says how long that takes.",
    Verdict.ENVIRONMENT: "Do not conclude anything: control moved as well, so the cause was something else. Run it again when that is over.",
}
"""What to do about each verdict."""

TRIPPED: Final = "A guard ended it before more could be shown. Find out why that bound was crossed before this fault is tried again."
"""What to do about a run that a guard has ended early."""

LEAKED: Final = (
    "The fault did harm outside the cells that it was confined to. Find what they share with the others before this is tried again."
)
"""What to do about a run that did harm in another cell."""


def page(run: Run) -> str:
    """The whole document."""
    return document(f"{run.verdict.upper()}: {run.name}", run.program, [_header(run), tag("main", _article(run)), _footer(run)])


def _header(run: Run) -> Markup:
    return tag("header", tag("h1", f"Experiment {run.name}"), tag("span", f"{run.program}, {numbers.moment(run.made_at)}", class_="soft"))


def _article(run: Run) -> list[Markup | None]:
    found = checks(run)
    return [
        _banner(run),
        _section("Hypothesis", tag("p", run.hypothesis or "None was stated.", class_="sentence"), experiment_tables.plan(run)),
        _section("With the fault and without", experiment_tables.slices(run)),
        _section("Latency", experiment_figures.latency(run)),
        _section("Over time", experiment_figures.over_time(run)),
        _section("Guards", experiment_tables.guards(found)),
        _optional("Other cells", experiment_tables.cells(found)),
        _section("Expectations", experiment_tables.held(found, Of.EXPECTATION, "The experiment expected nothing of answers.")),
        _section("Steady state", experiment_tables.held(found, Of.STEADY, "No probe was watched.")),
        _section("Who was hit, and what it cost", experiment_tables.exposure(run), experiment_tables.budget(run)),
        _optional("Ramp", experiment_tables.ramp(run)),
        _section("Timeline", experiment_tables.timeline(run)),
        _optional("Admission", experiment_tables.admission(run)),
        _section("Evidence", experiment_tables.evidence(run)),
    ]


def _footer(run: Run) -> Markup:
    return tag("footer", experiment_tables.how_to_read(), experiment_tables.file(run))


def _section(title: str, *content: object) -> Markup:
    return tag("section", tag("h2", title), list(content))


def _optional(title: str, content: Markup | None) -> Markup | None:
    return None if content is None else _section(title, content)


def advice(run: Run) -> str:
    """What to do about a run that is over."""
    if run.word("code") == "containment":
        return LEAKED
    return TRIPPED if run.word("code").startswith("guard_") and run.verdict is Verdict.UNDECIDED else ADVICE[run.verdict]


def _banner(run: Run) -> Markup:
    return tag(
        "section",
        tag("span", run.verdict.upper(), class_="word"),
        tag("p", run.sentence, class_="sentence"),
        tag("p", run.ending),
        tag("p", tag("strong", "What to do: "), advice(run)) if run.is_over else None,
        tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts(run)], class_="facts"),
        class_=f"banner {COLOURS[run.verdict]}",
    )


def facts(run: Run) -> list[tuple[str, str]]:
    """What is said of a run at a glance: names and values."""
    percent = part(run.experiment, "slice").get("percent")
    units = count(run.document.get("units"))
    listed = [
        ("state", f"{run.state}, dry: nothing was broken" if run.document.get("is_dry") else str(run.state)),
        ("run", run.id),
        ("owner", run.word("owner")),
        ("started by", run.word("submitted_by")),
        ("approved by", run.word("approved_by") or "nobody"),
        ("rules overridden because", run.word("force")),
        ("started", numbers.moment(run.started)),
        ("ended", numbers.moment(run.ended)),
        ("lasted", numbers.span(run.lasted)),
        ("slice", f"{percent:g}{numbers.THIN}% of the units" if isinstance(percent, (int, float)) else ""),
        ("units with the fault", numbers.count(units)),
        ("requests compared", numbers.count(run.requests)),
    ]
    if run.word("code"):
        listed.insert(1, ("because of", run.word("code").replace("_", " ")))
    return [(name, value) for name, value in listed if value and value != numbers.DASH]
