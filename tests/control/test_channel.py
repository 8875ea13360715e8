"""The stream to a worker: everything it said is read, and nothing it does blocks control."""

from __future__ import annotations

import asyncio
import socket

import pytest

from shadowproxy.control import channel as channel_module
from shadowproxy.control.channel import Channel
from shadowproxy.dataplane import messages
from tests.control.conftest import until


class Ends:
    """Both ends of a channel, and what control heard."""

    def __init__(self) -> None:
        ours, self.theirs = socket.socketpair()
        self.theirs.setblocking(False)
        self.heard: list[messages.Message] = []
        self.ended: list[str] = []
        self.channel = Channel(ours, self.heard.append, self.ended.append)

    async def received(self) -> list[messages.Message]:
        """What the worker's end received next."""
        decoder = messages.Decoder()
        found: list[messages.Message] = []
        while not found:
            found += decoder.feed(await asyncio.get_running_loop().sock_recv(self.theirs, 1 << 20))
        return found


async def test_messages_arrive_whole_and_in_order() -> None:
    """Frames split anywhere are put together."""
    ends = Ends()
    raw = b"".join(messages.encode({"type": "ready", "pid": number}) for number in range(20))
    for at in range(0, len(raw), 7):
        await asyncio.get_running_loop().sock_sendall(ends.theirs, raw[at : at + 7])
    await until(lambda: len(ends.heard) == 20, "twenty messages")
    assert [message["pid"] for message in ends.heard] == list(range(20))
    ends.theirs.close()
    await until(lambda: bool(ends.ended), "the end")
    assert ends.ended == [""]


async def test_the_last_words_of_a_dead_worker_are_read() -> None:
    """A worker that died with our messages unread, so that writing fails, is still heard to the end."""
    ends = Ends()
    ends.channel.send({"type": "drain", "seconds": 1})
    ends.theirs.send(messages.encode({"type": "tally", "access_dropped": 1}) * 50)
    ends.theirs.close()
    for _ in range(3):
        ends.channel.send({"type": "drain", "seconds": 1})
    await until(lambda: bool(ends.ended), "the end")
    assert len(ends.heard) == 50
    assert ends.ended == [""]
    ends.channel.send({"type": "drain", "seconds": 1})


async def test_a_worker_that_does_not_read_does_not_block() -> None:
    """Messages wait in a bounded backlog, and go out when it reads."""
    ends = Ends()
    for number in range(3000):
        ends.channel.send({"type": "kill", "id": number, "padding": "x" * 500})
    decoder = messages.Decoder()
    seen = 0
    while seen < 3000:
        for message in decoder.feed(await asyncio.get_running_loop().sock_recv(ends.theirs, 1 << 20)):
            assert message["id"] == seen
            seen += 1
    ends.channel.close()
    ends.theirs.close()
    assert ends.ended == []


async def test_a_backlog_beyond_its_bound_ends_the_channel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that never reads is given up before memory is."""
    monkeypatch.setattr(channel_module, "BACKLOG_LIMIT", 1 << 20)
    ends = Ends()
    while not ends.ended:
        ends.channel.send({"type": "kill", "id": 1, "padding": "x" * 50_000})
    assert "does not read" in ends.ended[0]
    ends.theirs.close()


@pytest.mark.parametrize("raw", [b"\0\0\0\4nope", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\2{}"])
async def test_what_is_no_frame_ends_the_channel(raw: bytes) -> None:
    """Bytes that cannot be frames are a problem, named once."""
    ends = Ends()
    ends.theirs.send(raw)
    await until(lambda: bool(ends.ended), "the end")
    assert ends.ended[0].startswith("not a frame")
    ends.theirs.close()


async def test_closing_is_quiet() -> None:
    """Our own closing is no event."""
    ends = Ends()
    ends.channel.close()
    ends.channel.close()
    assert ends.theirs.recv(1) == b""
    assert ends.ended == []
    assert "ended" in repr(ends.channel)
    ends.theirs.close()
