"""Drawings of an experiment's page."""

from __future__ import annotations

from shadowproxy.report import experiment_figures as figures
from tests.report import experiment_samples as samples
from tests.report.test_experiment import RUNS
from tests.report.test_markup import Read


def drawn(markup: object) -> list[str]:
    """What the drawings are called."""
    return [attributes["aria-label"] or "" for element, attributes in Read(str(markup)).elements if element == "svg"]


def test_latencies_lie_over_one_another() -> None:
    """In both widths; with few answers, as strokes; with none, as a sentence."""
    assert [one.partition(".")[0] for one in drawn(figures.latency(RUNS["upheld"]))] == ["Distribution of latency, control and fault"] * 2
    assert drawn(figures.latency(RUNS["running"])) == ["Single durations: 11 of control, 9 of fault."] * 2
    assert "No latencies to draw" in figures.latency(RUNS["idle"])


def test_three_charts_over_time() -> None:
    """Error rate, share and p99, each in both widths, and their numbers as a table."""
    titles = [one.partition(" over time.")[0] for one in drawn(figures.over_time(RUNS["ramped"]))]
    assert titles == ["error rate"] * 2 + ["share of the units with the fault"] * 2 + ["p99 to the last byte"] * 2
    assert "at most 2\u00a0%" in drawn(figures.over_time(RUNS["ramped"]))[2]
    assert "nothing to draw over time" in figures.over_time(RUNS["idle"])


def test_no_tails_no_chart_of_them() -> None:
    """When every answer was made up there are no latencies."""
    rows = [[float(at), 5, 0, 0, 0, 1.0, None, None] for at in range(10)]
    assert len(drawn(figures.over_time(samples.run(samples.document(result=samples.result(series=rows)))))) == 4


def test_gaps_stay_gaps() -> None:
    """Between two stretches with requests, one without is not drawn across."""
    rows = [[float(at), 0 if at == 5 else 9, 1, 9, 1, 1.0, 0.1, 0.1] for at in range(10)]
    page = str(figures.over_time(samples.run(samples.document(result=samples.result(series=rows)))))
    shadow = next(attributes["d"] or "" for element, attributes in Read(page).elements if attributes.get("class") == "line shadow")
    assert shadow.count("M") == 2
