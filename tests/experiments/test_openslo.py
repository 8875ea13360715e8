"""OpenSLO documents as objectives of experiments."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import ConfigError
from shadowproxy.experiments.openslo import read_objectives

DOCUMENT = """\
apiVersion: openslo/v1
kind: SLO
metadata:
  name: checkout
  labels: {team: [shop]}
spec:
  description: what customers feel
  service: shop
  indicatorRef: checkout-errors
  timeWindow:
    - duration: 28d
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - displayName: good
      target: 0.995
    - targetPercent: 99.9
"""


def problems(text: str) -> list[str]:
    """What is wrong with a document."""
    with pytest.raises(ConfigError) as caught:
        read_objectives(text, file="slo.yaml")
    return [str(problem) for problem in caught.value.problems]


def test_objectives_the_strictest_first() -> None:
    """Targets as percent, the window in seconds."""
    found = read_objectives(DOCUMENT)
    assert [(one.name, float(one.slo.target), one.note) for one in found] == [("checkout", 99.9, ""), ("checkout: good", 99.5, "")]
    assert {float(one.slo.period) for one in found} == {28 * 86400.0}


def test_slices_of_time_are_translated_on_the_safe_side() -> None:
    """99 % of slices, each of 95 % good answers: 1 % of slices with a twentieth bad are 0.05 % of all answers."""
    text = DOCUMENT.replace("Occurrences", "Timeslices").replace(
        "target: 0.995", "target: 0.99\n      timeSliceTarget: 0.95\n      timeSliceWindow: 5m"
    )
    (found,) = read_objectives(text.replace("    - targetPercent: 99.9\n", ""))
    assert found.slo.target == pytest.approx(99.95)
    assert "counts slices of time" in found.note
    assert "timeSliceTarget: expected a number above 0 and below 1, got None" in problems(DOCUMENT.replace("Occurrences", "Timeslices"))[0]
    assert "averages over slices" in read_objectives(DOCUMENT.replace("Occurrences", "RatioTimeslices"))[0].note


@pytest.mark.parametrize(("duration", "days"), [("1w", 7), ("1M", 30), ("1Q", 90), ("1Y", 365), ("12h", 0.5)])
def test_windows(duration: str, days: float) -> None:
    """In all units of OpenSLO; a calendar month is thirty days."""
    text = DOCUMENT.replace("28d", duration).replace("isRolling: true", "calendar: {startTime: 2026-01-01 00:00:00, timeZone: UTC}")
    assert read_objectives(text)[0].slo.period == days * 86400


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("openslo/v1", "openslo/v1alpha", "slo.yaml:1:13: apiVersion: expected openslo/v1, got 'openslo/v1alpha'"),
        ("kind: SLO", "kind: SLI", "slo.yaml:2:7: kind: expected SLO, got 'SLI'"),
        ("name: checkout", "displayName: checkout", "metadata.name: names no SLO"),
        ("  budgetingMethod: Occurrences", "  budgetingMethod: Some", "spec.budgetingMethod: expected one of Occurrences, Timeslices"),
        ("  budgetingMethod:", "  budgetMethod:", "did you mean 'budgetingMethod'?"),
        ("duration: 28d", "duration: 28 days", "spec.timeWindow[0].duration: expected a duration such as 28d or 1M"),
        ("duration: 28d", "duration: 0d", "spec.timeWindow[0].duration: expected a duration such as 28d or 1M"),
        ("isRolling: true", "isRolling: false", "spec.timeWindow[0]: give isRolling: true, or a calendar"),
        ("    - duration: 28d\n      isRolling: true", "    []", "spec.timeWindow: expected a list of one"),
        ("target: 0.995", "target: 99.5", "spec.objectives[0].target: expected a number above 0 and below 1, got 99.5"),
        ("targetPercent: 99.9", "targetPercent: 100", "spec.objectives[1].targetPercent: expected a number above 0 and below 100, got 100"),
        ("target: 0.995", "target: true", "spec.objectives[0].target: expected a number"),
        ("target: 0.995", "target: 0.9\n      targetPercent: 90", "spec.objectives[0]: give one of target and targetPercent"),
        ("target: 0.995", "goal: 0.9", "spec.objectives[0].goal: OpenSLO v1 has no such field here"),
    ],
)
def test_what_is_not_understood_is_told_with_its_place(old: str, new: str, problem: str) -> None:
    """Nothing is guessed: an objective that is read wrongly is a budget that is not there."""
    assert old in DOCUMENT
    assert any(problem in shown for shown in problems(DOCUMENT.replace(old, new)))


@pytest.mark.parametrize(
    "text", ["", "[]", "1", "a: [", "{apiVersion: openslo/v1, kind: SLO}", "{apiVersion: openslo/v1, kind: SLO, metadata: [], spec: 1}"]
)
def test_what_is_no_document(text: str) -> None:
    """It is refused in order."""
    assert problems(text)


@given(st.integers(0, len(DOCUMENT) - 1), st.sampled_from(["", ":", "- ", "{", "0", "null", "\n"]))
def test_damaged_documents_are_read_or_refused(at: int, damage: str) -> None:
    """No damage makes reading fail in another way."""
    with contextlib.suppress(ConfigError):
        read_objectives(DOCUMENT[:at] + damage + DOCUMENT[at + 1 :])
