"""The tables of field names."""

from __future__ import annotations

import pytest

from shadowproxy.dataplane import fields

MEANINGS = {name: value for name, value in vars(fields).items() if name.isupper() and isinstance(value, int)}


def test_each_meaning_has_a_number_of_its_own() -> None:
    """And none of them runs into the bits that say who looks at a field."""
    assert len(set(MEANINGS.values())) == len(MEANINGS)
    bits = {"COLLECT", "TOUCH", "TAGS"}
    assert all(value < fields.ACTION for name, value in MEANINGS.items() if name not in bits | {"ACTION"})
    assert len({MEANINGS[name] & ~fields.ACTION for name in bits}) == 3
    assert all(MEANINGS[name].bit_count() == 1 and not MEANINGS[name] & fields.ACTION for name in bits)


@pytest.mark.parametrize("table", [fields.REQUEST_FIELDS, fields.RESPONSE_FIELDS])
def test_names_are_in_the_form_in_which_they_are_looked_up(table: dict[bytes, int]) -> None:
    """Lower case."""
    assert all(name == name.lower() and table[name] in MEANINGS.values() for name in table)


@pytest.mark.parametrize("name", [b"connection", b"keep-alive", b"proxy-connection", b"upgrade", b"transfer-encoding"])
def test_connection_level_fields_are_known_both_ways(name: bytes) -> None:
    """RFC 9110 section 7.6.1: they end at each hop."""
    assert fields.REQUEST_FIELDS[name]
    assert fields.RESPONSE_FIELDS[name]


def test_no_client_can_nominate_away_what_says_who_and_where() -> None:
    """HBH-05, HBH-06."""
    assert {b"host", b"content-length", b"authorization", b"cookie", b"x-test-traffic", b"traceparent", b"forwarded"} <= fields.PROTECTED
