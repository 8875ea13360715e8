"""The building blocks are JSON Schemas that say what their names say."""

from __future__ import annotations

from typing import Any

import jsonschema
import pytest

from shadowproxy.control.admin.schema import COUNT, COUNTS, STRING, Endpoint, extended, list_of, map_of, optional, or_null, structure


@pytest.mark.parametrize(
    ("schema", "fitting", "other"),
    [
        (COUNT, 0, -1),
        (COUNTS, {"a": 1}, {"a": "1"}),
        (structure(a=STRING), {"a": "x", "b": 1}, {}),
        (extended(structure(a=STRING), {"b": COUNT}), {"a": "x"}, {"a": "x", "b": "y"}),
        (list_of(STRING), ["a"], [1]),
        (map_of(STRING), {"any name": ""}, {"any name": 0}),
        (or_null("string"), None, 1),
        (optional(structure(a=STRING)), None, {}),
    ],
)
def test_schemas(schema: dict[str, Any], fitting: object, other: object) -> None:
    """What fits fits, what does not is refused."""
    validator = jsonschema.Draft202012Validator(schema)
    validator.validate(fitting)
    assert not validator.is_valid(other)


def test_what_is_protected() -> None:
    """Everything under /api/."""
    assert Endpoint("GET", "/api/v1/x", "x", "").is_protected
    assert not Endpoint("GET", "/x", "x", "").is_protected
