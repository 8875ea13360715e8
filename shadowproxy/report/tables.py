"""The tables of the page, each with what it says when there is nothing to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from shadowproxy.report import numbers
from shadowproxy.report.checks import State
from shadowproxy.report.document import ends, number
from shadowproxy.report.markup import Markup, tag

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.report.checks import Check
    from shadowproxy.report.document import Report, Subject

SIGNS: Final = {State.PASSED: "✓ passed", State.FAILED: "✗ failed", State.UNDECIDED: "… undecided", State.INVALID: "! invalid"}

ROWS: Final = 20
"""Rows of a table of things of which there may be thousands; the JSON report has them all."""

LONG: Final = 24
"""Characters of a row's name from which it may be broken anywhere."""

FATES: Final = {
    "paired": "compared: both answered",
    "failed_refused": "compared: the shadow refused the connection",
    "failed_unreachable": "compared: the shadow could not be reached",
    "failed_connect_timeout": "compared: the shadow took too long to connect",
    "failed_timeout": "compared: the shadow took too long to answer",
    "failed_reset": "compared: the shadow reset the connection",
    "failed_truncated": "compared: the shadow's answer was cut short",
    "failed_malformed": "compared: the shadow's answer was not HTTP",
    "failed_tls": "compared: TLS to the shadow failed",
    "not_sampled": "not chosen, by the configured percent",
    "holdout": "held out, to measure what mirroring costs",
    "method": "a method that is not mirrored",
    "too_large": "a body beyond the limit",
    "marked": "a copy already",
    "upgrade": "an upgrade, which goes to live only",
    "killed": "the kill switch was on",
    "shed_in_flight": "left out: too many copies under way",
    "shed_range": "left out: whole users, by overload",
    "shed_breaker": "left out: the circuit breaker was open",
    "shed_no_endpoint": "left out: no connection to the shadow at once",
    "shed_memory": "left out: memory for copies was used up",
    "shed_lag": "left out: the shadow read the body too slowly",
    "shed_scrub": "left out: its secrets were not taken out in time",
    "shed_unscrubbable": "left out: what is secret in it could not be told",
    "injected": "left out: an experiment's fault was injected into live's answer",
    "served_elsewhere": "left out: a rollout's new version answered",
    "shed_error": "left out: a defect of the proxy, see its log",
    "client_gone": "the client left before live's answer was whole",
    "lost": "a worker was killed before it reported",
}
"""What fates mean."""


def table(columns: Sequence[str], rows: Sequence[Sequence[object]], caption: str | None = None) -> Markup:
    """A table that scrolls by itself when it is too wide. A column named `#x` holds numbers; the first cell of a row heads it."""
    heads = [tag("th", name.removeprefix("#"), scope="col", class_="num" if name.startswith("#") else None) for name in columns]
    body = []
    for row in rows:
        cells = [tag("th", row[0], scope="row", class_="any" if len(str(row[0])) > LONG else None)]
        for name, cell in zip(columns[1:], row[1:], strict=True):
            cells.append(tag("td", cell, class_="num" if name.startswith("#") else "any" if name in {"found", "in a sentence"} else None))
        body.append(tag("tr", cells))
    content = [tag("caption", caption) if caption else None, tag("thead", tag("tr", heads)), tag("tbody", body)]
    return tag("div", tag("table", content), class_="wrap")


def tests(found: Sequence[Check], baseline: str) -> Markup:
    """Each test of the verdict with its numbers; `baseline` is what the shadow is compared with."""
    rows = [
        [
            one.name,
            tag("span", SIGNS[one.state], class_=f"state {one.state}"),
            one.live,
            one.shadow,
            one.difference,
            one.interval,
            one.safe,
            one.worse,
        ]
        for one in found
        if one.difference or one.interval
    ]
    rows = [[cell if cell != "" else numbers.DASH for cell in row] for row in rows]
    lines = [
        tag("li", tag("strong", one.name), ": ", one.sentence, " ", tag("span", SIGNS[one.state], class_=f"state {one.state}"))
        for one in found
        if not (one.difference or one.interval)
    ]
    numbers_table = table(("test", "result", f"#{baseline}", "#shadow", "#difference", "#interval", "#safe below", "#worse above"), rows)
    return Markup(numbers_table + tag("ul", lines))


