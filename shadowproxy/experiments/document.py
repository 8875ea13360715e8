"""How a run stands, in numbers and in sentences that name the numbers they rest on."""

from __future__ import annotations

from math import log
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.judge import quantiles, wording
from shadowproxy.judge.detectors import log_add
from shadowproxy.judge.rates import log_e_sample_ratio, log_e_shares, share_interval

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.experiments.conductor import Conductor, Decision
    from shadowproxy.experiments.evidence import Evidence
    from shadowproxy.experiments.slicecounts import Slices

HARMLESS_ENDS: Final = frozenset({"budget_units", "budget_requests"})
"""As many had the fault as were to have it: nothing is wrong, and what was seen counts."""

LEAST_LOOKED_AT: Final = 20
"""Answers before an expectation is called upheld."""

MISMATCH_LOG_E: Final = log(1000)
"""Evidence of 1 in 1000 that requests are not shared out evenly: the check runs beside every experiment, and must hardly ever be wrong."""

EVEN: Final = (0.5, 0.5)
UNEVEN: Final = 1.1
"""Factor between the slices' requests up to which nothing is said, where each request is drawn by itself."""

LOPSIDED: Final = 2.0
"""Factor between the slices' requests from which units are told to be too few, or too unlike, to be compared."""

LEAST_REQUESTS: Final = 200
"""Requests before anything is said of how they are shared out."""

EXACT_KEYS: Final = frozenset({"", "trace"})
"""Keys of slices that draw each request, or each trace, by itself."""


def document(conductor: Conductor) -> dict[str, Any]:
    """See `Conductor.document`."""
    slices, evidence = conductor.slices, conductor.evidence
    expectations = _expectations(conductor)
    steady = _steady(conductor)
    verdict, sentence = _verdict(conductor, expectations, steady)
    ratio = sample_ratio(conductor)
    if ratio["is_mismatch"]:
        sentence += f"; requests are not shared out evenly ({ratio['fault']:,} with the fault, {ratio['control']:,} without): the slices may be unlike"
    contained = conductor.containment.to_plain()
    return {
        "verdict": verdict,
        "sentence": sentence,
        "slices": {"fault": slices.fault.to_plain(), "control": slices.control.to_plain()},
        "excess": {"errors": _error_excess(evidence), "p99": _tail_excess(slices, evidence.alpha)},
        "sample_ratio": ratio,
        "guards": conductor.guards.to_plain(),
        "evidence": evidence.to_plain(),
        "series": conductor.series.to_plain(),
        "expectations": expectations,
        "steady": steady,
        "budget": conductor.spending.to_plain(slices, evidence),
        "ramp": conductor.ramp.to_plain(),
    } | ({"containment": contained} if contained is not None else {})


def _error_excess(evidence: Evidence) -> dict[str, float | None]:
    low, high = evidence.difference.interval(evidence.alpha)
    return {"estimate": evidence.difference.estimate, "low": low, "high": high}


def _tail_excess(slices: Slices, alpha: float) -> dict[str, float | None] | None:
    fault, control = slices.fault.latency(0.99), slices.control.latency(0.99)
    if fault is None or control is None:
        return None
    found = quantiles.difference(quantiles.from_sketch(slices.control.last), quantiles.from_sketch(slices.fault.last), 0.99, alpha)
    low, high = (None if end is None else end * 1e-9 for end in (found.low, found.high))
    return {"estimate": fault - control, "low": low, "high": high}


def sample_ratio(conductor: Conductor) -> dict[str, Any]:
    """Whether the slices, which are of equal size, get equal shares of the requests.

    Exact where each request is drawn by itself (STATISTICS C6). A unit's requests are drawn together, so that some difference is
    chance; then only a factor of LOPSIDED is told. Units that are pinned to the slice have no counterpart: nothing is told.
    """
    fault, control = conductor.slices.fault.requests, conductor.slices.control.requests
    part = conductor.experiment.slice
    is_exact = part.key in EXACT_KEYS and not part.pinned
    is_mismatch = False
    if is_exact:
        # Answers that a fault holds back are not counted yet: a little less than control is no sign of anything.
        log_e = log_add(log_e_sample_ratio((fault, control), EVEN), log_e_shares((fault, control), EVEN)) - log(2)
        is_mismatch = log_e >= MISMATCH_LOG_E and max(fault, control) > UNEVEN * min(fault, control)
    elif not part.pinned and fault + control >= LEAST_REQUESTS:
        is_mismatch = max(fault, control) > LOPSIDED * min(fault, control)
    share = fault / (fault + control) if fault + control else None
    return {"fault": fault, "control": control, "share": share, "is_exact": is_exact, "is_mismatch": is_mismatch}


def _expectations(conductor: Conductor) -> list[dict[str, Any]]:
    found = []
    for expectation, (held, looked_at) in zip(conductor.experiment.expect, conductor.expected, strict=True):
        wanted = expectation.share / 100.0
        low, high = share_interval(held, looked_at, conductor.evidence.alpha)
        share = held / looked_at if looked_at else None
        is_failed = high < wanted
        is_upheld = share is not None and share >= wanted and looked_at >= LEAST_LOOKED_AT
        sentence = f"on route {expectation.route} it held for {held:,} of {wording.count(looked_at, 'answer')}"
        if share is not None:
            sentence += f", {wording.percent(round(share, 4))} (between {_percent(low)} and {_percent(high)}); {wording.percent(wanted)} is expected"
        found.append({
            "route": expectation.route, "sentence": sentence, "held": held, "looked_at": looked_at, "share": share,
            "low": low, "high": high, "is_upheld": True if is_upheld else False if is_failed else None,
        })  # fmt: skip
    return found


