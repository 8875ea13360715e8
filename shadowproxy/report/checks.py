"""A verdict as tests that passed or failed, each with its reason: what JUnit, Markdown and the page's table show.

The rules are those of the verdict, told test by test:

* a test FAILED when the verdict is REGRESSION and it is the cause, or has as much evidence by itself;
* it PASSED when non-inferiority within its margin is established;
* else it is UNDECIDED; so is every test while the instrument is not to be trusted;
* the instrument itself (A/A arm, sample ratio, conservation law) PASSED, or is INVALID.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shadowproxy.judge import wording
from shadowproxy.report import numbers
from shadowproxy.report.document import ends, number

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.report.document import Plain, Subject


class State(StrEnum):
    """How a test ended."""

    FAILED = "failed"
    INVALID = "invalid"
    UNDECIDED = "undecided"
    PASSED = "passed"


@dataclass(frozen=True, slots=True)
class Check:
    """One test of a verdict.

    Args:
        name: `errors`, `latency`, `slo:250ms`, `bodies`, `coverage` or `instrument`.
        state: how it ended.
        sentence: what was found, for people.
        live: live's value; empty where there is none.
        shadow: the shadow's.
        difference: how they differ.
        interval: where the difference lies, at any time with the confidence of the verdict.
        safe: the margin below which the difference is safe.
        worse: the margin above which it is a regression.
    """

    name: str
    state: State
    sentence: str
    live: str = ""
    shadow: str = ""
    difference: str = ""
    interval: str = ""
    safe: str = ""
    worse: str = ""


ADVICE: Final = {
    "REGRESSION": "Do not roll this version out. The cause and examples are below; the odds of a false alarm over the whole run were fixed beforehand.",
    "SAFE": "Go on with the roll-out: every margin that was asked for is kept. What was not compared is listed under coverage.",
    "UNDECIDED": "Wait for more pairs, or widen the margins if this much certainty is more than you need. It is no sign of either.",
    "INVALID": "Do not act on these numbers: the comparison itself is not to be trusted. Find the reason first.",
}
"""What to do about each verdict."""


def checks(subject: Subject) -> list[Check]:
    """Every test of the verdict on `subject`, in a fixed order."""
    found = [_errors(subject), _latency(subject)]
    found += [_slo(subject, one) for one in subject.parts("slo") if isinstance(one, dict)]
    return [*found, _bodies(subject), _coverage(subject), _instrument(subject)]


def slo_name(seconds: float | None) -> str:
    """How a threshold is called in a verdict: `slo:250ms`."""
    return f"slo:{wording.duration(round((seconds or 0.0) * 1e9))}"


def _errors(subject: Subject) -> Check:
    part = subject.part("errors")
    live_only, shadow_only = int(number(part.get("live_only")) or 0), int(number(part.get("shadow_only")) or 0)
    difference = number(part.get("difference"))
    sentence = "no pair has been compared" if difference is None else (
        f"the error rate differs by {numbers.points(difference)}: {numbers.count(shadow_only)} requests failed on the shadow alone, "
        f"{numbers.count(live_only)} on live alone"
    )  # fmt: skip
    return Check(
        "errors",
        _state(subject, "errors", part),
        sentence,
        numbers.share(number(part.get("live_rate"))),
        numbers.share(number(part.get("shadow_rate"))),
        numbers.points(difference),
        numbers.between(ends(part.get("interval")), numbers.points),
        *_margins(part, numbers.points),
    )


def _latency(subject: Subject) -> Check:
    part = subject.part("latency")
    ratio = number(part.get("ratio"))
    quantiles = subject.part("quantiles").get("p50")
    median = quantiles if isinstance(quantiles, dict) else {}
    if ratio is None:
        sentence = "no pair with two whole answers has been compared"
    else:
        much = "as long as live" if abs(ratio - 1) < 0.0005 else f"{numbers.share(abs(ratio - 1))} {'longer' if ratio > 1 else 'less'}"
        sentence = f"the same request takes the shadow {much}, over {numbers.count(number(part.get('pairs')))} pairs"
    return Check(
        "latency",
        _state(subject, "latency", part),
        sentence,
        # Quantiles are of live and the shadow; there are none of the control arm.
        numbers.duration(number(median.get("live"))) if subject.baseline == "live" else numbers.DASH,
        numbers.duration(number(median.get("shadow"))),
        numbers.change(ratio),
        numbers.between(ends(part.get("interval")), numbers.change),
        *_margins(part, _signed_share),
    )


def _slo(subject: Subject, part: Plain) -> Check:
    seconds = number(part.get("threshold_seconds"))
    live_only, shadow_only = number(part.get("live_only")), number(part.get("shadow_only"))
    pairs = subject.count("pairs")
    difference = (shadow_only - live_only) / pairs if pairs and shadow_only is not None and live_only is not None else None
    return Check(
        slo_name(seconds),
        _state(subject, slo_name(seconds), part),
        f"{numbers.count(shadow_only)} requests took longer than {numbers.duration(seconds)} on the shadow alone, {numbers.count(live_only)} on live alone",
        f"{numbers.count(live_only)} alone",
        f"{numbers.count(shadow_only)} alone",
        numbers.points(difference),
        numbers.between(ends(part.get("interval")), numbers.points),
        *_margins(subject.part("errors"), numbers.points),
    )


def _bodies(subject: Subject) -> Check:
    fields = [one for one in subject.parts("fields") if isinstance(one, dict)]
    compared = max((int(number(one.get("compared")) or 0) for one in fields), default=0)
    reported = [one for one in fields if one.get("is_reported")]
    if subject.state == "REGRESSION" and subject.verdict.get("cause") == "bodies":
        state = State.FAILED
    elif subject.state == "INVALID" or not compared:
        state = State.UNDECIDED
    else:
        state = State.PASSED
    listed = f"{len(reported)} of {len(fields)} fields differ beyond noise" if reported else "no field differs beyond noise"
    sentence = f"{listed}, over {numbers.count(compared)} captured pairs" if compared else "no bodies have been compared"
    if reported and state is State.PASSED:
        sentence += "; they are reported and do not fail the verdict (judge.bodies)"
    return Check("bodies", state, sentence)


def _coverage(subject: Subject) -> Check:
    share, eligible = number(subject.verdict.get("coverage")), subject.count("eligible")
    sentence = (
        f"{numbers.count(subject.count('pairs'))} of {numbers.count(eligible)} eligible requests were compared ({numbers.share(share)})"
        if eligible
        else "no eligible request has been seen"
    )
    return Check("coverage", State.PASSED if subject.count("pairs") else State.UNDECIDED, sentence)


def _instrument(subject: Subject) -> Check:
    said: list[str] = []
    control, ratio = subject.part("control"), subject.part("sample_ratio")
    if control:
        like = "the A/A arm is like live" if number(control.get("pairs")) else "the A/A arm has no pairs yet"
        said.append("the A/A arm differs from live" if control.get("is_tripped") else like)
    if ratio:
        said.append(
            "the share that was sampled is not what it should be" if ratio.get("is_tripped") else "the share that was sampled is right"
        )
    is_conserved = subject.comparison.get("is_conserved")
    if is_conserved is not None:
        said.append("every eligible request is accounted for" if is_conserved else "the counters do not add up")
    if subject.state == "INVALID":
        reasons = [str(one) for one in subject.parts("reasons")]
        return Check("instrument", State.INVALID, "; ".join(reasons or said) or "the verdict is INVALID")
    return Check("instrument", State.PASSED, "; ".join(said) or "nothing speaks against the measurement")


def _state(subject: Subject, name: str, part: Plain) -> State:
    if subject.state == "INVALID":
        return State.UNDECIDED
    against, safe = number(part.get("log_e_regression")), number(part.get("log_e_safe"))
    if subject.state == "REGRESSION" and (
        subject.verdict.get("cause") == name or (against is not None and against >= subject.regression_threshold)
    ):
        return State.FAILED
    return State.PASSED if safe is not None and safe >= subject.safe_threshold else State.UNDECIDED


def _margins(part: Plain, shown: Callable[[float], str]) -> tuple[str, str]:
    safe, regression = number(part.get("margin_safe")), number(part.get("margin_regression"))
    return "" if safe is None else shown(safe), "" if regression is None else shown(regression)


def _signed_share(value: float) -> str:
    return numbers.share(value, is_signed=True)
