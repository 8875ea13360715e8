"""Ramps: the next step when this one has lasted and is safe, and one alpha for all."""

from __future__ import annotations

import pytest

from shadowproxy.experiments.conductor import Conductor, Tick
from shadowproxy.experiments.ramp import Ramp
from tests.experiments.slices import World, an_experiment, counts, run

STEPS = {"steps": [2.5, 5, 10], "every": "10s"}


def test_steps_follow_when_safe_and_not_before_their_time() -> None:
    """Healthy: each step lasts at least its time, and its outcome says that it was safe."""
    conductor = Conductor(an_experiment(duration="100s", ramp=STEPS))
    assert conductor.percent == 2.5
    decided = run(conductor, World(31, error_rate=0.002), 110)
    assert [(decision.action, decision.percent) for _, decision in decided] == [("ramp", 5.0), ("ramp", 10.0), ("end", 0.0)]
    assert decided[0][0] >= 10
    assert decided[1][0] - decided[0][0] >= 10
    steps = conductor.document()["ramp"]
    assert [(step["percent"], step["outcome"]) for step in steps] == [(2.5, "safe"), (5.0, "safe"), (10.0, "finished")]
    assert [step["from_s"] for step in steps[1:]] == [step["to_s"] for step in steps[:-1]]
    assert "by less than 1 points" in decided[0][1].reason


def test_a_step_without_evidence_stays() -> None:
    """Too few answers to say anything: the ramp waits, and the run ends at its first step."""
    conductor = Conductor(an_experiment(duration="100s", ramp=STEPS))
    decided = run(conductor, World(32, rate=1.0), 110)
    assert [decision.action for _, decision in decided] == ["end"]
    assert conductor.document()["ramp"][0]["percent"] == 2.5


def test_alpha_is_for_all_steps_together() -> None:
    """Three steps have a third each."""
    assert Ramp(an_experiment(ramp=STEPS)).alpha * 3 == pytest.approx(0.05)
    assert Ramp(an_experiment()).alpha == 0.05


def test_a_ramp_goes_on_where_it_was_paused() -> None:
    """After an incident: the same step, for its whole time again."""
    conductor = Conductor(an_experiment(duration="200s", ramp={"steps": [5, 10], "every": "40s"}))
    decided = run(conductor, World(33, error_rate=0.002, incident=lambda now: 0.5 if 30 < now < 35 else 0.0), 210)
    assert [(decision.action, decision.percent) for _, decision in decided] == [
        ("pause", 0.0),
        ("resume", 5.0),
        ("ramp", 10.0),
        ("end", 0.0),
    ]
    assert decided[2][0] >= decided[1][0] + 40


def test_a_guard_that_is_true_holds_the_ramp() -> None:
    """Although it has not lasted for its hold."""
    conductor = Conductor(an_experiment(ramp=STEPS, guards=[{"metric": "units", "above": 3, "hold": "1h"}]))
    for second in range(1, 60):
        decision = conductor.tick(Tick(float(second), counts((100, 0), (100, 0), units=4)))
        assert decision.action == "go"
    assert conductor.percent == 2.5


def test_steps_that_harm_are_seldom_called_safe() -> None:
    """An excess of just the margin is called safe at any step of three in at most alpha of the runs: 300 runs, looked at with every tick."""
    wrong = 0
    for seed in range(300):
        ramp_is_wrong = False
        conductor = Conductor(an_experiment(ramp={"steps": [2.5, 5, 10], "every": "100ms"}, sequential={"alpha": 0.05, "margin": 3}))
        conductor.evidence.threshold = 1e9  # harm that is shown would end the run: here it is to be missed
        conductor.evidence.detector.run_length = 1e300
        world = World(seed, rate=1000, harm=lambda now: 0.03)
        for tick in world.ticks(8):
            ramp_is_wrong = ramp_is_wrong or conductor.tick(tick).action == "ramp"
        wrong += ramp_is_wrong
    assert wrong <= 15
