"""An audit as CI servers read it."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from shadowproxy.audit import junit
from shadowproxy.audit.records import Records
from tests.audit.samples import LEFT_OUT, clean, leak, leaking, outcome, result, row


def test_a_suite_a_route_and_a_case_a_probe() -> None:
    """Failures have the first sentence as their message, the rest and the trace as text; what was not asked is skipped."""
    root = ET.fromstring(junit.text(outcome(clean(), leaking(), skipped=(LEFT_OUT,))))
    orders, legacy = root.findall("testsuite")
    assert (orders.get("name"), orders.get("tests"), orders.get("failures"), orders.get("skipped")) == ("orders", "2", "1", "0")
    assert (legacy.get("name"), legacy.get("tests"), legacy.get("failures"), legacy.get("skipped")) == ("legacy", "1", "0", "1")
    good, bad = orders.findall("testcase")
    assert good.get("name") == "POST /orders (JSON) by front"
    assert not list(good)
    failure = bad.find("failure")
    assert failure is not None
    assert (failure.get("type"), failure.get("message")) == ("leaked", "leaked to public.orders.note (from the body)")
    assert "trace 7e57" in str(failure.text)
    assert "cart dropped the tag" in str(orders.findtext("system-out"))


def test_strict_makes_failures_of_what_was_not_asked() -> None:
    """As the exit code does."""
    root = ET.fromstring(junit.text(outcome(clean(), skipped=(LEFT_OUT,), is_strict=True)))
    assert [suite.get("failures") for suite in root] == ["0", "1"]


def test_the_document_is_xml_whatever_services_are_called() -> None:
    """Control characters and markup of a service's name are text."""
    evil = leak(0, service="<x>\x00\x1b", culprit="<x>\x00\x1b")
    root = ET.fromstring(junit.text(outcome(result(Records(rows={0: [row(0)]}, leaks={0: [evil]})))))
    failure = root.find(".//failure")
    assert failure is not None
    assert "<x>\\x00\\x1b dropped the tag" in str(failure.get("message"))
