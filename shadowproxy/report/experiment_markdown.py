"""The report of an experiment as Markdown that fits a comment or an incident's page; words stay words, as in `report.markdown`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from shadowproxy.report import numbers
from shadowproxy.report.checks import State
from shadowproxy.report.document import number
from shadowproxy.report.experiment import ARMS, Verdict, count, counts, objects, part
from shadowproxy.report.experiment_checks import checks
from shadowproxy.report.experiment_faults import faults
from shadowproxy.report.markdown import LIMIT, code, escape, table

if TYPE_CHECKING:
    from shadowproxy.report.experiment import Run

SIGNS: Final = {
    Verdict.UPHELD: "\N{WHITE HEAVY CHECK MARK}",
    Verdict.REFUTED: "\N{CROSS MARK}",
    Verdict.UNDECIDED: "\N{HOURGLASS WITH FLOWING SAND}",
    Verdict.ENVIRONMENT: "\N{WARNING SIGN}",
}

ROWS: Final = 30
"""Rows of a table of which there may be many."""

WORDS: Final = 600
"""Characters of one text: a table's row, however long what somebody wrote is."""

_RESULTS: Final = {State.PASSED: "passed", State.FAILED: "**failed**", State.UNDECIDED: "undecided", State.INVALID: "**invalid**"}


def text(run: Run) -> str:
    """The report; what does not fit into LIMIT is left out, whole parts at a time, and that is said."""
    parts = [_head(run), _hypothesis(run), _tests(run), _slices(run), _cost(run), _timeline(run), _objections(run)]
    foot = f"\n<sub>{_said(run.program)}, {numbers.moment(run.made_at)}.{_journal(run)}</sub>\n"
    whole = ""
    for one in parts:
        if len(whole) + len(one) + len(foot) > LIMIT - 100:
            whole += "\n_The rest is in the HTML and JSON reports._\n"
            break
        whole += ("\n" if whole and one else "") + one
    return whole + foot


def _said(words: str) -> str:
    return escape(words if len(words) <= WORDS else f"{words[:WORDS]}...")


def _head(run: Run) -> str:
    return f"### {SIGNS[run.verdict]} {run.verdict.upper()}: {_said(run.name)}\n\n{_said(run.sentence)}\n\n{_said(run.ending)}\n"


def _hypothesis(run: Run) -> str:
    facts = [
        ("run", run.id), ("owner", run.word("owner")), ("approved by", run.word("approved_by") or "nobody"), ("started", numbers.moment(run.started)),
        ("lasted", numbers.span(run.lasted)),
    ]  # fmt: skip
    said = ", ".join(f"{name} {code(value[:WORDS])}" for name, value in facts if value and value != numbers.DASH)
    broken = "".join(f"* {_said(one)}\n" for one in faults(run.experiment))
    return f"**Hypothesis:** {_said(run.hypothesis) or 'none was stated'}\n\n{broken}\n{said}.\n"


def _tests(run: Run) -> str:
    rows = [
        [str(one.of), _said(one.name), _RESULTS[one.state], _said(one.found), _said(one.bound), _said(one.sentence)]
        for one in checks(run)[1 : ROWS + 1]
    ]
    return table(("test", "of", "result", "#found", "#bound", "in a sentence"), rows) if rows else ""


def _slices(run: Run) -> str:
    if not run.requests:
        return "No request of either slice was seen.\n"
    control, fault = (run.slice(arm) for arm in ARMS)
    errors = part(part(run.result, "excess"), "errors")
    interval = numbers.between((number(errors.get("low")), number(errors.get("high"))), numbers.points)
    rows = [
        ["requests", *(numbers.count(count(arm.get("requests"))) for arm in (control, fault))],
        ["errors of services", *(numbers.count(count(arm.get("errors"))) for arm in (control, fault))],
        ["error rate", *(numbers.share(number(arm.get("error_rate"))) for arm in (control, fault))],
        ["p50", *(numbers.duration(number(arm.get("p50"))) for arm in (control, fault))],
        ["p99", *(numbers.duration(number(arm.get("p99"))) for arm in (control, fault))],
    ]
    found = table(("", "#control", "#with the fault"), rows)
    return f"{found}\nError rate with the fault minus control: {numbers.points(number(errors.get('estimate')))} (interval {interval}).\n"


def _cost(run: Run) -> str:
    units, spent = count(run.document.get("units")), part(run.result, "budget")
    hit = ", ".join(f"{_said(kind.replace('_', ' '))} {numbers.count(n)}" for kind, n in counts(run.document.get("faults"))[:ROWS])
    charge, allowed = number(spent.get("charge")), number(spent.get("allowed"))
    cost = "" if charge is None else f" It cost {numbers.plain(round(charge, 1))} bad answers" + (
        "." if allowed is None else f" of {numbers.plain(round(allowed, 1))} that were allowed."
    )  # fmt: skip
    return f"{numbers.count(units)} different units got the fault ({hit or 'no fault happened'}).{cost}\n"


def _timeline(run: Run) -> str:
    rows = [
        [numbers.moment(number(one.get("time"))), _said(str(one.get("event", "")).replace("_", " ")), _said(str(one.get("detail") or ""))]
        for one in objects(run.document.get("timeline"))[:ROWS]
    ]
    return table(("time", "event", "in a sentence"), rows) if rows else ""


def _objections(run: Run) -> str:
    found = objects(run.document.get("admission"))[:ROWS]
    said = [f"* {'Overridden' if one.get('is_overridden') else 'Refused'}: {_said(str(one.get('sentence', '')))}\n" for one in found]
    if past := run.look_back:
        said.insert(0, f"* Before it began: {_said(past)}.\n")
    return f"**Admission:**\n\n{''.join(said)}" if said else ""


def _journal(run: Run) -> str:
    head = str(part(run.document, "journal").get("head") or "")
    return f" Journal: {code(head[:WORDS])}." if head else ""
