"""The process of the sinks under control: real processes, real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest

from shadowproxy.config import from_plain
from shadowproxy.control.sinkhouse import SinkHouse
from tests.control.conftest import until
from tests.kit import process
from tests.sinks.kit import ask

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from shadowproxy.config.model import Config


def config_of(sinks: dict[str, Any]) -> Config:
    """A config with these sinks."""
    return from_plain(
        {
            "listen": ["127.0.0.1:8080"],
            "fleets": {"live": {"endpoints": ["http://127.0.0.1:1"]}},
            "routes": [{"live": "live"}],
            "sinks": sinks,
        }
    )


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[SinkHouse]:
    """A house without sinks yet; ended, with its process, when the test is over."""
    one = SinkHouse(tmp_path / "s.sinks.db")
    yield one
    pid = one.pid
    await one.end()
    assert not pid or not process.is_alive(pid)


FIXED = {"orders": {"respond": {"status": 201, "json": {"status": "accepted"}}}}


async def test_a_sink_answers_at_the_address_that_workers_are_told(house: SinkHouse) -> None:
    """What `tell` says is where the sink is, also before its process runs."""
    config = config_of(FIXED)
    told = house.tell(config)["sinks"]
    house.follow(config)
    status, fields, body = await ask(told["orders"], "POST", "/orders", tenant="canary-7", json={"a": 1})
    assert (status, body, fields["X-Shadow-Sink"]) == (201, {"status": "accepted"}, "orders")


async def test_without_sinks_there_is_no_process(house: SinkHouse) -> None:
    """Who has none pays nothing; a reload brings the process, and takes the last sink away again."""
    house.follow(config_of({}))
    assert house.pid == 0
    house.follow(config_of(FIXED))
    assert house.pid
    assert (await ask(house.addresses["orders"], "POST", "/"))[0] == 201
    house.follow(config_of({}))
    assert house.addresses == {}


async def test_a_reload_replaces_adds_and_removes_sinks_without_a_new_process(house: SinkHouse) -> None:
    """The same process, the same port for the sink that stays; the new one is served, the old one is gone."""
    house.follow(config_of({**FIXED, "old": {}}))
    before, pid, old = house.addresses["orders"], house.pid, house.addresses["old"]
    assert (await ask(old, "POST", "/"))[0] == 200
    house.follow(config_of({"orders": {"respond": {"status": 202}}, "new": {"respond": {"text": "new"}}}))
    assert house.addresses["orders"] == before
    assert (await ask(house.addresses["new"], "POST", "/"))[2] == "new"
    assert (await ask(before, "POST", "/"))[0] == 202
    assert house.pid == pid
    with pytest.raises(OSError, match="onnect"):
        await ask(old, "POST", "/")


async def test_a_killed_process_is_replaced_and_what_waits_is_answered(house: SinkHouse) -> None:
    """SIGKILL under load: requests sent while it is down wait at the same address; none is refused a connection."""
    house.follow(config_of(FIXED))
    url = house.addresses["orders"]
    assert (await ask(url, "POST", "/"))[0] == 201
    for _ in range(2):
        pid = house.pid
        os.kill(pid, signal.SIGKILL)
        process.eventually(lambda pid=pid: not process.is_alive(pid), "killed")  # type: ignore[misc]
        answers = await asyncio.gather(*(ask(url, "POST", "/") for _ in range(20)))
        assert {status for status, _, _ in answers} == {201}
        assert house.pid not in {0, pid}
    assert house.restarts == 2
    assert house.addresses["orders"] == url


async def test_counts_reach_control_and_survive_the_process(house: SinkHouse) -> None:
    """Requests by status add up over processes."""
    house.follow(config_of(FIXED))
    for _ in range(3):
        await ask(house.addresses["orders"], "POST", "/")
    await ask(house.addresses["orders"], "POST", "/", tenant="")
    await until(lambda: dict(house.counts["orders"].requests) == {"201": 3, "400": 1}, "counted")
    os.kill(house.pid, signal.SIGKILL)
    assert (await ask(house.addresses["orders"], "POST", "/"))[0] == 201
    await until(lambda: house.counts["orders"].requests["201"] == 4, "counted on")


async def test_the_process_ends_with_control(house: SinkHouse) -> None:
    """Its channel is its life: no orphan answers for a control process that is gone."""
    house.follow(config_of(FIXED))
    await ask(house.addresses["orders"], "POST", "/")
    pid = house.pid
    assert house._running is not None
    house._is_ending = True
    house._running.channel.close()
    process.eventually(lambda: not process.is_alive(pid), "ended")


async def test_a_process_that_cannot_live_is_started_ever_more_slowly(tmp_path: Path) -> None:
    """Dying at once over and over does not burn a CPU, and the house can still be ended."""
    house = SinkHouse(tmp_path / "s.db", command=("false",))
    house.follow(config_of(FIXED))
    await until(lambda: house._delay > 0, "slowed down")
    assert house.restarts >= 5
    await house.end()


async def test_questions_to_a_process_that_is_not_there(tmp_path: Path) -> None:
    """They fail at once, as a state that cannot be read."""
    from shadowproxy.errors import StateError

    house = SinkHouse(tmp_path / "s.db")
    with pytest.raises(StateError, match="do not run"):
        await house.ask("tenants", "orders")
    await house.end()


async def test_a_process_that_is_stuck_is_replaced(house: SinkHouse, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that says nothing any more is killed; what waited for it is answered by the next."""
    monkeypatch.setattr("shadowproxy.control.sinkhouse.SILENCE_TICKS", 6)
    house.follow(config_of(FIXED))
    url = house.addresses["orders"]
    assert (await ask(url, "POST", "/"))[0] == 201
    os.kill(house.pid, signal.SIGSTOP)
    waiting = asyncio.ensure_future(ask(url, "POST", "/"))
    await until(lambda: house.restarts == 1, "replaced")
    with contextlib.suppress(aiohttp.ClientError):  # the stopped process may have taken the connection with it
        assert (await waiting)[0] == 201
    assert (await ask(url, "POST", "/"))[0] == 201
