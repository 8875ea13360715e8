"""A run as tests that passed or failed: the hypothesis, each expectation, the steady state, each guard, and each cell that must not be hit.

* the hypothesis PASSED when it is upheld, FAILED when it is refuted, and is INVALID when something else went wrong meanwhile;
* an expectation and a steady state PASSED when they held; UNDECIDED when nothing was looked at;
* a guard FAILED when it has tripped, and PASSED when it looked and did not; UNDECIDED when it never had anything to look at;
* another cell FAILED when the fault did harm in it, and PASSED when it was watched and none was seen; UNDECIDED when it was not watched, or nobody can say why it failed.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shadowproxy.judge import wording
from shadowproxy.report import numbers
from shadowproxy.report.checks import State
from shadowproxy.report.document import number
from shadowproxy.report.experiment import Verdict, count, objects, part

if TYPE_CHECKING:
    from shadowproxy.report.document import Plain
    from shadowproxy.report.experiment import Run


class Of(StrEnum):
    """What a test is about."""

    HYPOTHESIS = "hypothesis"
    EXPECTATION = "expectation"
    STEADY = "steady state"
    GUARD = "guard"
    CELL = "other cell"


@dataclass(frozen=True, slots=True)
class Check:
    """One test.

    Args:
        of: what it is about.
        name: what it is called, unique among those of its kind.
        state: how it ended.
        sentence: what was found, for people.
        found: the value; a dash where there is none.
        bound: where it had to be.
        near: how close it came to the bound, as a share from 0 on; None where that cannot be said.
    """

    of: Of
    name: str
    state: State
    sentence: str
    found: str = numbers.DASH
    bound: str = numbers.DASH
    near: float | None = None


PERCENTS: Final = frozenset({"error_rate", "error_excess"})
SECONDS: Final = frozenset({"p50", "p99", "p99_excess"})

NAMES: Final = {
    "error_rate": "error rate",
    "error_excess": "error rate over control's",
    "p50": "p50 latency",
    "p99": "p99 latency",
    "p99_excess": "p99 latency over control's",
    "units": "different units with the fault",
    "repeats": "faults of one unit",
    "burn_rate": "burn rate of the error budget",
}
"""What guards look at, in words."""

_OF_VERDICT: Final = {
    Verdict.UPHELD: State.PASSED,
    Verdict.REFUTED: State.FAILED,
    Verdict.UNDECIDED: State.UNDECIDED,
    Verdict.ENVIRONMENT: State.INVALID,
}


def checks(run: Run) -> list[Check]:
    """Every test of a run: the hypothesis first, then what it is made of, then what was watched."""
    found = [Check(Of.HYPOTHESIS, "hypothesis", _OF_VERDICT[run.verdict], run.sentence)]
    found += [_expectation(*both) for both in _with_file(run, "expectations", "expect")]
    found += [_steady(one) for one in run.parts("steady")]
    found += [_guard(*both) for both in _with_file(run, "guards", "guards")]
    found += _contained(run)
    return _told_apart(found)


def _with_file(run: Run, name: str, of_file: str) -> list[tuple[Plain, Plain]]:
    """The parts of the result, each with its part of the file; nothing of the file where they are not of the same number."""
    stated, configured = run.parts(name), objects(run.experiment.get(of_file))
    return list(zip(stated, configured if len(configured) == len(stated) else [{}] * len(stated), strict=True))


def amount(metric: str, value: float | None) -> str:
    """The value of a guard's metric with its unit."""
    if value is None:
        return numbers.DASH
    if metric in PERCENTS:
        return numbers.share(value / 100)
    if metric in SECONDS:
        return numbers.duration(value)
    return numbers.plain(value)


def _guard(guard: Plain, configured: Plain) -> Check:
    metric = str(guard.get("metric", ""))
    probe = str(configured.get("probe") or guard.get("probe") or "")
    value, bound = number(guard.get("value")), number(guard.get("bound"))
    whole = {**configured, **guard}
    is_below = whole.get("below") is not None and whole.get("above") is None
    words = [NAMES.get(metric, f"probe {probe}" if probe else metric), "below" if is_below else "above", amount(metric, bound)]
    hold, window = number(configured.get("hold")), number(configured.get("window"))
    if window:
        words.append(f"over the last {_length(window)}")
    if hold:
        words.append(f"for {_length(hold)}")
    name = " ".join(words)
    worst = number(guard.get("worst"))
    worst = value if worst is None else worst
    near = _ratio(bound, worst) if is_below else _ratio(worst, bound)
    if guard.get("has_tripped"):
        said = f"Tripped at {amount(metric, value)} and ended the run."
        return Check(Of.GUARD, name, State.FAILED, said, amount(metric, value), words[2], near)
    if worst is None:
        return Check(Of.GUARD, name, State.UNDECIDED, "Never had enough to look at.", bound=words[2])
    said = "True at the end, but not for long enough." if guard.get("is_true") else "Did not trip."
    return Check(Of.GUARD, name, State.PASSED, said, amount(metric, worst), words[2], near)


