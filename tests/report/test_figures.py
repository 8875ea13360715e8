"""Which numbers go into which drawing."""

from __future__ import annotations

import pytest

from shadowproxy.report import figures
from shadowproxy.report.document import Subject
from tests.report import samples


def test_enough_answers_make_a_distribution() -> None:
    """Two drawings, each in two widths, each with a table that says the same."""
    made = figures.latency(samples.report(samples.verdict()).subjects[0])
    assert made.count("<svg") == 4
    assert made.count("The same as a table") == 2
    assert "7,000 answers of live" in made


@pytest.mark.parametrize("pairs", [1, 12, 29])
def test_few_answers_are_strokes(pairs: int) -> None:
    """No histogram out of chance."""
    made = figures.latency(samples.report(samples.undecided(), pairs=pairs).subjects[0])
    assert "too few for a distribution" in made


def test_nothing_to_draw_is_a_sentence() -> None:
    """No latency, no evidence, no decile: words, or nothing, but never an empty frame."""
    subject = Subject(samples.empty())
    assert figures.latency(subject).startswith("<p>")
    assert figures.evidence(subject) == "<p>No evidence has been recorded yet.</p>"
    assert figures.coverage(subject) is None
    assert figures.margins(Subject({})) is None
    assert "nothing measured yet" in (figures.margins(subject) or "")


def test_the_table_of_the_evidence_ends_where_it_stands_now() -> None:
    """Thinned, but with the last point."""
    verdict = samples.verdict()
    made = figures.evidence(Subject(verdict))
    assert made.count("<tr>") < 40
    assert f"{verdict['history'][-1][1]:,}" in made


def test_deciles_become_bars() -> None:
    """With their shares as a table."""
    made = figures.coverage(Subject(samples.verdict())) or ""
    assert "up to 12.0" in made
    assert made.count("<svg") == 2


def test_quantiles_without_live_are_left_out() -> None:
    """Nothing is divided by nothing."""
    verdict = samples.verdict(quantiles={"p50": {"live": None, "shadow": None}, "p90": {"live": 0.0, "shadow": 0.1}, "p99": None})
    assert figures.latency(samples.report(verdict).subjects[0]).count("<svg") == 4
