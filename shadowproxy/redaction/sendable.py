"""A request that is sent on without its secrets: the mirrored copy itself.

The passes are those of a capture (scrubber). What differs is what happens to what cannot be looked through: of a capture
a part is left out, a request is not sent at all. A changed body is sent without its content codings, and without
the fields that say what it was.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.bodies import scrub_body
from shadowproxy.redaction.codings import decode
from shadowproxy.redaction.echoes import is_clean, needles, present, scrub_echoes
from shadowproxy.redaction.fieldlines import is_framing, scrub_field, scrub_target

if TYPE_CHECKING:
    from shadowproxy.redaction.echoes import Needle
    from shadowproxy.redaction.edits import Edits
    from shadowproxy.redaction.findings import Findings

Field = tuple[str, str]

_OF_THE_BODY: Final = frozenset({"content-encoding", "content-md5", "digest", "content-digest", "repr-digest"})
"""Fields that say how a body is read or what its digest is: not true of another body (RFC 9530, RFC 9110 section 8.4)."""

_TARGET: Final = re.compile(r"[\x21-\x7e]+")
_VALUE: Final = re.compile(r"[^\x00\r\n]*")


@dataclass(frozen=True, slots=True)
class Sendable:
    """A request as it is sent. Text is bytes read as Latin-1. `fields` have the right Content-Length, and no transfer coding."""

    target: str
    fields: tuple[Field, ...]
    body: bytes


def sendable(request: Sendable, findings: Findings, body_limit: int) -> Sendable:
    """`request` without secrets.

    Args:
        request: as the client sent it, whole, its transfer coding undone.
        findings: of this request alone.
        body_limit: bytes of the body, decoded.

    Raises:
        Unreadable: something of it cannot be looked through, so nothing of it may be sent.
    """
    target = scrub_target(request.target, findings)
    fields = [(name, scrub_field(name, value, findings)) for name, value in request.fields]
    plain, body = _body(request, findings, body_limit)
    names = [name for name, _ in request.fields]
    edits = [target, *(one for _, one in fields), *([body] if body is not None else [])]
    wanted = present(needles(findings), [*(one.applied() for one in edits), *names])
    if not all(is_clean(name, [needle for needle in wanted if not needle.is_bounded]) for name in names):
        raise Unreadable("a secret in the name of a field")
    swept = partial(_swept, wanted=wanted, findings=findings)
    payload = swept(body).encode("latin-1") if body is not None else b""
    is_changed = payload != plain
    lines = [(name, one.text if is_framing(name, one.text) else swept(one)) for name, one in fields]
    return _checked(swept(target, is_query=True), lines, payload if is_changed else request.body, is_changed=is_changed)


def _body(request: Sendable, findings: Findings, limit: int) -> tuple[bytes, Edits | None]:
    """The body without its content codings, and its edits."""
    if not request.body:
        return b"", None
    codings = ",".join(value for name, value in request.fields if name.lower() == "content-encoding")
    kind = next((value for name, value in request.fields if name.lower() == "content-type"), "")
    plain = decode(request.body, codings, limit, is_cut=False)
    return plain, scrub_body(plain, kind, findings, is_strict=True)


def _swept(edits: Edits, *, wanted: list[Needle], findings: Findings, is_query: bool = False) -> str:
    if wanted:
        scrub_echoes(edits, wanted, findings, is_query=is_query)
    text = edits.applied()
    if wanted and not is_clean(text, wanted):
        raise Unreadable("a secret could not be taken out")
    return text


def _checked(target: str, lines: list[Field], body: bytes, *, is_changed: bool) -> Sendable:
    """The request, which is one message and means what it says."""
    if not _TARGET.fullmatch(target) or not all(_VALUE.fullmatch(value) for _, value in lines):
        raise Unreadable("no request any more")
    left_out = _OF_THE_BODY if is_changed else frozenset[str]()
    had_length = any(name.lower() == "content-length" for name, _ in lines)
    fields = [(name, value) for name, value in lines if name.lower() not in left_out and name.lower() != "content-length"]
    if body or had_length:
        fields.append(("Content-Length", str(len(body))))
    return Sendable(target, tuple(fields), body)
