"""Parameters: read as their schema's type, required where they are, and every problem with its place."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.sinks.parameters import form_value, read_parameters, typed
from shadowproxy.sinks.schemas import Schemas
from tests.sinks.kit import call

KNOWN = Schemas({"openapi": "3.1.0", "components": {"schemas": {"Limit": {"type": "integer", "maximum": 100}}}})


def problems(parameter: dict[str, Any], target: str, captured: dict[str, str] | None = None, **fields: Any) -> list[tuple[str, str]]:
    """What is wrong with one parameter of a call."""
    [one] = read_parameters(KNOWN, [parameter])
    return one.problems(call("GET", target, **fields), captured or {})


@pytest.mark.parametrize(
    ("parameter", "target", "message"),
    [
        ({"name": "limit", "in": "query", "schema": {"$ref": "#/components/schemas/Limit"}}, "/?limit=5", ""),
        ({"name": "limit", "in": "query", "schema": {"$ref": "#/components/schemas/Limit"}}, "/?limit=500", "500 is greater than the maximum of 100"),
        ({"name": "limit", "in": "query", "schema": {"$ref": "#/components/schemas/Limit"}}, "/?limit=x", "'x' is not of type 'integer'"),
        ({"name": "limit", "in": "query", "schema": {"type": "integer"}}, "/", ""),
        ({"name": "limit", "in": "query", "required": True, "schema": {"type": "integer"}}, "/", "is required"),
        ({"name": "open", "in": "query", "schema": {"type": "boolean"}}, "/?open=true", ""),
        ({"name": "open", "in": "query", "schema": {"type": "boolean"}}, "/?open=yes", "'yes' is not of type 'boolean'"),
        ({"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}}, "/?id=1&id=2", ""),
        ({"name": "id", "in": "query", "schema": {"type": "array", "items": {"type": "integer"}, "maxItems": 2}}, "/?id=1&id=2&id=3", "[1, 2, 3] is too long"),
        ({"name": "id", "in": "query", "explode": False, "schema": {"type": "array", "items": {"type": "integer"}}}, "/?id=1,2", ""),
        ({"name": "f", "in": "query", "content": {"application/json": {"schema": {"type": "object", "required": ["a"]}}}}, "/?f=%7B%22a%22:1%7D", ""),
        ({"name": "f", "in": "query", "content": {"application/json": {"schema": {"type": "object", "required": ["a"]}}}}, "/?f=%7B", "'{' is not of type 'object'"),
    ],
)  # fmt: skip
def test_query_parameters(parameter: dict[str, Any], target: str, message: str) -> None:
    """Plain, exploded, by commas, and as JSON."""
    assert [text for _, text in problems(parameter, target)] == ([message] if message else [])


def test_path_and_header_parameters() -> None:
    """Path parameters are always there; header names know no case."""
    path = {"name": "id", "in": "path", "schema": {"type": "integer"}}
    assert problems(path, "/", {"id": "7"}) == []
    assert problems(path, "/", {"id": "x"}) == [("path.id", "'x' is not of type 'integer'")]
    header = {"name": "X-Shop", "in": "header", "required": True, "schema": {"type": "string", "minLength": 2}}
    assert problems(header, "/", X_Shop="ab") == []
    assert problems(header, "/") == [("header.X-Shop", "is required")]


def test_what_is_not_checked() -> None:
    """Cookies, styles that hardly anybody uses, objects, and header fields that OpenAPI leaves to others."""
    left_out = [
        {"name": "sid", "in": "cookie", "schema": {"type": "string"}},
        {"name": "a", "in": "query", "style": "deepObject", "schema": {"type": "object"}},
        {"name": "a", "in": "path", "style": "matrix", "schema": {"type": "string"}},
        {"name": "Authorization", "in": "header", "required": True, "schema": {"type": "string"}},
    ]
    assert read_parameters(KNOWN, left_out) == ()


def test_the_operations_own_parameter_counts() -> None:
    """In place of the path's of the same name and place."""
    [one] = read_parameters(
        KNOWN, [{"name": "a", "in": "query", "schema": {"type": "integer"}}, {"name": "a", "in": "query", "schema": {"type": "string"}}]
    )
    assert one.problems(call("GET", "/?a=x"), {}) == []


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        ({"type": "integer"}, "-5", -5),
        ({"type": "integer"}, "5.0", "5.0"),
        ({"type": "integer"}, "9" * 400, "9" * 400),
        ({"type": "number"}, "1e3", 1000.0),
        ({"type": "number"}, "nan", "nan"),
        ({"type": ["boolean", "null"]}, "", None),
        ({"type": "string"}, "5", "5"),
        (True, "5", "5"),
    ],
)
def test_text_as_a_type(schema: Any, text: str, value: Any) -> None:
    """What cannot be read as the type stays text."""
    assert typed(KNOWN, schema, text) == value


def test_forms() -> None:
    """Each field by its property's type."""
    assert form_value(KNOWN, {"properties": {"n": {"type": "integer"}}}, {"n": "5", "x": "5"}) == {"n": 5, "x": "5"}
