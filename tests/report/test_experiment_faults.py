"""Faults in words."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.report.experiment_faults import faults, where
from tests.report import experiment_samples as samples

ROUTES = {"routes": ["recommendations"]}


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ({"delay": "50ms", "abort": {"status": 503}}, "delay of 50.0 ms, status 503 in place of the answer"),
        ({"delay": {"uniform": {"lower": "1s", "upper": "2s"}}}, "delay of 1.00 s to 2.00 s"),
        (
            {"delay": {"lognormal": {"median": "10ms", "p99": "1s"}, "correlation": 0.5}},
            "delay of 10.0 ms in the median, p99 1.00 s, in bursts (0.5)",
        ),
        ({"delay": {"pareto": {"scale": "1s", "shape": 2}}}, "delay of 1.00 s and more (Pareto, shape 2)"),
        ({"delay": {"empirical": ["1s", "2s"]}}, "delay of as recorded"),
        ({"abort": {"grpc": 14}}, "gRPC status 14 in place of the answer"),
        ({"reset": True, "first": 3, "every": 2}, "connection reset; only each unit's first 3 requests; only one request of 2"),
        ({"half_close": True}, "connection closed without an answer"),
        ({"hang": "30s"}, "no answer for 30 s, then closed"),
        ({"black_hole": True}, "black hole"),
        ({"throttle": {"rate": 5}}, "5 requests/s go on, others get 429"),
        ({"upload": 1000, "download": 2000}, "request body at 1,000 bytes/s, answer's body at 2,000 bytes/s"),
        ({"first_byte": "2s"}, "answer's first byte later by 2.00 s"),
        ({"truncate": 0}, "answer cut off after 0 bytes"),
        ({"dribble": {"size": 10, "every": "1s"}}, "answer in pieces of 10 bytes every 1.00 s"),
        ({"corrupt": {"share": 0.01}}, "1 % of the answer's bytes changed"),
        ({"corrupt": {"json": [{"path": "$.a", "do": "drop"}]}}, "answer damaged: $.a drop"),
        ({"headers": {"set": {"x-a": "1"}, "remove": ["x-b"]}}, "header fields: x-a set, x-b removed"),
    ],
)
def test_each_fault_in_words(fault: dict[str, Any], words: str) -> None:
    """In the order in which it happens."""
    plain = samples.experiment(inject=ROUTES | {"faults": [fault]})
    assert [one.replace("\u00a0", " ") for one in faults(plain)] == [words]


def test_faults_that_requests_ask_for() -> None:
    """Are said, with whose count."""
    assert faults(samples.experiment(inject=ROUTES | {"envoy_headers": "tagged"})) == [
        "what requests ask for themselves by x-envoy-fault-* (tagged)"
    ]


def test_where_it_happens_names_no_unit() -> None:
    """Listed units are counted, values of header fields left out."""
    plain = samples.experiment(
        slice={
            "percent": 1,
            "key": "client",
            "pinned": ["secret-user"],
            "deny": ["other-user", "third"],
            "headers": {"x-a": "secret-value"},
        }
    )
    said = {name: value.replace("\u00a0", " ") for name, value in where(plain)}
    assert said == {
        "routes": "recommendations", "slice": "1 % of the units, and as many to compare with", "unit": "client", "with fields": "x-a",
        "always in it": "1 unit", "never in it": "2 units", "level": "canary", "at the longest": "10 min",
    }  # fmt: skip


def test_nothing_is_said_of_nothing() -> None:
    """Of a document without a file."""
    assert faults({}) == []
    assert where({}) == [("unit", "each request by itself")]
