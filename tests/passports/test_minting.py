"""Minting: fields that verify, and no others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shadowproxy.errors import PassportRefused
from shadowproxy.passports import content_digest, mint
from tests.passports.signing import BODY, KEY, NOW, PLAIN, judged, minted

SETTINGS: dict[str, Any] = {"keyid": "k1", "key": KEY, "nonce": "n-0001", "created": NOW, "expires": NOW + 60}

SIGNED = (
    '("@method" "@authority" "@path" "@query" "x-test-traffic" "content-digest")'
    ';created=1800000000;expires=1800000060;nonce="n-0001";alg="hmac-sha256";keyid="k1";tag="shadowproxy"'
)


def test_a_passport_is_four_fields() -> None:
    """In the order in which they are best read; the signature is the same for the same request (a vector of our own)."""
    assert mint(PLAIN, BODY, tenant="canary-7", **SETTINGS) == [
        ("X-Test-Traffic", "canary-7"),
        ("Content-Digest", content_digest(BODY)),
        (
            "Signature-Input",
            f"test={SIGNED}",
        ),
        ("Signature", "test=:iUCGAEBN6DWZakGJZqSQ9dwj6HSh6KnggXr1j4SX940=:"),
    ]


def test_without_a_body_there_is_no_digest() -> None:
    """A tagged read is three fields."""
    assert [name for name, _ in mint(PLAIN, b"", **SETTINGS)] == ["X-Test-Traffic", "Signature-Input", "Signature"]


def test_more_fields_can_be_covered() -> None:
    """What the sender wants to be sure of: a change of it is then a bad signature."""
    request = minted(also=("content-type",))
    assert "content-type" in judged(request).components
    changed = tuple((name, b"text/plain" if name == b"content-type" else value) for name, value in request.fields)
    with pytest.raises(PassportRefused, match="does not verify"):
        judged(replace(request, fields=changed))
    with pytest.raises(PassportRefused, match="x-absent"):
        minted(also=("x-absent",))


@pytest.mark.parametrize(
    "wrong",
    [
        {"tenant": ""},
        {"tenant": "0"},
        {"tenant": "False"},
        {"tenant": "a b"},
        {"tenant": "a\r\nX: y"},
        {"tenant": "t" * 65},
        {"tenant": "caf\xe9"},
        {"keyid": ""},
        {"keyid": 'k"'},
        {"keyid": "k" * 65},
        {"nonce": ""},
        {"nonce": 'n"'},
        {"nonce": "n\\"},
        {"nonce": "n n"},
        {"nonce": "n" * 129},
        {"nonce": "\xe9"},
        {"expires": NOW - 1},
        {"created": -1},
        {"expires": 10**15},
    ],
)
def test_what_could_not_be_verified_is_not_made(wrong: dict[str, Any]) -> None:
    """The one who signs finds out, not the one who is refused."""
    with pytest.raises(ValueError, match=r"passport|tenant|key id"):
        mint(PLAIN, BODY, **{**SETTINGS, **wrong})
