"""Idle connections are held, asked again, and counted."""

from __future__ import annotations

import os

from load.bench import idle
from load.bench.processes import Cpus
from load.bench.proxies import PROXIES
from tests.load.needs import needs_nginx

CPUS = Cpus(frozenset(os.sched_getaffinity(0)), frozenset(os.sched_getaffinity(0)))


@needs_nginx
def test_connections_are_opened_used_and_held() -> None:
    """Through nginx: all of them stay open, and memory is read before and with them."""
    row = idle.attempt(PROXIES["nginx"], 200, CPUS)
    assert row.problem == ""
    assert row.with_bytes >= row.before_bytes > 0


def test_the_cost_is_per_connection() -> None:
    """The difference, divided; a failed row keeps its reason."""
    row = idle.Idle("envoy", 1000, before_bytes=10_000_000, with_bytes=18_192_000)
    assert row.each_bytes == 8192.0
    text = idle.table([row, idle.Idle("nginx", 1000, problem="3 of 1000 connections were closed")])
    assert "| envoy | 1000 | 9.5 | 17.3 | 8.0 |" in text
    assert "failed: 3 of 1000 connections were closed" in text
