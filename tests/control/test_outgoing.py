"""What control asks goes where an endpoint may be and nowhere else, and no answer costs more than its limit."""

from __future__ import annotations

import asyncio
import gzip
import socket
import threading
from typing import Any

import pytest

from shadowproxy.control.outgoing import Unanswered, exchange, open_session, refusal
from tests.control.asked import answer, asked
from tests.kit.network import refused_address


async def get(url: str, **options: Any) -> tuple[int, bytes]:
    """One request in a session of its own."""
    async with open_session() as session:
        return await exchange(session, "GET", url, **{"timeout_s": 10.0, "limit": 1000, **options})


async def test_an_answer_is_its_status_and_body() -> None:
    """The target goes as it is written; nothing of this machine or of earlier answers goes with it."""
    async with asked(answer(b"hello", Set_Cookie="a=b")) as server:
        async with open_session() as session:
            for _ in range(2):
                found = await exchange(session, "GET", f"{server.url}/a%2Fb?q=%7e", timeout_s=10.0, limit=5)
        assert found == (200, b"hello")
        assert {question.target for question in server.questions} == {"/a%2Fb?q=%7e"}
        assert set(server.questions[1].fields) <= {"host", "accept", "accept-encoding", "user-agent", "connection"}


@pytest.mark.parametrize(
    "url",
    [
        "http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://[fe80::1]/", "http://2852039166/",
        "http://0xa9.0xfe.0xa9.0xfe/", "http://169.254.169.254./", "http://metadata.google.internal/", "http://0.0.0.0/", "http://[::]/",
        "http://100.100.100.200/", "http://[64:ff9b::a9fe:a9fe]/", "http://user:secret@127.0.0.1/", "http://a\\@169.254.169.254/",
        "ftp://127.0.0.1/", "file:///etc/passwd", "http:///", "http://127.0.0.1:0/", "http://127.0.0.1:65536/", "//127.0.0.1/",
    ],
)  # fmt: skip
async def test_nobody_is_asked_who_may_not_be(url: str) -> None:
    """The rules of endpoints, in every spelling; nothing of a URL's password or path is repeated."""
    with pytest.raises(Unanswered) as refused:
        await get(url)
    assert "secret" not in str(refused.value)
    assert "meta-data" not in str(refused.value)


async def test_a_name_that_leads_to_a_forbidden_address_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when the name changes its mind between two questions: the address that was checked is the one that is connected to."""

    def leads(*_: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("169.254.169.254", 80))]

    monkeypatch.setattr(socket, "getaddrinfo", leads)
    with pytest.raises(Unanswered, match="leads to no address that may be asked"):
        await get("http://innocent.test/")


async def test_only_the_allowed_ones_of_several_addresses_are_connected_to(monkeypatch: pytest.MonkeyPatch) -> None:
    """A name with one good and one forbidden address leads to the good one."""
    async with asked(answer(b"good")) as server:

        def leads(*_: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, server.port)) for host in ("169.254.169.254", "127.0.0.1")]

        monkeypatch.setattr(socket, "getaddrinfo", leads)
        assert await get(f"http://shop.test:{server.port}/") == (200, b"good")
        assert server.questions[0].fields["host"] == f"shop.test:{server.port}"


async def test_a_redirect_is_not_followed() -> None:
    """It is an answer, and where it leads is not asked."""
    async with asked(answer(b"target")) as target, asked(answer(b"", 302, Location=f"{target.url}/")) as server:
        assert await get(server.url) == (302, b"")
        assert target.questions == []
    assert refusal(302) == "it answered 302, and redirects are not followed"
    assert refusal(500) == "it answered 500"


async def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    """HTTP_PROXY would take every check away: the proxy resolves the name."""
    async with asked(answer(b"proxy")) as proxy, asked(answer(b"direct")) as server:
        for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        monkeypatch.delenv("no_proxy", raising=False)
        assert await get(server.url) == (200, b"direct")


@pytest.mark.parametrize(
    ("said", "problem"),
    [
        (answer(b"x" * 1001), "more than 1000 bytes"),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 70000, "more than 1000 bytes"),
        (answer(gzip.compress(b"x" * 10**6)[:900], Content_Encoding="gzip"), "content coding"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", "no whole answer"),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "no whole answer"),
        (b"", "no whole answer"),
    ],
)
async def test_an_answer_that_cannot_be_used_is_none(said: bytes, problem: str) -> None:
    """Too long, packed, cut off or no HTTP at all: a sentence and no exception of a library."""
    async with asked(said) as server:
        with pytest.raises(Unanswered, match=problem):
            await get(server.url)


async def test_who_hangs_is_waited_for_no_longer_than_was_said() -> None:
    """The timeout is for the whole answer."""
    async with asked() as server:
        with pytest.raises(Unanswered, match=r"no answer within 0\.05 s"):
            await get(server.url, timeout_s=0.05)
    host, port = refused_address()
    with pytest.raises(Unanswered, match="no connection: Connect"):
        await get(f"http://{host}:{port}/secret")


async def test_resolvers_that_hang_hold_up_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names have threads of their own: the loop's own ones, which write journals, stay free."""
    gate = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_: gate.wait(30) and [])
    try:
        asked_all = [asyncio.create_task(get(f"http://host-{number}.test/", timeout_s=0.2)) for number in range(40)]
        done = await asyncio.gather(*asked_all, return_exceptions=True)
        assert {str(each) for each in done} == {"no answer within 0.2 s"}
        assert await asyncio.wait_for(asyncio.to_thread(lambda: "free"), 20) == "free"
    finally:
        gate.set()


async def test_a_body_that_nobody_wants_is_not_read() -> None:
    """With a limit of 0 the status is the answer, whatever comes behind it."""
    async with asked(b"HTTP/1.1 201 Created\r\nContent-Length: 100000000\r\n\r\nabc") as server:
        assert await get(server.url, limit=0) == (201, b"")