def _steady(conductor: Conductor) -> list[dict[str, Any]]:
    found = []
    for name, bounds in conductor.steady.items():
        value = conductor.value_of(name)
        found.append({
            "probe": name, "baseline": bounds.get("baseline"), "value": value, "low": bounds.get("low"), "high": bounds.get("high"),
            "is_well": None if value is None else is_well(value, bounds),
        })  # fmt: skip
    return found


def is_well(value: float, bounds: Mapping[str, float | None]) -> bool:
    """Whether a probe is within `low` and `high`, where there are any."""
    low, high = bounds.get("low"), bounds.get("high")
    return (low is None or value >= low) and (high is None or value <= high)


def range_of(bounds: Mapping[str, float | None]) -> str:
    """`40 to 60`, `from 40`, `up to 60`."""
    return wording.span((bounds.get("low"), bounds.get("high")), lambda value: f"{value:.6g}")


# The verdict.


def _verdict(conductor: Conductor, expectations: list[dict[str, Any]], steady: list[dict[str, Any]]) -> tuple[str, str]:
    end, evidence, slices = conductor.end, conductor.evidence, conductor.slices
    if evidence.is_shown:
        return "refuted", f"the fault does harm: {harm(slices, evidence)}"
    if end is not None and end.code == "containment":
        return "refuted", f"the fault was not contained: {end.reason}"
    if conductor.is_accused and (end is None or end.code != "environment"):
        known = "" if end is None else f"; before that was known it was ended: {end.reason}"
        return "undecided", f"{conductor.pause_reason}; while nothing is injected it turns out whether that is the fault's doing{known}"
    if conductor.is_paused:
        why = end.reason if end is not None else conductor.pause_reason
        if end is not None and conductor.is_stopped:
            why = f"{conductor.pause_reason}; before it was over, {_stopped(conductor, end)}"
        return "environment", f"nothing can be said of the fault, for something else went wrong: {why}"
    if end is not None and end.code == "environment":
        return "environment", f"nothing can be said of the fault, for something else went wrong: {end.reason}"
    failed = [one["sentence"] for one in expectations if one["is_upheld"] is False]
    if failed:
        return "refuted", f"what was expected did not happen: {failed[0]}"
    missing = _missing(conductor, expectations, steady)
    if missing:
        return "undecided", f"neither upheld nor refuted: {missing}"
    held = wording.listed([one["sentence"] for one in expectations])
    return "upheld", f"{held or 'no harm was found'}; {_compared(slices, evidence)}"


def _missing(conductor: Conductor, expectations: list[dict[str, Any]], steady: list[dict[str, Any]]) -> str:
    """What keeps the hypothesis from being upheld."""
    end = conductor.end
    if end is None:
        return f"it has not come to its end; {_compared(conductor.slices, conductor.evidence)}"
    if conductor.is_stopped:
        return f"{_stopped(conductor, end)}; by then {_compared(conductor.slices, conductor.evidence)}"
    if end.state != "completed" and end.code not in HARMLESS_ENDS:
        return f"it was stopped: {end.reason}"
    if conductor.containment.is_alarmed:
        return f"harm shows in another cell: {conductor.containment.harm()}"
    open_ones = [one["sentence"] for one in expectations if one["is_upheld"] is None]
    if open_ones:
        return f"not shown yet: {open_ones[0]}"
    for one in steady:
        if one["value"] is None:
            return f"probe {one['probe']} could not be read, so that nobody knows whether all is well"
        if not one["is_well"]:
            return f"probe {one['probe']} is {one['value']:.6g}, outside its steady state ({range_of(one)})"
    if not conductor.slices.fault.requests:
        return "no request was in the slice"
    if not expectations and not conductor.ramp.is_safe(conductor.evidence):
        margin = conductor.experiment.sequential.margin
        return (
            f"it is not shown that the fault adds less than {margin:g} points of errors; {_compared(conductor.slices, conductor.evidence)}"
        )
    return ""


def _stopped(conductor: Conductor, end: Decision) -> str:
    return f"it was ended after {conductor.seconds:.1f} s of {conductor.experiment.duration:g} s: {end.reason}"


def _compared(slices: Slices, evidence: Evidence) -> str:
    fault, control = slices.fault, slices.control
    text = f"{_failed(fault.errors, fault.answered)} failed with the fault, {_failed(control.errors, control.answered)} without"
    if evidence.difference.estimate is None:
        return text
    interval = evidence.difference.interval(evidence.alpha)
    span = wording.span(interval, lambda share: wording.points(share, is_signed=True))
    return f"{text} (a difference of {wording.points(evidence.difference.estimate, is_signed=True)} points, {wording.percent(1 - evidence.alpha)} interval {span})"


def harm(slices: Slices, evidence: Evidence) -> str:
    """What shows that the slice with the fault fails more often, or has begun to."""
    compared = _compared(slices, evidence)
    chance = f"by chance it would be so in at most {wording.percent(evidence.alpha)} of runs, however often one looks"
    if evidence.is_late:
        return f"errors have turned to the slice with the fault of late; so far {compared}; {chance}"
    return f"{compared}; {chance}"


def _failed(errors: int, answers: int) -> str:
    return f"{errors:,} of {wording.count(answers, 'answer')}"


def _percent(share: float) -> str:
    return wording.percent(round(share, 4))
