"""Tables of an experiment's page."""

from __future__ import annotations

from shadowproxy.report import experiment_tables as tables
from shadowproxy.report.experiment_checks import Of, checks
from tests.report import experiment_samples as samples
from tests.report.test_experiment import RUNS
from tests.report.test_markup import Read


def text(markup: object) -> str:
    """What a reader sees."""
    return Read(str(markup)).text.replace("\u00a0", " ")


def test_slices_side_by_side() -> None:
    """Counts, rates, latencies, and differences with their intervals."""
    shown = text(tables.slices(RUNS["refuted"]))
    for words in ("6,188", "1,187", "19.1 %", "+18.7 pp", "+16.1 to +21.4 pp", "+210 ms"):
        assert words in shown
    assert "No request of either slice was seen" in text(tables.slices(RUNS["idle"]))


def test_guards_say_how_near_they_came() -> None:
    """And which one ended the run."""
    shown = text(tables.guards(checks(RUNS["aborted"])))
    assert "✗ tripped" in shown
    assert "82 %" in shown
    assert "No guard has looked at anything" in text(tables.guards([]))


def test_expectations_and_steady_state() -> None:
    """With what was found and what had to be; or that there were none."""
    assert "On route shop it held for 12 of 960 answers, 1.25 %." in text(tables.held(checks(RUNS["refuted"]), Of.EXPECTATION, ""))
    assert "27.54 to 37.26" in text(tables.held(checks(RUNS["upheld"]), Of.STEADY, ""))
    assert text(tables.held([], Of.STEADY, "None.")) == "None."


def test_exposure_and_budget() -> None:
    """Who was hit and why others were not; a reason that is not known is shown as it is."""
    shown = text(tables.exposure(samples.run(samples.document(unharmed={"client_gone": 2, "new_reason": 1}))))
    assert "412 different units got it" in shown
    assert "its client left first" in shown
    assert "new reason" in shown
    assert "No fault happened" in text(tables.exposure(RUNS["idle"]))
    assert "1.2, at most 22.3" in text(tables.budget(RUNS["upheld"]))
    assert "no limit" in text(tables.budget(RUNS["upheld"]))
    assert tables.budget(RUNS["empty"]) == ""


def test_steps_are_shown_where_there_are_any() -> None:
    """A single step says nothing."""
    assert tables.ramp(RUNS["upheld"]) is None
    assert "safe" in text(tables.ramp(RUNS["ramped"]))


def test_a_timeline_over_days_has_dates() -> None:
    """One of a single day has none; one without an end is cut, and says so."""
    events = [
        {"time": samples.STARTED + at * 3600.0, "seconds": at * 3600.0, "event": "step", "detail": ""} for at in range(tables.ROWS + 5)
    ]
    assert "Sep 23" in text(tables.timeline(samples.run(samples.document(timeline=events))))
    assert "and 5 more" in text(tables.timeline(samples.run(samples.document(timeline=events))))
    assert "Sep" not in text(tables.timeline(RUNS["upheld"]))
    assert "Nothing has happened yet" in text(tables.timeline(RUNS["empty"]))


def test_overridden_objections_are_shown() -> None:
    """Break-glass is no secret."""
    assert "overridden (break-glass)" in text(tables.admission(RUNS["killed"]))
    assert tables.admission(RUNS["upheld"]) is None


def test_the_file_is_shown_without_defaults() -> None:
    """As a person would write it."""
    shown = text(tables.file(RUNS["upheld"]))
    assert '"percent": 2.0' in shown
    assert "x-envoy" not in shown
    assert "null" not in shown
    assert tables.file(RUNS["empty"]) is None


def test_the_head_of_the_journal_is_there() -> None:
    """For whoever holds the report against it later."""
    assert samples.HEAD in text(tables.evidence(RUNS["upheld"]))
