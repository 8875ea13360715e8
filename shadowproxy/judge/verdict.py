"""The verdict on one mirror: a document, and the pure function from evidence to it.

Order of precedence: INVALID (the comparison itself is broken), REGRESSION (shown at any time since the evidence
began), SAFE (non-inferiority shown in every respect, now), UNDECIDED (neither; says what is missing).

Shares are from 0 to 1, durations in seconds, evidence in natural logarithms of e-values. Nothing is nan or infinite:
what is not known is None. `docs/verdicts.md` explains the document to people.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, is_dataclass
from enum import StrEnum
from math import isfinite
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Interval = tuple[float | None, float | None] | None


class Outcome(StrEnum):
    """What a verdict says."""

    SAFE = "SAFE"
    UNDECIDED = "UNDECIDED"
    REGRESSION = "REGRESSION"
    INVALID = "INVALID"


@dataclass(frozen=True, slots=True)
class Previous:
    """How an earlier epoch of evidence ended."""

    epoch: int
    verdict: str
    summary: str
    pairs: int
    ended: float
    """Seconds since 1970."""


@dataclass(frozen=True, slots=True)
class LogE:
    """The combined evidence of a regression and what would be enough."""

    combined: float
    threshold: float


@dataclass(frozen=True, slots=True)
class Transition:
    """Pairs that ended differently: baseline outcome to shadow outcome, and how many the other way round."""

    live: str
    shadow: str
    count: int
    reverse: int
    log_e: float


@dataclass(frozen=True, slots=True)
class ErrorEvidence:
    """Errors of the two arms. Differences are shadow minus baseline."""

    live_rate: float | None
    shadow_rate: float | None
    difference: float | None
    interval: Interval
    live_only: int
    shadow_only: int
    log_e_regression: float
    log_e_safe: float
    margin_safe: float
    margin_regression: float
    transitions: tuple[Transition, ...]


@dataclass(frozen=True, slots=True)
class SignEvidence:
    """Answers slower than the regression margin, and the others."""

    above: int
    below: int
    log_e: float


@dataclass(frozen=True, slots=True)
class LatencyEvidence:
    """Time to the last byte, shadow over baseline on the same request. Margins are shares: 0.01 is one percent."""

    pairs: int
    ratio: float | None
    interval: Interval
    log_e_regression: float
    log_e_safe: float
    sign: SignEvidence
    margin_safe: float
    margin_regression: float


@dataclass(frozen=True, slots=True)
class SloEvidence:
    """Pairs of which only one arm took longer than a threshold; the interval is of the difference of shares."""

    threshold_seconds: float
    live_only: int
    shadow_only: int
    interval: Interval
    log_e_regression: float
    log_e_safe: float


@dataclass(frozen=True, slots=True)
class ControlEvidence:
    """The A/A test of live against the control arm."""

    log_e: float
    threshold: float
    is_tripped: bool
    pairs: int
    live_only: int
    control_only: int
    latency_ratio: float | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class SampleRatio:
    """Whether as many requests are copied as configured."""

    expected: float
    observed: float | None
    log_e: float
    is_tripped: bool


@dataclass(frozen=True, slots=True)
class LateFault:
    """A detector of errors that began late: it withholds SAFE, and gives no REGRESSION by itself."""

    log_detector: float | None
    threshold: float
    is_tripped: bool


@dataclass(frozen=True, slots=True)
class Decile:
    """A tenth of live's answers by latency: how many are compared, how many were left out for load."""

    upto_seconds: float
    compared: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Needs:
    """What is missing for a verdict, and about how much more of it."""

    what: str
    more_pairs: int | None
    seconds: float | None


@dataclass(frozen=True, slots=True)
class QuantileEvidence:
    """One quantile of the time to the last byte, of each arm by itself, and the difference."""

    live: float | None
    shadow: float | None
    difference: float | None
    interval: Interval


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What is known of a mirror beside its evidence.

    `since` is seconds since 1970; `revisions` names builds per fleet role; `fields` and `exemplars` are what the
    comparison of bodies found and the pairs that were kept.
    """

    route: str
    mirror: str
    since: float
    epoch: int = 1
    revisions: Mapping[str, Sequence[str]] | None = None
    previous: Previous | None = None
    pairs_per_second: float = 0.0
    lag_seconds: float = 0.0
    is_conserved: bool = True
    fields: tuple[Mapping[str, Any], ...] = ()
    exemplars: tuple[str, ...] = ()
    history: tuple[tuple[float, int, float, float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole document of one mirror."""

    route: str
    mirror: str
    verdict: Outcome
    summary: str
    reasons: tuple[str, ...]
    cause: str | None
    since: float
    epoch: int
    revisions: Mapping[str, Sequence[str]]
    previous: Previous | None
    pairs: int
    eligible: int
    coverage: float | None
    pairs_per_second: float
    baseline: str
    alpha: float
    beta: float
    log_e: LogE
    errors: ErrorEvidence
    latency: LatencyEvidence
    slo: tuple[SloEvidence, ...]
    control: ControlEvidence | None
    sample_ratio: SampleRatio | None
    late_fault: LateFault
    coverage_by_decile: tuple[Decile, ...]
    excluded: Mapping[str, int]
    needs: Needs | None
    lag_seconds: float
    quantiles: Mapping[str, QuantileEvidence]
    fields: tuple[Mapping[str, Any], ...]
    exemplars: tuple[str, ...]
    history: tuple[tuple[float, int, float, float, str], ...]


def to_plain(value: Any) -> Any:
    """The document as JSON has it: objects, lists, text, numbers; what is not finite becomes None."""
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: to_plain(getattr(value, one.name)) for one in fields(value)}
    if isinstance(value, dict):
        return {str(key): to_plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [to_plain(one) for one in value]
    if isinstance(value, float):
        return value if isfinite(value) else None
    return str(value) if isinstance(value, StrEnum) else value
