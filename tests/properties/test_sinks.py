"""Whatever a stranger sends, every kind of sink answers on purpose: never a 500, and never for another tenant."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shadowproxy.sinks.call import Call
from shadowproxy.sinks.house import House
from shadowproxy.sinks.shelf import Shelf
from tests.sinks.kit import config_of
from tests.sinks.test_strict import documents

if TYPE_CHECKING:
    from pathlib import Path

DOCUMENT: dict[str, Any] = {
    "openapi": "3.1.0",
    "paths": {
        "/orders": {
            "post": {
                "parameters": [{"name": "limit", "in": "query", "schema": {"type": ["integer", "null"]}}],
                "requestBody": {
                    "content": {"application/json": {"schema": {"type": "object", "additionalProperties": {"type": "integer"}}}}
                },
                "responses": {
                    "201": {"content": {"application/json": {"schema": {"type": "array", "items": {"type": "string", "format": "uuid"}}}}}
                },
            }
        },
        "/orders/{id}": {"get": {"parameters": [{"name": "id", "in": "path", "schema": {"type": "integer"}}], "responses": {"200": {}}}},
    },
}
KINDS: dict[str, dict[str, Any]] = {
    "payment": {"preset": "payment"},
    "email": {"preset": "email"},
    "resources": {"resources": {"collections": ["/orders", {"path": "/orders/{order}/lines", "ids": "integer", "id": "n"}], "merge": False}},
    "templates": {
        "rules": [
            {"match": {"path": "/orders/**", "json": {"a": 1}}, "sequence": [{"status": 500}, {"json": {"a": "{{request.json.a.b[0] | null}}"}}]},
            {"match": {"query": {"limit": "*"}}, "respond": {"headers": {"X-A": "{{request.target}}{{request.headers.x-a}}"}, "text": "{{request.text}}{{path.1}}"}},
        ],
        "respond": {"json": ["{{request.json}}", "{{request.form.a}}", "{{request.query.limit}}"]},
    },
    "openapi": {},
}  # fmt: skip

awkward = st.sampled_from(
    ["", "0", "-1", "a" * 300, "%2F", "%ff", "\udcff", "é", "..", "null", "9" * 400, "test-1", "capture", "refunds", "lines"]
)
paths = st.lists(st.sampled_from(["orders", "charges", "refunds", "messages"]) | awkward, max_size=4).map(
    lambda parts: "/" + "/".join(parts)
)
queries = st.sampled_from(["", "?", "?limit=5", "?limit=\udcff&limit=", "?limit=9999999", "?" + "a&" * 1100, "?page=2&%ff=%"])
headers = st.dictionaries(
    st.sampled_from(["content-type", "if-match", "if-none-match", "idempotency-key", "prefer", "x-a", "traceparent"]),
    st.sampled_from(
        ["", "*", '"1"', "application/json", "application/merge-patch+json", "application/x-www-form-urlencoded", "text/xml", "code=404, example=x", "\udcff", "a" * 300]
    ),
    max_size=4,
)  # fmt: skip
members = st.dictionaries(
    st.sampled_from(["id", "n", "a", "amount", "currency", "card", "source", "charge", "to", "capture"]),
    documents | awkward | st.integers(),
    max_size=6,
)
bodies = st.one_of(
    members.map(lambda value: json.dumps(value).encode()),
    documents.map(lambda value: json.dumps(value).encode()),
    st.binary(max_size=60),
    st.sampled_from(
        [
            b"",
            b"{",
            b"[" * 5000,
            b'{"a":1,"a":2}',
            b"NaN",
            b"amount=5&currency=eur&card[number]=4242&card[[]=",
            b'{"id":"\\ud800"}',
            b"\xef\xbb\xbf{}",
        ]
    ),
)
calls = st.builds(
    lambda method, path, query, fields, tenant, body: Call(method, path + query, fields, tenant, body),
    st.sampled_from(["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"]),
    paths, queries, headers, st.sampled_from(["a", "b"]), bodies,
)  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@given(sent=st.lists(calls, min_size=1, max_size=8))
def test_every_call_is_answered_on_purpose(kind: str, sent: list[Call], tmp_path_factory: pytest.TempPathFactory) -> None:
    """A script's own 500 aside, nothing is an internal error; what one tenant did does not change what another keeps."""
    config = KINDS[kind]
    if kind == "openapi":
        file: Path = tmp_path_factory.getbasetemp() / "shop.json"
        file.write_text(json.dumps(DOCUMENT))
        config = {"openapi": str(file)}
    asyncio.run(_answer(config, sent))


async def _answer(config: dict[str, Any], sent: list[Call]) -> None:
    accepted = config_of(config)
    house = House(Shelf())
    sink = house._build(accepted, accepted.sinks["s"])
    for one in sent:
        other = {"a": "b", "b": "a"}[one.tenant]
        before = house.contents("s", other, 100)
        answer = await sink.answer(one)
        assert answer.status != 500 or not answer.body, (one, answer)
        assert all(value.isascii() and value.isprintable() for value in answer.headers.values()), answer
        if "json" in answer.content_type and answer.body:
            json.loads(answer.body)
        assert house.contents("s", other, 100) == before
    await house.close()
