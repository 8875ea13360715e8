"""The JSON Schema (draft 2020-12) of config files, for editors and for other people's checks.

It is derived from the same shapes as the loader. What the loader accepts, the schema accepts; the
loader also knows what a schema cannot say (names that must exist, bounds on `150ms`, ...).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from shadowproxy.config.declare import NOT_GIVEN
from shadowproxy.config.formats import PATTERNS
from shadowproxy.config.model import Config
from shadowproxy.config.plain import value_to_plain
from shadowproxy.config.read import EXTENSION, LARGEST_INTEGER
from shadowproxy.config.shape import Field, Shape, fields_of
from shadowproxy.config.units import DURATION_PATTERN, LARGEST_BYTES, LONGEST_S, PERCENT_PATTERN, SIZE_PATTERN

if TYPE_CHECKING:
    from collections.abc import Mapping

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

_REFERENCE: Final = {"$ref": "#/$defs/reference"}
_UNITS: Final[dict[str, tuple[str, float, str]]] = {
    "duration": ("number", LONGEST_S, DURATION_PATTERN),
    "size": ("integer", LARGEST_BYTES, SIZE_PATTERN),
    "percent": ("number", 100, PERCENT_PATTERN),
}


def schema() -> dict[str, Any]:
    """Return the schema as plain data."""
    definitions: dict[str, Any] = {
        "reference": {
            "description": "A value from the environment: ${env:NAME} or ${env:NAME:-default}.",
            "type": "string",
            "pattern": r"\$\{env:[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
        },
    }
    root = _object(Config, definitions, keyed=False)
    return {
        "$schema": DIALECT,
        "title": "shadowproxy configuration",
        **root,
        "patternProperties": {f"^{EXTENSION}": {"description": "For the file's own use: a place to keep anchors."}},
        "$defs": definitions,
    }


def _object(cls: type[Any], definitions: dict[str, Any], *, keyed: bool) -> dict[str, Any]:
    fields = fields_of(cls, keyed=keyed)
    found: dict[str, Any] = {
        "description": (cls.__doc__ or "").strip().splitlines()[0],
        "type": "object",
        "properties": {field.name: _field(field, definitions) for field in fields},
        "additionalProperties": False,
    }
    required = [field.name for field in fields if field.is_required]
    return {**found, "required": required} if required else found


def _field(field: Field, definitions: dict[str, Any]) -> dict[str, Any]:
    found = {"description": field.doc, **_value(field.shape, field.metadata, definitions)}
    if not field.is_required and field.default is not NOT_GIVEN:
        found["default"] = value_to_plain(field.shape, field.default)
    return found


def _value(shape: Shape, metadata: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    found = _present(shape, metadata, definitions)
    return {"anyOf": [found, {"type": "null"}]} if shape.is_optional else found


def _present(shape: Shape, metadata: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    if shape.kind == "object":
        assert shape.cls is not None
        found = _definition(shape.cls, definitions, keyed=False)
        return {"anyOf": [{"type": "string"}, found]} if "shorthand" in metadata else found
    if shape.kind == "json":
        return {}
    if shape.kind == "list":
        assert shape.item is not None
        items = _present(shape.item, {**metadata, "nonempty": False}, definitions)
        array = {"type": "array", "items": items}
        return {**array, "minItems": 1} if metadata.get("nonempty") else array
    if shape.kind == "mapping":
        return _mapping(shape, metadata, definitions)
    if shape.kind == "string":
        return _string(metadata)
    return {"anyOf": [_scalar(shape, metadata), *_alternatives(shape, metadata), _REFERENCE]}


def _definition(cls: type[Any], definitions: dict[str, Any], *, keyed: bool) -> dict[str, Any]:
    if cls.__name__ not in definitions:
        definitions[cls.__name__] = {}  # taken, should a class ever hold itself
        definitions[cls.__name__] = _object(cls, definitions, keyed=keyed)
    return {"$ref": f"#/$defs/{cls.__name__}"}


def _mapping(shape: Shape, metadata: Mapping[str, Any], definitions: dict[str, Any]) -> dict[str, Any]:
    assert shape.item is not None
    key_pattern = metadata.get("key_pattern") or PATTERNS[metadata["key_format"]]
    found: dict[str, Any] = {"type": "object", "propertyNames": {"pattern": f"^(?:{key_pattern})$"}}
    if metadata.get("nonempty"):
        found["minProperties"] = 1
    if shape.item.kind == "object":
        assert shape.item.cls is not None
        found["additionalProperties"] = _definition(shape.item.cls, definitions, keyed=True)
    else:
        found["additionalProperties"] = {"type": ["string", "number", "boolean"], **_bounds(metadata)}
    return found


def _string(metadata: Mapping[str, Any]) -> dict[str, Any]:
    bounds = _bounds(metadata)
    return {"anyOf": [{"type": "string", **bounds}, _REFERENCE]} if bounds else {"type": "string"}


def _bounds(metadata: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    pattern = metadata.get("pattern") or PATTERNS.get(metadata.get("format", ""))
    if pattern:
        # A format is asked of strings that are not empty; whether empty is allowed is for minLength to say.
        found["pattern"] = f"^(?:{pattern})$" if "pattern" in metadata else f"^(?:{pattern})?$"
    if metadata.get("nonempty"):
        found["minLength"] = 1
    if "max_bytes" in metadata:
        found["maxLength"] = metadata["max_bytes"]
    return found


def _scalar(shape: Shape, metadata: Mapping[str, Any]) -> dict[str, Any]:
    if shape.kind == "enum":
        return {"enum": _members(shape)}
    if shape.kind == "boolean":
        return {"type": "boolean"}
    if shape.kind in _UNITS:
        kind, largest, _ = _UNITS[shape.kind]
        return {"type": kind, "minimum": metadata.get("minimum", 0), "maximum": metadata.get("maximum", largest)}
    low, high = metadata.get("minimum", -LARGEST_INTEGER), metadata.get("maximum", LARGEST_INTEGER)
    return {"type": shape.kind, "minimum": low, "maximum": high}


def _alternatives(shape: Shape, metadata: Mapping[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if shape.kind in _UNITS:
        found.append({"type": "string", "pattern": f"^(?:{_UNITS[shape.kind][2]})$"})
    if "keyword" in metadata:
        found.append({"const": metadata["keyword"]})
    if shape.kind == "enum" and "off" in _members(shape):
        found.append({"const": False})
    return found


def _members(shape: Shape) -> list[str]:
    assert shape.cls is not None
    return [str(member) for member in shape.cls]
