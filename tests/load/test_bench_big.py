"""Bodies of any size, and what they may cost."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from load.bench import big
from load.bench.origins import DeadPort, PythonOrigin
from load.bench.processes import BenchError, Cpus
from load.bench.proxies import PROXIES

if TYPE_CHECKING:
    from pathlib import Path

CPUS = Cpus(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))


def test_transfers_through_a_proxy_are_whole_and_streamed() -> None:
    """Through the floor, which streams: live has the first byte before the client has sent the last."""
    upload, download = big.attempt(PROXIES["floor"], 64 * 1024 * 1024, CPUS)
    assert upload.lead_seconds > 0
    assert "live's first byte came after the client's last" not in upload.problems
    assert (upload.direction, download.direction) == ("upload", "download")
    assert upload.seconds > 0
    assert download.seconds > 0


def test_growth_and_buffering_break_the_promise() -> None:
    """16 MiB is the bound; a download (NaN) has no lead to judge."""
    assert big.judge(16 * 1024 * 1024, float("nan")) == []
    assert big.judge(17 * 1024 * 1024, 0.5) == ["grew by 17.0 MiB, bound 16"]
    assert big.judge(0, -0.01) == ["live's first byte came after the client's last"]


def test_an_answer_that_ends_early_is_an_error(tmp_path: Path) -> None:
    """A truncated head or body is never a finished transfer."""
    with PythonOrigin("reset", tmp_path, CPUS, mode="reset") as origin, pytest.raises(BenchError, match="expected 200 with 1000"):
        big.download(origin.port, 1000)
    with DeadPort(is_black_hole=False) as port, pytest.raises(ConnectionRefusedError):
        big.upload(port.port, 10)


def test_the_table_shows_both_directions() -> None:
    """A failed transfer keeps its reason."""
    text = big.table(
        [big.Transfer("envoy", "upload", 1 << 30, 2.0, 1 << 20, 1.5), big.Transfer("envoy", "download", 1 << 30, problems=["status 504"])]
    )
    assert "| envoy | upload | 1024 | 2.00 | 1.0 | 1.50 |" in text
    assert "status 504" in text
