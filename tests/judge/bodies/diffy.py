"""The rival: Diffy's rule, as its users know it.

Every request goes to primary, candidate and secondary. ``raw`` counts, per path with array
indices left out, the requests in which the candidate differs from the primary, ``noise``
those in which the secondary does. A path is reported when

    raw > noise  and  |raw - noise| / (raw + noise) * 100 > 20  and  |raw - noise| / total * 100 > 0.03

Arrays are sorted by their text before they are compared; arrays of different length are one
difference, of the same length one per index.
"""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from shadowproxy.judge.bodies.comparison import Answer
    from tests.judge.bodies.corpus import Triple

RELATIVE = 20.0
ABSOLUTE = 0.03


class Diffy:
    """Counts requests and applies the rule."""

    def __init__(self) -> None:
        self.total = 0
        self.raw: Counter[str] = Counter()
        self.noise: Counter[str] = Counter()

    def observe(self, triple: Triple) -> None:
        """Count one request."""
        self.total += 1
        primary, candidate, secondary = (_plain(answer) for answer in (triple.live, triple.shadow, triple.control))
        self.raw.update(set(_differences("", primary, candidate)))
        self.noise.update(set(_differences("", primary, secondary)))

    def reported(self) -> set[str]:
        """The paths that the rule reports."""
        return {path for path in self.raw if self._is_reported(self.raw[path], self.noise[path])}

    def _is_reported(self, raw: int, noise: int) -> bool:
        return raw > noise and (raw - noise) / (raw + noise) * 100 > RELATIVE and (raw - noise) / self.total * 100 > ABSOLUTE


def _plain(answer: Answer) -> dict[str, Any]:
    # Fields that every user of Diffy excludes at once are excluded for it, too.
    headers = {name.lower(): value for name, value in answer.headers if name.lower() not in {"date", "x-request-id"}}
    return {"header": headers, "body": json.loads(answer.body)}


def _differences(path: str, left: Any, right: Any) -> Iterator[str]:
    if type(left) is not type(right):
        yield path
    elif isinstance(left, dict):
        for name in left.keys() | right.keys():
            below = f"{path}.{name}" if path else name
            if name in left and name in right:
                yield from _differences(below, left[name], right[name])
            else:
                yield below
    elif isinstance(left, list):
        one, other = sorted(left, key=_text), sorted(right, key=_text)
        if len(one) != len(other):
            yield path
        else:
            for a, b in zip(one, other, strict=True):
                yield from _differences(path, a, b)
    elif left != right:
        yield path


def _text(value: Any) -> str:
    return json.dumps(value, sort_keys=True)
