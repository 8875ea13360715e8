"""Dictionaries of structured fields (RFC 9651), as strictly as signatures need them.

A parser of our own, for these reasons: it is asked for every signed request; libraries keep the last of two
equal keys, as RFC 9651 section 4.2.2 has it, where we must know that there were two; and what was
received is wanted as it stood, because it is what was signed.

The grammar has no nesting beyond lists of items, so that it is one regular expression. All its
repetitions are possessive: they never give back what they took, and reading is linear in the input.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from shadowproxy.passports.reasons import Reason, refused

if TYPE_CHECKING:
    from collections.abc import Iterable

SIZE_LIMIT: Final = 8192
"""Bytes of one field, its lines together: a dozen signatures fit."""

_KEY: Final = r"[a-z*][a-z0-9_.*\-]*+"
_BARE: Final = (
    r'(?:"(?:[\x20\x21\x23-\x5b\x5d-\x7e]|\\["\\])*+"'  # string
    r"|:[A-Za-z0-9+/]*+={0,2}+:"  # byte sequence
    r"|-?[0-9]{1,15}+(?:\.[0-9]{1,3}+)?+"  # integer, decimal
    r"|\?[01]"  # boolean
    r"|@-?[0-9]{1,15}+"  # date
    r"|[A-Za-z*][!#$%&'*+\-.^_`|~0-9A-Za-z:/]*+"  # token
    r'|%"(?:[\x20\x21\x23\x24\x26-\x7e]|%[0-9a-f]{2})*+")'  # display string
)
_PARAMETERS: Final = rf"(?:;\x20*+{_KEY}(?:={_BARE})?+)*+"
_ITEM: Final = _BARE + _PARAMETERS
_INNER_LIST: Final = rf"\(\x20*+(?:{_ITEM}(?:\x20++|(?=\))))*+\)"
_MEMBER: Final = re.compile(rf"(?P<label>{_KEY})(?:=(?P<value>{_INNER_LIST}|{_BARE}))?+(?P<parameters>{_PARAMETERS})")
_PARAMETER: Final = re.compile(rf";\x20*+(?P<name>{_KEY})(?:=(?P<value>{_BARE}))?+")
_COMMA: Final = re.compile(r"[ \t]*+,[ \t]*+(?=.)")


@dataclass(frozen=True, slots=True)
class Member:
    """One member of a dictionary, as it stands in the field: nothing is decoded.

    `text` is all of it, `value` what is between `=` and the parameters (empty for a bare label), and
    `signed` the value with its parameters as they came. A parameter without a value has `?1`.
    """

    label: str
    text: str
    value: str
    signed: str
    parameters: tuple[tuple[str, str], ...]


def read_dictionary(lines: Iterable[bytes]) -> dict[str, Member]:
    """The members of a field by label.

    Args:
        lines: the values of the field's lines, in order.

    Returns:
        Them in the order of the field; empty when there is no line, or nothing in it.

    Raises:
        PassportRefused: malformed, too_large, duplicate_label or duplicate_parameter.
    """
    joined = b", ".join(lines).strip(b" \t")
    if len(joined) > SIZE_LIMIT:
        raise refused(Reason.TOO_LARGE, f"{len(joined)} bytes, limit {SIZE_LIMIT}")
    if not joined:
        return {}
    text = joined.decode("latin-1")
    members: dict[str, Member] = {}
    place = 0
    while True:
        found = _MEMBER.match(text, place)
        if found is None:
            raise refused(Reason.MALFORMED, f"no member of a dictionary at byte {place}")
        member = _member(text, found)
        if member.label in members:
            raise refused(Reason.DUPLICATE_LABEL)
        members[member.label] = member
        if found.end() == len(text):
            return members
        comma = _COMMA.match(text, found.end())
        if comma is None:
            raise refused(Reason.MALFORMED, f"no comma at byte {found.end()}")
        place = comma.end()


def _member(text: str, found: re.Match[str]) -> Member:
    parameters = tuple((one["name"], one["value"] or "?1") for one in _PARAMETER.finditer(found["parameters"]))
    if len({name for name, _ in parameters}) < len(parameters):
        raise refused(Reason.DUPLICATE_PARAMETER)
    value = found["value"] or ""
    return Member(found["label"], text[found.start() : found.end()], value, value + found["parameters"], parameters)
