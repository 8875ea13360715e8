"""Run documents made by hand: every way in which a run can end, no traffic at all, and everything hostile at once."""

from __future__ import annotations

import random
from collections import Counter
from math import log
from typing import Any

from shadowproxy import logbuckets
from shadowproxy.config.experiment_file import experiment_from_plain, experiment_to_plain
from shadowproxy.report.experiment import Run
from tests.report.samples import HOSTILE, NOW

STARTED = NOW - 900.0

HEAD = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"


def experiment(**changed: Any) -> dict[str, Any]:
    """The file of the demo: recommendations fail, and the shop falls back to its top sellers."""
    text = {
        "name": "recommendations-down", "owner": "shop-sre", "approved_by": "j.doe (CHG-1204)", "duration": "10m",
        "hypothesis": {
            "fault": "recommendations answer 503 for 2 % of users", "expect": "the shop shows its top sellers within 300 ms",
            "impact": "no lost orders",
        },
        "inject": {"routes": ["recommendations"], "faults": [{"delay": "50ms", "abort": {"status": 503}}]},
        "slice": {"percent": 2, "key": "header:x-user-id", "deny": ["vip-1", "vip-2"]},
        "observe": ["shop"],
        "guards": [
            {"metric": "error_rate", "above": 5, "window": "10s"}, {"metric": "p99_excess", "above": 0.5, "hold": "5s"},
            {"metric": "units", "above": 500, "window": "0s"}, {"metric": "probe", "probe": "orders", "below": 20, "hold": "10s"},
        ],
        "probes": [{"name": "orders", "url": "http://metrics.example/orders", "json": "$.per_minute"}],
        "steady_state": [{"probe": "orders", "within": 15}],
        "expect": [{"route": "shop", "json": "$.recommendations.source", "equals": "top-sellers", "share": 99}],
        "budget": {"units": 500},
        **changed,
    }  # fmt: skip
    return experiment_to_plain(experiment_from_plain(text))


def buckets(seed: int, answers: int, factor: float = 1.0) -> dict[str, int]:
    """Latencies around 20 ms, some of them ten times slower, as run documents have them."""
    chance = random.Random(seed)
    counted: Counter[int] = Counter()
    for _ in range(answers):
        seconds = 0.02 * factor * chance.lognormvariate(0, 0.35) * (chance.uniform(6, 14) if chance.random() < 0.02 else 1.0)
        counted[logbuckets.bucket(round(seconds * 1e9))] += 1
    return {str(index): found for index, found in sorted(counted.items())}


