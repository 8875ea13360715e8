"""Whether a request carries a passport that is valid here and now.

1.  Ours is the signature with the parameter `tag="shadowproxy"`, whatever its label; exactly one. Others
    are none of our business: they are passed on.
2.  Ours has one spelling. A tolerant reader would let two readers see two things; a signer has no use for it.
3.  All that decides what the request does is covered: method, authority, target, every field that tags it, the body.
4.  Times are in seconds since 1970, whole ones. `skew` is how far the signer's clock may be off, either way.
5.  The signature is compared last, in constant time, and an unknown key costs as much as a wrong signature.
"""

from __future__ import annotations

import hmac
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.passports.components import Request, signature_base
from shadowproxy.passports.digests import FIELD, Digest, byte_sequence, compare_digests, read_digests
from shadowproxy.passports.reasons import Reason, refused
from shadowproxy.passports.structured import Member, read_dictionary

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

TAG: Final = "shadowproxy"
"""The parameter `tag` of our signatures: what they are for (RFC 9421 section 2.3)."""

ALGORITHM: Final = "hmac-sha256"

COMPONENTS_LIMIT: Final = 64
"""Components of one signature; each costs a walk over the fields."""

_OURS: Final = ("tag", f'"{TAG}"')
_SPELLING: Final = re.compile(
    r'\((?P<components>(?:"[^"\\]*"(?: "[^"\\]*")*)?)\)'
    r'(?:;(?:(?:created|expires)=(?:0|[1-9][0-9]{0,14})|(?:nonce|alg|keyid|tag)="[^"\\]*"))*'
)
_KNOWN: Final = frozenset({"created", "expires", "nonce", "alg", "keyid", "tag"})
KEYID: Final = re.compile(r"[A-Za-z0-9_.\-]{1,64}")
NONCE: Final = re.compile(r'[^\x00-\x20"\\\x7f-\U0010ffff]{1,128}')
_NOBODY: Final = bytes(32)
"""The key of nobody: what a signature with an unknown key is compared with."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What passports must be at this moment.

    Args:
        keys: secrets by key id; repr keeps them to itself.
        lifetime_s: longest time from created to expires.
        skew_s: how far clocks may differ.
        since: Unix seconds; passports created earlier may have been used before anybody took note.
    """

    keys: Mapping[str, bytes]
    lifetime_s: float
    skew_s: float
    since: float = 0.0

    def __repr__(self) -> str:
        return f"Terms(keys={sorted(self.keys)}, lifetime_s={self.lifetime_s}, skew_s={self.skew_s}, since={self.since})"


@dataclass(frozen=True, slots=True)
class Passport:
    """A passport whose signature holds. `components` are what it covers, in order."""

    keyid: str
    nonce: str
    created: int
    expires: int
    components: tuple[str, ...]


class Pending:
    """A passport that holds as far as the head tells; the body is still to come.

    `digests` are what the body's digests must be, by algorithm; empty when it has none to fit.
    """

    __slots__ = ("digests", "passport")

    def __init__(self, passport: Passport, digests: dict[str, bytes]) -> None:
        self.passport = passport
        self.digests = digests

    def __repr__(self) -> str:
        return f"Pending({self.passport.keyid}, digests={sorted(self.digests)})"

    def digest(self) -> Digest:
        """What to feed the body to, for `finish`."""
        return Digest(self.digests)

    def finish(self, digest: Digest) -> Passport:
        """The passport, which holds for this body.

        Args:
            digest: from `digest`, fed with the whole body.

        Raises:
            PassportRefused: digest_mismatch.
        """
        compare_digests(self.digests, digest)
        return self.passport


def verify(request: Request, body: bytes, *, tagged_by: Collection[bytes], terms: Terms, now: float) -> Passport:
    """`begin` and `finish` for a body that is there. Raises what they raise."""
    pending = begin(request, tagged_by=tagged_by, has_body=bool(body), terms=terms, now=now)
    digest = pending.digest()
    digest.update(body)
    return pending.finish(digest)


def begin(request: Request, *, tagged_by: Collection[bytes], has_body: bool, terms: Terms, now: float) -> Pending:
    """Judge everything about a request's passport but the body.

    Args:
        request: as it was received, all field lines included.
        tagged_by: lower-case names, as sent, of all fields that make it a test request, aliases too; each must be covered.
        has_body: whether a body follows, even one that may turn out empty (chunked).
        terms: what passports must be.
        now: Unix seconds.

    Raises:
        PassportRefused: anything but digest_mismatch, replayed and replay_cache_full.
    """
    member, signature = _ours(request)
    names, parameters = _read(member)
    base = signature_base(request, names, member.signed)
    _check_covered(request, names, tagged_by, has_body=has_body)
    digests = read_digests(request.lines(FIELD)) if FIELD.decode() in names else {}
    passport = _passport(names, parameters)
    _check_times(passport, terms, now)
    _check_signature(base, signature, passport.keyid, terms.keys)
    return Pending(passport, digests)


