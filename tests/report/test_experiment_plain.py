"""The report of an experiment as JSON."""

from __future__ import annotations

import json

import jsonschema
import pytest

from shadowproxy.report import experiment_plain
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
