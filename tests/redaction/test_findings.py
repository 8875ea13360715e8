"""What stands for credentials, cookies and addresses, and which secrets are remembered."""

from __future__ import annotations

import base64
import re

import pytest

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.findings import SECRETS_LIMIT, Findings, percent_encoded
from shadowproxy.redaction.pseudonyms import Pseudonyms
from shadowproxy.redaction.rules import Rules


def findings(*keep: str) -> Findings:
    """None yet."""
    return Findings(Rules(keep=keep), Pseudonyms(b"k" * 32))


def test_a_secret_is_remembered_with_what_it_means_elsewhere() -> None:
    """Without its quotes, and with its escapes resolved."""
    found = findings()
    stands = found.stand_in('"a%2Fb\\u0041c"')
    assert found.stand_in('"a%2Fb\\u0041c"') == stands
    assert {'"a%2Fb\\u0041c"', "a%2Fb\\u0041c", '"a/bAc"'} <= set(found.secrets)


@pytest.mark.parametrize("word", ["", "true", "None", "null", "0", "undefined"])
def test_words_that_hide_nothing_stay(word: str) -> None:
    """A JSON null under a secret name is null, and is not looked for everywhere."""
    found = findings()
    assert found.stand_in(word) == word
    assert not found.secrets


def test_too_many_secrets_are_in_doubt() -> None:
    """Each costs a search; nobody sends that many."""
    found = findings()
    for number in range(SECRETS_LIMIT):
        found.stand_in(f"secret{number}")
    with pytest.raises(Unreadable):
        found.stand_in("one more")
    assert found.stand_in("secret1")


def test_bearer_keeps_its_scheme() -> None:
    """In the case it came, and a JWT its parts."""
    assert re.fullmatch(r"Bearer [a-z]{3}[0-9]{3}", findings().credentials("Bearer abc123"))
    assert re.fullmatch(r"bEARER  eyJ\w+\.eyJ\w+\.\w+", findings().credentials("bEARER  eyJhbGci.eyJzdWIi.c2ln"))


def test_basic_stays_basic() -> None:
    """User and password are pseudonyms, each by itself; both are remembered, and the pair as it was sent."""
    found = findings()
    sent = base64.b64encode(b"alice:s3cret:x").decode()
    user, _, password = base64.b64decode(found.credentials(f"Basic {sent}").removeprefix("Basic ")).decode().partition(":")
    assert (user, password) == (found.secrets["alice"], found.secrets["s3cret:x"])
    assert sent in found.secrets


@pytest.mark.parametrize("value", ["abc123", "Whatever abc123", "abc 123 def", "Basic not-base64!", "Bearer", "Basic", 'Digest, "'])
def test_what_has_no_known_form_is_replaced_whole(value: str) -> None:
    """No word of it is taken for a scheme, unless it is one."""
    stands = findings().credentials(value)
    assert "abc" not in stands
    assert "not-base64" not in stands
    assert stands != value or value in {"Bearer", "Basic"}


def test_digest_keeps_what_is_public() -> None:
    """Realm and algorithm, and not user, nonce and response (RFC 7616 section 3.4)."""
    sent = 'Digest username="Mufasa", realm="api", uri="/x", algorithm=MD5, nonce="dcd98b7102dd2f0e", nc=00000001, cnonce="0a4f113b", response=6629fae49393a053'
    stands = findings().credentials(sent)
    for kept in ('Digest username="', 'realm="api"', 'uri="/x"', "algorithm=MD5"):
        assert kept in stands
    for gone in ("Mufasa", "dcd98b7102dd2f0e", "0a4f113b", "6629fae49393a053"):
        assert gone not in stands


def test_what_stands_between_parameters_is_no_hole() -> None:
    """Only separators stay there."""
    assert "leftover" not in findings().credentials('Digest a="b", leftover99, c="d" leftover88')


def test_cookies_keep_their_names() -> None:
    """Every value is replaced: which cookie is a session is not known. A name that config keeps is kept."""
    stands = findings("theme").cookies('sid=abc123; theme=dark; _ga="GA1.2"; flag; empty=')
    assert re.fullmatch(r'sid=[a-z]{3}[0-9]{3}; theme=dark; _ga="[A-Z]{2}[0-9]\.[0-9]"; [a-z]{4}; empty=', stands)
    assert "abc123" not in stands
    assert "flag" not in stands


def test_set_cookie_keeps_its_attributes() -> None:
    """Browsers and comparisons need them."""
    assert re.fullmatch(r"sid=[a-z0-9]{6}; Path=/; Max-Age=60; HttpOnly", findings().set_cookie("sid=abc123; Path=/; Max-Age=60; HttpOnly"))


@pytest.mark.parametrize(
    ("sent", "pattern"),
    [
        ("203.0.113.9", r"2[45]\d\.\d+\.\d+\.\d+"),
        ("203.0.113.9:8080", r"2[45]\d\.\d+\.\d+\.\d+:8080"),
        ("[2001:db8::9]:443", r"\[2001:db8:[0-9a-f:]+\]:443"),
        ("127.0.0.1", r"127\.0\.0\.1"),
        ("127.0.0.1:99", r"127\.0\.0\.1:99"),
        ("::1", "::1"),
        ("unknown", "(?!unknown)[a-z]{7}"),
    ],
)  # fmt: skip
def test_addresses_of_clients_stay_addresses(sent: str, pattern: str) -> None:
    """With their brackets and ports; the machine's own is nobody's."""
    assert re.fullmatch(pattern, findings().client(sent))


def test_values_of_queries_stay_encoded() -> None:
    """What is put in cannot end the pair."""
    found = findings()
    assert re.fullmatch(r"[a-z]{1}%20[a-z]%3D[a-z0-9]", found.coded("a+b%3Dc"))
    assert "a b=c" in found.secrets
    assert percent_encoded("a b&c=d+e%") == "a%20b%26c%3Dd%2Be%25"
