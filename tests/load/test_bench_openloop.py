"""The open loop charges a stall to whoever stalled."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from load.bench import openloop
from load.bench.openloop import Load
from load.bench.origins import DeadPort, PythonOrigin
from load.bench.processes import Cpus
from load.bench.scenarios import SMALL

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

CPUS = Cpus(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))
GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"


def test_every_due_request_is_sent_and_answered(tmp_path: Path) -> None:
    """The schedule is kept: rate times seconds requests are due, past the warm-up, over few connections."""
    with PythonOrigin("live", tmp_path, CPUS) as origin:
        sample = openloop.run(Load(origin.port, GET, SMALL, rate=200, seconds=0.5, connections=4, warm_up_s=0.1))
        assert origin.arrivals().requests == 120
    assert (sample.due, sample.answered, sample.latencies.total) == (100, 100, 100)
    assert not sample.errors


def test_an_answer_of_the_wrong_length_is_an_error(tmp_path: Path) -> None:
    """A truncated answer is not a fast one."""
    with PythonOrigin("live", tmp_path, CPUS) as origin:
        sample = openloop.run(Load(origin.port, GET, SMALL + 1, rate=100, seconds=0.1, connections=2, warm_up_s=0.0))
    assert sample.errors == {"length": 10}
    assert sample.answered == 0


def test_waiting_for_a_connection_counts(tmp_path: Path) -> None:
    """One connection, an origin that takes three seconds: the second request's latency includes the first's."""
    with PythonOrigin("late", tmp_path, CPUS, mode="late") as origin:
        sample = openloop.run(Load(origin.port, GET, SMALL, rate=100, seconds=0.02, connections=1, warm_up_s=0.0))
    assert sample.due == 2
    assert sample.latencies.quantile_us(0.5) >= 2_990_000
    assert sample.latencies.total == 2


def test_a_server_that_resets_is_counted_per_request(tmp_path: Path) -> None:
    """Each lost answer is one error, connections are replaced, and the run ends."""
    with PythonOrigin("reset", tmp_path, CPUS, mode="reset") as origin:
        sample = openloop.run(Load(origin.port, GET, SMALL, rate=50, seconds=0.2, connections=2, warm_up_s=0.0))
    assert sample.answered == 0
    assert sum(count for kind, count in sample.errors.items() if kind != "connect") == 10


def test_unanswered_requests_end_the_run_as_errors(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither those under way nor those that wait for a connection are forgotten."""
    monkeypatch.setattr(openloop, "GRACE_S", 0.2)
    with PythonOrigin("hang", tmp_path, CPUS, mode="hang") as origin:
        sample = openloop.run(Load(origin.port, GET, SMALL, rate=100, seconds=0.1, connections=3, warm_up_s=0.0))
    assert sample.errors == {"unanswered": 10}
    assert sample.latencies.total == 10


def test_a_port_that_refuses_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """The generator keeps trying to connect, and the run still ends with every request accounted for."""
    monkeypatch.setattr(openloop, "GRACE_S", 0.2)
    with DeadPort(is_black_hole=False) as port:
        sample = openloop.run(Load(port.port, GET, SMALL, rate=100, seconds=0.1, connections=1, warm_up_s=0.0))
    assert sample.errors["unanswered"] == 10
    assert sample.errors["connect"] >= 1
