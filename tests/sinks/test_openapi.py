"""Answers by an OpenAPI document: what it allows, what it shows, what it describes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from shadowproxy.sinks.call import Refused
from shadowproxy.sinks.openapi import OpenApi
from tests.sinks.kit import call

if TYPE_CHECKING:
    from pathlib import Path

SHOP = """
openapi: 3.1.0
info: {title: shop, version: 2026-11-23}
servers: [{url: "https://shop.example/v1"}]
paths:
  /orders:
    get:
      parameters:
        - {name: limit, in: query, schema: {type: integer, maximum: 100}}
      responses:
        200:
          description: all
          headers: {X-Total: {schema: {type: integer, minimum: 1, maximum: 1}}}
          content: {application/json: {schema: {type: array, minItems: 1, items: {$ref: "#/components/schemas/Order"}}}}
    post:
      requestBody:
        required: true
        content:
          application/json: {schema: {$ref: "#/components/schemas/Order"}}
          application/x-www-form-urlencoded: {schema: {type: object, required: [n], properties: {n: {type: integer}}}}
      responses:
        "201":
          description: made
          content:
            application/json:
              schema: {$ref: "#/components/schemas/Order"}
              examples:
                small: {value: {id: 7e577e57, state: off, n: 1}}
                large: {value: {n: 1000}}
        "409": {$ref: "#/components/responses/Taken"}
  /orders/latest:
    get: {responses: {200: {description: text, content: {text/plain: {example: hello}}}}}
  /orders/{id}:
    parameters: [{name: id, in: path, required: true, schema: {type: string, pattern: "^[a-z0-9-]+$"}}]
    delete: {responses: {204: {description: gone}}}
    get: {responses: {default: {description: any, content: {application/vnd.shop+json: {schema: {$ref: "#/components/schemas/Order"}}}}}}
components:
  responses:
    Taken: {description: taken, content: {application/problem+json: {example: {title: taken}}}}
  schemas:
    Order:
      type: object
      required: [id, n]
      properties:
        id: {type: string, format: uuid, readOnly: true}
        n: {type: integer, minimum: 1, maximum: 9}
        day: {type: string, format: date}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The shop's document."""
    path = tmp_path / "shop.yaml"
    path.write_text(SHOP)
    return path


async def told(document: OpenApi, method: str, target: str, **more: Any) -> tuple[int, Any]:
    """Status and body; of a refusal its code."""
    try:
        answer = await document.answer(call(method, target, **more))
    except Refused as refused:
        return refused.status, refused.code
    assert answer is not None
    return answer.status, json.loads(answer.body) if answer.body and "json" in answer.content_type else answer.body.decode()


async def test_examples_come_first(file: Path) -> None:
    """The first of the first 2xx answer, or the one that is asked for; YAML's dates, off and numbers stay what is written."""
    document = OpenApi(str(file))
    assert await told(document, "POST", "/orders", json={"n": 1}) == (201, {"id": "7e577e57", "state": "off", "n": 1})
    assert await told(document, "POST", "/orders", json={"n": 1}, Prefer="example=large") == (201, {"n": 1000})
    assert await told(document, "POST", "/orders", json={"n": 1}, Prefer="code=409") == (409, {"title": "taken"})
    assert await told(document, "POST", "/orders", json={"n": 1}, Prefer="code=418, example=nobody") == (
        201,
        {"id": "7e577e57", "state": "off", "n": 1},
    )
    assert await told(document, "GET", "/orders/latest") == (200, "hello")
    assert await told(document, "DELETE", "/orders/7") == (204, "")


async def test_else_the_schema_is_met(file: Path) -> None:
    """With what it says about types, formats and bounds; the same request gets the same answer, another another."""
    document = OpenApi(str(file))
    status, listed = await told(document, "GET", "/orders?limit=5")
    assert status == 200
    assert all(1 <= one["n"] <= 9 and len(one["id"]) == 36 for one in listed)
    assert await told(document, "GET", "/orders?limit=5") == (200, listed)
    assert await told(document, "GET", "/orders?limit=6") != (200, listed)
    answer = await document.answer(call("GET", "/orders"))
    assert answer is not None
    assert (answer.headers, answer.content_type) == ({"X-Total": "1"}, "application/json")
    assert (await told(document, "GET", "/v1/orders/7"))[0] == 200
    assert (await told(document, "HEAD", "/orders"))[0] == 200


