"""Bodies by their type, or by what they are."""

from __future__ import annotations

import json

import pytest

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.bodies import scrub_body
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules


def body(content: bytes, kind: str = "", *, is_cut: bool = False) -> bytes:
    """The body afterwards."""
    return scrub_body(content, kind, Findings(Rules(), Pseudonyms(b"k" * 32)), is_cut=is_cut).applied().encode("latin-1")


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "application/problem+json; charset=utf-8",
        "text/json",
        "application/x-ndjson",
        "",
        "text/plain",
        "text/html",
        "application/octet-stream",
    ],
)
def test_json_is_read_as_json_whatever_it_is_called(kind: str) -> None:
    """By its type, or because it begins like it."""
    after = json.loads(body(b'{"a": "x", "token": ["hunter22", 12]}', kind))
    assert after["a"] == "x"
    assert len(after["token"]) == 2
    assert "hunter22" not in json.dumps(after)


def test_malformed_json_is_read_as_text() -> None:
    """What is found is replaced."""
    assert b"hunter22" not in body(b'{"token": "hunter22", oops', "text/plain")
    assert b"hunter22" not in body(b')]}\'\n{"token": "hunter22"}', "application/json")


def test_malformed_json_in_doubt_is_not_kept() -> None:
    """A secret name without a value that could be made out."""
    with pytest.raises(Unreadable, match="'token' may name a secret"):
        body(b'{"token" <hunter22>, oops', "application/json")
    assert body(b'{"name" <x>, oops', "application/json") == b'{"name" <x>, oops'


def test_forms_multipart_markup_and_text_are_read_as_such() -> None:
    """Each with what its form calls secret."""
    assert body(b"code=hunter22", "application/x-www-form-urlencoded") != b"code=hunter22"
    assert body(b"code=hunter22", "text/plain") == b"code=hunter22"
    assert b"hunter22" not in body(b"<input name=token value=hunter22>", "text/html")
    mixed = b'--b\r\nContent-Type: application/json\r\n\r\n{"token": "hunter22"}\r\n--b\r\nContent-Type: image/png\r\n\r\n\xc3\xa9\r\n--b--'
    after = body(mixed, "multipart/mixed; boundary=b")
    assert b"hunter22" not in after
    assert b'{"token": "' in after


def test_multipart_nests_no_deeper_than_it_may() -> None:
    """A part that is too deep is not kept."""
    inner, kind = b"deep text", "text/plain"
    for level in range(5):
        inner = f"--b{level}\r\nContent-Type: {kind}\r\n\r\n".encode() + inner + f"\r\n--b{level}--".encode()
        kind = f"multipart/mixed; boundary=b{level}"
    assert b"deep text" not in body(inner, kind)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (b"\x89PNG\r\n\x1a\n\0", "image/png"),
        (b"\xff", "application/json"),
        (b"x", "text/plain; charset=utf-16"),
        (b"x", "multipart/form-data"),
    ],
)
def test_what_cannot_be_read_is_said(content: bytes, kind: str) -> None:
    """Binary, in another charset, or without a boundary."""
    with pytest.raises(Unreadable):
        body(content, kind)


def test_a_cut_body_is_read_up_to_the_cut() -> None:
    """Of any kind."""
    assert b"hunter" not in body(b'{"a": 1, "token": "hunter', "application/json", is_cut=True)
    assert b"hunter" not in body(b"a=1&token=hunter", "application/x-www-form-urlencoded", is_cut=True)
