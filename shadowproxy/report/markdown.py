"""The report as Markdown that fits a comment on a pull request (GitHub's dialect).

Words from traffic and config are written so that they stay words: punctuation that means something is escaped,
nobody is mentioned, nothing is linked and no picture is fetched.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowproxy.report import numbers
from shadowproxy.report.checks import ADVICE, State, checks
from shadowproxy.report.document import number
from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.report.document import Report, Subject

LIMIT: Final = 60_000
"""Characters of a report: GitHub takes 65,536 in one comment."""

ROWS: Final = 10

SIGNS: Final = {
    "REGRESSION": "\N{CROSS MARK}",
    "SAFE": "\N{WHITE HEAVY CHECK MARK}",
    "UNDECIDED": "\N{HOURGLASS WITH FLOWING SAND}",
    "INVALID": "\N{WARNING SIGN}",
}

_RESULTS: Final = {State.PASSED: "passed", State.FAILED: "**failed**", State.UNDECIDED: "undecided", State.INVALID: "**invalid**"}

_MEANING: Final = re.compile(r"([\\`*_\[\]<>#!|~&$])")
_LEADING: Final = re.compile(r"^([-+=](?=[\s=-]|$)|\d+(?=[.)](?:\s|$)))")
_ADDRESS: Final = re.compile(r"(@|://|www\.)")
_BREAK: Final = "\N{ZERO WIDTH SPACE}"


def text(report: Report) -> str:
    """The whole report, or as much of it as LIMIT allows."""
    parts = [_subject(report, subject) for subject in report.subjects] or ["No route has a mirror, so there is nothing to compare.\n"]
    killed = "> The kill switch is on: nothing is mirrored. What follows was measured before.\n\n" if report.is_killed else ""
    foot = (
        f"\n<sub>{escape(report.program)}, {numbers.moment(report.made_at)}. Intervals hold at any time, however often one looks.</sub>\n"
    )
    whole = killed
    for at, part in enumerate(parts):
        if len(whole) + len(part) + len(foot) > LIMIT - 100:
            whole += f"\n_and {len(parts) - at} more mirrors_\n"
            break
        whole += ("\n" if at else "") + part
    return whole + foot


def escape(words: str) -> str:
    """`words` as Markdown that shows them and does nothing else, on one line."""
    flat = " ".join(visible(words).split())
    safe = _ADDRESS.sub(lambda found: found[0][0] + _BREAK + found[0][1:], _MEANING.sub(r"\\\1", flat))
    return _LEADING.sub(lambda found: _BREAK + found[0], safe)


def code(words: str) -> str:
    """`words` as code, on one line, also inside a table."""
    flat = " ".join(visible(words).split()) or " "
    longest = max((len(run) for run in re.findall(r"`+", flat)), default=0)
    fence = "`" * (longest + 1)
    edge = " " if flat.startswith("`") or flat.endswith("`") else ""
    return f"{fence}{edge}{flat}{edge}{fence}".replace("|", "\\|")


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table; `#x` is a column of numbers. Cells are Markdown already."""
    lines = [[name.removeprefix("#") for name in columns], ["--:" if name.startswith("#") else "---" for name in columns], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _subject(report: Report, subject: Subject) -> str:
    parts = [
        f"### {SIGNS[subject.state]} {subject.state}: {escape(subject.name)}\n\n{escape(numbers.sentence(str(subject.verdict.get('summary', ''))))}\n",
        f"{escape(ADVICE[subject.state])}\n",
        _tests(subject),
        _needs(subject),
        _transitions(subject),
        _fields(subject),
        _where(report, subject),
    ]
    return "\n".join(part for part in parts if part)


def _tests(subject: Subject) -> str:
    rows = [
        [escape(one.name), _RESULTS[one.state], *(escape(cell) for cell in (one.live, one.shadow, one.difference, one.interval))]
        if one.difference or one.interval
        else [escape(one.name), _RESULTS[one.state], "", "", "", escape(one.sentence)]
        for one in checks(subject)
    ]
    return table(("test", "result", f"#{subject.baseline}", "#shadow", "#difference", "interval"), rows)


def _needs(subject: Subject) -> str:
    needs = subject.part("needs")
    if not needs:
        return ""
    more, seconds = number(needs.get("more_pairs")), number(needs.get("seconds"))
    pairs = (
        ""
        if more is None
        else f" About {numbers.count(more)} more pairs" + ("." if seconds is None else f", about {numbers.span(seconds)}.")
    )
    return f"**Missing:** {escape(str(needs.get('what', '')))}{pairs}\n"


def _transitions(subject: Subject) -> str:
    found = subject.transitions
    if not found:
        return ""
    rows = [
        [
            code(f"{one.get('live')} -> {one.get('shadow')}"),
            numbers.count(number(one.get("count"))),
            numbers.count(number(one.get("reverse"))),
        ]
        for one in found[:ROWS]
    ]
    return table((f"outcome {subject.baseline} -> shadow", "#pairs", "#reverse"), rows)


def _fields(subject: Subject) -> str:
    found = [one for one in subject.parts("fields") if isinstance(one, dict) and one.get("is_reported")]
    if not found:
        return ""
    rows = [
        [code(str(one.get("path", ""))), escape(str(one.get("kind", ""))), numbers.count(number(one.get("differs"))), numbers.count(number(one.get("compared")))]
        for one in found[:ROWS]
    ]  # fmt: skip
    return table(("field that differs", "kind", "#differs", "#of pairs"), rows)


def _where(report: Report, subject: Subject) -> str:
    since = number(subject.verdict.get("since"))
    said = [
        f"{numbers.count(subject.count('pairs'))} pairs",
        f"coverage {numbers.share(number(subject.verdict.get('coverage')))}",
        f"evidence of {numbers.span(report.made_at - since)}" if since is not None else "",
    ]
    said += [f"{escape(str(role))} {code(', '.join(map(str, found)))}" for role, found in subject.part("revisions").items() if found]
    return f"{', '.join(part for part in said if part)}.\n"
