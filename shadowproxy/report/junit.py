"""The report as JUnit XML, which every CI server shows: a suite a mirror, a case a test of its verdict.

A failed test is a failure, an invalid one an error. What an undecided one is can be chosen: skipped (the
default), a failure, or passed. Suites come with all the attributes that the strictest of the schemas in use asks for
(Ant's, as published by Windy Road): name, package, id, timestamp, hostname, counts and time.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from shadowproxy.report import numbers
from shadowproxy.report.checks import ADVICE, State, checks
from shadowproxy.report.document import number
from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from shadowproxy.report.checks import Check
    from shadowproxy.report.document import Report, Subject


class Undecided(StrEnum):
    """What a test that is undecided counts as."""

    SKIPPED = "skipped"
    FAILED = "failed"
    PASSED = "passed"


def text(report: Report, undecided: Undecided = Undecided.SKIPPED) -> str:
    """The document, with its declaration."""
    root = ET.Element("testsuites")
    for at, subject in enumerate(report.subjects):
        root.append(_suite(report, subject, at, undecided))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, "unicode")}\n'


def _suite(report: Report, subject: Subject, at: int, undecided: Undecided) -> ET.Element:
    since = number(subject.verdict.get("since"))
    found = [(one, _case(subject, one, undecided)) for one in checks(subject)]
    tags = [child.tag for _, case in found for child in case]
    suite = ET.Element(
        "testsuite",
        name=visible(subject.name),
        package="shadowproxy",
        id=str(at),
        timestamp=numbers.rfc3339(report.made_at).removesuffix("Z"),
        hostname="localhost",
        tests=str(len(found)),
        failures=str(tags.count("failure")),
        errors=str(tags.count("error")),
        skipped=str(tags.count("skipped")),
        time=f"{max(0.0, report.made_at - since) if since is not None else 0.0:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (
        ("verdict", subject.state), ("pairs", str(subject.count("pairs"))), ("coverage", str(number(subject.verdict.get("coverage")))),
        ("epoch", str(subject.verdict.get("epoch", ""))), ("program", report.program),
    ):  # fmt: skip
        ET.SubElement(properties, "property", name=name, value=visible(value))
    suite.extend(case for _, case in found)
    ET.SubElement(suite, "system-out").text = visible(f"{subject.verdict.get('summary', '')}\n{ADVICE[subject.state]}")
    ET.SubElement(suite, "system-err")
    return suite


def _case(subject: Subject, check: Check, undecided: Undecided) -> ET.Element:
    case = ET.Element("testcase", name=visible(check.name), classname=visible(subject.name), time="0")
    said = visible(check.sentence)
    details = "\n".join(
        f"{name}: {value}"
        for name, value in (
            ("live", check.live), ("shadow", check.shadow), ("difference", check.difference), ("interval", check.interval),
            ("safe below", check.safe), ("worse above", check.worse),
        )
        if value
    )  # fmt: skip
    if check.state is State.INVALID:
        ET.SubElement(case, "error", message=said, type="INVALID").text = details
    elif check.state is State.FAILED:
        ET.SubElement(case, "failure", message=said, type="REGRESSION").text = details
    elif check.state is State.UNDECIDED and undecided is Undecided.FAILED:
        ET.SubElement(case, "failure", message=said, type="UNDECIDED").text = details
    elif check.state is State.UNDECIDED and undecided is Undecided.SKIPPED:
        ET.SubElement(case, "skipped")
    return case
