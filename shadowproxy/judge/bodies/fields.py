"""Two JSON values compared field by field.

The rules of this file:

* one walk, bounded in nodes and depth; what is deeper is compared whole, what comes after the last node not at all;
* a member is itself under its name, an element under `[*]`;
* numbers are equal when they are the same number: 1 and 1.0 are, 1 and "1" or true are not;
* null and absent differ less than a value and absent, and are a kind of their own;
* the look of a value excuses nothing here: it is noted, and the evidence weighs it.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Final

from shadowproxy.judge.bodies import forms, paths
from shadowproxy.judge.bodies.difference import Difference, Differences, Excuse, Kind, direction, preview
from shadowproxy.judge.bodies.documents import Repeated
from shadowproxy.judge.bodies.forms import Form
from shadowproxy.judge.bodies.rules import RELATIVE, Order, Rules, Treatment

if TYPE_CHECKING:
    from collections.abc import Hashable, Sequence

    from shadowproxy.judge.bodies.documents import Json
    from shadowproxy.judge.bodies.rules import Place

KEY_NAMES: Final = ("id", "uuid", "key", "sku", "code", "slug", "name", "_id")
"""Members that name an element of an array, the most telling first."""

_TYPES: Final = {
    type(None): "null",
    bool: "boolean",
    int: "number",
    Decimal: "number",
    str: "string",
    list: "array",
    dict: "object",
    Repeated: "object",
}
_RANKS: Final = ("null", "boolean", "number", "string", "array", "object")
_ID_LENGTH: Final = 128
_FACTOR: Final = 10


def type_of(value: Json) -> str:
    """The JSON type of a value; `NotANumber` counts as a number that it is not."""
    return _TYPES.get(type(value), "number" if not isinstance(value, str) else "string")


class Walk:
    """Compares values of one pair and keeps what differs.

    Args:
        found: where differences go.
        rules: what is pinned.
        watched: paths whose equal values are of interest, because different ones there may be ids.
    """

    def __init__(self, found: Differences, rules: Rules, watched: frozenset[str] = frozenset()) -> None:
        self.found = found
        self.rules = rules
        self.watched = watched
        self.agreed: Counter[str] = Counter()
        self.nodes = found.bounds.nodes
        self._keys = found.bounds.nodes  # values that may be looked at to align arrays: beyond it, arrays are compared by index

    @property
    def is_exhausted(self) -> bool:
        """Whether the bound of nodes was reached: what came after was not compared."""
        return self.nodes <= 0

    def compare(self, path: str, live: Json, shadow: Json, depth: int = 0) -> None:
        """Find what differs between `live` and `shadow` at `path`. Never raises for values that documents reads."""
        self.nodes -= 1
        if self.nodes < 0 or (live is shadow and not self.watched):
            return
        place = self.rules.at(path)
        if place.treat is Treatment.IGNORE:
            return
        if type(live) is type(shadow) or type_of(live) == type_of(shadow):
            if isinstance(live, dict | list):
                self._containers(path, place, live, shadow, depth)
            elif isinstance(live, str):
                self._strings(path, place, live, shadow)
            else:
                self._scalars(path, place, live, shadow)
            return
        rank = direction(_RANKS.index(type_of(live)), _RANKS.index(type_of(shadow)))
        self._add(path, Kind.TYPE, f"{type_of(live)} {preview(live)}", f"{type_of(shadow)} {preview(shadow)}", turn=rank)

    def _add(self, path: str, kind: Kind, live: str, shadow: str, *, turn: int = 0) -> None:
        self.found.add(Difference(path, kind, live[:160], shadow[:160], turn))

    def _containers(self, path: str, place: Place, live: Json, shadow: Json, depth: int) -> None:
        if depth >= self.found.bounds.depth:
            if not _is_same(live, shadow):
                self._add(path, Kind.VALUE, preview(live), preview(shadow))
        elif isinstance(live, dict):
            self._objects(path, live, shadow, depth)
        else:
            self._arrays(path, place, live, shadow, depth)

    def _objects(self, path: str, live: dict[str, Json], shadow: dict[str, Json], depth: int) -> None:
        is_watching = bool(self.watched)
        for name, value in live.items():
            if self.nodes <= 0:
                return
            if name in shadow:
                other = shadow[name]
                # Most members are equal scalars: a quarter of the time is saved by not asking where they are.
                if not is_watching and type(value) is type(other) and not isinstance(value, dict | list) and value == other:
                    self.nodes -= 1
                    continue
                self.compare(paths.member(path, name), value, other, depth + 1)
            else:
                self._absent(paths.member(path, name), Kind.MISSING, value)
        for name in shadow.keys() - live.keys() if len(shadow) > len(live) or shadow.keys() != live.keys() else ():
            self._absent(paths.member(path, name), Kind.EXTRA, shadow[name])
        if isinstance(live, Repeated) or isinstance(shadow, Repeated):
            self._repeated(path, live, shadow)

    def _repeated(self, path: str, live: dict[str, Json], shadow: dict[str, Json]) -> None:
        one, other = (value.names if isinstance(value, Repeated) else frozenset() for value in (live, shadow))
        if one != other:
            self._add(path, Kind.REPEATED, ", ".join(sorted(one)[:8]), ", ".join(sorted(other)[:8]), turn=direction(len(one), len(other)))

    def _absent(self, path: str, kind: Kind, value: Json) -> None:
        if self.rules.at(path).treat is Treatment.IGNORE:
            return
        shown, turn = preview(value), 1 if kind is Kind.MISSING else -1
        kind = Kind.NULL if value is None else kind
        if turn > 0:
            self._add(path, kind, shown, "absent", turn=turn)
        else:
            self._add(path, kind, "absent", shown, turn=turn)

    def _arrays(self, path: str, place: Place, live: list[Json], shadow: list[Json], depth: int) -> None:
        below = paths.element(path)
        if len(live) != len(shadow):
            self._add(path, Kind.LENGTH, f"{len(live)} elements", f"{len(shadow)} elements", turn=direction(len(live), len(shadow)))
        if place.order is Order.ORDERED:
            self._beside(below, zip(live, shadow, strict=False), depth)
            return
        if len(live) == len(shadow) <= 1:
            self._beside(below, zip(live, shadow, strict=True), depth)
            return
        keyed = _by_key(live, shadow, (place.key,) if place.order is Order.KEYED else KEY_NAMES)
        is_moved = self._keyed(below, *keyed, depth) if keyed else self._aligned(below, live, shadow, depth)
        if is_moved and place.order is Order.AUTO:
            self._add(path, Kind.ORDER, preview(live), preview(shadow))

    def _beside(self, path: str, pairs: zip[tuple[Json, Json]], depth: int) -> None:
        for one, other in pairs:
            if self.nodes <= 0:
                return
            self.compare(path, one, other, depth + 1)

    def _keyed(self, path: str, live: dict[Hashable, Json], shadow: dict[Hashable, Json], depth: int) -> bool:
        """Compare elements of the same name; True when their order differs."""
        for key, value in live.items():
            if key in shadow:
                self.compare(path, value, shadow[key], depth + 1)
            else:
                self._absent(path, Kind.MISSING, value)
        for key, value in shadow.items():
            if key not in live:
                self._absent(path, Kind.EXTRA, value)
        return [key for key in live if key in shadow] != [key for key in shadow if key in live]

    def _aligned(self, path: str, live: list[Json], shadow: list[Json], depth: int) -> bool:
        """Put equal elements beside each other, compare the rest in their order; True when the equal ones are in another order."""
        one, other = [self._key(value, depth) for value in live], [self._key(value, depth) for value in shadow]
        if one == other or self._keys <= 0:
            if one != other or self.watched:
                self._beside(path, zip(live, shadow, strict=False), depth)
            return False
        kept_live, rest_live = _split(one, live, Counter(other))
        kept_shadow, rest_shadow = _split(other, shadow, Counter(one))
        self._beside(path, zip(rest_live, rest_shadow, strict=False), depth)
        return kept_live != kept_shadow

    def _key(self, value: Json, depth: int) -> Hashable:
        """Something hashable that is equal for equal values only; unique where the bounds end."""
        self._keys -= 1
        if isinstance(value, dict | list):
            if self._keys <= 0 or depth >= self.found.bounds.depth:
                return id(value)
            if isinstance(value, list):
                return ("array", *(self._key(element, depth + 1) for element in value))
            return frozenset((name, self._key(element, depth + 1)) for name, element in value.items())
        return (type_of(value), value)

    def _scalars(self, path: str, place: Place, live: Json, shadow: Json) -> None:
        if live == shadow:
            self._agree(path)
            return
        if not (isinstance(live, int | Decimal) and isinstance(shadow, int | Decimal)) or isinstance(live, bool):
            self._add(path, Kind.VALUE, preview(live), preview(shadow), turn=direction(live, shadow))
            return
        if is_near(live, shadow, place):
            return
        name = paths.last_name(path)
        excuse = Excuse.NONE
        ids: tuple[tuple[str, str], ...] = ()
        if place.treat is not Treatment.EQUAL and (forms.is_clock_number(live, shadow) or forms.is_duration_name(name)):
            excuse = Excuse.CLOCK
        elif isinstance(live, int) and isinstance(shadow, int) and (place.treat is Treatment.IDS or forms.is_id_name(name)):
            excuse, ids = Excuse.GENERATED, ((preview(live), preview(shadow)),)
        kind = Kind.VALUE if ids or excuse or not _is_far(live, shadow) else Kind.MAGNITUDE
        self.found.add(Difference(path, kind, preview(live), preview(shadow), direction(live, shadow), excuse, ids))

    def _strings(self, path: str, place: Place, live: str, shadow: str) -> None:
        if live == shadow:
            self._agree(path)
            return
        one, other = forms.form_of(live), forms.form_of(shadow)
        kind, excuse = Kind.VALUE, Excuse.NONE
        ids: tuple[tuple[str, str], ...] = ()
        is_pinned = place.treat is Treatment.EQUAL
        if place.treat is Treatment.IDS or (not is_pinned and self._is_id(path, one, other, live, shadow)):
            ids = ((live, shadow),)
            excuse = Excuse.GENERATED
        elif one is not other:
            kind = Kind.FORMAT
            if {one, other} == {Form.INTEGER, Form.DECIMAL}:
                kind = _numeric(live, shadow, place) or Kind.VALUE
                if is_near_text(live, shadow, place):
                    return
        elif one is Form.TIMESTAMP:
            is_clock = forms.is_clock_text(live, shadow)
            kind, excuse = (
                (Kind.VALUE, Excuse.CLOCK) if is_clock and not is_pinned else (Kind.VALUE if is_clock else Kind.MAGNITUDE, Excuse.NONE)
            )
        elif one in (Form.INTEGER, Form.DECIMAL):
            if is_near_text(live, shadow, place):
                return
            kind = _numeric(live, shadow, place) or Kind.VALUE
        elif not is_pinned:
            ids = forms.ids_in(live, shadow)
            if ids:
                excuse = Excuse.GENERATED
            elif forms.settled(live) == forms.settled(shadow):
                excuse = _embedded(live, shadow)
        self.found.add(Difference(path, kind, preview(live), preview(shadow), direction(live, shadow), excuse, ids))

    def _is_id(self, path: str, one: Form, other: Form, live: str, shadow: str) -> bool:
        if one is not other or max(len(live), len(shadow)) > _ID_LENGTH:
            return False
        if one in forms.IDS:
            return True
        return one in (Form.INTEGER, Form.TEXT) and " " not in live and " " not in shadow and forms.is_id_name(paths.last_name(path))

    def _agree(self, path: str) -> None:
        if path in self.watched:
            self.agreed[path] += 1


def is_near(live: int | Decimal, shadow: int | Decimal, place: Place) -> bool:
    """Whether two numbers are as near as the rules ask; whole numbers must be equal unless a rule says otherwise."""
    if place.relative is None and isinstance(live, int) and isinstance(shadow, int):
        return live == shadow
    one, other = _as_float(live), _as_float(shadow)
    if one in (float("inf"), float("-inf")) or other in (float("inf"), float("-inf")):
        return False  # beyond floats only digits tell, and they differ
    relative = RELATIVE if place.relative is None else place.relative
    return abs(one - other) <= max(place.absolute, relative * max(abs(one), abs(other)))


def is_near_text(live: str, shadow: str, place: Place) -> bool:
    """`is_near` for numbers written as strings; only where a rule asks for it, because their digits are text."""
    if place.relative is None:
        return False
    return is_near(_number(live), _number(shadow), place)


def _number(text: str) -> Decimal:
    return Decimal(text.replace(",", "."))


def _numeric(live: str, shadow: str, place: Place) -> Kind | None:
    return Kind.MAGNITUDE if _is_far(_number(live), _number(shadow)) and place.treat is not Treatment.IDS else None


def _as_float(number: int | Decimal) -> float:
    try:
        return float(number)
    except OverflowError:
        return float("inf") if number > 0 else float("-inf")


def _is_far(live: int | Decimal, shadow: int | Decimal) -> bool:
    one, other = _as_float(live), _as_float(shadow)
    if one * other < 0:
        return True
    least, most = sorted((abs(one), abs(other)))
    return least > 0 and most >= _FACTOR * least


def _embedded(live: str, shadow: str) -> Excuse:
    """Why two strings differ that are alike but for times and ids in them."""
    return Excuse.GENERATED if forms.settled(live).count("<id>") and live != shadow else Excuse.CLOCK


def _is_same(live: Json, shadow: Json) -> bool:
    """Whether two values are the same to the last leaf; without recursion, because documents may be deeper than the stack."""
    pairs = [(live, shadow)]
    while pairs:
        one, other = pairs.pop()
        if type_of(one) != type_of(other):
            return False
        if isinstance(one, dict):
            if one.keys() != other.keys():
                return False
            pairs.extend((value, other[name]) for name, value in one.items())
        elif isinstance(one, list):
            if len(one) != len(other):
                return False
            pairs.extend(zip(one, other, strict=True))
        elif one != other:
            return False
    return True


def _split(keys: Sequence[Hashable], values: Sequence[Json], others: Counter[Hashable]) -> tuple[list[Hashable], list[Json]]:
    """The keys that the other side has too, in order, and the values that it has not."""
    kept: list[Hashable] = []
    rest: list[Json] = []
    for key, value in zip(keys, values, strict=True):
        if others[key] > 0:
            others[key] -= 1
            kept.append(key)
        else:
            rest.append(value)
    return kept, rest


def _by_key(live: list[Json], shadow: list[Json], names: Sequence[str]) -> tuple[dict[Hashable, Json], dict[Hashable, Json]] | None:
    """Both arrays as elements by name, if all elements are objects that one of `names` tells apart, and at least half of the fewer have a partner."""
    if not live or not shadow or not (isinstance(live[0], dict) and isinstance(shadow[0], dict)):
        return None
    for name in names:
        if name not in live[0] or name not in shadow[0]:
            continue
        one, other = _named(live, name), _named(shadow, name)
        if one is not None and other is not None and 2 * len(one.keys() & other.keys()) >= min(len(one), len(other)):
            return one, other
    return None


def _named(values: list[Json], name: str) -> dict[Hashable, Json] | None:
    found: dict[Hashable, Json] = {}
    for value in values:
        key = value.get(name) if isinstance(value, dict) else None
        if not isinstance(key, str | int) or (key_of := (type_of(key), key)) in found:
            return None
        found[key_of] = value
    return found
