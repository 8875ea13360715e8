"""What a verdict says to people: one summary sentence, the reasons, and what is missing.

A sentence names the numbers that it rests on, with their interval, and claims no more than the tests show.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from shadowproxy.judge import wording
from shadowproxy.judge.criteria import BODIES, ERRORS, LATENCY
from shadowproxy.judge.pairs import is_error
from shadowproxy.judge.verdict import Outcome

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.judge.criteria import Criteria
    from shadowproxy.judge.evidence import MirrorEvidence
    from shadowproxy.judge.verdict import Circumstances, Interval, SloEvidence, Transition, Verdict


def summary(draft: Verdict, evidence: MirrorEvidence) -> str:
    """The verdict in one sentence."""
    match draft.verdict:
        case Outcome.INVALID:
            return invalidity(draft)[0] if invalidity(draft) else _broken_law()
        case Outcome.REGRESSION:
            assert evidence.alarm is not None
            return f"{_regression(draft, evidence.alarm.cause)}; {wording.count(draft.pairs, 'pair')}"
        case Outcome.SAFE:
            return f"{_safe(draft, evidence.criteria)}; {wording.count(draft.pairs, 'pair')}"
        case _:
            assert draft.needs is not None
            return f"neither worse nor safe after {wording.count(draft.pairs, 'pair')}: {draft.needs.what}{_wait(draft)}"


def reasons(draft: Verdict, evidence: MirrorEvidence, circumstances: Circumstances) -> tuple[str, ...]:
    """Everything that the verdict rests on, and what limits it; most important first."""
    found: list[str] = [] if circumstances.is_conserved else [_broken_law()]
    found += invalidity(draft)
    alarm = evidence.alarm
    if alarm is not None:
        found.append(_regression(draft, alarm.cause))
        found.append(
            f"the evidence was enough after {wording.count(alarm.pairs, 'pair')}; "
            f"it would be so by chance in at most {wording.percent(draft.alpha)} of runs, however often one looks"
        )
    if draft.late_fault.is_tripped and draft.cause != ERRORS:
        found.append("errors of the shadow have become more frequent lately: not safe, whatever was seen before")
    if draft.coverage is not None and draft.verdict is Outcome.SAFE and (tail := _tail(draft)):
        found.append(tail)
    if draft.verdict is Outcome.SAFE:
        found.append(f"it would be called safe wrongly in at most {wording.percent(draft.beta)} of runs, however often one looks")
    return tuple(found)


def invalidity(draft: Verdict) -> list[str]:
    """Why the comparison cannot be trusted, apart from counters that do not add up."""
    found = []
    control, sampling = draft.control, draft.sample_ratio
    if control is not None and control.is_tripped:
        found.append(
            f"the control arm runs the live build and still differs from live (errors only of live {control.live_only:,}, "
            f"only of control {control.control_only:,}; latency ratio {_ratio_text(control.latency_ratio, control.interval)}): "
            "what is compared differs in more than the build"
        )
    if sampling is not None and sampling.is_tripped:
        seen = wording.percent(round(sampling.observed or 0.0, 5))
        found.append(
            f"{seen} of the requests are copied instead of {wording.percent(sampling.expected)}: the sample is not what it should be"
        )
    return found


def missing(names: Sequence[str], evidence: MirrorEvidence, *, is_safe_near: bool, is_regression_near: bool) -> str:
    """What keeps the verdict undecided."""
    criteria, pairs = evidence.criteria, evidence.pairs
    if not pairs.pairs:
        return "no request has been compared yet" + (" in all three arms" if criteria.has_control else "")
    if not pairs.ratio.n:
        return "no latency has been compared yet"
    if not names:
        return "errors of the shadow have become more frequent lately"
    claims = wording.listed([_claim(name, criteria) for name in names])
    if is_safe_near:
        return f"not yet shown that {claims}"
    if is_regression_near:
        return f"not shown that {claims}, and at the present estimates it will not be; nor is a regression shown yet"
    return f"not shown that {claims}, and at the present estimates it will not be: the difference is about as large as the margin"


def _claim(name: str, criteria: Criteria) -> str:
    if name == LATENCY:
        return f"the median latency is worse by less than {wording.percent(criteria.latency_safe)}"
    what = "errors are" if name == ERRORS else f"answers over {name.removeprefix('slo:')} are"
    return f"{what} worse by less than {wording.points(criteria.errors_safe)} points"


def _wait(draft: Verdict) -> str:
    needs = draft.needs
    if needs is None or not needs.more_pairs:
        return ""
    text = f"; about {wording.about(needs.more_pairs)} more pairs"
    return text + (f", {wording.seconds(needs.seconds)} at the present rate" if needs.seconds is not None else "")


def _safe(draft: Verdict, criteria: Criteria) -> str:
    margin = wording.percent(criteria.latency_safe)
    live = draft.quantiles["p50"].live
    resolution = 0.0 if criteria.has_control else criteria.resolution_seconds
    if live and resolution > 0.1 * criteria.latency_safe * live:
        margin += f" and {resolution * 1000:.6g} ms"
    parts = [f"errors worse by less than {wording.points(criteria.errors_safe)} points"]
    parts += [
        f"answers over {wording.duration(threshold)} more frequent by less than {wording.points(criteria.errors_safe)} points"
        for threshold in criteria.slo_ns
    ]
    parts.append(f"median latency by less than {margin}")
    return f"{wording.listed(parts)}, {wording.percent(1 - draft.beta)} at any time"


def _regression(draft: Verdict, cause: str) -> str:
    level = wording.percent(1 - draft.alpha)
    if cause == ERRORS:
        errors = draft.errors
        difference = wording.points(errors.difference or 0.0, is_signed=True)
        span = wording.span(errors.interval, lambda share: wording.points(share, is_signed=True))
        return f"more errors than {draft.baseline}: {_top(draft)}{difference} points of error rate ({level} interval {span})"
    if cause == LATENCY:
        latency = draft.latency
        return (
            f"slower than {draft.baseline} on the same requests: latency ratio {_ratio_text(latency.ratio, latency.interval)}, "
            f"margin {wording.percent(latency.margin_regression)}"
        )
    if cause == BODIES:
        named = [str(one.get("path", "")) for one in draft.fields if one.get("is_reported")]
        return "answers differ beyond noise" + (f": {wording.listed(named[:3])}" if named else "")
    one = next(one for one in draft.slo if f"slo:{wording.duration(round(one.threshold_seconds * 1e9))}" == cause)
    return _slo(one, draft, level)


def _slo(one: SloEvidence, draft: Verdict, level: str) -> str:
    span = wording.span(one.interval, lambda share: wording.points(share, is_signed=True))
    return (
        f"more answers over {wording.duration(round(one.threshold_seconds * 1e9))} than {draft.baseline}: only the shadow {one.shadow_only:,} times, "
        f"only {draft.baseline} {one.live_only:,} times ({level} interval of the difference {span} points)"
    )


def top_transition(draft: Verdict) -> Transition | None:
    """The change of outcome that is most of the new errors."""
    return next((one for one in draft.errors.transitions if is_error(one.shadow) and not is_error(one.live)), None)


def _top(draft: Verdict) -> str:
    top = top_transition(draft)
    if top is None:
        return ""
    reverse = f", the reverse {top.reverse:,}" if top.reverse else ""
    return f"{top.live} -> {top.shadow} {top.count:,} times{reverse}, "


def _ratio_text(value: float | None, interval: Interval) -> str:
    if value is None:
        return "not known"
    return f"{wording.ratio(value)} (interval {wording.span(interval, wording.ratio)})"


def _tail(draft: Verdict) -> str:
    """A warning where slow requests are left out more than others: what is claimed holds for those compared."""
    deciles = draft.coverage_by_decile
    compared, left_out = sum(one.compared for one in deciles), sum(one.left_out for one in deciles)
    slowest = deciles[-1] if deciles else None
    if slowest is None or not left_out or slowest.left_out * (compared + left_out) <= 2 * left_out * (slowest.compared + slowest.left_out):
        return ""
    share = slowest.left_out / (slowest.compared + slowest.left_out)
    return (
        f"of the slowest tenth of live's answers {wording.percent(round(share, 3))} were left out for load: the claim is about the others"
    )


def _broken_law() -> str:
    return "the counters do not add up: requests were lost between counters, which is a bug"
