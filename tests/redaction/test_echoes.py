"""Known secrets found again: in any spelling, at any alignment, and not inside of other words when short."""

from __future__ import annotations

import base64

import pytest

from shadowproxy.errors import Unreadable
from shadowproxy.redaction import echoes
from shadowproxy.redaction.echoes import is_clean, needles, present, scrub_echoes
from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules


def knowing(*secrets: str) -> Findings:
    """Findings that know these."""
    found = Findings(Rules(), Pseudonyms(b"k" * 32))
    for secret in secrets:
        found.stand_in(secret)
    return found


def swept(text: str, *secrets: str, is_query: bool = False) -> str:
    """The text afterwards."""
    edits, found = Edits(text), knowing(*secrets)
    scrub_echoes(edits, needles(found), found, is_query=is_query)
    after = edits.applied()
    assert is_clean(after, needles(found))
    return after


def test_the_pseudonym_is_put_in() -> None:
    """So that what could be joined still can."""
    found = knowing("hunter2222")
    assert swept("x hunter2222 HUNTER2222 y", "hunter2222") == f"x {found.secrets['hunter2222']} {found.secrets['hunter2222']} y"


@pytest.mark.parametrize("before", [b"", b"u", b"us", b"user:", b"\xff\xfe"])
@pytest.mark.parametrize("behind", [b"", b"!", b"!!", b":x"])
def test_base64_is_seen_through_at_any_alignment(before: bytes, behind: bytes) -> None:
    """The whole run is replaced, in either alphabet."""
    for coded in (base64.b64encode(before + b"hunter2222" + behind), base64.urlsafe_b64encode(before + b"hunter2222" + behind)):
        after = swept(f"x {coded.decode()} y", "hunter2222")
        assert coded.decode() not in after
        assert (after[:2], after[-2:], len(after)) == ("x ", " y", len(coded) + 4)


def test_hexadecimal_digits_are_seen_through() -> None:
    """In either case."""
    for digits in (b"a hunter2222".hex(), b"hunter2222".hex().upper()):
        assert digits not in swept(f"({digits})", "hunter2222")


@pytest.mark.parametrize(
    ("text", "secret", "is_found"),
    [
        ("pin 1234 ok", "1234", True),
        ("pin 12345 ok", "1234", False),
        ("a_1234", "1234", False),
        ("123", "123", False),
        ("dark theme", "dark", False),
        ("secret", "secret", True),
        ("secrets", "secret", False),
        ("xlongenough1y", "longenough1", True),
        ("abcdefghx", "abcdefgh", True),
    ],
)
def test_short_secrets_are_whole_words(text: str, secret: str, is_found: bool) -> None:
    """A theme that is called dark must not darken every page."""
    assert (swept(text, secret) != text) is is_found


def test_longer_secrets_win() -> None:
    """A secret that is part of another is replaced within it once."""
    found = knowing("alpha1234", "alpha1234-beta5678")
    assert swept("alpha1234-beta5678", "alpha1234", "alpha1234-beta5678") == found.secrets["alpha1234-beta5678"]


def test_blanks_may_be_pluses() -> None:
    """As forms write them."""
    assert "two+words+99" not in swept("q=two+words+99", "two words 99")


def test_what_is_put_into_an_encoded_place_is_encoded() -> None:
    """A percent-encoded secret by a percent-encoded pseudonym."""
    assert " " not in swept("/x/two%20words%2099/y", "two words 99")
    assert " " not in swept("/x/hunter2222/y", "hunter2222", is_query=True)


def test_only_what_is_there_is_looked_for_place_by_place() -> None:
    """In one search over everything."""
    wanted = needles(knowing("hunter2222", "other-99999"))
    assert present(wanted, ["nothing", "here"]) == []
    assert {needle.stands for needle in present(wanted, ["x", "%68unter2222"])} == {knowing("hunter2222").secrets["hunter2222"]}


def test_a_search_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many secrets times many places."""
    monkeypatch.setattr(echoes, "SEARCHES_LIMIT", 3)
    with pytest.raises(Unreadable):
        swept("x", "hunter2222")


def test_leftovers_are_noticed() -> None:
    """The last check before a text is kept."""
    assert not is_clean("x %68unter2222", needles(knowing("hunter2222")))
    assert is_clean("hunter", needles(knowing("hunter2222")))
