"""Somebody whom control asks and tells: an HTTP server in the test's event loop that answers by script and keeps what it was asked."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

Script = Callable[["Question"], bytes | None]


@dataclass(frozen=True)
class Question:
    """One request as it arrived."""

    method: str
    target: str
    fields: dict[str, str]
    body: bytes

    @property
    def path(self) -> str:
        """The path alone."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query's members."""
        return {name: values[0] for name, values in parse_qs(urlsplit(self.target).query).items()}

    def json(self) -> Any:
        """The body."""
        return json.loads(self.body)


def answer(body: Any = b"", status: int = 200, **fields: str) -> bytes:
    """An answer as bytes; anything but bytes becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status} Said", f"Content-Length: {len(content)}", "Connection: close"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + content


def number(value: Any) -> bytes:
    """What a Prometheus answers to an instant query with one result."""
    return answer({"status": "success", "data": {"resultType": "vector", "result": [{"metric": {}, "value": [1.0, str(value)]}]}})


@dataclass
class Asked:
    """A server: what it was asked, and what it answers; None hangs until it is stopped."""

    script: Script
    port: int = 0
    questions: list[Question] = field(default_factory=list)
    queued: deque[bytes] = field(default_factory=deque)
    """Answers that come before those of the script."""

    @property
    def url(self) -> str:
        """Its base."""
        return f"http://127.0.0.1:{self.port}"

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            method, target, _ = head[0].split(" ")
            fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
            body = await reader.readexactly(int(fields.get("content-length", 0)))
            question = Question(method, target, fields, body)
            self.questions.append(question)
            said = self.queued.popleft() if self.queued else self.script(question)
            if said is None:
                await reader.read()
            else:
                writer.write(said)
                await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def asked(script: Script | bytes | None = None) -> AsyncIterator[Asked]:
    """A server that answers each request by `script`, or always the same; without one it hangs."""
    made = Asked(script if callable(script) else lambda _: script)
    server = await asyncio.start_server(made._serve, "127.0.0.1", 0)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        current = asyncio.current_task()
        serving = [task for task in asyncio.all_tasks() if task is not current and "Asked._serve" in repr(task.get_coro())]
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)
