"""Passports: signatures that make the tag of a test request trustworthy (RFC 9421 with hmac-sha256).

A passport says: whoever holds this key sent this method, authority, target, tag and body, at this
time, once. `mint` makes one; `begin` judges everything about one but the body, which `Pending.finish`
adds; `verify` does both. Clock and keys are arguments, and nothing here does I/O.

::

    begin(request, ...) ──▶ Pending ──finish(digest of the body)──▶ Passport
         ╰──────────────────── PassportRefused(reason) ◀──────────╯

Whether a passport came before is not known here: whoever verifies asks a nonce cache that all workers
share, after `finish`, so that a body that was cut off does not use its passport up.
"""

from __future__ import annotations

from shadowproxy.passports.components import Request
from shadowproxy.passports.digests import Digest, content_digest
from shadowproxy.passports.minting import mint
from shadowproxy.passports.reasons import Reason, refused
from shadowproxy.passports.verification import TAG, Passport, Pending, Terms, begin, foreign, verify

__all__ = [
    "TAG",
    "Digest",
    "Passport",
    "Pending",
    "Reason",
    "Request",
    "Terms",
    "begin",
    "content_digest",
    "foreign",
    "mint",
    "refused",
    "verify",
]
