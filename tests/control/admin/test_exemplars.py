"""Exemplars over the admin API: listed, filtered, shown whole, described."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from shadowproxy.control.admin.openapi import SCHEMAS
from tests.control.test_exemplars import capture

if TYPE_CHECKING:
    from tests.control.conftest import Api


def fits(document: Any, schema: str) -> None:
    """Fail unless the document is what OpenAPI says."""
    jsonschema.Draft202012Validator({"$ref": f"#/components/schemas/{schema}", "components": {"schemas": SCHEMAS}}).validate(document)


async def test_exemplars_are_listed_and_shown(api: Api) -> None:
    """A list without bodies, the worst first; each of them whole under its id."""
    kept = api.supervisor.exemplars
    slow = kept.offer(capture("a", shadow_ns=9_000_000))
    broken = kept.offer(capture("b", shadow="504"), [{"path": "$.total", "kind": "value"}])
    status, _, document = await api("GET", "/api/v1/exemplars")
    assert status == 200
    fits(document, "Exemplars")
    assert [one["id"] for one in document["exemplars"]] == [broken, slow]
    assert "headers" not in document["exemplars"][0]["request"]
    status, _, document = await api("GET", f"/api/v1/exemplars/{broken}")
    assert status == 200
    fits(document, "Exemplar")
    assert document["why"] == [{"kind": "transition", "name": "200 -> 504"}, {"kind": "field", "name": "$.total", "difference": "value"}]
    assert document["request"]["headers"]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("route=all", 2),
        ("route=none", 0),
        ("mirror=shadow", 2),
        ("mirror=other", 0),
        ("transition=200-%3E504", 1),
        ("transition=2xx%20-%3E%205xx", 1),
        ("transition=200%20-%3E%20200", 0),
        ("field=$.total", 1),
        ("field=$.other", 0),
        ("limit=1", 1),
    ],
)
async def test_exemplars_are_filtered(api: Api, query: str, count: int) -> None:
    """By route, mirror, transition and field."""
    api.supervisor.exemplars.offer(capture("a", shadow_ns=9_000_000))
    api.supervisor.exemplars.offer(capture("b", shadow="504"), [{"path": "$.total", "kind": "value"}])
    assert len((await api("GET", f"/api/v1/exemplars?{query}"))[2]["exemplars"]) == count


@pytest.mark.parametrize("limit", ["0", "1001", "x", "", "-1"])
async def test_a_limit_is_a_number(api: Api, limit: str) -> None:
    """Anything else is 400."""
    assert (await api("GET", f"/api/v1/exemplars?limit={limit}"))[0] == 400


async def test_an_exemplar_that_is_not_there_is_404(api: Api) -> None:
    """Whatever the id looks like."""
    assert (await api("GET", "/api/v1/exemplars/00"))[0] == 404
