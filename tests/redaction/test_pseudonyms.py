"""Pseudonyms: of the same form, the same for the same, unlinkable without the key."""

from __future__ import annotations

import ipaddress
import json
import re
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.redaction.pseudonyms import Pseudonyms, is_luhn

ONE, OTHER = Pseudonyms(b"a" * 32), Pseudonyms(b"b" * 32)


@given(st.text(min_size=1, max_size=60))
def test_the_same_secret_has_the_same_pseudonym_and_another_key_another(secret: str) -> None:
    """Joins go on working under one key; two keys cannot be joined; nothing maps to itself."""
    stands = ONE.of(secret)
    assert stands == Pseudonyms(b"a" * 32).of(secret)
    assert stands != secret
    assert stands.isascii()
    if len(secret) > 10 and secret.isascii() and secret.isalnum():
        assert OTHER.of(secret) != stands


@given(st.text("abcXYZ019-_.:/+=,@| ", min_size=1, max_size=60))
def test_characters_stay_in_their_class(secret: str) -> None:
    """Length, separators, digits, small and capital letters, unless the form says more."""
    if re.fullmatch(r"[a-zA-Z0-9]+[-_ ][a-zA-Z]+", secret) and not is_luhn(secret):
        stands = ONE.of(secret)
        assert [_class(one) for one in stands] == [_class(one) for one in secret]


def _class(character: str) -> str:
    return "9" if character.isdigit() else "A" if character.isupper() else "a" if character.islower() else character


@given(st.emails())
def test_an_email_stays_one(email: str) -> None:
    """Under a domain that nobody can own; who shared a domain still does."""
    if not email.isascii():
        return
    stands = ONE.of(email)
    assert re.fullmatch(r"[^@\s]+@[a-z]+\.example", stands)
    domain = email.rpartition("@")[2]
    assert ONE.of(f"someone@{domain}").rpartition("@")[2] == stands.rpartition("@")[2]


@pytest.mark.parametrize("card", ["4111111111111111", "5500 0000 0000 0004", "3400-000000-00009", "6011000990139424", "4222222222222"])
def test_a_card_stays_one(card: str) -> None:
    """Length, groups, first digit and check digit."""
    stands = ONE.of(card)
    assert is_luhn(stands)
    assert stands[0] == card[0]
    assert [_class(one) for one in stands] == [_class(one) for one in card]
    assert stands != card


@pytest.mark.parametrize(("text", "is_one"), [("79927398713", True), ("79927398710", False), ("0", False), ("", False), ("18", True)])
def test_luhn(text: str, is_one: bool) -> None:
    """The example of ISO/IEC 7812-1, and what is too short."""
    assert is_luhn(text) is is_one


@pytest.mark.parametrize("phone", ["+49 30 1234567", "(030) 123-4567", "+1-202-555-0143", "0301234567"])
def test_a_phone_number_keeps_its_shape(phone: str) -> None:
    """Digits for digits; plus, brackets aside, and dividers stay."""
    stands = ONE.of(phone)
    assert len(stands) == len(phone)
    assert [one.isdigit() for one in stands] == [one.isdigit() for one in phone]
    assert (stands[0] == "+") == (phone[0] == "+")


@given(st.ip_addresses())
def test_an_address_stays_one(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    """Of the same version, in a range that no host has."""
    stands = ipaddress.ip_address(ONE.of(str(address)))
    assert stands.version == address.version
    assert stands in ipaddress.ip_network("240.0.0.0/4" if stands.version == 4 else "2001:db8::/32")


@given(st.uuids(version=4))
def test_a_uuid_stays_one(value: uuid.UUID) -> None:
    """Of the same version and variant, in the same case."""
    stands = uuid.UUID(ONE.of(str(value)))
    assert (stands.version, stands.variant) == (value.version, value.variant)
    assert ONE.of(str(value).upper()).isupper()


@given(st.integers() | st.decimals(allow_nan=False, allow_infinity=False, places=3).map(float))
def test_a_number_stays_one(value: float) -> None:
    """JSON reads it as a number with as many digits before and after the point."""
    text = json.dumps(value)
    stands = ONE.of(text)
    assert type(json.loads(stands)) is type(value)
    assert stands != text
    if not is_luhn(text) or not 12 <= len(text) <= 19:
        assert [_class(one) for one in stands] == [_class(one) for one in text]


@pytest.mark.parametrize("token", ["eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2ln", "eyJhbGciOiJub25lIn0.eyJzdWIiOiIxIn0.", "eyJh.a.b.c.d"])
def test_a_token_keeps_its_parts(token: str) -> None:
    """As many, as long, divided by dots."""
    stands = ONE.of(token)
    assert [len(part) for part in stands.split(".")] == [len(part) for part in token.split(".")]
    assert stands.startswith("eyJ")


def test_hexadecimal_digits_stay_some() -> None:
    """In their case."""
    assert re.fullmatch(r"[0-9a-f]{40}", ONE.of("da39a3ee5e6b4b0d3255bfef95601890afd80709"))
    assert re.fullmatch(r"[0-9A-F]{12}", ONE.of("DEADBEEF0123"))


def test_the_empty_secret_has_no_pseudonym() -> None:
    """There is nothing to hide."""
    assert ONE.of("") == ""


@pytest.mark.parametrize("secret", ["-", "...", " ", "0", "a"])
def test_nothing_maps_to_itself(secret: str) -> None:
    """Not even what has nothing but separators."""
    assert ONE.of(secret) != secret


def test_digests_tell_equal_from_different_under_one_key() -> None:
    """And nothing to who does not have it."""
    assert ONE.digest(b"x") == ONE.digest(b"x") != ONE.digest(b"y")
    assert ONE.digest(b"x") != OTHER.digest(b"x")


@pytest.mark.parametrize("key", [b"", b"short", b"x" * 65])
def test_a_weak_key_is_refused(key: bytes) -> None:
    """Before anything is made with it."""
    with pytest.raises(ValueError, match="are needed"):
        Pseudonyms(key)
