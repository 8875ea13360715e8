"""One metric: is the canary's series higher than the baseline's, or lower, or can nothing be said (STATISTICS C13).

High when the whole interval of the shift lies above a quarter of its estimate, and the effect is at
least the allowed increase; Low likewise; everything else passes. So "Pass" says that nothing was shown.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import fsum, isfinite
from statistics import NormalDist
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.kayenta import transforms
from shadowproxy.judge.kayenta.mann_whitney import Shift, rank_sum, shift

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.judge.kayenta.canary import Metric

TOLERANCE: Final = 0.25
"""The share of the estimated shift that the interval must clear."""

CONFIDENCE: Final = 0.98

NOISE: Final = 1e-5
"""Standard deviation, relative to the value, of the noise that is added when both series are constant."""


class Label(StrEnum):
    """What a metric is classified as."""

    PASS = "Pass"  # noqa: S105  a verdict, not a password
    HIGH = "High"
    LOW = "Low"
    NODATA = "Nodata"
    NODATA_FAIL = "NodataFailMetric"
    ERROR = "Error"


@dataclass(frozen=True, slots=True)
class Classification:
    """What became of one metric, and why.

    `ratio` is the experiment's mean over control's, `effect` what is compared with the allowed
    effect; None where they are not defined. `is_critical` is a failure that fails the canary.
    """

    label: Label
    reason: str
    is_critical: bool = False
    ratio: float | None = 1.0
    effect: float | None = None
    shift: Shift | None = None


def transformed(metric: Metric, values: Sequence[float]) -> list[float]:
    """The series as it is judged: NaN values removed or replaced, then outliers removed if the metric says so."""
    kept = transforms.nans_as_zero(values) if metric.nans_are_zero else transforms.without_nans(values)
    return transforms.without_outliers(kept, metric.outlier_factor) if metric.removes_outliers else kept


def classify(
    metric: Metric, control: Sequence[float], experiment: Sequence[float], *, tolerance: float = TOLERANCE, confidence: float = CONFIDENCE
) -> Classification:
    """Classify a metric by its series as `transformed`.

    Args:
        metric: its config.
        control: values of the baseline, without NaN.
        experiment: values of the canary, without NaN.
        tolerance: the share of the estimated shift that the interval must clear.
        confidence: of the interval.

    """
    if not control or not experiment:
        return _without_data(metric, control, experiment)
    if sorted(control) == sorted(experiment):
        return Classification(Label.PASS, "both series are identical")
    if len({*control, *experiment}) == 1:
        return Classification(Label.PASS, "every value is the same")
    if len({*control}) == 1 and len({*experiment}) == 1:
        control, experiment = with_noise(control), with_noise(experiment)
    found = shift(experiment, control, confidence)
    if found is None:
        return Classification(
            Label.ERROR, "no shift can be estimated: one value a side, or values too large", ratio=mean_ratio(control, experiment)
        )
    effect = cles(control, experiment) if metric.is_cles else mean_ratio(control, experiment)
    label, reason = _compare(metric, found, effect, tolerance, confidence)
    return Classification(
        label, reason, _is_critical(metric, label, effect), ratio=mean_ratio(control, experiment), effect=effect, shift=found
    )


def _without_data(metric: Metric, control: Sequence[float], experiment: Sequence[float]) -> Classification:
    missing = (
        "neither series has values" if not control and not experiment else f"no values of the {'experiment' if control else 'control'}"
    )
    if metric.nans_are_zero:
        return Classification(Label.PASS, f"{missing}, and what is missing counts as 0")
    if metric.must_have_data and not metric.is_critical:
        return Classification(Label.NODATA_FAIL, f"{missing}, and the metric must have data")
    return Classification(Label.NODATA, missing, is_critical=metric.is_critical)


def _compare(metric: Metric, found: Shift, effect: float | None, tolerance: float, confidence: float) -> tuple[Label, str]:
    band = tolerance * abs(found.estimate)
    said = f"{confidence:.0%} interval of the shift {found.low:.6g} to {found.high:.6g}, estimate {found.estimate:.6g}"
    if metric.is_increase_bad and found.low > band:
        if effect is None or effect >= metric.allowed_increase:
            return Label.HIGH, f"{said}: above {band:.6g}"
        return Label.PASS, f"{said}: above {band:.6g}, but the effect {effect:.6g} is under {metric.allowed_increase:.6g}"
    if metric.is_decrease_bad and found.high < -band:
        if effect is None or effect <= metric.allowed_decrease:
            return Label.LOW, f"{said}: below {-band:.6g}"
        return Label.PASS, f"{said}: below {-band:.6g}, but the effect {effect:.6g} is over {metric.allowed_decrease:.6g}"
    return Label.PASS, f"{said}: not wholly outside {-band:.6g} to {band:.6g} in the direction that counts"


def _is_critical(metric: Metric, label: Label, effect: float | None) -> bool:
    if not metric.is_critical or label not in {Label.HIGH, Label.LOW}:
        return False
    if effect is None:
        return True
    return effect >= metric.critical_increase if label is Label.HIGH else effect <= metric.critical_decrease


def with_noise(values: Sequence[float]) -> list[float]:
    """A constant series with a little Gaussian spread, so that ranks differ.

    Kayenta draws at random; here it is the quantiles of the same distribution, so that a judgement can be repeated.
    """
    normal = NormalDist()
    return [value * (1 + NOISE * normal.inv_cdf((rank + 0.5) / len(values))) for rank, value in enumerate(values)]


def mean(values: Sequence[float]) -> float:
    """The mean of one finite value or more."""
    try:
        return fsum(values) / len(values)
    except OverflowError:
        return fsum(value / len(values) for value in values)


def mean_ratio(control: Sequence[float], experiment: Sequence[float]) -> float | None:
    """The experiment's mean over control's; None if either is 0, or the ratio is too large for a number."""
    if not all(isfinite(value) for values in (control, experiment) for value in values):
        return None
    below, above = mean(control), mean(experiment)
    if below == 0 or above == 0:
        return None
    found = above / below
    return found if isfinite(found) else None


def cles(control: Sequence[float], experiment: Sequence[float]) -> float:
    """The common-language effect size: in which share of all pairs experiment is higher; ties count half."""
    m, n = len(experiment), len(control)
    total, _ = rank_sum(experiment, control)
    return (2 * total - m * (m + 1)) / (2 * n * m)
