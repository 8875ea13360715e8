"""Markdown for a comment."""

from __future__ import annotations

import re

import pytest
from markdown_it import MarkdownIt

from shadowproxy.report import markdown
from tests.report import samples
from tests.report.test_markup import Read


def test_a_comment_has_verdict_tests_and_causes() -> None:
    """In that order."""
    text = markdown.text(samples.report(samples.verdict())).replace("\u00a0", " ")
    heads = [
        text.index(words)
        for words in ("REGRESSION: orders/v2", "| errors | **failed** |", "`200 -> 504`", "`$.items[*].price`", "7,440 pairs, coverage")
    ]
    assert heads == sorted(heads)


def test_every_table_is_one() -> None:
    """Each row has as many cells as its head."""
    for report in (samples.report(samples.verdict(), samples.undecided()), samples.report(samples.hostile())):
        for block in markdown.text(report).split("\n\n"):
            rows = [line for line in block.splitlines() if line.startswith("|")]
            assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) <= 1


def test_hostile_words_stay_words() -> None:
    """No element, no link, no picture, no mention, no line of their own."""
    text = markdown.text(samples.report(samples.hostile()))
    seen = Read(MarkdownIt("commonmark").enable(["table", "strikethrough"]).render(text))
    assert {element for element, _ in seen.elements} <= {"h3", "p", "table", "thead", "tbody", "tr", "th", "td", "strong", "code", "sub"}
    assert "<script>alert(1)</script>" in seen.text
    assert "@" not in text
    assert "\x1b" not in text
    assert "\u202e" not in text


@pytest.mark.parametrize(
    ("words", "escaped"),
    [
        ("a_b*c", r"a\_b\*c"),
        ("@all", "@\u200ball"),
        ("# x", r"\# x"),
        ("- x", "\u200b- x"),
        ("1. x", "\u200b1. x"),
        ("a\nb", "a b"),
        ("-0.3 %", "-0.3 %"),
        ("---", "\u200b---"),
        ("15.7 ms", "15.7 ms"),
    ],
)
def test_punctuation_that_means_something(words: str, escaped: str) -> None:
    """Is escaped, or moved from where it means it."""
    assert markdown.escape(words) == escaped


@pytest.mark.parametrize(
    ("words", "shown"), [("a", "`a`"), ("a`b", "``a`b``"), ("`", "`` ` ``"), ("a|b", r"`a\|b`"), ("", "` `"), ("a\nb", "`a b`")]
)
def test_code_holds_any_text(words: str, shown: str) -> None:
    """The fence is longer than any inside."""
    assert markdown.code(words) == shown


def test_a_comment_fits() -> None:
    """However many mirrors there are; what is left out is said."""
    text = markdown.text(samples.report(*[samples.verdict(mirror=f"v{index}") for index in range(60)], pairs=1))
    assert len(text) <= markdown.LIMIT
    assert re.search(r"_and \d+ more mirrors_", text)


def test_all_states_can_be_written() -> None:
    """Also nothing at all, and the kill switch."""
    text = markdown.text(samples.report(samples.safe(), samples.invalid(), samples.empty(), is_killed=True))
    assert "The kill switch is on" in text
    assert "**invalid**" in text
    assert "No route has a mirror" in markdown.text(samples.report())
