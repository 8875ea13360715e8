"""Secrets in header fields: whole values by their names, and what is secret in the others."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.forms import decoded, scrub_form
from shadowproxy.redaction.rules import plain_name
from shadowproxy.redaction.text import scrub_text

if TYPE_CHECKING:
    from shadowproxy.redaction.findings import Findings

_CREDENTIALS: Final = frozenset(
    map(plain_name, ("Authorization", "Proxy-Authorization", "X-Forwarded-Authorization", "X-Original-Authorization", "X-Authorization"))
)
_COOKIES: Final = frozenset(map(plain_name, ("Cookie", "Cookie2")))
_SET_COOKIES: Final = frozenset(map(plain_name, ("Set-Cookie", "Set-Cookie2")))
_ADDRESSES: Final = frozenset(
    map(
        plain_name,
        (
            "X-Forwarded-For", "Forwarded", "X-Real-IP", "X-Client-IP", "X-Cluster-Client-IP", "X-Original-Forwarded-For", "True-Client-IP", "CF-Connecting-IP",
            "CF-Connecting-IPv6", "Fastly-Client-IP", "X-Appengine-User-IP", "X-Azure-ClientIP", "X-Azure-SocketIP", "X-Envoy-External-Address",
        ),
    )
)  # fmt: skip
_FRAMING: Final = {
    "content-length": re.compile(r"[0-9]{1,18}"),
    "transfer-encoding": re.compile(r"[A-Za-z, ]{1,64}"),
    "content-encoding": re.compile(r"[A-Za-z0-9, -]{1,64}"),
}
"""What says how a body is read stays as it is, when it says nothing else."""

_FORWARDED: Final = re.compile(r"\b(?:for|by)\s*=\s*\"?(\[[0-9A-Fa-f:.]+\]|[^\s;,\":]+)", re.IGNORECASE)
_SEGMENTS: Final = re.compile(r"/(?=([^/;]{1,64})/([^/;]+))")
_LINKS: Final = frozenset(
    {
        "reset",
        "verify",
        "confirm",
        "confirmation",
        "activate",
        "activation",
        "invite",
        "invitation",
        "magic",
        "unlock",
        "unsubscribe",
        "share",
    }
)
"""Path segments behind which services put tokens that are as good as a password."""

_PARAMETER: Final = re.compile(r";([^;/=]{1,128}+)=([^;/]++)")
_LIST: Final = re.compile(r"[^\s,]+")


def scrub_field(name: str, value: str, findings: Findings) -> Edits:
    """The edits of one header field's value.

    Args:
        name: of the field, in any case.
        value: Latin-1 text.
        findings: where the secrets go.
    """
    edits = Edits(value)
    allowed = _FRAMING.get(name.lower())
    if allowed is not None and allowed.fullmatch(value):
        return edits
    if findings.rules.is_secret_header(name):
        _secret(plain_name(name), edits, findings)
    else:
        scrub_text(edits, findings)
    return edits


def is_framing(name: str, value: str) -> bool:
    """Whether the field says how the body is read and nothing else."""
    allowed = _FRAMING.get(name.lower())
    return allowed is not None and allowed.fullmatch(value) is not None


def scrub_target(target: str, findings: Findings) -> Edits:
    """The edits of a request target: path, query, and for proxies scheme and authority (RFC 9112 section 3.2)."""
    path, _, query = target.partition("?")
    edits = Edits(target)
    for part, at, scrub in ((path, 0, _scrub_path), (query, len(path) + 1, scrub_form)):
        inner = Edits(part)
        scrub(inner, findings)
        for start, end, text in inner.spans:
            edits.add(start + at, end + at, text)
    return edits


def _scrub_path(edits: Edits, findings: Findings) -> None:
    for parameter in _PARAMETER.finditer(edits.text):
        if findings.rules.is_secret_field(parameter[1], is_query=True):
            edits.add(*parameter.span(2), findings.coded(parameter[2]))
    for found in _SEGMENTS.finditer(edits.text):
        before, segment = decoded(found[1]), found[2]
        if (before.lower() in _LINKS or findings.rules.is_secret_field(before)) and _is_token(segment):
            edits.add(*found.span(2), findings.coded(segment))
    scrub_text(edits, findings, is_query=True)


def _is_token(segment: str) -> bool:
    """Whether a path segment is made by a machine: long, with letters and digits, and nothing that words have."""
    return re.fullmatch(r"(?=[^0-9]*[0-9])(?=[^A-Za-z]*[A-Za-z])[A-Za-z0-9_.~%=+-]{16,}", segment) is not None


def _secret(name: str, edits: Edits, findings: Findings) -> None:
    value = edits.text
    if name in _CREDENTIALS:
        stands = findings.credentials(value)
    elif name in _COOKIES:
        stands = findings.cookies(value)
    elif name in _SET_COOKIES:
        stands = findings.set_cookie(value)
    elif name in _ADDRESSES:
        pattern = _FORWARDED if name == "forwarded" else _LIST
        for found in pattern.finditer(value):
            group = pattern.groups
            edits.add(*found.span(group), findings.client(found[group]))
        scrub_text(edits, findings)
        return
    else:
        stands = findings.stand_in(value.strip()) if value.strip() else value
    if stands != value:
        edits.add(0, len(value), stands)
