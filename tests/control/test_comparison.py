"""Live and shadow side by side: the arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy import logbuckets
from shadowproxy.config import from_plain
from shadowproxy.control import comparison
from shadowproxy.control.counts import Counts, MirrorTotals
from tests.control.conftest import plain

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("outcome", "name"), [("200", "2xx"), ("404", "4xx"), ("503", "5xx"), ("reset", "reset"), ("client_gone", "client_gone")]
)
def test_outcomes(outcome: str, name: str) -> None:
    """Statuses have a class; a failure is its own."""
    assert comparison.outcome_class(outcome) == name


def test_classes_sum_the_matrix() -> None:
    """Nothing is lost by looking at classes."""
    assert comparison.classes({("200", "201"): 2, ("204", "202"): 3, ("200", "reset"): 1}) == {("2xx", "2xx"): 5, ("2xx", "reset"): 1}


def test_nothing_counted_is_null_everywhere(tmp_path: Path) -> None:
    """Before the first pair every rate and quantile is None, and the mirror is there."""
    config = from_plain(plain(tmp_path))
    counts = Counts()
    counts.declare(["all"], ["all/shadow"])
    (mirror,) = comparison.comparison(counts, config)
    assert mirror["coverage"] is None
    assert mirror["errors"]["live"] == {"count": 0, "rate": None}
    assert mirror["latency"]["live"]["last"] == {"count": 0, "p50": None, "p90": None, "p99": None, "p999": None}
    assert set(mirror["live_penalty"].values()) == {None}


def test_a_mirror_compared(tmp_path: Path) -> None:
    """Pairs, coverage, errors and the matrix follow from the counts."""
    config = from_plain(plain(tmp_path))
    counts = Counts()
    account = counts.open(0)
    counts.add(
        account,
        {"mirrors": {"all/shadow": {"eligible": 10, "pending": 0, "fates": {"paired": 4, "not_sampled": 6},
                                    "matrix": {"200,200": 1, "200,500": 2, "timeout,200": 1}, "bodies": {"equal": 1, "different": 2}}}},
    )  # fmt: skip
    (mirror,) = comparison.comparison(counts, config)
    assert (mirror["pairs"], mirror["coverage"], mirror["is_conserved"]) == (4, 0.4, True)
    assert mirror["errors"] == {"live": {"count": 1, "rate": 0.25}, "shadow": {"count": 2, "rate": 0.5}}
    assert mirror["matrix"][0] == {"live": "200", "shadow": "500", "count": 2}
    assert mirror["bodies"] == {"equal": 1, "different": 2, "unknown": 0}
    assert comparison.comparison(counts, config, "other") == []


def test_the_penalty_is_mirrored_minus_unmirrored() -> None:
    """In seconds, per quantile; None while either side is empty."""
    totals = MirrorTotals()
    totals.latency["live_last"] = {700: 10}
    assert set(comparison.penalty(totals).values()) == {None}
    totals.latency["holdout_last"] = {690: 5}
    expected = (logbuckets.representative(700) - logbuckets.representative(690)) / 1e9
    assert comparison.penalty(totals)["p50"] == pytest.approx(expected)


def test_the_distribution_is_every_bucket_in_seconds() -> None:
    """Upper edges, ascending, without empty buckets; what was counted is all there."""
    found = comparison.distribution({700: 3, 690: 5, 710: 0}, {})
    assert found == {"live": [(logbuckets.upper_edge(690) / 1e9, 5), (logbuckets.upper_edge(700) / 1e9, 3)], "shadow": []}


def test_the_distribution_is_there_when_asked_for(tmp_path: Path) -> None:
    """And only then: it may be long."""
    config = from_plain(plain(tmp_path))
    counts = Counts()
    counts.declare(["all"], ["all/shadow"])
    assert comparison.comparison(counts, config, has_buckets=True)[0]["distribution"] == {"live": [], "shadow": []}
    assert "distribution" not in comparison.comparison(counts, config)[0]