async def test_violations_are_all_listed(file: Path) -> None:
    """With their places."""
    document = OpenApi(str(file))
    with pytest.raises(Refused) as refused:
        await document.answer(call("POST", "/orders", json={"n": 10, "day": "tomorrow"}))
    assert (refused.value.status, refused.value.code) == (400, "not_allowed")
    assert refused.value.problems == (("body.day", "'tomorrow' is not a 'date'"), ("body.n", "10 is greater than the maximum of 9"))
    with pytest.raises(Refused) as refused:
        await document.answer(call("GET", "/orders?limit=x"))
    assert refused.value.problems == (("query.limit", "'x' is not of type 'integer'"),)


@pytest.mark.parametrize(
    ("method", "target", "more", "said"),
    [
        ("GET", "/nothing", {}, (404, "no_operation")),
        ("GET", "/orders/7/items", {}, (404, "no_operation")),
        ("PUT", "/orders", {}, (405, "no_operation")),
        ("POST", "/orders", {}, (400, "not_allowed")),
        ("POST", "/orders", {"body": b"{"}, (400, "bad_json")),
        ("POST", "/orders", {"body": b"<a/>", "Content_Type": "text/xml"}, (415, "unsupported_media_type")),
        ("POST", "/orders", {"body": b"n=x", "Content_Type": "application/x-www-form-urlencoded"}, (400, "not_allowed")),
        ("GET", "/orders/UPPER", {}, (400, "not_allowed")),
        ("POST", "/orders", {"body": b"[" * 100_000}, (400, "bad_json")),
    ],
)
async def test_what_the_document_does_not_allow(file: Path, method: str, target: str, more: dict[str, Any], said: tuple[int, str]) -> None:
    """By path, method, body, type and parameter."""
    assert await told(OpenApi(str(file)), method, target, **more) == said


async def test_a_form_is_checked_by_its_types(file: Path) -> None:
    """Text of a number is a number there."""
    assert (await told(OpenApi(str(file)), "POST", "/orders", body=b"n=5", Content_Type="application/x-www-form-urlencoded"))[0] == 201


async def test_requests_need_not_be_checked(file: Path) -> None:
    """Where the config says so; beside resources they are checked and answered by those."""
    assert (await told(OpenApi(str(file), is_validated=False), "POST", "/orders", json={"n": 99}))[0] == 201
    checking = OpenApi(str(file), is_validated=False).checking()
    assert await checking.answer(call("POST", "/orders", json={"n": 9})) is None
    assert await checking.answer(call("POST", "/elsewhere", json={"n": 99})) is None
    with pytest.raises(Refused):
        await checking.answer(call("POST", "/orders", json={"n": 99}))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "no OpenAPI"),
        ("openapi: 2.0\npaths: {}", "no OpenAPI"),
        ("swagger: '2.0'", "no OpenAPI"),
        ("openapi: 3.1.0", "has no paths"),
        ("openapi: 3.1.0\npaths: [1]", "has no paths"),
        ("{", "cannot be read"),
        ("a: &a [*a]", "cannot be read"),
        ("openapi: !!python/object/apply:os.system ['true']", "cannot be read"),
        ("openapi: 3.1.0\npaths: {/a: {get: {parameters: [5]}}}", "malformed"),
        ("openapi: 3.1.0\npaths: {/a: {$ref: 'b.yaml'}}", "leads out of the document"),
        ("openapi: 3.1.0\npaths: {/a: {get: {responses: {200: {$ref: '#/b'}}}}}", "leads nowhere"),
    ],
)
def test_what_is_no_document(tmp_path: Path, text: str, problem: str) -> None:
    """Said with the file's name, whatever is wrong with it; nothing in it is run."""
    file = tmp_path / "a.yaml"
    file.write_text(text)
    with pytest.raises(ValueError, match=f"a.yaml: .*{problem}"):
        OpenApi(str(file))
    with pytest.raises(OSError, match="No such file"):
        OpenApi(str(tmp_path / "b.yaml"))


async def test_a_document_that_asks_for_the_impossible(tmp_path: Path) -> None:
    """500 says to give it an example."""
    paths: Any = {"/a": {"get": {"responses": {"200": {"content": {"application/json": {"schema": {"not": {}}}}}}}}}
    file = tmp_path / "a.json"
    file.write_text(yaml.safe_dump({"openapi": "3.0.0", "paths": paths}))
    assert await told(OpenApi(str(file)), "GET", "/a") == (500, "cannot_generate")
