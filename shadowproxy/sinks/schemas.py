"""The JSON Schemas of an OpenAPI document: one dialect for 3.0 and 3.1, references resolved within the document, values checked.

OpenAPI 3.1 uses JSON Schema 2020-12; what 3.0 says in words of its own (`nullable`, boolean `exclusiveMinimum`) is put into that first.
Requests need not send what is `readOnly`, answers need not have what is `writeOnly`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final

from jsonschema import Draft202012Validator, SchemaError
from referencing import Registry
from referencing.jsonschema import DRAFT202012

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jsonschema import ValidationError

Schema = dict[str, Any] | bool

DOCUMENT: Final = "urn:openapi"
PROBLEMS: Final = 100
"""Violations that are looked for in one value."""

MESSAGE_LIMIT: Final = 300
"""Characters of one violation: it may quote the value."""

REFERENCES: Final = 50
"""References that may lead to one another."""

_DATA: Final = frozenset({"example", "examples", "default", "enum", "const", "value"})
"""Members whose values are data: nothing in them is a schema or a reference."""

_NAMED: Final = frozenset({"properties", "patternProperties", "schemas", "responses", "parameters", "headers", "requestBodies", "$defs"})
"""Members that map names to things: a property may well be called `nullable` or `example`."""


class Schemas:
    """The schemas of one document.

    Args:
        document: plain data; changed into the newer dialect.

    Raises:
        ValueError: a reference leads out of the document or nowhere, or a pattern or a schema is none.
    """

    def __init__(self, document: dict[str, Any]) -> None:
        is_old = str(document.get("openapi", "")).startswith("3.0")
        self.document: dict[str, Any] = _translated(document) if is_old else document
        for reference in _references(self.document):
            self.resolve({"$ref": reference})
        for pattern in _patterns(self.document):
            _check_pattern(pattern)
        for schema in _schemas(self.document):
            _check_schema(schema)
        self._validators: dict[tuple[int, bool], tuple[Any, Draft202012Validator]] = {}
        self._registries = {
            is_request: _registry(_viewed(self.document, "readOnly" if is_request else "writeOnly")) for is_request in (True, False)
        }

    def resolve(self, part: Any) -> Any:
        """A part of the document, or what it refers to.

        Raises:
            ValueError: the reference leads out of the document, nowhere, or to itself.
        """
        for _ in range(REFERENCES):
            if not isinstance(part, dict) or not isinstance(part.get("$ref"), str):
                return part
            part = self._at(part["$ref"])
        raise ValueError("a reference leads to itself")

    def problems(self, schema: Schema, value: Any, place: str, *, is_request: bool) -> list[tuple[str, str]]:
        """What is wrong with `value`: (where, what), at most PROBLEMS."""
        found = []
        for error in self.validator(schema, is_request=is_request).iter_errors(value):
            found.append((place + _path(error), _message(error)))
            if len(found) == PROBLEMS:
                break
        return sorted(found)

    def is_valid(self, schema: Schema, value: Any, *, is_request: bool = False) -> bool:
        """Whether `value` is what `schema` asks for."""
        return bool(self.validator(schema, is_request=is_request).is_valid(value))

    def validator(self, schema: Schema, *, is_request: bool) -> Draft202012Validator:
        """The checker of one schema of the document; kept, as making one costs more than a check."""
        key = (id(schema), is_request)
        known = self._validators.get(key)
        if known is None or known[0] is not schema:
            viewed = _viewed(schema, "readOnly" if is_request else "writeOnly")
            based = {"$id": f"{DOCUMENT}:inline", **viewed} if isinstance(viewed, dict) else viewed
            checker = Draft202012Validator(
                _rebased(based), registry=self._registries[is_request], format_checker=Draft202012Validator.FORMAT_CHECKER
            )
            known = self._validators[key] = (schema, checker)
        return known[1]

    def _at(self, reference: str) -> Any:
        if not reference.startswith("#"):
            raise ValueError(f"{reference!r} leads out of the document: only references within it are followed")
        part: Any = self.document
        for step in reference[1:].split("/")[1:]:
            name = step.replace("%7B", "{").replace("%7D", "}").replace("~1", "/").replace("~0", "~")
            if isinstance(part, dict) and name in part:
                part = part[name]
            elif isinstance(part, list) and name.isdigit() and int(name) < len(part):
                part = part[int(name)]
            else:
                raise ValueError(f"{reference!r} leads nowhere")
        return part


def _registry(document: dict[str, Any]) -> Any:
    return Registry().with_resource(DOCUMENT, DRAFT202012.create_resource(document))


def _rebased(schema: Any) -> Any:
    """A schema whose references to its document hold wherever it stands."""
    if isinstance(schema, dict):
        return {
            name: f"{DOCUMENT}{value}" if name == "$ref" and isinstance(value, str) and value.startswith("#") else _rebased(value)
            for name, value in schema.items()
            if name != "$id"
        }
    return [_rebased(one) for one in schema] if isinstance(schema, list) else schema


def _viewed(part: Any, hidden: str) -> Any:
    """A part of the document in which properties that are `hidden` (readOnly, writeOnly) are not required."""
    if isinstance(part, list):
        return [_viewed(one, hidden) for one in part]
    if not isinstance(part, dict):
        return part
    viewed = {name: value if name in _DATA else _viewed(value, hidden) for name, value in part.items()}
    properties, required = part.get("properties"), part.get("required")
    if isinstance(properties, dict) and isinstance(required, list):
        viewed["required"] = [name for name in required if not _is_flagged(properties.get(name), hidden)]
    return viewed


def _is_flagged(schema: Any, flag: str) -> bool:
    return isinstance(schema, dict) and schema.get(flag) is True


def _translated(part: Any, *, are_names: bool = False) -> Any:
    """A part of a 3.0 document in the words of 3.1; `are_names` says that its members are things by name."""
    if isinstance(part, list):
        return [_translated(one) for one in part]
    if not isinstance(part, dict):
        return part
    found = {
        name: value if name in _DATA and not are_names else _translated(value, are_names=name in _NAMED and not are_names)
        for name, value in part.items()
    }
    if are_names:
        return found
    for bound, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        if isinstance(found.get(exclusive), bool) and found.pop(exclusive) and bound in found:
            found[exclusive] = found.pop(bound)
    if found.get("nullable") is True:
        del found["nullable"]
        if isinstance(found.get("type"), str) and "allOf" not in found:
            found["type"] = [found["type"], "null"]
            if isinstance(found.get("enum"), list) and None not in found["enum"]:
                found["enum"] = [*found["enum"], None]
        else:
            found = {"anyOf": [found, {"type": "null"}]}
    return found


def _walk(part: Any, *, are_names: bool = False) -> Iterator[dict[str, Any]]:
    """Every mapping of the document that is no data and no table of names."""
    if isinstance(part, list):
        for one in part:
            yield from _walk(one)
    elif isinstance(part, dict):
        if not are_names:
            yield part
        for name, value in part.items():
            if are_names or name not in _DATA:
                yield from _walk(value, are_names=name in _NAMED and not are_names)


def _references(document: Any) -> Iterator[str]:
    for part in _walk(document):
        if isinstance(part.get("$ref"), str):
            yield part["$ref"]


def _patterns(document: Any) -> Iterator[str]:
    for part in _walk(document):
        if isinstance(part.get("pattern"), str):
            yield part["pattern"]


def _schemas(document: dict[str, Any]) -> Iterator[Any]:
    yield from document.get("components", {}).get("schemas", {}).values()
    for part in _walk(document):
        if "schema" in part:
            yield part["schema"]


def _check_schema(schema: Any) -> None:
    try:
        Draft202012Validator.check_schema(schema)
    except SchemaError as error:
        raise ValueError(f"a schema is none: {_message(error)}") from None


def _check_pattern(pattern: str) -> None:
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError) as error:
        raise ValueError(f"the pattern {pattern[:80]!r} cannot be used: {error}") from None


def _path(error: ValidationError) -> str:
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in error.absolute_path)


def _message(error: ValidationError | SchemaError) -> str:
    return error.message if len(error.message) <= MESSAGE_LIMIT else f"{error.message[:MESSAGE_LIMIT]}..."
