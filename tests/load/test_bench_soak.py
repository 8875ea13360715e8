"""Soaking: memory and errors over time."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import TYPE_CHECKING

from load.bench import soak
from load.bench.faults import FAULTS
from load.bench.processes import Cpus
from load.bench.proxies import PROXIES
from load.bench.soak import Endurance
from load.bench.tables import MIB
from tests.load.needs import needs_nginx

if TYPE_CHECKING:
    import pytest

HERE = frozenset(os.sched_getaffinity(0))
ROW = Endurance("hang", "hangs", "shadowproxy", 100, 600.0, 60_000, {}, 40 * MIB, 50 * MIB, 55 * MIB, 60 * MIB)


def test_memory_that_settles_is_no_problem() -> None:
    """Whatever it settles at, within the bound."""
    assert soak.judge(ROW) == []


def test_each_way_to_break_the_promise_is_named() -> None:
    """An error, more than the bound, growth without end; with numbers."""
    bad = replace(ROW, errors={"reset": 1}, peak_bytes=105 * MIB, end_bytes=70 * MIB)
    assert soak.judge(bad) == ["live errors: {'reset': 1}", "grew by 65 MiB, bound 64", "still grew by 20 MiB after 60 s"]
    assert "1 of 60000" in soak.table([bad])


@needs_nginx
def test_a_short_soak_runs_all_that_was_asked_for_at_once(capsys: pytest.CaptureFixture[str]) -> None:
    """Two faults, two seconds: real proxies, real shadows, no live errors, and memory was looked at."""
    chosen = [fault for fault in FAULTS if fault.name in {"hang", "refuse"}]
    rows = list(soak.run([PROXIES["shadowproxy"]], chosen, 2.5, Cpus(HERE, HERE), print))
    assert [row.fault for row in rows] == [fault.name for fault in chosen]
    for row in rows:
        assert row.problems == []
        assert row.requests > 100
        assert 0 < row.settled_bytes <= row.peak_bytes
    assert capsys.readouterr().out.count("held") == 2
