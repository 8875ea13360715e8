"""Slices of the hash space: as large as asked for, nested along a ramp, and never the same unit in both."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from shadowproxy.config.experiment_file import experiment_from_plain
from shadowproxy.hashspace import point
from shadowproxy.policy.slices import CONTROL, FAULT, OUTSIDE, SlicePolicy, compile_slice
from tests.experiments.samples import plain


def _slice(percent: float, *, step: float | None = None, denied: tuple[str, ...] = (), **changed: Any) -> SlicePolicy:
    part = {"percent": percent, "key": "header:x-user-id", **changed}
    return compile_slice(experiment_from_plain(plain(slice=part)), percent if step is None else step, denied)


SHARES = st.sampled_from([0.001, 0.01, 0.1, 1.0, 2.0, 5.0, 12.5, 50.0])
UNITS = st.binary(min_size=1, max_size=20)


@pytest.mark.parametrize("percent", [0.1, 1.0, 5.0, 50.0])
def test_the_share_is_what_was_asked_for(percent: float) -> None:
    """Of 100,000 units as many are in each slice as the exact binomial 99.9 % interval allows."""
    policy = _slice(percent)
    arms = [policy.arm_of(b"user-%d" % number) for number in range(100_000)]
    low, high = binom.interval(0.999, len(arms), percent / 100)
    assert low <= arms.count(FAULT) <= high
    assert low <= arms.count(CONTROL) <= high


@given(UNITS, SHARES, st.floats(0, 1), st.floats(0, 1))
def test_a_ramp_only_adds_units_and_none_changes_sides(unit: bytes, percent: float, one: float, other: float) -> None:
    """Whoever has the fault at a step has it at each later one, likewise control; and nobody is in one now and in the other later."""
    first, then = sorted((one, other))
    before, after = (_slice(percent, step=percent * share).arm_of(unit) for share in (first, then))
    assert before in (OUTSIDE, after)


@given(UNITS, SHARES)
def test_membership_can_be_worked_out_anywhere(unit: bytes, percent: float) -> None:
    """The documented formula decides, with the experiment's name as salt."""
    place = point(unit, b"one")
    share = percent / 100
    expected = FAULT if place < share else CONTROL if share <= place < 2 * share else OUTSIDE
    assert _slice(percent).arm_of(unit) == expected


@given(UNITS, st.sampled_from([0.0, 10.0, 37.5]), st.sampled_from([1.0, 25.0]))
def test_disjoint_slices_of_one_salt_share_nobody(unit: bytes, offset: float, percent: float) -> None:
    """Two experiments with one salt and ranges beside each other never meet in a unit."""
    one = _slice(percent, offset=offset, salt="shared")
    width = 2 * percent
    if offset + 2 * width <= 100:
        other = _slice(percent, offset=offset + width, salt="shared")
        assert OUTSIDE in (one.arm_of(unit), other.arm_of(unit))


def test_who_is_denied_is_in_neither_whatever_else_says_so() -> None:
    """The experiment's own list and that of all experiments win over a point and over being pinned."""
    policy = _slice(50.0, pinned=["vip", "tester", "boss"], deny=["vip"], denied=("boss",))
    assert [policy.arm_of(unit) for unit in (b"vip", b"boss", b"tester")] == [OUTSIDE, OUTSIDE, FAULT]


def test_a_request_without_a_unit_is_in_neither() -> None:
    """Where a slice goes by users, who says no name is hit by no chance; where it goes by requests, a draw decides."""
    assert _slice(50.0).arm(None, 0.0) == OUTSIDE
    assert _slice(50.0, key="").arm(None, 0.0) == FAULT
    assert _slice(50.0, key="").arm(None, 0.99) == CONTROL


def test_only_requests_that_the_slice_is_drawn_from_are_taken() -> None:
    """Tests only, of these tenants, with these fields; a denied tenant is a VIP too."""
    headers = {b"x-beta": [b"1"], b"x-region": [b"eu"]}
    policy = _slice(1.0, tagged=True, tenants=["bot"], headers={"X-Beta": "1", "x-region": "*"}, deny=["vip"])
    assert policy.takes(headers, b"bot")
    assert not policy.takes(headers, b"")
    assert not policy.takes(headers, b"other")
    assert not policy.takes({b"x-beta": [b"2"], b"x-region": [b"eu"]}, b"bot")
    assert not policy.takes({b"x-beta": [b"1"]}, b"bot")
    assert not _slice(1.0, deny=["bot"]).takes(headers, b"bot")
    assert policy.wanted == {b"x-beta", b"x-region", b"x-user-id"}


def test_a_cookie_needs_the_cookie_field() -> None:
    """What the decision looks at is read from heads."""
    assert _slice(1.0, key="cookie:session").wanted == {b"cookie"}
