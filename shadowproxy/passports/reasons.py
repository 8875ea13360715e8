"""Why a passport is refused: one reason for each cause, counted by its name.

What the client is told is the reason, too, with one exception: a key that is not known and a
signature that is wrong are told in the same words, after the same work, so that nobody can find out
by asking which key ids are in use.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final

from shadowproxy.errors import PassportRefused


class Reason(StrEnum):
    """Causes, in the order in which they are looked for."""

    # The form.
    MISSING = "missing"
    TOO_LARGE = "too_large"
    MALFORMED = "malformed"
    DUPLICATE_LABEL = "duplicate_label"
    DUPLICATE_PARAMETER = "duplicate_parameter"
    TWO_SIGNATURES = "two_signatures"
    NO_SIGNATURE = "no_signature"
    UNKNOWN_PARAMETER = "unknown_parameter"
    NO_CREATED = "no_created"
    NO_EXPIRES = "no_expires"
    NO_NONCE = "no_nonce"
    NO_KEYID = "no_keyid"
    WRONG_ALGORITHM = "wrong_algorithm"
    # What is covered.
    DUPLICATE_COMPONENT = "duplicate_component"
    UNKNOWN_COMPONENT = "unknown_component"
    COMPONENT_ABSENT = "component_absent"
    COMPONENT_UNUSABLE = "component_unusable"
    METHOD_NOT_COVERED = "method_not_covered"
    AUTHORITY_NOT_COVERED = "authority_not_covered"
    TARGET_NOT_COVERED = "target_not_covered"
    TAG_NOT_COVERED = "tag_not_covered"
    DIGEST_MISSING = "digest_missing"
    DIGEST_NOT_COVERED = "digest_not_covered"
    DIGEST_MALFORMED = "digest_malformed"
    DIGEST_UNKNOWN = "digest_unknown"
    # The time.
    EXPIRES_BEFORE_CREATED = "expires_before_created"
    LIFETIME_TOO_LONG = "lifetime_too_long"
    NOT_YET_VALID = "not_yet_valid"
    EXPIRED = "expired"
    CREATED_BEFORE_START = "created_before_start"
    # The signature, the body, and whether it came before.
    UNKNOWN_KEY = "unknown_key"
    BAD_SIGNATURE = "bad_signature"
    DIGEST_MISMATCH = "digest_mismatch"
    REPLAYED = "replayed"
    REPLAY_CACHE_FULL = "replay_cache_full"


SENTENCES: Final[dict[Reason, str]] = {
    Reason.MISSING: 'no signature has the tag "shadowproxy"',
    Reason.TOO_LARGE: "the fields of the signature are too large",
    Reason.MALFORMED: "the fields of the signature are not what RFC 9421 says",
    Reason.DUPLICATE_LABEL: "two signatures have one label",
    Reason.DUPLICATE_PARAMETER: "a parameter comes twice",
    Reason.TWO_SIGNATURES: 'two signatures have the tag "shadowproxy"',
    Reason.NO_SIGNATURE: "Signature-Input has a label that Signature has not",
    Reason.UNKNOWN_PARAMETER: "a parameter is not one of created, expires, nonce, alg, keyid and tag",
    Reason.NO_CREATED: "created is missing",
    Reason.NO_EXPIRES: "expires is missing",
    Reason.NO_NONCE: "nonce is missing",
    Reason.NO_KEYID: "keyid is missing",
    Reason.WRONG_ALGORITHM: "alg is not hmac-sha256",
    Reason.DUPLICATE_COMPONENT: "a component is covered twice",
    Reason.UNKNOWN_COMPONENT: "a component is covered that this proxy does not know",
    Reason.COMPONENT_ABSENT: "a field is covered that the request has not",
    Reason.COMPONENT_UNUSABLE: "a component is covered that holds other than visible ASCII",
    Reason.METHOD_NOT_COVERED: "@method is not covered",
    Reason.AUTHORITY_NOT_COVERED: "@authority is not covered",
    Reason.TARGET_NOT_COVERED: "neither @target-uri nor @path with @query is covered",
    Reason.TAG_NOT_COVERED: "a field that makes this a test request is not covered",
    Reason.DIGEST_MISSING: "there is a body and no Content-Digest",
    Reason.DIGEST_NOT_COVERED: "there is a body and content-digest is not covered",
    Reason.DIGEST_MALFORMED: "Content-Digest is not what RFC 9530 says",
    Reason.DIGEST_UNKNOWN: "Content-Digest has neither sha-256 nor sha-512",
    Reason.EXPIRES_BEFORE_CREATED: "it expires before it was created",
    Reason.LIFETIME_TOO_LONG: "it is valid for longer than passports may be",
    Reason.NOT_YET_VALID: "it was created in the future",
    Reason.EXPIRED: "it has expired",
    Reason.CREATED_BEFORE_START: "it was created before this proxy could tell whether it was used",
    Reason.UNKNOWN_KEY: "the signature does not verify",
    Reason.BAD_SIGNATURE: "the signature does not verify",
    Reason.DIGEST_MISMATCH: "the body is not the one that was signed",
    Reason.REPLAYED: "it was used before",
    Reason.REPLAY_CACHE_FULL: "there are more passports under way than can be told apart",
}


def refused(reason: Reason, particular: str = "") -> PassportRefused:
    """The error for a reason.

    Args:
        reason: the cause.
        particular: what exactly, in words of ours: nothing that the client sent is quoted beyond names.
    """
    told = Reason.BAD_SIGNATURE if reason is Reason.UNKNOWN_KEY else reason
    sentence = SENTENCES[reason]
    return PassportRefused(reason.value, told.value, f"{sentence}: {particular}" if particular else sentence)
