"""A run as tests that passed or failed."""

from __future__ import annotations

import pytest

from shadowproxy.report.checks import State
from shadowproxy.report.experiment_checks import Of, amount, checks
from tests.report import experiment_samples as samples
from tests.report.test_experiment import RUNS


def ended(name: str) -> dict[Of, list[State]]:
    """How the tests of a run ended, by what they are about."""
    found: dict[Of, list[State]] = {}
    for one in checks(RUNS[name]):
        found.setdefault(one.of, []).append(one.state)
    return found


@pytest.mark.parametrize(
    ("name", "hypothesis", "guards", "expectation", "steady"),
    [
        ("upheld", State.PASSED, [State.PASSED] * 4, State.PASSED, State.PASSED),
        ("refuted", State.FAILED, [State.PASSED] * 4, State.FAILED, State.FAILED),
        ("aborted", State.FAILED, [State.FAILED] + [State.PASSED] * 3, State.UNDECIDED, State.PASSED),
        ("environment", State.INVALID, [State.PASSED] * 4, State.PASSED, State.UNDECIDED),
        ("idle", State.UNDECIDED, [State.UNDECIDED] * 4, State.UNDECIDED, None),
    ],
)
def test_how_each_ends(name: str, hypothesis: State, guards: list[State], expectation: State, steady: State | None) -> None:
    """The hypothesis by the verdict, a guard by whether it tripped, the others by whether they held."""
    found = ended(name)
    assert found[Of.HYPOTHESIS] == [hypothesis]
    assert found[Of.GUARD] == guards
    assert found[Of.EXPECTATION] == [expectation]
    assert found.get(Of.STEADY, [None]) == [steady]


def test_guards_are_said_in_words_and_how_near_they_came() -> None:
    """What, which bound, over how long, for how long; a bound from below is nearer the smaller the value is."""
    found = [one for one in checks(RUNS["upheld"]) if one.of is Of.GUARD]
    assert [one.name.replace("\u00a0", " ") for one in found] == [
        "error rate above 5 % over the last 10 s",
        "p99 latency over control's above 500 ms over the last 10 s for 5 s",
        "different units with the fault above 500",
        "probe orders below 20 over the last 10 s for 10 s",
    ]
    assert [round(one.near or 0, 3) for one in found] == [0.42, 0.16, 0.824, 0.717]
    tripped = next(one for one in checks(RUNS["aborted"]) if one.of is Of.GUARD)
    assert (tripped.near, tripped.sentence.replace("\u00a0", " ")) == (3.44, "Tripped at 17.2 % and ended the run.")


def test_other_cells_are_tests_where_the_fault_was_confined() -> None:
    """The one that was hit failed, one that was watched passed, one that was not watched is open; and none where nothing was to be contained."""
    found = [one for one in checks(RUNS["uncontained"]) if one.of is Of.CELL]
    assert [(one.name, one.state) for one in found] == [("b", State.FAILED), ("c", State.PASSED), ("d", State.UNDECIDED)]
    assert [one.sentence.replace("\u00a0", " ") for one in found] == [
        "Failed on 7 % of its requests, and no longer when nothing was injected. Before the run it was 0.1 %.",
        "No harm was seen in 10,000 answers. Before the run it was 0.1 %.",
        "Not watched: it had 12 answers before the run, too few to tell what is usual.",
    ]
    assert Of.CELL not in ended("upheld")


def test_a_cell_that_nobody_can_blame_on_the_fault_is_open() -> None:
    """It failed more often, and the run did not end because of it."""
    result = samples.result(
        containment={"is_watched": True, "unwatched": "", "cells": [samples.a_cell("b", 700, alarmed_rate=0.07, detector=20.0)]}
    )
    (one,) = (one for one in checks(samples.run(samples.document(code="environment", result=result))) if one.of is Of.CELL)
    assert one.state is State.UNDECIDED
    assert "it is not shown that this was the fault's doing" in one.sentence


@pytest.mark.parametrize(("is_dry", "states"), [(False, [State.UNDECIDED]), (True, [])])
def test_a_run_that_watches_no_cell_says_so(is_dry: bool, states: list[State]) -> None:
    """Except where nothing was broken."""
    result = samples.result(containment={"is_watched": False, "unwatched": "no other endpoint has a cell", "cells": []})
    found = [one for one in checks(samples.run(samples.document(is_dry=is_dry, result=result))) if one.of is Of.CELL]
    assert [one.state for one in found] == states
    assert all(one.sentence == "Not watched: no other endpoint has a cell." for one in found)


def test_equal_names_are_told_apart() -> None:
    """CI servers know a case by its name."""
    found = samples.result()
    found["guards"] = [found["guards"][0]] * 2
    names = [one.name for one in checks(samples.run({"result": found})) if one.of is Of.GUARD]
    assert names[1] == f"{names[0]} (2)"


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [("error_rate", 5, "5 %"), ("p99", 0.25, "250 ms"), ("units", 1200, "1,200"), ("probe", 0.5, "0.5"), ("burn_rate", 14.4, "14.4"), ("p50", None, "\u2013")],
)  # fmt: skip
def test_values_have_their_unit(metric: str, value: float | None, shown: str) -> None:
    """Percent, seconds or a number, as the metric is."""
    assert amount(metric, value).replace("\u00a0", " ") == shown
