"""Who is affected, over the admin API."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING
from urllib.parse import quote

import pytest

from tests.control.admin.test_exemplars import fits
from tests.control.test_exposures import experiment, mark

if TYPE_CHECKING:
    from tests.control.conftest import Api


async def test_hits_slices_and_mirrors_are_told(api: Api) -> None:
    """With sentences, and without the unit."""
    exposures, now = api.supervisor.exposures, time.time()
    exposures.note_run("slow-1", experiment(), 50.0, now - 60)
    exposures.note_units("slow-1", {mark("kim@example.com"): 3}, now - 50)
    exposures.note_end("slow-1", "completed", now - 40)
    status, _, document = await api("GET", f"/api/v1/whois?unit={quote('kim@example.com')}")
    assert status == 200
    fits(document, "Whois")
    assert document["experiments"][0]["hits"]["count"] == 3
    assert document["affected"][0].startswith("This unit got 3 slowed answers from experiment slow")
    assert [one["name"] for one in document["mirrors"]] == ["all/shadow"]
    assert document["mirrors"][0]["sentence"].startswith("Mirror all/shadow samples each request by itself")
    assert document["is_complete"]
    assert "kim" not in str(document)


async def test_the_unit_is_nowhere_afterwards(api: Api) -> None:
    """Not in the audit log, nor in any file beside the state."""
    assert (await api("GET", "/api/v1/whois?unit=very-private-user"))[0] == 200
    assert (await api("GET", "/api/v1/whois?unit=very-private-user", token="wrong"))[0] == 401
    await api.supervisor.exposures.flush()
    kept = b"".join(path.read_bytes() for path in api.supervisor.places.token.parent.iterdir() if path.is_file())
    assert b"very-private" not in kept


async def test_only_what_is_asked_for(api: Api) -> None:
    """By key, and by when it ended."""
    exposures, now = api.supervisor.exposures, time.time()
    exposures.note_run("slow-1", experiment(), 50.0, now - 100)
    exposures.note_end("slow-1", "completed", now - 90)
    for query, count in (("", 1), ("&key=header:x-user-id", 1), ("&key=client", 0), (f"&since={now - 50}", 0), (f"&since={now - 95}", 1)):
        assert len((await api("GET", f"/api/v1/whois?unit=u{query}"))[2]["experiments"]) == count, query


@pytest.mark.parametrize("query", ["", "unit=", "unit=" + "x" * 5000, "unit=u&since=x", "unit=u&since=nan"])
async def test_questions_that_make_no_sense(api: Api, query: str) -> None:
    """Are 400."""
    assert (await api("GET", f"/api/v1/whois?{query}"))[0] == 400


async def test_units_are_bytes(api: Api) -> None:
    """What is no ASCII is taken as UTF-8."""
    exposures, now = api.supervisor.exposures, time.time()
    exposures.note_run("slow-1", experiment(), 50.0, now - 60)
    exposures.note_units("slow-1", {mark("Zoë 日本"): 1}, now - 50)
    document = (await api("GET", f"/api/v1/whois?unit={quote('Zoë 日本')}"))[2]
    assert document["experiments"][0]["hits"]["count"] == 1


async def test_a_record_that_does_not_work_is_503(api: Api) -> None:
    """With the reason, and the rest goes on."""
    exposures = api.supervisor.exposures
    await exposures.flush()
    await exposures.close()
    exposures._thread = None
    exposures.path.unlink()
    exposures.path.mkdir()
    status, _, document = await api("GET", "/api/v1/whois?unit=u")
    assert status == 503
    assert "exposures.db" in document["detail"]
    assert (await api("GET", "/api/v1/status"))[0] == 200
