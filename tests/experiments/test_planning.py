"""What an experiment will take, held against runs of the very tests that are planned."""

from __future__ import annotations

import json
import random
from math import log
from statistics import median
from typing import TYPE_CHECKING

import pytest

from shadowproxy import logbuckets
from shadowproxy.experiments.allowance import Traffic
from shadowproxy.experiments.evidence import Evidence
from shadowproxy.experiments.planning import Effect, dry_report, duration, plan, to_abort, to_be_safe, to_detect, to_see_slower
from shadowproxy.experiments.slicecounts import Counts, Slices
from shadowproxy.judge import quantiles
from tests.experiments.cases import experiment

if TYPE_CHECKING:
    from collections.abc import Callable

SEQUENTIAL = experiment().sequential
BUSY = Traffic(requests_per_s=200.0, error_rate=0.01, seconds=3600.0, errors=7200.0, p50=0.05, p99=0.2)


def course(bad: float, rate: float, size: int, is_over: Callable[[Evidence], bool], chance: random.Random) -> int:
    """Requests of each slice until a test is over, by ticks of a fortieth of what is planned."""
    evidence, requests, each = Evidence(SEQUENTIAL), 0, max(3, size // 40)
    while not is_over(evidence) and requests < 20 * size:
        arms = [Counts(each, each, sum(chance.random() < share for _ in range(each))) for share in (bad, rate)]
        evidence.add(Slices(*arms))
        requests += each
    return requests


@pytest.mark.parametrize(("rate", "excess"), [(0.01, 0.03), (0.05, 0.06), (0.0, 0.03)])
def test_half_of_the_runs_have_seen_the_effect_by_then(rate: float, excess: float) -> None:
    """The median of simulated runs of the conductor's evidence is within a quarter of the plan (a fifth, and chance)."""
    chance = random.Random(7)
    for planned, is_over in (
        (to_detect(rate, excess, SEQUENTIAL), lambda evidence: evidence.is_shown),
        (to_abort(rate, excess, SEQUENTIAL), lambda evidence: evidence.detector.is_alarmed),
    ):
        assert planned is not None
        found = median(course(rate + excess, rate, planned, is_over, chance) for _ in range(200))
        assert found == pytest.approx(planned, rel=0.25), (planned, found)


@pytest.mark.parametrize(("rate", "margin"), [(0.01, 0.02), (0.0, 0.02), (0.05, 0.05)])
def test_half_of_the_steps_are_safe_by_then(rate: float, margin: float) -> None:
    """The same of a step of the ramp whose fault does no harm."""
    chance = random.Random(8)
    planned = to_be_safe(rate, margin, 0.02)
    assert planned is not None
    found = median(course(rate, rate, planned, lambda evidence: evidence.is_safe(margin, 0.02), chance) for _ in range(200))
    assert found == pytest.approx(planned, rel=0.25), (planned, found)


def test_a_longer_tail_is_seen_about_then() -> None:
    """Most runs have not seen it at two thirds of the plan, and most have at one and a half times it."""
    planned = to_see_slower(0.05, 0.2, 0.5, 0.05)
    assert planned is not None
    chance = random.Random(9)
    mu, sigma = log(0.05), log(4) / 2.3263

    def has_seen(size: int) -> bool:
        arms = []
        for factor in (1.0, 1.5):
            sketch: dict[int, int] = {}
            for _ in range(size):
                bucket = logbuckets.bucket(int(chance.lognormvariate(mu, sigma) * factor * 1e9))
                sketch[bucket] = sketch.get(bucket, 0) + 1
            arms.append(quantiles.from_sketch(sketch))
        low = quantiles.difference(arms[0], arms[1], 0.99, 0.05).low
        return low is not None and low > 0

    assert sum(has_seen(round(planned / 1.5)) for _ in range(7)) < 4
    assert sum(has_seen(round(planned * 1.5)) for _ in range(7)) > 3


def test_what_takes_more() -> None:
    """A smaller effect, a higher error rate, a smaller alpha and a longer tail take more requests; no effect is never seen."""
    strict = experiment(sequential={"alpha": 0.001}).sequential
    sizes = [
        to_detect(0.01, 0.04, SEQUENTIAL),
        to_detect(0.01, 0.02, SEQUENTIAL),
        to_detect(0.03, 0.02, SEQUENTIAL),
        to_detect(0.03, 0.02, strict),
    ]
    assert all(isinstance(size, int) for size in sizes)
    assert sizes == sorted(sizes, key=lambda size: size or 0)
    assert to_detect(0.01, 0.0, SEQUENTIAL) is None
    assert to_be_safe(0.01, 0.0, 0.05) is None
    assert to_abort(0.0, 0.0, SEQUENTIAL) is None
    wide, narrow = to_see_slower(0.05, 1.0, 0.5, 0.05), to_see_slower(0.05, 0.1, 0.5, 0.05)
    assert wide is not None
    assert narrow is not None
    assert narrow < wide
    assert to_see_slower(None, None, 0.5, 0.05) is None
    assert to_see_slower(0.05, 0.05, 0.5, 0.05) is not None


def test_a_plan_says_how_long_and_whether_that_suffices() -> None:
    """200 requests a second, 5 % of them, 300 s: enough for three points, not for half a one."""
    three, one = plan(experiment(), BUSY, Effect(errors=0.03)), plan(experiment(), BUSY, Effect(errors=0.005))
    assert three.rate == 10.0
    assert three.detect is not None
    assert three.needed_s == three.detect / 10
    assert (three.is_enough, one.is_enough) == (True, False)
    assert any("does not suffice" in sentence for sentence in one.to_plain()["sentences"])


def test_steps_of_a_ramp_take_their_time() -> None:
    """A step lasts as long as it must, and until it is shown to be safe; what was seen on the way counts for the effect."""
    ramped = plan(experiment(duration=3600, ramp={"steps": [1, 2, 4, 5], "every": 60}), BUSY, Effect(errors=0.03))
    for stage in ramped.stages[:-1]:
        assert stage.needed is not None
        assert stage.seconds == max(60.0, stage.needed / (BUSY.requests_per_s * stage.percent / 100))
    assert [stage.from_s for stage in ramped.stages] == sorted(stage.from_s for stage in ramped.stages)
    assert ramped.full_s == ramped.stages[-1].from_s
    assert ramped.requests == pytest.approx(sum(stage.requests or 0.0 for stage in ramped.stages))
    cut = plan(experiment(duration=60, ramp={"steps": [2.5, 5], "every": 50}), BUSY)
    assert cut.requests == 200 * 0.025 * 60
    broken = plan(experiment(duration=60, ramp={"steps": [2.5, 5], "every": 50}, inject={"faults": [{"reset": True}]}), BUSY).to_plain()
    assert broken["charge"]["expected"] <= broken["requests"]
    seen = ramped.seconds_to(ramped.detect)
    assert seen is not None
    assert ramped.detect is not None
    assert seen == ramped.detect / (BUSY.requests_per_s * 0.01)
    rare = plan(experiment(duration=36000, ramp={"steps": [1, 2, 4, 5], "every": 60}), BUSY, Effect(errors=0.004))
    assert rare.detect is not None
    assert rare.detect / (BUSY.requests_per_s * 0.05) < (rare.seconds_to(rare.detect) or 0.0) < rare.detect / (BUSY.requests_per_s * 0.01)
    stuck = plan(experiment(ramp={"steps": [2.5, 5]}, sequential={"margin": 0}), BUSY)
    assert (stuck.full_s, stuck.needed_s, stuck.is_enough) == (None, None, False)
    assert any("never shown to be safe" in sentence for sentence in stuck.to_plain()["sentences"])


def test_users_and_cost() -> None:
    """Units, if it is known how many come; the budget's limit on units; the charge, and what it may be."""
    known = Traffic(requests_per_s=100.0, units_per_s=20.0)
    assert plan(experiment(), known).units == 20 * 300 * 0.05
    assert plan(experiment(budget={"units": 50}), known).units == 50
    assert plan(experiment(), BUSY).units is None
    plain = plan(experiment(inject={"faults": [{"abort": {"status": 503}}]}), BUSY).to_plain()
    assert plain["charge"]["expected"] <= plain["charge"]["most"]
    assert plain["budget"]["allowed"] == pytest.approx(0.1 * plain["budget"]["remaining"])
    assert json.loads(json.dumps(plain)) == plain


def test_nothing_is_planned_for_routes_without_requests() -> None:
    """It says so, and fails in no other way."""
    plain = plan(experiment(ramp={"steps": [2.5, 5]}), Traffic(requests_per_s=0.0)).to_plain()
    assert plain["sentences"] == ["its routes have no requests now: nothing can be seen"]
    assert (plain["is_enough"], plain["needed_s"]) == (False, None)


def test_a_dry_run_says_what_it_would_have_touched() -> None:
    """Out of the sums of what workers told."""
    totals = {
        "seen": 330,
        "outside": 9350,
        "fault": {"requests": 325},
        "control": {"requests": 320},
        "faults": {"dry_read": 298, "dry_write": 14},
    }
    report = dry_report(totals, 90.0)
    assert report.sentence == "over 10,000 requests in 90 seconds this would have touched 312, 14 of them writes"
    assert dry_report({}, 0.0).touched == 0


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.5, "0.5 seconds"), (90, "90 seconds"), (150, "2.5 minutes"), (7200, "2 hours"), (864000, "10 days")]
)
def test_durations(seconds: float, text: str) -> None:
    """In the unit in which there are at least two."""
    assert duration(seconds) == text
