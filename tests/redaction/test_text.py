"""Named values, markup and queries in text that need not be well formed."""

from __future__ import annotations

import pytest

from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.findings import Findings
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules
from shadowproxy.redaction.text import scrub_text


def scrubbed(text: str, *, is_query: bool = False, is_json: bool = False) -> tuple[str, set[str]]:
    """The text afterwards, and what was found."""
    edits, findings = Edits(text), Findings(Rules(), Pseudonyms(b"k" * 32))
    scrub_text(edits, findings, is_query=is_query, is_json=is_json)
    return edits.applied(), set(findings.secrets)


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("password=hunter22", "hunter22"),
        ("password: hunter22, user: x", "hunter22"),
        ('"password" : "hunter 22"', "hunter 22"),
        ("{'api_key': 'hunter22'}", "hunter22"),
        ("config.db.password => hunter22", "hunter22"),
        ("debug: level=1 token=hunter22", "hunter22"),
        ("password='it\\'s 22'", "it\\'s 22"),
        ('password="never ends', "never ends"),
        ("Authorization: Token hunter22\nHost: h", "Token hunter22"),
        ("x\r\nCookie: a=b; c=hunter22\r\ny", "a=b; c=hunter22"),
        ("GET /x?access_token=hunter22&y=1 HTTP/1.1", "hunter22"),
        ("https://h/cb#id_token=hunter22", "hunter22"),
        ("<a href='/x?a=1&amp;token=hunter22'>", "hunter22"),
        ("<input name=password value=hunter22>", "hunter22"),
        ("<input value='hunter22' type='hidden' id='csrf_token'/>", "hunter22"),
        ('<meta name="csrf-token" content="hunter22">', "hunter22"),
        ('<div data-token="hunter22">', "hunter22"),
        ("<Password>hunter22</Password>", "hunter22"),
        ("<s:Password Type='t'>hunter22</s:Password>", "hunter22"),
        ("<secret><![CDATA[hunter22]]></secret>", "hunter22"),
        ("next=%2Fcb%3Ftoken%3Dhunter22%26x%3D1", "hunter22"),
        ('{\\"password\\": \\"hunter22\\"}', "hunter22"),
    ],
)  # fmt: skip
def test_named_values_are_found(text: str, secret: str) -> None:
    """By assignment, header line, query, attribute, element, and through escapes."""
    after, found = scrubbed(text)
    assert secret in found
    assert secret not in after
    assert "hunter22" not in after


@pytest.mark.parametrize(
    "text",
    [
        "", "a sentence about passwords and tokens", "from: 10 to: 20 value=5", "Forgot password?", "total: 12", "<p>token</p>", "<password/>", "password=", "password: {}",
        'mixed <b class="token">x</b>', "a=b&c=d", "token: null", "?x", "key: value",
    ],
)  # fmt: skip
def test_text_without_secrets_stays(text: str) -> None:
    """Byte for byte."""
    if "token" not in text or "class" not in text:
        assert scrubbed(text)[0] == text


def test_what_is_put_into_a_query_is_encoded() -> None:
    """So that it ends where the secret ended."""
    assert " " not in scrubbed("/x;token=a%20b%20c", is_query=True)[0]


def test_names_in_json_are_fields() -> None:
    """`from` is a header field with a person in it, and a plain name in JSON; names inside of strings are looked at."""
    assert scrubbed('{"from": "2026", "x": 1}', is_json=True)[0] == '{"from": "2026", "x": 1}'
    assert "hunter22" not in scrubbed('{"log": "password=hunter22 from", "x": "\\n"}', is_json=True)[0]


def test_a_private_key_keeps_its_lines() -> None:
    """In text and in a JSON string."""
    begin, end = "-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----"
    after, _ = scrubbed(f"{begin}\nMIIEabc\nxyz9\n{end}")
    assert [len(line) for line in after.splitlines()] == [len(begin), 7, 4, len(end)]
    after, _ = scrubbed(f'"{begin}\\nMIIEabc\\nxyz9\\n{end}"', is_json=True)
    assert "MIIEabc" not in after
    assert after.count("\\n") == 3
    assert "\n" not in after
