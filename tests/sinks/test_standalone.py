"""Sinks without a proxy."""

from __future__ import annotations

import asyncio

import pytest

from shadowproxy.config.addresses import HostPort
from shadowproxy.errors import ControlError
from shadowproxy.sinks.shelf import Shelf
from shadowproxy.sinks.standalone import addresses_of, serve
from tests.kit import Origin, answers
from tests.sinks.kit import ask, config_of


async def test_reads_of_what_is_not_held_show_live(live: Origin) -> None:
    """There is no proxy to ask it: the sink does."""
    live.on("/orders/5", answers.ok(b'{"id":5}', fields=[("Content-Type", "application/json")]))
    config = config_of({"resources": {"collections": ["/orders"]}}, fleets={"live": {"endpoints": [live.url]}})
    stop, ready = asyncio.Event(), asyncio.get_running_loop().create_future()
    serving = asyncio.ensure_future(serve(config, addresses_of(["s"], "127.0.0.1:0"), Shelf(), on_ready=ready.set_result, stop=stop))
    url = (await asyncio.wait_for(ready, 30))["s"]
    assert (await ask(url, "GET", "/orders/5"))[2] == {"id": 5}
    assert (await ask(url, "PATCH", "/orders/5", json={"n": 1}))[2] == {"id": 5, "n": 1}
    assert (await ask(url, "GET", "/orders/5", tenant="other"))[2] == {"id": 5}
    stop.set()
    await asyncio.wait_for(serving, 30)


async def test_a_sink_that_cannot_work_is_an_error() -> None:
    """Not a service that answers 503 to everything."""
    fleets = {"live": {"endpoints": ["https://127.0.0.1:1"], "tls": {"ca": "/nowhere.pem"}}}
    config = config_of({"resources": {"collections": ["/orders"]}}, fleets=fleets)
    with pytest.raises(ControlError, match=r"sink s: .*No such file"):
        await serve(config, addresses_of(["s"], "127.0.0.1:0"), Shelf(), on_ready=lambda _: None)


def test_addresses() -> None:
    """One port after the other; port 0 is the system's choice for each."""
    assert addresses_of(["a", "b"], "127.0.0.1:8099") == {"a": HostPort("127.0.0.1", 8099), "b": HostPort("127.0.0.1", 8100)}
    assert addresses_of(["a", "b"], "[::1]:0") == {"a": HostPort("::1", 0), "b": HostPort("::1", 0)}
    with pytest.raises(ControlError, match="not so many"):
        addresses_of(["a", "b"], "127.0.0.1:65535")
