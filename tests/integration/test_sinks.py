"""Tagged writes through the whole proxy into sinks: read-your-writes over live, and a sink process that is killed under load."""

from __future__ import annotations

import json
import os
import signal
from typing import TYPE_CHECKING, Any

import pytest

from tests.kit import Client, Origin, SupervisedProxy, answers, process
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TAG = ("X-Test-Traffic", "canary-7")


@pytest.fixture
def live() -> Iterator[Origin]:
    """The live service: one order."""
    origin = Origin("live")
    origin.on("/orders", answers.ok(b'[{"id":"1","n":1}]', fields=[("Content-Type", "application/json")]))
    origin.on("/orders/1", answers.ok(b'{"id":"1","n":1}', fields=[("Content-Type", "application/json")]))
    yield origin
    origin.stop()


@pytest.fixture
def proxy(live: Origin, tmp_path: Path) -> Iterator[SupervisedProxy]:
    """A proxy whose tagged writes go to a sink that keeps orders."""
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}},
        "routes": [{"name": "orders", "live": "live", "test_traffic": {"reads": "live", "writes": {"sink": "orders"}}}],
        "sinks": {"orders": {"resources": {"collections": ["/orders"]}}},
        "limits": {"drain_timeout": "5s"},
    }
    with SupervisedProxy(config, tmp_path) as running:
        yield running


def ask(proxy: SupervisedProxy, method: str, path: str, body: Any = None, *fields: tuple[str, str]) -> tuple[int, Any]:
    """Status and JSON of one request on a connection of its own."""
    payload = b"" if body is None else json.dumps(body).encode()
    lines = [("Host", "shop.example"), ("Content-Type", "application/json"), ("Content-Length", str(len(payload))), *fields]
    head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines) + "\r\n"
    with Client(proxy.address("front")) as client:
        client.send(head.encode() + payload)
        answer = client.response(method)
    return answer.status, json.loads(answer.body) if answer.body else None


def sink_pid(proxy: SupervisedProxy) -> int:
    """The process of the sinks."""
    return int(proxy.api("GET", "/api/v1/sinks").json()["pid"] or 0)


def test_a_tenant_reads_its_own_writes_and_live_never_sees_them(proxy: SupervisedProxy, live: Origin) -> None:
    """Created, listed beside live's, patched and deleted: for the tenant. Users see live as it is."""
    status, created = ask(proxy, "POST", "/orders", {"n": 2}, TAG)
    assert status == 201
    assert ask(proxy, "GET", f"/orders/{created['id']}", None, TAG) == (200, created)
    assert ask(proxy, "GET", "/orders", None, TAG) == (200, [{"id": "1", "n": 1}, created])
    assert ask(proxy, "PATCH", "/orders/1", {"n": 5}, TAG) == (200, {"id": "1", "n": 5})
    assert ask(proxy, "GET", "/orders/1", None, TAG) == (200, {"id": "1", "n": 5})
    assert ask(proxy, "GET", "/orders/1", None, ("X-Test-Traffic", "other")) == (200, {"id": "1", "n": 1})
    assert ask(proxy, "DELETE", "/orders/1", None, TAG)[0] == 204
    assert ask(proxy, "GET", "/orders", None, TAG) == (200, [created])
    assert ask(proxy, "GET", "/orders") == (200, [{"id": "1", "n": 1}])
    assert {seen.method for seen in live.requests} == {"GET"}


def test_killed_under_load_nothing_is_lost_and_nothing_reaches_live(proxy: SupervisedProxy, live: Origin) -> None:
    """Tagged writes get 201, or 5xx while the sink is down; every 201 is kept; not one write is seen by live."""
    kept, failed = [], 0
    killed: list[int] = []
    for number in range(60):
        if number in (20, 40):
            killed.append(sink_pid(proxy))
            os.kill(killed[-1], signal.SIGKILL)
        status, body = ask(proxy, "POST", "/orders", {"n": number}, TAG)
        assert status in (201, 502, 503)
        if status == 201:
            kept.append(body)
        else:
            failed += 1
    eventually(lambda: sink_pid(proxy) not in {0, *killed}, "replaced")
    listed = ask(proxy, "GET", "/orders", None, TAG)[1]
    assert all(one in listed for one in kept)
    assert len(kept) + failed == 60
    assert len(kept) >= 40
    assert {seen.method for seen in live.requests} <= {"GET"}
    assert proxy.api("GET", "/api/v1/sinks").json()["restarts"] == 2
    assert not any(process.is_alive(pid) for pid in killed)


def test_a_reload_brings_a_sink(proxy: SupervisedProxy) -> None:
    """A sink that the new config has is there when the reload is; what the old one keeps is kept."""
    _, created = ask(proxy, "POST", "/orders", {"n": 2}, TAG)
    routes = [
        {"name": "mail", "match": {"path": "/mail"}, "live": "live", "test_traffic": {"writes": {"sink": "mail"}}},
        *proxy.config["routes"],
    ]
    proxy.write({**proxy.config, "routes": routes, "sinks": {**proxy.config["sinks"], "mail": {"preset": "email"}}})
    assert proxy.api("POST", "/api/v1/config/reload", {}).status == 200
    assert ask(proxy, "POST", "/mail/send", {"to": "ada"}, TAG)[0] == 202
    assert ask(proxy, "GET", f"/orders/{created['id']}", None, TAG) == (200, created)


def test_what_sinks_keep_outlives_control(live: Origin, tmp_path: Path) -> None:
    """SIGKILL of the control process ends the sinks too; the next one has what they kept."""
    config = {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url]}},
        "routes": [{"name": "orders", "live": "live", "test_traffic": {"writes": {"sink": "orders"}}}],
        "sinks": {"orders": {"resources": {"collections": ["/orders"]}}},
    }
    first = SupervisedProxy(config, tmp_path)
    try:
        status, created = ask(first, "POST", "/orders", {"n": 2}, TAG)
        assert status == 201
        pid = sink_pid(first)
    finally:
        first.abandon()
    eventually(lambda: not process.is_alive(pid), "the sinks ended")
    with SupervisedProxy(config, tmp_path) as second:
        assert ask(second, "GET", f"/orders/{created['id']}", None, TAG) == (200, created)
