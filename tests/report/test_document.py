"""Gathering what the admin API returned."""

from __future__ import annotations

from math import inf, log, nan

import pytest

from shadowproxy.report.document import Report, Subject, ends, gather, number, shared
from tests.report import samples


def test_mirrors_find_their_comparison_and_examples() -> None:
    """By route and mirror; what belongs to another mirror stays away."""
    report = samples.report(samples.verdict(), samples.safe())
    first, second = report.subjects
    assert first.name == "orders/v2"
    assert [one["id"] for one in first.exemplars] == ["a1"]
    assert second.exemplars == ()
    assert sum(first.live.values()) == 7000
    assert first.fleets == ("live", "shadow")


def test_the_worst_verdict_counts() -> None:
    """INVALID before REGRESSION before UNDECIDED before SAFE."""
    assert samples.report(samples.safe()).worst == "SAFE"
    assert samples.report(samples.safe(), samples.undecided()).worst == "UNDECIDED"
    assert samples.report(samples.undecided(), samples.verdict()).worst == "REGRESSION"
    assert samples.report(samples.verdict(), samples.invalid()).worst == "INVALID"
    assert Report(0.0, "", ()).worst == "UNDECIDED"


def test_a_verdict_of_another_kind_is_not_trusted() -> None:
    """What is not a verdict that we know counts as INVALID, never as good."""
    assert Subject({"verdict": "FINE"}).state == "INVALID"
    assert Subject({}).state == "INVALID"


def test_thresholds_have_defaults() -> None:
    """From alpha and beta, else from the usual five percent."""
    assert Subject({"alpha": 0.01, "beta": 0.1}).regression_threshold == pytest.approx(log(100))
    assert Subject({"alpha": 0.01, "beta": 0.1}).safe_threshold == pytest.approx(log(10))
    assert Subject({}).safe_threshold == pytest.approx(log(20))
    assert Subject(samples.verdict()).regression_threshold == pytest.approx(log(20))


@pytest.mark.parametrize("value", [None, "1", nan, inf, True, [1]])
def test_what_is_no_number_is_none(value: object) -> None:
    """Also nan and infinity."""
    assert number(value) is None


def test_intervals() -> None:
    """Anything but two ends is an interval that is open on both sides."""
    assert ends([1, 2.5]) == (1.0, 2.5)
    assert ends([None, 2]) == (None, 2.0)
    wrong: tuple[object, ...] = (None, 5, [1], "ab", {})
    assert {ends(value) for value in wrong} == {(None, None)}


def test_both_directions_of_a_transition_are_one() -> None:
    """The one with more evidence, which the judge lists first."""
    there = {"live": "200", "shadow": "504", "count": 22, "reverse": 3}
    back = {"live": "504", "shadow": "200", "count": 3, "reverse": 22}
    assert Subject({"errors": {"transitions": [there, back, None]}}).transitions == [there]
    assert Subject({"errors": {"transitions": None}}).transitions == []


def test_parts_that_are_missing_are_empty() -> None:
    """Null and absent are the same."""
    subject = Subject({"control": None, "fields": None})
    assert (subject.part("control"), subject.part("x"), subject.parts("fields"), subject.count("pairs"), subject.live) == (
        {},
        {},
        [],
        0,
        {},
    )


def test_the_config_shows_what_a_verdict_is_about_and_nothing_secret() -> None:
    """Endpoints, routes with mirrors, margins; no header that is set, no file, no token."""
    shown = shared(samples.CONFIG)
    assert shown["fleets"]["shadow"] == {"endpoints": ["http://127.0.0.1:9002"]}
    assert shown["routes"] == [
        {
            "name": "orders",
            "match": {"path": "/orders"},
            "live": "live",
            "mirror": [{"to": "shadow", "percent": 25.0, "judge": {"alpha": 0.05}}],
        }
    ]
    assert "secret" not in str(shown)
    assert shared({}) == {}


def test_documents_may_be_empty() -> None:
    """No verdict, no comparison: an empty report."""
    assert gather({}, {}, made_at=0.0, program="p").subjects == ()
