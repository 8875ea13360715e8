"""Text becomes markup only by being escaped."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.report.markup import Markup, escape, join, render, tag, visible
from tests.report.samples import HOSTILE


class Read(HTMLParser):
    """What a browser would see: elements, attributes and text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note an element."""
        self.elements.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data


@given(st.text(st.characters(exclude_categories=())))
def test_text_stays_text(words: str) -> None:
    """Whatever is in it, a reader sees the visible text, in one element, and an attribute keeps its value."""
    seen = Read(tag("p", words, title=words))
    assert seen.elements == [("p", {"title": visible(words)})]
    assert seen.text == visible(words)


@given(st.text(st.characters(exclude_categories=())))
def test_visible_text_can_be_written_and_hides_nothing(words: str) -> None:
    """It can be encoded, and nothing in it is invisible but white space."""
    shown = visible(words)
    shown.encode()
    assert all(one.isprintable() or one in "\n\t \u00a0" for one in shown)


@pytest.mark.parametrize(
    ("words", "shown"), [("a\x00b", r"a\x00b"), ("\u202e", r"\u202e"), ("\ud800", r"\ud800"), ("\U000e0001", r"\U000e0001"), ("é\n", "é\n")]
)
def test_invisible_characters_are_named(words: str, shown: str) -> None:
    """Controls, direction marks, lone surrogates and tags show as escapes; letters stay."""
    assert visible(words) == shown


def test_elements() -> None:
    """Attributes, void elements, nested content."""
    assert tag("meta", http_equiv="x") == '<meta http-equiv="x">'
    assert tag("td", "a", 1, None, [Markup("<b>"), "<"], class_="num", hidden=True, id=None) == '<td class="num" hidden>a1<b>&lt;</td>'
    assert tag("p", name="x", title=False) == '<p name="x"></p>'
    assert repr(Markup("a")) == "Markup('a')"


def test_joined_parts() -> None:
    """Each part is escaped by itself, and so is what is between them."""
    assert join(["<", Markup("<b>")], "&") == "&lt;&amp;<b>"


def test_only_this_package_makes_markup() -> None:
    """A hostile string is as harmless in any place."""
    for made in (escape(HOSTILE), render(HOSTILE), render([HOSTILE]), render((HOSTILE,))):
        assert "<" not in made
        assert '"' not in made
