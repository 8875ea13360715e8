"""The report as one page that needs nothing else: no script, no font, no picture, nothing fetched.

Its own content security policy allows one thing, the style sheet inside it, by digest. Everything that came
from traffic passes through `markup.tag`, which escapes it.
"""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from typing import TYPE_CHECKING

from shadowproxy.report import examples, figures, numbers, tables
from shadowproxy.report.checks import ADVICE, checks
from shadowproxy.report.document import ends, number
from shadowproxy.report.markup import Markup, tag
from shadowproxy.report.style import STYLE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.report.document import Report, Subject


def page(report: Report) -> str:
    """The whole document."""
    body = [_header(report), tag("main", _warning(report), _overview(report), [_subject(report, at) for at in range(len(report.subjects))])]
    body.append(tag("footer", tables.how_to_read(), tables.config(report)))
    return document(f"{report.worst}: {_titled(report)}", report.program, body)


def document(title: str, program: str, body: Sequence[Markup]) -> str:
    """A page of ours around `body`: everything that it needs is inside, and its policy allows nothing else."""
    digest = b64encode(sha256(STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; img-src data:; base-uri 'none'; form-action 'none'"
    head = [
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("meta", name="generator", content=program),
        tag("title", title),
        tag("link", rel="icon", href="data:,"),
        tag("style", Markup(STYLE)),
    ]
    return f"<!doctype html>\n{tag('html', tag('head', head), tag('body', body), lang='en')}\n"


def _titled(report: Report) -> str:
    return report.subjects[0].name if len(report.subjects) == 1 else f"{len(report.subjects)} mirrors"


def _header(report: Report) -> Markup:
    return tag(
        "header",
        tag("h1", "Is the shadow worse than live?"),
        tag("span", f"{report.program}, {numbers.moment(report.made_at)}", class_="soft"),
    )


def _warning(report: Report) -> Markup | None:
    if not report.is_killed:
        return None
    return tag(
        "section", tag("strong", "The kill switch is on: nothing is mirrored. "), "What is below was measured before.", class_="warning"
    )


def _overview(report: Report) -> Markup | None:
    """The list of mirrors, where there is more than one, or the sentence that there is none."""
    if not report.subjects:
        return tag("section", tag("h2", "No mirror"), tag("p", "No route has a mirror, so there is nothing to compare."))
    if len(report.subjects) == 1:
        return None
    rows = [
        [tag("a", subject.name, href=f"#mirror-{at}"), tag("span", subject.state, class_=f"state word {subject.state}"),
         numbers.count(subject.count("pairs")), str(subject.verdict.get("summary", ""))]
        for at, subject in enumerate(report.subjects)
    ]  # fmt: skip
    return tag("section", tag("h2", "Mirrors"), tables.table(("mirror", "verdict", "#pairs", "in a sentence"), rows))


def _subject(report: Report, at: int) -> Markup:
    subject = report.subjects[at]
    live, shadow = subject.fleets
    fleets = f": {shadow} beside {live}" if live and shadow else ""
    return tag(
        "article",
        tag("h2", f"{subject.name}{fleets}", id=f"mirror-{at}"),
        _banner(report, subject),
        _section("What was tested", tables.tests(checks(subject), subject.baseline), figures.margins(subject)),
        _section("Latency", figures.latency(subject), tables.quantiles(subject)),
        _section("Evidence over time", figures.evidence(subject)),
        _section("Errors", tables.transitions(subject), tables.crossings(subject)),
        _section("Coverage", tables.coverage(subject), figures.coverage(subject)),
        _section("The instrument", tables.instrument(subject)),
        _section("Fields that differ", tables.fields(subject)),
        _section("Examples", examples.cases(subject)),
    )


def _section(title: str, *content: object) -> Markup:
    return tag("section", tag("h3", title), list(content))


def _banner(report: Report, subject: Subject) -> Markup:
    verdict = subject.verdict
    summary = str(verdict.get("summary", ""))
    reasons = [tag("li", str(one)) for one in subject.parts("reasons") if not summary.startswith(str(one))]
    return tag(
        "section",
        tag("span", subject.state, class_="word"),
        tag("p", numbers.sentence(summary), class_="sentence"),
        tag("ul", reasons) if reasons else None,
        _needs(subject),
        tag("p", tag("strong", "What to do: "), ADVICE[subject.state]),
        tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in _facts(report, subject)], class_="facts"),
        _previous(subject),
        class_=f"banner {subject.state}",
    )


def _needs(subject: Subject) -> Markup | None:
    needs = subject.part("needs")
    if not needs:
        return None
    more, seconds = number(needs.get("more_pairs")), number(needs.get("seconds"))
    about = "" if more is None else f" About {numbers.count(more)} more pairs" + (
        "." if seconds is None else f", which take about {numbers.span(seconds)} at the present rate."
    )  # fmt: skip
    return tag("p", tag("strong", "What is missing: "), str(needs.get("what", "")), about)


def _previous(subject: Subject) -> Markup | None:
    previous = subject.part("previous")
    if not previous:
        return None
    return tag(
        "p",
        f"The evidence before this (epoch {previous.get('epoch')}, until {numbers.moment(number(previous.get('ended')))}) ended as "
        f"{previous.get('verdict')} after {numbers.count(number(previous.get('pairs')))} pairs: {previous.get('summary')}",
        class_="soft",
    )


def _facts(report: Report, subject: Subject) -> list[tuple[str, str]]:
    verdict, since = subject.verdict, number(subject.verdict.get("since"))
    facts = [
        ("pairs compared", numbers.count(subject.count("pairs"))),
        ("coverage", numbers.share(number(verdict.get("coverage")))),
        ("at present", f"{numbers.count(number(verdict.get('pairs_per_second')))} pairs/s"),
        ("evidence since", numbers.moment(since)),
        ("for", numbers.span(report.made_at - since) if since is not None else numbers.DASH),
        ("compared with", "the control arm" if subject.baseline == "control" else "live"),
    ]
    revisions = subject.part("revisions")
    if revisions:
        facts.append(("revisions", "; ".join(f"{role} {', '.join(map(str, found))}" for role, found in revisions.items() if found)))
    if subject.state == "REGRESSION" and verdict.get("cause"):
        facts.insert(0, ("cause", str(verdict["cause"])))
    alpha, beta = number(verdict.get("alpha")), number(verdict.get("beta"))
    facts.append(("chance of a false alarm", f"at most {numbers.share(alpha)}, however often one looks"))
    if beta is not None:
        facts.append(("chance of a false SAFE", f"at most {numbers.share(beta)}"))
    lag = ends([0.0, verdict.get("lag_seconds")])[1]
    if lag is not None and lag >= 1:
        facts.append(("oldest unfinished pair", numbers.span(lag)))
    return [(name, value) for name, value in facts if value]
