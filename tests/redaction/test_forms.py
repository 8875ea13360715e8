"""Forms: pairs that stay pairs, parts that stay parts."""

from __future__ import annotations

import pytest

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.forms import PARTS_LIMIT, boundary_of, decoded, scrub_form, scrub_multipart
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules


def found() -> Findings:
    """None yet."""
    return Findings(Rules(), Pseudonyms(b"k" * 32))


def form(text: str) -> str:
    """The form afterwards."""
    edits = Edits(text)
    scrub_form(edits, found())
    return edits.applied()


@pytest.mark.parametrize(
    "text",
    [
        "a=1&password=hunter22&b=2",
        "password=hunter22",
        "a=1;password=hunter22",
        "p%61ssword=hunter22&",
        "user[password]=hunter22",
        "user%5Bpassword%5D=hunter22",
        "a=b&&password=hunter22&password=hunter22",
        "password=hunter22=hunter22",
        'x={"token":"hunter22"}',
        "code=hunter22&state=hunter22",
        "redirect=https%3A%2F%2Fh%2F%3Ftoken%3Dhunter22",
    ],
)  # fmt: skip
def test_secret_fields_are_replaced(text: str) -> None:
    """Whatever their names look like encoded, however often, and in URLs inside of values."""
    after = form(text)
    assert "hunter22" not in after
    assert after.count("&") == text.count("&")


@pytest.mark.parametrize("text", ["", "&", "=", "a", "a=1&b=2", "password", "password=", "q=two+words%21"])
def test_other_forms_stay(text: str) -> None:
    """Byte for byte."""
    assert form(text) == text


def test_a_long_form_takes_no_longer_than_its_length() -> None:
    """Nothing in it is read twice for each byte."""
    assert form("a" * 300_000 + "&token=x") != ""


def test_values_are_decoded() -> None:
    """As forms encode them."""
    assert decoded("a+b%20c%2B") == "a b c+"


@pytest.mark.parametrize(
    ("kind", "boundary"), [("multipart/form-data; boundary=ab", "ab"), ('multipart/mixed; x=y; BOUNDARY = "a b"', "a b")]
)
def test_the_boundary_is_read(kind: str, boundary: str) -> None:
    """Bare or quoted."""
    assert boundary_of(kind) == boundary


def test_multipart_without_a_boundary_is_unreadable() -> None:
    """There is no telling where a part ends."""
    with pytest.raises(Unreadable):
        boundary_of("multipart/form-data")


def part(head: str, content: str) -> str:
    """One part of a form."""
    return f"--B\r\n{head}\r\n\r\n{content}\r\n"


def multipart(text: str) -> str:
    """The body afterwards; the content of typed parts is read as text unless it is an image."""
    edits, findings = Edits(text), found()

    def inner(content: bytes, kind: str | None) -> str | None:
        return None if kind is None or "image" in kind or "octet" in kind else content.decode("latin-1").replace("secret", "public")

    scrub_multipart(edits, findings, "B", inner)
    return edits.applied()


def test_parts_are_replaced_by_name_and_content() -> None:
    """Secret fields by a pseudonym, files by what their type says, unreadable ones by length and digest; heads and boundaries stay."""
    after = multipart(
        part('Content-Disposition: form-data; name="password"', "hunter22\r\nand more")
        + part('Content-Disposition: form-data; name="note"', "token=hunter22 fine")
        + part('content-disposition: form-data; name="f"; filename="a.txt"\r\nContent-Type: text/plain', "a secret file")
        + part('Content-Disposition: form-data; name="i"; filename="i.png"\r\nContent-Type: image/png', "\x89PNG")
        + part('Content-Disposition: form-data; name="g"; filename="x"', "GIF")
        + part('Content-Disposition: form-data; name="e"\r\nContent-Type: text/plain\r\nContent-Transfer-Encoding: base64', "c2VjcmV0")
        + "--B--\r\n"
    )
    assert "hunter22" not in after
    assert " fine\r\n" in after
    assert "a public file" in after
    assert "PNG" not in after
    assert "GIF" not in after
    assert "c2VjcmV0" not in after
    assert after.count("--B\r\n") == 6
    assert after.endswith("--B--\r\n")
    assert "[4 bytes, digest " in after


def test_what_stands_outside_of_the_parts_is_left_out() -> None:
    """Nobody reads the preamble and the epilogue, so nobody needs them."""
    after = multipart("preamble " + "\r\n" + part('Content-Disposition: form-data; name="a"', "1") + "--B--\r\nepilogue")
    assert "preamble" not in after
    assert "epilogue" not in after
    assert "1" in after


@pytest.mark.parametrize(
    "text",
    ["", "no boundary at all", "--B\r\nno empty line --B", part("x: y", "1") * (PARTS_LIMIT + 1) + "--B--"],
    ids=["empty", "none", "no head", "too many"],
)
def test_malformed_multipart_is_unreadable(text: str) -> None:
    """And so dropped."""
    with pytest.raises(Unreadable):
        multipart(text)


def test_multipart_cut_off_is_read_up_to_there() -> None:
    """A secret part without an end is secret to the end of the capture."""
    assert "hunter22" not in multipart('--B\r\nContent-Disposition: form-data; name="password"\r\n\r\nhunter22')
