"""The report as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import jsonschema
import pytest

from shadowproxy.report import plain
from tests.report import samples

if TYPE_CHECKING:
    from shadowproxy.report.document import Report


def test_the_schema_is_one() -> None:
    """Valid itself."""
    jsonschema.Draft202012Validator.check_schema(plain.SCHEMA)


@pytest.mark.parametrize(
    "report",
    [
        samples.report(),
        samples.report(samples.verdict(), samples.empty()),
        samples.report(samples.hostile(), exemplars=(samples.hostile_exemplar(),)),
    ],
)
def test_reports_are_as_described(report: Report) -> None:
    """Every report fits the schema, and is ASCII whatever came from traffic."""
    text = plain.text(report)
    assert text.isascii()
    document = json.loads(text)
    jsonschema.Draft202012Validator(plain.SCHEMA).validate(document)
    assert document == json.loads(json.dumps(plain.plain(report)))


def test_it_has_the_verdict_the_tests_and_everything_behind_them() -> None:
    """Nothing of the verdict document is lost."""
    verdict = samples.verdict()
    (mirror,) = plain.plain(samples.report(verdict))["mirrors"]
    assert mirror["evidence"] == verdict
    assert mirror["verdict"] == "REGRESSION"
    assert {one["name"]: one["state"] for one in mirror["tests"]}["errors"] == "failed"
    assert mirror["exemplars"][0]["id"] == "a1"
