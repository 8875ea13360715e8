"""Schemas of OpenAPI documents: one dialect, references within the document, problems with their places."""

from __future__ import annotations

from typing import Any

import pytest

from shadowproxy.sinks.schemas import MESSAGE_LIMIT, PROBLEMS, Schemas


def document(schema: Any, version: str = "3.1.0") -> tuple[Schemas, Any]:
    """A document with one schema, `It`, and the schema as it is read."""
    known = Schemas({"openapi": version, "components": {"schemas": {"It": schema, "Name": {"type": "string"}}}})
    return known, known.document["components"]["schemas"]["It"]


@pytest.mark.parametrize(
    ("schema", "good", "bad"),
    [
        ({"type": "string", "nullable": True}, [None, "a"], [1]),
        ({"type": "string", "nullable": True, "enum": ["a"]}, [None, "a"], ["b"]),
        ({"nullable": True, "allOf": [{"$ref": "#/components/schemas/Name"}]}, [None, "a"], [1]),
        ({"type": "integer", "minimum": 5, "exclusiveMinimum": True}, [6], [5]),
        ({"type": "integer", "maximum": 5, "exclusiveMaximum": False}, [5], [6]),
        ({"type": "object", "properties": {"nullable": {"type": "boolean"}, "example": {"type": "string", "nullable": True}}}, [{"nullable": True, "example": None}], [{"nullable": None}]),
        ({"type": "object", "example": {"nullable": True}, "properties": {"a": {"type": "string"}}}, [{"a": "b"}], [{"a": None}]),
    ],
)  # fmt: skip
def test_what_3_0_says_in_its_own_words(schema: Any, good: list[Any], bad: list[Any]) -> None:
    """Nullable and boolean bounds mean what they mean there, and names of properties are only names."""
    known, one = document(schema, "3.0.3")
    assert all(known.is_valid(one, value) for value in good)
    assert not any(known.is_valid(one, value) for value in bad)


def test_requests_need_not_send_what_is_read_only() -> None:
    """And answers need not have what is write-only."""
    schema = {
        "type": "object",
        "required": ["id", "secret"],
        "properties": {"id": {"type": "string", "readOnly": True}, "secret": {"type": "string", "writeOnly": True}},
    }
    known, one = document(schema)
    assert known.is_valid(one, {"secret": "a"}, is_request=True)
    assert not known.is_valid(one, {"id": "a"}, is_request=True)
    assert known.is_valid(one, {"id": "a"})
    assert not known.is_valid(one, {"secret": "a"})


def test_problems_have_places() -> None:
    """Every violation, sorted, at most PROBLEMS, and none longer than MESSAGE_LIMIT and a little."""
    known, one = document(
        {"type": "object", "required": ["b"], "properties": {"a": {"type": "array", "items": {"$ref": "#/components/schemas/Name"}}}}
    )
    assert known.problems(one, {"a": ["x", 1, 2]}, "body", is_request=True) == [
        ("body", "'b' is a required property"),
        ("body.a[1]", "1 is not of type 'string'"),
        ("body.a[2]", "2 is not of type 'string'"),
    ]
    many = known.problems(one, {"a": [1] * 1000}, "body", is_request=True)
    assert len(many) == PROBLEMS
    [(_, message)] = known.problems(one, {"b": 1, "a": [{"x": "y" * 10_000}]}, "body", is_request=True)
    assert len(message) <= MESSAGE_LIMIT + 3


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"$ref": "other.yaml#/A"}, "leads out of the document"),
        ({"$ref": "http://169.254.169.254/"}, "leads out of the document"),
        ({"$ref": "#/components/schemas/Nobody"}, "leads nowhere"),
        ({"$ref": "#/components/schemas/It"}, "leads to itself"),
        ({"type": "string", "pattern": "("}, "the pattern '\\(' cannot be used"),
        ({"type": "strnig"}, "a schema is none"),
        ({"properties": []}, "a schema is none"),
    ],
)
def test_documents_that_cannot_be_used(schema: Any, problem: str) -> None:
    """It is said when the document is read, not at a request."""
    with pytest.raises(ValueError, match=problem):
        document(schema)


def test_references_with_strange_names() -> None:
    """Escapes of JSON pointers, and braces as clients write them."""
    known = Schemas(
        {
            "openapi": "3.1.0",
            "paths": {"/a/{b}": {"x": [{"type": "integer"}]}},
            "components": {"schemas": {"It": {"$ref": "#/paths/~1a~1%7Bb%7D/x/0"}}},
        }
    )
    one = known.document["components"]["schemas"]["It"]
    assert known.resolve(one) == {"type": "integer"}
    assert known.is_valid(one, 5)
    assert not known.is_valid(one, "5")
