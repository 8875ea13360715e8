"""A path that a route's match takes: what a probe is sent to when nothing better is known."""

from __future__ import annotations

import re
import warnings
from re import _constants, _parser  # type: ignore[attr-defined]  # no stub; the only reader of patterns that agrees with re
from typing import Any, Final

_VISIBLE: Final = [
    chr(code) for code in (*range(0x61, 0x7B), *range(0x30, 0x3A), *range(0x41, 0x5B), *range(0x21, 0x7F)) if chr(code) not in "?#"
]
"""What a sample is made of, letters first."""

_CATEGORIES: Final = {
    _constants.CATEGORY_DIGIT: r"\d", _constants.CATEGORY_NOT_DIGIT: r"\D",
    _constants.CATEGORY_SPACE: r"\s", _constants.CATEGORY_NOT_SPACE: r"\S",
    _constants.CATEGORY_WORD: r"\w", _constants.CATEGORY_NOT_WORD: r"\W",
}  # fmt: skip

_REPEATS: Final = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)

_PATH: Final = re.compile(r"/[!-\"$->@-~]*")

LONGEST: Final = 2000
"""Characters of a sample: a pattern that needs more gets none."""


class _Unknown(Exception):
    """The pattern has a part that nothing can be made up for."""


def sample(pattern: str) -> str | None:
    """A path that a regular expression matches whole; None where none was found. What is returned has been tried.

    Args:
        pattern: as a route's `match.regex`; it is matched on bytes.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # the config's check has said them
            tree = _parser.parse(pattern)
            wanted = re.compile(pattern.encode())
    except (re.error, RecursionError, OverflowError):
        return None
    for more in (0, 1):
        try:
            text = _of(tree, more, {})
        except (_Unknown, RecursionError):
            continue
        if _PATH.fullmatch(text) and wanted.fullmatch(text.encode()):
            return text
    return None


def _of(tree: Any, more: int, groups: dict[int, str]) -> str:
    """Text for a sequence of parts, each repeated as rarely as it may be, or `more` often."""
    text = "".join(_part(operator, argument, more, groups) for operator, argument in tree)
    if len(text) > LONGEST:
        raise _Unknown
    return text


def _part(operator: Any, argument: Any, more: int, groups: dict[int, str]) -> str:
    if operator is _constants.LITERAL:
        return chr(argument)
    if operator is _constants.NOT_LITERAL:
        return next(one for one in _VISIBLE if ord(one) != argument)
    if operator is _constants.ANY:
        return _VISIBLE[0]
    if operator is _constants.IN:
        return _of_set(argument)
    if operator in _REPEATS:
        low, high, body = argument
        count = min(low + more, high)
        if count > LONGEST:
            raise _Unknown
        return "".join(_of(body, more, groups) for _ in range(count))
    if operator is _constants.BRANCH:
        return _of(argument[1][0], more, groups)
    if operator is _constants.SUBPATTERN:
        text = _of(argument[3], more, groups)
        if argument[0] is not None:
            groups[argument[0]] = text
        return text
    if operator is _constants.ATOMIC_GROUP:
        return _of(argument, more, groups)
    if operator is _constants.GROUPREF:
        return groups.get(argument, "")
    if operator in (_constants.AT, _constants.ASSERT, _constants.ASSERT_NOT):
        return ""  # whether it holds is seen when the sample is tried
    raise _Unknown


def _of_set(items: Any) -> str:
    """A character of a set such as `[0-9a-f]` or `[^/]`."""
    is_negated = items[0][0] is _constants.NEGATE
    for one in _VISIBLE:
        if any(_has(operator, argument, one) for operator, argument in items) != is_negated:
            return one
    raise _Unknown


def _has(operator: Any, argument: Any, one: str) -> bool:
    if operator is _constants.LITERAL:
        return bool(ord(one) == argument)
    if operator is _constants.RANGE:
        return bool(argument[0] <= ord(one) <= argument[1])
    if operator is _constants.CATEGORY:
        return re.match(_CATEGORIES[argument], one, re.ASCII) is not None
    return False
