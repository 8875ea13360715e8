"""What contradicts itself, or could never end, is no experiment."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.errors import ConfigError
from tests.experiments.samples import plain


def _fault(**parts: Any) -> dict[str, Any]:
    return {"inject": {"routes": ["all"], "faults": [parts]}}


PROBE = {"name": "orders", "url": "http://127.0.0.1:1/"}


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"inject": {"routes": ["all"]}}, "inject.faults: nothing goes wrong"),
        (_fault(), "inject.faults[0]: nothing goes wrong"),
        (_fault(reset=True, hang="1s"), "inject.faults[0]: one of reset, hang"),
        (_fault(abort={}), "inject.faults[0].abort: give one of status and grpc"),
        (_fault(abort={"status": 503, "grpc": 14}), "inject.faults[0].abort: give one of status and grpc"),
        (_fault(abort={"status": 100}), "inject.faults[0].abort.status: an answer's status is 200 to 599"),
        (_fault(corrupt={"share": 0.1, "json": [{"path": "$.a", "do": "drop"}]}), "inject.faults[0].corrupt: give one of"),
        (_fault(abort={"status": 503, "headers": {"Content-Length": "5"}}), "inject.faults[0].abort.headers: none of connection"),
        (_fault(headers={"set": {"TRANSFER-ENCODING": "chunked"}}), "inject.faults[0].headers.set: none of connection"),
        (_fault(headers={"remove": ["content-length"]}), "inject.faults[0].headers.remove: none of connection"),
        (_fault(delay={}), "inject.faults[0].delay: one of fixed"),
        (_fault(delay={"fixed": "1s", "pareto": {"scale": "1s", "shape": 2}}), "inject.faults[0].delay: one of fixed"),
        (_fault(delay={"uniform": {"lower": "2s", "upper": "1s"}}), "inject.faults[0].delay.uniform: lower is above upper"),
        (_fault(delay={"lognormal": {"median": "2s", "p99": "1s"}}), "inject.faults[0].delay.lognormal: p99 is below"),
        (_fault(first_byte={"empirical": ["2s", "1s"]}), "inject.faults[0].first_byte.empirical: at least two quantiles"),
        ({"slice": {"percent": 51}}, "slice.percent: 51 % leaves no room"),
        ({"slice": {"percent": 30, "offset": 50}}, "slice.offset: the slice and its control slice reach beyond"),
        ({"slice": {"percent": 0}}, "slice.percent: nobody"),
        ({"slice": {"percent": 1, "pinned": ["a"]}}, "slice.pinned: needs a key"),
        ({"slice": {"percent": 1, "deny": ["a"]}}, "slice.deny: needs a key"),
        ({"ramp": {"steps": [1, 1, 10]}}, "ramp.steps: must rise"),
        ({"ramp": {"steps": [5, 9]}}, "ramp.steps: the last is 9, the slice has 10"),
        ({"ramp": {"steps": [1, 10]}}, "ramp.steps: a step is at most double"),
        ({"probes": [PROBE, PROBE]}, "probes[1].name: another probe is called orders"),
        ({"probes": [PROBE | {"query": "up"}]}, "probes[0].query: belongs to kind: prometheus"),
        ({"probes": [PROBE | {"url": "http://169.254.169.254/latest"}]}, "probes[0].url: 169.254.169.254 is never asked: link-local"),
        ({"probes": [PROBE | {"url": "http://[::ffff:a9fe:a9fe]/"}]}, "probes[0].url: ::ffff:a9fe:a9fe is never asked: link-local"),
        ({"probes": [PROBE | {"url": "http://me:secret@shop/"}]}, "probes[0].url: a URL carries no user or password here"),
        ({"probes": [PROBE | {"kind": "prometheus", "query": "up", "url": "http://prom/?a=1"}]}, "probes[0].url: the base of a Prometheus"),
        ({"notify": ["http://metadata.google.internal/"]}, "notify[0].url: metadata.google.internal is never asked"),
        ({"notify": ["http://shop:0/"]}, "notify[0].url: expected a port from 1"),
        (
            {"probes": [PROBE], "steady_state": [{"probe": "orders", "within": 5, "seasonal": True}]},
            "steady_state[0].seasonal: only a Prometheus knows past weeks",
        ),
        ({"guards": [{"metric": "p99"}]}, "guards[0]: no bound"),
        ({"guards": [{"metric": "p99", "below": 1}]}, "guards[0].below: only a probe"),
        ({"guards": [{"metric": "probe", "below": 1}]}, "guards[0].probe: belongs to metric: probe"),
        ({"guards": [{"metric": "probe", "below": 1, "probe": "x"}]}, "guards[0].probe: no probe is called x"),
        ({"guards": []}, "guards: must not be empty"),
        ({"steady_state": [{"probe": "orders"}]}, "steady_state[0].probe: no probe"),
        ({"probes": [PROBE], "steady_state": [{"probe": "orders"}]}, "steady_state[0]: no bound"),
    ],
)
def test_it_is_told_where(changed: dict[str, Any], told: str) -> None:
    """Each contradiction is named with its place."""
    with pytest.raises(ConfigError) as error:
        experiment_from_plain(plain(**changed))
    problems = [str(problem) for problem in error.value.problems]
    assert any(told in problem for problem in problems), problems


@pytest.mark.parametrize(
    "changed",
    [
        {"slice": {"percent": 50}},
        {"slice": {"percent": 0, "key": "header:x-user-id", "pinned": ["tester"]}},
        {"ramp": {"steps": [0.3, 0.6, 1.2, 2.4, 4.8, 9.6, 10]}},
        {"inject": {"routes": ["all"], "envoy_headers": "tagged"}},
        {"notify": ["https://hooks.example/a?b=c", "http://127.0.0.1:9000/"], "probes": [PROBE | {"url": "http://[::1]:9/x#y"}]},
        _fault(truncate=0),
        _fault(delay="100ms"),
        _fault(abort={"grpc": 0}),
    ],
)
def test_what_is_unusual_and_right_is_taken(changed: dict[str, Any]) -> None:
    """Half of all units; pinned units alone; steps that double; faults that requests ask for; nothing but a head."""
    experiment_from_plain(plain(**changed))
