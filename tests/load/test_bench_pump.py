"""The floor moves bytes to both sides and back from one."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING

from load.bench import big
from load.bench.origins import PythonOrigin
from load.bench.ports import free_port
from load.bench.processes import Cpus
from load.bench.proxies import PROXIES, Instance, Setup

if TYPE_CHECKING:
    from pathlib import Path

CPUS = Cpus(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))


def test_live_answers_and_the_shadow_gets_a_copy(tmp_path: Path) -> None:
    """A body larger than any buffer arrives whole at live, and every request reaches the shadow too."""
    with ExitStack() as stack:
        live = stack.enter_context(PythonOrigin("live", tmp_path, CPUS))
        shadow = stack.enter_context(PythonOrigin("shadow", tmp_path, CPUS))
        floor = stack.enter_context(Instance(PROXIES["floor"], Setup(free_port(), live.port, shadow.port, tmp_path), CPUS))
        before = shadow.arrivals()
        big.upload(floor.port, 3_000_000)
        big.download(floor.port, 3_000_000)
        assert (shadow.wait_for(before.requests + 2) - before).requests == 2
        assert floor.cpu_ns() > 0
        assert floor.control_cpu_ns() == 0
        assert floor.peak_bytes() >= floor.resident_bytes() > 0
        floor.check()
    assert not [line for line in (tmp_path / "floor.log").read_text().splitlines() if "Error" in line]
