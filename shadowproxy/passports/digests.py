"""Content-Digest (RFC 9530): how a signature over the head covers the body too."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import PassportRefused
from shadowproxy.passports.reasons import Reason, refused
from shadowproxy.passports.structured import read_dictionary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIELD: Final = b"content-digest"

SIZES: Final[dict[str, int]] = {"sha-256": 32, "sha-512": 64}
"""Bytes of the digests that count. RFC 9530 section 5 lists others, which are not safe."""


class Digest:
    """A body's running digest.

    Args:
        algorithms: of SIZES; none makes `update` free.
    """

    __slots__ = ("_running",)

    def __init__(self, algorithms: Iterable[str] = ("sha-256",)) -> None:
        self._running = {name: hashlib.new(name.replace("-", "")) for name in algorithms}

    def update(self, piece: bytes) -> None:
        """Read on."""
        for running in self._running.values():
            running.update(piece)

    def of(self, algorithm: str) -> bytes | None:
        """The digest of what was read, None where it was not asked for."""
        running = self._running.get(algorithm)
        return None if running is None else running.digest()


def content_digest(body: bytes) -> str:
    """The value of Content-Digest for a body."""
    return f"sha-256=:{base64.b64encode(hashlib.sha256(body).digest()).decode()}:"


def read_digests(lines: Iterable[bytes]) -> dict[str, bytes]:
    """What Content-Digest says the body's digests are, of the algorithms that count. Others are ignored (RFC 9530 section 2).

    Raises:
        PassportRefused: digest_malformed or digest_unknown.
    """
    try:
        members = read_dictionary(lines)
    except PassportRefused as error:
        raise refused(Reason.DIGEST_MALFORMED, error.reason) from None
    digests: dict[str, bytes] = {}
    for name, size in SIZES.items():
        member = members.get(name)
        if member is not None:
            digest = byte_sequence(member.signed)
            if digest is None or len(digest) != size:
                raise refused(Reason.DIGEST_MALFORMED, name)
            digests[name] = digest
    if not digests:
        raise refused(Reason.DIGEST_UNKNOWN)
    return digests


def compare_digests(expected: Mapping[str, bytes], digest: Digest) -> None:
    """Compare all that Content-Digest said with the body's.

    Raises:
        PassportRefused: digest_mismatch.
    """
    for name, value in expected.items():
        found = digest.of(name)
        if found is None or not hmac.compare_digest(found, value):
            raise refused(Reason.DIGEST_MISMATCH, name)


def byte_sequence(text: str) -> bytes | None:
    """The bytes that `:base64:` stands for, None where it is anything else.

    Only the one spelling of them counts: padded, and with zeros for the bits that mean nothing
    (RFC 4648 section 3.5), so that no two texts are one signature.
    """
    if len(text) < 2 or text[0] != ":" or text[-1] != ":":
        return None
    try:
        value = base64.b64decode(text[1:-1], validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if base64.b64encode(value).decode() == text[1:-1] else None
