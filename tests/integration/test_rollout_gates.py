"""Roll-outs that ask for the verdict: a whole proxy, a bad build, and the next one."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.control.places import gate_token
from tests.kit import Client, Origin, SupervisedProxy
from tests.kit.answers import ok
from tests.kit.process import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

BUILD = "X-Build"


@pytest.fixture
def live() -> Iterator[Origin]:
    """Live, build 1."""
    origin = Origin("live")
    origin.answer = ok(b"fine", fields=[(BUILD, "1")])
    yield origin
    origin.stop()


@pytest.fixture
def shadow() -> Iterator[Origin]:
    """The shadow, build 2, of which nothing works."""
    origin = Origin("shadow")
    origin.answer = ok(b"broken", status=500, fields=[(BUILD, "2")])
    yield origin
    origin.stop()


def config(live: Origin, shadow: Origin) -> dict[str, Any]:
    """Everything is mirrored; answers name their build."""
    revision = f"header:{BUILD.lower()}"
    return {
        "listen": [{"name": "front"}],
        "fleets": {"live": {"endpoints": [live.url], "revision": revision}, "shadow": {"endpoints": [shadow.url], "revision": revision}},
        "routes": [{"name": "orders", "live": "live", "mirror": [{"to": "shadow"}]}],
        "limits": {"drain_timeout": "5s"},
    }


def argo(proxy: SupervisedProxy, revision: str) -> int:
    """The measurement of Argo Rollouts' web provider."""
    reply = proxy.api("GET", f"/api/v1/gates/argo?route=orders&revision={revision}", fields={"Host": "shadowproxy.proxy.svc:9901"})
    assert reply.status == 200
    value: int = reply.json()["value"]
    return value


def flagger(proxy: SupervisedProxy, hook: str, revision: str) -> bool:
    """Whether a webhook of Flagger passes, as Flagger sends it: no header of ours, the token in the metadata."""
    token = gate_token(hashlib.sha256(proxy.token.encode()).digest())
    payload = {
        "name": "orders",
        "namespace": "shop",
        "phase": "Progressing",
        "checksum": "5f7c",
        "metadata": {"token": token, "revision": revision},
    }
    reply = proxy.api(
        "POST", f"/api/v1/gates/flagger?hook={hook}&route=orders", payload, token="", fields={"Host": "shadowproxy.proxy.svc:9901"}
    )
    assert reply.status in {200, 409}, reply.body
    return reply.status == 200


def test_a_bad_build_is_stopped_and_the_next_one_starts_anew(live: Origin, shadow: Origin, tmp_path: Path) -> None:
    """REGRESSION of build 2 aborts and rolls back the roll-out of build 2, says nothing about build 3, and is gone once build 3 answers."""
    with SupervisedProxy(config(live, shadow), tmp_path) as proxy, Client(proxy.address("front")) as client:
        assert argo(proxy, "2") == 0
        assert flagger(proxy, "rollout", "2")
        assert not flagger(proxy, "confirm-promotion", "2")

        def send_until(verdict: str, builds: list[str], what: str) -> None:
            def is_so() -> bool:
                assert client.get("/").status == 200
                (found,) = proxy.api("GET", "/api/v1/verdict").json()["verdicts"]
                return bool(found["verdict"] == verdict and found["revisions"]["shadow"] == builds)

            eventually(is_so, what, patience_s=60)

        send_until("REGRESSION", ["2"], "build 2 is found out")
        assert argo(proxy, "2") == -1
        assert argo(proxy, "3") == 0
        assert flagger(proxy, "rollback", "2")
        assert not flagger(proxy, "rollback", "3")
        assert not flagger(proxy, "rollout", "2")

        shadow.answer = ok(b"fine", fields=[(BUILD, "3")])
        # Both builds count as answering until the old one has been silent for a while; the evidence is of neither alone.
        send_until("UNDECIDED", ["2", "3"], "the evidence begins anew with build 3")
        assert argo(proxy, "2") == argo(proxy, "3") == 0
        assert flagger(proxy, "rollout", "3")
        assert not flagger(proxy, "confirm-promotion", "3")
        assert not flagger(proxy, "rollback", "3")
        assert proxy.token not in proxy.log()
        assert "gate-" not in proxy.log()
