"""What a run does with what it is told: precedence, pauses, ends, verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.experiments.conductor import ENVIRONMENT_S, PAUSES, RECOVERY_S, Conductor, Decision, Tick
from tests.experiments.slices import World, an_experiment, arm, counts, run

GUARD = {"metric": "error_rate", "above": 5}
PROBE = {"name": "orders", "url": "http://127.0.0.1:1/orders", "every": "1s"}
STEADY: dict[str, dict[str, float | None]] = {"orders": {"baseline": 10.0, "low": 8.0, "high": 12.0}}
DEAF = {"alpha": 0.000001, "run_length": 1e9}
"""Sequential evidence that is never enough: what is left are guards."""


def last(decided: list[tuple[float, Decision]]) -> tuple[float, Decision]:
    """When a run ended, and how."""
    assert decided
    assert decided[-1][1].action == "end"
    return decided[-1]


def test_a_healthy_run_completes_and_is_upheld() -> None:
    """Nothing is wrong: no pause, the end at its time, and a verdict that says what was compared."""
    conductor = Conductor(an_experiment(duration="120s", guards=[GUARD]))
    decided = run(conductor, World(1, tides=0.5), 130)
    assert [(when, decision.state, decision.code) for when, decision in decided] == [(120.0, "completed", "finished")]
    document = conductor.document()
    assert document["verdict"] == "upheld"
    assert "failed with the fault" in document["sentence"]
    assert document["ramp"] == [{"percent": 10.0, "from_s": 0.0, "to_s": 120.0, "outcome": "finished"}]
    assert document["excess"]["errors"]["low"] < 0 < document["excess"]["errors"]["high"]
    assert document["guards"][0]["metric"] == "error_rate"
    assert not document["guards"][0]["has_tripped"]
    assert document["sample_ratio"]["is_mismatch"] is False


def test_a_guard_without_hold_trips_on_the_very_tick() -> None:
    """Twenty answers, two errors, over 5 %: the tick that says so ends the run."""
    conductor = Conductor(an_experiment(guards=[GUARD], sequential=DEAF))
    assert conductor.tick(Tick(0.1, counts((18, 1), (18, 0)))) == Decision("go", percent=10.0)
    ended = conductor.tick(Tick(0.2, counts((2, 1), (2, 0))))
    assert (ended.action, ended.state, ended.code, ended.percent) == ("end", "aborted", "guard_error_rate", 0.0)
    assert ended.reason == "the error rate is 10 %, above 5 %, over 20 answers of the last 10 s"
    assert conductor.tick(Tick(0.3, counts((9, 0), (9, 0)))) is ended
    assert conductor.percent == 0.0
    assert [guard["has_tripped"] for guard in conductor.document()["guards"]] == [True]


def test_harm_is_shown_without_any_guard() -> None:
    """The sequential test ends the run, and the hypothesis is refuted with numbers."""
    conductor = Conductor(an_experiment())
    when, ended = last(run(conductor, World(2, harm=lambda now: 0.2), 20))
    assert (ended.state, ended.code) == ("aborted", "harm")
    assert when < 1.0
    assert conductor.document()["verdict"] == "refuted"
    assert "at most 5 % of runs" in ended.reason


def test_answers_that_we_made_up_are_not_errors() -> None:
    """They are shown, and charged; they are neither errors nor latencies."""
    conductor = Conductor(an_experiment(guards=[GUARD]), error_budget=100.0)
    told = counts((0, 0), (40, 0), seen=40)
    told["fault"] = arm(0, injected=40)
    assert conductor.tick(Tick(0.1, told)).action == "go"
    document = conductor.document()
    fault = document["slices"]["fault"]
    assert (fault["requests"], fault["errors"], fault["injected"], fault["error_rate"], fault["p99"]) == (40, 0, 40, None, None)
    assert document["budget"]["charge"] == 40
    for second in range(1, 4):
        decision = conductor.tick(Tick(float(second), told))
    assert (decision.action, decision.code) == ("end", "budget_errors")


def test_an_incident_in_both_slices_is_the_environment() -> None:
    """It pauses at once, and ends the run when it lasts; the guard, which is true as well, has not tripped."""
    conductor = Conductor(an_experiment(guards=[GUARD]))
    decided = run(conductor, World(3, incident=lambda now: 0.5 if now > 60 else 0.0), 130)
    assert [(decision.action, decision.code) for _, decision in decided] == [("pause", "environment"), ("end", "environment")]
    assert decided[0][0] < 60.5
    assert decided[1][0] - decided[0][0] == pytest.approx(ENVIRONMENT_S, abs=0.2)
    assert decided[0][1].percent == 0.0
    document = conductor.document()
    assert document["verdict"] == "environment"
    assert not document["guards"][0]["has_tripped"]
    assert document["ramp"][0]["outcome"] == "paused"


def test_an_incident_that_passes_lets_the_run_go_on() -> None:
    """Ten seconds are over before long: the same step goes on, and what was seen meanwhile trips nothing."""
    conductor = Conductor(an_experiment(duration="150s", guards=[{"metric": "error_rate", "above": 5, "window": "60s"}]))
    decided = run(conductor, World(4, incident=lambda now: 0.5 if 60 < now < 70 else 0.0), 160)
    assert [decision.action for _, decision in decided] == ["pause", "resume", "end"]
    assert decided[1][0] >= 70 + RECOVERY_S
    assert decided[1][1].percent == 10.0
    assert decided[2][1].code == "finished"
    assert conductor.document()["verdict"] == "upheld"


def test_harm_of_the_fault_alone_is_never_excused() -> None:
    """Control is as it was: the guard aborts, with sequential evidence out of the way."""
    conductor = Conductor(an_experiment(guards=[{**GUARD, "window": "500ms"}], sequential=DEAF))
    when, ended = last(run(conductor, World(5, harm=lambda now: 0.15 if now > 30 else 0.0), 60))
    assert ended.code == "guard_error_rate"
    assert 30 < when < 31


def test_harm_beyond_an_incident_is_not_excused_by_it() -> None:
    """Control is bad, the slice with the fault much worse: that is harm."""
    conductor = Conductor(an_experiment(guards=[GUARD]))
    world = World(6, incident=lambda now: 0.1 if now > 30 else 0.0, harm=lambda now: 0.6 if now > 30 else 0.0)
    _, ended = last(run(conductor, world, 60))
    assert ended.code in {"harm", "harm_late", "guard_error_rate"}


def test_an_incident_that_comes_back_each_time_ends_the_run() -> None:
    """After three resumptions the fourth is an end that says why."""

    def bad(now: float) -> float:
        return 0.5 if now > 30 and conductor.percent > 0 else 0.0

    conductor = Conductor(an_experiment(guards=[GUARD]))
    decided = run(conductor, World(7, incident=bad), 300)
    assert [decision.action for _, decision in decided] == ["pause", "resume"] * PAUSES + ["end"]
    ended = decided[-1][1]
    assert ended.code == "environment"
    assert "may reach further than its slice" in ended.reason


def test_a_pause_without_history_is_over_when_control_is_within_the_guard() -> None:
    """Two errors of the first answers of both slices, where one in fifty always fails: a pause, and then the run goes on."""
    conductor = Conductor(an_experiment(guards=[GUARD]))
    assert conductor.tick(Tick(0.1, counts((30, 2), (30, 2)))).action == "pause"
    actions = [conductor.tick(Tick(0.1 + second, counts((50, 1), (50, 1)))).action for second in range(1, 15)]
    assert "resume" in actions


def test_a_guard_is_not_excused_for_ever() -> None:
    """Control has an error now and then, never an incident: after three pauses the guard is right."""
    conductor = Conductor(an_experiment(guards=[{"metric": "error_rate", "above": 5}], sequential=DEAF))
    conductor.tick(Tick(1.0, counts((100, 0), (200, 0))))
    conductor.tick(Tick(5.0, counts((1, 0), (1, 0))))
    actions, now = [], 20.0
    while conductor.end is None:
        told = counts((20, 0), (20, 0)) if conductor.is_paused else counts((20, 2), (20, 1))
        now += 2.0
        actions.append(conductor.tick(Tick(now, told)).action)
    assert actions.count("pause") == actions.count("resume") == PAUSES
    assert conductor.end.code == "guard_error_rate"


def test_latency_of_both_slices_is_the_environment() -> None:
    """All answers take eight times as long: the guard of the p99 pauses, and while control is slow the run does not go on."""
    conductor = Conductor(an_experiment(guards=[{"metric": "p99", "above": 0.5}]))
    world = World(8, has_latency=True, slower=1.5, incident=lambda now: 1e-9 if now > 30 else 0.0, incident_slower=8.0)
    decided = run(conductor, world, 80)
    assert [(decision.action, decision.code) for _, decision in decided] == [("pause", "environment"), ("end", "environment")]


def test_latency_of_the_fault_alone_trips_its_guard() -> None:
    """Control is as fast as it was."""
    conductor = Conductor(an_experiment(guards=[{"metric": "p99", "above": 0.5}]))
    _, ended = last(run(conductor, World(9, has_latency=True, slower=8.0), 10))
    assert ended.code == "guard_p99"


def test_a_probe_that_cannot_be_read_aborts() -> None:
    """Three intervals without a value: nobody sees what is guarded, so it is over (fail closed)."""
    conductor = Conductor(an_experiment(probes=[PROBE], guards=[{"metric": "probe", "probe": "orders", "below": 5}]))
    assert conductor.tick(Tick(0.5, {}, {"orders": 9.0})).action == "go"
    assert conductor.tick(Tick(3.5, {}, {"orders": None})).action == "go"
    ended = conductor.tick(Tick(3.6, {}, {"orders": None}))
    assert (ended.state, ended.code) == ("aborted", "guard_probe")
    assert "could not be read for 3 intervals of 1 s" in ended.reason


def test_a_probe_beyond_its_bound_aborts_after_its_hold() -> None:
    """Two seconds below, without a break."""
    conductor = Conductor(an_experiment(probes=[PROBE], guards=[{"metric": "probe", "probe": "orders", "below": 5, "hold": "2s"}]))
    seen = [conductor.tick(Tick(now, {}, {"orders": value})).action for now, value in ((1, 4), (2, 6), (3, 4), (4.9, 4), (5, 4))]
    assert seen == ["go", "go", "go", "go", "end"]
    assert conductor.end is not None
    assert conductor.end.reason == "probe orders is 4, below 5, for 2 s"


def steady_run(values: list[tuple[float, float | None]], **changed: Any) -> tuple[Conductor, list[str]]:
    """A run whose probe of the steady state is told at times, beside healthy traffic."""
    conductor = Conductor(an_experiment(probes=[PROBE], steady_state=[{"probe": "orders", "above": 8}], **changed), steady=STEADY)
    told = counts((100, 0), (100, 0))
    return conductor, [conductor.tick(Tick(now, told, {"orders": value})).action for now, value in values]


def test_a_steady_state_that_is_lost_pauses_and_ends() -> None:
    """Errors show nothing, and yet the system is not well: pause first, end when it lasts."""
    conductor, actions = steady_run([(1, 10.0), (2, 3.0), (20, 3.0), (33, 3.0)])
    assert actions == ["go", "pause", "go", "end"]
    assert conductor.end is not None
    assert conductor.end.code == "environment"
    assert "probe orders is 3, outside its steady state (8 to 12)" in conductor.end.reason


def test_a_steady_state_that_comes_back_lets_the_run_go_on() -> None:
    """Within its bounds for a while."""
    _, actions = steady_run([(1, 10.0), (2, 3.0), (3, 10.0), (7, 10.0), (8.1, 10.0)])
    assert actions == ["go", "pause", "go", "go", "resume"]


def test_a_steady_state_that_nobody_knows_upholds_nothing() -> None:
    """The verdict needs it in its bounds at the end."""
    conductor, _ = steady_run([(1, None), (11, None)], duration="10s")
    document = conductor.document()
    assert document["verdict"] == "undecided"
    assert "could not be read" in document["sentence"]
    assert document["steady"] == [{"probe": "orders", "baseline": 10.0, "value": None, "low": 8.0, "high": 12.0, "is_well": None}]


@pytest.mark.parametrize(
    ("budget", "told", "code"),
    [
        ({"units": 10}, {"units": 10}, "budget_units"),
        ({"requests": 100}, {"seen": 130, "unharmed": {"limit": 30}}, "budget_requests"),
    ],
)
def test_what_is_used_up_ends_the_run(budget: dict[str, int], told: dict[str, Any], code: str) -> None:
    """Exactly at the limit."""
    conductor = Conductor(an_experiment(budget=budget))
    ended = conductor.tick(Tick(1.0, {**counts((50, 0), (50, 0)), **told}))
    assert (ended.state, ended.code) == ("aborted", code)


@pytest.mark.parametrize(
    ("held", "looked_at", "verdict", "is_upheld"), [(60, 60, "upheld", True), (30, 60, "refuted", False), (5, 5, "undecided", None)]
)
def test_expectations_make_the_verdict(held: int, looked_at: int, verdict: str, is_upheld: bool | None) -> None:
    """Held, failed beyond chance, or too few to say."""
    conductor = Conductor(an_experiment(duration="10s", expect=[{"route": "cart"}]))
    for now in (5.0, 10.0):
        conductor.tick(Tick(now, counts((50, 0), (50, 0), **({"expect": {"0": [held, looked_at]}} if now == 5.0 else {}))))
    document = conductor.document()
    assert document["verdict"] == verdict
    assert document["expectations"][0]["is_upheld"] is is_upheld
    assert f"{held} of {looked_at} answers" in document["sentence"]


def test_an_empty_run_is_undecided() -> None:
    """Nobody was in the slice: nothing was shown."""
    conductor = Conductor(an_experiment(duration="10s"))
    assert conductor.tick(Tick(10.0)).code == "finished"
    assert conductor.document()["verdict"] == "undecided"
    assert "no request was in the slice" in conductor.document()["sentence"]
