"""Metrics: documented, well named, exact, and never backwards."""

from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from shadowproxy import logbuckets
from shadowproxy.control.metric_spec import COUNTER, HISTOGRAM
from shadowproxy.control.metrics import BOUNDARIES_S, BOUNDS, SPECS
from shadowproxy.control.sinkhouse import SinkCounts
from tests.control.conftest import Api, until
from tests.control.governed import exposure, running
from tests.control.test_counts import full_tally
from tests.control.test_leaks import call
from tests.control.test_rollout_case import case
from tests.judge.ticks import World

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_documentation_is_the_registry() -> None:
    """docs/metrics.md lists every metric with type, unit, labels and meaning, and nothing else."""
    rows = re.findall(r"^\| `([a-z0-9_]+)` \| (\w+) \| (\w+) \| ([^|]*) \| (.*) \|$", DOCUMENT.read_text(), re.MULTILINE)
    documented = {(name, kind, unit, tuple(re.findall(r"`(\w+)`", labels)), meaning) for name, kind, unit, labels, meaning in rows}
    assert documented == {(spec.name, spec.kind, spec.unit, spec.labels, spec.meaning) for spec in SPECS}


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_names_follow_the_conventions(spec: object) -> None:
    """What promtool's linter asks for: base units, _total on counters only, no type in the name."""
    name, kind, unit = spec.name, spec.kind, spec.unit  # type: ignore[attr-defined]
    assert re.fullmatch(
        r"shadowproxy_[a-z0-9_]+|shadow_live_penalty_seconds|shadow_lost_tags_total|shadow_test_writes(_[a-z_]+)?|shadow_test_answers_total",
        name,
    )
    assert (kind == COUNTER) == name.endswith("_total")
    assert not re.search(r"_(count|sum|bucket|counter|gauge|histogram|ms|millis|milliseconds|minutes|kb|mb|percent)(_|$)", name)
    if unit in {"seconds", "bytes"}:
        assert f"_{unit}" in name
    if kind == HISTOGRAM:
        assert unit == "seconds"
    assert "le" not in spec.labels  # type: ignore[attr-defined]


def test_bounds_are_near_the_boundaries_that_people_know() -> None:
    """Each bound is within one per cent of its boundary, and ascending."""
    bounds = [float(bound) for bound in BOUNDS]
    assert bounds == sorted(bounds)
    for bound, boundary in zip(bounds, BOUNDARIES_S, strict=True):
        assert abs(bound / boundary - 1) < logbuckets.ACCURACY * 1.05


async def test_every_documented_metric_is_collected(api: Api) -> None:
    """With everything counted at least once, no documented family is without a sample."""
    supervisor = api.supervisor
    supervisor.counts.add(supervisor.counts.accounts[0], full_tally())
    supervisor.judging.add(supervisor.counts.accounts[0], {"mirrors": {"all/shadow": World(random.Random(1)).tick(50)}})
    tests = {"all": {"seen": 1, "sunk": 1, "pending": 0, "answers": {"201": 1}}}
    supervisor.counts.add(supervisor.counts.accounts[0], {"type": "tally", "tests": tests})
    supervisor.leaks.add({"leaks": [call()], "leaks_dropped": 1})
    supervisor.sinks.counts["orders"] = SinkCounts(Counter({"201": 1}))
    supervisor.governor.on_exposure(exposure(await running(supervisor), errors=1))
    supervisor.governor.ends["aborted", "stopped"] = 1
    supervisor.rollouts.cases["all"] = case()
    supervisor.counts.late["live", "http://127.0.0.1:1"] += 1
    _, _, text = await api("GET", "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(text)}
    for spec in SPECS:
        family = families[spec.name.removesuffix("_total")]
        assert family.type == spec.kind, spec.name
        assert family.samples, spec.name
        assert set(family.samples[0].labels) - {"le"} == set(spec.labels), spec.name
    assert set(families) == {spec.name.removesuffix("_total") for spec in SPECS}


async def test_histograms_are_cumulative_and_exact(api: Api) -> None:
    """Each bound counts exactly the samples at or below it; the last bound counts all."""
    counts = api.supervisor.counts
    account = counts.accounts[0]
    durations = [1, 499_037, 499_038, 1_000_000, 2_000_000_000, 60_000_000_000]
    sketch = {str(logbuckets.bucket(duration)): 1 for duration in durations}
    counts.add(account, {"routes": {"all": {"last": sketch}}})
    _, _, text = await api("GET", "/metrics")
    found = re.findall(r'shadowproxy_request_duration_seconds_bucket{le="([^"]+)",route="all"} (\S+)', text)
    assert len(found) == len(BOUNDS) + 1
    for bound, count in found:
        assert float(count) == sum(duration <= float(bound) * 1e9 for duration in durations)


async def test_the_penalty_is_mirrored_minus_unmirrored(api: Api) -> None:
    """The gauge has its fixed name, and one sample per quantile once both kinds of requests were seen."""
    await until(lambda: api.supervisor.counts.mirrors["all/shadow"].eligible > 0, "a report")
    _, _, text = await api("GET", "/metrics")
    found = dict(re.findall(r'shadow_live_penalty_seconds{mirror="shadow",quantile="([^"]+)",route="all"} (\S+)', text))
    assert set(found) == {"0.5", "0.9", "0.99", "0.999"}
    expected = (logbuckets.representative(690) - logbuckets.representative(680)) / 1e9
    assert all(abs(float(value) - expected) < 1e-12 for value in found.values())


async def test_labels_from_outside_are_escaped(api: Api) -> None:
    """A reason or endpoint with quotes and newlines cannot forge a metric."""
    counts = api.supervisor.counts
    counts.add(counts.accounts[0], {"refusals": {'x"} 1\nforged 1\n': 1}})
    _, _, text = await api("GET", "/metrics")
    assert "\nforged" not in text
    assert list(text_string_to_metric_families(text))
