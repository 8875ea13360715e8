"""JSON that means one thing: everything else is refused, with a reason that quotes nothing."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks.strict import DEPTH_LIMIT, dumps, loads

documents = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**100), 2**100) | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(documents)
def test_what_was_written_is_read_as_it_was(value: object) -> None:
    """Any document survives, and its text is ASCII."""
    text = dumps(value)
    assert text.isascii()
    assert loads(text.encode()) == value


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b'{"a": 1,}', "not JSON"),
        (b"\xff", "not UTF-8"),
        (b"\xef\xbb\xbf{}", "not JSON"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b'{"a": {"b": 1, "c": 2, "b": 1}}', "stands twice"),
        (b"NaN", "JSON has no NaN"),
        (b"[-Infinity]", "JSON has no -Infinity"),
        (b"1e999", "too large"),
        (b"-1e400", "too large"),
        (b"9" * 310, "too large"),
        (b"9" * 100_000, "too large"),
        (b"[" * (DEPTH_LIMIT + 1) + b"]" * (DEPTH_LIMIT + 1), "nested deeper"),
        (b'{"a":' * (DEPTH_LIMIT + 1) + b"1" + b"}" * (DEPTH_LIMIT + 1), "nested deeper"),
        (b"[" * 1_000_000, "nested deeper"),
        (b"[" * 100_000 + b"]" * 100_000, "nested deeper"),
    ],
)
def test_what_is_refused(body: bytes, reason: str) -> None:
    """Broken syntax, names that come twice, numbers that no double holds, depth, and bytes that are no text."""
    with pytest.raises(ValueError, match=reason):
        loads(body)


def test_the_deepest_that_is_read() -> None:
    """The limit itself passes, also beside much that is shallow."""
    deepest = b"[" * DEPTH_LIMIT + b"]" * DEPTH_LIMIT
    assert loads(deepest)
    assert len(loads(b"[" + b",".join([b"[1]"] * 200) + b"]")) == 200


@given(st.binary(max_size=50))
def test_any_bytes_are_read_or_refused(body: bytes) -> None:
    """Nothing but ValueError, and what is read the standard library reads too."""
    try:
        value = loads(body)
    except ValueError:
        return
    assert json.loads(body) == value


def test_half_a_surrogate_pair_can_be_written_again() -> None:
    r"""JSON can say "\ud800"; no UTF-8 can, but the text that is written does."""
    assert dumps(loads(rb'"\ud800"')) == r'"\ud800"'
