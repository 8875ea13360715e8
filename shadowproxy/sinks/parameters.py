"""Parameters of OpenAPI operations: from text to the type that the schema asks for, in the styles that are in use.

Path and header parameters are `simple`, query parameters `form` (exploded or not), as they are by default. Other styles, and cookies, are
not checked. What cannot be read as the schema's type stays text, and the schema then says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from shadowproxy.sinks import strict

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from shadowproxy.sinks.call import Call
    from shadowproxy.sinks.schemas import Schema, Schemas

_INTEGER: Final = re.compile(r"-?[0-9]{1,300}")
_NUMBER: Final = re.compile(r"-?[0-9]{1,300}(\.[0-9]{1,300})?([eE][+-]?[0-9]{1,3})?")
_UNCHECKED: Final = frozenset({"accept", "content-type", "authorization"})
"""Header parameters that OpenAPI says to ignore (Parameter Object)."""


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of an operation."""

    schemas: Schemas
    name: str
    where: str
    schema: Schema
    is_required: bool
    is_exploded: bool
    is_json: bool

    def problems(self, call: Call, captured: Mapping[str, str]) -> list[tuple[str, str]]:
        """What is wrong with it in `call`: (where, what)."""
        place = f"{self.where}.{self.name}"
        texts = self._texts(call, captured)
        if not texts:
            return [(place, "is required")] if self.is_required else []
        return self.schemas.problems(self.schema, self._value(texts), place, is_request=True)

    def _texts(self, call: Call, captured: Mapping[str, str]) -> list[str]:
        match self.where:
            case "path":
                return [captured[self.name]] if self.name in captured else []
            case "query":
                return [value for name, value in call.pairs if name in (self.name, f"{self.name}[]")]
            case _:
                value = call.headers.get(self.name.lower())
                return [] if value is None else [value]

    def _value(self, texts: list[str]) -> Any:
        if self.is_json:
            try:
                return strict.loads(texts[0].encode("utf-8", "replace"))
            except ValueError:
                return texts[0]
        if "array" in types_of(self.schemas, self.schema):
            parts = texts if self.where == "query" and self.is_exploded else [part.strip() for part in texts[0].split(",")]
            return typed_items(self.schemas, self.schema, parts)
        return typed(self.schemas, self.schema, texts[0])


def read_parameters(schemas: Schemas, listed: Sequence[Any]) -> tuple[Parameter, ...]:
    """The parameters that are checked; of two with one name and place the later, the operation's own, counts."""
    found: dict[tuple[str, str], Parameter] = {}
    for one in listed:
        parameter = schemas.resolve(one)
        name, where = str(parameter.get("name", "")), str(parameter.get("in", ""))
        usual = {"path": "simple", "header": "simple", "query": "form"}.get(where)
        media = next(iter(parameter.get("content", {}).values()), None)
        schema = media.get("schema", True) if media is not None else parameter.get("schema", True)
        is_plain = usual == parameter.get("style", usual) and "object" not in types_of(schemas, schema)
        if usual is None or not (is_plain or media is not None) or (where == "header" and name.lower() in _UNCHECKED):
            continue
        is_exploded = bool(parameter.get("explode", where == "query"))
        is_required = parameter.get("required") is True or where == "path"
        found[name, where] = Parameter(schemas, name, where, schema, is_required, is_exploded, media is not None)
    return tuple(found.values())


def form_value(schemas: Schemas, schema: Schema, form: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a form, each of the type that the schema's property has."""
    whole = schemas.resolve(schema)
    properties = whole.get("properties", {}) if isinstance(whole, dict) else {}
    return {name: typed(schemas, properties.get(name, True), value) for name, value in form.items()}


def types_of(schemas: Schemas, schema: Schema) -> list[str]:
    """The types that a schema names itself."""
    whole = schemas.resolve(schema)
    kinds = whole.get("type", []) if isinstance(whole, dict) else []
    return [kinds] if isinstance(kinds, str) else list(kinds)


def typed_items(schemas: Schemas, schema: Schema, texts: Sequence[str]) -> list[Any]:
    """The items of an array, each of the type that its schema has."""
    whole = schemas.resolve(schema)
    items = whole.get("items", True) if isinstance(whole, dict) else True
    return [typed(schemas, items, text) for text in texts]


def typed(schemas: Schemas, schema: Schema, text: str) -> Any:
    """A text as a value of the schema's type, where it can be one."""
    kinds = types_of(schemas, schema)
    if "integer" in kinds and _INTEGER.fullmatch(text):
        return int(text)
    if "number" in kinds and _NUMBER.fullmatch(text):
        return float(text)
    if "boolean" in kinds and text in ("true", "false"):
        return text == "true"
    if "null" in kinds and not text and "string" not in kinds:
        return None
    return text
