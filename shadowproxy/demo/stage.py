"""Set the demonstration up, and take it down whole: shops, proxy and traffic, in a directory of their own.

Every server takes a free port from the system and says which, so nothing that runs on
the machine can be in the way.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
import time
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import aiohttp

from shadowproxy.control.places import RUN_SUFFIX
from shadowproxy.demo.children import Child, DemoError

if TYPE_CHECKING:
    from types import TracebackType

ROUTES: Final = {
    "catalogue": "/catalogue",
    "search": "/search",
    "product": "/products",
    "cart": "/cart",
    "checkout": "/checkout",
}
"""Route name to path prefix of what is mirrored, in the order in which results are shown."""

HOLDOUT_PERCENT: Final = 10
"""Share of users who are not mirrored: enough of them in 30 s to say what mirroring costs live."""

_START_S: Final = 20.0
"""Longest wait for a server; a slow laptop takes two or three seconds."""

_GRACE_S: Final = 5.0
"""How long a process may take to end before it is killed."""

_POLL_S: Final = 0.05

_CONFIG: Final = """\
# Written by `shadowproxy demo`. Port 0 lets the system choose.
listen:
  - {{name: front, address: "127.0.0.1:0"}}
  - {{name: out, address: "127.0.0.1:0", egress: {{caller: User-Agent}}}} # what the shop calls other services through
admin: {{address: "127.0.0.1:0"}}
workers: 1
state: "sqlite:///{state}"
fleets:
  live: {{endpoints: ["{live}"]}}
  shadow: {{endpoints: ["{shadow}"], timeout: 5s}}
routes:
  - name: recommendations # a service that the home page depends on, and can do without: break it with `shadowproxy experiment run`
    match: {{listener: out, path: /recommendations}}
    live: live
  - name: home
    match: {{listener: front, path: /home}}
    live: live
"""

_ROUTE: Final = """\
  - name: {name}
    match: {{listener: front, path: {path}}}
    live: live
    mirror:
      # One salt for all routes: a user is mirrored everywhere or nowhere, so that carts agree on both sides.
      # Both shops and their users share this machine, which makes whoever is asked second slower by a millisecond or so.
      - {{to: shadow, percent: 100, holdout: {holdout}, key: "header:x-user-id", salt: demo, methods: [GET, HEAD, POST],
          judge: {{latency: {{regression: 20, safe: 30, resolution: 2ms}}}}}}
"""


EXPERIMENT: Final = """\
# Written by `shadowproxy demo --keep`: run it with `shadowproxy experiment run`.
name: recommendations-away
owner: you
hypothesis:
  fault: recommendations answer 503
  expect: the home page shows top sellers, and not an error
  impact: as many orders as before
inject:
  routes: [recommendations]
  faults: [{abort: {status: 503}}]
slice: {percent: 10, key: "header:x-user-id"}
observe: [home]
expect:
  - {route: home, status: [200], json: $.recommendations.source, equals: top sellers, share: 70}
duration: 30s
guards:
  - {metric: error_excess, above: 20, hold: 2s}
  - {metric: p99_excess, above: 0.3, hold: 5s}
"""
"""What can be broken here without harm: a tenth of the users, for half a minute."""


def config_text(live: str, shadow: str, state: Path) -> str:
    """The proxy's config for two shops.

    Args:
        live: URL of the live shop.
        shadow: URL of the shadow shop.
        state: the state file.
    """
    routes = "".join(_ROUTE.format(name=name, path=path, holdout=HOLDOUT_PERCENT) for name, path in ROUTES.items())
    return _CONFIG.format(live=live, shadow=shadow, state=state) + routes


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where everything is: URLs without a path, and files."""

    proxy: str
    admin: str
    live: str
    shadow: str
    config: Path
    token: Path
    experiment: Path


@dataclass(frozen=True, slots=True)
class Users:
    """What the users are told to do.

    Args:
        rate: requests a second.
        seconds: how long sessions arrive.
        seed: of everything left to chance.
    """

    rate: float
    seconds: float
    seed: int = 1


