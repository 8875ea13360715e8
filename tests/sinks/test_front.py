"""HTTP around a sink, over real sockets: what may come in, and how every answer is marked."""

from __future__ import annotations

import asyncio
import gzip
import socket
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.sinks.front import Front
from shadowproxy.sinks.shelf import Shelf
from shadowproxy.sinks.sink import Sink
from tests.sinks.kit import ask, config_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from shadowproxy.sinks.call import Call

    Open = Callable[..., Awaitable[str]]

ECHO = {
    "respond": {
        "json": {
            "tenant": "{{tenant}}",
            "method": "{{request.method}}",
            "target": "{{request.target}}",
            "text": "{{request.text}}",
            "a": "{{request.headers.x-a}}",
        }
    },
    "limits": {"body": 1000},
}


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Open fronts of sinks; each is closed when the test is over."""
    fronts: list[Front] = []

    async def go(sink: dict[str, Any], **options: Any) -> str:
        listening = socket.create_server(("127.0.0.1", 0))
        front = Front(Sink(config_of(sink).sinks["s"], Shelf()), **options)
        fronts.append(front)
        await front.open(listening)
        return f"http://127.0.0.1:{listening.getsockname()[1]}"

    yield go
    for front in fronts:
        await front.close()


async def raw(url: str, wire: bytes) -> bytes:
    """Everything that comes back for these bytes, until the connection ends."""
    host, _, port = url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(wire)
    try:
        async with asyncio.timeout(30):
            return await reader.read()
    finally:
        writer.close()


@pytest.mark.parametrize("tag", ["", "0", "false", "FALSE", " "])
async def test_an_untagged_request_is_refused(opened: Open, tag: str) -> None:
    """Without a tag, or with one that says no: nothing that is not a test gets in here."""
    url = await opened(ECHO)
    more: Any = {"X_Test_Traffic": tag} if tag else {}
    status, fields, document = await ask(url, "POST", "/", tenant="", json={}, **more)
    assert (status, document["code"], fields["Content-Type"], fields["X-Shadow-Sink"]) == (400, "untagged", "application/problem+json", "s")


@pytest.mark.parametrize(
    ("tag", "tenant"), [("true", "default"), ("1", "default"), ("canary-7", "canary-7"), ("a b/c", "a_b_c"), ("x" * 100, "x" * 64)]
)
async def test_a_tag_names_the_tenant(opened: Open, tag: str, tenant: str) -> None:
    """As everywhere in the proxy."""
    url = await opened(ECHO)
    assert (await ask(url, "POST", "/", tenant=tag))[2]["tenant"] == tenant


async def test_the_request_is_seen_as_it_was_sent(opened: Open) -> None:
    """Target, fields (several lines joined) and body; a coded body is decoded."""
    url = await opened(ECHO)
    _, fields, seen = await ask(url, "PUT", "/a%2Fb//c?d=%20&e", body=b"text", X_A="1")
    assert seen == {"tenant": "default", "method": "PUT", "target": "/a%2Fb//c?d=%20&e", "text": "text", "a": "1"}
    assert fields["Server"] == "shadowproxy"
    _, _, seen = await ask(url, "POST", "/", body=gzip.compress(b"packed"), Content_Encoding="gzip")
    assert seen["text"] == "packed"
    answer = await raw(url, b"GET / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nX-A: 1\r\nX-A: 2\r\nConnection: close\r\n\r\n")
    assert b'"a":"1, 2"' in answer


async def test_bodies_are_limited(opened: Open) -> None:
    """By what they unpack to, whole or in chunks: 413."""
    url = await opened(ECHO)
    assert (await ask(url, "POST", "/", body=b"x" * 1000))[0] == 200
    for body, coding in ((b"x" * 1001, {}), (b"x" * 900_000, {}), (gzip.compress(b"\0" * 10_000_000), {"Content_Encoding": "gzip"})):
        status, fields, document = await ask(url, "POST", "/", body=body, **coding)
        assert (status, document["code"], fields["X-Shadow-Sink"]) == (413, "body_too_large", "s")


@pytest.mark.parametrize(
    "wire",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nBad Name: x\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: a\r\nX-A: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
async def test_what_is_no_http_is_refused_and_marked(opened: Open, wire: bytes) -> None:
    """Bytes that cannot be read get a problem document with the sink's name, and the end of the connection."""
    answer = await raw(await opened(ECHO), wire)
    assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400"))
    assert b"X-Shadow-Sink: s" in answer
    assert b'"code":"malformed"' in answer
    assert b"Traceback" not in answer


async def test_targets(opened: Open) -> None:
    """An absolute URL is its path; what is no path goes nowhere."""
    url = await opened(ECHO)
    fields = b" HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nConnection: close\r\n\r\n"
    assert b'"target":"/x?y"' in await raw(url, b"GET http://shop.example/x?y" + fields)
    assert b'"target":"/"' in await raw(url, b"GET http://shop.example" + fields)
    for target in (b"*", b"@evil.example/"):
        assert b" 400 " in (await raw(url, b"OPTIONS " + target + fields)).split(b"\r\n", 1)[0] + b" "


