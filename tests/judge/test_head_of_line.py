"""Order of admission, through the data plane's own pairing: what head of line saves the judge from (STATISTICS C1).

Both arms fail one request in a hundred. Live takes half a minute to fail, the shadow a twentieth of a second. Nothing is
worse; and whoever counts pairs as they complete sees thirty seconds of shadow failures before the first of live.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from math import log
from typing import TYPE_CHECKING

import numpy as np
import pytest
from scipy import stats

from shadowproxy.dataplane import outcome
from shadowproxy.dataplane.tally import MirrorTally
from shadowproxy.judge.mcnemar import log_e_one_sided
from shadowproxy.judge.pairs import is_error

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shadowproxy.dataplane.tally import Pair

ALPHA = 0.05
DEEP = os.environ.get("DEEP") == "1"
RUNS = 300 if DEEP else 16
RATE, SECONDS, FAILING = 200, 120, 0.01
LIVE_FAILS_S, SHADOW_FAILS_S, ANSWERS_S, DEADLINE_S = 30.0, 0.05, 0.02, 45.0
NS = 1_000_000_000
pytestmark = [pytest.mark.deep, pytest.mark.timeout(3600)] if DEEP else []
DEADLINE_NS = int(DEADLINE_S * NS)
ARRIVES, LIVE, SHADOW, REPORT = range(4)


@dataclass
class Judge:
    """What control does with reports: adds, and looks at the evidence after each."""

    shadow_only: int = 0
    live_only: int = 0
    is_alarmed: bool = False

    def read(self, matrix: Mapping[str, int]) -> None:
        """One tick's pairs, as a worker reports them."""
        for cell, count in matrix.items():
            live, shadow = (is_error(name) for name in cell.split(","))
            self.shadow_only += count * (shadow and not live)
            self.live_only += count * (live and not shadow)
        self.is_alarmed = self.is_alarmed or log_e_one_sided(self.shadow_only, self.live_only) >= log(1 / ALPHA)


def _tally() -> MirrorTally:
    return MirrorTally("all/shadow", memoryview(bytearray(8)).cast("Q"), 0)


def _events(rng: np.random.Generator) -> list[tuple[float, int, int, bool]]:
    """What happens in two minutes, in order: when, what (ARRIVES, LIVE, SHADOW, REPORT), to which request, and whether it failed."""
    count = RATE * SECONDS
    arrived = np.arange(count) / RATE
    events = [(float(at), ARRIVES, index, False) for index, at in enumerate(arrived)]
    for leg, slow in ((LIVE, LIVE_FAILS_S), (SHADOW, SHADOW_FAILS_S)):
        fails = rng.random(count) < FAILING
        ended = arrived + np.where(fails, slow, ANSWERS_S)
        events += [(float(at), leg, index, bool(failed)) for index, (at, failed) in enumerate(zip(ended, fails, strict=True))]
    events += [(second + 0.5, REPORT, 0, False) for second in range(SECONDS)]
    return sorted(event for event in events if event[0] <= SECONDS)


def two_minutes(rng: np.random.Generator) -> tuple[Judge, Judge]:
    """The same traffic judged head of line, and in the order of completion: there each pair stands in a line of its own."""
    line = _tally()
    pairs: dict[int, tuple[Pair, ...]] = {}
    head_of_line, completion = Judge(), Judge()
    completed: Counter[str] = Counter()
    events = _events(rng)
    # Pairs without a failure are not evidence: only the others are followed a second time.
    failing = {index for _, _, index, has_failed in events if has_failed}
    for at, what, index, has_failed in events:
        if what == ARRIVES:
            tallies = (line, _tally()) if index in failing else (line,)
            pairs[index] = tuple(tally.open(int(at * NS), int((at + DEADLINE_S) * NS)) for tally in tallies)
        elif what == REPORT:
            line.expire(int(at * NS))
            head_of_line.read(line.report()["matrix"])
            completion.read(completed)
            completed.clear()
        else:
            for pair in pairs[index]:
                if what == LIVE:
                    pair.live_ended(outcome.TIMEOUT if has_failed else 200, 1, 1, 1, None)
                else:
                    pair.shadow_ended(503 if has_failed else 200, 1, 1, 1, None)
            if index in failing and not pair.tally.ring:
                completed.update(pair.tally.report()["matrix"])
    return head_of_line, completion


@pytest.fixture(scope="module")
def judged() -> list[tuple[Judge, Judge]]:
    """Many two minutes of like arms."""
    rng = np.random.default_rng(30)
    return [two_minutes(rng) for _ in range(RUNS)]


def test_completion_order_is_always_wrong(judged: list[tuple[Judge, Judge]]) -> None:
    """Counted as they complete, the pairs of two like arms alarm every time."""
    assert all(completion.is_alarmed for _, completion in judged)


def test_head_of_line_is_right(judged: list[tuple[Judge, Judge]]) -> None:
    """Admitted in arrival order, they alarm in no more runs than alpha allows; and both kinds of failure were there to err on."""
    alarms = sum(head_of_line.is_alarmed for head_of_line, _ in judged)
    assert alarms <= stats.binom.ppf(0.99, RUNS, ALPHA), f"{alarms} of {RUNS}"
    if RUNS >= 300:
        assert alarms <= 1.3 * ALPHA * RUNS
    # Ninety of the two minutes are admitted by the end: some 180 failures of each arm.
    assert all(100 < judge.live_only < 280 and 100 < judge.shadow_only < 280 for judge, _ in judged)


def test_the_evidence_of_a_worse_shadow_waits_and_comes() -> None:
    """Head of line costs time, not power: after the slow failure ahead of it, each shadow failure counts."""
    line, judge = _tally(), Judge()
    first = line.open(0, DEADLINE_NS)
    for _ in range(8):
        pair = line.open(0, DEADLINE_NS)
        pair.live_ended(200, 1, 1, 1, None)
        pair.shadow_ended(503, 1, 1, 1, None)
    judge.read(line.report()["matrix"])
    assert (judge.shadow_only, judge.is_alarmed) == (0, False)
    first.shadow_ended(200, 1, 1, 1, None)
    first.live_ended(outcome.TIMEOUT, 1, 1, 1, None)
    judge.read(line.report()["matrix"])
    assert (judge.shadow_only, judge.live_only, judge.is_alarmed) == (8, 1, False)


def test_a_deadline_frees_the_line() -> None:
    """A shadow that never answers is a timeout at the pair's deadline, and what waited behind it is counted."""
    line, judge = _tally(), Judge()
    for at in range(8):
        line.open(0, DEADLINE_NS + at).live_ended(200, 1, 1, 1, None)
    line.expire(DEADLINE_NS + 10)
    judge.read(line.report()["matrix"])
    assert (judge.shadow_only, judge.is_alarmed) == (8, True)
