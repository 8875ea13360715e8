"""What is said of slices and splits is what the data plane decides."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.hashspace import point_at
from shadowproxy.policy.explain import BY_CHANCE, Facts
from shadowproxy.policy.explain_parts import explain_slice, explain_split, first_share, unconcerned
from shadowproxy.policy.slices import ARMS, SlicePolicy, compile_slice
from shadowproxy.policy.splits import PLACES, SERVED_NEW, SplitPolicy, compile_split
from tests.control.governed import plain


def facts(user: str = "", **changed: Any) -> Facts:
    """A request of a user, or of nobody."""
    headers = {b"x-user-id": [user.encode()]} if user else {}
    known = {"listener": "front", "host": b"", "path": b"/a", "method": b"GET", "headers": headers, "client": b"127.0.0.1"}
    return Facts(**{**known, **changed})


def slices(percent: float = 10.0, *, is_paused: bool = False, denied: tuple[str, ...] = (), **part: Any) -> SlicePolicy:
    """An experiment's, by user."""
    experiment = experiment_from_plain(plain(slice={"percent": 20, "key": "header:x-user-id", **part}))
    return compile_slice(experiment, percent, denied, is_paused=is_paused)


def split(percent: float = 10.0, **changed: Any) -> SplitPolicy:
    """A rollout's, by user."""
    known = {
        "route": "all",
        "to": "new",
        "unit": "header:x-user-id",
        "salt": "",
        "pinned": ["pia"],
        "first": ["fay"],
        "denied": ["dan"],
        "epoch": 1,
    }
    return compile_split({**known, "percent": percent, **changed})


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9), st.sampled_from([0.0, 1.0, 10.0, 20.0]))
def test_a_slice_is_the_one_that_is_decided(user: str, percent: float) -> None:
    """With the point that decides, and its ranges."""
    policy = slices(percent)
    found = explain_slice(policy, facts(user), b"")
    assert found.place == ARMS[policy.arm_of(user.encode())]
    assert found.share == (found.place == "fault")
    assert found.point == point_at(policy.digest_of(user.encode()))
    assert f"{found.point:.6f}" in found.reason


@pytest.mark.parametrize(
    ("part", "asked", "tenant", "place", "said"),
    [
        ({"pinned": ["ada"]}, facts("ada"), b"", "fault", "pinned to the fault slice"),
        ({"deny": ["ada"]}, facts("ada"), b"", "outside", "'ada' is on a deny list"),
        ({"deny": ["acme"]}, facts("ada"), b"acme", "outside", "tenant acme is on a deny list"),
        ({}, facts(), b"", "outside", "has no header x-user-id"),
        ({"tagged": True}, facts("ada"), b"", "outside", "only tests are drawn from"),
        ({"tenants": ["acme"]}, facts("ada"), b"other", "outside", "tenant other is not one of acme"),
        ({"tenants": ["acme"]}, facts("ada"), b"", "outside", "no tenant is not one of acme"),
        ({"headers": {"x-beta": "1"}}, facts("ada"), b"", "outside", "header x-beta is missing"),
        ({"headers": {"x-user-id": "eve"}}, facts("ada"), b"", "outside", "header x-user-id is ada, not eve"),
        ({"key": ""}, facts("ada"), b"", BY_CHANCE, "10 % get the fault"),
        ({"key": "trace"}, facts("ada"), b"", BY_CHANCE, "10 % get the fault"),
    ],
)
def test_why_a_request_is_in_a_slice_or_not(part: dict[str, Any], asked: Facts, tenant: bytes, place: str, said: str) -> None:
    """In the order in which it is decided."""
    found = explain_slice(slices(**part), asked, tenant)
    assert found.place == place
    assert said in found.reason


@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=9), st.sampled_from([1.0, 10.0, 50.0, 70.0, 100.0]))
def test_a_side_is_the_one_that_is_decided(user: str, percent: float) -> None:
    """And where a number is named, the point is on that side of it."""
    policy = split(percent)
    found = explain_split(policy, facts(user))
    place = policy.place_of(user.encode())
    assert (found.place, found.share) == (PLACES[place], float(place in SERVED_NEW))
    numbers = [float(number) for number in re.findall(r"\d+\.\d{6}", found.reason)]
    if "below" in found.reason:
        assert numbers[0] <= numbers[1]
    elif "between" in found.reason:
        assert numbers[1] <= numbers[0] <= numbers[2]


@pytest.mark.parametrize(
    ("user", "percent", "place", "said"),
    [
        ("dan", 100.0, "stable", "deny list"),
        ("fay", 1.0, "ring", "first ring"),
        ("pia", 50.0, "stable", "pinned to the old version"),
        ("", 50.0, "stable", "has no header x-user-id"),
        ("", 100.0, "more", "has no header x-user-id"),
    ],
)
def test_who_is_chosen_is_said_to_be(user: str, percent: float, place: str, said: str) -> None:
    """Denied, in the first ring, pinned, and without a unit."""
    found = explain_split(split(percent), facts(user))
    assert found.place == place
    assert said in found.reason


def test_from_which_step_on_it_is_the_new_version() -> None:
    """The first at which the point is below the share; never for who is denied, and unsaid where chance decides."""
    steps = [split(percent) for percent in (1.0, 50.0, 100.0)]
    shares = {first_share(steps, facts(f"u{number}")) for number in range(100)}
    assert shares == {0.01, 0.5, 1.0}
    assert first_share(steps, facts("dan")) is None
    assert first_share(steps, facts("pia")) == 1.0
    by_chance = [split(percent, unit="") for percent in (50.0, 100.0)]
    assert first_share(by_chance, facts("ada")) is None
    assert explain_split(by_chance[0], facts("ada")).share == 0.5


@pytest.mark.parametrize(
    ("inject", "asked", "said"),
    [
        ({}, facts("ada"), ""),
        ({"fleet": "other"}, facts("ada"), "fleet live is not other"),
        ({"methods": ["POST"]}, facts("ada"), "method GET is not one of POST"),
        ({"path": "/b"}, facts("ada"), "path /a is not /b"),
        ({"path": "/a"}, facts("ada", path=b"/ab"), "path /ab is not /a"),
        ({"path": "/a"}, facts("ada", path=b"/a/b"), ""),
        ({}, facts("ada", is_upgrade=True), "upgrades are left alone"),
        ({"routes": ["others"]}, facts("ada"), "only watched"),
    ],
)
def test_why_a_request_in_the_slice_is_spared(inject: dict[str, Any], asked: Facts, said: str) -> None:
    """By what the file says; what depends on the moment is left out."""
    made = experiment_from_plain(plain(inject={"routes": ["all"], "faults": [{"reset": True}], **inject}, observe=["all"]))
    assert (said in unconcerned(made.inject, "all", "live", asked)) if said else unconcerned(made.inject, "all", "live", asked) == ""
