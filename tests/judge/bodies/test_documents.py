"""Reading documents: every digit kept, nothing raised."""

from __future__ import annotations

import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies.documents import (
    Media,
    NotANumber,
    Repeated,
    Unreadable,
    content_type,
    read_form,
    read_json,
    read_json_lines,
    text_of,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12345678901234567890123", 12345678901234567890123),
        ("0.1000000000000000055511151231257827", Decimal("0.1000000000000000055511151231257827")),
        ("NaN", NotANumber.NAN),
        ("-Infinity", NotANumber.NEGATIVE_INFINITY),
        ("9" * 5000, Decimal("9" * 5000)),
        ('"\\ud800"', "\ud800"),
    ],
)
def test_values_are_read_exactly(text: str, value: object) -> None:
    """Numbers are not rounded to doubles."""
    assert read_json(text) == value


def test_a_name_given_twice_is_remembered() -> None:
    """The last value counts, and the object knows which name it was."""
    value = read_json('{"a": 1, "b": 2, "a": 3}')
    assert isinstance(value, Repeated)
    assert value == {"a": 3, "b": 2}
    assert value.names == {"a"}


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, '{"a":' * 50_000, "nope", "1e99999999999999999999 x"])
def test_what_is_no_json_says_why(text: str) -> None:
    """Depth without bound included."""
    assert isinstance(read_json(text), Unreadable)


@given(st.text())
def test_no_text_raises(text: str) -> None:
    """Whatever the reader is for."""
    for reader in (read_json, read_json_lines, read_form):
        reader(text)


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner))
)
def test_json_is_what_python_wrote(value: object) -> None:
    """Without numbers that are not whole, the value is the same as json's own."""
    assert read_json(json.dumps(value)) == value


def test_a_number_beyond_all_arithmetic_is_kept_by_its_digits() -> None:
    """It is equal to itself and nothing else."""
    assert read_json("1e99999999999999999999") == read_json("1e99999999999999999999") != read_json("1e99999999999999999998")


def test_lines_of_json_are_a_list() -> None:
    """Record separators and empty lines are no values."""
    assert read_json_lines('{"a":1}\n\n\x1e{"a":2}\r\n') == [{"a": 1}, {"a": 2}]
    assert isinstance(read_json_lines("{}\n" * 20_000), Unreadable)
    assert isinstance(read_json_lines("{}\nx"), Unreadable)


def test_a_form_is_an_object() -> None:
    """A field given twice is an array."""
    assert read_form("a=1&b=&a=2") == {"a": ["1", "2"], "b": ""}


@pytest.mark.parametrize(
    ("value", "content", "media"),
    [
        ("application/json; charset=utf-8", b"", Media.JSON),
        ("application/problem+json", b"", Media.JSON),
        ("application/x-ndjson", b"", Media.JSON_LINES),
        ("application/x-www-form-urlencoded", b"", Media.FORM),
        ("text/html", b"", Media.MARKUP),
        ("image/svg+xml", b"", Media.MARKUP),
        ("text/plain", b"", Media.TEXT),
        ("image/png", b"", Media.OTHER),
        ("", b' {"a"', Media.JSON),
        ("", b"GIF", Media.OTHER),
    ],
)
def test_media(value: str, content: bytes, media: Media) -> None:
    """What a body is compared as, by its type, or by its first byte without one."""
    assert content_type(value, content).media is media


def test_a_charset_is_unquoted() -> None:
    """RFC 9110, section 8.3.1: both spellings are the same."""
    assert content_type('text/html; charset="ISO-8859-2"').charset == "ISO-8859-2"


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        ("žluť".encode(), "", "žluť"),
        (b"\xef\xbb\xbf{}", "utf-8", "{}"),
        ("žluť".encode("iso8859-2"), "ISO-8859-2", "žluť"),
        (b"\xff", "", None),
        (b"a", "no-such-charset", None),
        (b"a", "hex", None),
        (b"a", "a\x00b", None),
    ],
)
def test_charsets(content: bytes, charset: str, text: str | None) -> None:
    """A charset that is unknown, not kept, or no charset at all is None and never raises."""
    assert text_of(content, charset) == text
