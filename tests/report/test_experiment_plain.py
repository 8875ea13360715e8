"""The report of an experiment as JSON."""

from __future__ import annotations

import json

import jsonschema
import pytest

from shadowproxy.report import experiment_html, experiment_markdown, experiment_plain
from tests.report import experiment_samples as samples
from tests.report.test_experiment import RUNS


def refuse(name: str) -> float:
    """NaN and infinities are not JSON."""
    raise AssertionError(name)


def test_the_schema_is_one() -> None:
    """Valid itself."""
    jsonschema.Draft202012Validator.check_schema(experiment_plain.SCHEMA)


@pytest.mark.parametrize("name", RUNS)
def test_reports_are_as_described(name: str) -> None:
    """Every report fits the schema, and is strict JSON in ASCII whatever came from outside."""
    text = experiment_plain.text(RUNS[name])
    assert text.isascii()
    jsonschema.Draft202012Validator(experiment_plain.SCHEMA).validate(json.loads(text, parse_constant=refuse))


def test_nothing_of_the_run_is_lost() -> None:
    """The document is inside, whole; what was overridden is listed beside it."""
    found = experiment_plain.plain(RUNS["killed"])
    assert found["run"] == samples.killed()
    assert found["overridden"] == ["Fridays from 17:00 nothing is tried (weekend)."]
    assert (found["state"], found["verdict"], found["journal_head"]) == ("killed", "undecided", samples.HEAD)
    assert found["ended"].endswith("Z")
    assert experiment_plain.plain(RUNS["running"])["ended"] is None


def test_what_it_would_have_touched_is_in_every_report() -> None:
    """The sentence of the look back stands in the admission of page, comment and JSON; of a run without one nothing is made up."""
    said = "over the last 10,000 requests (37 s) this would have touched 312, 14 of them writes; <b>298</b> different units"
    run = samples.run(samples.document(look_back={"sentence": said, "requests": 10000}))
    assert experiment_plain.plain(run)["look_back"] == said
    page, comment = experiment_html.page(run), experiment_markdown.text(run)
    assert "would have touched 312, 14 of them writes; &lt;b&gt;298" in page
    assert "would have touched 312, 14 of them writes" in comment
    assert "<b>" not in comment
    assert experiment_plain.plain(RUNS["upheld"])["look_back"] == ""
