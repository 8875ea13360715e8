"""Configured answers: which rule takes a request, what it says, and what comes after."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.sinks.rules import Rule, Scripted, contains
from tests.sinks.kit import call, config_of

if TYPE_CHECKING:
    from shadowproxy.sinks.call import Answer, Call


class Counting:
    """Counters by tenant and name, in memory."""

    def __init__(self) -> None:
        self.counted: Counter[tuple[str, str]] = Counter()

    def __call__(self, tenant: str, name: str) -> int:
        """The next number."""
        self.counted[tenant, name] += 1
        return self.counted[tenant, name]


def rule_of(rule: dict[str, Any]) -> Rule:
    """A rule, as configured."""
    return Rule(config_of({"rules": [rule]}).sinks["s"].rules[0], 0, "s", None, Random(1))


def says(rule: dict[str, Any], one: Call) -> Answer | None:
    """What a rule says to a call."""
    return rule_of(rule).answer(one, Counting())


ORDER = call("POST", "/orders/7?mode=fast", json={"kind": "card", "customer": {"tier": "gold", "n": 1}, "tags": ["a"]}, X_Client="web")


@pytest.mark.parametrize(
    ("match", "is_taken"),
    [
        ({}, True),
        ({"methods": ["POST"]}, True),
        ({"methods": ["PUT", "GET"]}, False),
        ({"path": "/orders/{id}"}, True),
        ({"path": "/orders"}, False),
        ({"query": {"mode": "fast"}}, True),
        ({"query": {"mode": "*"}}, True),
        ({"query": {"mode": "slow"}}, False),
        ({"query": {"other": "*"}}, False),
        ({"headers": {"X-Client": "web"}}, True),
        ({"headers": {"x-client": "*"}}, True),
        ({"headers": {"X-Client": "app"}}, False),
        ({"json": {"kind": "card"}}, True),
        ({"json": {"customer": {"tier": "gold"}}}, True),
        ({"json": {"customer": {"tier": "silver"}}}, False),
        ({"json": {"tags": ["a"]}}, True),
        ({"json": {"tags": []}}, False),
        ({"json": {"customer": {"n": True}}}, False),
        ({"body": '"tier": ?"gold"'}, True),
        ({"body": "platinum"}, False),
        ({"methods": ["POST"], "path": "/orders/{id}", "json": {"kind": "cash"}}, False),
    ],
)
def test_all_that_is_asked_must_hold(match: dict[str, Any], is_taken: bool) -> None:
    """Method, path, query, fields, JSON and body, each alone and together."""
    assert (says({"match": match}, ORDER) is not None) is is_taken


def test_an_answer_is_filled_in() -> None:
    """Body, fields and captured segments; a header cannot be split by what a client sends."""
    rule = {
        "match": {"path": "/orders/{id}"},
        "respond": {
            "status": 201,
            "headers": {"Location": "/orders/{{path.id}}", "X-Evil": "{{request.json.evil}}"},
            "json": {"id": "{{path.id}}", "n": "{{counter}}"},
        },
    }
    answer = says(rule, call("POST", "/orders/7", json={"evil": "a\r\nSet-Cookie: b=c\u0000é"}))
    assert answer is not None
    assert (answer.status, json.loads(answer.body)) == (201, {"id": "7", "n": 1})
    assert answer.headers == {"Location": "/orders/7", "X-Evil": "a??Set-Cookie: b=c??"}


def test_a_fixed_answer_is_not_built_anew() -> None:
    """Without templates every request gets the same bytes."""
    scripted = Scripted(config_of({"respond": {"json": {"a": 1}}}).sinks["s"].respond, "s", None, Random(1))
    assert scripted.answer(ORDER, {}, Counting()).body is scripted.answer(ORDER, {}, Counting()).body


def test_text_and_nothing() -> None:
    """Text has a type; an answer without a body has none."""
    text, nothing = says({"respond": {"text": "gone"}}, ORDER), says({"respond": {"status": 204}}, ORDER)
    assert text is not None
    assert nothing is not None
    assert (text.body, text.content_type) == (b"gone", "text/plain; charset=utf-8")
    assert (nothing.body, nothing.content_type) == (b"", "")


@pytest.mark.parametrize(("at_end", "statuses"), [("repeat", [500, 503, 200, 200, 200]), ("loop", [500, 503, 200, 500, 503])])
def test_a_sequence_is_told_to_each_tenant_from_its_beginning(at_end: str, statuses: list[int]) -> None:
    """One tenant's third request is another's first."""
    rule = rule_of({"sequence": [{"status": 500}, {"status": 503}, {}], "at_end": at_end})
    count = Counting()
    for tenant in ("a", "b"):
        told = [rule.answer(call("GET", "/", tenant=tenant), count) for _ in range(5)]
        assert [answer.status for answer in told if answer is not None] == statuses


def test_latency_of_the_answer_or_of_the_sink() -> None:
    """What the answer says counts; else what the sink says."""
    config = config_of({"latency": "2s", "rules": [{"respond": {"latency": "50ms"}}]}).sinks["s"]
    own = Scripted(config.rules[0].respond, "s", config.latency, Random(1)).answer(ORDER, {}, Counting())
    default = Scripted(config.respond, "s", config.latency, Random(1)).answer(ORDER, {}, Counting())
    assert (own.latency_s, default.latency_s) == (0.05, 2.0)


def test_contains() -> None:
    """Objects by members, everything else whole; true is not 1."""
    assert contains({"a": 1, "b": 2}, {"a": 1})
    assert contains(1.0, 1)
    assert not contains(1, True)
    assert not contains([1], {"a": 1})
