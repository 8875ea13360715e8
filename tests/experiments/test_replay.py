"""A journal of ticks, played again, gives the same decisions and the same document."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.experiments.conductor import Conductor, Tick
from shadowproxy.experiments.replay import play, replay
from tests.experiments.slices import an_experiment, counts

EXPERIMENT = an_experiment(
    duration="60s",
    guards=[
        {"metric": "error_rate", "above": 20, "hold": "200ms"},
        {"metric": "p99", "above": 1.5},
        {"metric": "burn_rate", "above": 300, "window": "1h"},
        {"metric": "probe", "probe": "orders", "below": 5, "hold": "1s"},
        {"metric": "units", "above": 400},
    ],
    probes=[{"name": "orders", "url": "http://127.0.0.1:1/orders"}],
    steady_state=[{"probe": "orders", "above": 8}],
    expect=[{"route": "cart"}],
    ramp={"steps": [2.5, 5, 10], "every": "2s"},
    budget={"requests": 3000},
)
STEADY = {"orders": {"baseline": 10.0, "low": 8.0, "high": None}}


@st.composite
def arms(draw: st.DrawFn) -> dict[str, Any]:
    """An Arm with any outcomes."""
    outcomes = st.sampled_from(["200", "404", "500", "503", "timeout", "reset", "client_gone"])
    responses = draw(st.dictionaries(outcomes, st.integers(0, 30), max_size=3))
    injected = draw(st.dictionaries(st.sampled_from(["503", "reset", "200"]), st.integers(1, 5), max_size=1))
    last = draw(st.dictionaries(st.integers(700, 1050).map(str), st.integers(1, 9), max_size=4))
    return {"requests": sum(responses.values()) + sum(injected.values()), "responses": responses, "last": last, "injected": injected}


@st.composite
def journals(draw: st.DrawFn) -> list[Tick]:
    """Ticks in order of time, of traffic, timers and probes."""
    now = 0.0
    ticks = []
    for _ in range(draw(st.integers(1, 60))):
        now += draw(st.floats(0.0, 3.0))
        told: dict[str, Any] = {}
        if draw(st.booleans()):
            seen = draw(st.integers(0, 60))
            told = {
                "epoch": 1,
                "fault": draw(arms()),
                "control": draw(arms()),
                "seen": seen,
                "unharmed": {"limit": draw(st.integers(0, seen))},
            }
            told |= {"expect": {"0": [draw(st.integers(0, 3)), 3]}, "units": draw(st.integers(0, 410)), "repeats": 1}
        probes = draw(st.dictionaries(st.just("orders"), st.none() | st.floats(0, 20), max_size=1))
        ticks.append(Tick(now, told, probes))
    return ticks


@given(journals())
def test_a_replay_is_the_same_to_the_byte(ticks: list[Tick]) -> None:
    """Through JSON and back: ticks, decisions after each, and the document with its keys sorted."""
    live = Conductor(EXPERIMENT, error_budget=40.0, steady=STEADY)
    decisions = [live.tick(tick) for tick in ticks]
    entries: list[dict[str, Any]] = [{"kind": "armed", "body": {"error_budget": 40.0, "steady": STEADY}}]
    entries += [{"kind": "tick", "body": tick.to_plain()} for tick in ticks]
    entries += [{"kind": "decision", "body": {"action": "go"}}]
    read = json.loads(json.dumps(entries))
    assert [Tick.from_plain(entry["body"]) for entry in read[1:-1]] == [Tick.from_plain(tick.to_plain()) for tick in ticks]
    again, decided = play(EXPERIMENT, read)
    assert decided == decisions
    document = json.dumps(live.document(), sort_keys=True, allow_nan=False)
    assert json.dumps(again.document(), sort_keys=True) == document
    assert json.dumps(replay(EXPERIMENT, read), sort_keys=True) == document
    assert json.loads(document) == live.document()


def test_a_tick_before_the_run_was_armed_is_refused() -> None:
    """A journal whose beginning is missing is not made up."""
    with pytest.raises(ValueError, match="before the run was armed"):
        replay(EXPERIMENT, [{"kind": "tick", "body": Tick(1.0, counts((1, 0), (1, 0))).to_plain()}])


def test_no_entries_are_a_run_that_has_not_begun() -> None:
    """Its document is that of a conductor that has seen nothing."""
    assert replay(EXPERIMENT, []) == Conductor(EXPERIMENT).document()
