"""Harm in another cell: found soon, blamed on the fault only when it ends with it, and never where nobody can know."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from shadowproxy.experiments.conductor import ENVIRONMENT_S, RECOVERY_S, Conductor, Decision, Tick
from shadowproxy.experiments.containment import Containment
from shadowproxy.experiments.errorrate import HISTORY_LEAST
from shadowproxy.experiments.replay import replay
from tests.experiments.slices import an_experiment, counts

if TYPE_CHECKING:
    from collections.abc import Callable

TOLD = {"before": {"b": [60_000, 60]}, "unwatched": ""}
"""Cell b had a hundred requests a second, of which one in a thousand failed."""


def never(_: float) -> float:
    """Nothing goes wrong."""
    return 0.0


@dataclass
class Town:
    """A run on cell a, and cell b beside it; `leak` and `incident` are added to the error rates at a moment.

    `leak` is of cell b while something is injected, and `lasts_s` after it; `incident` of cell b whatever is injected, `of_control` of the control slice.
    """

    seed: int
    leak: Callable[[float], float] = never
    incident: Callable[[float], float] = never
    of_control: Callable[[float], float] = never
    rate: float = 100.0
    error_rate: float = 0.001
    lasts_s: float = 0.0
    told: dict[str, Any] = field(default_factory=lambda: dict(TOLD))

    def play(self, seconds: float, **changed: Any) -> tuple[Conductor, list[tuple[float, Decision]], list[Tick]]:
        """The run, what was decided, and all that was told."""
        conductor = Conductor(an_experiment(**{"duration": "5m", **changed}), containment=self.told)
        rng = np.random.default_rng(self.seed)
        decided, ticks = [], []
        injected = 0.0
        for number in range(1, int(seconds * 10) + 1):
            now = number / 10
            if conductor.percent > 0:
                injected = now
            leak = self.leak(now) if now - injected <= self.lasts_s else 0.0
            answers = int(rng.poisson(self.rate / 10))
            bad = min(1.0, self.error_rate + leak + self.incident(now))
            control = int(rng.poisson(2))
            told = counts((int(rng.poisson(2)), 0), (control, int(rng.binomial(control, min(1.0, self.of_control(now))))))
            if answers:
                told["cells"] = {"b": [answers, int(rng.binomial(answers, bad))]}
            ticks.append(Tick(now, told))
            decision = conductor.tick(ticks[-1])
            if decision.action != "go":
                decided.append((now, decision))
            if decision.action == "end":
                break
        return conductor, decided, ticks


def after(begin: float, rate: float, until: float = 1e9) -> Callable[[float], float]:
    """An error rate from a moment on."""
    return lambda now: rate if begin < now <= until else 0.0


def test_harm_that_ends_with_the_fault_is_blamed_on_it() -> None:
    """Cell b fails while something is injected: a pause at once, an end when it has recovered, and a hypothesis that is refuted."""
    conductor, decided, _ = Town(1, leak=after(30, 0.3)).play(120)
    assert [(one.action, one.code) for _, one in decided] == [("pause", "containment"), ("end", "containment")]
    (paused, pause), (ended, end) = decided
    assert 30 < paused < 31
    assert pause.percent == 0.0
    assert "cell b, which has no fault, failed on" in pause.reason
    assert pause.reason.endswith("before the run it was 0.1 %")
    assert RECOVERY_S <= ended - paused < ENVIRONMENT_S
    assert end.state == "aborted"
    assert "It ended with the fault: of late cell b fails on 0" in end.reason
    document = conductor.document()
    assert document["verdict"] == "refuted"
    assert document["sentence"].startswith("the fault was not contained: cell b")
    (cell,) = document["containment"]["cells"]
    assert cell["cell"] == "b"
    assert cell["is_watched"]
    assert cell["alarmed_rate"] > 0.01
    assert cell["detector"] > cell["threshold"]


def test_harm_that_stays_without_the_fault_is_the_environment() -> None:
    """Cell b breaks by itself, and nobody mends it while nothing is injected."""
    conductor, decided, _ = Town(2, incident=after(30, 0.3)).play(120)
    assert [(one.action, one.code) for _, one in decided] == [("pause", "containment"), ("end", "environment")]
    assert decided[1][0] - decided[0][0] == pytest.approx(ENVIRONMENT_S, abs=0.2)
    assert conductor.document()["verdict"] == "environment"


def test_an_incident_everywhere_is_the_environment() -> None:
    """Cell b and the control slice fail together, for good."""
    conductor, decided, _ = Town(3, incident=after(30, 0.3), of_control=after(30, 0.3)).play(120)
    assert decided[-1][1].code == "environment"
    assert conductor.document()["verdict"] == "environment"


def test_an_incident_everywhere_that_passes_is_not_blamed_on_the_fault() -> None:
    """Control was as bad, or was so when nothing had been injected for long: the run goes on, and comes to its end."""
    for seed in range(3):
        _, decided, _ = Town(40 + seed, incident=after(30, 0.3, 42), of_control=after(30, 0.3, 42)).play(100, duration="90s")
        assert [one.action for _, one in decided] == ["pause", "resume", "end"]
        assert decided[-1][1].code == "finished"


def test_a_fault_that_harms_control_and_another_cell_is_excused_once() -> None:
    """What both depend on breaks with the fault: it looks like an incident, until it comes back with the fault."""
    conductor = Conductor(an_experiment(), containment=TOLD)
    decided: list[Decision] = []
    for second in range(1, 60):
        is_bad = conductor.percent > 0 and second > 20
        told = counts((20, 3 if is_bad else 0), (20, 3 if is_bad else 0), cells={"b": [100, 50 if is_bad else 0]})
        decision = conductor.tick(Tick(float(second), told))
        if decision.action != "go":
            decided.append(decision)
        if decision.action == "end":
            break
    assert [(one.action, one.code) for one in decided] == [
        ("pause", "environment"), ("resume", "recovered"), ("pause", "containment"), ("end", "containment"),
    ]  # fmt: skip
    assert "the control slice has moved as well" in decided[0].reason
    assert conductor.document()["verdict"] == "refuted"


def test_harm_that_is_slow_to_go_is_still_blamed_on_the_fault() -> None:
    """What the fault has led to takes eight seconds to drain."""
    _, decided, _ = Town(5, leak=after(30, 0.2), lasts_s=8.0).play(120)
    assert decided[-1][1].code == "containment"
    assert decided[-1][0] - decided[0][0] > 8 + RECOVERY_S


def test_a_cell_that_is_healthy_ends_nothing() -> None:
    """Five minutes at twenty requests a second, as good as before."""
    conductor, decided, _ = Town(6, rate=20.0).play(301)
    assert [one.code for _, one in decided] == ["finished"]
    assert conductor.document()["verdict"] == "upheld"


def test_silence_after_the_alarm_proves_nothing() -> None:
    """Cell b gets no request any more (it was ejected, say): nobody can tell whether it has recovered."""
    conductor = Conductor(an_experiment(duration="5m"), containment=TOLD)
    assert conductor.tick(Tick(1.0, {"cells": {"b": [100, 50]}})).action == "pause"
    decisions = [conductor.tick(Tick(1.0 + second, {})) for second in range(1, 40)]
    ended = next(one for one in decisions if one.action == "end")
    assert (ended.code, "too few answers say whether it is over" in ended.reason) == ("environment", True)
    assert conductor.document()["verdict"] == "environment"


def test_one_good_answer_after_nothing_but_errors_proves_nothing() -> None:
    """Three in a row do; and what was under way when the fault stopped is not looked at."""
    contained = Containment(TOLD)
    contained.add(1.0, {"b": [10, 10]}, is_paused=False)
    assert contained.is_alarmed
    contained.accuse(1.0)
    contained.add(1.5, {"b": [100, 0]}, is_paused=True)
    assert not contained.is_well(1.5)
    assert not contained.has_recovered
    contained.add(3.5, {"b": [1, 0]}, is_paused=True)
    assert contained.is_well(3.5)
    assert not contained.has_recovered
    contained.add(4.0, {"b": [2, 0]}, is_paused=True)
    assert contained.has_recovered
    assert contained.recovery() == "cell b fails on 0 % (0 of 3)"


def test_who_stops_a_run_that_is_under_suspicion_learns_nothing() -> None:
    """While it is not known whose doing it is, the verdict is open."""
    conductor = Conductor(an_experiment(duration="5m"), containment=TOLD)
    conductor.tick(Tick(1.0, {"cells": {"b": [100, 50]}}))
    before = conductor.document()
    assert before["verdict"] == "undecided"
    assert "it turns out whether that is the fault's doing" in before["sentence"]
    assert conductor.document() == before


def test_a_cell_with_too_little_history_is_not_watched_and_says_so() -> None:
    """No comfort from a guard that cannot see: neither of some cells nor of all."""
    told = {"before": {"b": [HISTORY_LEAST - 1, 0], "c": [5000, 5]}, "unwatched": ""}
    contained = Containment(told)
    contained.add(1.0, {"b": [1000, 1000]}, is_paused=False)
    assert not contained.is_alarmed
    plain = contained.to_plain()
    assert plain is not None
    assert plain["is_watched"]
    assert plain["unwatched"] == "cell b had fewer than 100 answers in the ten minutes before the run"
    assert [(cell["cell"], cell["is_watched"], cell["answers"]) for cell in plain["cells"]] == [("b", False, 1000), ("c", True, 0)]
    blind = Containment({"before": {"b": [0, 0]}, "unwatched": ""}).to_plain()
    assert blind is not None
    assert not blind["is_watched"]


def test_an_incident_in_hundreds_of_cells_is_told_in_a_sentence() -> None:
    """The first of them are named, the others counted; one that is well is not among them."""
    contained = Containment({"before": {f"c{number:03}": [1000, 0] for number in range(300)}, "unwatched": ""})
    contained.add(1.0, {f"c{number:03}": [50, 50 if number else 0] for number in range(300)}, is_paused=False)
    said = contained.harm()
    assert said.count("which has no fault") == 3
    assert said.startswith("cell c001, which has no fault, failed on 100 % of its requests")
    assert said.endswith("and 296 other cells")


def test_a_run_without_other_cells_says_why_nothing_is_watched() -> None:
    """The reason that control gave; and what is told of unknown cells changes nothing."""
    conductor = Conductor(an_experiment(duration="1m"), containment={"before": {}, "unwatched": "a dry run breaks nothing"})
    assert conductor.tick(Tick(1.0, {"cells": {"z": [100, 100]}})).action == "go"
    assert conductor.document()["containment"] == {"is_watched": False, "unwatched": "a dry run breaks nothing", "cells": []}


def test_a_journal_of_an_earlier_version_gives_the_document_that_it_gave() -> None:
    """It says nothing of cells, and neither does the document."""
    entries = [
        {"kind": "armed", "body": {"error_budget": None, "steady": {}}},
        {"kind": "tick", "body": Tick(1.0, counts((9, 0), (9, 0))).to_plain()},
    ]
    assert "containment" not in replay(an_experiment(), entries)


def test_a_replay_is_the_same_to_the_byte() -> None:
    """Through JSON and back, of a run that another cell has ended."""
    town = Town(7, leak=after(10, 0.2))
    conductor, decided, ticks = town.play(60)
    assert decided[-1][1].code == "containment"
    entries: list[dict[str, Any]] = [{"kind": "armed", "body": {"error_budget": None, "steady": {}, "containment": town.told}}]
    entries += [{"kind": "tick", "body": tick.to_plain()} for tick in ticks]
    document = json.dumps(conductor.document(), sort_keys=True, allow_nan=False)
    assert json.dumps(replay(an_experiment(duration="5m"), json.loads(json.dumps(entries))), sort_keys=True) == document


def _delay(leak: float, error_rate: float, seed: int) -> int:
    """Requests of cell b from the beginning of a leak until the alarm."""
    contained = Containment({"before": {"b": [60_000, round(60_000 * error_rate)]}, "unwatched": ""})
    rng = np.random.default_rng(seed)
    seen = 0
    for tick in range(100_000):
        if contained.is_alarmed:
            break
        contained.add(tick / 10, {"b": [5, int(rng.binomial(5, error_rate + leak))]}, is_paused=False)
        seen += 5
    return seen


@pytest.mark.parametrize(
    ("error_rate", "leak", "least", "most"), [(0.001, 0.05, 180, 350), (0.001, 0.2, 20, 55), (0.01, 0.05, 280, 560), (0.001, 0.5, 5, 20)]
)
def test_how_many_requests_of_the_cell_it_takes(error_rate: float, leak: float, least: int, most: int) -> None:
    """The table of docs/experiment-statistics.md, roughly."""
    assert least < median(_delay(leak, error_rate, seed) for seed in range(20)) < most


def test_healthy_cells_hardly_ever_stop_a_run() -> None:
    """Two hundred cells with ten thousand requests each after a history of ten minutes, one in a hundred bad, and then half as many again: no alarm."""
    rng = np.random.default_rng(11)
    for _ in range(200):
        contained = Containment({"before": {"b": [60_000, int(rng.binomial(60_000, 0.01))]}, "unwatched": ""})
        for tick, errors in enumerate(rng.binomial(100, 0.015, 100)):
            contained.add(tick / 10, {"b": [100, int(errors)]}, is_paused=False)
            assert not contained.is_alarmed
