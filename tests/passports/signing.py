"""Signed requests for tests: right ones, and ones that are signed rightly and still are no passports."""

from __future__ import annotations

import base64
import hmac
from dataclasses import replace
from typing import Any, Final

import pytest

from shadowproxy.errors import PassportRefused
from shadowproxy.passports import Passport, Reason, Request, Terms, content_digest, mint, verify
from shadowproxy.passports.components import signature_base

KEY: Final = b"a secret of thirty-two bytes or more"
NOW: Final = 1_800_000_000
TERMS: Final = Terms({"k1": KEY}, lifetime_s=300.0, skew_s=5.0)
BODY: Final = b'{"sku": 7}'
TAG: Final = b"x-test-traffic"

PLAIN: Final = Request(b"POST", b"http", b"shop.example", b"/orders?x=1", ((b"content-type", b"application/json"),))

NAMES: Final = ("@method", "@authority", "@path", "@query", "x-test-traffic", "content-digest")
PARAMETERS: Final = {
    "created": str(NOW),
    "expires": str(NOW + 60),
    "nonce": '"n-0001"',
    "alg": '"hmac-sha256"',
    "keyid": '"k1"',
    "tag": '"shadowproxy"',
}


def with_fields(request: Request, *added: tuple[str | bytes, str | bytes]) -> Request:
    """The request with more field lines behind its own."""
    return replace(request, fields=(*request.fields, *((_bytes(name).lower(), _bytes(value)) for name, value in added)))


def minted(request: Request = PLAIN, body: bytes = BODY, **changed: Any) -> Request:
    """A request with a right passport."""
    settings = {"keyid": "k1", "key": KEY, "nonce": "n-0001", "created": NOW, "expires": NOW + 60, **changed}
    return with_fields(request, *mint(request, body, **settings))


def signed_as(member: str, names: tuple[str, ...] = NAMES, request: Request = PLAIN, body: bytes = BODY, key: bytes = KEY) -> Request:
    """A request whose signature over `names` is right for the member `member` as it is spelt, whatever that says."""
    tagged = with_fields(request, ("X-Test-Traffic", "true"), *([("Content-Digest", content_digest(body))] if body else []))
    base = signature_base(tagged, names, member)
    signature = base64.b64encode(hmac.digest(key, base, "sha256")).decode()
    return with_fields(tagged, ("Signature-Input", f"test={member}"), ("Signature", f"test=:{signature}:"))


def member(names: tuple[str, ...] = NAMES, **changed: str | None) -> str:
    """A member of Signature-Input; a parameter that is None is left out."""
    parameters = {name: value for name, value in {**PARAMETERS, **changed}.items() if value is not None}
    return "(" + " ".join(f'"{name}"' for name in names) + ")" + "".join(f";{name}={value}" for name, value in parameters.items())


def changed_field(request: Request, name: str, old: str, new: str) -> Request:
    """The request with a piece of one field's value replaced."""
    fields = tuple(
        (field, value.replace(old.encode(), new.encode()) if field == name.encode() else value) for field, value in request.fields
    )
    assert fields != tuple(request.fields), f"nothing to change in {name}"
    return replace(request, fields=fields)


def judged(
    request: Request, body: bytes = BODY, *, terms: Terms = TERMS, now: float = NOW, tagged_by: tuple[bytes, ...] = (TAG,)
) -> Passport:
    """The passport of a request, under the terms of the tests."""
    return verify(request, body, tagged_by=tagged_by, terms=terms, now=now)


def reason(request: Request, body: bytes = BODY, **settings: Any) -> Reason:
    """Why a request's passport is refused."""
    with pytest.raises(PassportRefused) as caught:
        judged(request, body, **settings)
    return Reason(caught.value.reason)


def _bytes(text: str | bytes) -> bytes:
    return text if isinstance(text, bytes) else text.encode("latin-1")
