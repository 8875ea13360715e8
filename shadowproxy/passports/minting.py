"""Makes passports: what a client adds to a request so that its tag counts."""

from __future__ import annotations

import base64
import hmac
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from shadowproxy.passports.components import signature_base
from shadowproxy.passports.digests import FIELD, content_digest
from shadowproxy.passports.verification import ALGORITHM, KEYID, NONCE, TAG

if TYPE_CHECKING:
    from collections.abc import Sequence

    from shadowproxy.passports.components import Request

LABEL: Final = "test"
"""The label of the signature; nobody goes by it."""

ALWAYS: Final = ("@method", "@authority", "@path", "@query")
"""Not @target-uri: a proxy that ends TLS before us changes the scheme, which is part of that."""

_TENANT: Final = re.compile(r"[A-Za-z0-9._\-]{1,64}")
_UNTAGGED: Final = frozenset({"0", "false"})


def mint(
    request: Request,
    body: bytes,
    *,
    keyid: str,
    key: bytes,
    nonce: str,
    created: int,
    expires: int,
    tenant: str = "true",
    also: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """The fields to add to a request.

    Args:
        request: what is to be sent, with the fields that are to be covered beyond the tag.
        body: what is to be sent with it; empty for none.
        keyid: which key, as the proxy's config names it.
        key: the secret.
        nonce: what no other passport of this key has.
        created: Unix seconds.
        expires: Unix seconds.
        tenant: the value of X-Test-Traffic: whose test it is, or `true`.
        also: lower-case names of fields of the request to cover as well.

    Returns:
        X-Test-Traffic, Content-Digest where there is a body, Signature-Input and Signature.

    Raises:
        PassportRefused: a component cannot be covered.
        ValueError: keyid, nonce, tenant or times are none that could be verified.
    """
    if _TENANT.fullmatch(tenant) is None or tenant.lower() in _UNTAGGED:
        raise ValueError("a tenant is 1 to 64 of A-Z a-z 0-9 . _ -, and neither 0 nor false, which say that a request is no test")
    if KEYID.fullmatch(keyid) is None or NONCE.fullmatch(nonce) is None:
        raise ValueError("a key id is 1 to 64 of A-Z a-z 0-9 . _ -, a nonce 1 to 128 visible characters without quotes or backslashes")
    if not 0 <= created <= expires < 10**15:
        raise ValueError("a passport is created before it expires, both in seconds since 1970")
    added = [("X-Test-Traffic", tenant)]
    if body:
        added.append(("Content-Digest", content_digest(body)))
    names = [*ALWAYS, "x-test-traffic", *([FIELD.decode()] if body else []), *also]
    listed = " ".join(f'"{name}"' for name in names)
    signed = f'({listed});created={created};expires={expires};nonce="{nonce}";alg="{ALGORITHM}";keyid="{keyid}";tag="{TAG}"'
    fields = [*request.fields, *((name.lower().encode(), value.encode("latin-1")) for name, value in added)]
    base = signature_base(replace(request, fields=fields), names, signed)
    signature = base64.b64encode(hmac.digest(key, base, "sha256")).decode()
    return [*added, ("Signature-Input", f"{LABEL}={signed}"), ("Signature", f"{LABEL}=:{signature}:")]
