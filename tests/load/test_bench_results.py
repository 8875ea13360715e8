"""Medians, ratios and what is stored."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from load.bench.processes import Cpus
from load.bench.results import Collection, Measurement, environment, store

if TYPE_CHECKING:
    from pathlib import Path


def measured(proxy: str, number: int, cpu_us: float, **more: object) -> Measurement:
    """One measurement of small-mirror."""
    return Measurement("small-mirror", proxy, number, cpu_us=cpu_us, **more)  # type: ignore[arg-type]


def test_ratios_are_taken_inside_a_round() -> None:
    """A machine that slows down for a whole round moves no ratio."""
    collection = Collection(
        [
            *(measured("shadowproxy", n, cpu) for n, cpu in ((1, 40.0), (2, 80.0), (3, 40.0))),
            *(measured("envoy", n, cpu) for n, cpu in ((1, 100.0), (2, 200.0), (3, 120.0))),
        ]
    )
    assert collection.ratio("small-mirror", "shadowproxy", "envoy") == (2.5, 2.5, 3.0)


def test_a_failed_round_counts_for_nothing() -> None:
    """Neither in a median nor in a ratio; its reason is told once."""
    collection = Collection(
        [
            measured("shadowproxy", 1, 50.0),
            measured("shadowproxy", 2, 1.0, problems=["only 3.0% of the requests reached the shadow"]),
            measured("shadowproxy", 3, 1.0, problems=["only 3.0% of the requests reached the shadow"]),
            measured("envoy", 2, 100.0),
        ]
    )
    assert collection.middle("small-mirror", "shadowproxy", lambda m: m.cpu_us) == 50.0
    assert collection.ratio("small-mirror", "shadowproxy", "envoy") is None
    assert collection.problems("small-mirror", "shadowproxy") == ["only 3.0% of the requests reached the shadow"]


def test_requests_per_core_second_is_the_inverse_of_the_cost() -> None:
    """40 us of CPU per request are 25,000 requests per second of CPU."""
    assert measured("shadowproxy", 1, 40.0).per_core_second == 25000.0


def test_what_was_not_measured_is_stored_as_null(tmp_path: Path) -> None:
    """The file is JSON that any reader takes: no NaN, and all that is needed to judge it."""
    about = environment(Cpus(frozenset({0}), frozenset({1})), {"envoy": "1.40.0"}, ["python", "-m", "load.bench"])
    path = store(tmp_path / "deep" / "results", "compare", about, [measured("envoy", 1, 100.0)])
    read = json.loads(path.read_text())
    assert read["rows"][0]["cpu_us"] == 100.0
    assert read["rows"][0]["open_p99_us"] is None
    assert read["environment"]["proxy_cpus"] == [0]
    assert read["environment"]["command"] == "python -m load.bench"
