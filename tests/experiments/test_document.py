"""How a run stands: all members that reports need, JSON without NaN, and sentences that claim no more than was shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from shadowproxy.experiments.conductor import Conductor, Tick
from shadowproxy.experiments.document import is_well, range_of
from shadowproxy.experiments.slicecounts import bucket_of
from tests.experiments.slices import World, an_experiment, arm, counts, run


def test_the_document_has_what_reports_are_made_of() -> None:
    """Before the first tick as well, and always as JSON."""
    conductor = Conductor(an_experiment(expect=[{"route": "cart"}]))
    document = json.loads(json.dumps(conductor.document(), allow_nan=False))
    assert document.keys() == {
        "verdict", "sentence", "slices", "excess", "sample_ratio", "guards", "evidence", "series", "expectations", "steady", "budget", "ramp",
    }  # fmt: skip
    assert document["slices"]["fault"].keys() == {"requests", "errors", "error_rate", "injected", "p50", "p99", "buckets"}
    assert document["excess"] == {"errors": {"estimate": None, "low": -1.0, "high": 1.0}, "p99": None}
    assert document["guards"][0].keys() >= {"metric", "bound", "value", "is_true", "since_s", "has_tripped"}
    assert document["evidence"].keys() >= {"log_e", "threshold", "detector", "run_length"}
    assert document["expectations"][0].keys() >= {"route", "sentence", "held", "looked_at", "share", "is_upheld"}
    assert document["budget"].keys() == {"charge", "charge_high", "allowed", "units", "units_limit", "requests", "requests_limit"}
    assert document["verdict"] == "undecided"


def test_latency_is_compared_with_an_interval() -> None:
    """A fault of 300 ms at the p99: the estimate says so, and with enough answers the interval has it inside and not zero."""
    conductor = Conductor(an_experiment())
    told: dict[str, Any] = counts((0, 0), (0, 0))
    told["fault"] = arm(4000, buckets={bucket_of(0.4): 4000})
    told["control"] = arm(4000, buckets={bucket_of(0.1): 4000})
    conductor.tick(Tick(1.0, told))
    excess = conductor.document()["excess"]["p99"]
    assert excess["estimate"] == pytest.approx(0.3, rel=0.05)
    assert 0.2 < excess["low"] <= excess["estimate"]
    assert excess["high"] is None or excess["high"] >= excess["estimate"]


@pytest.mark.parametrize(
    ("part", "fault", "control", "is_exact", "is_mismatch"),
    [
        ({"percent": 10}, 1000, 1000, True, False),
        ({"percent": 10}, 1200, 800, True, True),
        ({"percent": 10, "key": "header:x-user-id"}, 1200, 800, False, False),
        ({"percent": 10, "key": "header:x-user-id"}, 1500, 500, False, True),
        ({"percent": 10, "key": "header:x-user-id"}, 15, 5, False, False),
        ({"percent": 10, "key": "header:x-user-id", "pinned": ["vip"]}, 1500, 500, False, False),
    ],
)
def test_slices_that_are_not_alike_are_told(part: dict[str, Any], fault: int, control: int, is_exact: bool, is_mismatch: bool) -> None:
    """Where every request is drawn by itself, as soon as it is beyond chance; of units, a factor of two."""
    conductor = Conductor(an_experiment(slice=part))
    conductor.tick(Tick(1.0, counts((fault, 0), (control, 0))))
    found = conductor.document()["sample_ratio"]
    assert (found["is_exact"], found["is_mismatch"]) == (is_exact, is_mismatch)
    assert found["share"] == pytest.approx(fault / (fault + control))
    assert ("not shared out" in conductor.document()["sentence"]) is is_mismatch


def test_bounds_of_the_steady_state() -> None:
    """Either may be missing; the bound itself is within."""
    assert is_well(8.0, {"low": 8.0, "high": 8.0})
    assert not is_well(7.9, {"low": 8.0})
    assert not is_well(8.1, {"high": 8.0})
    assert is_well(1e9, {})
    assert (range_of({"low": 8.0}), range_of({"low": 1.0, "high": 2.0})) == ("from 8", "1 to 2")


def test_nothing_is_upheld_without_evidence() -> None:
    """Ten answers of each slice, all good: no harm was seen, and none excluded."""
    conductor = Conductor(an_experiment(duration="10s"))
    conductor.tick(Tick(5.0, counts((10, 0), (10, 0))))
    conductor.tick(Tick(10.0))
    document = conductor.document()
    assert document["verdict"] == "undecided"
    assert "it is not shown that the fault adds less than 1 points of errors" in document["sentence"]
    assert "0 of 10 answers failed with the fault" in document["sentence"]


def test_a_guard_that_tripped_keeps_a_hypothesis_from_being_upheld() -> None:
    """Stopped by a threshold without harm being shown: undecided, with the reason."""
    conductor = Conductor(an_experiment(guards=[{"metric": "units", "above": 5}]))
    conductor.tick(Tick(5.0, counts((1000, 0), (1000, 0), units=6)))
    document = conductor.document()
    assert document["verdict"] == "undecided"
    assert document["sentence"] == "neither upheld nor refuted: it was stopped: the number of different units with the fault is 6, above 5"


def test_a_run_that_somebody_ended_says_by_whom_when_and_what_was_known() -> None:
    """Undecided, as good as it looked; and after its own end nothing changes any more."""
    conductor = Conductor(an_experiment(duration="60s", expect=[{"route": "cart"}]))
    conductor.tick(Tick(5.0, counts((1000, 3), (1000, 2), expect={"0": [100, 100]})))
    conductor.stop(12.34, "aborted", "stopped", "stopped by ada: enough")
    document = conductor.document()
    assert document["verdict"] == "undecided"
    said = "neither upheld nor refuted: it was ended after 12.3 s of 60 s: stopped by ada: enough; by then 3 of 1,000 answers failed with the fault"
    assert document["sentence"].startswith(said)
    conductor.stop(20.0, "killed", "kill_switch", "pulled")
    assert conductor.document() == document
    assert conductor.tick(Tick(61.0)).code == "stopped"


def test_evidence_that_had_decided_stays() -> None:
    """An expectation that did not hold is refuted, whoever ended the run; an incident stays one."""
    conductor = Conductor(an_experiment(duration="60s", expect=[{"route": "cart"}]))
    conductor.tick(Tick(5.0, counts((1000, 0), (1000, 0), expect={"0": [1, 100]})))
    conductor.stop(12.0, "killed", "kill_switch", "the kill switch was pulled by ada")
    assert conductor.document()["verdict"] == "refuted"
    conductor = Conductor(
        an_experiment(
            duration="60s", probes=[{"name": "orders", "url": "http://127.0.0.1:1/"}], steady_state=[{"probe": "orders", "above": 8}]
        ),
        steady={"orders": {"low": 8.0, "high": None}},
    )
    assert conductor.tick(Tick(5.0, counts((10, 0), (10, 0)), {"orders": 3.0})).action == "pause"
    conductor.stop(6.0, "expired", "lease", "the lease ran out")
    document = conductor.document()
    assert document["verdict"] == "environment"
    assert "probe orders is 3" in document["sentence"]
    assert document["sentence"].endswith("before it was over, it was ended after 6.0 s of 60 s: the lease ran out")


def test_a_limit_of_units_that_is_reached_says_nothing_against_the_hypothesis() -> None:
    """As many had the fault as were to have it, and what was expected held for them."""
    conductor = Conductor(an_experiment(budget={"units": 5}, expect=[{"route": "cart"}]))
    ended = conductor.tick(Tick(5.0, counts((1000, 0), (1000, 0), units=5, expect={"0": [100, 100]})))
    assert (ended.state, ended.code) == ("aborted", "budget_units")
    assert conductor.document()["verdict"] == "upheld"


def test_charts_have_a_row_a_span() -> None:
    """[seconds, fault requests, fault errors, control requests, control errors, percent, p99, p99]; a pause has no per cent."""
    conductor = Conductor(an_experiment())
    run(conductor, World(41, incident=lambda now: 0.6 if now > 20 else 0.0), 60)
    rows = conductor.document()["series"]
    assert all(len(row) == 8 for row in rows)
    assert (rows[0][5], rows[-1][5]) == (10.0, 0.0)
    assert sum(row[1] for row in rows) >= conductor.slices.fault.requests
