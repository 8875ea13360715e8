"""Resources: each tenant has a world of its own, over live's, which is never written to."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from typing import Any

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule

from shadowproxy.sinks.call import Answer, Call, Refused
from shadowproxy.sinks.resources import Resources
from shadowproxy.sinks.shelf import Shelf
from tests.sinks.kit import call, config_of


class FakeLive:
    """A service by path, that can only be read."""

    def __init__(self, held: dict[str, Any]) -> None:
        self.held = held
        self.asked: list[str] = []

    async def get(self, one: Call, target: str = "") -> Answer:
        """What is at the path of a target."""
        path = (target or one.target).partition("?")[0]
        self.asked.append(path)
        await asyncio.sleep(0)
        if isinstance(self.held.get(path), int):
            return Answer(self.held[path])
        if path not in self.held:
            return Answer(404)
        return Answer(200, json.dumps(self.held[path]).encode(), "application/json", {"ETag": '"live"'})


def resources(*collections: Any, live: FakeLive | None = None, is_asked: bool = True, shelf: Shelf | None = None) -> Resources:
    """Resources over live, or over nothing."""
    config = config_of({"resources": {"collections": list(collections) or ["/orders", "/orders/{order}/items"]}}).sinks["s"].resources
    return Resources("s", config, shelf or Shelf(), live, is_asked=is_asked)  # type: ignore[arg-type]  # a fake


async def told(service: Resources, method: str, target: str, **more: Any) -> tuple[int, Any]:
    """Status (of a refusal too) and body of one call."""
    try:
        answer = await service.answer(call(method, target, **more))
    except Refused as refused:
        return refused.status, refused.code
    assert answer is not None
    return answer.status, json.loads(answer.body) if answer.body else None


async def test_a_tenant_reads_its_own_writes() -> None:
    """Create, read, replace, patch, list, delete."""
    service = resources()
    created = await service.answer(call("POST", "/orders", json={"sku": "a"}))
    assert created is not None
    value = json.loads(created.body)
    path = created.headers["Location"]
    assert (created.status, path) == (201, f"/orders/{value['id']}")
    assert await told(service, "GET", path) == (200, value)
    assert await told(service, "PATCH", path, json={"sku": None, "n": 2}) == (200, {"id": value["id"], "n": 2})
    assert await told(service, "PUT", path, json={"sku": "b"}) == (200, {"id": value["id"], "sku": "b"})
    assert await told(service, "GET", "/orders") == (200, [{"sku": "b", "id": value["id"]}])
    assert await told(service, "DELETE", path) == (204, None)
    assert await told(service, "GET", path) == (421, None)
    assert await told(service, "GET", "/orders/") == (421, None)


async def test_nobody_else_sees_it() -> None:
    """Another tenant neither reads, lists, changes nor deletes it."""
    service = resources(is_asked=False)
    _, value = await told(service, "POST", "/orders", tenant="a", json={"n": 1})
    path = f"/orders/{value['id']}"
    for method in ("GET", "PATCH", "DELETE"):
        assert await told(service, method, path, tenant="b", json={"n": 2}) == (404, "not_found")
    assert await told(service, "PUT", path, tenant="b", json={"n": 3}) == (201, {"id": value["id"], "n": 3})
    assert await told(service, "GET", path, tenant="a") == (200, value)
    assert await told(service, "GET", "/orders", tenant="a") == (200, [value])


@pytest.mark.parametrize(
    ("ids", "pattern"), [("uuid", r"7e577e57-7e57-8[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"), ("integer", r"90000000000000[0-9]{2}"), ("prefixed", r"test-[0-9a-f]{20}")]
)  # fmt: skip
async def test_ids_are_none_of_productions(ids: str, pattern: str) -> None:
    """Each form is well-formed, fresh, and of a range of its own."""
    service = resources({"path": "/orders", "ids": ids})
    seen = [(await told(service, "POST", "/orders", json={}))[1]["id"] for _ in range(20)]
    assert len(set(seen)) == 20
    assert all(re.fullmatch(pattern, str(one)) for one in seen)
    assert all(isinstance(one, int) == (ids == "integer") for one in seen)
    if ids == "uuid":
        assert {uuid.UUID(one).version for one in seen} == {8}
    if ids == "integer":
        await told(service, "DELETE", f"/orders/{seen[-1]}")
        assert (await told(service, "POST", "/orders", json={}))[1]["id"] == seen[-1] + 1


async def test_an_id_that_the_client_chose() -> None:
    """It is kept as it is, once; what is no id is refused."""
    service = resources({"path": "/orders", "id": "number"})
    assert await told(service, "POST", "/orders", json={"number": "a/b c"}) == (201, {"number": "a/b c"})
    assert await told(service, "GET", "/orders/a%2Fb%20c") == (200, {"number": "a/b c"})
    assert await told(service, "POST", "/orders", json={"number": "a/b c"}) == (409, "exists")
    assert await told(service, "POST", "/orders", json={"number": 7}) == (201, {"number": 7})
    refused: list[Any] = ["", "x" * 201, True, 1.5, [], {}, "\ud800", "a\nb", 10**30]
    for bad in refused:
        assert await told(service, "POST", "/orders", json={"number": bad}) == (400, "bad_id")
    assert await told(service, "PUT", "/orders/7", json={"number": 8}) == (409, "id_mismatch")
    assert await told(service, "PUT", "/orders/7", json={"number": 7, "x": 1}) == (200, {"number": 7, "x": 1})
    assert await told(service, "PATCH", "/orders/7", json={"number": 8}) == (409, "id_mismatch")


LIVE = {
    "/orders/5": {"id": 5, "state": "open", "to": {"city": "Oslo", "zip": "1"}},
    "/orders": {"items": [{"id": 5, "state": "open"}], "total": 1},
}


async def test_what_only_live_holds_is_copied_before_it_is_changed() -> None:
    """A patch reads live, merges and keeps; the next read and the list show it; live is the same as before."""
    live = FakeLive(json.loads(json.dumps(LIVE)))
    service = resources(live=live)
    assert await told(service, "GET", "/orders/5") == (421, None)
    patched = {"id": 5, "state": "open", "to": {"city": "Bergen", "zip": "1"}}
    assert await told(service, "PATCH", "/orders/5", json={"to": {"city": "Bergen"}}) == (200, patched)
    assert await told(service, "GET", "/orders/5") == (200, patched)
    assert await told(service, "GET", "/orders") == (200, {"items": [patched], "total": 1})
    assert await told(service, "GET", "/orders/5", tenant="other") == (421, None)
    assert await told(service, "GET", "/orders", tenant="other") == (421, None)
    assert live.held == LIVE


async def test_what_only_live_holds_is_hidden_when_it_is_deleted() -> None:
    """From reads, lists, and whatever belongs to it; created again it is there again."""
    service = resources(live=FakeLive(dict(LIVE)))
    assert await told(service, "DELETE", "/orders/5") == (204, None)
    assert await told(service, "GET", "/orders/5") == (404, "not_found")
    assert await told(service, "GET", "/orders") == (200, {"items": [], "total": 0})
    assert await told(service, "GET", "/orders/5/items") == (404, "not_found")
    assert await told(service, "POST", "/orders/5/items", json={}) == (404, "not_found")
    assert await told(service, "PATCH", "/orders/5", json={"a": 1}) == (404, "not_found")
    assert await told(service, "DELETE", "/orders/5") == (404, "not_found")
    assert await told(service, "PUT", "/orders/5", json={"n": 1}) == (201, {"n": 1, "id": "5"})
    assert await told(service, "GET", "/orders/5") == (200, {"n": 1, "id": "5"})


async def test_put_says_whether_live_holds_it() -> None:
    """200 for what is replaced, 201 for what is new."""
    service = resources(live=FakeLive(dict(LIVE)))
    assert (await told(service, "PUT", "/orders/5", json={"n": 1}))[0] == 200
    assert (await told(service, "PUT", "/orders/6", json={"n": 1}))[0] == 201
    assert await told(service, "PATCH", "/orders/7", json={"n": 1}) == (404, "not_found")
    assert await told(service, "DELETE", "/orders/7") == (404, "not_found")


@pytest.mark.parametrize(
    ("status", "refusal"),
    [(500, (502, "live_unavailable")), (302, (502, "live_unavailable")), (401, (401, "live_refuses")), (403, (403, "live_refuses"))],
)
async def test_what_live_does_not_say_is_not_guessed(status: int, refusal: tuple[int, str]) -> None:
    """A change of what live may hold waits for live; nothing is kept meanwhile."""
    service = resources(live=FakeLive({"/orders/5": status}))
    for method in ("PUT", "PATCH", "DELETE"):
        assert await told(service, method, "/orders/5", json={"a": 1}) == refusal
    assert await told(service, "GET", "/orders/5") == (421, None)


async def test_two_patches_at_once_lose_neither() -> None:
    """Both waited for live; the second is applied to what the first kept."""
    service = resources(live=FakeLive(dict(LIVE)))
    await asyncio.gather(told(service, "PATCH", "/orders/5", json={"a": 1}), told(service, "PATCH", "/orders/5", json={"b": 2}))
    _, value = await told(service, "GET", "/orders/5")
    assert (value["a"], value["b"]) == (1, 2)


async def test_conditions() -> None:
    """If-Match and If-None-Match hold for what is kept and for what live says of its own."""
    service = resources(live=FakeLive(dict(LIVE)))
    assert await told(service, "PATCH", "/orders/5", json={"a": 1}, If_Match='"other"') == (412, "changed")
    assert (await told(service, "PATCH", "/orders/5", json={"a": 1}, If_Match='"x", "live"'))[0] == 200
    read = await service.answer(call("GET", "/orders/5"))
    assert read is not None
    tag = read.headers["ETag"]
    assert await told(service, "GET", "/orders/5", If_None_Match=tag) == (304, None)
    assert await told(service, "DELETE", "/orders/5", If_Match='"live"') == (412, "changed")
    assert (await told(service, "PUT", "/orders/5", json={}, If_Match=tag))[0] == 200
    assert await told(service, "PUT", "/orders/5", json={}, If_None_Match="*") == (412, "exists")
    assert await told(service, "PUT", "/orders/8", json={}, If_Match="*") == (412, "changed")
    assert (await told(service, "PUT", "/orders/8", json={}, If_None_Match="*"))[0] == 201


async def test_what_belongs_to_an_order_goes_with_it() -> None:
    """Nested items are listed under their order alone, without asking live about an order of ours."""
    service = resources(live=FakeLive({}))
    _, order = await told(service, "POST", "/orders", json={})
    path = f"/orders/{order['id']}/items"
    assert await told(service, "GET", path) == (200, [])
    _, line = await told(service, "POST", path, json={"sku": "a"})
    assert await told(service, "GET", path) == (200, [line])
    assert await told(service, "GET", "/orders/other/items") == (421, None)
    assert await told(service, "DELETE", f"/orders/{order['id']}") == (204, None)
    assert await told(service, "GET", f"{path}/{line['id']}") == (421, None)


@pytest.mark.parametrize(
    ("method", "target", "more", "refusal"),
    [
        ("POST", "/orders", {"body": b"{"}, (400, "bad_json")),
        ("POST", "/orders", {"body": b"[]"}, (400, "not_an_object")),
        ("POST", "/orders", {"body": b""}, (400, "not_an_object")),
        ("POST", "/orders", {"body": b'{"a":NaN}'}, (400, "bad_json")),
        ("POST", "/orders", {"body": b'{"a":1,"a":2}'}, (400, "bad_json")),
        ("POST", "/orders", {"body": b'{"a":"\xff"}'}, (400, "bad_json")),
        ("POST", "/orders", {"body": b"[" * 100_000}, (400, "bad_json")),
        ("POST", "/orders", {"body": b"a=1", "Content_Type": "application/x-www-form-urlencoded"}, (415, "unsupported_media_type")),
        ("PATCH", "/orders/1", {"body": b"[]", "Content_Type": "application/json-patch+json"}, (415, "unsupported_media_type")),
        ("DELETE", "/orders", {}, (405, "method_not_allowed")),
        ("POST", "/orders/1", {"json": {}}, (405, "method_not_allowed")),
        ("GET", "/orders/" + "x" * 201, {}, (404, "not_found")),
        ("GET", "/orders/%ff", {}, (400, "bad_path")),
    ],
)
async def test_what_is_wrong_is_refused(method: str, target: str, more: dict[str, Any], refusal: tuple[int, str]) -> None:
    """By body, type, method and path."""
    assert await told(resources(), method, target, **more) == refusal


async def test_other_paths_are_not_ours() -> None:
    """Neither deeper nor beside."""
    service = resources("/orders")
    for target in ("/", "/order", "/orders/1/items", "/v1/orders", "//orders"):
        assert await service.answer(call("GET", target)) is None


async def test_without_a_proxy_in_front_the_sink_asks_live_itself() -> None:
    """Where nobody reads live after a 421, reads show live's own answer."""
    service = resources(live=FakeLive(dict(LIVE)), is_asked=False)
    assert (await told(service, "GET", "/orders/5"))[1] == LIVE["/orders/5"]
    assert (await told(service, "GET", "/orders"))[1] == LIVE["/orders"]
    assert await told(service, "GET", "/orders/6") == (404, None)
    assert await told(resources(is_asked=False), "GET", "/orders") == (200, [])


