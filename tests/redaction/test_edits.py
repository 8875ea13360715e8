"""Replacements in places, and places found through escapes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.redaction.edits import READINGS, Edits, readings, resolved


def test_replacements_do_not_overlap() -> None:
    """What is replaced stays as it is; only the rest of a wider place is added."""
    edits = Edits("0123456789")
    edits.add(2, 4, "AB")
    edits.add(1, 6, "xyz")
    assert edits.applied() == "0xyzAB6789"
    edits.add(2, 3, "no")
    edits.add(8, 8, "no")
    assert edits.applied() == "0xyzAB6789"
    assert edits.gaps() == [(0, 1), (6, 10)]
    assert edits.spans == ((1, 2, "xyz"), (2, 4, "AB"), (4, 6, ""))
    assert len(edits) == 3


@given(st.text("abcdef", max_size=20), st.lists(st.tuples(st.integers(0, 20), st.integers(0, 20), st.text("XYZ", max_size=3)), max_size=8))
def test_gaps_and_replacements_make_up_the_text(text: str, added: list[tuple[int, int, str]]) -> None:
    """Every character is in exactly one of them, in order."""
    edits = Edits(text)
    for start, end, put in added:
        edits.add(min(start, len(text)), min(end, len(text)), put)
    places = sorted([*edits.gaps(), *((start, end) for start, end, _ in edits.spans)])
    covered = [at for start, end in places for at in range(start, end)]
    assert covered == list(range(len(text)))
    assert all(character in edits.applied() for start, end in edits.gaps() for character in text[start:end])


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("a%41b", "aAb"),
        ("\\u0041\\x42\\n\\/", "AB\n/"),
        ("&#65;&#x42;&amp;&lt;", "AB&<"),
        ("\\u00fc", "ü".encode().decode("latin-1")),
        ("&#128512;", "\U0001f600".encode().decode("latin-1")),
        ("&#9999999;", "?"),
        ("%", None),
        ("%zz \\q &x;", None),
        ("", None),
    ],
)
def test_escapes_are_resolved(text: str, meant: str | None) -> None:
    """Percent, JSON and HTML; what is no escape stands for itself."""
    reading = resolved(text)
    assert (reading.text if reading else None) == meant


@given(st.lists(st.sampled_from(["a", "b", "%41", "\\u00e9", "&#66;", "%25", "\\\\", "&amp;", "41"]), max_size=12))
def test_places_lead_back(pieces: list[str]) -> None:
    """Whatever the reading, a place in it is that of whole escapes in the text as sent."""
    text = "".join(pieces)
    found = readings(text, 7)
    assert found[-1][0] == text
    assert len(found) <= READINGS + 1
    for reading, back in found:
        at = 7
        for index in range(len(reading)):
            start, end = back(index, index + 1)
            assert start < end
            assert start >= at or text[start - 7] in "\\&%"
            at = max(at, start)
        if reading:
            assert back(0, len(reading)) == (7, 7 + len(text))


def test_a_deep_escape_is_found_through_all_layers() -> None:
    """A percent sign that is percent-encoded in a URL inside a JSON string."""
    text = '{"u": "x%253D\\u0025253Dy"}'
    deepest, back = readings(text, 0)[0]
    assert deepest == '{"u": "x==y"}'
    start, end = back(8, 9)
    assert text[start:end] == "%253D"
