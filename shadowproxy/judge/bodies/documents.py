"""What kind of document a body is, and its values.

JSON is read more strictly than Python does and never raises: numbers keep every digit
(`int` and `Decimal`), NaN and Infinity are values of their own kind, an object that names
a member twice remembers which (the last one counts, as in RFC 8259, section 4, most
readers have it).
"""

from __future__ import annotations

import codecs
import enum
import json
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any, Final
from urllib.parse import parse_qsl

Json = Any
"""None, bool, int, Decimal, `NotANumber`, str, list of Json, or dict of str to Json."""

LINES_LIMIT: Final = 10_000
"""Documents in one body of JSON lines."""


class Media(enum.Enum):
    """How a body is compared."""

    JSON = "json"
    JSON_LINES = "json lines"
    FORM = "form"
    MARKUP = "markup"
    TEXT = "text"
    OTHER = "other"


class NotANumber(enum.Enum):
    """What JSON has no number for and writers send all the same. Equal to itself, unlike the number."""

    NAN = "NaN"
    INFINITY = "Infinity"
    NEGATIVE_INFINITY = "-Infinity"


class Repeated(dict[str, Json]):
    """An object that names members more than once; `names` are those."""

    names: frozenset[str] = frozenset()


class _BadNumber(str):
    """A number beyond what any arithmetic holds, by its digits."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Unreadable:
    """Why a body is not what its type says."""

    reason: str


@dataclass(frozen=True, slots=True)
class ContentType:
    """A Content-Type, taken apart (RFC 9110, section 8.3)."""

    name: str
    charset: str = ""
    media: Media = Media.OTHER


_JSON_LINES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/x-jsonlines", "application/json-seq"}
)
_TEXT: Final = frozenset(
    {"application/javascript", "application/ecmascript", "application/graphql", "application/yaml", "application/toml"}
)
_MARKUP: Final = frozenset({"text/html", "text/xml", "application/xml", "application/xhtml+xml", "image/svg+xml"})


def content_type(value: str, content: bytes = b"") -> ContentType:
    """What the Content-Type `value` says of a body; without one, what the first byte of `content` looks like."""
    name, _, rest = value.partition(";")
    name = name.strip().lower()
    charset = ""
    for parameter in rest.split(";"):
        key, _, given = parameter.partition("=")
        if key.strip().lower() == "charset":
            charset = given.strip().strip("\"'")[:40]
    if not name:
        return ContentType("", "", Media.JSON if content.lstrip(b" \t\r\n")[:1] in (b"{", b"[") else Media.OTHER)
    return ContentType(name, charset, _media(name))


def _media(name: str) -> Media:
    if name in _JSON_LINES:
        return Media.JSON_LINES
    if name.endswith(("/json", "+json")):
        return Media.JSON
    if name == "application/x-www-form-urlencoded":
        return Media.FORM
    if name in _MARKUP or name.endswith("+xml"):
        return Media.MARKUP
    if name.startswith("text/") or name in _TEXT:
        return Media.TEXT
    return Media.OTHER


def text_of(content: bytes, charset: str) -> str | None:
    """The characters of `content`, or None when its charset is unknown or not kept.

    Args:
        content: decoded bytes.
        charset: what the Content-Type names; empty means UTF-8, with a byte order mark taken off.
    """
    name = charset or "utf-8"
    try:
        if codecs.lookup(name).name == "utf-8":
            name = "utf-8-sig"
        decoded = content.decode(name)
    except (LookupError, ValueError):
        return None
    return decoded if isinstance(decoded, str) else None


def read_json(text: str) -> Json | Unreadable:
    """The value that `text` is. Never raises."""
    try:
        return _FAST.decode(text)
    except RecursionError:
        return Unreadable("nested too deeply")
    except (ValueError, InvalidOperation, OverflowError):
        pass  # a number with more digits than int takes, or no JSON: the careful reader knows
    try:
        return _CAREFUL.decode(text)
    except RecursionError:
        return Unreadable("nested too deeply")
    except ValueError as error:
        return Unreadable(f"not JSON: {str(error)[:80]}")


def read_json_lines(text: str) -> Json | Unreadable:
    """The list of the values that the lines of `text` are. Never raises."""
    lines = [line for raw in text.split("\n") if (line := raw.strip("\x1e \t\r"))]  # RFC 7464 begins each with a record separator
    if len(lines) > LINES_LIMIT:
        return Unreadable(f"{len(lines)} lines, limit {LINES_LIMIT}")
    values = []
    for line in lines:
        value = read_json(line)
        if isinstance(value, Unreadable):
            return value
        values.append(value)
    return values


def read_form(text: str) -> Json | Unreadable:
    """The fields of a form, each a list of its values. Never raises."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, max_num_fields=LINES_LIMIT)
    except ValueError as error:
        return Unreadable(f"not a form: {str(error)[:80]}")
    fields: dict[str, Json] = {}
    for name, value in pairs:
        fields.setdefault(name, []).append(value)
    return {name: values[0] if len(values) == 1 else values for name, values in fields.items()}


def _members(pairs: list[tuple[str, Json]]) -> Json:
    members = dict(pairs)
    if len(members) == len(pairs):
        return members
    repeated = Repeated(members)
    repeated.names = frozenset(name for name, count in Counter(name for name, _ in pairs).items() if count > 1)
    return repeated


def _digits(text: str) -> Json:
    try:
        return Decimal(text)
    except InvalidOperation:
        return _BadNumber(text)


_FAST: Final = json.JSONDecoder(object_pairs_hook=_members, parse_float=Decimal, parse_constant=NotANumber)
_CAREFUL: Final = json.JSONDecoder(object_pairs_hook=_members, parse_float=_digits, parse_int=_digits, parse_constant=NotANumber)