class AgainstADictionary(RuleBasedStateMachine):
    """Whatever tenants do, each sees a dictionary of its own."""

    TENANTS = st.sampled_from(["a", "b"])
    KEYS = st.sampled_from(["1", "2", "3", "é/ü"])
    VALUES = st.dictionaries(st.sampled_from("xyz"), st.none() | st.integers(0, 3), max_size=3)

    def __init__(self) -> None:
        super().__init__()
        self.live = FakeLive({"/orders/1": {"id": "1", "x": 9}, "/orders": [{"id": "1", "x": 9}]})
        self.service = resources("/orders", live=self.live, is_asked=False)
        self.model: dict[str, dict[str, Any]] = {tenant: {"1": {"id": "1", "x": 9}} for tenant in "ab"}

    def ask(self, method: str, key: str, tenant: str, **more: Any) -> tuple[int, Any]:
        """One call."""
        from urllib.parse import quote

        return asyncio.run(told(self.service, method, f"/orders/{quote(key, safe='')}" if key else "/orders", tenant=tenant, **more))

    @rule(tenant=TENANTS, value=VALUES)
    def create(self, tenant: str, value: dict[str, Any]) -> None:
        """With an id of the sink's."""
        status, created = self.ask("POST", "", tenant, json=value)
        assert status == 201
        self.model[tenant][created["id"]] = value | {"id": created["id"]}

    @rule(tenant=TENANTS, key=KEYS, value=VALUES)
    def put(self, tenant: str, key: str, value: dict[str, Any]) -> None:
        """In place of what is there."""
        status, _ = self.ask("PUT", key, tenant, json=value)
        assert status == (200 if key in self.model[tenant] else 201)
        self.model[tenant][key] = value | {"id": key}

    @rule(tenant=TENANTS, key=KEYS, value=VALUES)
    def patch(self, tenant: str, key: str, value: dict[str, Any]) -> None:
        """A part of it."""
        status, _ = self.ask("PATCH", key, tenant, json=value)
        assert status == (200 if key in self.model[tenant] else 404)
        if status == 200:
            merged = self.model[tenant][key] | value
            self.model[tenant][key] = {name: one for name, one in merged.items() if name not in value or one is not None}

    @rule(tenant=TENANTS, key=KEYS)
    def delete(self, tenant: str, key: str) -> None:
        """Gone for this tenant."""
        assert self.ask("DELETE", key, tenant)[0] == (204 if self.model[tenant].pop(key, None) is not None else 404)

    @rule(tenant=TENANTS, key=KEYS)
    def read(self, tenant: str, key: str) -> None:
        """One, and all."""
        status, value = self.ask("GET", key, tenant)
        assert (status, value if status == 200 else None) == ((200, self.model[tenant][key]) if key in self.model[tenant] else (404, None))
        listed = self.ask("GET", "", tenant)[1]
        assert sorted(listed, key=str) == sorted(self.model[tenant].values(), key=str)
        assert self.live.held == {"/orders/1": {"id": "1", "x": 9}, "/orders": [{"id": "1", "x": 9}]}


TestAgainstADictionary = AgainstADictionary.TestCase


async def test_a_forgotten_counter_overwrites_nothing() -> None:
    """Integer ids go on behind those that are there."""
    shelf = Shelf()
    service = resources({"path": "/orders", "ids": "integer"}, shelf=shelf)
    first = (await told(service, "POST", "/orders", json={"n": 1}))[1]
    with shelf._transaction() as connection:
        connection.execute("DELETE FROM marks")
    second = (await told(service, "POST", "/orders", json={"n": 2}))[1]
    assert second["id"] == first["id"] + 1
    assert await told(service, "GET", f"/orders/{first['id']}") == (200, first)
