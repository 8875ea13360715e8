"""JSON bodies with something wrong in them: a member that is missing, null, or of another type.

The body is read and written anew, so what is not damaged keeps its meaning and not its spacing; numbers are doubles where
they have a fraction. What cannot be read without loss of meaning is left as it is.
"""

from __future__ import annotations

import json
from typing import Any, Final

from shadowproxy.config.experiment import Damage
from shadowproxy.dataplane.distort import field_of
from shadowproxy.dataplane.response_lines import ResponseHead
from shadowproxy.policy.faults import DamagePlan

JSON_LIMIT: Final = 1048576
"""Bytes of a body that is held until it is whole, and read at once (about 20 ms of the loop)."""

_OTHER: Final[dict[type, Any]] = {type(None): 0, str: 0, list: {}, dict: []}


def is_damageable(head: ResponseHead) -> bool:
    """Whether an answer says that it is a whole JSON document without a coding, and not that it is longer than JSON_LIMIT."""
    kind = field_of(head, b"content-type").partition(b";")[0].strip().lower()
    is_json = kind == b"application/json" or kind.endswith(b"+json")
    coding = field_of(head, b"content-encoding").lower()
    return is_json and coding in (b"", b"identity") and head.status != 206 and head.length <= JSON_LIMIT


def damaged(body: bytes, damages: tuple[DamagePlan, ...]) -> bytes | None:
    """The body with all that damage done; None where it is no JSON, or has nothing at any of the paths."""
    try:
        root = [json.loads(body, parse_constant=_refuse)]
    except (ValueError, RecursionError):
        return None
    count = sum(_strike(root, (0, *damage.path), damage.do) for damage in damages)
    if not count:
        return None
    if not root:
        return b""
    try:
        return json.dumps(root[0], allow_nan=False, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return None


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _strike(within: Any, path: tuple[str | int | None, ...], do: Damage) -> int:
    """Damage what is at `path` within a container; how many members that were."""
    step = path[0]
    if isinstance(step, str):
        places: list[Any] = [step] if isinstance(within, dict) and step in within else []
    elif not isinstance(within, list):
        places = []
    elif step is None:
        places = list(range(len(within)))
    else:
        places = [step] if step < len(within) else []
    if len(path) > 1:
        return sum(_strike(within[place], path[1:], do) for place in places)
    # From the end, so that what is left keeps its place while elements are dropped.
    for place in reversed(places):
        if do is Damage.DROP:
            del within[place]
        else:
            within[place] = None if do is Damage.NULL else _retyped(within[place])
    return len(places)


def _retyped(value: Any) -> Any:
    """A value of another type: numbers and truth values become text, text and null 0, lists objects and objects lists."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return str(value)
    return _OTHER[type(value)]
