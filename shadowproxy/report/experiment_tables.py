"""The tables of an experiment's page, each with what it says when there is nothing to show."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Final

from shadowproxy.report import numbers
from shadowproxy.report.checks import State
from shadowproxy.report.document import number
from shadowproxy.report.experiment import ARMS, count, counts, objects, part
from shadowproxy.report.experiment_checks import Of
from shadowproxy.report.experiment_faults import UNHARMED, faults, where
from shadowproxy.report.markup import Markup, tag
from shadowproxy.report.tables import SIGNS, table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.report.document import Plain
    from shadowproxy.report.experiment import Run
    from shadowproxy.report.experiment_checks import Check

ROWS: Final = 60
"""Rows of the timeline; the JSON report has all."""

GUARD_SIGNS: Final = {State.PASSED: "✓ quiet", State.FAILED: "✗ tripped", State.UNDECIDED: "… nothing to see"}


def plan(run: Run) -> Markup:
    """What goes wrong, where, and for whom."""
    said = [tag("li", one) for one in faults(run.experiment)]
    facts = [tag("div", tag("dt", name), tag("dd", value)) for name, value in where(run.experiment)]
    if not said and not facts:
        return tag("p", "The run document has no experiment file.")
    return Markup((tag("ul", said) if said else "") + tag("dl", facts, class_="facts"))


def slices(run: Run) -> Markup:
    """The slice with the fault beside its control slice."""
    if not run.requests:
        return tag("p", "No request of either slice was seen: there was no traffic on the observed routes, or nobody in it was in a slice.")
    control, fault = (run.slice(arm) for arm in ARMS)
    excess = part(run.result, "excess")
    errors, p99 = part(excess, "errors"), part(excess, "p99")
    rows = [
        ["requests", numbers.count(count(control.get("requests"))), numbers.count(count(fault.get("requests"))), numbers.DASH, numbers.DASH],
        ["answers that we made up", numbers.count(count(control.get("injected"))), numbers.count(count(fault.get("injected"))), numbers.DASH, numbers.DASH],
        ["errors", numbers.count(count(control.get("errors"))), numbers.count(count(fault.get("errors"))), numbers.DASH, numbers.DASH],
        ["error rate", numbers.share(number(control.get("error_rate"))), numbers.share(number(fault.get("error_rate"))),
         numbers.points(number(errors.get("estimate"))), numbers.between((number(errors.get("low")), number(errors.get("high"))), numbers.points)],
        ["p50", numbers.duration(number(control.get("p50"))), numbers.duration(number(fault.get("p50"))), _difference(control, fault, "p50"), numbers.DASH],
        ["p99", numbers.duration(number(control.get("p99"))), numbers.duration(number(fault.get("p99"))),
         _signed(number(p99.get("estimate"))) if p99 else _difference(control, fault, "p99"),
         numbers.between((number(p99.get("low")), number(p99.get("high"))), _signed)],
    ]  # fmt: skip
    caption = (
        "Errors are those of the services: answers that the proxy made up are neither errors nor latencies. What a fault adds to the time of "
        "an answer is in its latency. Intervals hold at any time."
    )
    return table(("", "#control", "#with the fault", "#difference", "#interval"), rows, caption)


def guards(found: Sequence[Check]) -> Markup:
    """Guards with their bounds and how close they came."""
    rows = [
        [
            one.name,
            tag("span", GUARD_SIGNS.get(one.state, SIGNS[one.state]), class_=f"state {one.state}"),
            one.found,
            one.bound,
            _near(one.near),
        ]
        for one in found
        if one.of is Of.GUARD
    ]
    if not rows:
        return tag("p", "No guard has looked at anything.")
    return table(("guard", "result", "#worst value", "#bound", "#of the bound"), rows)


def cells(found: Sequence[Check]) -> Markup | None:
    """The cells beside those with the fault, where it was confined."""
    return held(found, Of.CELL, "") if any(one.of is Of.CELL for one in found) else None


def held(found: Sequence[Check], of: Of, absent: str) -> Markup:
    """Expectations or the steady state; `absent` is what is said when there are none."""
    rows = [
        [one.name, tag("span", SIGNS[one.state], class_=f"state {one.state}"), one.found, one.bound, one.sentence]
        for one in found
        if one.of is of
    ]
    if not rows:
        return tag("p", absent)
    return table((str(of), "result", "#found", "#must be", "in a sentence"), rows)


def exposure(run: Run) -> Markup:
    """Where the requests of the slice went, and what happened to them."""
    seen = count(run.document.get("seen"))
    hit = [[kind.replace("_", " "), numbers.count(n)] for kind, n in counts(run.document.get("faults"))]
    spared = [[UNHARMED.get(why, why.replace("_", " ")), numbers.count(n)] for why, n in counts(run.document.get("unharmed"))]
    units, outside = count(run.document.get("units")), count(run.document.get("outside"))
    said = (
        f"{numbers.count(seen)} requests of the slice were ones that the fault concerns; {numbers.count(units)} different units got it. "
        f"{numbers.count(outside)} requests of the same routes were in neither slice."
    )
    tables = [table(("fault", "#times"), hit)] if hit else [tag("p", "No fault happened.")]
    if spared:
        tables.append(table(("in the slice, but unharmed because", "#requests"), spared))
    return Markup(tag("p", said) + tag("div", tables, class_="pair"))


def budget(run: Run) -> Markup:
    """What the run has cost, against what it might."""
    spent = part(run.result, "budget")
    if not spent:
        return Markup()
    charge, high, allowed = (number(spent.get(name)) for name in ("charge", "charge_high", "allowed"))
    at_most = "" if high is None else f", at most {numbers.plain(_rounded(high))}"
    rows = [["error budget: bad answers added", f"{numbers.plain(_rounded(charge))}{at_most}", _limit(allowed), _share(charge, allowed)]]
    for name, words in (("units", "different units"), ("requests", "requests with the fault")):
        used, limit = number(spent.get(name)), number(spent.get(f"{name}_limit")) or None
        rows.append([words, numbers.count(used), _limit(limit), _share(used, limit)])
    return table(("budget", "#spent", "#allowed", "#used up"), rows)


def ramp(run: Run) -> Markup | None:
    """The steps, where there is more than one."""
    found = run.parts("ramp")
    if len(found) < 2:
        return None
    rows = [
        [numbers.share((number(one.get("percent")) or 0.0) / 100), _since(number(one.get("from_s"))),
         "still running" if one.get("to_s") is None else _since(number(one.get("to_s"))), str(one.get("outcome") or "")]
        for one in found
    ]  # fmt: skip
    return table(("share of the units", "#from", "#until", "outcome"), rows)


def timeline(run: Run) -> Markup:
    """Everything that happened, in order."""
    found = objects(run.document.get("timeline"))
    if not found:
        return tag("p", "Nothing has happened yet.")
    days = {_clock(one, "%Y-%m-%d") for one in found}
    style = "%H:%M:%S" if len(days) == 1 else "%b %d, %H:%M:%S"
    rows = [
        [_clock(one, style), _since(number(one.get("seconds"))), str(one.get("event", "")).replace("_", " "), str(one.get("detail") or "")]
        for one in found[:ROWS]
    ]  # fmt: skip
    more = tag("p", f"and {len(found) - ROWS} more in the JSON report", class_="soft") if len(found) > ROWS else ""
    return Markup(table(("time (UTC)", "#since the start", "event", "in a sentence"), rows) + more)


def admission(run: Run) -> Markup | None:
    """What it would have touched of past requests, and what spoke against the run, and was overridden or not."""
    found = objects(run.document.get("admission"))
    past = run.look_back
    said = tag("p", f"{past[0].upper()}{past[1:]}.") if past else Markup("")
    if not found:
        return said or None
    rows = [
        [
            str(one.get("code", "")).replace("_", " "),
            str(one.get("sentence", "")),
            "overridden (break-glass)" if one.get("is_overridden") else "refused",
        ]
        for one in found
    ]
    return Markup(said + table(("objection", "in a sentence", "result"), rows))


def evidence(run: Run) -> Markup:
    """The statistical evidence, and what proves that none of this was changed afterwards."""
    found, journal, ratio = part(run.result, "evidence"), part(run.document, "journal"), part(run.result, "sample_ratio")
    unlike = ": the slices are unlike, do not compare them" if ratio.get("is_mismatch") else ""
    facts = [
        ("odds that the slice is worse", numbers.odds(number(found.get("log_e"))) if found else ""),
        ("decides at", numbers.odds(number(found.get("threshold"))) if found else ""),
        ("late errors: detector", numbers.plain(number(found.get("detector"))) if number(found.get("detector")) is not None else ""),
        (
            "errors between its false alarms",
            numbers.count(number(found.get("run_length"))) if number(found.get("run_length")) is not None else "",
        ),
        (
            "requests in the slice, of both",
            f"{numbers.share(number(ratio.get('share')))}{unlike}" if number(ratio.get("share")) is not None else "",
        ),
        ("journal entries", numbers.count(count(journal.get("entries"))) if journal else ""),
    ]
    shown = tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts if value], class_="facts")
    head = str(journal.get("head") or "")
    return Markup(shown + (tag("p", "Hash of the journal's last entry: ", tag("code", head)) if head else ""))


def file(run: Run) -> Markup | None:
    """The experiment as it was accepted."""
    if not run.experiment:
        return None
    text = json.dumps(without_defaults(run.experiment), indent=2, ensure_ascii=False)
    return tag("section", tag("h3", "The experiment"), tag("details", tag("summary", "Show the file"), tag("pre", text)))


def how_to_read() -> Markup:
    """A short explanation for those who see such a report for the first time."""
    said = (
        ("The slice", "is a fixed share of the units (users, say), chosen by a hash. The same unit is always in or out."),
        ("Control", "is another share as large, which is only watched. What moves in both is not the experiment's doing."),
        ("Upheld", "means that all that was expected is shown to hold. Refuted: something that was expected is shown not to."),
        ("Undecided", "is neither: too little was seen. Environment: something else went wrong meanwhile, so it says nothing."),
        ("An interval", "holds at every moment of the run at once, so it is wider than one for a single look."),
        ("Another cell", "is watched while the fault is confined to some. Harm there that ends with the fault refutes the hypothesis."),
        ("A guard", "ends the run when its bound is crossed for as long as it says."),
    )
    return tag("section", tag("h3", "How to read this"), tag("ul", [tag("li", tag("strong", name), " ", text) for name, text in said]))


def without_defaults(plain: Plain) -> Plain:
    """A plain value without what is empty: a file as a person would write it, for reading only."""

    def kept(value: object) -> object:
        if isinstance(value, dict):
            return {name: found for name, one in value.items() if (found := kept(one)) not in (None, "", [], {}, False, 0, -1)}
        return [kept(one) for one in value] if isinstance(value, (list, tuple)) else value

    found = kept(plain)
    assert isinstance(found, dict)
    return found


def _clock(event: Plain, style: str) -> str:
    time = number(event.get("time"))
    return numbers.DASH if time is None else numbers.clock(time, style)


def _difference(control: Plain, fault: Plain, name: str) -> str:
    before, after = number(control.get(name)), number(fault.get(name))
    return numbers.DASH if before is None or after is None else _signed(after - before)


def _signed(value: float | None) -> str:
    return "none" if value == 0 else numbers.duration(value, is_signed=True)


def _near(share: float | None) -> str:
    return numbers.DASH if share is None else f"{share * 100:,.0f}{numbers.THIN}%"


def _share(used: float | None, limit: float | None) -> str:
    return numbers.DASH if used is None or not limit else _near(max(0.0, used) / limit)


def _limit(limit: float | None) -> str:
    return "no limit" if limit is None else numbers.plain(_rounded(limit))


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 1)


def _since(seconds: float | None) -> str:
    return (
        numbers.DASH
        if seconds is None
        else f"{seconds:.1f}{numbers.THIN}s"
        if seconds < 90
        else numbers.elapsed(seconds, max(seconds, 120.0))
    )
