"""What can be read and changed over the admin API."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest
import yaml

from shadowproxy.control.admin.app import BODY_LIMIT
from shadowproxy.control.admin.openapi import SCHEMAS
from tests.control.conftest import Api, Start, plain, until

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp


def validate(document: Any, name: str) -> None:
    """Check `document` against the schema `name` of the description."""
    schema = {"$ref": f"#/components/schemas/{name}", "components": {"schemas": SCHEMAS}}
    jsonschema.Draft202012Validator(schema).validate(document)


@pytest.mark.parametrize(
    ("path", "schema"),
    [
        ("status", "Status"), ("workers", "Workers"), ("compare", "Compare"), ("compare?route=all", "Compare"), ("compare?buckets=1", "Compare"), ("compare?buckets=epoch", "Compare"), ("config", "Config"),
        ("audit", "AuditRecords"), ("audit?limit=1", "AuditRecords"), ("openapi.json", "Description"),
    ],
)  # fmt: skip
async def test_reads_are_as_described(api: Api, path: str, schema: str) -> None:
    """Every document has the shape that the OpenAPI description gives it."""
    await until(lambda: api.supervisor.counts.mirrors["all/shadow"].eligible > 0, "a report")
    status, headers, document = await api("GET", f"/api/v1/{path}")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    validate(document, schema)


async def test_status_shows_the_evidence_of_the_law(api: Api) -> None:
    """Eligible, pending and fates stand beside the claim that they add up."""
    await until(lambda: api.supervisor.counts.mirrors["all/shadow"].eligible > 0, "a report")
    mirror = (await api("GET", "/api/v1/status"))[2]["mirrors"]["all/shadow"]
    assert mirror["eligible"] == sum(mirror["fates"].values()) + mirror["pending"] == 3
    assert mirror["is_conserved"]


async def test_compare_names_what_it_is_asked_for(api: Api) -> None:
    """A route that does not exist is 404, not an empty table."""
    assert [one["route"] for one in (await api("GET", "/api/v1/compare?route=all"))[2]["mirrors"]] == ["all"]
    assert (await api("GET", "/api/v1/compare?route=other"))[0] == 404


@pytest.mark.parametrize("limit", ["0", "-1", "x", "1001", "", "\u0663"])
async def test_a_limit_outside_its_range_is_refused(api: Api, limit: str) -> None:
    """Bounds are checked."""
    assert (await api("GET", f"/api/v1/audit?limit={limit}"))[0] == 400


async def test_kill_and_resume(api: Api) -> None:
    """Both answer with what each worker made of it."""
    status, _, switched = await api("POST", "/api/v1/kill")
    assert status == 200
    validate(switched, "Switched")
    assert (switched["is_killed"], switched["was_killed"], switched["is_complete"], switched["is_persisted"]) == (True, False, True, True)
    assert (await api("GET", "/api/v1/status"))[2]["is_killed"]
    assert not (await api("POST", "/api/v1/resume", {}))[2]["is_killed"]


async def test_a_config_round_trips(api: Api) -> None:
    """What GET returns can be PUT back: unchanged, same generation."""
    _, headers, document = await api("GET", "/api/v1/config")
    status, _, changed = await api("PUT", "/api/v1/config", document["config"], If_Match=headers["ETag"])
    assert (status, changed["result"], changed["generation"]) == (200, "unchanged", 1)
    validate(changed, "Changed")


async def test_a_config_is_swapped_whole(api: Api) -> None:
    """A changed config comes into force in every worker, with a new generation and digest."""
    _, _, document = await api("GET", "/api/v1/config")
    config = document["config"]
    config["routes"][0]["mirror"][0]["percent"] = 12.5
    status, headers, changed = await api("PUT", "/api/v1/config", config)
    assert (status, changed["result"], changed["generation"]) == (200, "ok", 2)
    assert [worker.generation for worker in api.supervisor.crew.workers] == [2]
    _, now, document = await api("GET", "/api/v1/config")
    assert document["config"]["routes"][0]["mirror"][0]["percent"] == 12.5
    assert now["ETag"] == headers["ETag"]
    assert api.supervisor.audit.latest(1)[0]["after"] == changed["digest"]


async def test_a_stale_etag_is_refused(api: Api) -> None:
    """Two operators cannot overwrite each other's change unawares."""
    _, headers, document = await api("GET", "/api/v1/config")
    config = document["config"]
    config["routes"][0]["mirror"][0]["percent"] = 1.0
    assert (await api("PUT", "/api/v1/config", config, If_Match=headers["ETag"]))[0] == 200
    config["routes"][0]["mirror"][0]["percent"] = 2.0
    assert (await api("PUT", "/api/v1/config", config, If_Match=headers["ETag"]))[0] == 412
    assert (await api("PUT", "/api/v1/config", config, If_Match="W/x"))[0] == 400
    assert api.supervisor.config.routes[0].mirror[0].percent == 1.0


