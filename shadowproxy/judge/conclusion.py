"""From evidence to the verdict: pure, and as often as one likes.

The rule, in order of precedence (`outcome_of`):

1. INVALID: the counters do not add up, the control arm differs from live, or the wrong share of requests is copied.
2. REGRESSION: the weighted mean of the tests for a regression has reached 1/alpha since the evidence began.
3. SAFE: every non-inferiority test has 1/beta now, and no late fault is suspected.
4. UNDECIDED.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import exp, isfinite, log
from typing import TYPE_CHECKING, Final

from shadowproxy.judge import forecast, mcnemar, sentences, sketch, symmetry
from shadowproxy.judge.evidence import combined
from shadowproxy.judge.pairs import is_error
from shadowproxy.judge.quantiles import difference, from_sketch
from shadowproxy.judge.verdict import (
    ControlEvidence,
    Decile,
    ErrorEvidence,
    LateFault,
    LatencyEvidence,
    LogE,
    Needs,
    Outcome,
    QuantileEvidence,
    SampleRatio,
    SignEvidence,
    SloEvidence,
    Transition,
    Verdict,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.judge.calibration import Calibration, Sampling
    from shadowproxy.judge.evidence import MirrorEvidence
    from shadowproxy.judge.pairs import Crossings, PairEvidence
    from shadowproxy.judge.sketch import Sketch
    from shadowproxy.judge.symmetry import LogRatio
    from shadowproxy.judge.verdict import Circumstances, Interval

NS: Final = 1e9

TRANSITIONS: Final = 20
"""Transitions that a document lists; the comparison has the whole matrix."""

DECILES: Final = 10

QUANTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}

LARGEST_EXPONENT: Final = 29.0
"""A log ratio beyond it means that nothing is known of that end (`symmetry.FARTHEST`)."""

COMPARED: Final = ("paired", "failed_")
"""Fates that are compared: pairs, and copies that the shadow failed."""


def outcome_of(evidence: MirrorEvidence, *, is_conserved: bool = True) -> Outcome:
    """The verdict in one word."""
    if not is_conserved or _is_tripped(evidence.calibration) or _is_tripped(evidence.sampling):
        return Outcome.INVALID
    if evidence.alarm is not None:
        return Outcome.REGRESSION
    enough = evidence.criteria.safe_threshold
    if not evidence.pairs.detector.is_alarmed and all(part.log_e >= enough for part in evidence.pairs.safety_parts()):
        return Outcome.SAFE
    return Outcome.UNDECIDED


@dataclass(frozen=True, slots=True)
class Standing:
    """How the evidence stands, in numbers: less than a verdict, and made in a fraction of its time.

    `log_e` has log e-values by claim (regression, safe, and invalid where that is tested) and test; `errors` and `latency` are
    lower bound, estimate and upper bound of the difference and of the ratio.
    """

    outcome: Outcome
    log_e: Mapping[str, Mapping[str, float]]
    errors: tuple[float | None, float | None, float | None]
    latency: tuple[float | None, float | None, float | None]


def standing(evidence: MirrorEvidence, *, is_conserved: bool = True) -> Standing:
    """The numbers of a verdict that are watched over time."""
    pairs, criteria = evidence.pairs, evidence.criteria
    parts = evidence.regression_parts()
    log_e = {
        "regression": {"combined": combined(parts)} | {part.name: part.log_e for part in parts},
        "safe": {part.name: part.log_e for part in pairs.safety_parts()},
    }
    if evidence.calibration is not None:
        log_e["invalid"] = {"control": evidence.calibration.log_e}
    errors = _interval(pairs.risk.interval(criteria.alpha)) if pairs.pairs else (None, None)
    latency = _ratio_interval(pairs.ratio, criteria.alpha) or (None, None)
    return Standing(
        outcome=outcome_of(evidence, is_conserved=is_conserved),
        log_e=log_e,
        errors=(errors[0], pairs.risk.estimate, errors[1]),
        latency=(latency[0], _ratio(pairs.ratio), latency[1]),
    )


def conclude(evidence: MirrorEvidence, circumstances: Circumstances) -> Verdict:
    """The whole document."""
    criteria, pairs = evidence.criteria, evidence.pairs
    outcome = outcome_of(evidence, is_conserved=circumstances.is_conserved)
    errors, latency = _errors(pairs), _latency(pairs)
    slo = tuple(_slo(one, pairs) for one in pairs.crossings.values())
    control = None if evidence.calibration is None else _control(evidence.calibration)
    sample_ratio = None if evidence.sampling is None else _sample_ratio(evidence.sampling)
    needs = _needs(evidence, circumstances.pairs_per_second) if outcome is Outcome.UNDECIDED else None
    draft = Verdict(
        route=circumstances.route,
        mirror=circumstances.mirror,
        verdict=outcome,
        summary="",
        reasons=(),
        cause=evidence.alarm.cause if evidence.alarm is not None and outcome is Outcome.REGRESSION else None,
        since=circumstances.since,
        epoch=circumstances.epoch,
        revisions=circumstances.revisions or {},
        previous=circumstances.previous,
        pairs=pairs.pairs,
        eligible=evidence.eligible,
        coverage=evidence.coverage,
        pairs_per_second=circumstances.pairs_per_second,
        baseline="control" if criteria.has_control else "live",
        alpha=criteria.alpha,
        beta=criteria.beta,
        log_e=LogE(combined(evidence.regression_parts()), criteria.threshold),
        errors=errors,
        latency=latency,
        slo=slo,
        control=control,
        sample_ratio=sample_ratio,
        late_fault=LateFault(_finite(pairs.detector.log_detector), log(pairs.detector.run_length), pairs.detector.is_alarmed),
        coverage_by_decile=deciles(evidence.live_last, evidence.left_out_last),
        excluded={fate: count for fate, count in sorted(evidence.fates.items()) if count and not fate.startswith(COMPARED)},
        needs=needs,
        lag_seconds=circumstances.lag_seconds,
        quantiles=_quantiles(evidence),
        fields=circumstances.fields,
        exemplars=circumstances.exemplars,
        history=circumstances.history,
    )
    return replace(draft, summary=sentences.summary(draft, evidence), reasons=sentences.reasons(draft, evidence, circumstances))


def _is_tripped(check: Calibration | Sampling | None) -> bool:
    return check is not None and check.is_tripped


def _errors(pairs: PairEvidence) -> ErrorEvidence:
    criteria, count = pairs.criteria, pairs.pairs
    return ErrorEvidence(
        live_rate=pairs.baseline_errors / count if count else None,
        shadow_rate=pairs.shadow_errors / count if count else None,
        difference=(pairs.shadow_only - pairs.baseline_only) / count if count else None,
        interval=_interval(pairs.risk.interval(criteria.alpha)) if count else None,
        live_only=pairs.baseline_only,
        shadow_only=pairs.shadow_only,
        log_e_regression=pairs.log_e_errors,
        log_e_safe=pairs.log_e_not_failing,
        margin_safe=criteria.errors_safe,
        margin_regression=criteria.errors_regression,
        transitions=transitions(pairs),
    )


def transitions(pairs: PairEvidence) -> tuple[Transition, ...]:
    """Pairs that ended differently, those that weigh most first: new errors, then by evidence and count."""
    found = []
    for (live, shadow), count in pairs.matrix.items():
        if live != shadow and count:
            reverse = pairs.matrix.get((shadow, live), 0)
            found.append(Transition(live, shadow, count, reverse, mcnemar.log_e_one_sided(count, reverse)))
    found.sort(key=lambda one: (not (is_error(one.shadow) and not is_error(one.live)), -one.log_e, -one.count, one.live, one.shadow))
    return tuple(found[:TRANSITIONS])


def _latency(pairs: PairEvidence) -> LatencyEvidence:
    criteria = pairs.criteria
    above, below = pairs.signs
    return LatencyEvidence(
        pairs=int(pairs.ratio.n),
        ratio=_ratio(pairs.ratio),
        interval=_ratio_interval(pairs.ratio, criteria.alpha),
        log_e_regression=pairs.log_e_slower,
        log_e_safe=pairs.log_e_not_slower,
        sign=SignEvidence(above, below, pairs.log_e_sign),
        margin_safe=criteria.latency_safe,
        margin_regression=criteria.latency_regression,
    )


def _slo(crossings: Crossings, pairs: PairEvidence) -> SloEvidence:
    criteria = pairs.criteria
    return SloEvidence(
        threshold_seconds=crossings.threshold_ns / NS,
        live_only=crossings.baseline_only,
        shadow_only=crossings.shadow_only,
        interval=_interval(crossings.risk.interval(criteria.alpha)) if pairs.pairs else None,
        log_e_regression=crossings.log_e_regression,
        log_e_safe=crossings.risk.log_not_worse(criteria.errors_safe),
    )


def _control(calibration: Calibration) -> ControlEvidence:
    criteria = calibration.criteria
    return ControlEvidence(
        log_e=calibration.log_e,
        threshold=criteria.control_threshold,
        is_tripped=calibration.is_tripped,
        pairs=calibration.pairs,
        live_only=calibration.live_only,
        control_only=calibration.control_only,
        latency_ratio=_ratio(calibration.ratio),
        interval=_ratio_interval(calibration.ratio, criteria.control_alpha),
    )


def _sample_ratio(sampling: Sampling) -> SampleRatio:
    return SampleRatio(sampling.share, sampling.observed, sampling.log_e, sampling.is_tripped)


def deciles(compared: Sketch, left_out: Sketch) -> tuple[Decile, ...]:
    """Tenths of live's answers by latency, slowest last; buckets are not split, so they are about tenths."""
    everything = sketch.merge((compared, left_out))
    total = sketch.total(everything)
    found: list[Decile] = []
    seen = at_compared = at_left_out = 0
    for bucket in sorted(everything):
        seen += everything[bucket]
        at_compared += compared.get(bucket, 0)
        at_left_out += left_out.get(bucket, 0)
        if seen * DECILES >= total * (len(found) + 1):
            found.append(Decile(sketch.edge_ns(bucket) / NS, at_compared, at_left_out))
            at_compared = at_left_out = 0
    return tuple(found)


