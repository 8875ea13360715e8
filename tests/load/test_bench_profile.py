"""Samples become shares, most expensive function first."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from load.bench import profile
from load.bench.processes import BenchError

if TYPE_CHECKING:
    from pathlib import Path


def test_shares_are_parts_of_all_samples() -> None:
    """Functions that only call others have no own time and are listed all the same."""
    said = {"total": 10, "own": {"head.read": 7, "tee.copy": 3}, "inclusive": {"head.read": 7, "tee.copy": 3, "worker.main": 10}}
    rows = profile.shares(json.dumps(said))
    assert [(row.function, row.own, row.inclusive) for row in rows] == [
        ("head.read", 0.7, 0.7),
        ("tee.copy", 0.3, 0.3),
        ("worker.main", 0.0, 1.0),
    ]
    assert "| `head.read` | 70.0% | 70.0% |" in profile.table(rows)


def test_no_sample_is_no_profile() -> None:
    """An empty file is told, not divided by."""
    with pytest.raises(BenchError, match="no sample"):
        profile.shares('{"total": 0, "own": {}, "inclusive": {}}')


def test_the_hook_is_for_workers_only(tmp_path: Path) -> None:
    """The supervisor imports it too and does not sample itself."""
    proxy = profile.Sampled(tmp_path)
    hook = (tmp_path / "sitecustomize.py").read_text()
    assert "if 'shadowproxy.dataplane.process' in sys.orig_argv:" in hook
    assert proxy.environment["PYTHONPATH"].startswith(str(tmp_path))
