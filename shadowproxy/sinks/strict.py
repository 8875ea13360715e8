"""JSON as RFC 8259 has it, and nothing that two readers could read differently.

What is refused beyond broken syntax: names that come twice in an object (section 4), NaN and infinities, numbers that no
double holds, nesting deeper than DEPTH_LIMIT, and bytes that are not UTF-8 (section 8.1). So whatever was read
can be written again, and means the same.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final, NoReturn

DEPTH_LIMIT: Final = 64
"""Nested arrays and objects: far beyond any API's, far below what recursion costs."""

_OPENING: Final = (b"[", b"{")


def loads(body: bytes) -> Any:
    """Read one JSON text.

    Raises:
        ValueError: it is none, or one of those above; the text says why, without quoting it.
    """
    try:
        value = _DECODER.decode(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise ValueError("not UTF-8") from None
    except RecursionError:
        raise ValueError(f"nested deeper than {DEPTH_LIMIT}") from None
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from None
    # Each level opens with a bracket: few brackets cannot nest deep, and most bodies need no walk.
    if sum(body.count(bracket) for bracket in _OPENING) > DEPTH_LIMIT and _is_deeper(value):
        raise ValueError(f"nested deeper than {DEPTH_LIMIT}")
    return value


def dumps(value: Any) -> str:
    """Write a JSON text in ASCII, compactly: also what no UTF-8 can say, such as half a surrogate pair."""
    return _ENCODER.encode(value)


def _is_deeper(value: Any) -> bool:
    level = [value]
    for _ in range(DEPTH_LIMIT):
        containers = [one for one in level if isinstance(one, dict | list)]
        if not containers:
            return False
        level = [inner for one in containers for inner in (one.values() if isinstance(one, dict) else one)]
    return any(isinstance(one, dict | list) for one in level)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name stands twice in an object")
    return found


def _integer(text: str) -> int:
    if len(text) > 309:  # the longest that a double holds; also keeps int() from quadratic work
        raise ValueError("a number is too large")
    return int(text)


def _float(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError("a number is too large")
    return number


def _constant(text: str) -> NoReturn:
    raise ValueError(f"JSON has no {text}")


_DECODER: Final = json.JSONDecoder(object_pairs_hook=_object, parse_int=_integer, parse_float=_float, parse_constant=_constant)
_ENCODER: Final = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
