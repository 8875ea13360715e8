"""An audit as JUnit XML: a suite a route, a case a probe; what was not asked is skipped.

Suites come with all the attributes that the strictest of the schemas in use asks for, as those of `report.junit` do.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING
from xml.etree import ElementTree as ET

from shadowproxy.report.markup import visible

if TYPE_CHECKING:
    from shadowproxy.audit.fates import Result
    from shadowproxy.audit.outcome import Outcome
    from shadowproxy.audit.plan import Skipped


def text(outcome: Outcome) -> str:
    """The document, with its declaration."""
    root = ET.Element("testsuites")
    routes = dict.fromkeys([*(result.probe.route for result in outcome.results), *(one.route for one in outcome.skipped)])
    for at, route in enumerate(routes):
        root.append(_suite(outcome, route, at))
    ET.indent(root)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{ET.tostring(root, "unicode")}\n'


def _suite(outcome: Outcome, route: str, at: int) -> ET.Element:
    cases = [_case(result) for result in outcome.results if result.probe.route == route]
    cases += [_skipped(one, is_failure=outcome.is_strict) for one in outcome.skipped if one.route == route]
    tags = [child.tag for case in cases for child in case]
    suite = ET.Element(
        "testsuite",
        name=visible(route),
        package="shadowproxy.audit",
        id=str(at),
        timestamp=datetime.fromtimestamp(outcome.began, UTC).strftime("%Y-%m-%dT%H:%M:%S"),
        hostname="localhost",
        tests=str(len(cases)),
        failures=str(tags.count("failure")),
        errors="0",
        skipped=str(tags.count("skipped")),
        time=f"{outcome.seconds:.3f}",
    )
    properties = ET.SubElement(suite, "properties")
    for name, value in (("run", outcome.run), ("tenant", outcome.tenant)):
        ET.SubElement(properties, "property", name=name, value=visible(value))
    suite.extend(cases)
    ET.SubElement(suite, "system-out").text = visible("\n".join(f"{name} dropped the tag" for name in outcome.culprits))
    ET.SubElement(suite, "system-err")
    return suite


def _case(result: Result) -> ET.Element:
    probe = result.probe
    case = ET.Element("testcase", name=visible(f"{probe.label} by {probe.listener}"), classname=visible(probe.route), time="0")
    if result.failures:
        failure = ET.SubElement(case, "failure", message=visible(result.failures[0]), type=str(result.fate))
        failure.text = visible("\n".join([*result.failures, *result.remarks, f"trace {probe.trace}"]))
    return case


def _skipped(one: Skipped, *, is_failure: bool) -> ET.Element:
    case = ET.Element("testcase", name=visible(f"{one.method} by {one.listener}"), classname=visible(one.route), time="0")
    if is_failure:
        ET.SubElement(case, "failure", message=visible(one.reason), type="not asked")
    else:
        ET.SubElement(case, "skipped", message=visible(one.reason))
    return case
