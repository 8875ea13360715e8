"""A journal of ticks, played again, gives the same decisions and the same document."""

from __future__ import annotations

import json
from random import Random
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
        {"metric": "units", "above": 405},
    ],
    probes=[{"name": "orders", "url": "http://127.0.0.1:1/orders"}],
    steady_state=[{"probe": "orders", "above": 8}],
    expect=[{"route": "cart"}],
    ramp={"steps": [2.5, 5, 10], "every": "2s"},
    budget={"requests": 3000},
)
STEADY = {"orders": {"baseline": 10.0, "low": 8.0, "high": None}}
CONTAINMENT = {"before": {"b": [2000, 4], "c": [12, 0], "d": [500, 200]}, "unwatched": ""}


def an_arm(rng: Random) -> dict[str, Any]:
    """An Arm with any outcomes, more or less bad."""
    outcomes = ("200", "200", "404", "500", "503", "timeout", "reset", "client_gone")
    responses = {rng.choice(outcomes): rng.randrange(30) for _ in range(rng.randrange(4))}
    injected = {rng.choice(("503", "reset", "200")): rng.randrange(1, 5)} if rng.random() < 0.3 else {}
    last = {str(rng.randrange(700, 1050)): rng.randrange(1, 9) for _ in range(rng.randrange(5))}
    return {"requests": sum(responses.values()) + sum(injected.values()), "responses": responses, "last": last, "injected": injected}


def a_journal(seed: int, length: int) -> list[Tick]:
    """Ticks in order of time, of traffic, timers and probes; a few hundred seeds reach eight kinds of end."""
    rng = Random(seed)
    now = 0.0
    ticks = []
    for _ in range(length):
        now += rng.expovariate(2.0)
        told: dict[str, Any] = {}
        if rng.random() < 0.7:
            seen = rng.randrange(60)
            told = {"epoch": 1, "fault": an_arm(rng), "control": an_arm(rng), "seen": seen, "unharmed": {"limit": rng.randint(0, seen)}}
            told |= {"expect": {"0": [rng.randint(0, 3), 3]}, "units": rng.randrange(410), "repeats": 1}
        if rng.random() < 0.5:
            told["cells"] = {cell: [20, rng.randint(0, 20) if rng.random() < 0.1 else 0] for cell in ("b", "d", "z")}
        probes = {"orders": rng.choice((None, 9.5, 10.25, rng.uniform(0, 20)))} if rng.random() < 0.5 else {}
        ticks.append(Tick(now, told, probes))
    return ticks


@given(st.builds(a_journal, st.integers(0, 2**32), st.integers(0, 80)))
def test_a_replay_is_the_same_to_the_byte(ticks: list[Tick]) -> None:
    """Through JSON and back: ticks, decisions after each, and the document with its keys sorted."""
    live = Conductor(EXPERIMENT, error_budget=40.0, steady=STEADY, containment=CONTAINMENT)
    decisions = [live.tick(tick) for tick in ticks]
    entries: list[dict[str, Any]] = [{"kind": "armed", "body": {"error_budget": 40.0, "steady": STEADY, "containment": CONTAINMENT}}]
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


@given(
    st.builds(a_journal, st.integers(0, 2**32), st.integers(0, 30)), st.floats(0, 100), st.sampled_from(["aborted", "expired", "killed"])
)
def test_an_end_from_outside_is_played_again(ticks: list[Tick], seconds: float, state: str) -> None:
    """A person, the kill switch, a lease: the same to the byte, and nothing where the conductor had ended the run before."""
    live = Conductor(EXPERIMENT, steady=STEADY)
    for tick in ticks:
        live.tick(tick)
    decided = live.end
    live.stop(seconds, state, "stopped", "stopped by ada")
    assert decided is None or (live.end, live.is_stopped) == (decided, False)
    ended = {"state": state, "code": "stopped", "reason": "stopped by ada", "seconds": seconds, "document": {}}
    entries: list[dict[str, Any]] = [{"kind": "armed", "body": {"steady": STEADY}}]
    entries += [{"kind": "tick", "body": tick.to_plain()} for tick in ticks] + [{"kind": "ended", "body": ended}]
    read = json.loads(json.dumps(entries))
    assert json.dumps(replay(EXPERIMENT, read), sort_keys=True) == json.dumps(live.document(), sort_keys=True)


def test_a_journal_of_before_is_played_as_it_was_written() -> None:
    """Ends had no `seconds`, and the conductor was not told of them: the result that stands there is reached again."""
    live = Conductor(EXPERIMENT)
    ended = {"state": "aborted", "code": "stopped", "reason": "stopped by ada", "document": {}}
    assert replay(EXPERIMENT, [{"kind": "armed", "body": {}}, {"kind": "ended", "body": ended}]) == live.document()


def test_a_tick_before_the_run_was_armed_is_refused() -> None:
    """A journal whose beginning is missing is not made up."""
    with pytest.raises(ValueError, match="before the run was armed"):
        replay(EXPERIMENT, [{"kind": "tick", "body": Tick(1.0, counts((1, 0), (1, 0))).to_plain()}])


def test_no_entries_are_a_run_that_has_not_begun() -> None:
    """Its document is that of a conductor that has seen nothing."""
    assert replay(EXPERIMENT, []) == Conductor(EXPERIMENT).document()
