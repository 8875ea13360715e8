"""The whole judge: canary config and series in, classifications and scores out."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite, nan
from statistics import stdev
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.errors import ConfigError, Problem
from shadowproxy.judge.kayenta import score as scoring
from shadowproxy.judge.kayenta.classify import Classification, Label, classify, mean, transformed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.judge.kayenta.canary import Canary, Metric, Series, Tags

NAME: Final = "NetflixACAJudge-v1.0"
"""What the judge is called where Kayenta's answers name theirs."""


@dataclass(frozen=True, slots=True)
class Result:
    """One metric: its config, the series as they were judged, and what became of it."""

    metric: Metric
    tags: Tags
    control: tuple[float, ...]
    experiment: tuple[float, ...]
    classification: Classification


@dataclass(frozen=True, slots=True)
class Judgement:
    """Every result in the config's order, the score with its groups, and what it means."""

    results: tuple[Result, ...]
    score: scoring.Score
    outcome: scoring.Outcome

    def to_plain(self) -> dict[str, Any]:
        """As Kayenta writes its judge's answers, with the interval, the estimate and the effect beside its fields. No NaN."""
        return {
            "judgeName": NAME,
            "score": {"score": self.score.score, "classification": str(self.outcome), "classificationReason": self.score.reason},
            "groupScores": [
                {"name": group.name, "score": group.score, "weight": group.weight, "hasData": group.has_data} for group in self.score.groups
            ],
            "results": [_plain(result) for result in self.results],
        }


def judge(canary: Canary, control: Sequence[Series], experiment: Sequence[Series]) -> Judgement:
    """Judge every metric of the config.

    Series pair up by name and tags. A series that one side lacks counts as NaN values, as many as the other has.

    Args:
        canary: the config.
        control: series of the baseline.
        experiment: series of the canary.

    Raises:
        ConfigError: a series is of no metric, or is there twice.

    """
    sides = _by_key(canary, control, "control"), _by_key(canary, experiment, "experiment")
    keys = {key for side in sides for key in side}
    results = []
    for metric in canary.metrics:
        for tags in sorted(tags for name, tags in keys if name == metric.name) or [()]:
            found = [side.get((metric.name, tags)) for side in sides]
            longest = max(len(values or ()) for values in found)
            kept = [tuple(transformed(metric, (nan,) * longest if values is None else values)) for values in found]
            results.append(Result(metric, tags, kept[0], kept[1], _classify(metric, kept[0], kept[1])))
    counted = [(result.metric.groups, result.classification) for result in results if not result.metric.is_muted]
    total = scoring.score(counted, canary.weights)
    return Judgement(tuple(results), total, scoring.outcome(total.score, canary.pass_at, canary.marginal_at))


def _by_key(canary: Canary, series: Sequence[Series], side: str) -> dict[tuple[str, Tags], tuple[float, ...]]:
    known = {metric.name for metric in canary.metrics}
    found: dict[tuple[str, Tags], tuple[float, ...]] = {}
    problems = []
    for one in series:
        if one.name not in known:
            problems.append(Problem(f"{side}.{one.name}", "is no metric of the canary config"))
        elif (one.name, one.tags) in found:
            problems.append(Problem(f"{side}.{one.name}", "is there twice with the same tags"))
        found[one.name, one.tags] = one.values
    if problems:
        raise ConfigError(problems)
    return found


def _classify(metric: Metric, control: tuple[float, ...], experiment: tuple[float, ...]) -> Classification:
    if all(isfinite(value) for values in (control, experiment) for value in values):
        return classify(metric, control, experiment)
    return Classification(Label.ERROR, "a value is infinite", ratio=None)


def _plain(result: Result) -> dict[str, Any]:
    metric, found = result.metric, result.classification
    return {
        "name": metric.name,
        "tags": dict(result.tags),
        "groups": list(metric.groups),
        "classification": str(found.label),
        "classificationReason": found.reason,
        "critical": found.is_critical,
        "muted": metric.is_muted,
        "controlMetadata": {"stats": statistics_of(result.control)},
        "experimentMetadata": {"stats": statistics_of(result.experiment)},
        "resultMetadata": {
            "ratio": found.ratio,
            "effectSize": found.effect,
            "estimate": found.shift and found.shift.estimate,
            "confidenceInterval": found.shift and [found.shift.low, found.shift.high],
        },
    }


def statistics_of(values: Sequence[float]) -> dict[str, float | None]:
    """Least, greatest, mean, standard deviation and number of the values; None for what infinite values have not."""
    if not values:
        return {"min": 0.0, "max": 0.0, "mean": 0.0, "std": 0.0, "count": 0}
    if not all(isfinite(value) for value in values):
        return {"min": None, "max": None, "mean": None, "std": None, "count": len(values)}
    try:
        spread: float | None = stdev(values) if len(values) > 1 else 0.0
    except OverflowError:
        spread = None
    return {"min": min(values), "max": max(values), "mean": mean(values), "std": spread, "count": len(values)}
