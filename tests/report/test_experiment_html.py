"""The page of an experiment: whole, self-contained, and not to be broken into."""

from __future__ import annotations

import re
from base64 import b64encode
from hashlib import sha256

import pytest
from hypothesis import given, settings

from shadowproxy.report import experiment_html
from shadowproxy.report.experiment import Run
from tests.report import experiment_samples as samples
from tests.report.samples import HOSTILE, NOW
from tests.report.test_experiment import RUNS, documents
from tests.report.test_markup import Read

ELEMENTS = {
    "html", "head", "meta", "title", "link", "style", "body", "header", "main", "footer", "section", "h1", "h2", "h3", "p", "span", "strong", "code",
    "pre", "ul", "li", "dl", "dt", "dd", "div", "table", "caption", "thead", "tbody", "tr", "th", "td", "figure", "figcaption", "details", "summary",
    "svg", "g", "path", "line", "circle", "text",
}  # fmt: skip


@pytest.mark.parametrize("name", RUNS)
def test_a_page_needs_nothing_else(name: str) -> None:
    """No script, no handler, no address that is fetched; its policy allows its own style and nothing more."""
    page = experiment_html.page(RUNS[name])
    seen = Read(page).elements
    assert {element for element, _ in seen} <= ELEMENTS
    for element, attributes in seen:
        assert not any(attribute.startswith("on") or attribute in {"style", "src", "srcset", "action"} for attribute in attributes)
        assert attributes.get("href", "data:,") == "data:,", element
    policy = next(attributes["content"] or "" for _, attributes in seen if attributes.get("http-equiv") == "Content-Security-Policy")
    style = re.search(r"<style>(.*)</style>", page, re.DOTALL)
    assert style is not None
    assert f"style-src 'sha256-{b64encode(sha256(style[1].encode()).digest()).decode()}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"\bNone\b|\bnan\b|\binf\b", Read(page).text), name


def test_hostile_words_are_shown_and_do_nothing() -> None:
    """They appear as text, where they belong, and bring no element with them."""
    hostile = Read(experiment_html.page(RUNS["hostile"]))
    assert hostile.text.count("<script>alert(1)</script>") > 20
    assert "\u202e" not in hostile.text
    assert {element for element, _ in hostile.elements} <= ELEMENTS


@pytest.mark.parametrize("name", ["upheld", "refuted", "aborted", "environment", "expired", "killed"])
def test_the_banner_says_what_why_and_what_to_do(name: str) -> None:
    """The verdict, its sentence, how the run ended, who allowed it, and the advice."""
    run = RUNS[name]
    text = Read(experiment_html.page(run)).text
    for words in (run.verdict.upper(), run.sentence, run.word("reason"), experiment_html.ADVICE[run.verdict], run.hypothesis):
        assert words in text
    assert ("nobody" in text) == (not run.word("approved_by"))
    assert f"<title>{run.verdict.upper()}: recommendations-down</title>" in experiment_html.page(run)


def test_a_run_that_a_guard_ended_is_not_to_be_run_longer() -> None:
    """Also when too little was seen for a verdict; and a reason that the verdict states is not said twice."""
    found = samples.aborted()
    found["result"] |= {"verdict": "undecided", "sentence": f"it was stopped: {found['reason']}"}
    page = Read(experiment_html.page(samples.run(found))).text
    assert experiment_html.TRIPPED in page
    assert "run it longer" not in page
    assert page.count(found["reason"]) == 1


def test_a_fault_that_was_not_contained_has_advice_of_its_own() -> None:
    """And the page shows the other cells; where nothing was to be contained it does not."""
    found = experiment_html.page(RUNS["uncontained"])
    assert experiment_html.LEAKED in found
    assert "<h2>Other cells</h2>" in found
    assert "<h2>Other cells</h2>" not in experiment_html.page(RUNS["upheld"])


def test_a_run_that_is_not_over_has_no_advice() -> None:
    """It would be too early."""
    assert "What to do" not in experiment_html.page(RUNS["running"])
    assert "has not begun" in experiment_html.page(RUNS["draft"])


def test_units_that_a_file_lists_are_in_the_file_alone() -> None:
    """The page counts them; only the file that is folded up at its end has them, as its author wrote it."""
    page = experiment_html.page(RUNS["upheld"])
    assert "vip-1" not in page.partition("Show the file")[0]


def test_a_page_is_of_a_size_to_send_around() -> None:
    """Under 150 KB with 600 points."""
    assert max(len(experiment_html.page(run).encode()) for run in RUNS.values()) < 150_000


@settings(max_examples=15)
@given(documents())
def test_any_document_becomes_a_page(found: dict[str, object]) -> None:
    """However broken: nothing raises, and nothing breaks out."""
    page = experiment_html.page(Run(found, NOW, HOSTILE))
    assert {element for element, _ in Read(page).elements} <= ELEMENTS


def test_builders_are_documents_of_one_form() -> None:
    """The samples have every member that the API's document has."""
    assert set(samples.upheld()) == set(samples.aborted()) == set(samples.killed())
