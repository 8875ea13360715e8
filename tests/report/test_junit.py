"""JUnit XML that CI servers read."""

from __future__ import annotations

import re
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from shadowproxy.report import junit
from shadowproxy.report.junit import Undecided
from tests.report import samples

ALL = (samples.verdict(), samples.safe(), samples.undecided(), samples.invalid(), samples.empty(), samples.hostile())

# The rules that the schemas in use (Ant's, Jenkins', Surefire's) have in common, in the order of the strictest.
SUITE = {"name", "package", "id", "timestamp", "hostname", "tests", "failures", "errors", "skipped", "time"}
CHILDREN = ["properties", "testcase", "system-out", "system-err"]


def suites(*verdicts: dict[str, Any], undecided: Undecided = Undecided.SKIPPED) -> list[ET.Element]:
    """The suites of a report, checked against the rules."""
    root = ET.fromstring(junit.text(samples.report(*verdicts, pairs=5), undecided).encode())
    assert root.tag == "testsuites"
    for at, suite in enumerate(root):
        assert suite.tag == "testsuite"
        assert set(suite.attrib) == SUITE
        assert suite.get("id") == str(at)
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", suite.get("timestamp", ""))
        assert float(suite.get("time", "x")) >= 0
        order = [CHILDREN.index(child.tag) for child in suite]
        assert order == sorted(order)
        cases = suite.findall("testcase")
        assert int(suite.get("tests", "0")) == len(cases)
        for name, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
            assert int(suite.get(name, "x")) == len(suite.findall(f"testcase/{tag}"))
        assert len({case.get("name") for case in cases}) == len(cases)
        for case in cases:
            assert set(case.attrib) == {"name", "classname", "time"}
            assert len(case) <= 1
            assert all(child.get("message") and child.get("type") for child in case if child.tag in {"failure", "error"})
        assert all(set(one.attrib) == {"name", "value"} for one in suite.findall("properties/property"))
    return list(root)


def ended(suite: ET.Element) -> dict[str, str]:
    """How each case of a suite ended."""
    return {case.get("name", ""): case[0].tag if len(case) else "passed" for case in suite.findall("testcase")}


def test_each_verdict_is_a_valid_suite() -> None:
    """A suite a mirror, in order."""
    assert len(suites(*ALL)) == len(ALL)


def test_a_regression_is_a_failure() -> None:
    """Of the test that is its cause, with the numbers in its text."""
    (suite,) = suites(samples.verdict())
    assert ended(suite) == {
        "errors": "failure", "latency": "skipped", "slo:250ms": "skipped", "slo:1s": "passed", "bodies": "passed", "coverage": "passed",
        "instrument": "passed",
    }  # fmt: skip
    failure = suite.find("testcase/failure")
    assert failure is not None
    assert failure.get("type") == "REGRESSION"
    assert "interval" in (failure.text or "")


def test_an_invalid_verdict_is_an_error() -> None:
    """Of the instrument."""
    (suite,) = suites(samples.invalid())
    assert ended(suite)["instrument"] == "error"


@pytest.mark.parametrize(("choice", "tag"), [(Undecided.SKIPPED, "skipped"), (Undecided.FAILED, "failure"), (Undecided.PASSED, "passed")])
def test_what_undecided_is_can_be_chosen(choice: Undecided, tag: str) -> None:
    """Skipped unless told."""
    (suite,) = suites(samples.undecided(), undecided=choice)
    assert ended(suite)["latency"] == tag


def test_safe_has_neither_failures_nor_errors() -> None:
    """What CI needs to be green."""
    (suite,) = suites(samples.safe())
    assert (suite.get("failures"), suite.get("errors")) == ("0", "0")
    assert ended(suite)["errors"] == ended(suite)["latency"] == "passed"
