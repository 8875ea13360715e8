"""An audit as people read it."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

from rich.console import Console

from shadowproxy.audit.records import Records
from shadowproxy.audit.table import planned, render
from tests.audit.samples import LEFT_OUT, clean, leak, leaking, outcome, plan, result, row

if TYPE_CHECKING:
    from rich.console import RenderableType


def shown(what: RenderableType) -> str:
    """What a wide terminal shows."""
    out = io.StringIO()
    Console(file=out, width=200, highlight=False).print(what)
    return out.getvalue()


def test_a_clean_audit() -> None:
    """Route by method by fate, and one line that says so."""
    text = shown(render(outcome(clean())))
    assert "orders  front     POST /orders (JSON)  sunk: mock  201" in text
    assert text.endswith("1 probe: 1 sunk; nothing leaked\n")


def test_leaks_are_said_aloud_and_once() -> None:
    """Where, from which part of the probe, by whose fault; what many probes share is one sentence."""
    text = shown(render(outcome(clean(), leaking(), leaking(), skipped=(LEFT_OUT,))))
    assert "LEAKED to public.orders.note (from the body)" in text
    assert "payments passed" in text
    assert text.count("cart dropped the tag of POST payments/charges: tagged again by the proxy") == 1
    assert "orders by front, POST /orders (JSON) and 1 more: leaked to public.orders.note (from the body)" in text
    assert "cart dropped the tag of test traffic" in text
    assert "not asked: legacy by front, POST: its rule sends writes to live" in text
    assert text.endswith("3 probes: 2 LEAKED, 1 sunk; 2 FAILED\n")
    assert "; 1 not asked" in shown(render(outcome(clean(), skipped=(LEFT_OUT,), is_strict=True)))


def test_a_tag_that_was_dropped_stands_in_the_table() -> None:
    """Without colours too."""
    assert "sunk: mock, tag dropped by cart" in shown(render(outcome(result(Records(rows={0: [row(0)]}, leaks={0: [leak(0)]})))))


def test_lost_traces_are_counted() -> None:
    """One line for calls that are alike; they are no failure."""
    text = shown(render(outcome(clean(), orphans=(row(1), row(2)))))
    assert "a service lost the trace: POST shop/orders sunk to mock, of some probe x2" in text
    assert text.endswith("nothing leaked\n")


def test_nothing_asked_is_said() -> None:
    """An empty audit is no green one."""
    assert "nothing was asked, so nothing is known" in shown(render(outcome()))


def test_what_services_say_is_text() -> None:
    """Neither markup nor escape sequences of a service's name are obeyed."""
    evil = leak(0, service="[red]x\x1b[2J", culprit="[red]x\x1b[2J")
    text = shown(render(outcome(result(Records(rows={0: [row(0)]}, leaks={0: [evil]})))))
    assert "[red]x\\x1b[2J dropped the tag" in text
    assert "\x1b[2J" not in text


def test_a_plan() -> None:
    """What would be sent, and what must become of it."""
    text = shown(planned(plan()))
    assert "DELETE /orders/{{honey}}" in text
    assert "sunk: mock" in text
    assert "passed by rule: live" in text
    assert text.endswith("8 probes, none sent\n")
