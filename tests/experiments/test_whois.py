"""Plain sentences for customer support."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.experiments.whois import UNIT, between, clock, is_affected, sentence, with_sentences

NOON = 1_790_000_000.0 - 1_790_000_000.0 % 86400 + 12 * 3600
"""Of September 21, 2026, UTC."""


def minutes(count: float) -> float:
    """So many before noon."""
    return NOON - 60 * count


def period(place: str, since: float, until: float | None, **changed: Any) -> dict[str, Any]:
    """One entry of `was`."""
    return {"place": place, "since": since, "until": until, "percent": 5.0, "is_paused": False, **changed}


def part(kind: str = "experiment", **changed: Any) -> dict[str, Any]:
    """One of what whois lists."""
    whole = {
        "kind": kind, "id": "slow-1", "name": "slow", "key": "header:x-user-id", "to": "v2", "state": "aborted", "place": None, "is_paused": False,
        "was": [period("fault", minutes(20), minutes(10))], "hits": None, "is_tenant": False, "effect": "slowed", "conditions": [], "unrecorded": 0,
    }  # fmt: skip
    return {**whole, **changed}


HIT = {"count": 3, "first": minutes(18), "last": minutes(13)}


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (part(hits=HIT), "User 4711 got 3 slowed answers from experiment slow between 11:42 and 11:47 UTC; it ended at 11:50 UTC (aborted)."),
        (part(hits={**HIT, "count": 1, "last": HIT["first"]}),
         "User 4711 got 1 slowed answer from experiment slow at 11:42 UTC; it ended at 11:50 UTC (aborted)."),
        (part(hits=HIT, state="running", was=[period("fault", minutes(20), None)]),
         "User 4711 got 3 slowed answers from experiment slow between 11:42 and 11:47 UTC; it is running."),
        (part(state="running", is_paused=True, was=[period("fault", minutes(20), None, is_paused=True)]),
         "User 4711 was in the slice of experiment slow since 11:40 UTC, but no fault reached it; it is paused."),
        (part(), "User 4711 was in the slice of experiment slow between 11:40 and 11:50 UTC, but no fault reached it; it ended at 11:50 UTC (aborted)."),
        (part(unrecorded=7), ("User 4711 was in the slice of experiment slow between 11:40 and 11:50 UTC, but whether a fault reached it is not known, "
         "for 7 units are not on record; it ended at 11:50 UTC (aborted).")),
        (part(was=[period("control", minutes(20), minutes(10))]), ("User 4711 was only watched, as a part of the control slice of experiment slow, between 11:40 "
         "and 11:50 UTC; it ended at 11:50 UTC (aborted).")),
        (part(was=[period("outside", minutes(20), minutes(10))]), "User 4711 was in neither slice of experiment slow; it ended at 11:50 UTC (aborted)."),
        (part(was=[period("apart", minutes(20), minutes(10))]), "User 4711 is listed to be left alone by experiment slow; it ended at 11:50 UTC (aborted)."),
        (part(was=[period("unknown", minutes(20), minutes(10))]),
         "Experiment slow drew each request by itself, so nobody can say whose it hit; it ended at 11:50 UTC (aborted)."),
        (part(was=[period("outside", minutes(20), minutes(10))], is_tenant=True),
         "Requests of test tenant User 4711 are what experiment slow was drawn from; it ended at 11:50 UTC (aborted)."),
        (part(was=[], hits=HIT, state="interrupted"), "User 4711 got 3 slowed answers from experiment slow between 11:42 and 11:47 UTC; it is over (interrupted)."),
        (part("rollout", state="running", was=[period("stable", minutes(20), minutes(10)), period("canary", minutes(10), None)]),
         "User 4711 has had the new version (v2) of route slow since 11:50 UTC; it is running."),
        (part("rollout", state="rolled_back", was=[period("canary", minutes(20), minutes(10))]),
         "User 4711 had the new version (v2) of route slow between 11:40 and 11:50 UTC; it ended at 11:50 UTC (rolled back)."),
        (part("rollout", state="running", was=[period("stable", minutes(20), None)]), "User 4711 stayed with the present version of route slow; it is running."),
        (part("rollout", state="running", was=[period("apart", minutes(20), None)]),
         "User 4711 is listed to stay with the present version of route slow; it is running."),
        (part("rollout", state="completed", was=[period("canary", minutes(20), minutes(10))]),
         "Everybody has the new version (v2) of route slow since 11:50 UTC. User 4711 had it from 11:40 UTC on."),
        (part("rollout", state="running", was=[period("unknown", minutes(20), None)]),
         "The rollout of route slow draws each request by itself, so user 4711 may get either version; it is running."),
        (part("mirror", state="", was=[period("copied", minutes(20), None)]),
         "Requests of User 4711 are copied to v2 by mirror slow since 11:40 UTC. Answers are not affected."),
        (part("mirror", state="", was=[period("copied", minutes(20), minutes(10))]),
         "Requests of User 4711 were copied to v2 by mirror slow between 11:40 and 11:50 UTC. Answers are not affected."),
        (part("mirror", was=[period("holdout", minutes(20), None)]), "User 4711 is sampled by mirror slow, but held out: its requests are not copied."),
        (part("mirror", was=[period("outside", minutes(20), None)]), "User 4711 is not sampled by mirror slow: its requests are not copied."),
        (part("mirror", was=[period("unknown", minutes(20), None)]),
         "Mirror slow samples each request by itself, so some of anybody's may be copied to v2. Answers are not affected."),
    ],
)  # fmt: skip
def test_each_case_in_a_sentence(found: dict[str, Any], said: str) -> None:
    """What was really done, or that nothing was; and how it stands."""
    assert sentence(found, NOON, "User 4711") == said


@pytest.mark.parametrize(
    ("time", "said"), [(NOON, "12:00 UTC"), (NOON - 86400, "Sep 20, 12:00 UTC"), (NOON - 365 * 86400, "2025 Sep 21, 12:00 UTC"), (None, "an unknown time")]
)  # fmt: skip
def test_times_have_their_date_where_it_is_another(time: float | None, said: str) -> None:
    """Today's have none."""
    assert clock(time, NOON) == said


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (NOON - 86400, NOON - 86340, "between Sep 20, 12:00 and 12:01 UTC"),
        (NOON - 86400, NOON, "between Sep 20, 12:00 UTC and 12:00 UTC"),
        (NOON - 60, NOON, "between 11:59 and 12:00 UTC"),
    ],
)
def test_spans_say_no_more_than_needed(first: float, last: float, said: str) -> None:
    """One day is named once."""
    assert between(first, last, NOON) == said


