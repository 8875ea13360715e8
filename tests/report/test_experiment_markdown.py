"""Markdown of an experiment."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from shadowproxy.report import experiment_markdown
from shadowproxy.report.markdown import LIMIT
from tests.report import experiment_samples as samples
from tests.report.test_experiment import RUNS
from tests.report.test_markup import Read


def test_a_comment_has_verdict_hypothesis_tests_and_cost() -> None:
    """In that order."""
    text = experiment_markdown.text(RUNS["refuted"]).replace("\u00a0", " ")
    heads = [
        text.index(words)
        for words in (
            "REFUTED: recommendations-down", "**Hypothesis:**", "| expectation |", "| errors of services | 24 | 1,187 |", "412 different units",
            "| 2026-09-21 13:58:20 UTC | started |", "Journal: `9f86",
        )
    ]  # fmt: skip
    assert heads == sorted(heads)


@pytest.mark.parametrize("name", RUNS)
def test_hostile_words_stay_words(name: str) -> None:
    """No element, no link, no picture, no mention; and every table is one."""
    text = experiment_markdown.text(RUNS[name])
    seen = Read(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    assert {element for element, _ in seen.elements} <= {
        "h3", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "code", "sub", "ul", "li", "em",
    }  # fmt: skip
    assert "\x1b" not in text
    assert "\u202e" not in text
    for block in text.split("\n\n"):
        rows = [line for line in block.splitlines() if line.startswith("|")]
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_a_comment_fits() -> None:
    """However much there is to say; what is left out is said."""
    events = [{"time": samples.STARTED, "seconds": 0.0, "event": "x" * 5000, "detail": "`" * 5000} for _ in range(500)]
    objections = [{"code": "c", "sentence": "y" * 5000, "is_overridden": True}] * 100
    text = experiment_markdown.text(samples.run(samples.document(timeline=events, admission=objections)))
    assert len(text) <= LIMIT
    assert "The rest is in the HTML and JSON reports" in text


def test_overridden_objections_are_told() -> None:
    """Break-glass is no secret."""
    assert "* Overridden: Fridays" in experiment_markdown.text(RUNS["killed"])
