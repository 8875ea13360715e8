"""Who may begin an experiment when."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from shadowproxy.config.declare import Seconds
from shadowproxy.config.experiment import Level
from shadowproxy.experiments.admission import Circumstances, admit, refusals
from shadowproxy.experiments.allowance import Traffic
from shadowproxy.experiments.calendar import Closure
from tests.experiments.cases import experiment, instance

QUIET = Circumstances(now=datetime(2026, 3, 10, 9, tzinfo=UTC), config=instance(), traffic=Traffic(requests_per_s=100.0))


def codes(circumstances: Circumstances = QUIET, **parts: Any) -> list[str]:
    """Why an experiment with these parts may not begin."""
    return [refusal.code for refusal in refusals(experiment(**parts), circumstances)]


def sentence(circumstances: Circumstances = QUIET, **parts: Any) -> str:
    """The one reason, as a sentence."""
    (refusal,) = refusals(experiment(**parts), circumstances)
    return refusal.sentence


def test_nothing_speaks_against_it() -> None:
    """An experiment with owner, end and guard, on a quiet instance, is admitted, also before any traffic was seen."""
    answer = admit(experiment(), QUIET)
    assert (answer.is_admitted, answer.refusals, answer.to_plain()) == (True, (), [])
    assert codes(replace(QUIET, traffic=None)) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"is_killed": True}, "killed"),
        ({"is_journal_writable": False}, "journal"),
        ({"closures": (Closure("blockout", "launch"),)}, "blockout"),
        ({"closures": (Closure("calendar_unreadable", "broken"),)}, "calendar_unreadable"),
        ({"unsteady": ("probe orders is 3, and must be at least 10",)}, "steady_state"),
        ({"running": tuple(experiment(f"other-{number}", "cart", inject={"fleet": "gone"}) for number in range(4))}, "at_once"),
        ({"config": instance("{max_percent: 1}")}, "max_percent"),
        ({"config": instance("{max_duration: 1m}")}, "max_duration"),
    ],
)
def test_circumstances_that_refuse(changes: dict[str, Any], code: str) -> None:
    """Each is a reason by itself."""
    assert codes(replace(QUIET, **changes)) == [code]


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ({"owner": "  "}, "owner"),
        ({"inject": {"routes": ["search", "gone"]}}, "unknown_route"),
        ({"observe": ["gone"]}, "unknown_route"),
        ({"expect": [{"route": "gone"}]}, "unknown_route"),
        ({"inject": {"fleet": "gone"}}, "unknown_fleet"),
        ({"inject": {"endpoint": "http://10.9.9.9:80"}}, "unknown_endpoint"),
        ({"domain": {"cells": ["c"]}}, "unknown_cell"),
        ({"domain": {"cells": ["b"]}, "inject": {"endpoint": "http://10.0.0.1:80"}}, "containment"),
        ({"guards": [{"metric": "units", "above": 100}, {"metric": "repeats", "above": 3}]}, "no_abort_condition"),
        ({"guards": [{"metric": "error_rate", "above": 100}]}, "no_abort_condition"),
        ({"guards": [{"metric": "error_excess", "above": 2, "hold": "5m"}]}, "no_abort_condition"),
        ({"guards": [{"metric": "p99", "above": 1, "least": 1000}]}, "no_abort_condition"),
        ({"slice": {"pinned": ["vip"], "deny": ["vip"]}}, "pinned"),
        ({"domain": {"level": "cluster", "cells": ["a"]}}, "level"),
    ],
)
def test_experiments_that_are_refused(parts: dict[str, Any], code: str) -> None:
    """Each is a reason by itself."""
    assert codes(**parts) == [code]


def test_an_end_is_needed() -> None:
    """Also of an experiment that did not come through a file."""
    endless = replace(experiment(), duration=Seconds(float("inf")))
    assert [refusal.code for refusal in refusals(endless, QUIET)] == ["end", "max_duration"]


def test_a_guard_that_can_trip_is_enough() -> None:
    """Beside others that cannot; and without traffic nobody says that there is too little."""
    guards = [{"metric": "units", "above": 100}, {"metric": "burn_rate", "above": 14.4}]
    assert codes(guards=guards) == []
    assert codes(replace(QUIET, traffic=None), guards=[{"metric": "p99", "above": 1, "least": 1000}]) == []
    probes = [{"name": "orders", "url": "http://x/"}]
    assert codes(guards=[{"metric": "probe", "probe": "orders", "below": 10}], probes=probes) == []


def test_why_a_guard_is_none_is_said() -> None:
    """With both numbers."""
    assert sentence(guards=[{"metric": "p99", "above": 1, "least": 1000}]) == (
        "no guard can end it when it does harm: p99 needs 1000 requests in 10 s, and the slice has about 50"
    )
    assert "units only counts how far it went" in sentence(guards=[{"metric": "units", "above": 5}])


def test_deny_lists_need_units() -> None:
    """VIPs can be spared only where it is known whose request it is; a slice of tests hits no VIP."""
    circumstances = replace(QUIET, config=instance("{deny: [vip]}"))
    assert codes(circumstances, slice={"key": ""}) == ["deny"]
    assert codes(circumstances, slice={"key": "", "tagged": True}) == []
    assert codes(circumstances) == []
    assert codes(circumstances, slice={"pinned": ["vip"]}) == ["pinned"]


def test_two_on_one_dependency() -> None:
    """Both the one on the same route and the one of the same name are in the way, and a rollout; what is elsewhere is not."""
    busy = replace(QUIET, running=(experiment("other", "suggest"),))
    assert codes(busy) == ["overlap", "overlap", "overlap"]
    assert codes(busy, name="other", route="cart") == ["name", "slices_meet"]
    assert codes(busy, route="cart") == []
    assert codes(replace(QUIET, rollouts=frozenset({"cart"})), route="cart") == ["overlap"]
    shared = replace(QUIET, running=(experiment("other", "cart", slice={"salt": "s"}),))
    assert codes(shared, slice={"salt": "s"}) == ["slices_meet"]
    assert codes(shared, slice={"salt": "s", "offset": 10}) == []


def test_levels_are_climbed_one_by_one() -> None:
    """L2 after a completed L1, L3 after L2, L4 after L3; and from L2 on it is said what it is confined to."""
    for level, before in ((Level.CLUSTER, Level.CANARY), (Level.ZONE, Level.CLUSTER), (Level.REGION, Level.ZONE)):
        domain = {"level": str(level), "cells": ["z1"]}
        assert codes(domain=domain) == ["level"]
        assert codes(replace(QUIET, completed=frozenset({before})), domain=domain) == []
    assert codes(replace(QUIET, completed=frozenset({Level.CANARY})), domain={"level": "cluster"}) == ["level_cells"]
    assert codes(replace(QUIET, completed=frozenset({Level.CANARY})), domain={"level": "region", "cells": ["a"]}) == ["level"]


def test_the_error_budget() -> None:
    """What is used up, and what would take too much of the rest; the numbers are said."""
    spent = replace(QUIET, traffic=Traffic(requests_per_s=10.0, seconds=86400.0, errors=30000.0))
    assert sentence(spent) == "the error budget of 99.9 % is used up: 30000 bad answers, 25920 are allowed"
    aborts = {"faults": [{"abort": {"status": 503}}]}
    tight = {"slo": {"requests": 100_000, "target": 99.9}}
    assert sentence(inject=aborts, budget=tight) == ("it is expected to cost 80 bad answers, and may cost 10: 10 % of the 100 that remain")
    assert codes(inject=aborts) == []


def test_break_glass() -> None:
    """A reason overrules rules of the house, which is recorded, and nothing else; white space is no reason."""
    wide = experiment(slice={"percent": 20})
    assert not admit(wide, QUIET).is_admitted
    assert not admit(wide, QUIET, " ").is_admitted
    answer = admit(wide, QUIET, "INC-7")
    assert (answer.is_admitted, answer.force) == (True, "INC-7")
    assert [(one["code"], one["is_overridden"]) for one in answer.to_plain()] == [("max_percent", True)]
    killed = admit(wide, replace(QUIET, is_killed=True), "INC-7")
    assert not killed.is_admitted
    assert [(one["code"], one["is_overridden"]) for one in killed.to_plain()] == [("killed", False), ("max_percent", True)]


NEVER_OVERRULED = {
    "killed", "journal", "owner", "end", "name", "at_once", "unknown_route", "unknown_fleet", "unknown_endpoint", "unknown_cell", "containment",
    "no_abort_condition", "deny", "pinned", "slices_meet", "steady_state", "level_cells",
}  # fmt: skip


def test_what_break_glass_never_overrules() -> None:
    """Whatever makes an experiment unstoppable, unexplainable or meaningless."""
    everything = replace(
        QUIET,
        config=instance("{deny: [vip], at_once: 1, max_percent: 1, max_duration: 1s}"),
        running=(experiment("slow", "suggest"),),
        rollouts=frozenset({"cart"}),
        closures=(Closure("blockout", "launch"), Closure("calendar_unreadable", "broken")),
        is_killed=True,
        is_journal_writable=False,
        unsteady=("probe orders has no value: gone",),
        traffic=Traffic(requests_per_s=0.001, seconds=60.0, errors=10.0),
    )
    bad = replace(
        experiment(
            owner=" ", observe=["gone"], guards=[{"metric": "units", "above": 1}], slice={"pinned": ["vip"]}, domain={"level": "zone"}
        ),
        duration=Seconds(float("nan")),
    )
    found = refusals(bad, everything)
    assert {refusal.code for refusal in found if not refusal.may_be_overridden} <= NEVER_OVERRULED
    assert {refusal.code for refusal in found if refusal.may_be_overridden} == {
        "blockout", "calendar_unreadable", "max_percent", "budget", "overlap", "level",
    }  # fmt: skip
    assert len({refusal.code for refusal in found}) > 15
