"""The stage: everything runs inside it, nothing after it."""

from __future__ import annotations

import asyncio
import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import aiohttp
import pytest

from shadowproxy.config import load_text
from shadowproxy.config.experiment_file import load_experiment_text
from shadowproxy.demo import findings
from shadowproxy.demo.children import DemoError
from shadowproxy.demo.shop import V2
from shadowproxy.demo.stage import EXPERIMENT, ROUTES, Stage, Users, config_text

if TYPE_CHECKING:
    from shadowproxy.demo.findings import Comparison


def _pids(stage: Stage) -> list[int]:
    return [child.pid for child in stage._children]


async def _settled(stage: Stage, eligible: int) -> Comparison:
    """The product route's comparison, once `eligible` requests have reached their counters."""
    async with asyncio.timeout(30):
        while True:
            found = {one.route: one for one in findings.read(await stage.compare())}["product"]
            if found.eligible - found.pending >= eligible:
                return found
            await asyncio.sleep(0.05)


def test_its_config_is_one_that_check_accepts() -> None:
    """The written config loads without a problem or a warning, and mirrors a user everywhere or nowhere."""
    loaded = load_text(config_text("http://127.0.0.1:9001", "http://127.0.0.1:9002", Path("/tmp/demo.db")))
    assert not loaded.warnings
    assert [route.name for route in loaded.config.routes] == ["recommendations", "home", *ROUTES]
    assert {(mirror.salt, mirror.key, mirror.holdout) for route in loaded.config.routes for mirror in route.mirror} == {
        ("demo", "header:x-user-id", 10.0)
    }


async def test_the_seeded_bug_is_found_and_everything_ends() -> None:
    """A broken product, asked for by some users: live is well, the shadow's 500s are counted, and afterwards no process and no file is left."""
    broken = min(V2.broken)
    async with Stage() as stage:
        pids, directory = _pids(stage), stage.directory
        async with aiohttp.ClientSession() as client:
            # Several users, since one in ten is held out; which ones is fixed by the hash space.
            for number in range(10):
                async with client.get(f"{stage.addresses.proxy}/products/{broken}", headers={"X-User-Id": f"user-{number}"}) as answer:
                    assert answer.status == 200
        found = await _settled(stage, 10)
        assert found.pairs + found.not_compared.get("holdout", 0) == 10
        assert found.changes == (("200", "500", found.pairs),)
    assert len(pids) == 3
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not directory.exists()


async def test_traffic_reaches_both_shops_and_is_accounted_for() -> None:
    """A short crowd: no user sees a failure, and every request ends in a counter."""
    async with Stage() as stage:
        await stage.traffic(Users(rate=60, seconds=1.5))
        assert stage.seen["failed"] == 0
        async with asyncio.timeout(30):
            compared = findings.read(await stage.compare())
            # Each session begins with the home page, which is not mirrored.
            while sum(one.eligible - one.pending for one in compared) < stage.seen["sent"] - stage.seen["sessions"]:
                await asyncio.sleep(0.05)
                compared = findings.read(await stage.compare())
        assert findings.accounting(compared).endswith("every one is accounted for.")


async def test_a_server_that_dies_ends_the_demonstration_with_its_name() -> None:
    """Traffic over a dead shop is an error that says which process ended."""
    async with Stage() as stage:
        os.kill(_pids(stage)[0], signal.SIGKILL)
        with pytest.raises(DemoError, match="the live process ended"):
            await stage.traffic(Users(rate=20, seconds=60))


async def test_a_stage_that_cannot_start_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """When the proxy refuses its config, the shops are ended, the directory is gone and the error quotes the reason."""
    monkeypatch.setattr("shadowproxy.demo.stage.config_text", lambda *_: "listen: []\n")
    stage = Stage()
    with pytest.raises(DemoError, match=r"(?s)the proxy process ended:.*listen"):
        async with stage:
            pass
    assert not stage._children
    assert not stage.directory.exists()


async def test_closing_is_finished_even_when_cancelled() -> None:
    """A cancellation while it is taken down waits until nothing is left."""
    stage = Stage()
    await stage.__aenter__()
    pids = _pids(stage)
    closing = asyncio.ensure_future(stage.close())
    await asyncio.sleep(0)
    closing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await closing
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
    assert not stage.directory.exists()


def test_the_experiment_that_is_offered_is_one() -> None:
    """It is accepted as it stands, on routes that the demonstration has, and within what an instance allows."""
    experiment = load_experiment_text(EXPERIMENT)
    config = load_text(config_text("http://127.0.0.1:1", "http://127.0.0.1:2", Path("demo.db"))).config
    assert {*experiment.inject.routes, *experiment.observe} <= {route.name for route in config.routes}
    assert experiment.slice.percent <= config.experiments.max_percent
