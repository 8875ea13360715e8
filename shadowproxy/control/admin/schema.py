"""What descriptions of the admin API are made of: one operation, and JSON Schemas in few words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

JSON: Final = "application/json"
TEXT: Final = "text/plain"
HTML: Final = "text/html"
LINES: Final = "application/x-ndjson"

Schema = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation. `name` is the handler's name and the operation id."""

    method: str
    path: str
    name: str
    summary: str
    answer: str = JSON
    schema: str = ""
    query: tuple[tuple[str, str, Schema], ...] = ()
    has_body: bool = False
    takes_etag: bool = False
    refusals: tuple[int, ...] = ()
    success: int = 200

    @property
    def is_protected(self) -> bool:
        """Whether it needs the bearer token."""
        return self.path.startswith("/api/")


def structure(**properties: Schema) -> Schema:
    """An object with exactly these properties, and perhaps others."""
    return {"type": "object", "required": list(properties), "properties": properties}


def extended(required: Schema, optional: dict[str, Schema]) -> Schema:
    """An object of which some properties may be absent."""
    return {**required, "properties": {**required["properties"], **optional}}


def list_of(items: Schema) -> Schema:
    """An array."""
    return {"type": "array", "items": items}


def map_of(values: Schema) -> Schema:
    """An object with names of any kind."""
    return {"type": "object", "additionalProperties": values}


def or_null(kind: str) -> Schema:
    """A type, or null."""
    return {"type": [kind, "null"]}


def optional(schema: Schema) -> Schema:
    """What `schema` says, or null."""
    return {"oneOf": [schema, {"type": "null"}]}


STRING: Final[Schema] = {"type": "string"}
FLAG: Final[Schema] = {"type": "boolean"}
NUMBER: Final[Schema] = {"type": "number"}
COUNT: Final[Schema] = {"type": "integer", "minimum": 0}
COUNTS: Final = map_of(COUNT)
