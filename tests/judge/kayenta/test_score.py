"""Scores: groups, weights, rounding, and what makes a score 0."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.kayenta.classify import Classification, Label
from shadowproxy.judge.kayenta.score import Outcome, outcome, rounded, score

labels = st.sampled_from([Label.PASS, Label.HIGH, Label.LOW, Label.NODATA_FAIL])


def result(label: Label, *groups: str, is_critical: bool = False) -> tuple[tuple[str, ...], Classification]:
    """One metric's result."""
    return groups, Classification(label, "so it is", is_critical)


@pytest.mark.parametrize(
    ("results", "weights", "expected"),
    [
        ([result(Label.PASS, "a")], {}, 100.0),
        ([result(Label.HIGH, "a")], {}, 0.0),
        ([result(Label.PASS, "a"), result(Label.HIGH, "a")], {}, 50.0),
        ([result(Label.PASS, "a"), result(Label.HIGH, "a"), result(Label.LOW, "a")], {}, 33.33),
        ([result(Label.PASS, "a"), result(Label.PASS, "a"), result(Label.HIGH, "b")], {"a": 75.0, "b": 25.0}, 75.0),
        ([result(Label.PASS, "a"), result(Label.HIGH, "a"), result(Label.HIGH, "b")], {"a": 50.0, "b": 50.0}, 25.0),
        ([result(Label.PASS, "a"), result(Label.HIGH, "b"), result(Label.PASS, "c")], {"a": 40.0}, 70.0),
        ([result(Label.PASS, "a", "b"), result(Label.HIGH, "b")], {}, 75.0),
        ([result(Label.PASS, "a"), result(Label.NODATA, "a"), result(Label.PASS, "b")], {}, 100.0),
        ([result(Label.HIGH, "a"), result(Label.PASS, "a"), result(Label.NODATA, "b")], {}, 75.0),
        ([result(Label.PASS, "a"), result(Label.NODATA_FAIL, "a")], {}, 50.0),
        ([result(Label.PASS, "a"), result(Label.ERROR, "a")], {}, 100.0),
        ([result(Label.PASS, "a"), result(Label.HIGH, "a", is_critical=True)], {}, 0.0),
        ([result(Label.LOW, "a"), result(Label.PASS, "a", is_critical=True)], {}, 50.0),
        ([result(Label.NODATA, "a")], {}, 0.0),
        ([result(Label.PASS, "a"), result(Label.NODATA, "b")], {}, 0.0),
        ([], {}, 0.0),
    ],
)
def test_scores(results: list[tuple[tuple[str, ...], Classification]], weights: dict[str, float], expected: float) -> None:
    """Passed of counted, by group; unweighted groups share the rest; no data weighs in as 100, but half of it is a failure."""
    assert score(results, weights).score == expected


def test_a_score_of_zero_says_why() -> None:
    """A critical failure with its reason; too little data with the numbers."""
    assert score([result(Label.HIGH, "a", is_critical=True)], {}).reason == "a critical metric failed: High, so it is"
    assert score([result(Label.PASS, "a"), result(Label.NODATA, "b")], {}).reason == "1 of 2 metrics have no data: 50 % or more"
    assert score([result(Label.PASS, "a")], {}).reason == ""


def test_groups_carry_their_weights() -> None:
    """By name, with what each weighed."""
    groups = score([result(Label.PASS, "b"), result(Label.HIGH, "a"), result(Label.NODATA, "c")], {"b": 60.0}).groups
    assert [(group.name, group.score, group.has_data, group.weight) for group in groups] == [
        ("a", 0.0, True, 20.0),
        ("b", 100.0, True, 60.0),
        ("c", 0.0, False, 20.0),
    ]


@given(st.lists(st.tuples(labels, st.sampled_from("abc")), min_size=1))
def test_a_score_is_from_0_to_100_and_falls_with_failures(listed: list[tuple[Label, str]]) -> None:
    """And one more failing metric never raises it."""
    results = [result(label, group) for label, group in listed]
    before = score(results, {}).score
    assert 0 <= before <= 100
    assert score([*results, result(Label.HIGH, listed[0][1])], {}).score <= before


@pytest.mark.parametrize(("value", "expected"), [(33.333333, 33.33), (66.665, 66.67), (0.125, 0.13), (1.005, 1.01), (100.0, 100.0)])
def test_halves_are_rounded_up_as_they_are_written(value: float, expected: float) -> None:
    """1.005 is 1.01, though its binary neighbour is below the half."""
    assert rounded(value) == expected


def test_a_score_at_a_threshold_reaches_it() -> None:
    """Both thresholds are inclusive."""
    assert [outcome(value, 95, 75) for value in (95, 94.99, 75, 74.99)] == [Outcome.PASS, Outcome.MARGINAL, Outcome.MARGINAL, Outcome.FAIL]
