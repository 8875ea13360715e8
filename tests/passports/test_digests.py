"""Content-Digest: the digests that count are compared exactly, all of them."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.errors import PassportRefused
from shadowproxy.passports.digests import Digest, byte_sequence, compare_digests, content_digest, read_digests

BODY = b'{"hello": "world"}'
SHA_256 = "X48E9qOokqqrvdts8nOJRJN3OWDUoyWxBf7kbu9DBPE="
SHA_512 = "WZDPaVn/7XgHaAy8pmojAkGWoRx2UFChF41A2svX+TaPm+AbwAgBWnrIiYllu7BNNyealdVLvRwEmTHWXvJwew=="
"""RFC 9530 appendix D and RFC 9421 appendix B.2."""


def refusal(*lines: bytes) -> str:
    """Why lines of Content-Digest are refused."""
    with pytest.raises(PassportRefused) as caught:
        read_digests(lines)
    return caught.value.reason


def digest_of(body: bytes, *algorithms: str) -> Digest:
    """The digest of a body that comes in pieces."""
    digest = Digest(algorithms)
    for byte in body:
        digest.update(bytes([byte]))
    return digest


def test_the_examples_of_the_rfc_hold() -> None:
    """Both algorithms, alone and together, on one line and on two."""
    assert content_digest(BODY) == f"sha-256=:{SHA_256}:"
    first, second = f"sha-256=:{SHA_256}:".encode(), f"sha-512=:{SHA_512}:".encode()
    for lines in ([first], [second], [first, second], [second + b" ,\t" + first]):
        expected = read_digests(lines)
        compare_digests(expected, digest_of(BODY, *expected))


def test_all_that_count_must_agree() -> None:
    """One right digest does not make up for a wrong one."""
    wrong = base64.b64encode(bytes(64)).decode()
    expected = read_digests([f"sha-256=:{SHA_256}:, sha-512=:{wrong}:".encode()])
    with pytest.raises(PassportRefused, match="sha-512"):
        compare_digests(expected, digest_of(BODY, *expected))


def test_a_digest_that_was_not_taken_is_no_match() -> None:
    """A caller that hashed with other algorithms finds out."""
    with pytest.raises(PassportRefused):
        compare_digests({"sha-512": bytes(64)}, digest_of(BODY, "sha-256"))


def test_what_does_not_count_is_ignored() -> None:
    """Other algorithms may stand beside; alone they are none."""
    assert read_digests([f"md5=:AAAA:, unixsum=7, sha-256=:{SHA_256}:;x".encode().replace(b";x", b"")]) == {
        "sha-256": base64.b64decode(SHA_256)
    }
    assert refusal(b"md5=:AAAA:") == refusal(b"sha=:AAAA:") == refusal(b"") == "digest_unknown"


@pytest.mark.parametrize(
    "line",
    [
        f"sha-256={SHA_256}",
        f'sha-256="{SHA_256}"',
        f"SHA-256=:{SHA_256}:",
        f"sha-256=:{SHA_256[:-1]}:",
        f"sha-256=:{SHA_256[:-2]}F=:",
        f"sha-256=:{SHA_512}:",
        f"sha-512=:{SHA_256}:",
        f"sha-256=:{SHA_256}:;p=1",
        f"sha-256=(:{SHA_256}:)",
        f"sha-256=:{SHA_256}:, sha-256=:{SHA_256}:",
        f"sha-256=:{SHA_256}: , ",
        "sha-256=::",
        "sha-256",
        "sha-256=?1",
        "sha-256=:" + "A" * 9000 + ":",
    ],
)
def test_other_spellings_are_refused(line: str) -> None:
    """One digest, one text."""
    assert refusal(line.encode()) == "digest_malformed"


@given(st.binary(max_size=40))
def test_a_byte_sequence_has_one_text(value: bytes) -> None:
    """What is written is read; any other text of the same bytes is not."""
    text = f":{base64.b64encode(value).decode()}:"
    assert byte_sequence(text) == value
    assert byte_sequence(text.replace("=", "")) == (value if "=" not in text else None)
    assert byte_sequence(text + " ") is byte_sequence(text[1:]) is byte_sequence(text[:-1]) is None


@given(st.text(max_size=12))
def test_any_text_is_a_byte_sequence_or_none(text: str) -> None:
    """Whatever it is, nothing is raised."""
    found = byte_sequence(text)
    assert found is None or f":{base64.b64encode(found).decode()}:" == text


def test_pieces_add_up() -> None:
    """The running digest is that of the whole."""
    digest = digest_of(BODY, "sha-256", "sha-512")
    assert digest.of("sha-256") == hashlib.sha256(BODY).digest()
    assert digest.of("sha-512") == hashlib.sha512(BODY).digest()
    assert digest.of("md5") is None
