"""Secrets in JSON, whole or cut off, replaced in place: nothing but the secrets changes.

The text is read token by token, without recursion, so that its depth costs nothing and a text that ends
in the middle is read up to there. What is secret by its name is replaced with everything below
it: strings by strings, numbers by numbers of the same form; `true`, `false` and `null` stay.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from shadowproxy.errors import Unreadable

if TYPE_CHECKING:
    from shadowproxy.redaction.edits import Edits
    from shadowproxy.redaction.findings import Findings

DEPTH_LIMIT: Final = 1000
"""Nested containers: as deep as parsers in use go."""

_TOKEN: Final = re.compile(
    r'[ \t\r\n]*(?:(")((?:[^"\\\x00-\x1f]++|\\.|\\\Z)*+)("?)|(-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|([{}\[\],:])|(true|false|null))[ \t\r\n]*'
)
_BLANK: Final = re.compile(r"[ \t\r\n]*")
_NAME: Final = re.compile(r'"(?=([^"\\\x00-\x1f]*+(?:\\.[^"\\\x00-\x1f]*+)*+)"[ \t\r\n]*:)')


@dataclass(slots=True)
class _Frame:
    """One container. `label` is the secret name that an object of a name and a value has, `values` are those that came before it."""

    is_object: bool
    is_secret: bool
    label: str = ""
    values: list[re.Match[str]] = field(default_factory=list)


LABELS: Final = frozenset({"name", "key", "field", "header", "param", "parameter", "attribute", "property", "variable"})
VALUES: Final = frozenset({"value", "values", "val", "content", "data", "text"})
"""The two names of an object that is itself a name and a value: `{"name": "password", "value": "..."}`."""

_LABELLED: Final = re.compile(rf'"(?i:{"|".join(sorted(LABELS))})"[ \t\r\n]*:[ \t\r\n]*"([^"\x00-\x1f]{{1,256}})"')


def has_secret_names(text: str, findings: Findings) -> bool:
    """Whether a secret name may be in a JSON text: whatever stands in quotes before a colon counts as a name. Much faster than reading it."""
    names = {*_NAME.findall(text), *_LABELLED.findall(text)}
    return any(findings.rules.is_secret_field(_text_of(name)) for name in names)


def scrub_json(edits: Edits, findings: Findings, *, is_cut: bool = False) -> None:
    """Replace what is secret by its name, in one JSON value or several (JSON lines).

    Args:
        edits: of the text.
        findings: where the secrets go.
        is_cut: the text may end anywhere.

    Raises:
        Unreadable: it is not JSON. Replacements made so far stay.
    """
    text = edits.text
    end = len(text)
    at = _BLANK.match(text).end()  # type: ignore[union-attr]  # it matches the empty text
    frames: list[_Frame] = []
    is_secret = False  # of the value that comes next
    expects_name = False
    previous = name = ""
    while at < end:
        token = _TOKEN.match(text, at)
        if token is None:
            if is_cut and _is_rest(text[at:]):
                return
            raise Unreadable(f"not JSON at byte {at}")
        at = token.end()
        mark = token[5]
        if mark is None and previous == "value" and frames:
            raise Unreadable(f"not JSON at byte {token.start()}")
        if token[1]:
            if not token[3] and not (is_cut and at == end):
                raise Unreadable("a JSON string without an end")
            if expects_name:
                expects_name = False
                name = _text_of(token[2])
                is_secret = frames[-1].is_secret or findings.rules.is_secret_field(name)
                if text[at : at + 1] != ":" and not (is_cut and at == end):
                    raise Unreadable(f"a JSON name without a value at byte {at}")
                previous = "name"
                continue
            if is_secret:
                _replace(edits, findings, token, name)
            elif frames and frames[-1].is_object:
                _labelled(edits, findings, token, name.lower(), frames[-1])
            previous = "value"
        elif token[4] is not None:
            if expects_name:
                raise Unreadable(f"a JSON name that is a number at byte {token.start(4)}")
            if is_secret:
                _replace(edits, findings, token, name)
            elif frames and frames[-1].is_object:
                _labelled(edits, findings, token, name.lower(), frames[-1])
            previous = "value"
        elif mark is None:
            previous = "value"
        elif mark in "{[":
            if len(frames) >= DEPTH_LIMIT:
                raise Unreadable(f"JSON deeper than {DEPTH_LIMIT}")
            is_labelled = bool(frames) and frames[-1].is_object and bool(frames[-1].label) and name.lower() in VALUES
            is_secret = is_secret or is_labelled
            frames.append(_Frame(mark == "{", is_secret))
            expects_name = mark == "{"
            previous = "open"
            continue
        elif mark in "}]":
            if not frames or frames[-1].is_object != (mark == "}") or previous in {"name", "colon"}:
                raise Unreadable(f"unbalanced JSON at byte {token.start(5)}")
            frames.pop()
            expects_name = False
            previous = "value"
        elif mark == ",":
            if not frames or previous != "value":
                raise Unreadable(f"not JSON at byte {token.start(5)}")
            expects_name = frames[-1].is_object
            is_secret = frames[-1].is_secret
            previous = "comma"
            continue
        else:  # a colon
            if previous != "name":
                raise Unreadable(f"not JSON at byte {token.start(5)}")
            previous = "colon"
            continue
        is_secret = bool(frames) and frames[-1].is_secret
    if frames and not is_cut:
        raise Unreadable("JSON without an end")


def _labelled(edits: Edits, findings: Findings, token: re.Match[str], name: str, frame: _Frame) -> None:
    """A value in an object that may be a name and a value, in either order."""
    if name in LABELS and token[1] and findings.rules.is_secret_field(_text_of(token[2])):
        frame.label = _text_of(token[2])
        for value in frame.values:
            _replace(edits, findings, value, frame.label)
    elif name in VALUES and frame.label:
        _replace(edits, findings, token, frame.label)
    elif name in VALUES:
        frame.values.append(token)


def _replace(edits: Edits, findings: Findings, token: re.Match[str], name: str) -> None:
    """Put something else in the place of a string or a number."""
    if token[4] is not None:
        edits.add(*token.span(4), findings.stand_in(token[4]))
        return
    value = _text_of(token[2])
    plain = name.lower().replace("_", "-")
    if plain in {"authorization", "proxy-authorization", "x-forwarded-authorization"}:
        stands = findings.credentials(value)
    elif plain == "cookie":
        stands = findings.cookies(value)
    elif plain == "set-cookie":
        stands = findings.set_cookie(value)
    else:
        stands = findings.stand_in(value)
    edits.add(*token.span(2), json.dumps(stands)[1:-1])


def _text_of(escaped: str) -> str:
    """What a JSON string says, in UTF-8 read as Latin-1."""
    if "\\" not in escaped:
        return escaped
    whole = escaped
    for _ in range(7):  # a cut string may end inside an escape
        try:
            said: str = json.loads(f'"{whole.encode("latin-1").decode("utf-8", "replace")}"', strict=False)
        except ValueError:
            whole = whole[:-1]
        else:
            return said.encode("utf-8", "surrogatepass").decode("latin-1")
    return escaped


def _is_rest(text: str) -> bool:
    """Whether `text` can be the beginning of a number or a word that was cut off."""
    return len(text) <= 32 and re.fullmatch(r"-?[0-9]*\.?[0-9]*(?:[eE][+-]?)?|t(?:ru?)?|f(?:a(?:ls?)?)?|n(?:ul?)?", text) is not None
