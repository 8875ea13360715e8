"""The process of the sinks, by its protocol: started with sockets, fed with configs, asked, killed, left alone."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from shadowproxy.config import to_plain
from shadowproxy.dataplane.messages import Decoder, Message, encode
from tests.kit import process
from tests.sinks.kit import ask, config_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Server:
    """One process, and the control side of its channel."""

    def __init__(self, state: Path, listening: socket.socket) -> None:
        self.channel, theirs = socket.socketpair()
        self.lending, lent = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.channel.settimeout(30)
        self.decoder = Decoder()
        self.waiting: list[Message] = []
        arguments = [
            "--channel",
            str(theirs.fileno()),
            "--lent",
            str(lent.fileno()),
            "--state",
            str(state),
            "--listener",
            f"s={listening.fileno()}",
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "shadowproxy.sinks.server", *arguments], pass_fds=(theirs.fileno(), lent.fileno(), listening.fileno())
        )
        theirs.close()
        lent.close()

    def send(self, **message: Any) -> None:
        """One message."""
        self.channel.sendall(encode(message))

    def receive(self, kind: str) -> Message:
        """The next message of a type; others before it are passed over."""
        while True:
            while self.waiting:
                message = self.waiting.pop(0)
                if message["type"] == kind:
                    return message
            received = self.channel.recv(65536)
            assert received, f"ended while {kind} was awaited"
            self.waiting += self.decoder.feed(received)

    def end(self) -> None:
        """Kill it, if it is still there."""
        self.channel.close()
        self.lending.close()
        self.process.kill()
        self.process.wait()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    """The socket that control owns."""
    with socket.create_server(("127.0.0.1", 0)) as one:
        yield one


@pytest.fixture
def url(listening: socket.socket) -> str:
    """Where the sink is."""
    return f"http://127.0.0.1:{listening.getsockname()[1]}"


@pytest.fixture
def servers(tmp_path: Path, listening: socket.socket) -> Iterator[Any]:
    """Start processes, one after the other, on one state; each is killed when the test is over."""
    started: list[Server] = []

    def start() -> Server:
        started.append(Server(tmp_path / "s.db", listening))
        return started[-1]

    yield start
    for one in started:
        one.end()


KEEPING = to_plain(config_of({"resources": {"collections": ["/orders"], "merge": False}}))


async def test_a_life(servers: Any, url: str) -> None:
    """Config, requests, counts, questions, drain; the exit status is 0."""
    server = servers()
    server.send(type="config", config=KEEPING)
    assert server.receive("applied")["problems"] == {}
    _, _, created = await ask(url, "POST", "/orders", tenant="a", json={"n": 1})
    await ask(url, "POST", "/orders", tenant="", json={})
    counts: dict[str, int] = {}
    while sum(counts.values()) < 2:
        report = server.receive("counts")["sinks"]["s"]
        counts = {status: counts.get(status, 0) + report["requests"].get(status, 0) for status in ("201", "400")}
    assert (counts, report["items"]) == ({"201": 1, "400": 1}, 1)
    server.send(type="tenants", id=1, sink="s")
    assert server.receive("answer") == {"type": "answer", "id": 1, "value": {"a": 1}, "problem": ""}
    server.send(type="items", id=2, sink="s", tenant="a", limit=10)
    assert server.receive("answer")["value"][0]["value"] == created
    server.send(type="reset", id=3, sink="s", tenant="a")
    assert server.receive("answer")["value"] == 1
    server.send(type="fly", id=4, sink="s")
    assert "unknown type" in server.receive("answer")["problem"]
    server.send(type="config", config={"listen": []})
    assert "listen" in server.receive("refused")["problem"]
    server.send(type="drain")
    assert server.process.wait(30) == 0


async def test_what_was_answered_is_there_after_sigkill(servers: Any, url: str) -> None:
    """Killed under load: each item whose 201 arrived is in the next process, which serves the same socket."""
    server = servers()
    server.send(type="config", config=KEEPING)
    server.receive("applied")
    acknowledged: list[str] = []

    async def create() -> None:
        while True:
            try:
                status, _, body = await ask(url, "POST", "/orders", json={})
            except OSError:
                return
            assert status == 201
            acknowledged.append(body["id"])

    creating = [asyncio.ensure_future(create()) for _ in range(4)]
    while len(acknowledged) < 100:
        await asyncio.sleep(0.01)
    os.kill(server.process.pid, signal.SIGKILL)
    server.process.wait()
    for one in creating:
        one.cancel()
    await asyncio.gather(*creating, return_exceptions=True)
    after = servers()
    after.send(type="config", config=KEEPING)
    after.receive("applied")
    for key in acknowledged:
        assert (await ask(url, "GET", f"/orders/{key}"))[0] == 200


async def test_a_socket_that_is_lent_later_is_served(servers: Any) -> None:
    """It comes beside the channel, with the name of its sink."""
    server = servers()
    with socket.create_server(("127.0.0.1", 0)) as late:
        socket.send_fds(server.lending, [b"late"], [late.fileno()])
        config = to_plain(config_of({}, sinks={"late": {"respond": {"text": "late"}}}, routes=[{"live": "live"}]))
        server.send(type="config", config=config)
        server.receive("applied")
        assert (await ask(f"http://127.0.0.1:{late.getsockname()[1]}", "POST", "/"))[2] == "late"


@pytest.mark.parametrize("end", [b"", b"\xff\xff\xff\xff", b"\0\0\0\x02{}"])
def test_it_ends_with_its_channel(servers: Any, end: bytes) -> None:
    """When control is gone, or speaks nonsense: no orphan."""
    server = servers()
    server.receive("counts")
    if end:
        server.channel.sendall(end)
    else:
        server.channel.close()
    assert server.process.wait(30) == 0
    assert not process.is_alive(server.process.pid)


def test_plain_sinks_need_no_more_than_the_proxy_does() -> None:
    """The process starts without the libraries of the extra `sinks`."""
    program = (
        "import sys\nfor name in ('jsonschema', 'referencing', 'rstr'): sys.modules[name] = None\n"
        "import shadowproxy.sinks.server, shadowproxy.sinks.standalone, shadowproxy.cli.sink\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