async def test_a_bad_config_is_refused_with_every_problem(api: Api) -> None:
    """All problems at once, with their paths; the old config stays; the refusal is on record."""
    _, _, document = await api("GET", "/api/v1/config")
    config = document["config"]
    config["routes"][0]["live"] = "nowhere"
    config["workers"] = -1
    status, headers, problem = await api("PUT", "/api/v1/config", config)
    assert (status, headers.get("Content-Type").split(";")[0]) == (422, "application/problem+json")
    validate(problem, "Problem")
    assert len(problem["problems"]) >= 2
    assert (await api("GET", "/api/v1/status"))[2]["config"]["generation"] == 1
    assert api.supervisor.audit.latest(1)[0]["result"] == "refused"


@pytest.mark.parametrize("body", [b"", b"[]", b"nonsense", b'"x"', b"[" * 100000, b"\xff"])
async def test_a_body_that_is_no_object_is_refused(api: Api, body: bytes) -> None:
    """Anything but a JSON object is a 400 problem, never a stack trace."""
    status, _, problem = await api("PUT", "/api/v1/config", body)
    assert status == 400
    validate(problem, "Problem")


async def test_a_body_beyond_its_bound_is_refused(api: Api) -> None:
    """The body is bounded."""
    assert (await api("PUT", "/api/v1/config", io.BytesIO(b" " * (BODY_LIMIT + 1))))[0] == 413


async def test_reload_reads_the_file_again(start: Start, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """Unchanged is a no-op, good is applied, bad keeps the old one and says why, each audited."""
    file = tmp_path / "proxy.yaml"
    api = Api(session, await start(file=file))
    assert (await api("POST", "/api/v1/config/reload"))[2]["result"] == "unchanged"
    file.write_text(yaml.safe_dump(plain(tmp_path, limits={"drain_timeout": "2s"})))
    assert (await api("POST", "/api/v1/config/reload"))[2]["generation"] == 2
    file.write_text("routes: 7\n")
    status, _, problem = await api("POST", "/api/v1/config/reload")
    assert status == 422
    assert problem["problems"][0]["file"] == str(file)
    current = (await api("GET", "/api/v1/status"))[2]["config"]
    assert current["generation"] == 2
    assert "proxy.yaml" in current["problem"]
    results = [one["result"] for one in api.supervisor.audit.latest(3)]
    assert results == ["refused", "ok", "unchanged"]


async def test_metrics_in_both_formats(api: Api) -> None:
    """Prometheus text by default, OpenMetrics when asked for."""
    _, headers, text = await api("GET", "/metrics")
    assert headers["Content-Type"].startswith("text/plain")
    assert "# TYPE shadowproxy_requests_total counter" in text or "# TYPE shadowproxy_requests counter" in text
    _, headers, text = await api("GET", "/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert headers["Content-Type"].startswith("application/openmetrics-text")
    assert text.endswith("# EOF\n")


async def test_readiness_follows_the_workers(start: Start, session: aiohttp.ClientSession) -> None:
    """Ready while a worker serves; not ready, with no content beyond that, when none does."""
    api = Api(session, await start("exit"))
    status, _, text = await api("GET", "/readyz", token="")
    assert (status, text) == (503, "not ready\n")
    assert (await api("GET", "/livez", token=""))[0] == 200
    assert json.dumps((await api("GET", "/api/v1/workers"))[2])
