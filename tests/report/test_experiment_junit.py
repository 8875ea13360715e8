"""JUnit XML of an experiment."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from shadowproxy.report import experiment_junit
from shadowproxy.report.junit import Undecided
from tests.report.test_experiment import RUNS
from tests.report.test_junit import CHILDREN, SUITE


def suite(name: str, undecided: Undecided = Undecided.SKIPPED) -> ET.Element:
    """The suite of a run, checked against the rules that the schemas in use have in common."""
    (found,) = ET.fromstring(experiment_junit.text(RUNS[name], undecided).encode())
    assert set(found.attrib) == SUITE
    order = [CHILDREN.index(child.tag) for child in found]
    assert order == sorted(order)
    cases = found.findall("testcase")
    assert found.get("tests") == str(len(cases))
    for count, tag in (("failures", "failure"), ("errors", "error"), ("skipped", "skipped")):
        assert found.get(count) == str(len(found.findall(f"testcase/{tag}")))
    assert len({case.get("name") for case in cases}) == len(cases)
    assert all(child.get("message") and child.get("type") for case in cases for child in case if child.tag != "skipped")
    return found


@pytest.mark.parametrize("name", RUNS)
def test_each_run_is_a_valid_suite(name: str) -> None:
    """Whatever its document holds."""
    suite(name)


def test_guards_expectations_and_steady_state_are_cases() -> None:
    """All pass when it is upheld; what failed is a failure with its numbers."""
    found = suite("upheld")
    assert (found.get("tests"), found.get("failures"), found.get("errors"), found.get("skipped")) == ("7", "0", "0", "0")
    failed = {case.get("name", "").partition(":")[0] for case in suite("refuted").findall("testcase") if case.find("failure") is not None}
    assert failed == {"hypothesis", "expectation", "steady state"}
    tripped = suite("aborted").find("testcase/failure[@type='guard']")
    assert tripped is not None
    assert "17.2" in (tripped.text or "")


def test_an_environment_that_was_not_well_is_an_error() -> None:
    """It says nothing about the service."""
    assert suite("environment").get("errors") == "1"


@pytest.mark.parametrize(("choice", "failures"), [(Undecided.SKIPPED, "0"), (Undecided.FAILED, "1"), (Undecided.PASSED, "0")])
def test_what_undecided_is_can_be_chosen(choice: Undecided, failures: str) -> None:
    """Skipped unless told."""
    found = suite("killed", choice)
    assert found.get("failures") == failures
    assert found.get("skipped") == str(int(choice is Undecided.SKIPPED))
