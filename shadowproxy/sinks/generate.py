"""Values that a JSON Schema allows, drawn deterministically.

What is drawn is checked against its schema before it is returned, so keywords that drawing knows nothing of (`not`, `if`, ...) cannot make it
wrong: they can only make it fail. Examples in the schema come first. Depth, size and attempts are bounded.
"""

from __future__ import annotations

import base64
import math
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from random import Random
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from rstr import Rstr

from shadowproxy.sinks import strict

if TYPE_CHECKING:
    from collections.abc import Callable

    from shadowproxy.sinks.schemas import Schema, Schemas

ATTEMPTS: Final = 30
"""Draws of one value; the first use examples and optional members, later ones ever less."""

DEPTH: Final = 5
"""Below it only what is required is drawn."""

DEEPEST: Final = 30
NODES: Final = 5000
"""Values within one value."""

LONGEST: Final = 100_000
"""Characters of one string."""

_WORDS: Final = (
    "amber",
    "birch",
    "cedar",
    "delta",
    "ember",
    "fjord",
    "grove",
    "harbor",
    "iris",
    "juniper",
    "karst",
    "lotus",
    "maple",
    "north",
    "ochre",
    "pine",
)
_SPAN: Final = 1000
_EPOCH: Final = datetime(2026, 1, 1, tzinfo=UTC)
_OF_TYPE: Final = (
    ("object", ("properties", "additionalProperties", "required", "minProperties", "maxProperties")),
    ("array", ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains")),
    ("string", ("pattern", "format", "minLength", "maxLength")),
    ("number", ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf")),
)


class Impossible(Exception):
    """No value was found."""


def generate(schemas: Schemas, schema: Schema, seed: str) -> Any:
    """A value that `schema` allows; the same for the same seed.

    Raises:
        Impossible: none was found in ATTEMPTS draws.
    """
    for attempt in range(ATTEMPTS):
        drawing = Drawing(schemas, Random(f"{seed}/{attempt}"), attempt)  # noqa: S311  data for tests
        try:
            value = drawing.draw(schema, 0)
        except Impossible:
            continue
        if schemas.is_valid(schema, value):
            return value
    raise Impossible("the schema asks for what could not be found")


class Drawing:
    """One attempt.

    Args:
        schemas: resolves references.
        random: what is not determined is drawn from it.
        attempt: from 0; even ones use examples, and from a third of ATTEMPTS on optional members are left out.
    """

    def __init__(self, schemas: Schemas, random: Random, attempt: int = 0) -> None:
        self._schemas = schemas
        self._random = random
        self._has_examples = attempt % 2 == 0
        self._share = 1.0 if attempt == 0 else 0.5 if attempt < ATTEMPTS // 3 else 0.0
        self._nodes = 0

    def draw(self, schema: Schema, depth: int) -> Any:
        """A value, not checked.

        Raises:
            Impossible: this attempt leads nowhere.
        """
        self._nodes += 1
        if self._nodes > NODES or depth > DEEPEST or schema is False:
            raise Impossible
        if not isinstance(schema, dict):
            return self._word()
        whole = self._flat(schema, depth)
        if "const" in whole:
            return whole["const"]
        if self._has_examples:
            if "example" in whole:
                return whole["example"]
            if isinstance(whole.get("examples"), list) and whole["examples"]:
                return self._random.choice(whole["examples"])
        if whole.get("enum"):
            return self._random.choice(whole["enum"])
        return self._of_type(whole, depth)

    def _of_type(self, schema: dict[str, Any], depth: int) -> Any:
        kinds = schema.get("type")
        if isinstance(kinds, list):
            real = [kind for kind in kinds if kind != "null"]
            kind = self._random.choice(real) if real else "null"
        else:
            kind = kinds or next((name for name, keywords in _OF_TYPE if any(keyword in schema for keyword in keywords)), "string")
        draws: dict[str, Callable[[], Any]] = {
            "object": lambda: self._object(schema, depth),
            "array": lambda: self._array(schema, depth),
            "string": lambda: self._string(schema),
            "integer": lambda: self._number(schema, is_integer=True),
            "number": lambda: self._number(schema, is_integer=False),
            "boolean": lambda: self._random.random() < 0.5,
            "null": lambda: None,
        }
        if kind not in draws:
            raise Impossible
        return draws[kind]()

    def _flat(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        """A schema with its references, and one way through its alternatives, put into it."""
        whole = {name: value for name, value in schema.items() if name not in ("$ref", "allOf", "anyOf", "oneOf")}
        parts: list[Any] = []
        if isinstance(schema.get("$ref"), str):
            parts.append(self._schemas.resolve(schema))
        parts += schema.get("allOf", [])
        for name in ("oneOf", "anyOf"):
            if schema.get(name):
                parts.append(self._alternative(schema[name], depth))
        for part in parts:
            self._nodes += 1
            if part is False or self._nodes > NODES or depth > DEEPEST:
                raise Impossible
            if isinstance(part, dict):
                whole = _merged(whole, self._flat(part, depth + 1))
        return whole

    def _alternative(self, options: list[Any], depth: int) -> Any:
        """Any of them; deep down one that ends, if one does: a plain type before one that refers on."""
        real = [one for one in options if not (isinstance(one, dict) and one.get("type") == "null")] or options
        if depth <= DEPTH:
            return self._random.choice(real)
        return min(
            options,
            key=lambda one: 0 if not isinstance(one, dict) else 2 if "$ref" in one else 1 if "properties" in one or "items" in one else 0,
        )

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = list(dict.fromkeys(schema.get("required", [])))
        most = schema.get("maxProperties", math.inf)
        found = {name: self.draw(properties.get(name, True), depth + 1) for name in required}
        for name, inner in properties.items():
            wanted = depth < DEPTH and self._random.random() < self._share
            if name in found or not wanted or len(found) >= most or (isinstance(inner, dict) and inner.get("writeOnly")):
                continue
            spent = self._nodes
            try:
                found[name] = self.draw(inner, depth + 1)
            except Impossible:
                if self._nodes > NODES:
                    raise
                self._nodes = spent  # what is optional may be left out
        rest = schema.get("additionalProperties", True)
        while len(found) < schema.get("minProperties", 0):
            found[f"{self._word()}_{len(found)}"] = self.draw(rest, depth + 1)
        return found

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        low = schema.get("minItems", 0)
        high = schema.get("maxItems", max(low, 3))
        prefix = schema.get("prefixItems", [])
        usual = low if depth >= DEPTH else max(low, 1)
        count = self._random.randint(min(usual, high), min(high, usual + 2) if depth < DEPTH else min(usual, high))
        items = schema.get("items", True)
        found: list[Any] = [self.draw(one, depth + 1) for one in prefix[:high]]
        if "contains" in schema:
            found.append(self.draw(schema["contains"], depth + 1))
        seen = {strict.dumps(one) for one in found}
        tries = 0
        while len(found) < count and tries < 10 * count:
            tries += 1
            try:
                value = self.draw(items, depth + 1)
            except Impossible:
                break
            text = strict.dumps(value)
            if not schema.get("uniqueItems") or text not in seen:
                seen.add(text)
                found.append(value)
        return found

    def _number(self, schema: dict[str, Any], *, is_integer: bool) -> float:
        low, high = _bounds(schema)
        step = schema.get("multipleOf") or (1 if is_integer else 0)
        if is_integer and not float(step).is_integer():
            step = Fraction(str(step)).numerator  # the least whole number that is a multiple of it
        if not step:
            return low if low == high else round(self._random.uniform(low, high), 2) if high - low > 1 else self._random.uniform(low, high)
        first, last = math.ceil(low / step), math.floor(high / step)
        if first > last:
            raise Impossible
        number = self._random.randint(first, last) * step
        return int(number) if is_integer or float(number).is_integer() else number

    def _string(self, schema: dict[str, Any]) -> str:
        low, high = schema.get("minLength", 0), schema.get("maxLength", LONGEST)
        if low > min(high, LONGEST):
            raise Impossible
        if isinstance(schema.get("pattern"), str):
            return self._matching(schema["pattern"], low, high)
        drawn = FORMATS.get(str(schema.get("format")), _text)(self._random)
        if low <= len(drawn) <= high:
            return drawn
        if schema.get("format") in FORMATS and schema.get("format") not in ("password", "byte"):
            raise Impossible
        while len(drawn) < low:
            drawn += f" {self._word()}"
        return drawn[:high]

    def _matching(self, pattern: str, low: int, high: int) -> str:
        strings = Rstr(self._random)
        for _ in range(20):
            try:
                drawn = str(strings.xeger(pattern))
            except (LookupError, ValueError, TypeError, RuntimeError):
                # What of a pattern the library cannot draw it says in each of these ways, nesting that is too deep included.
                raise Impossible from None
            if low <= len(drawn) <= high:
                return drawn
        raise Impossible

    def _word(self) -> str:
        return _word(self._random)


def _word(random: Random) -> str:
    return random.choice(_WORDS)


def _text(random: Random) -> str:
    return f"{_word(random)} {_word(random)}"


def _moment(random: Random) -> datetime:
    return _EPOCH + timedelta(seconds=random.randrange(365 * 86400))


def _email(random: Random) -> str:
    return f"{_word(random)}.{random.randrange(1000)}@example.com"  # RFC 2606: nobody's


FORMATS: Final[dict[str, Callable[[Random], str]]] = {
    "date-time": lambda random: _moment(random).strftime("%Y-%m-%dT%H:%M:%SZ"),
    "date": lambda random: _moment(random).strftime("%Y-%m-%d"),
    "time": lambda random: _moment(random).strftime("%H:%M:%SZ"),
    "duration": lambda random: f"PT{random.randrange(1, 60)}M",
    "email": _email,
    "idn-email": _email,
    "hostname": lambda random: f"{_word(random)}.example",
    "idn-hostname": lambda random: f"{_word(random)}.example",
    "ipv4": lambda random: f"192.0.2.{random.randrange(1, 255)}",  # RFC 5737: nobody's
    "ipv6": lambda random: f"2001:db8::{random.randrange(1, 65535):x}",  # RFC 3849
    "uri": lambda random: f"https://example.com/{_word(random)}",
    "url": lambda random: f"https://example.com/{_word(random)}",
    "iri": lambda random: f"https://example.com/{_word(random)}",
    "uri-reference": lambda random: f"/{_word(random)}",
    "uuid": lambda random: str(UUID(int=random.getrandbits(128), version=4)),
    "byte": lambda random: base64.b64encode(_text(random).encode()).decode(),
    "password": lambda random: f"{_word(random)}-{random.randrange(10**6)}",
}
"""How strings of each format are drawn: addresses and names that are reserved for examples, so that nobody is written to."""


def _bounds(schema: dict[str, Any]) -> tuple[float, float]:
    """Where a number may be drawn from: what the schema says, or _SPAN beside it."""
    lows = [schema[name] for name in ("minimum",) if name in schema]
    highs = [schema[name] for name in ("maximum",) if name in schema]
    if "exclusiveMinimum" in schema:
        low = schema["exclusiveMinimum"]
        lows.append(low + 1 if schema.get("type") == "integer" and float(low).is_integer() else math.nextafter(low, math.inf))
    if "exclusiveMaximum" in schema:
        high = schema["exclusiveMaximum"]
        highs.append(high - 1 if schema.get("type") == "integer" and float(high).is_integer() else math.nextafter(high, -math.inf))
    low = max(lows) if lows else min(highs) - _SPAN if highs else 0
    high = min(highs) if highs else low + _SPAN
    if low > high:
        raise Impossible
    return low, high


def _merged(one: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Both schemas at once, as far as drawing looks at them."""
    merged = {**one, **other}
    for name in set(one) & set(other):
        mine, theirs = one[name], other[name]
        match name:
            case "properties":
                both = {key: {"allOf": [mine[key], theirs[key]]} for key in mine.keys() & theirs.keys()}
                merged[name] = {**mine, **theirs, **both}
            case "required":
                merged[name] = [*mine, *theirs]
            case "enum":
                merged[name] = [value for value in mine if value in theirs]
                if not merged[name]:
                    raise Impossible
            case "type":
                merged[name] = _shared_types(mine, theirs)
            case "minimum" | "exclusiveMinimum" | "minLength" | "minItems" | "minProperties":
                merged[name] = max(mine, theirs)
            case "maximum" | "exclusiveMaximum" | "maxLength" | "maxItems" | "maxProperties":
                merged[name] = min(mine, theirs)
            case "items":
                merged[name] = {"allOf": [mine, theirs]}
    return merged


def _shared_types(mine: Any, theirs: Any) -> Any:
    first, second = ([one] if isinstance(one, str) else list(one) for one in (mine, theirs))
    shared = [kind for kind in first if kind in second]
    if not shared and {"integer", "number"} <= {*first, *second}:
        shared = ["integer"]
    if not shared:
        raise Impossible
    return shared[0] if len(shared) == 1 else shared
