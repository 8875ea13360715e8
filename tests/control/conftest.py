"""Supervisors in the test's own event loop, with workers that do as they are told, and a client for their API."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml

from shadowproxy.config import from_plain
from shadowproxy.control.supervisor import Supervisor

FAKE = Path(__file__).with_name("fake_worker.py")


def plain(directory: Path, **changed: Any) -> dict[str, Any]:
    """A config with one mirrored route, on ports of the system's choice."""
    return {
        "listen": [{"name": "front", "address": "127.0.0.1:0"}],
        "admin": {"address": "127.0.0.1:0"},
        "state": f"sqlite:///{directory / 'state.db'}",
        "fleets": {"live": {"endpoints": ["http://127.0.0.1:1"]}, "shadow": {"endpoints": ["http://127.0.0.1:2"]}},
        "routes": [{"name": "all", "live": "live", "mirror": [{"to": "shadow"}]}],
        "limits": {"drain_timeout": "1s"},
        **changed,
    }


async def until(holds: Callable[[], bool], what: str, patience_s: float = 20.0) -> None:
    """Wait until `holds`."""
    try:
        async with asyncio.timeout(patience_s):
            while not holds():
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"never happened: {what}") from None


@dataclass
class Api:
    """The admin API of a supervisor."""

    session: aiohttp.ClientSession
    supervisor: Supervisor

    @property
    def url(self) -> str:
        """Where it is."""
        return self.supervisor.admin_url

    @property
    def token(self) -> str:
        """The right token."""
        assert self.supervisor.token is not None
        return self.supervisor.token.path.read_text().strip()

    async def __call__(self, method: str, path: str, body: Any = None, *, token: str | None = None, **headers: str) -> tuple[int, Any, Any]:
        """Status, headers and JSON (or text) of one request; `X_Y` in keyword arguments is header X-Y."""
        fields = {name.replace("_", "-"): value for name, value in headers.items()}
        used = self.token if token is None else token
        if used:
            fields.setdefault("Authorization", f"Bearer {used}")
        payload: Any = body if isinstance(body, (bytes, io.BytesIO, type(None))) else None
        json = None if isinstance(body, (bytes, io.BytesIO, type(None))) else body
        if method in {"POST", "PUT"}:
            fields.setdefault("Content-Type", "application/json")
        async with self.session.request(method, self.url + path, data=payload, json=json, headers=fields, allow_redirects=False) as answer:
            is_json = "json" in answer.content_type and "ndjson" not in answer.content_type
            return answer.status, answer.headers, await (answer.json(content_type=None) if is_json else answer.text())


Start = Callable[..., Awaitable[Supervisor]]


@pytest.fixture
async def start(tmp_path: Path) -> AsyncIterator[Start]:
    """Start supervisors; each is ended when the test is over."""
    started: list[Supervisor] = []

    async def go(mode: str = "good", file: Path | None = None, **changed: Any) -> Supervisor:
        config = plain(tmp_path, **changed)
        if file is not None:
            file.write_text(yaml.safe_dump(config))
        supervisor = Supervisor(from_plain(config), file, command=(sys.executable, str(FAKE), mode))
        started.append(supervisor)
        try:
            await supervisor.start()
        except BaseException:
            await supervisor.end()
            raise
        return supervisor

    yield go
    for supervisor in started:
        supervisor.crew.end_now()
        await supervisor.end()


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """An HTTP client without cookies."""
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as opened:
        yield opened


@pytest.fixture
async def api(start: Start, session: aiohttp.ClientSession) -> Api:
    """The API of one running supervisor with a good worker."""
    return Api(session, await start())
