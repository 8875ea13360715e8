"""One run: what is added up of it, and what a journal brings back."""

from __future__ import annotations

import json
from typing import Any

from shadowproxy.control import runs as module
from shadowproxy.control.runs import EVENTS_KEPT, RUNS_KEPT, Past, Run, Timeline, Totals
from shadowproxy.experiments.journal import Chain, canonical, read
from shadowproxy.experiments.lifecycle import State
from tests.control.governed import experiment, plain


def past_of(*told: tuple[str, str, dict[str, Any]]) -> Past:
    """What is known after these entries of (run, kind, body)."""
    chain, past = Chain(), Past()
    lines = [
        chain.write_header(number, 2, body, {}) if kind == "segment" else chain.write(float(number), run, kind, canonical(body))
        for number, (run, kind, body) in enumerate(told, start=1)
    ]
    for entry in read(lines):
        past.visit(entry)
    return past


def admitted(**changed: Any) -> dict[str, Any]:
    """The body of such an entry."""
    return {"experiment": plain(**changed), "submitted_by": "ada", "source": "x", "admission": [], "dry": False, "force": ""}


def test_units_are_told_apart_over_all_workers(monkeypatch: Any) -> None:
    """A unit on two workers is one; beyond the bound they are counted only."""
    monkeypatch.setattr(module, "UNITS_KEPT", 3)
    totals = Totals()
    totals.add({"units": {"a": 1, "b": 2}, "seen": 3})
    totals.add({"units": {"b": 5, "c": 1, "d": 1}, "faults": {"abort": 2}, "unharmed": {"every": 1}, "outside": 4})
    assert totals.unit_count == 4
    assert totals.repeats == 7
    assert totals.units is not None
    assert len(totals.units) == 3
    assert (totals.seen, totals.outside, totals.faults["abort"], totals.unharmed["every"]) == (3, 4, 2, 1)
    totals.forget_units()
    totals.add({"units": {"a": 1, "e": 1}, "seen": 1})
    assert totals.unit_count == 4
    assert totals.seen == 4


def test_a_timeline_keeps_its_beginning_and_its_end() -> None:
    """However often something happens between."""
    timeline = Timeline()
    for number in range(EVENTS_KEPT * 3):
        timeline.add(float(number), None, "ramp")
    events = timeline.events
    assert len(events) == EVENTS_KEPT
    assert events[0]["time"] == 0.0
    assert events[-1]["time"] == EVENTS_KEPT * 3 - 1


def test_the_document_is_json_at_every_moment() -> None:
    """Before it was admitted, while it runs, and after."""
    run = Run(3, experiment(), "ada")
    assert json.loads(json.dumps(run.document()))["state"] == "draft"
    run.life.become(State.ADMITTED)
    run.start()
    assert run.document()["percent"] == 1.0
    run.is_paused = True
    assert run.document()["percent"] == 0.0
    run.end(State.ABORTED, "stopped", "")
    assert json.loads(json.dumps(run.summary()))["verdict"] is None
    assert "experiment" not in run.summary()
    assert repr(run).startswith("<Run slow-3 aborted")


def test_a_tick_has_totals_in_place_of_units() -> None:
    """The conductor is told how many, and never who."""
    run = Run(1, experiment(), "ada")
    counts = {"epoch": 1, "seen": 2, "units": {"a": 2}, "units_dropped": 0, "samples": [1], "over": "", "fault": {}}
    run.totals.add(counts)
    tick = run.tick(counts)
    assert tick.counts == {"seen": 2, "fault": {}, "units": 1, "repeats": 2}
    assert run.tick({}).counts == {}