def series(
    points: int, every: float, *, fault_errors: float = 0.004, ramp: tuple[float, ...] = (2.0,), bad_from: float = 1.1
) -> list[list[Any]]:
    """A run over time; from the share `bad_from` of it on, the fault slice fails far more often."""
    chance = random.Random(points)
    rows: list[list[Any]] = []
    for at in range(points):
        share = at / points
        percent = ramp[min(int(share * len(ramp)), len(ramp) - 1)]
        size = max(1, round(40 * percent / ramp[-1]))
        requests = [chance.randint(size // 2, size), chance.randint(size // 2, size)]
        rates = [0.2 if share >= bad_from else fault_errors, 0.004]
        errors = [sum(chance.random() < rate for _ in range(n)) for n, rate in zip(requests, rates, strict=True)]
        tails = [0.09 + chance.random() * 0.08, 0.08 + chance.random() * 0.07]
        rows.append([round(at * every, 6), requests[0], errors[0], requests[1], errors[1], percent, tails[0], tails[1]])
    return rows


def arm(requests: int, errors: int, injected: int, sketch: dict[str, int]) -> dict[str, Any]:
    """What was counted of one slice."""
    answered = requests - injected
    known = bool(sketch)
    return {
        "requests": requests, "errors": errors, "error_rate": errors / answered if answered else None, "injected": injected,
        "p50": 0.0203 if known else None, "p99": 0.171 if known else None, "buckets": sketch,
    }  # fmt: skip


def result(**changed: Any) -> dict[str, Any]:
    """What the conductor says of a run that went well."""
    whole: dict[str, Any] = {
        "verdict": "upheld",
        "sentence": "all 1,204 answers that were looked at had the fallback, and the slice is shown to be worse by less than 1 point",
        "slices": {"fault": arm(6210, 25, 0, buckets(1, 6000, 1.06)), "control": arm(6188, 24, 0, buckets(2, 6000))},
        "excess": {"errors": {"estimate": 0.0002, "low": -0.0031, "high": 0.0036}, "p99": {"estimate": 0.012, "low": -0.021, "high": 0.049}},
        "guards": [
            {"metric": "error_rate", "probe": "", "bound": 5, "above": 5, "below": None, "value": 0.41, "worst": 2.1, "is_true": False, "since_s": None, "has_tripped": False},
            {"metric": "p99_excess", "probe": "", "bound": 0.5, "above": 0.5, "below": None, "value": 0.012, "worst": 0.08, "is_true": False, "since_s": None, "has_tripped": False},
            {"metric": "units", "probe": "", "bound": 500, "above": 500, "below": None, "value": 412, "worst": 412, "is_true": False, "since_s": None, "has_tripped": False},
            {"metric": "probe", "probe": "orders", "bound": 20, "above": None, "below": 20, "value": 31.5, "worst": 27.9, "is_true": False, "since_s": None, "has_tripped": False},
        ],
        "evidence": {"log_e": -3.2, "threshold": log(20), "detector": 4.1, "run_length": 10000.0},
        "series": series(300, 2.0),
        "sample_ratio": {"fault": 6210, "control": 6188, "share": 0.5009, "is_exact": False, "is_mismatch": False},
        "expectations": [
            {"route": "shop", "sentence": "on route shop it held for 1,203 of 1,204 answers, 99.92 % (between 99.3 % and 100 %); 99 % is expected",
             "held": 1203, "looked_at": 1204, "share": 0.9992, "low": 0.993, "high": 1.0, "is_upheld": True},
        ],
        "steady": [{"probe": "orders", "baseline": 32.4, "value": 31.5, "low": 27.54, "high": 37.26, "is_well": True}],
        "budget": {"charge": 1.2, "charge_high": 22.3, "allowed": 120.0, "units": 412, "units_limit": 500, "requests": 6210, "requests_limit": None},
        "ramp": [{"percent": 2.0, "from_s": 0.0, "to_s": 600.0, "outcome": "ended"}],
    }  # fmt: skip
    return {**whole, **changed}


def document(**changed: Any) -> dict[str, Any]:
    """A run that was upheld."""
    plain = experiment()
    whole: dict[str, Any] = {
        "submitted_by": "token 1f2e3d4c", "is_dry": False, "force": "", "id": "recommendations-down-7", "name": "recommendations-down", "owner": "shop-sre", "state": "completed", "code": "finished",
        "reason": "its time was over", "approved_by": "j.doe (CHG-1204)", "epoch": 12, "percent": 0.0, "created": STARTED - 64, "started": STARTED,
        "ended": STARTED + 600, "hypothesis": plain["hypothesis"], "experiment": plain, "admission": [],
        "timeline": [
            {"time": STARTED - 64, "seconds": None, "event": "admitted", "detail": "by token 1f2e3d4c; approved by j.doe (CHG-1204)"},
            {"time": STARTED - 62, "seconds": None, "event": "baseline", "detail": "orders 32.4 over 60 s"},
            {"time": STARTED, "seconds": 0.0, "event": "started", "detail": "2 % of the units, epoch 12"},
            {"time": STARTED + 600, "seconds": 600.0, "event": "completed", "detail": "its time was over"},
        ],
        "units": 412, "faults": {"abort": 6100, "delay": 6100}, "unharmed": {"client_gone": 81, "attempt": 29}, "seen": 6210, "outside": 291_000,
        "result": result(), "journal": {"entries": 2431, "head": HEAD},
    }  # fmt: skip
    return {**whole, **changed}


def upheld() -> dict[str, Any]:
    """What was expected held."""
    return document()


def refuted() -> dict[str, Any]:
    """There was no fallback: an error in its place, and orders went down."""
    found = result(
        verdict="refuted",
        sentence="the fallback was there in 12 of 960 answers",
        series=series(300, 2.0, fault_errors=0.19),
        slices={"fault": arm(6210, 1187, 0, buckets(1, 5000, 1.4)), "control": arm(6188, 24, 0, buckets(2, 6000))},
        excess={"errors": {"estimate": 0.187, "low": 0.161, "high": 0.214}, "p99": {"estimate": 0.21, "low": 0.09, "high": 0.33}},
    )
    found["expectations"][0] |= {
        "held": 12,
        "looked_at": 960,
        "share": 0.0125,
        "is_upheld": False,
        "sentence": "on route shop it held for 12 of 960 answers, 1.25 %",
    }
    found["steady"][0] |= {"value": 21.3, "is_well": False}
    found["guards"][3] |= {"value": 21.3, "worst": 20.4, "is_true": False}
    found["evidence"] |= {"log_e": 212.0}
    return document(result=found)


def aborted() -> dict[str, Any]:
    """A guard ended it after 41 seconds."""
    found = result(
        verdict="refuted",
        sentence="the error rate with the fault was 17.2 % over the last 10 s, more than 5 %",
        series=series(410, 0.1, bad_from=0.8),
        slices={"fault": arm(420, 31, 0, buckets(1, 380)), "control": arm(402, 2, 0, buckets(2, 400))},
        excess={"errors": {"estimate": 0.069, "low": 0.021, "high": 0.14}, "p99": None},
        ramp=[{"percent": 2.0, "from_s": 0.0, "to_s": 41.02, "outcome": "ended"}],
    )
    found["guards"][0] |= {"value": 17.2, "worst": 17.2, "is_true": True, "since_s": 41.0, "has_tripped": True}
    found["expectations"][0] |= {"held": 44, "looked_at": 44, "is_upheld": None}
    timeline = [
        {"time": STARTED, "seconds": 0.0, "event": "started", "detail": "2 % of the units, epoch 12"},
        {"time": STARTED + 41.0, "seconds": 41.0, "event": "guard_error_rate", "detail": "error rate 17.2 % over the last 10 s, bound 5 %"},
        {"time": STARTED + 41.02, "seconds": 41.02, "event": "aborted", "detail": "leases were ended in 2 workers"},
    ]
    return document(
        state="aborted", code="guard_error_rate", reason="error rate 17.2 % over the last 10 s, more than 5 %", ended=STARTED + 41.02,
        result=found, timeline=timeline, units=61, seen=420, faults={"abort": 409, "delay": 411}, unharmed={"released": 9}, outside=19_402,
    )  # fmt: skip


def environment() -> dict[str, Any]:
    """Control failed as well."""
    found = result(
        verdict="environment",
        sentence="control fails as much as the slice with the fault, so something else is wrong",
        excess={"errors": {"estimate": 0.004, "low": -0.11, "high": 0.12}, "p99": None},
    )
    found["steady"][0] |= {"value": None, "is_well": None}
    return document(state="aborted", code="environment", reason="control was not well for 60 s", result=found)


def a_cell(name: str, errors: int, **changed: Any) -> dict[str, Any]:
    """A cell without the fault, with so many errors in ten thousand answers."""
    return {
        "cell": name, "is_watched": True, "before": {"answers": 60_000, "errors": 60, "error_rate": 0.001}, "answers": 10_000, "errors": errors,
        "error_rate": errors / 10_000, "tolerated": 0.011, "alarmed_rate": None, "detector": 1.5, "threshold": 13.8, **changed,
    }  # fmt: skip


def uncontained() -> dict[str, Any]:
    """The fault, which was confined to cell a, did harm in cell b; nobody watched cell d."""
    reason = "cell b, which has no fault, failed on 7 % of its requests over the last 5 s (35 of 500); before the run it was 0.1 %. It ended with the fault: of late cell b fails on 0 % (0 of 480)"
    cells = [
        a_cell("b", 712, alarmed_rate=0.07, detector=17.2), a_cell("c", 9),
        a_cell("d", 0, is_watched=False, before={"answers": 12, "errors": 0, "error_rate": 0.0}, tolerated=None, answers=9, error_rate=0.0),
    ]  # fmt: skip
    contained = {"is_watched": True, "unwatched": "cell d had fewer than 100 answers in the ten minutes before the run", "cells": cells}
    found = result(verdict="refuted", sentence=f"the fault was not contained: {reason}", containment=contained)
    return document(
        state="aborted", code="containment", reason=reason, result=found, ended=STARTED + 47, experiment=experiment(domain={"cells": ["a"]})
    )


def expired() -> dict[str, Any]:
    """Control was frozen for longer than a lease."""
    return document(
        state="expired", code="lease", reason="a lease was not renewed in time", approved_by="",
        result=result(verdict="undecided", sentence="the run ended before anything was shown", series=series(20, 0.5), excess={"errors": None, "p99": None}),
    )  # fmt: skip


def killed() -> dict[str, Any]:
    """Somebody pulled the kill switch; it had been let in against an objection."""
    objections = [{"code": "blockout", "sentence": "Fridays from 17:00 nothing is tried (weekend).", "is_overridden": True}]
    return document(
        state="killed", code="kill_switch", reason="kill switch by token 1f2e3d4c: checkout is down", admission=objections,
        force="incident drill, agreed with the duty manager", result=result(verdict="undecided", sentence="the run was ended after 7 s", series=series(14, 0.5)),
    )  # fmt: skip


def idle() -> dict[str, Any]:
    """Nobody came."""
    found = result(
        verdict="undecided", sentence="no request was seen", series=[], expectations=[], steady=[],
        slices={"fault": arm(0, 0, 0, {}), "control": arm(0, 0, 0, {})}, excess={"errors": {"estimate": None, "low": None, "high": None}, "p99": None},
        budget={"charge": 0.0, "charge_high": 0.0, "allowed": None, "units": 0, "units_limit": 500, "requests": 0, "requests_limit": None},
    )  # fmt: skip
    for guard in found["guards"]:
        guard["value"] = guard["worst"] = None
    found["expectations"] = [
        {
            "route": "shop",
            "sentence": "on route shop it held for 0 of 0 answers",
            "held": 0,
            "looked_at": 0,
            "share": None,
            "low": 0.0,
            "high": 1.0,
            "is_upheld": None,
        }
    ]
    return document(result=found, units=0, faults={}, unharmed={}, seen=0, outside=0)


def ramped() -> dict[str, Any]:
    """Three steps, 600 points."""
    steps = [
        {"percent": 0.5, "from_s": 0.0, "to_s": 180.2, "outcome": "safe"},
        {"percent": 1.0, "from_s": 180.2, "to_s": 395.0, "outcome": "safe"},
        {"percent": 2.0, "from_s": 395.0, "to_s": 600.0, "outcome": "ended"},
    ]
    found = result(series=series(600, 1.0, ramp=(0.5, 1.0, 2.0)), ramp=steps)
    return document(result=found, experiment=experiment(ramp={"steps": [0.5, 1, 2], "every": "3m"}))


def running() -> dict[str, Any]:
    """Half-way, with few answers yet."""
    found = result(
        verdict="undecided", sentence="nothing is shown yet", series=series(5, 0.2),
        slices={"fault": arm(12, 0, 3, buckets(1, 9)), "control": arm(11, 0, 0, buckets(2, 11))},
        ramp=[{"percent": 2.0, "from_s": 0.0, "to_s": None, "outcome": "running"}],
    )  # fmt: skip
    return document(state="running", code="", reason="", started=NOW - 1.5, ended=None, result=found, units=5)


def draft() -> dict[str, Any]:
    """Refused: there is nothing but the file and the objections."""
    objections = [{"code": "overlap", "sentence": "payments-slow-3 runs on the same dependency.", "is_overridden": False}]
    return {
        "id": "x-1",
        "name": "x",
        "state": "draft",
        "experiment": experiment(name="x"),
        "admission": objections,
        "started": None,
        "ended": None,
    }


def hostile() -> dict[str, Any]:
    """Everything that may come from files, people or traffic is HOSTILE."""
    found = result(verdict=HOSTILE, sentence=HOSTILE)
    for name in ("guards", "expectations", "steady", "ramp"):
        found[name] = [{key: HOSTILE if isinstance(value, str) else value for key, value in one.items()} for one in found[name]]
    found["ramp"] *= 2
    found["containment"] = {"is_watched": True, "unwatched": HOSTILE, "cells": [a_cell(HOSTILE, 3), a_cell(HOSTILE, 0, is_watched=False)]}
    plain = experiment()
    plain["hypothesis"] = {"fault": HOSTILE, "expect": HOSTILE, "impact": HOSTILE}
    plain["inject"] |= {"routes": [HOSTILE], "fleet": HOSTILE, "path": HOSTILE, "methods": [HOSTILE]}
    plain["inject"]["faults"][0]["headers"] = {"set": {HOSTILE: HOSTILE}, "remove": [HOSTILE]}
    plain["slice"] |= {"key": HOSTILE, "headers": {HOSTILE: HOSTILE}, "tenants": [HOSTILE]}
    plain["guards"][3]["probe"] = HOSTILE
    plain["expect"][0] |= {"contains": HOSTILE, "regex": HOSTILE, "json": HOSTILE, "equals": {HOSTILE: HOSTILE}}
    event = {"time": STARTED, "seconds": 0.0, "event": HOSTILE, "detail": HOSTILE}
    return document(
        id=HOSTILE, name=HOSTILE, owner=HOSTILE, state=HOSTILE, code=HOSTILE, reason=HOSTILE, approved_by=HOSTILE, hypothesis=plain["hypothesis"],
        experiment=plain, admission=[{"code": HOSTILE, "sentence": HOSTILE, "is_overridden": True}], timeline=[event], faults={HOSTILE: 3},
        unharmed={HOSTILE: 4}, result=found, submitted_by=HOSTILE, force=HOSTILE, journal={"entries": 3, "head": HOSTILE},
    )  # fmt: skip


def broken() -> dict[str, Any]:
    """Nothing is what it should be."""
    return {
        "id": None, "state": 3, "started": "soon", "ended": [], "hypothesis": "none", "experiment": [], "timeline": {"a": 1}, "admission": [1, None],
        "units": "many", "faults": [], "unharmed": None, "seen": None, "journal": "x",
        "result": {
            "verdict": None, "slices": {"fault": None, "control": 7}, "excess": {"errors": 1}, "guards": [None, {}], "series": [[1], "x", [None] * 8],
            "expectations": [{}], "steady": [{}], "budget": None, "ramp": None, "evidence": {"log_e": float("nan")},
            "containment": {"cells": [None, {}, {"is_watched": True, "before": 3, "answers": "x"}]},
        },
    }  # fmt: skip


ALL = {
    "upheld": upheld(), "refuted": refuted(), "aborted": aborted(), "environment": environment(), "uncontained": uncontained(), "expired": expired(), "killed": killed(),
    "idle": idle(), "ramped": ramped(), "running": running(), "draft": draft(), "hostile": hostile(), "broken": broken(), "empty": {},
}  # fmt: skip


def run(found: dict[str, Any]) -> Run:
    """What a report is made of."""
    return Run(found, NOW, "shadowproxy 0.1.0")