def quantiles(subject: Subject) -> Markup:
    """Quantiles of both sides with the interval of their difference."""
    rows = []
    for name, found in subject.part("quantiles").items():
        part = found if isinstance(found, dict) else {}
        live, difference = number(part.get("live")), number(part.get("difference"))
        rows.append([
            quantile_name(str(name)), numbers.duration(live), numbers.duration(number(part.get("shadow"))), numbers.duration(difference, is_signed=True),
            numbers.share(difference / live, is_signed=True) if live and difference is not None else numbers.DASH,
            numbers.between(ends(part.get("interval")), lambda value: numbers.duration(value, is_signed=True)),
        ])  # fmt: skip
    if not rows:
        return Markup()
    return table(("quantile", "#live", "#shadow", "#difference", "#relative", "#interval of the difference"), rows, "Time to the last byte")


def transitions(subject: Subject) -> Markup:
    """Pairs that ended differently, the strongest evidence first."""
    found = subject.transitions
    if not found:
        return tag(
            "p", "No pair ended differently on live and on the shadow." if subject.count("pairs") else "No pair has been compared yet."
        )
    rows = [
        [f"{one.get('live')} → {one.get('shadow')}", numbers.count(number(one.get("count"))), numbers.count(number(one.get("reverse"))),
         numbers.odds(number(one.get("log_e")))]
        for one in found[:ROWS]
    ]  # fmt: skip
    caption = "Pairs that ended differently: how often so, how often the other way round, and the odds that this is not chance"
    return Markup(table((f"{subject.baseline} → shadow", "#pairs", "#reverse", "#odds"), rows, caption) + _more(len(found)))


def crossings(subject: Subject) -> Markup:
    """Thresholds of the service level objectives."""
    found = [one for one in subject.parts("slo") if isinstance(one, dict)]
    if not found:
        return Markup()
    rows = [
        [f"over {numbers.duration(number(one.get('threshold_seconds')))}", numbers.count(number(one.get("live_only"))),
         numbers.count(number(one.get("shadow_only"))), numbers.between(ends(one.get("interval")), numbers.points),
         numbers.odds(number(one.get("log_e_regression")))]
        for one in found
    ]  # fmt: skip
    return table(
        ("threshold", f"#{subject.baseline} alone", "#shadow alone", "#difference", "#odds"),
        rows,
        "Requests that took longer than a threshold on one side only",
    )


def coverage(subject: Subject) -> Markup:
    """Where every eligible request went: the conservation law, row by row."""
    eligible = subject.count("eligible")
    fates = subject.comparison.get("fates") if isinstance(subject.comparison.get("fates"), dict) else None
    excluded = subject.part("excluded")
    counted = {str(name): int(number(value) or 0) for name, value in (fates or {"paired": subject.count("pairs"), **excluded}).items()}
    if not any(counted.values()):
        return tag("p", "No eligible request has been seen yet.")
    whole = sum(counted.values()) + int(number(subject.comparison.get("pending")) or 0)
    rows: list[list[object]] = [
        [FATES.get(name, name.replace("_", " ")), numbers.count(value), numbers.share(value / whole)]
        for name, value in sorted(counted.items(), key=lambda one: -one[1])
        if value
    ]
    pending = int(number(subject.comparison.get("pending")) or 0)
    if pending:
        rows.append(["still under way", numbers.count(pending), numbers.share(pending / whole)])
    is_conserved = subject.comparison.get("is_conserved")
    law = "" if is_conserved is None else " They add up." if is_conserved else " THEY DO NOT ADD UP: the numbers are not to be trusted."
    scope = "since the proxy was started" if fates else f"of {numbers.count(eligible)} in this epoch"
    return table(("what became of an eligible request", "#requests", "#share"), rows, f"Every eligible request {scope}.{law}")


def instrument(subject: Subject) -> Markup:
    """The A/A arm and the sample ratio."""
    rows: list[list[object]] = []
    control = subject.part("control")
    if control:
        rows.append([
            "A/A arm: live against itself", _tripped(control), _arms(control),
            numbers.between(ends(control.get("interval")), numbers.change), numbers.odds(number(control.get("log_e"))),
            numbers.odds(number(control.get("threshold"))),
        ])  # fmt: skip
    sampled = subject.part("sample_ratio")
    if sampled:
        observed, expected = numbers.share(number(sampled.get("observed"))), numbers.share(number(sampled.get("expected")))
        rows.append(["share that was sampled", _tripped(sampled), f"{observed}, configured {expected}", numbers.DASH,
                     numbers.odds(number(sampled.get("log_e"))), numbers.DASH])  # fmt: skip
    if not rows:
        return tag("p", "There is no A/A arm (control) for this mirror: how much two copies of the same build differ was not measured.")
    return table(("check", "result", "found", "#interval", "#odds", "#trips at"), rows)