def test_a_journal_brings_runs_back() -> None:
    """Finished ones as they were shown, unfinished ones as far as they came, and the highest numbers and epochs."""
    end = {
        "state": "completed",
        "code": "finished",
        "reason": "over",
        "document": {"result": {"verdict": "upheld"}, "units": 7, "started": 2.0},
    }
    past = past_of(
        ("slow-1", "admitted", admitted()),
        ("slow-1", "armed", {"epoch": 4, "percent": 1.0, "error_budget": None, "steady": {}}),
        ("slow-1", "tick", {"seconds": 0.1, "counts": {"seen": 5, "units": 2, "repeats": 1}, "probes": {}}),
        ("slow-1", "decision", {"action": "ramp", "state": "", "code": "safe", "reason": "", "percent": 2.0}),
        ("slow-1", "ended", end),
        ("slow-2", "admitted", admitted()),
        ("slow-2", "armed", {"epoch": 9, "percent": 1.0, "error_budget": None, "steady": {}}),
        ("slow-2", "late", {"counts": {"seen": 1}}),
        ("other-7", "admitted", admitted(name="other")),
    )
    assert past.epoch == 9
    assert past.numbers == {"slow": 2, "other": 7}
    first, second, third = past.runs.values()
    assert (first.state, first.result["verdict"], first.totals.unit_count, first.totals.seen) == (State.COMPLETED, "upheld", 7, 5)
    assert (second.state, second.epoch, second.totals.seen) == (State.ADMITTED, 9, 1)
    assert third.epoch == 0


def test_a_segment_stands_for_the_ticks_before_it() -> None:
    """Milestones and the header bring back what all entries did, and what follows is added; numbers and epoch of runs that are gone stay."""
    counts = {"faults": {"abort": 2}, "unharmed": {"every": 1}, "seen": 3, "hit": 3, "outside": 5, "units": 2, "repeats": 1}
    milestones = [("slow-7", "admitted", admitted()), ("slow-7", "armed", {"epoch": 4})]
    tick = ("slow-7", "tick", {"counts": counts})
    long = past_of(*milestones, tick, tick)
    standing = long.standing(long.runs.values())
    assert standing["epoch"] == 4
    short = past_of(*milestones, ("", "segment", standing), tick)
    assert short.runs["slow-7"].totals.plain() == past_of(*milestones, tick, tick, tick).runs["slow-7"].totals.plain()
    gone = past_of(("", "segment", standing | {"totals": {"slow-6": counts}}))
    assert (gone.epoch, gone.numbers, gone.runs) == (4, {"slow": 7}, {})


def test_an_entry_of_another_version_is_passed_over() -> None:
    """It must not keep experiments from running."""
    past = past_of(
        ("slow-1", "admitted", {"experiment": {"name": "slow", "of_the_future": 1}}),
        ("slow-1", "armed", {}),
        ("slow-1", "ended", {}),
        ("slow-x", "admitted", admitted()),
        ("slow-2", "surprise", {"a": 1}),
    )
    assert past.unread == 3
    assert not past.runs


def test_old_runs_are_forgotten_first() -> None:
    """Those that have ended; bounded."""
    told: list[tuple[str, str, dict[str, Any]]] = []
    for number in range(1, RUNS_KEPT + 20):
        told.append((f"slow-{number}", "admitted", admitted()))
        told.append((f"slow-{number}", "ended", {"state": "aborted", "code": "stopped", "reason": ""}))
    past = past_of(*told)
    assert len(past.runs) == RUNS_KEPT
    assert "slow-1" not in past.runs
    assert past.numbers["slow"] == RUNS_KEPT + 19


def test_what_it_would_have_touched_comes_back_from_the_journal() -> None:
    """As it was told when the run was admitted; a journal of an earlier version has none of it."""
    found = {"requests": 1, "sentence": "over the last request (1 s) this would have touched none"}
    past = past_of(("slow-1", "admitted", admitted() | {"look_back": found}), ("fast-1", "admitted", admitted(name="fast")))
    assert past.unread == 0
    assert past.runs["slow-1"].document()["look_back"] == found
    assert past.runs["fast-1"].document()["look_back"] is None
    assert "look_back" not in past.runs["slow-1"].summary()
