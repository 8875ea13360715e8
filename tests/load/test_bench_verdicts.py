"""Verdicts through the running proxy, as the benchmark asks for them."""

from __future__ import annotations

import os
from dataclasses import replace

from load.bench import verdicts
from load.bench.processes import Cpus
from load.bench.verdicts import CASES, Outcome

HERE = frozenset(os.sched_getaffinity(0))
SLOWER = next(case for case in CASES if case.name == "slower")


def test_what_falls_short_is_said() -> None:
    """A false alarm, a median over what was asked for, a run that failed."""
    rows = [
        Outcome("identical", 0, "REGRESSION", 50, "worse", false_alarm=True),
        Outcome("slower", 0, "REGRESSION", 1200, "slower", false_alarm=False),
        Outcome("slower", 1, "", 0, "", false_alarm=False, problem="no verdict"),
    ]
    assert verdicts.problems(rows) == [
        "slower 1: no verdict", "identical 0: false alarm: worse", "slower: 1200 pairs at the median, asked for 1000",
    ]  # fmt: skip
    assert "1200 to 1200" in verdicts.table(rows)


def test_a_run_without_the_verdict_counts_as_a_long_one() -> None:
    """Or runs that never see the fault would make the median better."""
    rows = [Outcome("slower", n, "UNDECIDED" if n else "REGRESSION", 500, "", false_alarm=False) for n in range(3)]
    assert verdicts.middle(rows, SLOWER) > SLOWER.pairs
    assert f"more than {SLOWER.pairs}" in verdicts.table(rows)


def test_a_shadow_that_is_much_slower_is_found() -> None:
    """A short run of everything: real services, the proxy, the load, the API."""
    case = replace(SLOWER, slower=60.0, pairs=900)
    outcome = verdicts.run_once(case, 0, Cpus(HERE, HERE))
    assert not outcome.problem
    assert outcome.verdict == "REGRESSION", outcome.summary
    assert 0 < outcome.pairs <= 900
