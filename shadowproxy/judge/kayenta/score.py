"""From classified metrics to one score: groups, weights, and what fails a canary outright (STATISTICS C13)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.kayenta.classify import Label

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.judge.kayenta.classify import Classification

NODATA_LIMIT: Final = 50.0
"""Percent of metrics without data from which a canary fails."""

COUNTED: Final = (Label.PASS, Label.HIGH, Label.LOW, Label.NODATA_FAIL)
"""What a group's score is a share of: metrics without data and metrics that could not be classified are left out."""


class Outcome(StrEnum):
    """What becomes of a canary."""

    PASS = "Pass"  # noqa: S105  a verdict, not a password
    MARGINAL = "Marginal"
    FAIL = "Fail"


@dataclass(frozen=True, slots=True)
class Group:
    """One group's score from 0 to 100; `has_data` is false when no metric of it counts, and then it weighs in as 100."""

    name: str
    score: float
    has_data: bool
    weight: float


@dataclass(frozen=True, slots=True)
class Score:
    """The summary from 0 to 100, what made it 0 if something did, and the groups by name."""

    score: float
    reason: str
    groups: tuple[Group, ...]


def score(results: Sequence[tuple[Sequence[str], Classification]], weights: Mapping[str, float]) -> Score:
    """Score metrics that are not muted.

    Args:
        results: of each metric, its groups and its classification.
        weights: percent by group. Groups without one share what is left of 100.

    """
    labels: dict[str, list[Label]] = {}
    for names, result in results:
        for name in names:
            labels.setdefault(name, []).append(result.label)
    unweighted = [name for name in labels if name not in weights]
    rest = (100 - sum(weights.values())) / len(unweighted) if unweighted else 0.0
    groups = tuple(_group(name, labels[name], weights.get(name, rest)) for name in sorted(labels))
    critical = next((result for _, result in results if result.is_critical and result.label is not Label.PASS), None)
    if critical is not None:
        return Score(0.0, f"a critical metric failed: {critical.label}, {critical.reason}", groups)
    nodata = sum(result.label is Label.NODATA for _, result in results)
    if results and nodata / len(results) * 100 >= NODATA_LIMIT:
        return Score(0.0, f"{nodata} of {len(results)} metrics have no data: {NODATA_LIMIT:.0f} % or more", groups)
    total = sum((group.score if group.has_data else 100.0) * (group.weight / 100) for group in groups)
    return Score(rounded(total), "", groups)


def _group(name: str, labels: Sequence[Label], weight: float) -> Group:
    counts = Counter(labels)
    total = sum(counts[label] for label in COUNTED)
    return Group(name, counts[Label.PASS] / total * 100 if total else 0.0, total > 0, weight)


def rounded(value: float) -> float:
    """To two decimals, halves away from zero: of the number as it is written, not of its binary neighbour."""
    return float(Decimal(repr(value)).quantize(Decimal("0.01"), ROUND_HALF_UP))


def outcome(value: float, pass_at: float, marginal_at: float) -> Outcome:
    """What a score means; a score at a threshold reaches it."""
    if value >= pass_at:
        return Outcome.PASS
    return Outcome.MARGINAL if value >= marginal_at else Outcome.FAIL