def _contained(run: Run) -> list[Check]:
    """The cells that a confined fault must not hit."""
    contained = part(run.result, "containment")
    cells = [_cell(one, is_blamed=run.word("code") == "containment") for one in objects(contained.get("cells"))]
    if contained and not cells and not run.document.get("is_dry"):
        cells = [Check(Of.CELL, "all others", State.UNDECIDED, f"Not watched: {contained.get('unwatched') or 'nothing is known of them'}.")]
    return cells


def _cell(one: Plain, *, is_blamed: bool) -> Check:
    name, rate, tolerated = str(one.get("cell", "")), number(one.get("error_rate")), number(one.get("tolerated"))
    before = part(one, "before")
    if not one.get("is_watched"):
        said = f"Not watched: it had {wording.count(count(before.get('answers')), 'answer')} before the run, too few to tell what is usual."
        return Check(Of.CELL, name, State.UNDECIDED, said, numbers.share(rate))
    usual = f" Before the run it was {numbers.share(number(before.get('error_rate')))}."
    found, bound, alarmed = numbers.share(rate), f"at most {numbers.share(tolerated)}", number(one.get("alarmed_rate"))
    near = _ratio(rate if alarmed is None else alarmed, tolerated)
    if alarmed is None:
        return Check(
            Of.CELL,
            name,
            State.PASSED,
            f"No harm was seen in {wording.count(count(one.get('answers')), 'answer')}.{usual}",
            found,
            bound,
            near,
        )
    if is_blamed and (number(one.get("detector")) or 0.0) >= (number(one.get("threshold")) or 0.0):
        said = f"Failed on {numbers.share(alarmed)} of its requests, and no longer when nothing was injected.{usual}"
        return Check(Of.CELL, name, State.FAILED, said, numbers.share(alarmed), bound, near)
    said = f"Failed on {numbers.share(alarmed)} of its requests for a while; it is not shown that this was the fault's doing.{usual}"
    return Check(Of.CELL, name, State.UNDECIDED, said, numbers.share(alarmed), bound, near)


def _expectation(one: Plain, configured: Plain) -> Check:
    held, looked, wanted = count(one.get("held")), count(one.get("looked_at")), number(configured.get("share"))
    name = f"{one.get('route', '')}: {expected(configured)}"
    bound = numbers.DASH if wanted is None else f"at least {numbers.share(wanted / 100)}"
    said = numbers.sentence(str(one.get("sentence") or "")).rstrip(".") + "."
    if not looked:
        return Check(Of.EXPECTATION, name, State.UNDECIDED, "No answer was looked at.", bound=bound)
    is_upheld = one.get("is_upheld")
    state = State.UNDECIDED if is_upheld is None else State.PASSED if is_upheld else State.FAILED
    return Check(Of.EXPECTATION, name, state, said, numbers.share(held / looked), bound)


def expected(configured: Plain) -> str:
    """What an expectation of the file asks of an answer, in words."""
    statuses = ", ".join(str(one) for one in configured.get("status") or [])
    said = [f"status {statuses}" if statuses else "a status below 500"]
    if configured.get("contains"):
        said.append(f"a body with {configured['contains']!r}")
    if configured.get("regex"):
        said.append(f"a body that matches {configured['regex']}")
    if configured.get("json"):
        value = json.dumps(configured["equals"], ensure_ascii=False) if "equals" in configured else "there"
        said.append(f"{configured['json']} is {value}")
    return " and ".join(said)


def _steady(one: Plain) -> Check:
    value, baseline = number(one.get("value")), number(one.get("baseline"))
    bound = numbers.between((number(one.get("low")), number(one.get("high"))), numbers.plain)
    name = str(one.get("probe", ""))
    is_well = one.get("is_well")
    if value is None or is_well is None:
        return Check(Of.STEADY, name, State.UNDECIDED, "The probe gave no number.", bound=bound)
    before = "" if baseline is None else f" Before it was {numbers.plain(baseline)}."
    said = f"{'Stayed' if is_well else 'Left'} where it has to be.{before}"
    return Check(Of.STEADY, name, State.PASSED if is_well else State.FAILED, said, numbers.plain(value), bound)


def _length(seconds: float) -> str:
    """A setting in seconds, exactly where that is short."""
    return f"{seconds:g}{numbers.THIN}s" if seconds < 90 else numbers.span(seconds)


def _ratio(value: float | None, bound: float | None) -> float | None:
    return max(0.0, value / bound) if value is not None and bound is not None and bound > 0 else None


def _told_apart(found: list[Check]) -> list[Check]:
    """The same with numbers after names that are there already: two guards may look at the same thing."""
    seen: dict[tuple[Of, str], int] = {}
    kept = []
    for one in found:
        seen[one.of, one.name] = times = seen.get((one.of, one.name), 0) + 1
        kept.append(one if times == 1 else Check(one.of, f"{one.name} ({times})", one.state, one.sentence, one.found, one.bound, one.near))
    return kept