def test_a_document_says_first_what_matters() -> None:
    """Sentences of parts that the unit is or was affected by, without its name."""
    document = {
        "now": NOON, "experiments": [part(hits=HIT), part(was=[period("outside", minutes(20), minutes(10))])], "rollouts": [],
        "mirrors": [part("mirror", was=[period("copied", minutes(20), None)])],
    }  # fmt: skip
    said = with_sentences(document)
    assert len(said["affected"]) == 2
    assert said["affected"][0].startswith(f"{UNIT} got 3 slowed answers")
    assert said["experiments"][1]["sentence"].startswith(f"{UNIT} was in neither slice")
    assert "sentence" not in document["experiments"][0]  # type: ignore[index]


@pytest.mark.parametrize(
    ("found", "is_one"),
    [
        (part(), True), (part(was=[period("control", 0, 1)]), True), (part(was=[period("outside", 0, 1)]), False), (part(was=[], hits=HIT), True),
        (part(was=[period("unknown", 0, 1)]), False), (part(was=[period("apart", 0, 1)], is_tenant=True), True),
        (part("rollout", was=[period("stable", 0, 1)]), False), (part("mirror", was=[period("holdout", 0, 1)]), True),
    ],
)  # fmt: skip
def test_what_counts_as_affected(found: dict[str, Any], is_one: bool) -> None:
    """Whoever was hit or watched, or may get something else than others."""
    assert is_affected(found) is is_one
