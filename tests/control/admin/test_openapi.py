"""The description is complete, and valid."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import jsonschema

from shadowproxy.control.admin.openapi import ENDPOINTS, SCHEMAS, describe

if TYPE_CHECKING:
    from tests.control.conftest import Api

DOCUMENT = Path(__file__).parents[3] / "docs" / "admin-api.md"


def test_references_resolve_and_operations_are_named_once() -> None:
    """Generators of clients need both."""
    document = describe()
    operations = [operation for item in document["paths"].values() for operation in item.values()]
    assert len({operation["operationId"] for operation in operations}) == len(operations)
    for reference in re.findall(r'"\$ref": "#/components/schemas/(\w+)"', json.dumps(document)):
        assert reference in document["components"]["schemas"]
    for path, item in document["paths"].items():
        for operation in item.values():
            named = {parameter["name"] for parameter in operation.get("parameters", []) if parameter["in"] == "path"}
            assert named == set(re.findall(r"{(\w+)}", path))
            assert {"200", "201"} & set(operation["responses"])


def test_every_schema_is_valid_and_used() -> None:
    """No schema is broken or forgotten."""
    for schema in SCHEMAS.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    assert {endpoint.schema for endpoint in ENDPOINTS if endpoint.schema} | {"Problem"} == set(SCHEMAS)


async def test_every_route_is_described_and_every_description_is_routed(api: Api) -> None:
    """What the application serves is exactly what the document says."""
    assert api.supervisor._runner is not None
    served = {
        (route.method, route.resource.canonical)
        for route in api.supervisor._runner.app.router.routes()
        if route.resource is not None and route.method != "HEAD"
    }
    described = {(method.upper(), path) for path, item in (await api("GET", "/api/v1/openapi.json"))[2]["paths"].items() for method in item}
    assert served == described


def test_everything_under_api_needs_the_token() -> None:
    """The description says so for each operation."""
    for path, item in describe()["paths"].items():
        for operation in item.values():
            assert ("security" in operation) == path.startswith("/api/")


def test_the_documentation_lists_every_endpoint() -> None:
    """docs/admin-api.md and the code agree, both ways."""
    listed = set(re.findall(r"^\| `([A-Z]+) ([^`?\[]+)", DOCUMENT.read_text(), re.MULTILINE))
    assert listed == {(endpoint.method, endpoint.path) for endpoint in ENDPOINTS}
