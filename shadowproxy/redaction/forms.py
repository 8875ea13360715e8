"""Secrets in forms: URL-encoded (as in queries) and multipart."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote_to_bytes

from shadowproxy.errors import Unreadable
from shadowproxy.redaction.text import scrub_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.redaction.edits import Edits
    from shadowproxy.redaction.findings import Findings

PARTS_LIMIT: Final = 1000
"""Parts of one multipart body."""

_PAIR: Final = re.compile(r"[^&]+")
_BOUNDARY: Final = re.compile(r'boundary\s*=\s*(?:"([^"]{1,70})"|([^\s;"]{1,70}))', re.IGNORECASE)
_HEADER: Final = re.compile(r"^([!-9;-~]{1,128})[ \t]*:[ \t]*(.*)$", re.MULTILINE)
_NAME: Final = re.compile(r'[;\s]name\*?\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;]+))', re.IGNORECASE)
_FILENAME: Final = re.compile(r"[;\s]filename\*?\s*=", re.IGNORECASE)

Inner = "Callable[[bytes, str | None], str | None]"


def scrub_form(edits: Edits, findings: Findings) -> None:
    """Replace the values of secret fields in `name=value&...`, then what is secret in the others."""
    for pair in _PAIR.finditer(edits.text):
        name, equals, value = pair[0].partition("=")
        # Some still divide by semicolons: what stands before the last one is a pair of its own.
        if value and equals and findings.rules.is_secret_field(decoded(name.rpartition(";")[2]), is_query=True):
            edits.add(pair.end() - len(value), pair.end(), findings.coded(value))
    scrub_text(edits, findings, is_query=True)


def decoded(coded: str) -> str:
    """What a URL-encoded name or value says."""
    return unquote_to_bytes(coded.replace("+", " ")).decode("latin-1")


def boundary_of(content_type: str) -> str:
    """The boundary that a multipart Content-Type names (RFC 2046 section 5.1.1).

    Raises:
        Unreadable: it names none.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        raise Unreadable("multipart without a boundary")
    return found[1] or found[2]


def scrub_multipart(edits: Edits, findings: Findings, boundary: str, inner: Callable[[bytes, str | None], str | None]) -> None:
    """Replace secret parts, and what is secret in the others.

    Args:
        edits: of the whole body.
        findings: where the secrets go.
        boundary: what divides the parts.
        inner: scrubs the content of a part, given its Content-Type, or None where it is encoded; None when it cannot be read.

    Raises:
        Unreadable: the boundary is nowhere, or divides too many parts.
    """
    text = edits.text
    marks = [found.span() for found in re.finditer(rf"(?:\A|\r?\n)--{re.escape(boundary)}(?:--)?[ \t]*(?:\r?\n|\Z)", text)]
    if not marks or len(marks) > PARTS_LIMIT:
        raise Unreadable(f"{len(marks)} multipart boundaries, from 1 to {PARTS_LIMIT} are allowed")
    # What stands before the first boundary and behind the last is not shown to anybody.
    edits.add(0, marks[0][0], "")
    ends = [*(start for start, _ in marks[1:]), len(text)]
    for (_, start), end in zip(marks, ends, strict=True):
        if start < end and not text[start - 4 : start].rstrip().endswith("--"):
            _part(edits, findings, start, end, inner)
        elif start < end:
            edits.add(start, end, "")
    scrub_text(edits, findings)


def _part(edits: Edits, findings: Findings, start: int, end: int, inner: Callable[[bytes, str | None], str | None]) -> None:
    text = edits.text
    divider = re.compile(r"\r?\n\r?\n").search(text, start - 2, end)
    if divider is None:
        raise Unreadable("a multipart part without an empty line")
    headers = {found[1].lower(): found[2] for found in _HEADER.finditer(text, start, divider.start())}
    disposition = ";" + headers.get("content-disposition", "")
    named = _NAME.search(disposition)
    name = decoded(named[1] or named[2] or "") if named else ""
    content = text[divider.end() : end]
    if not content:
        return
    if findings.rules.is_secret_field(name, is_query=True):
        edits.add(divider.end(), end, findings.stand_in(content))
    elif _FILENAME.search(disposition) or "content-type" in headers or "content-transfer-encoding" in headers:
        kind: str | None = headers.get("content-type", "application/octet-stream")
        if headers.get("content-transfer-encoding", "binary").strip().lower() not in {"binary", "8bit", "7bit"}:
            kind = None
        scrubbed = inner(content.encode("latin-1"), kind)
        if scrubbed is None:
            scrubbed = f"[{len(content)} bytes, digest {findings.digest(content.encode('latin-1'))}]"
        if scrubbed != content:
            edits.add(divider.end(), end, scrubbed)