class Stage:
    """The running demonstration. An asynchronous context: inside it everything runs, after it nothing does."""

    def __init__(self) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="shadowproxy-demo-"))
        self.seen: dict[str, Any] = {}
        self._children: list[Child] = []
        self._client: aiohttp.ClientSession | None = None
        self._addresses: Addresses | None = None
        self._token = ""

    async def __aenter__(self) -> Self:
        try:
            await self._start()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.close()

    @property
    def addresses(self) -> Addresses:
        """Where everything is; known once the context was entered."""
        assert self._addresses is not None
        return self._addresses

    async def compare(self) -> dict[str, Any]:
        """What `GET /api/v1/compare` says.

        Raises:
            DemoError: the proxy does not answer.
        """
        return await self._ask(self.addresses.admin, "/api/v1/compare")

    async def verdict(self) -> dict[str, Any]:
        """What `GET /api/v1/verdict` says.

        Raises:
            DemoError: the proxy does not answer.
        """
        return await self._ask(self.addresses.admin, "/api/v1/verdict")

    async def traffic(self, users: Users) -> None:
        """Send the users, follow their figures in `seen`, and return when all are done.

        Raises:
            DemoError: the generator failed, or a server ended meanwhile.
        """
        arguments = ["-m", "shadowproxy.demo.traffic", "--leash", "--target", self.addresses.proxy]
        arguments += ["--rate", str(users.rate), "--seconds", str(users.seconds), "--seed", str(users.seed)]
        child = await self._spawn("traffic", arguments)
        while (line := await child.line(_START_S)) is not None:
            self.seen = json.loads(line)
            self._check(child)
        await child.stop(_GRACE_S)
        if not self.seen:
            raise DemoError(f"the traffic generator failed{child.last_words()}")

    async def close(self) -> None:
        """End every process, last started first, and remove the directory. Does so even when cancelled meanwhile."""
        closing = asyncio.ensure_future(self._close())
        cancelled = False
        while not closing.done():
            try:
                await asyncio.shield(closing)
            except asyncio.CancelledError:
                cancelled = True
        if cancelled:
            raise asyncio.CancelledError

    async def _close(self) -> None:
        try:
            if self._client is not None:
                await self._client.close()
            while self._children:
                await self._children.pop().stop(_GRACE_S)
        finally:
            shutil.rmtree(self.directory, ignore_errors=True)

    async def _start(self) -> None:
        self._client = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=_GRACE_S))
        out = self.directory / "out"
        shop = ["-m", "shadowproxy.demo.shop", "--leash", "--out", str(out)]
        first = await self._spawn("live", [*shop, "--version", "v1", "--seed", "1"])
        second = await self._spawn("shadow", [*shop, "--version", "v2", "--seed", "2"])
        live, shadow = await asyncio.gather(first.announced(_START_S), second.announced(_START_S))
        config = self.directory / "demo.yaml"
        state = self.directory / "demo.db"
        config.write_text(config_text(live, shadow, state))
        proxy = await self._spawn("proxy", ["-m", "shadowproxy", "run", "-c", str(config)])
        facts = await self._until_running(proxy, state.with_suffix(RUN_SUFFIX))
        token = Path(facts["token_file"])
        self._token = _read_token(token)
        status = await self._until_ready(proxy, facts["admin"])
        front, egress = (listener["address"] for listener in status["listeners"])
        out.write_text(f"http://{egress}\n")
        experiment = self.directory / "break.yaml"
        experiment.write_text(EXPERIMENT)
        self._addresses = Addresses(f"http://{front}", facts["admin"], live, shadow, config, token, experiment)

    async def _spawn(self, name: str, arguments: list[str]) -> Child:
        child = await Child.start(name, arguments, self.directory)
        self._children.append(child)
        return child

    async def _until_running(self, proxy: Child, run_file: Path) -> dict[str, Any]:
        """What the proxy's run file says, once it says something."""
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            self._check(None)
            if (facts := _read_run_file(run_file)) is not None:
                return facts
            await asyncio.sleep(_POLL_S)
        raise DemoError(f"the proxy did not start within {_START_S:g} s{proxy.last_words()}")

    async def _until_ready(self, proxy: Child, admin: str) -> dict[str, Any]:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            self._check(None)
            with contextlib.suppress(DemoError):
                status = await self._ask(admin, "/api/v1/status")
                if status["is_ready"]:
                    return status
            await asyncio.sleep(_POLL_S)
        raise DemoError(f"the proxy was not ready within {_START_S:g} s{proxy.last_words()}")

    async def _ask(self, admin: str, path: str) -> dict[str, Any]:
        assert self._client is not None
        try:
            async with self._client.get(admin + path, headers={"Authorization": f"Bearer {self._token}"}) as answer:
                document: dict[str, Any] = await answer.json(content_type=None)
                if answer.status == HTTPStatus.OK:
                    return document
                reason = f"{answer.status} {document}"
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            reason = str(error) or type(error).__name__
        raise DemoError(f"the admin API at {admin} did not answer: {reason}")

    def _check(self, leaving: Child | None) -> None:
        """Raise unless every child but `leaving` still runs."""
        for child in self._children:
            if child is not leaving and not child.is_running:
                raise DemoError(f"the {child.name} process ended{child.last_words()}")


def _read_run_file(path: Path) -> dict[str, Any] | None:
    """What a run file says; None while it is absent or not whole."""
    try:
        facts = json.loads(path.read_text())
    except (OSError, ValueError):
        return None
    return facts if isinstance(facts, dict) else None


def _read_token(path: Path) -> str:
    return path.read_text().strip()
