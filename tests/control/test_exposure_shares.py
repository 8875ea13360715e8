"""What is recorded of experiments, rollouts and mirrors: digests in place of units, words in place of settings."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.config.experiments import Rollout
from shadowproxy.control.exposure_shares import share_of_mirror, share_of_rollout, share_of_run
from shadowproxy.hashspace import digest
from tests.control.test_exposures import config, experiment


@pytest.mark.parametrize(
    ("faults", "effect"),
    [
        ([{"delay": "1s"}], "slowed"),
        ([{"dribble": {"size": 1, "every": "1s"}}, {"first_byte": "1s"}], "slowed"),
        ([{"abort": {"status": 503}}], "failed"),
        ([{"abort": {"grpc": 14}}], "failed"),
        ([{"throttle": {"rate": 1}}], "failed"),
        ([{"abort": {"status": 200}}], "replaced"),
        ([{"abort": {"grpc": 0}}], "replaced"),
        ([{"reset": True}], "broken off"),
        ([{"truncate": 0}], "broken off"),
        ([{"corrupt": {"share": 0.1}}], "damaged"),
        ([{"delay": "1s", "reset": True}], "disturbed"),
    ],
)
def test_what_a_fault_does_is_one_word(faults: list[dict[str, Any]], effect: str) -> None:
    """Several kinds at once have a word of their own."""
    assert share_of_run("r-1", experiment(inject={"routes": ["all"], "faults": faults})).effect == effect


def test_faults_that_requests_ask_for_are_any() -> None:
    """Nobody knows beforehand what they ask for."""
    assert share_of_run("r-1", experiment(inject={"routes": ["all"], "envoy_headers": "any"})).effect == "disturbed"


def test_conditions_are_said_without_values() -> None:
    """What else must hold of a request; values of header fields and names of tenants stay out."""
    inject = {"routes": ["all", "more"], "faults": [{"delay": "1s"}], "methods": ["POST"], "path": "/a", "fleet": "live"}
    part = {"tagged": True, "headers": {"x-secret": "hunter22"}, "tenants": ["acme"]}
    share = share_of_run("r-1", experiment(inject=inject, slice=part))
    assert share.conditions == (
        "routes all, more", "fleet live", "methods POST", "paths below /a", "test traffic only", "requests with x-secret", "1 test tenant",
    )  # fmt: skip
    assert share.tenants == {digest(b"acme", b"slow")}


def test_a_salt_is_the_name_unless_given() -> None:
    """As the policy has it."""
    assert share_of_run("r-1", experiment()).salt == b"slow"
    assert share_of_run("r-1", experiment(slice={"salt": "s"})).salt == b"s"
    assert share_of_rollout("all-1", "all", Rollout(to="v2")).salt == b"all"
    assert share_of_rollout("all-1", "all", Rollout(to="v2", salt="s")).salt == b"s"


def test_a_mirror_that_samples_otherwise_is_another() -> None:
    """A new percentage is a step of the same share; a new salt, key, hold-out or fleet is not."""
    found = [
        share_of_mirror(route, mirror).id
        for route in (
            config(**changed).routes[0] for changed in ({"percent": 1}, {"percent": 2}, {"key": "client"}, {"salt": "s"}, {"holdout": 1})
        )
        for mirror in route.mirror
    ]
    assert found[0] == found[1]
    assert len(set(found)) == 4
    assert all(one.startswith("all/shadow@") for one in found)