async def test_a_sender_that_asks_before_it_sends(opened: Open) -> None:
    """100 Continue, then the answer (RFC 9110 section 10.1.1)."""
    wire = b"POST / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nContent-Length: 2\r\nExpect: 100-continue\r\nConnection: close\r\n\r\nhi"
    answer = await raw(await opened(ECHO), wire)
    assert answer.startswith(b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK")
    assert b'"text":"hi"' in answer


async def test_no_more_at_a_time_than_allowed(opened: Open) -> None:
    """The next is told so at once; later it is answered."""
    url = await opened({"respond": {"latency": "300ms"}, "limits": {"in_flight": 2}})
    statuses = [status for status, _, _ in await asyncio.gather(*(ask(url, "POST", "/") for _ in range(6)))]
    assert statuses.count(503) >= 1
    assert statuses.count(200) >= 2
    assert (await ask(url, "POST", "/"))[0] == 200


@pytest.mark.parametrize("status", [204, 304])
async def test_answers_without_a_body(opened: Open, status: int) -> None:
    """Have none, and the connection goes on."""
    url = await opened({"respond": {"status": status}})
    fields = b"Host: a\r\nX-Test-Traffic: 1\r\n"
    answer = await raw(url, (b"GET / HTTP/1.1\r\n" + fields + b"\r\n") + b"GET / HTTP/1.1\r\n" + fields + b"Connection: close\r\n\r\n")
    assert answer.count(f"HTTP/1.1 {status}".encode()) == 2


async def test_head_has_the_fields_of_get_and_no_body(opened: Open) -> None:
    """RFC 9110 section 9.3.2."""
    answer = await raw(
        await opened({"respond": {"text": "12345"}}), b"HEAD / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nConnection: close\r\n\r\n"
    )
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: 5" in head
    assert body == b""


async def test_a_call_is_recorded_before_it_is_answered(opened: Open) -> None:
    """What cannot be recorded is not answered: 503."""
    recorded: list[str] = []

    async def record(one: Call, sink: str) -> str:
        recorded.append(f"{sink} {one.method} {one.tenant} {one.body.decode()}")
        return "" if one.body == b"good" else "the disk is full"

    url = await opened({"respond": {"status": 201}}, record=record)
    assert (await ask(url, "POST", "/", body=b"good"))[0] == 201
    status, _, document = await ask(url, "POST", "/", body=b"bad")
    assert (status, document["code"]) == (503, "ledger_unavailable")
    assert recorded == ["s POST default good", "s POST default bad"]


async def test_statuses_are_counted(opened: Open) -> None:
    """Refusals too."""
    front = Front(Sink(config_of({"respond": {"status": 201}}).sinks["s"], Shelf()))
    listening = socket.create_server(("127.0.0.1", 0))
    await front.open(listening)
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    await ask(url, "POST", "/")
    await ask(url, "POST", "/", tenant="")
    assert dict(front.statuses) == {201: 1, 400: 1}
    assert repr(front) == "<Front of <Sink 's' ok> in_flight=0>"
    await front.close()


@pytest.mark.parametrize(
    ("coding", "body"),
    [
        ("gzip", b"not gzip"),
        ("deflate", b"\xff\xff\xff"),
        ("br", b"\xff" * 10),
        ("zstd", b"\xff" * 10),
    ],
)
async def test_bodies_that_cannot_be_decoded(opened: Open, coding: str, body: bytes) -> None:
    """400 with the sink's name, and no trace of what was sent."""
    status, fields, document = await ask(await opened(ECHO), "POST", "/", body=body, Content_Encoding=coding)
    assert (status, fields["X-Shadow-Sink"]) == (400, "s")
    assert document["code"] in ("bad_body", "malformed")


async def test_a_client_that_goes_away_mid_body_hurts_nobody(opened: Open, caplog: pytest.LogCaptureFixture) -> None:
    """The next one is answered; nothing is logged."""
    url = await opened(ECHO)
    host, _, port = url.removeprefix("http://").partition(":")
    for _ in range(5):
        _, writer = await asyncio.open_connection(host, int(port))
        writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nContent-Length: 500\r\n\r\nsome")
        await writer.drain()
        writer.transport.abort()
    assert (await ask(url, "POST", "/", body=b"whole"))[2]["text"] == "whole"
    assert "some" not in caplog.text


async def test_bytes_of_a_target_that_are_no_text(opened: Open) -> None:
    """A path that names nothing is refused where it is looked at, raw or encoded."""
    url = await opened({"resources": {"collections": ["/orders"]}})
    keeping = await opened({"rules": [{"match": {"path": "/orders/{id}"}}]})
    for one in (url, keeping):
        for target in (b"/orders/\xff", b"/orders/%ff", b"/orders/%C3\xff"):
            answer = await raw(one, b"GET " + target + b" HTTP/1.1\r\nHost: a\r\nX-Test-Traffic: 1\r\nConnection: close\r\n\r\n")
            assert answer.startswith((b"HTTP/1.1 400", b"HTTP/1.0 400", b"HTTP/1.1 200")), answer
            assert b"500" not in answer.split(b"\r\n", 1)[0]