def _quantiles(evidence: MirrorEvidence) -> dict[str, QuantileEvidence]:
    """Each arm by itself: less sharp than the pairs, and what a page of numbers is expected to show."""
    arms = [from_sketch(one) for one in (evidence.live_last, evidence.shadow_last)]
    live, shadow = (sketch.quantiles(one, tuple(QUANTILES.values())) for one in (evidence.live_last, evidence.shadow_last))
    found = {}
    for (name, share), of_live, of_shadow in zip(QUANTILES.items(), live, shadow, strict=True):
        between = None if of_live is None or of_shadow is None else difference(arms[0], arms[1], share, evidence.criteria.alpha)
        found[name] = QuantileEvidence(
            live=_seconds(of_live),
            shadow=_seconds(of_shadow),
            difference=None if of_live is None or of_shadow is None else (of_shadow - of_live) / NS,
            interval=None if between is None else (_seconds(between.low), _seconds(between.high)),
        )
    return found


def _needs(evidence: MirrorEvidence, pairs_per_second: float) -> Needs:
    """What is missing: for SAFE, or where that would never come at the present estimates, for REGRESSION."""
    pairs = evidence.pairs
    missing = [part for part in pairs.safety_parts() if part.log_e < evidence.criteria.safe_threshold]
    safe = forecast.until_safe(pairs)
    worse = forecast.until_regression(evidence)
    more = safe if safe is not None else worse
    return Needs(
        what=sentences.missing(
            [part.name for part in missing], evidence, is_safe_near=safe is not None, is_regression_near=worse is not None
        ),
        more_pairs=more,
        seconds=more / pairs_per_second if more is not None and pairs_per_second > 0 else None,
    )


def _interval(ends: tuple[float, float]) -> tuple[float | None, float | None]:
    return _finite(ends[0]), _finite(ends[1])


def _ratio(sums: LogRatio) -> float | None:
    return exp(sums.s1 / sums.n) if sums.n else None


def _ratio_interval(sums: LogRatio, alpha: float) -> Interval:
    if not sums.n:
        return None
    low, high = symmetry.interval(sums, alpha)
    return _exp(low), _exp(high)


def _exp(value: float | None) -> float | None:
    return None if value is None or not abs(value) < LARGEST_EXPONENT else exp(value)


def _finite(value: float | None) -> float | None:
    return None if value is None or not isfinite(value) else value


def _seconds(duration_ns: float | None) -> float | None:
    return None if duration_ns is None else duration_ns / NS
