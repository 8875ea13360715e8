"""The hash space: the documented formula, nested shares, and even draws without a unit."""

from __future__ import annotations

from hashlib import blake2b

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.hashspace import SALT_LIMIT, Weyl, point, salt_of


@given(st.binary(max_size=200), st.binary(max_size=SALT_LIMIT))
def test_the_point_is_the_documented_formula(unit: bytes, salt: bytes) -> None:
    """Anybody can compute membership offline from the formula in the documentation."""
    documented = int.from_bytes(blake2b(unit, digest_size=8, key=salt).digest(), "big") / 2**64
    assert point(unit, salt) == min(documented, 1.0 - 2.0**-53)


@pytest.mark.parametrize(
    ("unit", "salt", "expected"),
    [(b"", b"", 0.8931675160897388), (b"ada", b"shop", 0.6860542023021617), (b"user-00042", b"demo", 0.8960184659884252)],
)
def test_points_never_move(unit: bytes, salt: bytes, expected: float) -> None:
    """These values are a promise: a release that changes one moves users between shares."""
    assert point(unit, salt) == expected


@given(st.binary(max_size=50), st.binary(max_size=64))
def test_a_point_is_in_the_half_open_interval(unit: bytes, salt: bytes) -> None:
    """0 <= point < 1, so that a share of 100 % holds every unit and one of 0 % none."""
    assert 0.0 <= point(unit, salt) < 1.0


def test_the_largest_digest_stays_below_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """A digest of all ones would round to 1.0; it is the greatest double below."""

    class AllOnes:
        def __init__(self, *_: object, **__: object) -> None: ...

        def digest(self) -> bytes:
            return b"\xff" * 8

    monkeypatch.setattr("shadowproxy.hashspace.blake2b", AllOnes)
    assert point(b"", b"") == 1.0 - 2.0**-53


def test_shares_hold_what_they_say_and_are_nested() -> None:
    """Of 20,000 users 5 % holds 5 % to half a point, and all of the 1 %."""
    points = {number: point(f"user-{number}".encode(), b"salt") for number in range(20_000)}
    one = {number for number, at in points.items() if at < 0.01}
    five = {number for number, at in points.items() if at < 0.05}
    assert one < five
    assert len(five) / len(points) == pytest.approx(0.05, abs=0.005)


def test_salts_make_independent_spaces() -> None:
    """Being in one salt's half says nothing about another's."""
    users = [f"user-{number}".encode() for number in range(10_000)]
    both = sum(point(user, b"a") < 0.5 and point(user, b"b") < 0.5 for user in users)
    assert both / len(users) == pytest.approx(0.25, abs=0.02)


def test_a_salt_that_is_too_long_is_refused() -> None:
    """64 bytes is what blake2b takes as a key."""
    point(b"u", b"s" * SALT_LIMIT)
    with pytest.raises(ValueError, match="maximum key length is 64"):
        point(b"u", b"s" * (SALT_LIMIT + 1))


@given(st.text())
def test_every_name_has_a_salt(name: str) -> None:
    """A short name is its own salt; a long one its digest, which fits."""
    salt = salt_of(name)
    assert len(salt) <= SALT_LIMIT
    if len(name.encode()) <= SALT_LIMIT:
        assert salt == name.encode()
    else:
        assert salt == blake2b(name.encode()).digest()


@given(st.floats(min_value=0, max_value=10), st.integers(min_value=1, max_value=2000), st.floats(min_value=0, max_value=1))
def test_draws_without_a_unit_are_even(start: float, count: int, share: float) -> None:
    """Of any n consecutive draws the number below p is n * p to within a few, wherever the sequence starts."""
    draws = Weyl(start)
    below = sum(draws.next() < share for _ in range(count))
    assert abs(below - count * share) <= 6


def test_a_sequence_shows_where_it_is() -> None:
    """Its repr has its place, for a debugger."""
    draws = Weyl(0.5)
    assert repr(draws) == "Weyl(at=0.500000)"
    assert draws.next() == pytest.approx(0.5 + Weyl.STEP - 1.0)
