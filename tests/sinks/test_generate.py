"""Values drawn from schemas: always valid, the same for the same seed, bounded."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from shadowproxy.sinks.generate import FORMATS, Impossible, generate
from shadowproxy.sinks.schemas import Schemas

NAMES = st.sampled_from(["id", "name", "lines", "total", "nullable", "example"])


@st.composite
def ranges(draw: st.DrawFn, low: str, high: str, most: int) -> dict[str, int]:
    """Two bounds in order, each or neither given."""
    first, second = sorted((draw(st.integers(0, most)), draw(st.integers(0, most))))
    return {name: value for name, value in ((low, first), (high, second)) if draw(st.booleans())}


def _objects(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(NAMES, inner, max_size=4).flatmap(
        lambda properties: st.builds(
            lambda required, extra: {"type": "object", "properties": properties, "required": required, **extra},
            st.lists(st.sampled_from([*properties, "other"]), max_size=3, unique=True),
            st.sampled_from([{}, {"additionalProperties": {"type": "string"}}, {"minProperties": 2}]),
        )
    )


numbers = st.builds(
    lambda kind, low, span, extra: {"type": kind, "minimum": low, "maximum": low + span, **extra},
    st.sampled_from(["integer", "number"]),
    st.integers(-1000, 1000),
    st.integers(1, 100),
    st.sampled_from([{}, {"multipleOf": 1}, {"exclusiveMinimum": -10_000}]),
)
texts = st.one_of(
    ranges("minLength", "maxLength", 40).map(lambda bounds: {"type": "string", **bounds}),
    st.sampled_from(sorted(FORMATS)).map(lambda form: {"type": "string", "format": form}),
    st.sampled_from([r"^[A-Z]{3}-\d{4}$", r"[a-f0-9]{8}", r"^(red|green)$", r"^\+?[1-9]\d{6,14}$", "x"]).map(lambda pattern: {"type": "string", "pattern": pattern}),
)  # fmt: skip
plain = st.one_of(
    numbers,
    texts,
    st.just({"type": "boolean"}),
    st.just({"type": "null"}),
    st.just({}),
    st.just(True),
    st.lists(st.integers() | st.text(max_size=5), min_size=1, max_size=4).map(lambda values: {"enum": values}),
    st.integers().map(lambda value: {"const": value}),
    st.just({"$ref": "#/components/schemas/Line"}),
)
schemas = st.recursive(
    plain,
    lambda inner: st.one_of(
        _objects(inner),
        st.builds(lambda items, bounds: {"type": "array", "items": items, **bounds}, inner, ranges("minItems", "maxItems", 4)),
        st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}),
        _objects(inner).map(lambda one: {"allOf": [one, {"type": "object", "required": ["id"]}]}),
        inner.map(lambda one: {"oneOf": [{"type": "null"}, {"type": "object", "properties": {"a": one}, "required": ["a"]}]}),
    ),
    max_leaves=8,
)
COMPONENTS: dict[str, Any] = {
    "openapi": "3.1.0",
    "components": {
        "schemas": {
            "Line": {"type": "object", "required": ["sku"], "properties": {"sku": {"type": "string", "minLength": 1}, "n": {"type": "integer", "minimum": 1}}},
            "Tree": {"type": "object", "required": ["children"], "properties": {"children": {"type": "array", "items": {"$ref": "#/components/schemas/Tree"}}}},
            "List": {"oneOf": [{"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/List"}}}, {"type": "string"}]},
            "Endless": {"type": "object", "required": ["next"], "properties": {"next": {"$ref": "#/components/schemas/Endless"}}},
        }
    },
}  # fmt: skip


def schemas_with(schema: Any) -> tuple[Schemas, Any]:
    """A document with one more schema, and the schema as the document has it."""
    document = {**COMPONENTS, "components": {"schemas": {**COMPONENTS["components"]["schemas"], "It": schema}}}
    known = Schemas(document)
    return known, known.document["components"]["schemas"]["It"]


@given(schemas, st.text(max_size=5))
def test_what_is_drawn_is_valid_and_the_same_again(schema: Any, seed: str) -> None:
    """Any schema that can be met is met, nearly always; an independent validator agrees; a seed is a value."""
    known, one = schemas_with(schema)
    try:
        value = generate(known, one, seed)
    except Impossible:
        return
    rooted = {**COMPONENTS, "allOf": [schema]}
    assert Draft202012Validator(rooted).is_valid(value)
    assert generate(known, one, seed) == value


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "string", "format": "uuid"},
        {"type": "string", "pattern": "^[a-z]{2}[0-9]{3}$", "minLength": 5, "maxLength": 5},
        {"type": "string", "minLength": 300},
        {"type": "integer", "exclusiveMinimum": 4, "exclusiveMaximum": 6},
        {"type": "integer", "multipleOf": 7, "minimum": 50, "maximum": 56},
        {"type": "integer", "multipleOf": 0.5},
        {"type": "number", "multipleOf": 0.01, "minimum": 0, "maximum": 1000},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 0.001},
        {"minimum": 10},
        {"type": "array", "items": {"enum": [1, 2, 3]}, "minItems": 3, "uniqueItems": True},
        {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}], "minItems": 2, "items": False},
        {"type": "array", "contains": {"const": 9}, "items": {"type": "integer"}},
        {"type": ["null", "integer"]},
        {"allOf": [{"type": "integer", "minimum": 5}, {"type": "number", "maximum": 6}, {"minimum": 6}]},
        {"allOf": [{"$ref": "#/components/schemas/Line"}, {"properties": {"n": {"maximum": 2}}, "required": ["n"]}]},
        {"oneOf": [{"type": "integer", "multipleOf": 2}, {"type": "integer", "multipleOf": 3}]},
        {"type": "integer", "not": {"minimum": 900}},
        {"if": {"required": ["a"]}, "then": {"required": ["b"]}, "type": "object", "properties": {"a": True, "b": True}},
        {"type": "object", "properties": {"a": {"example": "not a number", "type": "integer"}}, "required": ["a"]},
        {"type": "object", "minProperties": 4, "additionalProperties": {"type": "boolean"}},
        {"$ref": "#/components/schemas/Tree"},
        {"$ref": "#/components/schemas/List"},
    ],
)
def test_schemas_that_need_thought(schema: Any) -> None:
    """Each is met, for every one of many seeds."""
    known, one = schemas_with(schema)
    for seed in range(25):
        assert known.is_valid(one, generate(known, one, str(seed)))


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": "string", "minLength": 10**9},
        {"type": "array", "items": {"type": "integer"}, "minItems": 10**6},
        {"type": "string", "pattern": "(?=a)b"},
        {"$ref": "#/components/schemas/Endless"},
        {"not": {}},
    ],
)
def test_schemas_that_nothing_meets_are_given_up(schema: Any) -> None:
    """In bounded time and memory, with one exception."""
    known, one = schemas_with(schema)
    with pytest.raises(Impossible):
        generate(known, one, "seed")


def test_examples_come_first() -> None:
    """Of the schema itself and of its parts."""
    known, one = schemas_with(
        {
            "type": "object",
            "required": ["a"],
            "properties": {"a": {"type": "string", "example": "as shown"}, "b": {"type": "integer", "examples": [5]}},
        }
    )
    assert generate(known, one, "x") == {"a": "as shown", "b": 5}


def test_nobody_is_written_to() -> None:
    """Addresses are of ranges and names that are reserved for examples."""
    known, one = schemas_with({"type": "array", "minItems": 3, "maxItems": 3, "items": {"type": "string", "format": "email"}})
    assert all(text.endswith("@example.com") for text in generate(known, one, "x"))
