"""What the ready-made sinks share: items of one tenant as JSON objects, and answers by method and path."""

from __future__ import annotations

import secrets
import time
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.sinks import strict
from shadowproxy.sinks.call import Answer, Refused, answer_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.shelf import Shelf

LISTED: Final = 100
"""Items of one list, unless the query asks for fewer or more."""

LISTED_MOST: Final = 1000


class Notebook:
    """The items that one ready-made sink keeps.

    Args:
        sink: its name.
        shelf: where they are kept.
        is_asked: whether the proxy asks live where the answer is 421.
    """

    def __init__(self, sink: str, shelf: Shelf, *, is_asked: bool) -> None:
        self._sink = sink
        self._shelf = shelf
        self._is_asked = is_asked

    def get(self, call: Call, kind: str, key: str) -> dict[str, Any] | None:
        """One item of the call's tenant."""
        item = self._shelf.get(self._sink, call.tenant, kind, key)
        return None if item is None or item.body is None else _object(item.body)

    def put(self, call: Call, kind: str, key: str, value: dict[str, Any]) -> dict[str, Any]:
        """Keep an item, in place of the one before it."""
        self._shelf.put(self._sink, call.tenant, kind, key, strict.dumps(value))
        return value

    def all(self, call: Call, kind: str) -> list[dict[str, Any]]:
        """Every item of a kind, in the order of creation."""
        items = self._shelf.of_collection(self._sink, call.tenant, kind)
        return [_object(item.body) for item in items if item.body is not None]

    def drop(self, call: Call, kind: str, key: str) -> bool:
        """Forget an item; whether there was one."""
        return self._shelf.drop(self._sink, call.tenant, kind, key)

    def listed(self, call: Call, kind: str, name: str) -> Answer:
        """The items of a kind as a list, the newest first: {name: [...], total: n}.

        Raises:
            Refused: 400, the query's `limit` is no number.
        """
        text = call.query.get("limit", str(LISTED))
        if not (text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= LISTED_MOST):
            raise Refused(400, "bad_limit", f"limit must be from 1 to {LISTED_MOST}")
        found = self.all(call, kind)
        return answer_json(200, {name: found[::-1][: int(text)], "total": len(found)})

    def shown(self, call: Call, kind: str, key: str) -> Answer:
        """One item, or what to say when there is none: 421 where live is asked then, else 404.

        Raises:
            Refused: 404.
        """
        value = self.get(call, kind, key)
        if value is not None:
            return answer_json(200, value)
        if self._is_asked:
            return Answer(421)
        raise Refused(404, "not_found", "there is no such item")


def fresh_id(prefix: str) -> str:
    """An id that no real service issues: it says that it is a test's."""
    return f"{prefix}_test_{secrets.token_hex(12)}"


def now_s(clock: Callable[[], float] = time.time) -> int:
    """Seconds since 1970, whole, as payment services write times."""
    return int(clock())


def _object(body: str) -> dict[str, Any]:
    value = strict.loads(body.encode())
    assert isinstance(value, dict)
    return value
