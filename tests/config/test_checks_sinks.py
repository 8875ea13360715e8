"""What must hold within and around sinks."""

from __future__ import annotations

import importlib.util

import pytest

from tests.config.test_checks import BASE, found

ROUTES = "routes: [{live: live, mirror: [{to: shadow, percent: 1}], test_traffic: {writes: {sink: s}}}]\n"


def with_sink(sink: str) -> list[str]:
    """The problems of a config whose only sink is this."""
    return [problem.partition(" | ")[2] for problem in found(f"{BASE}{ROUTES}sinks:\n  s: {sink}\n")]


@pytest.mark.parametrize(
    ("sink", "problem"),
    [
        ('{respond: {text: "{{nobody}}"}}', "sinks.s.respond.text: 'nobody' names nothing"),
        ('{respond: {json: {a: [{b: "{{uuid"}]}}}', "sinks.s.respond.json: '{{uuid' does not end"),
        ('{respond: {headers: {X-A: "{{a}}"}}}', "sinks.s.respond.headers.X-A: 'a' names nothing"),
        (
            "{respond: {headers: {Content-Length: 5}}}",
            "sinks.s.respond.headers.Content-Length: Content-Length is written by the sink itself",
        ),
        ("{respond: {status: 204, text: gone}}", "sinks.s.respond.status: warning: an answer with 204 has no body"),
        ("{respond: {status: 101}}", "sinks.s.respond.status: must be from 200 to 599"),
        ('{respond: {text: "' + "{{uuid}}" * 101 + '"}}', "sinks.s.respond: 101 places to fill in, limit 100"),
        ("{latency: {fixed: 1s, low: 2s, high: 3s}}", "sinks.s.latency: one of fixed, low and high, median and p99"),
        ("{latency: {low: 2s, high: 1s}}", "sinks.s.latency.high: less than low (2 s)"),
        ("{latency: {median: 2s}}", "sinks.s.latency.p99: median and p99 are given together"),
        ("{latency: 61s}", "sinks.s.latency.fixed: must be from 0.0 to 60.0"),
        ("{rules: [{respond: {status: 500}, sequence: [{}]}]}", "sinks.s.rules[0].sequence: stands in place of respond"),
        ('{rules: [{match: {path: "/{a}/{a}"}}]}', "sinks.s.rules[0].match.path: a name stands here twice"),
        ("{rules: [{match: {body: '('}}]}", "sinks.s.rules[0].match.body: not a regular expression"),
        ("{resources: {collections: []}}", "sinks.s.resources.collections: must not be empty"),
        (
            "{resources: {collections: ['/orders/{id}']}}",
            "sinks.s.resources.collections[0].path: ends with an id: the collection is /orders",
        ),
        ("{resources: {collections: ['/a/{b}/c', '/a/{d}/c']}}", "sinks.s.resources.collections[1].path: the same paths as"),
        ("{resources: {collections: [/a], live: lve}}", "sinks.s.resources.live: no fleet is called 'lve' (did you mean 'live'?)"),
        ("{resources: {collections: [/a], live: live, merge: false}}", "sinks.s.resources.live: is not asked: merge is false"),
        ("{preset: paymnt}", "sinks.s.preset: expected one of none, payment, email, sms, got 'paymnt' (did you mean 'payment'?)"),
        ("{preset: email, resources: {collections: [/a]}}", "sinks.s.preset: stands in place of resources and openapi"),
    ],
)
def test_what_contradicts_itself(sink: str, problem: str) -> None:
    """Each is found, at its place, with one sentence."""
    problems = with_sink(sink)
    assert len(problems) == 1, problems
    assert problems[0].startswith(problem)


def test_a_sink_with_everything_is_fine() -> None:
    """Rules, sequences, templates, resources and latencies do not get in each other's way."""
    assert (
        with_sink(
            '{rules: [{match: {path: "/a/{b}"}, sequence: [{}, {text: "{{path.b}}"}]}], resources: {collections: [/a]}, latency: 5ms}'
        )
        == []
    )


def test_a_sink_for_two_kinds_of_reads() -> None:
    """421 is for the proxy, not for a client that reads from the sink alone."""
    routes = "routes: [{live: live, match: {path: /a}, mirror: [{to: shadow, percent: 1}], test_traffic: {writes: {sink: s}}}, {live: live, test_traffic: {reads: {sink: s}}}]\n"
    [problem] = found(f"{BASE}{routes}sinks: {{s: {{preset: email}}}}\n")
    assert "routes[1].test_traffic.reads: warning: s answers 421 where it holds nothing" in problem
    assert found(f"{BASE}{routes}sinks: {{s: {{}}}}\n") == []


def test_openapi_needs_its_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the config says which command installs it."""
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    assert with_sink("{openapi: a.yaml}") == ["sinks.s.openapi: needs jsonschema and rstr: pip install 'shadowproxy[sinks]'"]


def test_a_fleet_that_only_a_sink_asks_is_used() -> None:
    """It is no leftover."""
    text = BASE.replace("fleets:\n", 'fleets:\n  archive: {endpoints: ["http://10.0.0.3:80"]}\n')
    assert found(f"{text}{ROUTES}sinks: {{s: {{resources: {{collections: [/a], live: archive}}}}}}\n") == []
