"""httpx, both clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import httpx
import pytest

from shadowproxy.propagate import carrying, current, extract
from shadowproxy.propagate.httpx import carry, carry_async
from tests.propagate.contract import CLIENT_PROMISES, TAGGED, assert_carries_all, assert_carries_nothing, url_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from shadowproxy.propagate import Carried
    from tests.kit import Origin


@pytest.mark.parametrize("promise", CLIENT_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_a_client(origin: Origin, promise: Callable[..., None]) -> None:
    """What tests/propagate/contract.py says, of the synchronous client."""
    with httpx.Client(event_hooks={"request": [carry]}, trust_env=False, follow_redirects=True) as client:
        promise(lambda url, headers: client.get(url, headers=headers).raise_for_status(), origin)


@pytest.mark.parametrize("promise", CLIENT_PROMISES, ids=lambda promise: promise.__name__)
def test_the_promises_of_an_asynchronous_client(origin: Origin, promise: Callable[..., None]) -> None:
    """The same of the asynchronous one."""
    with asyncio.Runner() as runner:
        client = httpx.AsyncClient(event_hooks={"request": [carry_async]}, trust_env=False, follow_redirects=True)

        async def get(url: str, headers: Mapping[str, str], carried: Carried) -> None:
            with carrying(carried):
                (await client.get(url, headers=headers)).raise_for_status()

        try:
            promise(lambda url, headers: runner.run(get(url, headers, current())), origin)
        finally:
            runner.run(client.aclose())


def test_a_request_that_is_sent_twice(origin: Origin) -> None:
    """Each sending is a span of its own."""
    with httpx.Client(event_hooks={"request": [carry]}, trust_env=False) as client:
        request = client.build_request("GET", url_of(origin, "/down"))
        with carrying(extract(TAGGED)):
            client.send(request)
            client.send(request)
    first, second = origin.seen("/down")
    assert_carries_all(first)
    assert_carries_all(second)
    assert first.one("traceparent") != second.one("traceparent")


def test_streamed_bodies(origin: Origin) -> None:
    """A body that is streamed is not touched."""
    with httpx.Client(event_hooks={"request": [carry]}, trust_env=False) as client, carrying(extract(TAGGED)):
        client.post(url_of(origin, "/down"), content=iter([b"a", b"b"]))
    (seen,) = origin.seen("/down")
    assert_carries_all(seen)
    assert seen.body == b"ab"


def test_clients_without_the_hook_carry_nothing(origin: Origin) -> None:
    """Nothing is patched: a client for somebody else's service stays as it is."""
    with httpx.Client(trust_env=False) as client, carrying(extract(TAGGED)):
        client.get(url_of(origin, "/down"))
    assert_carries_nothing(origin.seen("/down")[0])
