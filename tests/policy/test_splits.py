"""Which version a unit gets: sticky, nested, and two halves of equal size."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.hashspace import point
from shadowproxy.policy.splits import CANARY, CONTROL, MIDDLE, MORE, RING, SERVED_NEW, STABLE, SplitPolicy, compile_split

PLAIN: dict[str, Any] = {
    "route": "orders", "to": "v2", "percent": 1.0, "unit": "header:X-User", "salt": "", "pinned": ["pin"], "first": ["ring"], "denied": ["vip"],
    "epoch": 3,
}  # fmt: skip

SHARES = st.floats(0.0, 1.0)
POINTS = st.floats(0.0, 1.0, exclude_max=True)


def split(share: float = 0.01, **changed: Any) -> SplitPolicy:
    """A split with this share."""
    return replace(compile_split({**PLAIN, **changed}), share=share)


def test_a_split_is_compiled_from_a_message() -> None:
    """Text becomes bytes, percents become shares, and the route's name is the salt unless there is one."""
    made = compile_split(PLAIN)
    assert (made.route, made.fleet, made.share, made.epoch) == ("orders", "v2", 0.01, 3)
    assert made.unit == ("header", b"x-user")
    assert made.salt == b"orders"
    assert [set(units) for units in (made.pinned, made.first, made.denied)] == [{b"pin"}, {b"ring"}, {b"vip"}]
    assert compile_split({**PLAIN, "salt": "s"}).salt == b"s"
    assert made.place_of(b"u") == made.place(b"u", point(b"u", b"orders"))


@pytest.mark.parametrize("percent", [-1, 100.1, float("nan")])
def test_a_share_that_is_none_is_refused(percent: float) -> None:
    """A share below nothing, beyond everything, or not a number is a mistake of control's, not a split."""
    with pytest.raises(ValueError, match="from 0 to 100"):
        compile_split({**PLAIN, "percent": percent})


def test_a_member_that_is_missing_is_refused() -> None:
    """Nothing is guessed."""
    with pytest.raises(KeyError):
        compile_split({name: value for name, value in PLAIN.items() if name != "denied"})


@given(SHARES, SHARES, POINTS)
def test_no_unit_goes_back_while_the_share_grows(one: float, other: float, at: float) -> None:
    """The canary of a smaller share is inside that of a larger one."""
    before, after = sorted((one, other))
    if split(before).place(b"u", at) in SERVED_NEW:
        assert split(after).place(b"u", at) in SERVED_NEW


@given(SHARES, POINTS)
def test_the_share_is_what_the_new_version_gets(share: float, at: float) -> None:
    """A unit has the new version iff its point is below the share."""
    assert (split(share).place(b"u", at) in SERVED_NEW) == (at < share)


@given(st.floats(0.0001, 0.9999), st.integers(0, 4095))
def test_the_two_halves_are_each_other_s_mirror_image(share: float, step: int) -> None:
    """A point is in the canary's half iff the one as far from the other end is in control's; so they are equally large, and never both."""
    at = (step + 0.5) / 4096
    there, back = split(share).place(b"u", at), split(share).place(b"u", 1.0 - at)
    assert (there == CANARY) == (back == CONTROL)
    assert (there == CONTROL) == (back == CANARY)
    if there == CANARY:
        assert at < 0.5


@given(SHARES, SHARES, POINTS)
def test_who_was_compared_stays_on_its_side(one: float, other: float, at: float) -> None:
    """The lower half of the hash space is the canary's and the upper half control's at every step: no unit is counted on both sides."""
    places = {split(one).place(b"u", at), split(other).place(b"u", at)}
    assert not {CANARY, CONTROL} <= places


def test_the_side_can_be_told_from_the_digest() -> None:
    """A digest below MIDDLE is that of a canary unit, if the unit is compared at all."""
    made = split(0.5)
    for number in range(200):
        unit = b"%d" % number
        assert (made.place_of(unit) == CANARY) == (made.digest_of(unit) < MIDDLE)


@given(SHARES, POINTS)
def test_chosen_units_are_where_they_were_put(share: float, at: float) -> None:
    """Whatever the point: denied always stable, the first ring always new, pinned stable until all have moved; and none is compared."""
    made = split(share)
    assert made.place(b"vip", at) == STABLE
    assert made.place(b"ring", at) == RING
    assert made.place(b"pin", at) == (MORE if share >= 1.0 else STABLE)
    assert made.place(None, at) == (MORE if share >= 1.0 else STABLE)


def test_to_be_denied_wins() -> None:
    """A unit that is in every list stays with stable, and one that is pinned and in the first ring has the new version."""
    made = split(1.0, pinned=["u"], first=["u"], denied=["u"])
    assert made.place(b"u", 0.0) == STABLE
    assert split(0.01, pinned=["u"], first=["u"]).place(b"u", 0.9) == RING


def test_without_a_key_each_request_is_its_own_unit() -> None:
    """Its draw decides, and lists that no request can be on mean nothing."""
    made = split(0.25, unit="")
    assert made.unit is None
    assert [made.place(None, at) for at in (0.1, 0.3, 0.8)] == [CANARY, STABLE, CONTROL]
    assert [split(0.75, unit="").place(None, at) for at in (0.1, 0.3, 0.8)] == [CANARY, MORE, CONTROL]
