"""Secrets in text of any kind: named values, markup, queries inside of it, and secret shapes.

Nothing here needs the text to be well formed. Every reading of a text is looked at, the
deepest first (see `edits.readings`): what is percent-encoded in a URL that is escaped in a
JSON string is found as if it stood there plainly.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from shadowproxy.redaction.findings import percent_encoded
from shadowproxy.redaction.shapes import PRIVATE_KEYS, found

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from shadowproxy.redaction.edits import Edits
    from shadowproxy.redaction.findings import Findings

Place = tuple[int, int]

_QUERY: Final = re.compile(r"[?#]([^\s\"'<>?#\\]*=[^\s\"'<>?#\\]*)")
_PAIR: Final = re.compile(r"[^&;]+")

_NAMED: Final = re.compile(r"(?<![A-Za-z0-9_.\-])([A-Za-z0-9_.\-]{2,128}+)[\"'\]]{0,3}\s{0,8}(?::|=>|=)\s{0,8}")
_INSIDE: Final = re.compile(r"(?<![A-Za-z0-9_.\-])([A-Za-z0-9_.\-]{2,128}+)['\]]{0,3}\s{0,8}(?::|=>|=)\s{0,8}")
"""The same inside of JSON strings: names of fields have been looked at, and are followed by a quote."""

_VALUE: Final = re.compile(r"\"((?:[^\"\\]|\\.)*+)|'((?:[^'\\]|\\.)*+)|([^\s\"'<>&;,{}\[\]()]++)", re.DOTALL)
_ALSO_WORDS: Final = frozenset({"from", "signature"})
"""Header fields whose name stands before a colon in plain text as well."""

_LINE: Final = re.compile(r"[^\r\n\"]*")
_TAG: Final = re.compile(r"<[A-Za-z][^<>]{1,4096}>")
_ATTRIBUTE: Final = re.compile(r"([A-Za-z_:][A-Za-z0-9_:.\-]{0,127}+)\s{0,4}=\s{0,4}(?:\"([^\"]*)\"|'([^']*)'|([^\s\"'<>]++))")
_ELEMENT: Final = re.compile(
    r"<(?:[\w\-]{1,64}:)?([A-Za-z_][\w.\-]{0,127}+)(?:\s[^<>]{0,4096})?(?<!/)>(?:<!\[CDATA\[([^<]*?)(?:\]\]>|\Z|(?=<))|([^<]+))", re.ASCII
)


def scrub_text(edits: Edits, findings: Findings, *, is_query: bool = False, is_json: bool = False) -> None:
    """Replace what is secret in the gaps of `edits`.

    Args:
        edits: of the text; what has been replaced already stays.
        findings: where the secrets go.
        is_query: the text is percent-encoded, and what is put in is too.
        is_json: the text is JSON: names are those of fields only.
    """
    sent = edits.text
    has_escapes = "%" in sent or "\\" in sent or "&" in sent
    if findings.looks_for_keys and (has_escapes or "PRIVATE" in sent):
        _everywhere(edits, findings, lambda text, _: found(PRIVATE_KEYS, text), is_query=is_query)
    if has_escapes or "=" in sent or ":" in sent or "<" in sent:
        _everywhere(edits, findings, lambda text, is_sent: _named(text, findings, is_json=is_json, is_sent=is_sent), is_query=is_query)
    _everywhere(edits, findings, lambda text, _: (place for shape in findings.shapes for place in found(shape, text)), is_query=is_query)


def _everywhere(edits: Edits, findings: Findings, search: Callable[[str, bool], Iterator[Place]], *, is_query: bool) -> None:
    """Replace what `search` finds in a text; it is told whether this is the text as sent."""
    for start, end in edits.gaps():
        found = edits.readings(start, end)
        for text, back in found:
            for place in search(text, text is found[-1][0]):
                _replace(edits, findings, text, place, back, is_query=is_query)


def _replace(edits: Edits, findings: Findings, text: str, place: Place, back: Callable[[int, int], Place], *, is_query: bool) -> None:
    start, end = back(*place)
    secret = text[place[0] : place[1]]
    stands = findings.stand_in(secret)
    if stands == secret:
        return
    if is_query or "%" in edits.text[start:end]:
        stands = percent_encoded(stands)
    # A line end inside a JSON string is written as an escape; elsewhere escapes of line ends do not matter.
    elif "\\" in edits.text[start:end]:
        stands = stands.replace("\r", "\\r").replace("\n", "\\n").replace("\t", "\\t")
    edits.add(start, end, stands)


def _named(text: str, findings: Findings, *, is_json: bool, is_sent: bool) -> Iterator[Place]:
    """The places of values that a secret name stands before."""
    has_equals = "=" in text
    if not has_equals and ":" not in text and "<" not in text:
        return
    in_queries: set[int] = set()
    if has_equals and ("?" in text or "#" in text):
        for place in _in_queries(text, findings):
            in_queries.add(place[0])
            yield place
    if "<" in text:
        yield from _in_markup(text, findings)
    rules = findings.rules
    for named in (_INSIDE if is_json and is_sent else _NAMED).finditer(text):
        name = named[1]
        is_field = rules.is_secret_field(name) or ("." in name and rules.is_secret_field(name.rpartition(".")[2]))
        # `Forwarded: ...` on a line of its own is a header field; `from: 10` in a sentence is not.
        if not is_field:
            starts_line = not is_json and (not named.start() or text[named.start() - 1] in "\r\n")
            if not (starts_line and name.lower() not in _ALSO_WORDS and rules.is_listed_header(name)):
                continue
        value = _VALUE.match(text, named.end())
        if value is None:
            continue
        start, end = value.span(value.lastindex or 0)
        if start in in_queries:
            continue  # where it ends is known better
        if value.lastindex == 3 and text[named.end(1) : start].strip() == ":" and rules.is_listed_header(name):
            end = _LINE.match(text, start).end()  # type: ignore[union-attr]  # it matches the empty text
        yield start, end


def _in_queries(text: str, findings: Findings) -> Iterator[Place]:
    for query in _QUERY.finditer(text):
        for pair in _PAIR.finditer(text, *query.span(1)):
            name, equals, value = pair[0].removeprefix("amp;").partition("=")
            if value and equals and findings.rules.is_secret_field(name, is_query=True):
                yield pair.end() - len(value), pair.end()


def _in_markup(text: str, findings: Findings) -> Iterator[Place]:
    """Values of form controls and meta elements with a secret name, of attributes with one, and the content of elements with one."""
    rules = findings.rules
    for tag in _TAG.finditer(text):
        attributes = list(_ATTRIBUTE.finditer(text, *tag.span()))
        is_secret = any(
            one[1].lower() in {"name", "id", "property", "itemprop", "key", "type", "autocomplete"}
            and rules.is_secret_field(one[one.lastindex or 4], is_query=True)
            for one in attributes
        )
        for one in attributes:
            name = one[1].lower()
            if (is_secret and name in {"value", "content"}) or rules.is_secret_field(name):
                yield one.span(one.lastindex or 4)
    for element in _ELEMENT.finditer(text):
        group = element.lastindex or 0
        if element[group].strip() and rules.is_secret_field(element[1]):
            yield element.span(group)
