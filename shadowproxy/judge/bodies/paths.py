"""Where in an answer something is: paths, and the patterns that find them.

A path is what people read in reports and write in rules:

    status    header.cache-control    body.items[*].price    body.users{*}["first name"]

A member is joined by a dot, or quoted in brackets when its name is no word; any index is
`[*]`; a member whose name looks like an id is `{*}`, because it is data and not a field.

In a pattern `*` stands for any part of one name, `**` for any number of steps:

    body.**.updated_at    header.x-*    body.items[*].*_id    body.cart.**
"""

from __future__ import annotations

import fnmatch
import json
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Sequence

STATUS: Final = "status"
BODY: Final = "body"
HEADER: Final = "header"

LENGTH_LIMIT: Final = 512
"""Characters of a path; deeper places are told by what is above them."""

ELEMENT: Final = "[*]"
ENTRY: Final = "{*}"

_PLAIN: Final = re.compile(r"[A-Za-z_$@][\w$@-]*", re.ASCII)
_ID_NAME: Final = re.compile(
    r"\d+|[0-9a-fA-F]{8}-[0-9a-fA-F-]{27}|(?=.*\d)[0-9a-fA-F]{16,}|[0-7][0-9A-HJKMNP-TV-Z]{25}|(?=.*\d)[a-z]{2,8}_[0-9A-Za-z]{8,}", re.ASCII
)
_STEP: Final = re.compile(
    r"""\.?(?P<quoted>\["(?:[^"\\]|\\.)*"\])|\.?(?P<index>\[\*\]|\{\*\})|\.?(?P<name>[^.\[{]+)|(?P<rest>.)""", re.DOTALL
)


@lru_cache(maxsize=4096)
def _step(name: str) -> str:
    if _PLAIN.fullmatch(name):
        return f".{name}"
    if _ID_NAME.fullmatch(name):
        return ENTRY
    return f"[{json.dumps(name[:80], ensure_ascii=False)}]"


def member(path: str, name: str) -> str:
    """The path of the member `name` of the object at `path`."""
    return path + _step(name) if len(path) < LENGTH_LIMIT else path


def element(path: str) -> str:
    """The path of any element of the array at `path`."""
    return path + ELEMENT if len(path) < LENGTH_LIMIT else path


def header(name: str) -> str:
    """The path of a header field."""
    return f"{HEADER}.{name.lower()}"


def last_name(path: str) -> str:
    """The last name in `path`, indices left out: what says what kind of thing is there."""
    for step in reversed(steps(path)):
        if step not in (ELEMENT, ENTRY):
            return step
    return ""


@lru_cache(maxsize=4096)
def steps(path: str) -> tuple[str, ...]:
    """A path or a pattern, step by step. Never raises: what is odd is a step of its own."""
    found = []
    for match in _STEP.finditer(path):
        if match["quoted"]:
            try:
                found.append(str(json.loads(match["quoted"][1:-1])))
            except ValueError:
                found.append(match["quoted"])
        else:
            found.append(match["index"] or match["name"] or match["rest"])
    return tuple(found)


class Pattern:
    """A pattern, ready to be asked whether it finds a path."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps = tuple(_one(step) for step in steps(text))

    def __repr__(self) -> str:
        return f"Pattern({self.text!r})"

    def finds(self, path: str) -> bool:
        """Whether the whole of `path` is what the pattern describes."""
        return _finds(self._steps, steps(path))


_ANY: Final = "**"


def _one(step: str) -> str | re.Pattern[str]:
    if step == _ANY or "*" not in step or step in (ELEMENT, ENTRY):
        return step
    return re.compile(fnmatch.translate(step.replace("[", "[[]").replace("?", "[?]")))


def _finds(pattern: Sequence[str | re.Pattern[str]], path: Sequence[str]) -> bool:
    """Whether `pattern` takes all of `path`: one row of the usual table for wildcards, so never exponential."""
    reached = [True, *(False for _ in path)]
    for step in pattern:
        if step == _ANY:
            at = reached.index(True) if True in reached else len(reached)
            reached = [index >= at for index in range(len(reached))]
            continue
        reached = [False, *(before and _is_one(step, name) for before, name in zip(reached, path, strict=False))]
    return reached[-1]


def _is_one(step: str | re.Pattern[str], name: str) -> bool:
    return step == name if isinstance(step, str) else step.match(name) is not None
