"""Rollouts and drills over the admin API: what is answered, what is refused, and that the answers fit their description."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.errors import StateError
from tests.control.admin.test_exemplars import fits
from tests.control.conftest import Api, Start, until

if TYPE_CHECKING:
    import aiohttp

FLEET = {
    "endpoints": ["http://127.0.0.1:1", "http://127.0.0.1:2"],
    "labels": [{"endpoint": "http://127.0.0.1:1", "zone": "a"}],
}


@pytest.fixture
async def shop(start: Start, session: aiohttp.ClientSession) -> Api:
    """The API of an instance with a rollout and a zone."""
    fleets = {"live": FLEET, "v2": {"endpoints": ["http://127.0.0.1:3"]}}
    routes = [{"name": "shop", "match": {"path": "/shop"}, "live": "live", "rollout": {"to": "v2"}}, {"name": "rest", "live": "live"}]
    return Api(session, await start(fleets=fleets, routes=routes))


async def ask(api: Api, method: str, path: str, body: Any = None, *, status: int = 200, schema: str = "") -> Any:
    """The document of an answer with that status, which fits its schema."""
    found, _, document = await api(method, path, body)
    assert found == status, document
    if schema:
        fits(document, schema)
    return document


async def test_a_rollout_is_begun_and_steered(shop: Api) -> None:
    """From idle to rolled back, each answer with where it stands, who and why on record."""
    (idle,) = (await ask(shop, "GET", "/api/v1/rollouts", schema="Rollouts"))["rollouts"]
    assert (idle["state"], idle["id"], idle["route"]) == ("idle", None, "shop")
    await ask(shop, "POST", "/api/v1/rollouts/shop/start", {"reason": "release 7"}, schema="Rollout")
    for order, state, percent in (
        ("promote", "running", 5.0),
        ("pause", "paused", 5.0),
        ("resume", "running", 5.0),
        ("complete", "completed", 100.0),
    ):
        document = await ask(shop, "POST", f"/api/v1/rollouts/shop/{order}", {}, schema="Rollout")
        assert (document["state"], document["percent"]) == (state, percent)
    document = await ask(shop, "POST", "/api/v1/rollouts/shop/abort", {"reason": "it is <b>late</b>"})
    assert document["reason"].startswith("aborted by hand: ")
    assert "it is <b>late</b>" in document["reason"]
    records = (await ask(shop, "GET", "/api/v1/audit"))["records"]
    (begun,) = [one for one in records if one["action"] == "rollout.start"]
    assert "(release 7)" in begun["detail"]
    assert (await ask(shop, "GET", "/api/v1/rollouts/shop", schema="Rollout"))["state"] == "rolled_back"


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("rest/start", {}, 404),
        ("gone/start", {}, 404),
        ("shop/fly", {}, 404),
        ("shop/pause", {}, 409),
        ("shop/start", {"reason": 5}, 400),
        ("shop/start", {"reason": "x" * 501}, 400),
        ("shop/start", [1], 400),
        ("shop/start", b"{", 400),
    ],
)
async def test_what_makes_no_sense_is_refused(shop: Api, path: str, body: Any, status: int) -> None:
    """With a problem document, and nothing has begun."""
    await ask(shop, "POST", f"/api/v1/rollouts/{path}", body, status=status, schema="Problem")
    assert (await ask(shop, "GET", "/api/v1/rollouts/shop"))["state"] == "idle"


async def test_a_broken_store_is_503(shop: Api) -> None:
    """What cannot be written down is not begun."""

    async def broken(key: str, value: str) -> None:
        raise StateError(f"{key} cannot be written")

    shop.supervisor.store.put = broken  # type: ignore[method-assign]
    await ask(shop, "POST", "/api/v1/rollouts/shop/start", {}, status=503, schema="Problem")


async def test_a_zone_is_evacuated_and_brought_back(shop: Api) -> None:
    """With its measurements; and a second end is no mistake."""
    started = await ask(
        shop, "POST", "/api/v1/evacuations", {"fleet": "live", "label": "zone", "value": "a", "seconds": 60}, schema="Evacuation"
    )
    assert (started["endpoints"], started["left"]) == (["http://127.0.0.1:1"], ["http://127.0.0.1:2"])
    assert shop.supervisor.arming.state()["evacuated"] == [{"fleet": "live", "label": "zone", "value": "a"}]
    await ask(shop, "GET", "/api/v1/evacuations", schema="Evacuations")
    (over,) = (await ask(shop, "POST", "/api/v1/evacuations/end", {}, schema="Evacuations"))["evacuations"]
    assert over["is_over"]
    assert (await ask(shop, "POST", "/api/v1/evacuations/end"))["evacuations"] == []
    await until(lambda: not shop.supervisor.arming.state()["evacuated"], "workers are told")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"fleet": "live", "label": "shelf", "value": "a"}, 400),
        ({"fleet": "live", "label": "zone", "value": ""}, 400),
        ({"fleet": "live", "label": ["zone"], "value": "a"}, 400),
        ({"fleet": "live", "label": "zone", "value": "a", "seconds": -1}, 400),
        ({"fleet": "live", "label": "zone", "value": "a", "seconds": True}, 400),
        ({"fleet": "live", "label": "zone", "value": "a", "seconds": 1e9}, 400),
        (b'{"fleet": "live", "label": "zone", "value": "a", "seconds": NaN}', 400),
        ({"fleet": "gone", "label": "zone", "value": "a"}, 404),
        ({"fleet": "live", "label": "zone", "value": "moon"}, 409),
        ({"fleet": "v2", "label": "zone", "value": "a"}, 409),
    ],
)
async def test_drills_that_make_no_sense_are_refused(shop: Api, body: Any, status: int) -> None:
    """And nothing is evacuated."""
    await ask(shop, "POST", "/api/v1/evacuations", body, status=status, schema="Problem")
    await ask(shop, "POST", "/api/v1/evacuations/end", {"fleet": 7}, status=400, schema="Problem")
    assert not shop.supervisor.arming.state()["evacuated"]
