"""The codeword stops the world without a token, and cannot be guessed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from shadowproxy.control.admin.guard import FAILURES_ALLOWED
from tests.control.conftest import Api, Start, until
from tests.control.governed import leases_of, running

if TYPE_CHECKING:
    import aiohttp

WORD = "X-Stop-The-World"
VALUE = "ladders-and-umbrellas-42"


@pytest.fixture
async def api(start: Start, session: aiohttp.ClientSession) -> Api:
    """The API of an instance that listens for a codeword."""
    return Api(session, await start(experiments={"kill_header": f"{WORD}: {VALUE}"}))


async def test_it_stops_everything_without_a_token(api: Api) -> None:
    """On any path, with any method, whatever else is wrong with the request; and says who it was."""
    run = await running(api.supervisor)
    status, _, done = await api("GET", "/nowhere", token="", **{WORD: VALUE, "Host": "elsewhere.example"})
    assert status == 200
    assert done["is_killed"]
    assert done["is_complete"]
    assert str(run.state) == "killed"
    assert not leases_of(api.supervisor)
    record = next(one for one in api.supervisor.audit.latest(10) if one["action"] == "kill")
    assert (record["actor"], record["source"]) == ("codeword", "127.0.0.1")
    assert VALUE not in str(list(api.supervisor.audit.records))


@pytest.mark.parametrize("said", ["", VALUE[:-1], VALUE + "x", VALUE.upper(), "é"])
async def test_anything_else_stops_nothing(api: Api, said: str) -> None:
    """And the request is treated as any other."""
    assert (await api("GET", "/livez", token="", **{WORD: said}))[0] == 200
    assert (await api("GET", "/api/v1/status", token="", **{WORD: said}))[0] == 401
    assert not api.supervisor.switch.is_on


async def test_it_cannot_be_guessed(api: Api) -> None:
    """After a few wrong ones an address is not listened to; its token is, and so is everybody else."""
    for number in range(FAILURES_ALLOWED):
        await api("GET", "/livez", token="", **{WORD: f"wrong-{number:04}"})
    refused = [one for one in api.supervisor.audit.latest(50) if one["action"] == "kill" and one["result"] == "refused"]
    assert len(refused) == FAILURES_ALLOWED
    await api("GET", "/livez", token="", **{WORD: VALUE})
    assert not api.supervisor.switch.is_on
    assert len([one for one in api.supervisor.audit.latest(50) if one["action"] == "kill"]) == FAILURES_ALLOWED
    assert (await api("POST", "/api/v1/kill"))[0] == 200
    await until(lambda: api.supervisor.switch.is_on, "the token stops")


async def test_without_one_no_header_means_anything(start: Start, session: aiohttp.ClientSession) -> None:
    """Nothing configured, nothing heard."""
    plain = Api(session, await start())
    assert (await plain("GET", "/livez", token="", **{WORD: "", "Kill": ""}))[0] == 200
    assert not plain.supervisor.switch.is_on
