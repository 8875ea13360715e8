"""Templates, filled in: typed, bounded, and nothing of a request is ever run."""

from __future__ import annotations

import itertools
import uuid
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks.call import Call, Refused
from shadowproxy.sinks.templates import ANSWER_LIMIT, Filling, compile_value, fill, fill_text, step_into
from tests.sinks.kit import call
from tests.sinks.test_strict import documents

BODY = {"customer": {"id": 7, "name": "Ada"}, "lines": [{"sku": "a"}, {"sku": "b"}], "paid": True, "note": None}


def filling(one: Call, captured: dict[str, str] | None = None) -> Filling:
    """A filling with a clock that stands still, and counters that begin at 1."""
    counters: dict[str, itertools.count[int]] = {}
    return Filling(
        one,
        "orders",
        captured or {},
        lambda name: next(counters.setdefault(name, itertools.count(1))),
        lambda: 1.5,
        lambda: uuid.UUID(int=5),
    )


def filled(template: Any, one: Call | None = None, captured: dict[str, str] | None = None) -> Any:
    """A template filled in with a request."""
    one = one or call("POST", "/orders/7?q=x&q=y", tenant="canary-7", json=BODY, X_User="ada")
    return fill(compile_value(template), filling(one, captured))


@pytest.mark.parametrize(
    ("template", "value"),
    [
        ("{{request.json.customer.id}}", 7),
        ("no {{request.json.customer.id}}", "no 7"),
        ("{{request.json.customer}}", {"id": 7, "name": "Ada"}),
        ("{{request.json.lines[1].sku}}", "b"),
        ("{{request.json.lines}} {{request.json.paid}}", '[{"sku":"a"},{"sku":"b"}] true'),
        ("{{request.json.nothing}}", None),
        ("<{{request.json.nothing}}>", "<>"),
        ('{{request.json.note | "none"}}', "none"),
        ("{{request.json.lines[9].sku | 0}}", 0),
        ("{{request.json.customer.id.deeper}}", None),
        ("{{tenant}}/{{sink}}", "canary-7/orders"),
        ("{{request.method}} {{request.path}} {{request.target}}", "POST /orders/7 /orders/7?q=x&q=y"),
        ("{{request.query.q}}{{request.query.z}}", "x"),
        ("{{request.headers.X-User}}", "ada"),
        ("{{path.id}} {{path.1}} {{path.9}}", "seven orders "),
        ("{{uuid}}", "00000000-0000-0000-0000-000000000005"),
        ("{{now}}", "1970-01-01T00:00:01.500+00:00"),
        ("{{now.unix}}", 1),
        ("{{counter}}{{counter}}{{counter.a}}", "121"),
        (r"\{{tenant}}", "{{tenant}}"),
        ({"a": ["{{tenant}}", 1, None, True]}, {"a": ["canary-7", 1, None, True]}),
    ],
)
def test_what_fills_a_place(template: Any, value: Any) -> None:
    """A place alone keeps its type; within a text it is text."""
    assert filled(template, captured={"id": "seven"}) == value


def test_a_body_that_is_no_json_fills_nothing() -> None:
    """Templates never refuse a request for its body: what is not there is null."""
    for one in (call("POST", "/", body=b"{"), call("POST", "/", body=b"a=1", Content_Type="text/plain"), call("GET", "/")):
        assert filled("{{request.json.a | 1}}", one) == 1
    form = call("POST", "/", body=b"a=1", Content_Type="application/x-www-form-urlencoded")
    assert filled("{{request.form.a}}", form) == "1"
    assert filled("{{request.text}}", call("POST", "/", body=b"\xff")) == "\ufffd"


@given(documents)
def test_a_document_comes_back_as_it_was(value: Any) -> None:
    """Whatever a client sends, a place for all of it gives the same value: nothing in it is taken for a template."""
    assert filled("{{request.json}}", call("POST", "/", json={"v": value})) == {"v": value}


def test_an_answer_cannot_grow_without_end() -> None:
    """A hundred places for one large body are refused, not built."""
    one = call("POST", "/", body=b'"' + b"x" * 1_000_000 + b'"')
    with pytest.raises(Refused) as refused:
        filled("{{request.text}}" * 100, one)
    assert (refused.value.status, refused.value.code) == (413, "answer_too_large")
    big = call("POST", "/", json={"a": ["x" * (ANSWER_LIMIT // 6)]})
    with pytest.raises(Refused):
        filled(["{{request.json.a}}", "{{request.json.a}}"], big)


@given(documents, st.lists(st.text(max_size=3) | st.integers(0, 5), max_size=5))
def test_steps_lead_to_a_value_or_to_nothing(value: Any, steps: list[str | int]) -> None:
    """No path into any document raises."""
    step_into(value, tuple(steps))


def test_plain_text_is_left_alone() -> None:
    """What has no places is not read as a template."""
    assert fill_text("plain", filling(call("GET", "/"))) == "plain"
