"""Experiments through the admin API: run, shown, stopped, replayed, and refused with every reason."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import jsonschema
import pytest

from shadowproxy.control.admin.openapi import SCHEMAS
from tests.control.conftest import until
from tests.control.governed import exposure, plain

if TYPE_CHECKING:
    from tests.control.conftest import Api

PATH = "/api/v1/experiments"


def is_valid(document: Any, schema: str) -> bool:
    """Whether a document is what the description says."""
    jsonschema.validate(document, SCHEMAS[schema], cls=jsonschema.Draft202012Validator)
    return True


async def test_a_run_through_the_api(api: Api) -> None:
    """201, listed, shown by id and by name, stopped, its journal and its replay."""
    status, _, run = await api("POST", PATH, {"experiment": plain()})
    assert status == 201
    assert is_valid(run, "Experiment")
    assert run["id"] == "slow-1"
    governor = api.supervisor.governor
    (active,) = governor.active
    await until(lambda: active.is_running, "it runs")
    governor.on_exposure(exposure(active, requests=50, errors=1))
    assert (await api("GET", f"{PATH}/slow"))[2]["seen"] == 50
    status, _, stopped = await api("POST", f"{PATH}/slow-1/stop", {"reason": "enough"})
    assert (status, stopped["state"], stopped["code"]) == (200, "aborted", "stopped")
    assert is_valid(stopped, "Experiment")
    assert (await api("POST", f"{PATH}/slow-1/stop", {}))[2]["reason"] == stopped["reason"]
    await until(lambda: not governor.journal.waiting, "the journal is written")
    _, _, listed = await api("GET", PATH)
    assert is_valid(listed, "Experiments")
    assert [one["id"] for one in listed["experiments"]] == ["slow-1"]
    assert listed["journal"]["is_up"]
    status, headers, text = await api("GET", f"{PATH}/slow-1/journal")
    lines = [json.loads(line) for line in text.splitlines()]
    assert headers["Content-Type"].startswith("application/x-ndjson")
    assert [lines[0]["kind"], lines[-1]["kind"]] == ["admitted", "ended"]
    _, _, shown = await api("GET", f"{PATH}/slow-1")
    assert shown["journal"] == {"entries": len(lines), "head": lines[-1]["hash"]}
    status, _, again = await api("GET", f"{PATH}/slow-1/replay")
    assert is_valid(again, "Replay")
    assert again["is_same"]
    assert again["result"] == shown["result"]


async def test_an_attached_run_is_kept_by_those_who_say_so(api: Api) -> None:
    """`keep` answers the run, as often as one likes; it needs the token, brings nothing back, and is no change for the audit log."""
    _, _, run = await api("POST", PATH, {"experiment": plain(), "attached": 30})
    assert run["attached"] == 30
    before = len(api.supervisor.audit.latest(100))
    for _ in range(5):
        status, _, kept = await api("POST", f"{PATH}/slow-1/keep", {})
        assert (status, kept["id"], is_valid(kept, "Experiment")) == (200, "slow-1", True)
    assert len(api.supervisor.audit.latest(100)) == before
    assert (await api("POST", f"{PATH}/slow-1/keep", {}, token="x"))[0] == 401
    assert (await api("GET", f"{PATH}/slow-1/keep"))[0] == 405
    await api("POST", f"{PATH}/slow-1/stop", {})
    assert (await api("POST", f"{PATH}/slow-1/keep", {}))[2]["state"] == "aborted"
    assert (await api("POST", f"{PATH}/nothing/keep", {}))[0] == 404


async def test_a_file_as_text(api: Api) -> None:
    """YAML as it stands in a file; dry; and nothing of our environment is told."""
    text = json.dumps(plain(name="dry"))
    status, _, run = await api("POST", PATH, {"text": text, "dry_run": True})
    assert (status, run["is_dry"]) == (201, True)
    status, _, refused = await api("POST", PATH, {"text": text.replace("shop@example.com", "${env:HOME}")})
    assert status == 422
    assert "HOME" in json.dumps(refused)
    assert api.supervisor.governor.find("dry") is not None


async def test_refusals_come_with_every_reason(api: Api) -> None:
    """409, each with its code, a sentence, and whether it was overruled."""
    body = {"experiment": plain(slice={"percent": 30}, inject={"routes": ["nowhere"], "faults": [{"reset": True}]})}
    status, _, refused = await api("POST", PATH, body)
    assert status == 409
    codes = {one["code"]: one["is_overridden"] for one in refused["refusals"]}
    assert codes["max_percent"] is False
    status, _, refused = await api("POST", PATH, {**body, "force": "because"})
    codes = {one["code"]: one["is_overridden"] for one in refused["refusals"]}
    assert codes["max_percent"] is True
    assert codes["unknown_route"] is False


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ([], 400),
        ({}, 400),
        ({"experiment": 7}, 400),
        ({"experiment": {}, "text": ""}, 400),
        ({"experiment": {}}, 422),
        ({"text": ": ["}, 422),
        ({"text": "name: a"}, 422),
        ({"experiment": plain(), "dry_run": "yes"}, 400),
        ({"experiment": plain(), "force": 1}, 400),
        ({"experiment": plain(), "force": "x" * 501}, 400),
        ({"experiment": plain(), "attached": True}, 400),
        ({"experiment": plain(), "attached": "10s"}, 400),
        ({"experiment": plain(), "attached": 1.9}, 400),
        ({"experiment": plain(), "attached": 3601}, 400),
    ],
)
async def test_what_is_no_experiment_is_told(api: Api, body: Any, status: int) -> None:
    """And nothing runs."""
    assert (await api("POST", PATH, body))[0] == status
    assert (await api("POST", PATH, b"{"))[0] == 400
    assert not api.supervisor.governor.runs


@pytest.mark.parametrize("path", ["/x", "/x/journal", "/x/replay", "/%00", "/x/stop"])
async def test_what_is_not_there(api: Api, path: str) -> None:
    """404, also with a strange id."""
    method = "POST" if path.endswith("stop") else "GET"
    assert (await api(method, PATH + path, {} if method == "POST" else None))[0] == 404