def foreign(fields: Sequence[tuple[bytes, bytes]]) -> tuple[bytes, bytes]:
    """The values of Signature-Input and Signature without ours, byte for byte what others sent; empty where nothing is left.

    Raises:
        PassportRefused: malformed, too_large, duplicate_label or duplicate_parameter.
    """
    inputs = read_dictionary([value for name, value in fields if name == b"signature-input"])
    signatures = read_dictionary([value for name, value in fields if name == b"signature"])
    ours = {label for label, member in inputs.items() if _OURS in member.parameters}
    left = [", ".join(member.text for label, member in members.items() if label not in ours) for members in (inputs, signatures)]
    return left[0].encode("latin-1"), left[1].encode("latin-1")


def _ours(request: Request) -> tuple[Member, bytes]:
    """Our member of Signature-Input, and the signature of its label."""
    inputs = read_dictionary(request.lines(b"signature-input"))
    ours = [member for member in inputs.values() if _OURS in member.parameters]
    if not ours:
        raise refused(Reason.MISSING)
    if len(ours) > 1:
        raise refused(Reason.TWO_SIGNATURES)
    found = read_dictionary(request.lines(b"signature")).get(ours[0].label)
    if found is None:
        raise refused(Reason.NO_SIGNATURE)
    signature = byte_sequence(found.signed)
    if signature is None:
        raise refused(Reason.MALFORMED, "the signature is not padded base64 between colons")
    return ours[0], signature


def _read(member: Member) -> tuple[list[str], dict[str, str]]:
    """Names of the covered components, and the parameters without their quotes."""
    parameters = dict(member.parameters)
    if not parameters.keys() <= _KNOWN:
        raise refused(Reason.UNKNOWN_PARAMETER)
    for name, reason in (
        ("created", Reason.NO_CREATED),
        ("expires", Reason.NO_EXPIRES),
        ("nonce", Reason.NO_NONCE),
        ("keyid", Reason.NO_KEYID),
    ):
        if name not in parameters:
            raise refused(reason)
    if parameters.get("alg", f'"{ALGORITHM}"') != f'"{ALGORITHM}"':
        raise refused(Reason.WRONG_ALGORITHM)
    if member.value.startswith("(") and ";" in member.value.replace('"', ""):
        raise refused(Reason.UNKNOWN_COMPONENT, "components with parameters are not understood here")
    spelt = _SPELLING.fullmatch(member.signed)
    if spelt is None:
        raise refused(Reason.MALFORMED, 'it must be spelt ("name" "name");created=1;expires=2;nonce="...";keyid="...";tag="shadowproxy"')
    names = spelt["components"][1:-1].split('" "') if spelt["components"] else []
    if len(names) > COMPONENTS_LIMIT:
        raise refused(Reason.TOO_LARGE, f"{len(names)} components, limit {COMPONENTS_LIMIT}")
    return names, {name: value.strip('"') for name, value in parameters.items()}


def _passport(names: Sequence[str], parameters: Mapping[str, str]) -> Passport:
    keyid, nonce = parameters["keyid"], parameters["nonce"]
    if KEYID.fullmatch(keyid) is None:
        raise refused(Reason.MALFORMED, "keyid must be 1 to 64 of A-Z a-z 0-9 _ . -")
    if NONCE.fullmatch(nonce) is None:
        raise refused(Reason.MALFORMED, "nonce must be 1 to 128 visible characters")
    return Passport(keyid, nonce, int(parameters["created"]), int(parameters["expires"]), tuple(names))


def _check_covered(request: Request, names: Collection[str], tagged_by: Collection[bytes], *, has_body: bool) -> None:
    if "@method" not in names:
        raise refused(Reason.METHOD_NOT_COVERED)
    if "@authority" not in names:
        raise refused(Reason.AUTHORITY_NOT_COVERED)
    if "@target-uri" not in names and not ("@path" in names and "@query" in names):
        raise refused(Reason.TARGET_NOT_COVERED)
    # Signature-Input says that there is a passport, and is what is signed: it covers itself.
    tags = {name.decode("latin-1") for name in tagged_by} - {"signature-input"}
    if not tags or not tags <= set(names):
        raise refused(Reason.TAG_NOT_COVERED)
    if has_body and FIELD.decode() not in names:
        raise refused(Reason.DIGEST_NOT_COVERED if request.lines(FIELD) else Reason.DIGEST_MISSING)


def _check_times(passport: Passport, terms: Terms, now: float) -> None:
    created, expires = passport.created, passport.expires
    if expires < created:
        raise refused(Reason.EXPIRES_BEFORE_CREATED)
    if expires - created > terms.lifetime_s:
        raise refused(Reason.LIFETIME_TOO_LONG, f"{expires - created} s, limit {terms.lifetime_s:g} s")
    if created > now + terms.skew_s:
        raise refused(Reason.NOT_YET_VALID)
    if expires + terms.skew_s < now:
        raise refused(Reason.EXPIRED)
    if created < terms.since:
        raise refused(Reason.CREATED_BEFORE_START)


def _check_signature(base: bytes, signature: bytes, keyid: str, keys: Mapping[str, bytes]) -> None:
    key = keys.get(keyid)
    right = hmac.digest(_NOBODY if key is None else key, base, "sha256")
    is_right = hmac.compare_digest(right, signature)
    if key is None:
        raise refused(Reason.UNKNOWN_KEY)
    if not is_right:
        raise refused(Reason.BAD_SIGNATURE)
