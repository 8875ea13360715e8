"""The kit's whole proxy: control, workers and admin API, started and stopped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kit import Client, Origin, SupervisedProxy, settings
from tests.kit.process import is_alive, rss_bytes

if TYPE_CHECKING:
    from pathlib import Path


def test_a_whole_proxy_serves_and_leaves_nothing(tmp_path: Path) -> None:
    """It is ready when constructed, serves through its workers, knows its token, and ends with all of them."""
    live, shadow = Origin("live"), Origin("shadow")
    try:
        config = settings(live={"endpoints": [live.url]}, shadow={"endpoints": [shadow.url]}, workers=2)
        with SupervisedProxy(config, tmp_path) as proxy:
            pids = [proxy.pid, *proxy.workers()]
            assert len(pids) == 3
            assert all(rss_bytes(pid) for pid in pids)
            with Client(proxy.address("front")) as client:
                assert client.get("/whole").status == 200
            live.wait_for("/whole")
            shadow.wait_for("/whole")
            assert proxy.api("GET", "/api/v1/status").status == 200
            assert proxy.api("GET", "/api/v1/status", token="").status == 401
        assert not any(is_alive(pid) for pid in pids)
        assert not [*live.problems(), *shadow.problems()]
    finally:
        live.stop()
        shadow.stop()
