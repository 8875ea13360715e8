"""A policy takes effect whole or not at all."""

from __future__ import annotations

import copy

import pytest

from shadowproxy.dataplane import messages
from tests.dataplane.stage import MIRROR, Stage


@pytest.mark.parametrize("slots", [{}, {"more/shadow": messages.WORDS}, {"more/shadow": messages.KILL_WORD}])
def test_a_policy_with_a_mirror_that_has_no_slot_changes_nothing(slots: dict[str, int]) -> None:
    """Neither the mirrors that do have one, nor anything else."""
    stage = Stage()
    worker = stage.worker
    before = (
        worker.policy,
        worker.fleets,
        worker.tees[MIRROR].policy,
        worker.tees[MIRROR].fleet,
        set(worker.tees),
        set(worker.route_tallies),
    )
    message = stage.policy(2, **{MIRROR: 1}, **slots)
    config = message["config"] = copy.deepcopy(stage.config)
    config["fleets"]["shadow"]["max_connections"] = 7
    config["routes"] = [*config["routes"], {**config["routes"][0], "name": "more"}]
    with pytest.raises(KeyError):
        worker.configure(message)
    after = (
        worker.policy,
        worker.fleets,
        worker.tees[MIRROR].policy,
        worker.tees[MIRROR].fleet,
        set(worker.tees),
        set(worker.route_tallies),
    )
    assert after == before
