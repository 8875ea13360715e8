"""The writer knows which of its writes were acknowledged, and which it cannot know about."""

from __future__ import annotations

import asyncio

from load.bench.writers import BODY, write

CREATED = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
CLOSING = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"


class Server:
    """Answers each request with what `answer` says for its number; "" hangs up instead."""

    def __init__(self, answer: dict[int, bytes]) -> None:
        self.seen: list[int] = []
        self._answer = answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        while (head := await self._head(reader)) is not None:
            number = int(head.split(b" ")[1].partition(b"=")[2])
            assert b"\r\nX-Test-Traffic: bench\r\n" in head
            self.seen.append(number)
            await reader.readexactly(len(BODY))
            said = self._answer.get(number, CREATED)
            writer.write(said)
            if not said or b"close" in said:
                break
        writer.close()
        await writer.wait_closed()

    @staticmethod
    async def _head(reader: asyncio.StreamReader) -> bytes | None:
        try:
            return await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None


async def test_what_was_acknowledged_is_known_one_by_one() -> None:
    """A refusal and a broken connection are neither acknowledged nor sent again; the rest goes on over new connections."""
    server = Server({3: CLOSING, 5: b""})
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    port = listening.sockets[0].getsockname()[1]
    written = await write(port, rate=200, seconds=0.2, connections=2)
    listening.close()
    await listening.wait_closed()
    assert written.due == len(server.seen) >= 10
    assert sorted(server.seen) == list(range(written.due))
    assert written.acknowledged == set(range(written.due)) - {3, 5}
    assert written.answers == {201: written.due - 2, 503: 1}
    assert written.unknown == 1
    assert written.latencies.total == written.due - 2
