"""Secrets in bodies: JSON, forms, multipart, markup, any other text. What cannot be read is not kept."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.codings import text_of
from shadowproxy.redaction.edits import Edits
from shadowproxy.redaction.forms import boundary_of, scrub_form, scrub_multipart
from shadowproxy.redaction.json_text import has_secret_names, scrub_json
from shadowproxy.redaction.text import scrub_text

if TYPE_CHECKING:
    from shadowproxy.redaction.findings import Findings

NESTING_LIMIT: Final = 3
"""Multipart inside multipart."""

_JSON: Final = re.compile(r"[^;]*[/+](?:json|x-ndjson|ndjson|jsonl|jsonlines|json-seq|x-json|json5)\b", re.IGNORECASE)
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.\-]{1,127}")
_NEAR: Final = 12
"""Characters between a secret name and its value: quotes, blanks, a separator."""


def scrub_body(
    body: bytes, content_type: str, findings: Findings, *, is_cut: bool = False, is_strict: bool = False, depth: int = 0
) -> Edits:
    """The edits of one decoded body.

    Args:
        body: without content codings.
        content_type: as it was sent; empty when it was not.
        findings: where the secrets go.
        is_cut: the body may end anywhere.
        is_strict: a part of a multipart body that cannot be read makes all of it unreadable, instead of being left out.
        depth: how many multipart bodies it is inside of.

    Raises:
        Unreadable: it is not text, or malformed and in doubt.
    """
    edits = Edits(text_of(body, content_type, is_cut=is_cut))
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith("multipart/"):
        if depth >= NESTING_LIMIT:
            raise Unreadable(f"multipart nested deeper than {NESTING_LIMIT}")

        def inner(part: bytes, kind: str | None) -> str | None:
            if kind is None and is_strict:
                raise Unreadable("a part of a multipart body that is encoded")
            if kind is None:
                return None
            try:
                return scrub_body(part, kind, findings, is_cut=is_cut, is_strict=is_strict, depth=depth + 1).applied()
            except Unreadable:
                if is_strict:
                    raise
                return None

        scrub_multipart(edits, findings, boundary_of(content_type), inner)
    elif kind == "application/x-www-form-urlencoded":
        scrub_form(edits, findings)
    elif _JSON.match(content_type) or edits.text.lstrip(" \t\r\n")[:1] in {"{", "["}:
        _json(edits, findings, is_cut=is_cut, is_sure=bool(_JSON.match(content_type)))
    else:
        scrub_text(edits, findings)
    return edits


def _json(edits: Edits, findings: Findings, *, is_cut: bool, is_sure: bool) -> None:
    try:
        if is_cut or has_secret_names(edits.text, findings) or not _is_whole(edits.text):
            scrub_json(edits, findings, is_cut=is_cut)
    except Unreadable as error:
        scrub_text(edits, findings)
        if is_sure and (name := _doubt(edits, findings)):
            raise Unreadable(f"{error}; and {name!r} may name a secret") from None
    else:
        scrub_text(edits, findings, is_json=True)


def _is_whole(text: str) -> bool:
    """Whether the text is one JSON value; much faster to tell than to read it here."""
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _doubt(edits: Edits, findings: Findings) -> str:
    """A secret name behind which nothing was replaced; empty when there is none."""
    replaced = [start for start, _, _ in edits.spans]
    for start, end in edits.gaps():
        for word in _WORD.finditer(edits.text, start, end):
            if findings.rules.is_secret_field(word[0]) and not any(0 <= place - word.end() <= _NEAR for place in replaced):
                return word[0]
    return ""
