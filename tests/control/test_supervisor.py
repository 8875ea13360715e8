"""One instance as a whole: start, stop, and what is left behind."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.supervisor import Supervisor
from shadowproxy.errors import ConfigError, ControlError
from tests.control.conftest import FAKE, Api, Start, plain
from tests.kit.process import is_alive

if TYPE_CHECKING:
    from pathlib import Path

    import aiohttp


async def test_a_start_ends_with_every_worker_ready(start: Start) -> None:
    """Once started, all workers serve, listeners have real ports and the run file says where the admin API is."""
    supervisor = await start(workers=2)
    assert supervisor.is_ready
    assert [str(worker.state) for worker in supervisor.crew.workers] == ["ready", "ready"]
    assert supervisor.listeners.address(supervisor.config.listen[0]).port > 0
    facts = json.loads(supervisor.places.run.read_text())
    assert facts["admin"] == supervisor.admin_url
    assert facts["pid"] == os.getpid()


async def test_a_refused_policy_ends_the_start(start: Start) -> None:
    """A policy that workers refuse is a one-line error at the start, not a crash loop."""
    with pytest.raises(ControlError, match="this worker refuses"):
        await start("refuse")


async def test_an_address_in_use_ends_the_start(start: Start) -> None:
    """An address that somebody listens on is named in a one-line error, even where SO_REUSEPORT would share it."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(ControlError, match=f"listener front: cannot listen on {address}: address already in use"):
            await start(listen=[{"name": "front", "address": address}])
        with pytest.raises(ControlError, match=f"admin: cannot listen on {address}: address already in use"):
            await start(admin={"address": address})


async def test_two_instances_do_not_share_one_state(start: Start, tmp_path: Path) -> None:
    """A second instance on the same state is refused: two would write one audit chain."""
    await start()
    with pytest.raises(ControlError, match="another instance runs with this state"):
        Supervisor(from_plain(plain(tmp_path)))


async def test_the_admin_api_is_not_opened_to_others_without_a_token_file(start: Start) -> None:
    """A non-loopback admin address needs a token that somebody chose."""
    with pytest.raises((ControlError, ConfigError), match="token"):
        await start(admin={"address": "0.0.0.0:0"})


async def test_an_end_removes_what_is_temporary(tmp_path: Path) -> None:
    """After a clean end the run file is gone; token, audit log, state and what is known of exposures stay."""
    supervisor = Supervisor(from_plain(plain(tmp_path)), command=(sys.executable, str(FAKE), "good"))
    await supervisor.start()
    pids = [worker.pid for worker in supervisor.crew.workers]
    supervisor.stop()
    await supervisor.end()
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "state.audit.jsonl", "state.db", "state.experiments.jsonl", "state.exposures.db", "state.redaction.key", "state.token",
    ]  # fmt: skip
    assert not any(is_alive(pid) for pid in pids)


async def test_a_worker_that_does_not_drain_is_ended(start: Start) -> None:
    """The drain is bounded: a worker that ignores it is killed after the drain timeout."""
    supervisor = await start("stubborn", limits={"drain_timeout": "50ms"})
    pid = supervisor.crew.workers[0].pid
    supervisor.stop()
    await supervisor.end()
    assert not is_alive(pid)


async def test_a_second_stop_ends_at_once(start: Start) -> None:
    """The second stop does not wait for the drain timeout."""
    supervisor = await start("stubborn", limits={"drain_timeout": "10m"})
    running = asyncio.ensure_future(supervisor.end())
    await asyncio.sleep(0)
    supervisor.stop()
    async with asyncio.timeout(20):
        await running


async def test_a_corrupt_store_does_not_stop_the_start(start: Start, session: aiohttp.ClientSession, tmp_path: Path) -> None:
    """With a corrupt state file the instance serves and says so; the kill switch works, and survives in the audit log."""
    (tmp_path / "state.db").write_bytes(b"this is no database, and longer than a header of one" * 100)
    supervisor = await start()
    api = Api(session, supervisor)
    _, _, status = await api("GET", "/api/v1/status")
    assert status["is_ready"]
    assert not status["store"]["is_up"]
    assert "not a database" in status["store"]["problem"]
    code, _, switched = await api("POST", "/api/v1/kill")
    assert code == 200
    assert switched["is_complete"]
    assert not switched["is_persisted"]
    _, _, text = await api("GET", "/metrics")
    assert "\nshadowproxy_store_up 0.0\n" in text
    await supervisor.end()
    assert (await start()).switch.is_on


async def test_a_directory_that_cannot_be_written_does_not_stop_the_start(start: Start, session: aiohttp.ClientSession) -> None:
    """Without a place for its state the instance serves, with its token in a private temporary directory."""
    supervisor = await start(state="sqlite:////proc/shadowproxy.db")
    api = Api(session, supervisor)
    assert (await api("GET", "/api/v1/status"))[2]["is_ready"]
    assert (await api("POST", "/api/v1/kill"))[2]["is_complete"]
    directory = supervisor.places.token.parent
    assert directory.stat().st_mode & 0o777 == 0o700
    await supervisor.end()
    assert not directory.exists()
