"""Secrets that their form gives away, and what only looks like one."""

from __future__ import annotations

import pytest

from shadowproxy.redaction.rules import SHAPES, Rules
from shadowproxy.redaction.shapes import PRIVATE_KEYS, found, shapes

# Spelt in two pieces: scanners of repositories look for these very forms.
SECRET = {
    "jwt": "eyJhbGciOiJIUzI1NiJ9" + ".eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
    "stripe": "sk_live_" + "4eC39HqLyjWDarjtT1zdp7dc",
    "github": "ghp_" + "16C7e42F292c6912E7710c838347Ae178B4a",
    "github, fine": "github_pat_" + "11ABCDEFG0abcdefghijkl_x",
    "gitlab": "glpat-" + "ABCDEFGHIJKLMNOPQRST",
    "slack": "xoxb-" + "123456789012-abcdefGHIJ",
    "aws": "AKIA" + "IOSFODNN7EXAMPLE",
    "google": "AIza" + "SyDaGmWKa4JsXZ-HjGw7ISLn_3namBGewQe",
    "openai": "sk-" + "proj-abcdefghijklmnop1234",
    "sendgrid": "SG." + "abcdefghijklmnop12.abcdefghijklmnop34",
    "npm": "npm_" + "abcdefghijklmnopqrstuvwxyz0123456789",
    "pypi": "pypi-" + "AgEIcHlwaS5vcmcCJDU",
    "shopify": "shpat_" + "0123456789abcdef0123456789abcdef",
    "email": "jane.doe+shop@mail.example.org",
    "card": "4111111111111111",
    "card, grouped": "5500 0000 0000 0004",
}
PLAIN = [
    "hello world", "2026-01-01T12:00:00Z", "bearer authentication is used", "Basic information", "user@localhost", "@mention", "a@b", "4111111111111112", "0000000000000000",
    "1.4111111111111111", "41111111111111111111111", "https://example.org/a@b", "sk-short", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "eyJ", "3.14159265358979",
    "AKIAlower", "ghost_story", "0123456789abcdef0123456789abcdef",
]  # fmt: skip


def places(text: str, *keep: str) -> list[str]:
    """What is found in a text."""
    return [text[start:end] for shape in shapes(Rules(keep=keep)) for start, end in found(shape, text)]


@pytest.mark.parametrize("secret", SECRET.values(), ids=SECRET)
def test_secrets_are_found_by_their_form(secret: str) -> None:
    """Alone, in quotes, in a sentence, at either end."""
    for text in (secret, f'"{secret}"', f"see {secret}, please", f"({secret})", f"key={secret}\n"):
        assert secret in places(text), text


@pytest.mark.parametrize("text", PLAIN)
def test_what_only_looks_like_one_is_left(text: str) -> None:
    """Or texts could not be compared."""
    assert places(text) == []


def test_credentials_in_text_are_found() -> None:
    """Bearer and Basic wherever a log repeats them, and the two parts of a URL's userinfo."""
    assert "abc123def456" in places("got Bearer abc123def456 from")
    assert "dXNlcjpwYXNz" in places("Basic dXNlcjpwYXNz")
    assert places("ftp://user:pa55@host/x") == ["user", "pa55"]
    assert places("https://token99@host/") == ["token99"]


def test_private_keys_are_found_whole_or_cut() -> None:
    """From the line that begins one to the line that ends it, or to the end."""
    begin, end = "-----BEGIN RSA PRIVATE KEY-----", "-----END RSA PRIVATE KEY-----"
    for text in (f"x {begin}\nMIIE\nabc\n{end} y", f"{begin}\nMIIE\nabc\n"):
        ((start, stop),) = found(PRIVATE_KEYS, text)
        assert text[start:stop] == "\nMIIE\nabc\n"
    assert list(found(PRIVATE_KEYS, "-----BEGIN PUBLIC KEY-----\nMIIB\n")) == []


def test_shapes_are_taken_away_by_config() -> None:
    """Each has a name in SHAPES."""
    assert places("a@b.example", "email_shape") == []
    assert {shape.name for shape in shapes(Rules())} | {PRIVATE_KEYS.name} == set(SHAPES)
    assert shapes(Rules(keep=SHAPES)) == ()
