"""Where a mirror finds the unit that it samples as a whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.policy.units import Unit, parse_unit, unit_of


@pytest.mark.parametrize(
    ("key", "unit"),
    [
        ("", None),
        ("header:X-User-Id", ("header", b"x-user-id")),
        ("cookie:Session", ("cookie", b"Session")),
        ("client", ("client", b"")),
        ("segment:2", ("segment", b"2")),
        ("trace", ("trace", b"")),
    ],
)
def test_keys_name_units(key: str, unit: Unit | None) -> None:
    """Header names are compared in lower case, cookie names as they are; no key means no unit."""
    assert parse_unit(key) == unit


HEADERS = {b"x-user-id": [b"u7", b"u8"], b"x-empty": [b""], b"cookie": [b"a=1; sid=abc;b = 2", b'late="q"; sid=second']}


@pytest.mark.parametrize(
    ("key", "found"),
    [
        ("header:x-user-id", b"u7"),
        ("header:x-empty", None),
        ("header:x-none", None),
        ("cookie:sid", b"abc"),
        ("cookie:a", b"1"),
        ("cookie:late", b'"q"'),
        ("cookie:SID", None),
        ("cookie:si", None),
        ("client", b"192.0.2.7"),
        ("segment:1", b"tenants"),
        ("segment:2", b"t%20x"),
        ("segment:3", None),
        ("segment:4", b"end"),
        ("segment:5", None),
        ("trace", b"0" * 31 + b"1"),
    ],
)
def test_units_are_found_where_the_key_says(key: str, found: bytes | None) -> None:
    """The first line of a repeated field counts, an empty value is none, and segments are taken as sent, from 1."""
    unit = parse_unit(key)
    assert unit is not None
    assert unit_of(unit, b"/tenants/t%20x//end", HEADERS, b"192.0.2.7", b"0" * 31 + b"1") == found


@given(st.lists(st.tuples(st.from_regex(rb"[a-z]{1,3}", fullmatch=True), st.from_regex(rb"[a-z0-9=]{1,4}", fullmatch=True)), max_size=6))
def test_the_first_cookie_of_a_name_counts(pairs: list[tuple[bytes, bytes]]) -> None:
    """Whatever else is in the Cookie field, and whether it comes on one line or several."""
    wanted = dict(reversed(pairs))
    together = {b"cookie": [b"; ".join(b"%b=%b" % pair for pair in pairs)]}
    apart = {b"cookie": [b"%b=%b" % pair for pair in pairs]}
    for name in [*wanted, b"none"]:
        for headers in (together, apart):
            assert unit_of(("cookie", name), b"/", headers, b"", b"") == wanted.get(name)


@pytest.mark.parametrize("line", [b"", b";;", b"sid", b"sid=", b" = ", b"=abc"])
def test_what_is_no_cookie_is_no_unit(line: bytes) -> None:
    """Malformed pairs are passed over."""
    assert unit_of(("cookie", b"sid"), b"/", {b"cookie": [line]}, b"", b"") is None
