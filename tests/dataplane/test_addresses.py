"""Names of endpoints: asked for rarely, by one for all, and never followed to where no endpoint is."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from shadowproxy.dataplane import addresses
from shadowproxy.dataplane.addresses import Addresses, ForbiddenAddressError

V4, V6 = int(socket.AF_INET), int(socket.AF_INET6)


class Resolver:
    """A loop whose resolver says what a test tells it, and a clock that goes when it is told."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.answers: list[str] | OSError = ["192.0.2.1"]
        self.questions = 0
        self.gate = asyncio.Event()
        self.gate.set()

    async def getaddrinfo(self, _host: str, port: int, *, type: int) -> list[Any]:  # noqa: A002 - the loop's own name
        """What the loop's method of this name returns."""
        self.questions += 1
        await self.gate.wait()
        if isinstance(self.answers, OSError):
            raise self.answers
        return [(socket.AF_INET6 if ":" in one else socket.AF_INET, type, 6, "", (one, port)) for one in self.answers]

    def create_task(self, work: Any) -> asyncio.Task[None]:
        """A task of the loop that runs the test."""
        return asyncio.get_running_loop().create_task(work)

    async def ranked(self, found: Addresses) -> list[str]:
        """The addresses alone."""
        return [address for _, address in await found.ranked(cast("asyncio.AbstractEventLoop", self))]


@pytest.fixture
async def resolver(monkeypatch: pytest.MonkeyPatch) -> Resolver:
    """A resolver under the test's control."""
    resolver = Resolver()
    monkeypatch.setattr(addresses, "time", SimpleNamespace(monotonic=lambda: resolver.now))
    return resolver


async def test_a_name_is_asked_for_once_in_a_while(resolver: Resolver) -> None:
    """Within dns_refresh the answer is remembered; after it, the resolver is asked again and its new answer used."""
    name = Addresses("shop.example", 80)
    assert await resolver.ranked(name) == ["192.0.2.1"]
    resolver.answers = ["192.0.2.2"]
    resolver.now += 29
    assert await resolver.ranked(name) == ["192.0.2.1"]
    assert resolver.questions == 1
    resolver.now += 2
    assert await resolver.ranked(name) == ["192.0.2.1"]
    await asyncio.sleep(0)
    assert await resolver.ranked(name) == ["192.0.2.2"]
    assert resolver.questions == 2


async def test_zero_asks_once(resolver: Resolver) -> None:
    """dns_refresh 0 keeps the first answer for good."""
    name = Addresses("shop.example", 80, 0.0)
    await resolver.ranked(name)
    resolver.now += 1e6
    await resolver.ranked(name)
    assert resolver.questions == 1


async def test_a_slow_resolver_delays_nobody_who_has_an_address(resolver: Resolver) -> None:
    """While the second question is open, the first answer is used; there is one question at a time."""
    name = Addresses("shop.example", 80)
    await resolver.ranked(name)
    resolver.now += 31
    resolver.gate.clear()
    resolver.answers = ["192.0.2.2"]
    for _ in range(5):
        assert await resolver.ranked(name) == ["192.0.2.1"]
        await asyncio.sleep(0)
    assert resolver.questions == 2
    resolver.gate.set()
    for _ in range(3):
        await asyncio.sleep(0)
    assert await resolver.ranked(name) == ["192.0.2.2"]


async def test_many_who_wait_ask_once(resolver: Resolver) -> None:
    """Connections that are opened at once share the first question; one that is given up does not take it away from the others."""
    name = Addresses("shop.example", 80)
    resolver.gate.clear()
    waiting = [asyncio.create_task(resolver.ranked(name)) for _ in range(50)]
    await asyncio.sleep(0)
    waiting.pop().cancel()
    await asyncio.sleep(0)
    resolver.gate.set()
    assert await asyncio.gather(*waiting) == [["192.0.2.1"]] * 49
    assert resolver.questions == 1


async def test_a_resolver_that_is_down_changes_nothing(resolver: Resolver) -> None:
    """Without an answer the last one stays, and the resolver is not asked again until the next refresh; a first question fails."""
    name = Addresses("shop.example", 80)
    resolver.answers = socket.gaierror(-3, "try again")
    for _ in range(2):
        with pytest.raises(socket.gaierror):
            await resolver.ranked(name)
    resolver.answers = ["192.0.2.1"]
    assert await resolver.ranked(name) == ["192.0.2.1"]
    resolver.answers = socket.gaierror(-3, "try again")
    resolver.now += 31
    for _ in range(4):
        assert await resolver.ranked(name) == ["192.0.2.1"]
        await asyncio.sleep(0)
    assert resolver.questions == 4


async def test_connections_spread_over_the_addresses(resolver: Resolver) -> None:
    """Each call begins with the next address, and lists them all; doubles count once."""
    name = Addresses("shop.example", 80)
    resolver.answers = ["192.0.2.1", "192.0.2.2", "2001:db8::1", "192.0.2.1"]
    firsts = [(await resolver.ranked(name))[0] for _ in range(6)]
    assert firsts == ["192.0.2.1", "192.0.2.2", "2001:db8::1"] * 2
    assert await name.ranked(cast("asyncio.AbstractEventLoop", resolver)) == [(V4, "192.0.2.1"), (V4, "192.0.2.2"), (V6, "2001:db8::1")]


FORBIDDEN = [
    "169.254.169.254",
    "0.0.0.0",
    "0.1.2.3",
    "224.0.0.1",
    "255.255.255.255",
    "100.100.100.200",
    "::",
    "fe80::1",
    "fe80::1%eth0",
    "ff02::1",
    "fd00:ec2::254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
]


@pytest.mark.parametrize("address", FORBIDDEN)
async def test_a_name_that_leads_to_no_endpoint_is_not_followed(resolver: Resolver, address: str) -> None:
    """Addresses that the config refuses are refused behind a name as well."""
    resolver.answers = [address]
    with pytest.raises(ForbiddenAddressError, match=r"shop\.example leads to no address"):
        await resolver.ranked(Addresses("shop.example", 80))


async def test_only_what_is_allowed_is_used(resolver: Resolver) -> None:
    """Of several addresses the forbidden ones are left out; loopback and private ones are endpoints like any other."""
    resolver.answers = ["169.254.169.254", "10.0.0.1", "fe80::1", "127.0.0.1", "::1"]
    assert await resolver.ranked(Addresses("shop.example", 80)) == ["10.0.0.1", "127.0.0.1", "::1"]


async def test_a_name_that_was_turned_is_not_followed_by_old_habit(resolver: Resolver) -> None:
    """DNS rebinding: when a name leads only to forbidden addresses from now on, its old ones are not used either."""
    name = Addresses("shop.example", 80)
    await resolver.ranked(name)
    resolver.now += 31
    resolver.answers = ["169.254.169.254"]
    await resolver.ranked(name)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    with pytest.raises(ForbiddenAddressError):
        await resolver.ranked(name)


def test_it_says_what_it_found() -> None:
    """The repr shows the name and its addresses."""
    assert repr(Addresses("shop.example", 80)) == "Addresses(shop.example, [])"