def fields(subject: Subject) -> Markup:
    """Fields of bodies and headers, those that differ beyond noise first."""
    found = [one for one in subject.parts("fields") if isinstance(one, dict)]
    if not found:
        return tag("p", "No bodies have been compared, or no field of them differs.")
    ordered = sorted(found, key=lambda one: (not one.get("is_reported"), -(number(one.get("log_e")) or 0.0)))
    rows = [
        [
            [tag("code", str(one.get("path", ""))), _values(one)],
            str(one.get("kind", "")),
            numbers.count(number(one.get("differs"))),
            numbers.count(number(one.get("noise"))),
            numbers.count(number(one.get("compared"))),
            numbers.odds(number(one.get("log_e"))),
            _standing(one),
        ]
        for one in ordered[:ROWS]
    ]
    caption = "Of how many pairs the field differs between live and shadow, and between two answers of live's build (noise, where there is such a sample)"
    return Markup(table(("field", "kind", "#differs", "#noise", "#of pairs", "#odds", "result"), rows, caption) + _more(len(found)))


def how_to_read() -> Markup:
    """A short explanation for those who see such a report for the first time."""
    said = (
        ("A pair", "is one request, answered by live and by the shadow. Comparing within pairs takes out what differs from request to request."),
        ("Odds", "say how many times better “the shadow is worse” (or “safe”) explains what was seen than chance does."),
        ("Looking", "is free: crossing the line at any moment is enough, and false alarms stay as rare as configured however often one looks."),
        ("An interval", "holds at every moment of the run at once, so it is wider than one for a single look."),
        ("SAFE", "means that the difference is shown to be less than the margin, not that none was found."),
        ("UNDECIDED", "is neither: there are not enough pairs yet."),
        ("Coverage", "shows what was not compared. What is missing there, the verdict says nothing about."),
        ("Latency", "is counted from the dispatch of each leg to its last byte."),
        ("Evidence", "begins anew with each new build: verdict and histograms count from then, the table of coverage from the start of the proxy."),
    )  # fmt: skip
    return tag("section", tag("h3", "How to read this"), tag("ul", [tag("li", tag("strong", name), " ", text) for name, text in said]))


def config(report: Report) -> Markup | None:
    """The routes and fleets that this is about."""
    if not report.config:
        return None
    started = f" The proxy was started at {report.started_at}." if report.started_at else ""
    text = json.dumps(report.config, indent=2, ensure_ascii=False)
    return tag(
        "section",
        tag("h3", "Config"),
        tag("p", f"Routes and fleets in force when this was made.{started}", class_="soft"),
        tag("details", tag("summary", "Show the config"), tag("pre", text)),
    )


def quantile_name(name: str) -> str:
    """`p99.9` for `p999`."""
    digits = name.removeprefix("p")
    return f"p{digits[:2]}.{digits[2:]}" if digits.isdigit() and len(digits) > 2 else name


def _arms(control: Mapping[str, object]) -> str:
    live_only, control_only = (numbers.count(number(control.get(name))) for name in ("live_only", "control_only"))
    return f"latency {numbers.change(number(control.get('latency_ratio')))}; failed alone: live {live_only}, control {control_only}"


def _tripped(part: dict[str, object]) -> Markup:
    return tag(
        "span",
        *(("! tripped",) if part.get("is_tripped") else ("✓ as it should be",)),
        class_=f"state {'invalid' if part.get('is_tripped') else 'passed'}",
    )


def _values(field: Mapping[str, object]) -> Markup | None:
    """What a field that is reported said last, on either side."""
    if not field.get("is_reported") or not (field.get("live") or field.get("shadow")):
        return None
    return tag("small", tag("br"), "live ", tag("code", str(field.get("live", ""))), ", shadow ", tag("code", str(field.get("shadow", ""))))


def _standing(field: Mapping[str, object]) -> list[Markup]:
    is_reported = bool(field.get("is_reported"))
    standing = "differs" if is_reported else str(field.get("standing") or "within noise").replace("_", " ")
    why = tag("small", tag("br"), str(field["why"])) if field.get("why") else Markup()
    return [tag("span", standing, class_="state failed" if is_reported else "soft"), why]


def _more(count: int) -> Markup:
    return tag("p", f"and {count - ROWS} more in the JSON report", class_="soft") if count > ROWS else Markup()
