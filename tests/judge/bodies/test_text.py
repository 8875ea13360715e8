"""Texts and pages by lines."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.judge.bodies import text
from shadowproxy.judge.bodies.difference import Differences, Excuse
from shadowproxy.judge.bodies.rules import Rule, Rules, Treatment


def said(live: str, shadow: str, *rules: Rule, is_markup: bool = True) -> list[tuple[str, str]]:
    """The places and kinds of the differences."""
    found = Differences()
    assert text.compare(found, Rules(rules), live, shadow, is_markup=is_markup) == ""
    return [(difference.path, difference.kind.value) for difference in found]


PAGE = '<html><head><title>Shop</title></head><body><p class="price">10 EUR</p><input name="csrf" value="abc"><p>at 2026-01-01T00:00:00Z</p></body></html>'


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("10 EUR", "11 EUR", [('body["<p class=price>"]', "value")]),
        ("abc", "xyz", [('body["<input name=csrf value>"]', "value")]),
        ("<title>Shop</title>", "", [('body["<title>"]', "missing"), ('body["</title>"]', "missing")]),
        ("<body>", "<body><hr>", [('body["<hr>"]', "extra")]),
        ("Shop", "Shop\n  ", []),
    ],
)
def test_a_page_on_one_line_is_compared_tag_by_tag(before: str, after: str, expected: list[tuple[str, str]]) -> None:
    """And each place is told by its tag, not by its content."""
    assert said(PAGE, PAGE.replace(before, after)) == expected


def test_times_in_a_page_are_excused() -> None:
    """Noted as readings of a clock."""
    found = Differences()
    text.compare(found, Rules(), PAGE, PAGE.replace("00:00:00", "00:00:07"), is_markup=True)
    (difference,) = found
    assert (difference.path, difference.excuse) == ('body["<p>"]', Excuse.CLOCK)


def test_lines_in_another_order() -> None:
    """A difference of the whole."""
    assert said("a\nb\nc", "c\na\nb", is_markup=False) == [("body", "order")]


def test_lines_of_text_are_told_by_their_label() -> None:
    """The words before a colon or an equals sign."""
    assert said("state: ok\nuptime = 7\n", "state: bad\nuptime = 7\n", is_markup=False) == [('body["state"]', "value")]


def test_a_rule_ignores_a_shape() -> None:
    """By the path that reports show."""
    rule = Rule(path='body["<input name=csrf value>"]', treat=Treatment.IGNORE)
    assert not said(PAGE, PAGE.replace("abc", "xyz"), rule)


def test_too_many_lines_are_not_compared_by_lines() -> None:
    """It says so, and the caller compares bytes."""
    assert "limit" in text.compare(Differences(), Rules(), "a\n" * 30_000, "b", is_markup=False)


@given(st.text(), st.text(), st.booleans())
def test_no_text_raises(live: str, shadow: str, is_markup: bool) -> None:
    """And a text does not differ from itself."""
    text.compare(Differences(), Rules(), live, shadow, is_markup=is_markup)
    assert not said(live, live, is_markup=is_markup)


@pytest.mark.parametrize(
    "line", ["<" * 5000, "<a " + "b=" * 5000, "<a " + 'b="' * 5000, "a " * 5000, "<p" + " x" * 5000 + ">", "a" * 5000 + ":"]
)
def test_shapes_are_found_in_linear_time(line: str) -> None:
    """Lines made to be almost of a shape are decided within the test's timeout."""
    for _ in range(20):
        text.compare(Differences(), Rules(), line, line + "x", is_markup=True)
