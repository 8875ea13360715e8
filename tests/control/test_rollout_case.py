"""One rollout as it is held and written down."""

from __future__ import annotations

import json

import pytest

from shadowproxy.config.declare import Seconds
from shadowproxy.config.experiments import Rollout
from shadowproxy.control.rollout_case import Case
from shadowproxy.experiments.rollout import RolloutConductor, RolloutTick
from tests.experiments.rollout_traffic import halves, side


def case() -> Case:
    """One that is under way."""
    rollout = Rollout(to="v2", key="header:x-user", pinned=("pin",), first=("qa",), bake=Seconds(60.0))
    made = Case("shop", 3, "v1", "ann", 1000.0, RolloutConductor(rollout), percent=1.0, since=50.0)
    made.conductor.start()
    made.conductor.tick(RolloutTick(7.0, halves(canary=side({"200": 2}, [1, 2]), stable=side({"200": 3}, [2**63]))))
    return made


def test_a_row_says_it_all() -> None:
    """Taken up again, with the clock of another process, it is the same."""
    before = case()
    after = Case.from_row(json.dumps(before.plain()), now=9000.0)
    assert (after.id, after.live, after.by, after.started, after.percent) == ("shop-3", "v1", "ann", 1000.0, 1.0)
    assert after.rollout == before.rollout
    assert after.seconds(9001.5) == pytest.approx(8.5)
    assert after.plain() == before.plain()
    assert after.mark == after.written == before.mark


def test_a_split_is_what_workers_need() -> None:
    """While the new version has users; not once it is live, nor when everybody went back."""
    made = case()
    split = made.split(["vip"])
    assert split is not None
    assert (split["percent"], split["unit"], split["pinned"], split["first"], split["denied"]) == (
        1.0,
        "header:x-user",
        ["pin"],
        ["qa"],
        ["vip"],
    )
    made.is_adopted = True
    assert made.split([]) is None
    made.is_adopted = False
    made.conductor.order("abort", 8.0)
    assert made.split([]) is None
    assert not made.is_open


def test_a_change_changes_the_mark() -> None:
    """What is counted and what is decided is written; time alone is not."""
    made = case()
    mark = made.mark
    made.conductor.tick(RolloutTick(9.0, {}))
    assert made.mark == mark
    made.conductor.tick(RolloutTick(9.0, halves(canary=side({"200": 1}, [3]))))
    assert made.mark != mark


@pytest.mark.parametrize("changed", [{"version": 2}, {"rollout": {}}, {"rollout": {"to": 5}}, {"snapshot": {}}, {"epoch": "x"}])
def test_a_damaged_row_is_refused(changed: dict[str, object]) -> None:
    """Nothing is guessed."""
    with pytest.raises((KeyError, TypeError, ValueError)):
        Case.from_row(json.dumps({**case().plain(), **changed}), now=0.0)
