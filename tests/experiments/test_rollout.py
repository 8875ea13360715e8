"""The conductor of a rollout: bad versions go back at the first step, good ones reach everybody, and equal ones are hardly ever accused."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.declare import Percent, Seconds
from shadowproxy.config.experiments import Rollout
from shadowproxy.experiments.rollout import MOVES, ORDERS, RolloutConductor, RolloutTick
from tests.experiments.rollout_traffic import Traffic, halves, side


def rollout(**changed: Any) -> Rollout:
    """A rollout by user with short steps."""
    settings: dict[str, Any] = {"to": "v2", "key": "header:x-user", "bake": Seconds(5.0), "patience": Seconds(600.0), **changed}
    return Rollout(**settings)


def steps(*shares: float) -> tuple[Percent, ...]:
    """Shares in percent."""
    return tuple(Percent(share) for share in shares)


def rates(stable: float, canary: float) -> Any:
    """Error rates of both versions."""
    return lambda is_new, _: canary if is_new else stable


def events(conductor: RolloutConductor) -> list[tuple[str, float, str]]:
    """What has happened, with share and code."""
    return [(one["event"], one["percent"], one["code"]) for one in conductor.document()["history"]]


def test_a_good_version_reaches_everybody() -> None:
    """Step by step, none shorter than its bake, each because it was shown to be safe."""
    conductor = Traffic(rollout(), 1, rates(0.002, 0.002), users=20_000, rate=6000).run(400)
    assert events(conductor) == [
        ("step", 1.0, "start"),
        ("step", 5.0, "safe"),
        ("step", 25.0, "safe"),
        ("step", 50.0, "safe"),
        ("complete", 100.0, "safe"),
    ]
    times = [one["seconds"] for one in conductor.document()["history"]]
    assert all(after - before >= 5.0 for before, after in pairwise(times))
    assert conductor.document()["reason"] == "50 % is safe, errors worse by less than 0.5 points"


@pytest.mark.parametrize("seed", range(6))
def test_a_bad_version_is_rolled_back_at_the_first_step(seed: int) -> None:
    """One percent of new errors never gets to 5 %, and the number of affected units is stated."""
    conductor = Traffic(rollout(), seed, rates(0.001, 0.011), users=20_000, rate=4000).run(400)
    assert events(conductor) == [("step", 1.0, "start"), ("roll_back", 1.0, "errors")]
    document = conductor.document()
    assert (document["state"], document["percent"]) == ("rolled_back", 0.0)
    affected = document["affected"]
    assert affected["units"] == document["halves"]["canary"]["units"] > affected["harmed_units"] > 0
    assert f"{affected['units']:,} units affected, {affected['harmed_units']:,} of them by errors" in document["reason"]


def test_an_equal_version_is_hardly_ever_accused() -> None:
    """With an alpha of 1 % one of these ten would be a surprise, however often it is looked at; `test_half_evidence` counts thousands of looks."""
    ended = [
        Traffic(rollout(alpha=0.01, steps=steps(20, 50, 100), margin=Percent(4.0)), seed, rates(0.01, 0.01), users=500, rate=600)
        .run(30)
        .state
        for seed in range(10)
    ]
    assert ended.count("rolled_back") <= 1
    assert ended.count("completed") >= 5


def test_one_user_who_always_fails_accuses_nobody() -> None:
    """A broken client in the canary half fails hundreds of times on the new version, as it did on the old one: it is one unit."""
    conductor = RolloutConductor(rollout(patience=Seconds(1e6)))
    conductor.start()
    for second in range(200):
        counts = halves(canary=side({"500": 50, "200": 50}, [1, second + 10], [1]), stable=side({"200": 100}, [2**64 - 1 - second]))
        assert conductor.tick(RolloutTick(float(second), counts)).action == "stay"
    assert conductor.document()["halves"]["canary"]["failed_units"] == 1


def test_a_fault_that_comes_late_is_seen_soon() -> None:
    """After many requests with an equal background of errors, new errors are found within a few hundred canary requests, not after as many again."""
    traffic = Traffic(
        rollout(steps=steps(20, 100), bake=Seconds(1000.0), patience=Seconds(5000.0)), 5, rates(0.001, 0.001), users=50_000, rate=1000
    )
    traffic.run(150)
    assert traffic.conductor.state == "running"
    traffic.errors = rates(0.001, 0.031)
    conductor = traffic.run(12)
    assert events(conductor)[-1] == ("roll_back", 20.0, "errors")


def test_errors_within_the_margin_are_tolerated() -> None:
    """What is shown to be worse, but by less than the margin allows, is promoted and not rolled back."""
    traffic = Traffic(
        rollout(steps=steps(25, 50, 100), margin=Percent(3.0), bake=Seconds(20.0)), 3, rates(0.0, 0.005), users=20_000, rate=2000
    )
    conductor = traffic.run(100)
    assert conductor.state == "completed"
    assert conductor.document()["evidence"]["errors"]["log_e"] > conductor.error_threshold


def test_a_slower_version_is_rolled_back() -> None:
    """A median shown to be worse by more than allowed; and one that is worse by less than a millisecond is not looked at."""
    for ms, ends in ((13.0, "rolled_back"), (10.5, "running")):
        conductor = RolloutConductor(rollout(patience=Seconds(1e6), bake=Seconds(1e6)))
        conductor.start()
        for second in range(100):
            counts = halves(canary=side({"200": 30}, ms=ms), stable=side({"200": 30}, ms=10.0))
            conductor.tick(RolloutTick(float(second), counts))
        assert conductor.state == ends
    conductor = RolloutConductor(rollout(patience=Seconds(1e6), bake=Seconds(1e6)))
    conductor.start()
    for second in range(100):
        conductor.tick(RolloutTick(float(second), halves(canary=side({"200": 30}, ms=0.9), stable=side({"200": 30}, ms=0.2))))
    assert conductor.state == "running"


def test_a_failing_first_ring_is_enough() -> None:
    """Before chance has brought anybody to the new version, its first ring can send it back."""
    conductor = RolloutConductor(rollout(first=("qa",)))
    conductor.start()
    conductor.tick(RolloutTick(0.0, halves(stable=side({"200": 500}))))
    decision = conductor.tick(RolloutTick(1.0, halves(ring=side({"500": 20, "200": 5}, [7], [7]), stable=side({"200": 500}))))
    assert (decision.action, decision.code) == ("roll_back", "ring")
    assert "1 unit affected, 1 of them by errors (25 requests had the new version, 20 of them failed)" in decision.reason


def test_patience_ends() -> None:
    """Without traffic nothing is shown, so nobody is left on a version that nobody looks at; and what was lacking is said."""
    conductor = RolloutConductor(rollout(patience=Seconds(60.0)))
    conductor.start()
    conductor.tick(RolloutTick(1.0, halves(without_unit=4, outside=4)))
    assert conductor.tick(RolloutTick(60.0, {})).action == "stay"
    decision = conductor.tick(RolloutTick(60.1, {}))
    assert (decision.action, decision.code, decision.percent) == ("roll_back", "patience", 0.0)
    assert (
        "1 % was not shown to be safe within 60 seconds: 0 units had the new version, at least 5 must, and 4 requests named none"
        in decision.reason
    )


def test_unequal_halves_pause() -> None:
    """Evidence from halves that are none is void: it pauses, and goes on only when somebody has looked."""
    conductor = RolloutConductor(rollout())
    conductor.start()
    units = [(number << 40) for number in range(2000)]
    decision = conductor.tick(
        RolloutTick(1.0, halves(canary=side({"200": 2000}, units), stable=side({"200": 100}, [2**64 - 1 - n for n in range(100)])))
    )
    assert (decision.action, decision.code) == ("pause", "sample_ratio")
    conductor.order("resume", 2.0, "half of them are a load test")
    assert conductor.tick(RolloutTick(3.0, {})).action == "stay"
    assert conductor.tick(RolloutTick(60.0, {})).action != "pause"


def test_a_pause_stops_steps_and_clocks_but_no_guard() -> None:
    """No step and no end of patience while it is paused; a version that turns bad is rolled back even so."""
    traffic = Traffic(rollout(steps=steps(25, 100), patience=Seconds(30.0)), 2, rates(0.0, 0.0), rate=1500)
    traffic.conductor.start()
    traffic.second()
    traffic.conductor.order("pause", traffic.seconds, "lunch")
    for _ in range(60):
        traffic.second()
    assert (traffic.conductor.state, traffic.conductor.percent) == ("paused", 25.0)
    assert traffic.conductor.document()["step_seconds"] == pytest.approx(1.0)
    traffic.conductor.order("resume", traffic.seconds)
    assert traffic.conductor.document()["step_seconds"] == pytest.approx(1.0)
    traffic.conductor.order("pause", traffic.seconds)
    traffic.errors = rates(0.0, 0.5)
    traffic.second()
    assert traffic.conductor.state == "rolled_back"


def test_orders_by_hand() -> None:
    """Promote goes one step without waiting, complete all the way, abort back; each is on record with who said why."""
    conductor = RolloutConductor(rollout())
    conductor.start()
    assert conductor.order("promote", 1.0, "ann: it is Friday").percent == 5.0
    conductor.order("pause", 2.0)
    assert conductor.order("promote", 3.0).percent == 25.0
    assert conductor.state == "running"
    assert conductor.order("complete", 4.0).action == "complete"
    decision = conductor.order("abort", 5.0, "second thoughts")
    assert (decision.action, decision.percent, conductor.state) == ("roll_back", 0.0, "rolled_back")
    assert [code for _, _, code in events(conductor)] == ["start", "promoted", "by_hand", "promoted", "promoted", "by_hand"]
    assert conductor.document()["history"][1]["reason"] == "promoted by hand, without waiting: ann: it is Friday"


@pytest.mark.parametrize("order", [*ORDERS, "fly"])
def test_orders_that_make_no_sense_are_refused(order: str) -> None:
    """Nothing can be ordered of a rollout that is over, or that has not begun."""
    conductor = RolloutConductor(rollout())
    with pytest.raises(ValueError, match="a rollout that is idle cannot be told to"):
        conductor.order(order, 0.0)
    conductor.start()
    conductor.order("abort", 1.0)
    with pytest.raises(ValueError, match="a rollout that is rolled back cannot be told to"):
        conductor.order(order, 2.0)


def test_a_single_step_completes_at_once() -> None:
    """Steps of 100 alone are a switch."""
    assert RolloutConductor(rollout(steps=steps(100))).start().action == "complete"


def test_a_restart_goes_on_where_it_was() -> None:
    """Taken up from what was written down, at any moment, it decides and says the same as one that was never stopped."""
    traffic = Traffic(rollout(steps=steps(10, 50, 100)), 4, rates(0.004, 0.004), users=5000, rate=1500)
    traffic.run(7)
    taken_up = RolloutConductor.resumed(traffic.conductor.rollout, json.loads(json.dumps(traffic.conductor.snapshot())))
    assert taken_up.document() == traffic.conductor.document()
    before = len(traffic.ticks)
    traffic.run(60)
    for tick in traffic.ticks[before:]:
        taken_up.tick(RolloutTick.from_plain(json.loads(json.dumps(tick.to_plain()))))
    assert taken_up.document() == traffic.conductor.document()
    assert taken_up.state == "completed"


def test_a_replay_says_the_same() -> None:
    """The same ticks make the same document, bit for bit."""
    traffic = Traffic(rollout(), 9, rates(0.0, 0.05), users=20_000, rate=4000)
    traffic.run(60)
    again = RolloutConductor(traffic.conductor.rollout)
    again.start()
    for tick in traffic.ticks:
        again.tick(tick)
    assert json.dumps(again.document()) == json.dumps(traffic.conductor.document())


@pytest.mark.parametrize("changed", [{"state": "flying"}, {"step": 5}, {"counts": {}}, {"since": []}])
def test_a_snapshot_that_is_none_is_refused(changed: dict[str, Any]) -> None:
    """What was damaged is not gone on with."""
    conductor = RolloutConductor(rollout())
    conductor.start()
    with pytest.raises((ValueError, KeyError)):
        RolloutConductor.resumed(rollout(), {**conductor.snapshot(), **changed})


@given(st.lists(st.sampled_from([*ORDERS, "good", "bad", "wait"]), max_size=30))
def test_whatever_happens_moves_are_lawful(happenings: list[str]) -> None:
    """The share only grows until it is 0 for good, and every change of state is in the table."""
    conductor = RolloutConductor(rollout(key="", bake=Seconds(1.0)))
    conductor.start()
    seconds, state, percent = 0.0, conductor.state, conductor.percent
    for happening in happenings:
        seconds += 1.0
        if happening in ORDERS:
            if state in ORDERS[happening]:
                conductor.order(happening, seconds)
        else:
            counts = {
                "good": halves(canary=side({"200": 2000}), stable=side({"200": 2000})),
                "bad": halves(canary=side({"500": 20}), stable=side({"200": 20})),
            }
            conductor.tick(RolloutTick(seconds, counts.get(happening, {})))
        assert conductor.state == state or conductor.state in MOVES[state]
        assert conductor.percent >= percent or (conductor.percent == 0.0 and conductor.state == "rolled_back")
        state, percent = conductor.state, conductor.percent
        json.dumps(conductor.document(), allow_nan=False)


def test_its_repr_says_where_it_is() -> None:
    """For logs."""
    assert repr(RolloutConductor(rollout())) == "RolloutConductor(v2, idle, 0 %, FailedUnits(0 on the canary, 0 on control, log_e=0.0))"
