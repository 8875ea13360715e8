"""The report of an experiment as JUnit XML: one suite, a case for the hypothesis and each expectation, steady state and guard.

What failed is a failure, an environment that was not well an error; what is undecided can be chosen, as in `report.junit`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from shadowproxy.report import numbers
from shadowproxy.report.checks import State
from shadowproxy.report.experiment import count
from shadowproxy.report.experiment_checks import checks
from shadowproxy.report.junit import Undecided
from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from shadowproxy.report.experiment import Run
    from shadowproxy.report.experiment_checks import Check


def text(run: Run, undecided: Undecided = Undecided.SKIPPED) -> str:
    """The document, with its declaration."""
    root = ET.Element("testsuites")
    root.append(_suite(run, undecided))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, "unicode")}\n'


def _suite(run: Run, undecided: Undecided) -> ET.Element:
    cases = [_case(run, one, undecided) for one in checks(run)]
    tags = [child.tag for case in cases for child in case]
    suite = ET.Element(
        "testsuite",
        name=visible(run.name),
        package="shadowproxy",
        id="0",
        timestamp=numbers.rfc3339(run.made_at if run.started is None else run.started).removesuffix("Z"),
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped=str(tags.count("skipped")),
        time=f"{run.lasted or 0.0:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("verdict", str(run.verdict)), ("state", str(run.state)), ("run", run.id), ("owner", run.word("owner")), ("approved_by", run.word("approved_by")),
        ("units", str(count(run.document.get("units")))), ("program", run.program),
    ):  # fmt: skip
        ET.SubElement(properties, "property", name=name, value=visible(value))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = visible(f"{run.hypothesis}\n{run.sentence}\n{run.word('reason')}")
    ET.SubElement(suite, "system-err")
    return suite


def _case(run: Run, check: Check, undecided: Undecided) -> ET.Element:
    case = ET.Element("testcase", name=visible(f"{check.of}: {check.name}"), classname=visible(run.name), time="0")
    said, details = visible(check.sentence), visible(f"found: {check.found}\nbound: {check.bound}")
    if check.state is State.INVALID:
        ET.SubElement(case, "error", message=said, type="ENVIRONMENT").text = details
    elif check.state is State.FAILED:
        ET.SubElement(case, "failure", message=said, type=str(check.of)).text = details
    elif check.state is State.UNDECIDED and undecided is Undecided.FAILED:
        ET.SubElement(case, "failure", message=said, type="UNDECIDED").text = details
    elif check.state is State.UNDECIDED and undecided is Undecided.SKIPPED:
        ET.SubElement(case, "skipped")
    return case
